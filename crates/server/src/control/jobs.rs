//! Attempts to pull, to push and to run ffmpeg: one task each, stopped and awaited by the control task.

use crate::app::App;
use crate::link::{Granted, Link};
use crate::{pull, push};
use hub::Stream;
use lifecycle::op::{FfmpegSpec, PullSpec, PushSpec};
use lifecycle::{Event, JobId};
use media::info::SockInfo;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::JoinMap;
use tracing::error;

/// The socket of a pull, known once it is connected.
pub type SockSlot = Arc<Mutex<Option<SockInfo>>>;

/// All attempts under way.
pub struct Jobs {
    app: Arc<App>,
    tasks: JoinMap<JobId, ()>,
    running: HashMap<JobId, Running>,
    /// One ffmpeg at a time per source: a new one starts when the old one is reaped.
    turns: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
}

struct Running {
    stop: CancellationToken,
    accept: Option<oneshot::Sender<Granted>>,
    url: String,
    sock: SockSlot,
}

/// Tells the engine that a job has ended, whatever way it went: a job that the engine takes for running would never be started
/// again.
struct Ending {
    link: Link,
    job: JobId,
    event: fn(JobId, String) -> Event,
    reason: Option<String>,
}

impl Ending {
    fn of(link: &Link, job: JobId, event: fn(JobId, String) -> Event) -> Self {
        Self {
            link: link.clone(),
            job,
            event,
            reason: None,
        }
    }

    fn because(mut self, reason: String) {
        self.reason = Some(reason);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let reason = self
            .reason
            .take()
            .unwrap_or_else(|| "the task was given up: a defect".to_owned());
        self.link.raise((self.event)(self.job, reason));
    }
}

impl Jobs {
    /// None yet.
    pub fn new(app: Arc<App>) -> Self {
        Self {
            app,
            tasks: JoinMap::new(),
            running: HashMap::new(),
            turns: HashMap::new(),
        }
    }

    /// Connects to a source.
    pub fn pull(&mut self, job: JobId, spec: PullSpec) {
        let (accept, accepted) = oneshot::channel();
        let stop = CancellationToken::new();
        let sock = SockSlot::default();
        let url = process::mask::mask(&spec.url).into_owned();
        let running = Running {
            stop: stop.clone(),
            accept: Some(accept),
            url,
            sock: sock.clone(),
        };
        self.running.insert(job, running);
        let app = self.app.clone();
        let ending = Ending::of(&app.link, job, |job, reason| Event::PullEnded { job, reason });
        self.tasks.spawn(job, async move {
            ending.because(pull::run(app, job, spec, accepted, sock, stop).await);
        });
    }

    /// Lets an opened pull feed its stream.
    pub fn accept(&mut self, job: JobId, granted: Granted) {
        if let Some(accept) = self
            .running
            .get_mut(&job)
            .and_then(|running| running.accept.take())
        {
            let _ = accept.send(granted);
        }
    }

    /// URL and socket of a pull, for the origin of its stream.
    pub fn origin(&self, job: JobId) -> (String, Option<SockInfo>) {
        self.running.get(&job).map_or_else(Default::default, |running| {
            (running.url.clone(), running.sock.lock().clone())
        })
    }

    /// Sends a stream on.
    pub fn push(&mut self, job: JobId, spec: PushSpec, stream: Option<Arc<Stream>>) {
        let stop = self.enter(job);
        let app = self.app.clone();
        let ending = Ending::of(&app.link, job, |job, reason| Event::PushEnded { job, reason });
        self.tasks.spawn(job, async move {
            ending.because(match stream {
                Some(stream) => push::run(app, job, spec, stream, stop).await,
                None => "the stream is gone".to_owned(),
            });
        });
    }

    /// Runs ffmpeg.
    pub fn ffmpeg(&mut self, job: JobId, spec: FfmpegSpec) {
        let stop = self.enter(job);
        self.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        let turn = self.turns.entry(spec.key.clone()).or_default().clone();
        let app = self.app.clone();
        let ending = Ending::of(&app.link, job, |job, reason| Event::FfmpegExited { job, reason });
        self.tasks.spawn(job, async move {
            let _turn = turn.lock_owned().await;
            ending.because(crate::ffmpeg::run(&app, &spec, stop).await);
        });
    }

    fn enter(&mut self, job: JobId) -> CancellationToken {
        let stop = CancellationToken::new();
        let running = Running {
            stop: stop.clone(),
            accept: None,
            url: String::new(),
            sock: SockSlot::default(),
        };
        self.running.insert(job, running);
        stop
    }

    /// Ends an attempt; its task follows by itself.
    pub fn stop(&mut self, job: JobId) {
        if let Some(running) = self.running.get(&job) {
            running.stop.cancel();
        }
    }

    /// Forgets attempts that have ended.
    pub fn reap(&mut self) {
        while let Some((job, ended)) = self.tasks.try_join_next() {
            self.forget(job, &ended);
        }
    }

    /// Whether none is under way.
    pub fn is_empty(&mut self) -> bool {
        self.reap();
        self.tasks.is_empty()
    }

    /// Ends when one has ended; never, if there is none.
    pub async fn ended(&mut self) {
        let (job, ended) = next_ended(&mut self.tasks).await;
        self.forget(job, &ended);
    }

    fn forget(&mut self, job: JobId, ended: &Result<(), JoinError>) {
        self.running.remove(&job);
        if let Err(failure) = ended {
            error!(job = job.0, error = %failure, "a pull, a pusher or an ffmpeg task panicked: a defect");
        }
    }

    /// Aborts what is left. ffmpeg processes are ended by their supervisor.
    pub async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// The next task that ends. While there is none this is never ready: a loop that waits for this or for something else would spin
/// without a pause, and starve what it waits for.
async fn next_ended(tasks: &mut JoinMap<JobId, ()>) -> (JobId, Result<(), JoinError>) {
    match tasks.join_next().await {
        Some(ended) => ended,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Message;
    use futures_util::FutureExt;

    #[test]
    fn waiting_for_none_is_never_over() {
        assert!(next_ended(&mut JoinMap::new()).now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_job_that_panics_is_reported_as_ended() {
        let (link, mut inbox) = Link::new();
        let ending = Ending::of(&link, JobId(7), |job, reason| Event::PullEnded { job, reason });
        let mut tasks = JoinMap::new();
        tasks.spawn(JobId(7), async move {
            let reasons: Vec<String> = Vec::new();
            ending.because(reasons[0].clone());
        });
        let (job, ended) = tasks.join_next().await.expect("one job");
        assert!(job == JobId(7) && ended.expect_err("it panicked").is_panic());
        let Some(Message::Event(Event::PullEnded { job, reason })) = inbox.recv().await else {
            panic!("no word of the end");
        };
        assert_eq!(
            (job, reason.as_str()),
            (JobId(7), "the task was given up: a defect")
        );
    }
}
