//! Pulling MPEG-TS over HTTP and HTTPS.
//!
//! An answer without a length is a stream that is made as it is sent: its frames go on as they come. One with a length is a file, which
//! comes as fast as the network allows: its frames go on at their own pace.

use super::http::{Answer, Client};
use super::{Attempt, END};
use crate::maybe::{at, some};
use crate::session::ingest::Feed;
use crate::session::ingest::container::{Demuxer, Event};
use bytes::Bytes;
use hls::client::{Playout, Timeline};
use std::time::{Duration, Instant};
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
    let answer = attempt.answer(began, "http-ts", &mut client).await?;
    let feed = attempt.feed().await?;
    let measured = attempt.app.measure(attempt.job);
    let mut source = Source {
        file: answer.length().map(|_| file()),
        answer: Some(answer),
        demuxer: Demuxer::ts(),
        feed,
    };
    source
        .play(attempt.media_timeout, |bytes| {
            measured.meter.add(bytes.len() as u64)
        })
        .await
}

fn file() -> Playout {
    let mut playout = Playout::new(1, None);
    playout.timeline(Instant::now(), LANE, Timeline::default());
    playout
}

/// A file has one.
const LANE: usize = 0;

struct Source {
    /// `None`: it has come to its end.
    answer: Option<Answer>,
    demuxer: Demuxer,
    /// The frames of a file on their way.
    file: Option<Playout>,
    feed: Feed,
}

impl Source {
    async fn play(
        &mut self,
        patience: Duration,
        mut count: impl FnMut(&Bytes),
    ) -> Result<std::convert::Infallible, String> {
        let mut waiting_since = None;
        loop {
            self.publish()?;
            if self.answer.is_none() && self.file.as_ref().is_none_or(Playout::is_over) {
                return Err(END.to_owned());
            }
            let has_room = self.file.as_ref().is_none_or(|file| file.has_room(LANE));
            let answer = self.answer.as_mut().filter(|_| has_room);
            let since = answer
                .as_ref()
                .map(|_| *waiting_since.get_or_insert_with(Instant::now));
            let (due, tracks) = (
                self.file.as_ref().and_then(Playout::deadline),
                self.feed.deadline(),
            );
            tokio::select! {
                biased;
                data = some(answer.map(Answer::data)) => {
                    waiting_since = None;
                    match data.map_err(|error| error.to_string())? {
                        Some(data) => {
                            count(&data);
                            self.demuxer.push(data);
                            self.take()?;
                        }
                        None => self.end()?,
                    }
                }
                () = at(since.map(|since| since + patience)) => return Err("receive http-ts media timeout".to_owned()),
                () = at(due) => {}
                () = at(tracks) => self.feed.poll(Instant::now()).map_err(|closed| closed.to_string())?,
            }
        }
    }

    fn end(&mut self) -> Result<(), String> {
        self.answer = None;
        self.demuxer.flush();
        self.take()?;
        if let Some(file) = &mut self.file {
            file.ended(Instant::now(), LANE);
        }
        Ok(())
    }

    /// Takes what the demuxer has.
    fn take(&mut self) -> Result<(), String> {
        let now = Instant::now();
        while let Some(event) = self.demuxer.poll().map_err(|error| error.to_string())? {
            match (event, &mut self.file) {
                (Event::Frame(frame), Some(file)) => file.frame(now, LANE, frame),
                (Event::Track(track), Some(file)) => file.track(LANE, track),
                (Event::TracksDeclared { video, audio }, Some(file)) => file.declared(LANE, video, audio),
                (Event::Frame(frame), None) => self.feed.frame(frame),
                (Event::Track(track), None) => {
                    self.feed.track(now, track).map_err(|closed| closed.to_string())?;
                }
                (Event::TracksDeclared { video, audio }, None) => {
                    self.feed.tracks_declared(now, video, audio)
                }
                (Event::Unsupported(what), _) => {
                    warn!(stream = %self.feed.key(), what, "not supported, left out");
                }
                (Event::Bad(error), _) => self.feed.bad(&error),
            }
        }
        Ok(())
    }

    /// Gives the stream what is due.
    fn publish(&mut self) -> Result<(), String> {
        let now = Instant::now();
        while let Some(output) = self.file.as_mut().and_then(|file| file.poll(now)) {
            self.feed
                .output(now, output)
                .map_err(|closed| closed.to_string())?;
        }
        self.feed.flush(now).map_err(|closed| closed.to_string())
    }
}
