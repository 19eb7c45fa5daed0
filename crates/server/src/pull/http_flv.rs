//! Pulling FLV over HTTP and HTTPS.

use super::Attempt;
use super::http::Client;
use crate::maybe::at;
use crate::session::ingest::flv::Ingest;
use bytes::Bytes;
use container::flv::Reader;
use std::time::Instant;
use tokio::time::timeout;

/// Largest tag of a source. 16 MiB is the format's own limit.
const MAX_TAG: usize = 16 << 20;

pub(super) async fn run(mut attempt: Attempt) -> String {
    match pull(&mut attempt).await {
        Ok(never) => match never {},
        Err(reason) => reason,
    }
}

async fn pull(attempt: &mut Attempt) -> Result<std::convert::Infallible, String> {
    let began = Instant::now();
    let mut client = Client::new(attempt).map_err(|error| error.to_string())?;
    let mut answer = attempt.answer(began, "http-flv", &mut client).await?;
    let mut ingest = attempt.opened().await?;
    let measured = attempt.app.measure(attempt.job);
    let mut reader = Reader::with_max_body(MAX_TAG);
    loop {
        let deadline = ingest.deadline();
        let data = tokio::select! {
            biased;
            data = timeout(attempt.media_timeout, answer.data()) => data.map_err(|_| "receive http-flv media timeout")?,
            () = at(deadline) => {
                ingest.poll(Instant::now()).map_err(|closed| closed.to_string())?;
                continue;
            }
        };
        let data = data.map_err(|error| error.to_string())?.ok_or("end of file")?;
        measured.meter.add(data.len() as u64);
        feed(&mut reader, &mut ingest, data)?;
    }
}

fn feed(reader: &mut Reader, ingest: &mut Ingest, data: Bytes) -> Result<(), String> {
    reader.push(data);
    while let Some(tag) = reader.next().map_err(|error| error.to_string())? {
        ingest
            .tag(Instant::now(), tag)
            .map_err(|closed| closed.to_string())?;
    }
    Ok(())
}
