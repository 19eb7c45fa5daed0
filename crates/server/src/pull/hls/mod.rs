//! Pulling HLS. Each media playlist has a task that fetches and takes apart what it names; the pull's own task gives the frames to the
//! stream when they are due.

mod decrypt;
mod lane;

use super::http::Client;
use super::{Attempt, END};
use crate::maybe::{at, some};
use crate::session::ingest::Feed;
use hls::client::{Opened, Options, Playout, Session, open};
use lane::{Item, Lane};
use media::StreamKey;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::warn;

/// Reads of a segment's connection that wait for room, each with the frames that it brought.
const MAX_WAITING: usize = 4;

pub(super) async fn run(mut attempt: Attempt) -> String {
    match pull(&mut attempt).await {
        Ok(never) => match never {},
        Err(reason) => reason,
    }
}

async fn pull(attempt: &mut Attempt) -> Result<std::convert::Infallible, String> {
    let began = Instant::now();
    let measured = attempt.app.measure(attempt.job);
    let mut source = Source {
        key: attempt.spec.key.clone(),
        playout: Playout::new(0, None),
        lanes: Vec::new(),
        ends: None,
        lost: None,
        tasks: JoinSet::new(),
        bad: 0,
    };
    let opening = async {
        let lanes = sessions(attempt, &measured.meter).await?;
        source.begin(lanes);
        source.until_media().await
    };
    attempt.within(began, "hls", opening).await?;
    let mut feed = attempt.feed().await?;
    source.play(&mut feed).await
}

/// The sessions of the source, each with its first playlist, and what receives their frames.
async fn sessions(
    attempt: &Attempt,
    meter: &std::sync::Arc<crate::meter::Meter>,
) -> Result<Vec<(Lane, mpsc::Receiver<Vec<Item>>)>, String> {
    let mut client = Client::new(attempt).map_err(|error| error.to_string())?;
    let options = Options {
        media_timeout: attempt.media_timeout,
    };
    let asked = client.source().clone();
    let max = hls::client::MAX_PLAYLIST as u64;
    let answer = client
        .get(&asked, None, max)
        .await
        .map_err(|error| error.to_string())?;
    let url = answer.url.clone();
    let text = answer.whole().await.map_err(|error| error.to_string())?;
    meter.add(text.len() as u64);
    let opened = open(Instant::now(), &asked, &url, &text, options).map_err(|error| error.to_string())?;
    let lane = |client: Client, session: Session| {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let lane = Lane {
            key: attempt.spec.key.clone(),
            session,
            client,
            meter: meter.clone(),
            counters: attempt.app.counters.hls_pull.clone(),
            told: Default::default(),
            items: sender,
            timeout: attempt.spec.timeout,
            media_timeout: attempt.media_timeout,
        };
        (lane, receiver)
    };
    let mut lanes = Vec::new();
    match opened {
        Opened::Media(session) => lanes.push(lane(client, *session)),
        Opened::Variant { media, audio } => {
            for url in [Some(media), audio].into_iter().flatten() {
                let (mut lane, receiver) = lane(client.sibling(), Session::new(url.clone(), options));
                lane.playlist(&url).await?;
                lanes.push((lane, receiver));
            }
        }
    }
    Ok(lanes)
}

/// The lanes of a source, and the frames on their way.
struct Source {
    /// The stream, for log lines.
    key: StreamKey,
    playout: Playout,
    /// `None`: it has ended.
    lanes: Vec<Option<mpsc::Receiver<Vec<Item>>>>,
    /// Why a lane could not go on.
    ends: Option<String>,
    /// Why the last segment was left out that was.
    lost: Option<String>,
    /// The lanes' tasks, which end with this.
    tasks: JoinSet<()>,
    /// Broken media that was left out.
    bad: u64,
}

impl Source {
    fn begin(&mut self, lanes: Vec<(Lane, mpsc::Receiver<Vec<Item>>)>) {
        let main = lanes.first().map(|(lane, _)| &lane.session);
        let live = main.filter(|session| session.is_live()).map(Session::target);
        self.playout = Playout::new(lanes.len(), live);
        for (lane, receiver) in lanes {
            self.tasks.spawn(lane.run());
            self.lanes.push(Some(receiver));
        }
    }

    /// Until the first frame is there.
    async fn until_media(&mut self) -> Result<(), String> {
        while !self.playout.has_media() {
            if self.lanes.iter().all(Option::is_none) {
                let reason = self.ends.take().or(self.lost.take());
                return Err(reason.unwrap_or_else(|| "the playlist has no media".to_owned()));
            }
            let (lane, items) = self.receive().await;
            self.take(lane, items);
        }
        Ok(())
    }

    /// To the end of the source. What has come is played out before that is told.
    async fn play(&mut self, feed: &mut Feed) -> Result<std::convert::Infallible, String> {
        loop {
            let now = Instant::now();
            self.publish(now, feed)?;
            if self.playout.is_over() {
                return Err(self.ends.take().unwrap_or_else(|| END.to_owned()));
            }
            let (due, tracks) = (self.playout.deadline(), feed.deadline());
            tokio::select! {
                biased;
                (lane, items) = self.receive() => self.take(lane, items),
                () = at(due) => {}
                () = at(tracks) => feed.poll(Instant::now()).map_err(|closed| closed.to_string())?,
            }
        }
    }

    /// Gives the stream what is due.
    fn publish(&mut self, now: Instant, feed: &mut Feed) -> Result<(), String> {
        while let Some(output) = self.playout.poll(now) {
            feed.output(now, output).map_err(|closed| closed.to_string())?;
        }
        feed.flush(now).map_err(|closed| closed.to_string())
    }

    /// What comes next from a lane that there is room for. Cancel-safe.
    async fn receive(&mut self) -> (usize, Vec<Item>) {
        let playout = &self.playout;
        let mut lanes = self.lanes.iter_mut().enumerate();
        let mut next = |_: ()| {
            let (number, lane) = lanes.next()?;
            let lane = lane.as_mut().filter(|_| playout.has_room(number))?;
            Some(async move { (number, lane.recv().await) })
        };
        let (first, second) = (next(()), next(()));
        let (lane, items) = tokio::select! {
            received = some(first) => received,
            received = some(second) => received,
        };
        // A task that ends without a word has panicked.
        let lost = || vec![Item::End(Err("a task of the pull was lost".to_owned()))];
        (lane, items.unwrap_or_else(lost))
    }

    fn end(&mut self, now: Instant, lane: usize) {
        self.playout.ended(now, lane);
        if let Some(lane) = self.lanes.get_mut(lane) {
            *lane = None;
        }
    }

    fn take(&mut self, lane: usize, items: Vec<Item>) {
        let now = Instant::now();
        for item in items {
            match item {
                Item::NewDemuxer => self.playout.new_demuxer(lane),
                Item::Timeline(timeline) => self.playout.timeline(now, lane, timeline),
                Item::TracksDeclared { video, audio } => self.playout.declared(lane, video, audio),
                Item::Track(track) => self.playout.track(lane, track),
                Item::Frame(frame) => self.playout.frame(now, lane, frame),
                Item::Unsupported(what) => warn!(stream = %self.key, what, "not supported, left out"),
                Item::Bad(error) => {
                    self.bad = self.bad.saturating_add(1);
                    if self.bad.is_power_of_two() {
                        warn!(stream = %self.key, bad = self.bad, error, "bad media was left out");
                    }
                }
                Item::Lost(reason) => self.lost = Some(reason),
                Item::End(Ok(())) => self.end(now, lane),
                // Picture without its sound is not what was asked for: the whole is to be tried again.
                Item::End(Err(reason)) => {
                    self.ends.get_or_insert(reason);
                    (0..self.lanes.len()).for_each(|lane| self.end(now, lane));
                }
            }
        }
    }
}
