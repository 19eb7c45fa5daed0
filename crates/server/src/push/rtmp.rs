//! Pushing over RTMP and RTMPS.

use crate::app::App;
use crate::containers::{self, RTMP};
use crate::dial::{Dialed, dial};
use crate::egress::{say_goodbye, write_parts};
use crate::maybe::{at, some};
use bytes::BytesMut;
use hub::{Batch, Next, Reader, ReaderOptions, Stream};
use lifecycle::op::PushSpec;
use lifecycle::{Event, JobId};
use rtmp::client::{ClientSession, Config, Event as RtmpEvent, Role};
use rtmp::{Output, url};
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(super) async fn push(
    app: &Arc<App>,
    job: JobId,
    spec: &PushSpec,
    stream: &Arc<Stream>,
    stop: &CancellationToken,
) -> Result<String, String> {
    let began = Instant::now();
    let url = url::parse(&spec.dst_url).map_err(|error| error.to_string())?;
    let config = app.config();
    let connecting = timeout(spec.timeout, dial(&config, job, &url.host, url.port, url.tls));
    let connected = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok("stopped".to_owned()),
        connected = connecting => connected.map_err(|_| "publish rtmp timeout")?,
    };
    let Dialed { mut io, .. } = connected.map_err(|error| error.to_string())?;
    drop(config);
    let style = app.style();
    let timeout_left = spec.timeout.saturating_sub(began.elapsed());
    let session = Config {
        timeout: timeout_left,
        chunk_size: style.chunk_size,
        ..Config::new(url, Role::Publish)
    };
    let mut session = ClientSession::new(session, rand::random(), Instant::now());
    let measured = app.measure(job);
    let mut reader: Option<Reader> = None;
    let mut batch = Batch::default();
    let mut buffer = BytesMut::new();
    loop {
        // The pieces of all packets of a batch leave in one call.
        let mut pieces = Vec::new();
        let mut closed = false;
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(bytes) => pieces.push(bytes),
                Output::Event(RtmpEvent::PublishStarted) => {
                    let options = ReaderOptions::player(spec.schema);
                    let attached = stream.reader(RTMP, options, || containers::muxer(RTMP, style));
                    reader = Some(attached.map_err(|error| error.to_string())?);
                    app.link.raise(Event::PushStarted { job });
                }
                Output::Event(RtmpEvent::Failed(failure)) => return Err(format!("publish 失败:{failure}")),
                Output::Event(RtmpEvent::Ended) => return Err("the remote ended the stream".to_owned()),
                Output::Event(
                    RtmpEvent::Connected
                    | RtmpEvent::PlayStarted
                    | RtmpEvent::Media(_)
                    | RtmpEvent::Metadata(_),
                ) => {}
                Output::Close => closed = true,
            }
        }
        if !pieces.is_empty() {
            let written = write_parts(&mut io, pieces, stop).await;
            measured.meter.add(written.map_err(|error| error.to_string())?);
        }
        if closed {
            return Ok("closed".to_owned());
        }
        let deadline = session.poll_timeout();
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                session.close(Instant::now());
                let words = std::iter::from_fn(|| session.poll_output()).filter_map(Output::into_bytes);
                say_goodbye(&mut io, words).await;
                return Ok("stopped".to_owned());
            }
            next = some(reader.as_mut().map(|reader| reader.next_batch(&mut batch))) => match next {
                Next::Packets | Next::Lagged { .. } => {
                    for packet in batch.packets() {
                        session.send_packet(packet);
                    }
                    batch.clear();
                }
                Next::Ended(_) => session.close(Instant::now()),
            },
            count = io.read_buf(&mut buffer) => match count.map_err(|error| error.to_string())? {
                0 => return Err("end of file".to_owned()),
                _ => session.handle_bytes(Instant::now(), &mut buffer).map_err(|error| error.to_string())?,
            },
            () = at(deadline) => {
                session.handle_timeout(Instant::now());
            }
        }
    }
}
