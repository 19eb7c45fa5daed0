//! Pulling over RTMP and RTMPS.

use super::Attempt;
use crate::dial::{Dialed, dial};
use crate::egress::{WRITE_TIMEOUT, write_all};
use crate::maybe::at;
use crate::session::ingest::flv::Ingest;
use crate::session::{MEDIA_BLOCK, make_room};
use bytes::BytesMut;
use rtmp::client::{ClientSession, Config, Event, Role};
use rtmp::{Output, url};
use std::time::Instant;
use tokio::io::AsyncReadExt;

pub(super) async fn run(mut attempt: Attempt) -> String {
    match pull(&mut attempt).await {
        Ok(never) => match never {},
        Err(reason) => reason,
    }
}

async fn pull(attempt: &mut Attempt) -> Result<std::convert::Infallible, String> {
    let began = Instant::now();
    let url = url::parse(&attempt.spec.url).map_err(|error| error.to_string())?;
    let config = attempt.app.config();
    let connecting = dial(&config, attempt.job, &url.host, url.port, url.tls);
    let connecting = async { connecting.await.map_err(|error| error.to_string()) };
    let Dialed { mut io, sock } = attempt.within(began, "rtmp", connecting).await?;
    *attempt.sock.lock() = Some(sock);
    drop(config);

    let timeout = attempt.spec.timeout.saturating_sub(began.elapsed());
    let session = Config {
        timeout,
        media_timeout: attempt.media_timeout,
        ..Config::new(url, Role::Play)
    };
    let mut session = ClientSession::new(session, rand::random(), Instant::now());
    let measured = attempt.app.measure(attempt.job);
    let mut ingest: Option<Ingest> = None;
    let mut buffer = BytesMut::new();
    loop {
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(bytes) => {
                    write_all(&mut io, &bytes, WRITE_TIMEOUT)
                        .await
                        .map_err(|error| error.to_string())?;
                }
                Output::Event(Event::PlayStarted) => {
                    if ingest.is_none() {
                        ingest = Some(attempt.opened().await?);
                    }
                }
                Output::Event(Event::Media(tag) | Event::Metadata(tag)) => {
                    if let Some(ingest) = &mut ingest {
                        ingest
                            .tag(Instant::now(), tag)
                            .map_err(|closed| closed.to_string())?;
                    }
                }
                Output::Event(Event::Failed(failure)) => return Err(failure.to_string()),
                Output::Event(Event::Ended) => return Err("the source ended the stream".to_owned()),
                Output::Event(Event::Connected | Event::PublishStarted) => {}
                Output::Close => return Err("end of file".to_owned()),
            }
        }
        make_room(&mut buffer, MEDIA_BLOCK);
        let tracks = ingest.as_ref().and_then(Ingest::deadline);
        let deadline = [session.poll_timeout(), tracks].into_iter().flatten().min();
        tokio::select! {
            biased;
            count = io.read_buf(&mut buffer) => match count.map_err(|error| error.to_string())? {
                0 => return Err("end of file".to_owned()),
                count => {
                    measured.meter.add(count as u64);
                    session.handle_bytes(Instant::now(), &mut buffer).map_err(|error| error.to_string())?;
                }
            },
            () = at(deadline) => {
                let now = Instant::now();
                session.handle_timeout(now);
                if let Some(ingest) = &mut ingest {
                    ingest.poll(now).map_err(|closed| closed.to_string())?;
                }
            }
        }
    }
}
