//! Attempts to pull, to push and to run ffmpeg: one task each, stopped and awaited by the control task.

use crate::app::App;
use crate::link::Granted;
use crate::{pull, push};
use hub::Stream;
use lifecycle::op::{FfmpegSpec, PullSpec, PushSpec};
use lifecycle::{Event, JobId};
use media::info::SockInfo;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// The socket of a pull, known once it is connected.
pub type SockSlot = Arc<Mutex<Option<SockInfo>>>;

/// All attempts under way.
pub struct Jobs {
    app: Arc<App>,
    tasks: JoinSet<JobId>,
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

impl Jobs {
    /// None yet.
    pub fn new(app: Arc<App>) -> Self {
        Self {
            app,
            tasks: JoinSet::new(),
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
        self.tasks.spawn(async move {
            let link = app.link.clone();
            let reason = tokio::select! {
                biased;
                () = stop.cancelled() => "stopped".to_owned(),
                reason = pull::run(app, job, spec, accepted, sock) => reason,
            };
            link.raise(Event::PullEnded { job, reason });
            job
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
        self.tasks.spawn(async move {
            let link = app.link.clone();
            let reason = match stream {
                Some(stream) => push::run(app, job, spec, stream, stop).await,
                None => "the stream is gone".to_owned(),
            };
            link.raise(Event::PushEnded { job, reason });
            job
        });
    }

    /// Runs ffmpeg.
    pub fn ffmpeg(&mut self, job: JobId, spec: FfmpegSpec) {
        let stop = self.enter(job);
        self.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        let turn = self.turns.entry(spec.key.clone()).or_default().clone();
        let app = self.app.clone();
        self.tasks.spawn(async move {
            let link = app.link.clone();
            let _turn = turn.lock_owned().await;
            let reason = crate::ffmpeg::run(&app, &spec, stop).await;
            link.raise(Event::FfmpegExited { job, reason });
            job
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
        while let Some(ended) = self.tasks.try_join_next() {
            match ended {
                Ok(job) => {
                    self.running.remove(&job);
                }
                Err(failure) => {
                    error!(error = %failure, "a pull, a pusher or an ffmpeg task panicked: a defect")
                }
            }
        }
    }

    /// Whether none is under way.
    pub fn is_empty(&mut self) -> bool {
        self.reap();
        self.tasks.is_empty()
    }

    /// Ends when one has ended; never, if there is none, so that a loop around it does not spin.
    pub async fn ended(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(job)) => {
                self.running.remove(&job);
            }
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }

    /// Aborts what is left. ffmpeg processes are ended by their supervisor.
    pub async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}
