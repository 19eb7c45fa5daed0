//! Pulling MPEG-TS over HTTP and HTTPS.

use super::Attempt;
use super::http::Client;
use crate::maybe::at;
use crate::session::ingest::Feed;
use crate::session::ingest::container::{Demuxer, Event};
use std::time::Instant;
use tokio::time::timeout;
use tracing::warn;

pub(super) async fn run(mut attempt: Attempt) -> String {
    match pull(&mut attempt).await {
        Ok(never) => match never {},
        Err(reason) => reason,
    }
}

async fn pull(attempt: &mut Attempt) -> Result<std::convert::Infallible, String> {
    let began = Instant::now();
    let mut client = Client::new(attempt).map_err(|error| error.to_string())?;
    let mut answer = attempt.answer(began, "http-ts", &mut client).await?;
    let mut feed = attempt.feed().await?;
    let measured = attempt.app.measure(attempt.job);
    let mut demuxer = Demuxer::ts();
    loop {
        let deadline = feed.deadline();
        let data = tokio::select! {
            biased;
            data = timeout(attempt.media_timeout, answer.data()) => data.map_err(|_| "receive http-ts media timeout")?,
            () = at(deadline) => {
                feed.poll(Instant::now()).map_err(|closed| closed.to_string())?;
                continue;
            }
        };
        let data = data.map_err(|error| error.to_string())?;
        let is_end = data.is_none();
        match data {
            Some(data) => {
                measured.meter.add(data.len() as u64);
                demuxer.push(data);
            }
            None => demuxer.flush(),
        }
        publish(&mut demuxer, &mut feed)?;
        if is_end {
            return Err("end of file".to_owned());
        }
    }
}

fn publish(demuxer: &mut Demuxer, feed: &mut Feed) -> Result<(), String> {
    let now = Instant::now();
    while let Some(event) = demuxer.poll().map_err(|error| error.to_string())? {
        match event {
            Event::Frame(frame) => feed.frame(frame),
            Event::Track(track) => feed.track(now, track).map_err(|closed| closed.to_string())?,
            Event::TracksDeclared { video, audio } => feed.tracks_declared(now, video, audio),
            Event::Unsupported(what) => warn!(stream = %feed.key(), what, "not supported, left out"),
            Event::Bad(error) => feed.bad(&error),
        }
    }
    feed.flush(now).map_err(|closed| closed.to_string())
}
