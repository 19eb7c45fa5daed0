//! The control task: the one caller of the engine. Facts come in through the link, decisions are carried out here.

mod jobs;

pub use jobs::SockSlot;

use crate::app::App;
use crate::egress::merge;
use crate::link::{Answer, Granted, Message};
use crate::maybe::at;
use crate::rules;
use hub::{EndReason, GateLimits, StreamConfig, TrackPolicy};
use jobs::Jobs;
use lifecycle::command::{Cause, Feeder, Opening};
use lifecycle::hook::Advice;
use lifecycle::{Ask, Command, Engine, Event, OpError, OpId, OpReply, Outcome, SessionId, Ticket, Verdict};
use media::StreamKey;
use media::info::{OriginInfo, OriginType};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// Facts taken from the queue before commands are looked at and timers get their turn.
const MAX_FACTS_PER_TURN: usize = 256;

/// How long a player can wait for its permission at most; the protocols' own patience is longer (hooks.md, section 3).
const PLAY_PATIENCE: Duration = Duration::from_secs(60);

/// The control task.
pub struct Control {
    app: Arc<App>,
    engine: Engine,
    inbox: mpsc::UnboundedReceiver<Message>,
    /// Sessions that wait for a decision.
    waiting: HashMap<SessionId, oneshot::Sender<Answer>>,
    /// Operators that wait for the end of their request.
    operators: HashMap<OpId, oneshot::Sender<Result<OpReply, OpError>>>,
    /// Questions to the hook service under way.
    questions: HashMap<Ticket, AbortHandle>,
    calls: JoinSet<()>,
    jobs: Jobs,
    last_op: u64,
}

impl Control {
    /// The task's state; [`Self::run`] is the task.
    pub fn new(app: Arc<App>, inbox: mpsc::UnboundedReceiver<Message>) -> Self {
        let settings = rules::settings(&app.config());
        Self {
            engine: Engine::new(Instant::now(), settings, rand::random()),
            jobs: Jobs::new(app.clone()),
            app,
            inbox,
            waiting: HashMap::new(),
            operators: HashMap::new(),
            questions: HashMap::new(),
            calls: JoinSet::new(),
            last_op: 0,
        }
    }

    /// Runs until `stop`, then closes every stream and ends when all commands of that are carried out, at the latest `grace`
    /// later.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) {
        self.static_rules();
        let mut facts = Vec::with_capacity(MAX_FACTS_PER_TURN);
        loop {
            let deadline = self.engine.deadline();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = self.inbox.recv_many(&mut facts, MAX_FACTS_PER_TURN) => {
                    for message in facts.drain(..) {
                        self.take(message);
                    }
                }
                Some(ended) = self.calls.join_next() => noticed(&ended),
                () = at(deadline) => self.handle(Event::Tick),
            }
            self.jobs.reap();
        }
        info!("closing all streams");
        self.handle(Event::Shutdown);
        let limit = tokio::time::Instant::now() + grace;
        // Players and jobs end because their streams are gone; their last reports still go to the hook service.
        let drained = async {
            self.app.stop.cancel();
            while self.app.sessions.len() > 0 || !self.jobs.is_empty() {
                tokio::select! {
                    message = self.inbox.recv() => if let Some(message) = message { self.take(message) },
                    () = self.jobs.ended() => {}
                    () = tokio::time::sleep(Duration::from_millis(20)) => {}
                }
            }
        };
        if timeout_at(limit, drained).await.is_err() {
            warn!(
                sessions = self.app.sessions.len(),
                "some sessions did not end in time"
            );
        }
        while let Ok(message) = self.inbox.try_recv() {
            self.take(message);
        }
        self.calls.shutdown().await;
        self.jobs.shutdown().await;
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.handle(event),
            Message::Request {
                event,
                session,
                answer,
            } => {
                self.waiting.insert(session, answer);
                self.handle(event);
            }
            Message::Op { op, answer } => {
                self.last_op += 1;
                let id = OpId(self.last_op);
                self.operators.insert(id, answer);
                self.handle(Event::Op { id, op });
            }
            Message::ConfigChanged => {
                let settings = rules::settings(&self.app.config());
                self.handle(Event::Settings(Box::new(settings)));
                self.static_rules();
                self.app.hls.reconfigure(&self.app);
                self.app.egress.set_merge(merge(&self.app.config()));
            }
        }
    }

    fn static_rules(&mut self) {
        let rules = rules::permanent(&self.app.config(), self.app.rtmp_port());
        self.handle(Event::StaticRules(rules));
    }

    fn handle(&mut self, event: Event) {
        if let Event::SessionEnded { session, .. } = &event {
            self.waiting.remove(session);
        }
        if let Event::Reply { ticket, .. } = &event {
            self.questions.remove(ticket);
        }
        self.engine.handle(Instant::now(), event);
        while let Some(command) = self.engine.poll_command() {
            self.carry_out(command);
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Ask { ticket, ask } => self.ask(ticket, ask),
            Command::Cancel(ticket) => {
                if let Some(call) = self.questions.remove(&ticket) {
                    call.abort();
                }
            }
            Command::Notify(notice) => {
                let app = &self.app;
                app.hooks.tell(notice, |key, schema| {
                    app.hub.get(key).map(|stream| stream.info(schema, Instant::now()))
                });
            }
            Command::Verdict { session, verdict } => self.verdict(session, verdict),
            Command::Open(opening) => self.open(opening),
            Command::Resume {
                key,
                incarnation,
                feeder,
                origin,
            } => {
                info!(stream = %key, incarnation, "the publisher is back");
                let origin = self.origin(feeder, origin);
                self.with(&key, incarnation, |stream| {
                    let url = stream.origin().url;
                    let url = if origin.url.is_empty() {
                        url
                    } else {
                        origin.url.clone()
                    };
                    stream.set_origin(OriginInfo { url, ..origin });
                });
            }
            Command::Orphan { key, incarnation } => {
                info!(stream = %key, incarnation, "the publisher is lost; the stream is kept for it");
                self.with(&key, incarnation, |stream| {
                    let url = stream.origin().url;
                    stream.set_origin(OriginInfo {
                        kind: OriginType::Unknown,
                        url,
                        sock: None,
                    });
                });
            }
            Command::AdoptFfmpeg {
                key,
                incarnation,
                src_url,
                enable_hls,
                enable_mp4,
            } => {
                if enable_hls || enable_mp4 {
                    warn!(stream = %key, enable_hls, enable_mp4, "recording is not available in this version");
                }
                self.with(&key, incarnation, |stream| {
                    let sock = stream.origin().sock;
                    stream.set_origin(OriginInfo {
                        kind: OriginType::FfmpegPull,
                        url: src_url.clone(),
                        sock,
                    });
                });
            }
            Command::Register {
                key,
                incarnation,
                schemas,
            } => {
                self.app.schemas.lock().insert(incarnation, schemas.clone());
                let schemas: Vec<&str> = schemas.iter().map(|schema| schema.as_str()).collect();
                info!(stream = %key, incarnation, schemas = schemas.join(","), "registered");
            }
            Command::Remove {
                key,
                incarnation,
                cause,
                reason,
            } => {
                info!(stream = %key, incarnation, reason, "closed");
                self.app.schemas.lock().remove(&incarnation);
                self.app.hls.close(incarnation);
                self.app.hub.remove(&key, incarnation, end_reason(cause));
            }
            Command::Kick { session, reason } => {
                debug!(%session, reason, "cutting a session");
                self.app.sessions.kick(session);
            }
            Command::StartPull { job, spec } => self.jobs.pull(job, *spec),
            Command::AcceptPull { job, grant } => {
                let granted = self
                    .app
                    .hub
                    .get(&grant.key)
                    .filter(|stream| stream.incarnation() == grant.incarnation);
                if let Some(stream) = granted {
                    self.jobs.accept(
                        job,
                        Granted {
                            key: grant.key,
                            incarnation: grant.incarnation,
                            stream,
                        },
                    );
                }
            }
            Command::StopPull(job) | Command::StopPush(job) | Command::StopFfmpeg(job) => self.jobs.stop(job),
            Command::StartFfmpeg { job, spec } => self.jobs.ffmpeg(job, *spec),
            Command::StartPush {
                job,
                spec,
                incarnation,
            } => {
                let stream = self
                    .app
                    .hub
                    .get(&spec.stream)
                    .filter(|stream| stream.incarnation() == incarnation);
                self.jobs.push(job, *spec, stream);
            }
            Command::Finish { op, result } => {
                // Who asked may have left.
                if let Some(answer) = self.operators.remove(&op) {
                    let _ = answer.send(result);
                }
            }
        }
    }

    /// Asks the hook service in a task of its own: no call ever runs on a media task or holds this one up.
    fn ask(&mut self, ticket: Ticket, ask: Ask) {
        let (hooks, link) = (self.app.hooks.clone(), self.app.link.clone());
        let limit = match &ask {
            Ask::Publish { .. } | Ask::Play { .. } => Some(PLAY_PATIENCE),
            Ask::NotFound { .. } => Some(self.app.config().general.max_stream_wait),
            Ask::NoneReader { .. } => None,
        };
        let call = self.calls.spawn(async move {
            let answered = hooks.ask(&ask, limit).await;
            let (outcome, took) = (answered.outcome, answered.took);
            if let Outcome::NotFound(Advice::Failed(reason)) | Outcome::NoneReader(Advice::Failed(reason)) =
                &outcome
            {
                // The hooks log failures themselves, within a rate; here they are told apart by stream.
                debug!(hook = ask.name(), reason, "the hook service did not answer");
            }
            link.raise(Event::Reply {
                ticket,
                outcome,
                took,
            });
        });
        self.questions.insert(ticket, call);
    }

    fn verdict(&mut self, session: SessionId, verdict: Verdict) {
        let Some(waiting) = self.waiting.remove(&session) else {
            return;
        };
        let granted = |key: StreamKey, incarnation: u64| {
            let stream = self
                .app
                .hub
                .get(&key)
                .filter(|stream| stream.incarnation() == incarnation)?;
            Some(Granted {
                key,
                incarnation,
                stream,
            })
        };
        let gone = || {
            Answer::Refused(lifecycle::Refusal::NotFound(
                "the stream could not be opened".to_owned(),
            ))
        };
        let answer = match verdict {
            Verdict::Publish(Ok(grant)) => {
                granted(grant.key, grant.incarnation).map_or_else(gone, Answer::Publish)
            }
            Verdict::Play(Ok(grant)) => granted(grant.key, grant.incarnation).map_or_else(gone, Answer::Play),
            Verdict::Publish(Err(refusal)) | Verdict::Play(Err(refusal)) => Answer::Refused(refusal),
        };
        let _ = waiting.send(answer);
    }

    fn open(&mut self, opening: Opening) {
        let Opening {
            key,
            incarnation,
            feeder,
            origin,
            params,
            schemas,
            options,
        } = opening;
        let config = self.app.config();
        let gate = GateLimits {
            track_ready: config.general.wait_track_ready,
            add_track: config.general.wait_add_track,
            audio_data: config.general.wait_audio_track_data,
            cached_frames: config.general.unready_frame_cache as usize,
        };
        let stream = StreamConfig {
            incarnation,
            limits: rules::ring_limits(&config),
            tracks: TrackPolicy::new(&options, gate),
            origin: self.origin(feeder, origin),
            params,
            created_unix: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        };
        match self.app.hub.open(key.clone(), stream, Instant::now()) {
            Ok(stream) => {
                // Kept with the stream: from now on a new configuration is for others, since what is described must be what is sent.
                let _ = self.app.rtp_style(&stream);
                // HLS is cut all the time, unless the options say otherwise. All else is made when the first viewer comes, whatever
                // they say: the muxer then runs through the cached group of pictures, so the viewer cannot tell, and a stream that
                // nobody watches so costs neither the muxer's time nor its copy.
                self.app.hls.open(&self.app, &stream, &schemas, &options);
            }
            // The engine keeps below the hub's bound and opens a name once, so this does not happen; if it does, the grant
            // that follows finds no stream and the publisher is refused.
            Err(error) => warn!(stream = %key, incarnation, %error, "the stream could not be opened"),
        }
    }

    fn with(&self, key: &StreamKey, incarnation: u64, act: impl FnOnce(&hub::Stream)) {
        if let Some(stream) = self
            .app
            .hub
            .get(key)
            .filter(|stream| stream.incarnation() == incarnation)
        {
            act(&stream);
        }
    }

    /// Where a stream comes from, as ZLM shows it (api.md, section 2.1).
    fn origin(&self, feeder: Feeder, kind: OriginType) -> OriginInfo {
        match feeder {
            Feeder::Session(session) => OriginInfo {
                kind,
                // A session that has ended meanwhile: its stream is about to end, too.
                url: self.app.sessions.url(session).unwrap_or_default(),
                sock: self.app.sessions.sock(session),
            },
            Feeder::Pull(job) => {
                let (url, sock) = self.jobs.origin(job);
                OriginInfo { kind, url, sock }
            }
        }
    }
}

/// The engine's cause in the hub's words, which readers are told.
const fn end_reason(cause: Cause) -> EndReason {
    match cause {
        Cause::Unpublished => EndReason::Unpublished,
        Cause::OriginLost => EndReason::OriginLost,
        Cause::Unwatched => EndReason::Unwatched,
        Cause::Operator => EndReason::Closed,
        Cause::Replaced => EndReason::Replaced,
        Cause::Shutdown => EndReason::Shutdown,
    }
}

fn noticed(ended: &Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a hook call panicked: a defect");
    }
}
