//! The rules: when a stream opens, who may feed and read it, when it closes.
//!
//! One struct owns all state, so one thing happens at a time and a reply that races with a request meets it in one queue, in
//! one order. After each event the same small set of checks runs on the streams it touched ([`Engine::settle`]): an unwatched
//! stream has a deadline, a watched one has none, waiting players have somebody who is asked, and a name with no state is
//! forgotten.
//!
//! - `stream`: the state of one name.
//! - `publish`: publishers, orphans, registration, closing.
//! - `play`: permission, waiting, release, failure.
//! - `idle`: nobody watches.
//! - `pull`, `ffmpeg`, `push`: sources and relays with their attempts.

mod ffmpeg;
mod idle;
mod play;
mod publish;
mod pull;
mod push;
mod stream;

use crate::access::Access;
use crate::backoff::Jitter;
use crate::command::{Cause, Refusal};
use crate::op::{Counts, TimelineView};
use crate::timeline::Timelines;
use crate::timers::{Timer, Timers};
use crate::{
    Ask, Command, Event, JobId, Notice, Op, OpError, OpId, OpReply, Outcome, SessionEnd, SessionId, Settings,
    Ticket, Verdict,
};
use media::StreamKey;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use stream::{Session, SessionPhase, Stream};

/// Owner of the state of every stream. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    now: Instant,
    streams: BTreeMap<StreamKey, Stream>,
    sessions: BTreeMap<SessionId, Session>,
    questions: BTreeMap<Ticket, Question>,
    pulls: BTreeMap<StreamKey, pull::Pull>,
    ffmpegs: BTreeMap<String, ffmpeg::Ffmpeg>,
    pushes: BTreeMap<String, push::Push>,
    /// Which source or pusher an attempt belongs to. Attempts that were stopped are not in it.
    jobs: BTreeMap<JobId, JobOwner>,
    timers: Timers,
    timelines: Timelines,
    commands: VecDeque<Command>,
    /// Streams touched by the event in hand.
    touched: BTreeSet<StreamKey>,
    jitter: Jitter,
    last_number: u64,
    stopping: bool,
    refused_at_limit: u64,
    not_found_coalesced: u64,
}

/// What an open question is about.
#[derive(Clone, Debug)]
enum Question {
    Publish(SessionId),
    Play(SessionId),
    NotFound {
        key: StreamKey,
        alone: Option<SessionId>,
    },
    NoneReader(StreamKey),
    /// `auto_close`: the hook is told, its answer is not used.
    Ignored,
}

#[derive(Clone, Debug)]
enum JobOwner {
    Pull(StreamKey),
    Ffmpeg(String),
    Push(String),
}

impl Engine {
    /// An engine without streams. `seed` is for the jitter of retries only.
    pub fn new(now: Instant, settings: Settings, seed: u64) -> Self {
        let timelines = Timelines::new(settings.timeline_len, settings.timelines_kept);
        Self {
            settings,
            now,
            streams: BTreeMap::new(),
            sessions: BTreeMap::new(),
            questions: BTreeMap::new(),
            pulls: BTreeMap::new(),
            ffmpegs: BTreeMap::new(),
            pushes: BTreeMap::new(),
            jobs: BTreeMap::new(),
            timers: Timers::default(),
            timelines,
            commands: VecDeque::new(),
            touched: BTreeSet::new(),
            jitter: Jitter::new(seed),
            last_number: 0,
            stopping: false,
            refused_at_limit: 0,
            not_found_coalesced: 0,
        }
    }

    /// Takes one fact. Time never goes backwards inside: an older `now` counts as the latest one seen.
    pub fn handle(&mut self, now: Instant, event: Event) {
        self.now = self.now.max(now);
        self.run_timers();
        match event {
            Event::Tick => {}
            Event::PublishRequested { access, origin } => self.publish_requested(access, origin),
            Event::PlayRequested { access, rule } => self.play_requested(access, rule),
            Event::SessionEnded { session, end } => self.session_ended(session, &end),
            Event::Ready { key, incarnation } => self.ready(&key, incarnation),
            Event::SchemaReady {
                key,
                incarnation,
                schema,
            } => self.schema_ready(&key, incarnation, schema),
            Event::Reply {
                ticket,
                outcome,
                took,
            } => self.reply(ticket, outcome, took),
            Event::PullOpened { job } => self.pull_opened(job),
            Event::PullEnded { job, reason } => self.pull_ended(job, &reason),
            Event::FfmpegExited { job, reason } => self.ffmpeg_exited(job, &reason),
            Event::PushStarted { job } => self.push_started(job),
            Event::PushEnded { job, reason } => self.push_ended(job, &reason),
            Event::Op { id, op } => self.op(id, op),
            Event::StaticRules(rules) => self.static_rules(rules),
            Event::Settings(settings) => {
                self.timelines
                    .set_bounds(settings.timeline_len, settings.timelines_kept);
                self.settings = *settings;
            }
            Event::Shutdown => self.shutdown(),
        }
        self.settle();
    }

    /// The next decision to carry out. `None` means drained.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When [`Event::Tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// One word for the state of a stream (lifecycle.md, section 2).
    pub fn state_of(&self, key: &StreamKey) -> &'static str {
        self.streams.get(key).map_or("missing", Stream::state)
    }

    fn run_timers(&mut self) {
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Wait(session) => self.wait_over(session),
                Timer::Idle(key) => self.idle_over(&key),
                Timer::Orphan(key) => self.orphan_over(&key),
                Timer::PullRetry(key) => self.pull_retry(&key),
                Timer::Ffmpeg(key) => self.ffmpeg_timer(&key),
                Timer::PushRetry(key) => self.push_retry(&key),
            }
        }
    }

    /// The one place where an answer finds its question; answers to questions that are closed end here.
    fn reply(&mut self, ticket: Ticket, outcome: Outcome, took: Duration) {
        let Some(question) = self.questions.remove(&ticket) else {
            return;
        };
        match (question, outcome) {
            (Question::Publish(session), Outcome::Publish(answer)) => {
                self.publish_answered(session, answer, took)
            }
            (Question::Play(session), Outcome::Play(answer)) => self.play_answered(session, answer, took),
            (Question::NotFound { key, alone }, Outcome::NotFound(advice)) => {
                self.not_found_answered(&key, alone, &advice, took);
            }
            (Question::NoneReader(key), Outcome::NoneReader(advice)) => {
                self.none_reader_answered(&key, &advice, took)
            }
            (Question::Ignored, Outcome::NoneReader(_)) => {}
            (question, outcome) => {
                debug_assert!(
                    false,
                    "the answer {outcome:?} does not fit the question {question:?}"
                );
            }
        }
    }

    fn session_ended(&mut self, id: SessionId, end: &SessionEnd) {
        self.timers.clear(&Timer::Wait(id));
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        let key = session.access.key.clone();
        let mut player = true;
        match &session.phase {
            SessionPhase::AskingPublish(ticket) => {
                self.cancel(*ticket);
                return;
            }
            SessionPhase::AskingPlay(ticket) => {
                self.cancel(*ticket);
                if let Some(stream) = self.streams.get_mut(&key) {
                    stream.authorizing -= 1;
                }
                self.touch(&key);
                return;
            }
            SessionPhase::Waiting => {
                self.note(
                    &key,
                    "viewer_gave_up",
                    format!("{} left while waiting: {}", who(&session.access), end.reason),
                );
                self.stop_waiting(&key, id);
                return;
            }
            SessionPhase::Publishing { key, incarnation } => {
                player = false;
                let (key, incarnation) = (key.clone(), *incarnation);
                self.publisher_gone(&key, incarnation, id, end.clean || session.kicked, &end.reason);
            }
            SessionPhase::Playing { incarnation } => {
                let incarnation = *incarnation;
                self.reader_left(
                    &key,
                    incarnation,
                    stream::Reader::Session(id),
                    session.access.schema,
                    &format!("{}: {}", who(&session.access), end.reason),
                );
            }
            SessionPhase::Over => {
                if !session.granted {
                    return;
                }
                player = session.player;
            }
        }
        if end.bytes >= self.settings.flow_threshold {
            let Session { access, .. } = session;
            self.notify(Notice::FlowReport {
                access,
                bytes: end.bytes,
                duration: end.duration,
                player,
            });
        }
    }

    fn op(&mut self, id: OpId, op: Op) {
        let result = match op {
            Op::AddPull(spec) => match self.add_pull(id, spec) {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            Op::DelPull(key) => Ok(OpReply::Flag(self.del_pull(&key))),
            Op::ListPulls => Ok(OpReply::Pulls(
                self.pulls.values().map(|pull| pull.view(self.now)).collect(),
            )),
            Op::AddFfmpeg(spec) => match self.add_ffmpeg(id, spec) {
                Ok(Some(key)) => Ok(OpReply::Key(key)),
                Ok(None) => return,
                Err(error) => Err(error),
            },
            Op::DelFfmpeg(key) => Ok(OpReply::Flag(self.del_ffmpeg(&key, "delFFmpegSource"))),
            Op::ListFfmpegs => Ok(OpReply::Ffmpegs(
                self.ffmpegs.values().map(ffmpeg::Ffmpeg::view).collect(),
            )),
            Op::AddPush(spec) => match self.add_push(id, spec) {
                Ok(Some(key)) => Ok(OpReply::Key(key)),
                Ok(None) => return,
                Err(error) => Err(error),
            },
            Op::DelPush(key) => Ok(OpReply::Flag(self.del_push(&key))),
            Op::ListPushes => Ok(OpReply::Pushes(
                self.pushes.values().map(|push| push.view(self.now)).collect(),
            )),
            Op::CloseStream { key, force } => self.close_on_request(&key, force),
            Op::Kick(session) => {
                self.kick(session, "kicked by the API");
                Ok(OpReply::Done)
            }
            Op::Timeline(key) => self.timeline(&key),
            Op::Counts => Ok(OpReply::Counts(self.counts())),
        };
        self.finish(id, result);
    }

    fn timeline(&self, key: &StreamKey) -> Result<OpReply, OpError> {
        let stream = self.streams.get(key);
        let (entries, dropped) = match (self.timelines.get(key), stream) {
            (Some(timeline), _) => timeline,
            (None, Some(_)) => (Vec::new(), 0),
            (None, None) => return Err(OpError::NotFound),
        };
        Ok(OpReply::Timeline(TimelineView {
            key: key.clone(),
            state: self.state_of(key),
            readers: stream.map_or(0, |stream| stream.readers.len()),
            waiting: stream.map_or(0, |stream| stream.waiting.len()),
            authorizing: stream.map_or(0, |stream| stream.authorizing),
            entries,
            dropped,
        }))
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts {
            pulls: self.pulls.len(),
            ffmpegs: self.ffmpegs.len(),
            pushes: self.pushes.len(),
            open_questions: self.questions.len(),
            refused_at_limit: self.refused_at_limit,
            not_found_coalesced: self.not_found_coalesced,
            ..Counts::default()
        };
        for stream in self.streams.values() {
            counts.streams += usize::from(stream.origin.is_some());
            counts.orphans += usize::from(stream.is_orphan());
            counts.waiting += stream.waiting.len();
            counts.playing += stream.readers.len();
        }
        counts
    }

    fn shutdown(&mut self) {
        self.stopping = true;
        for (_, pull) in std::mem::take(&mut self.pulls) {
            self.timers.clear(&Timer::PullRetry(pull.spec.key.clone()));
            if let Some(job) = pull.job {
                self.stop_job(job, Command::StopPull(job));
            }
            for op in pull.waiting_ops {
                self.finish(op, Err(OpError::Stopping));
            }
        }
        for (key, ffmpeg) in std::mem::take(&mut self.ffmpegs) {
            self.timers.clear(&Timer::Ffmpeg(key));
            if let Some(job) = ffmpeg.job {
                self.stop_job(job, Command::StopFfmpeg(job));
            }
            for op in ffmpeg.waiting_ops {
                self.finish(op, Err(OpError::Stopping));
            }
        }
        for (key, push) in std::mem::take(&mut self.pushes) {
            self.timers.clear(&Timer::PushRetry(key));
            if let Some(job) = push.job {
                self.stop_job(job, Command::StopPush(job));
            }
            if let Some(op) = push.waiting_op {
                self.finish(op, Err(OpError::Stopping));
            }
        }
        let keys: Vec<StreamKey> = self.streams.keys().cloned().collect();
        for key in keys {
            self.fail_waiting(&key, "the server is stopping");
            self.close_stream(&key, Cause::Shutdown, "the server is stopping");
        }
    }

    /// Restores what must hold for each touched stream.
    fn settle(&mut self) {
        // A check may touch another stream, so this drains the set instead of walking a copy.
        while let Some(key) = self.touched.pop_first() {
            self.settle_idle(&key);
            self.settle_missing(&key);
            if self.streams.get(&key).is_some_and(Stream::is_nothing) {
                self.streams.remove(&key);
                self.timelines.retire(&key);
            }
        }
    }

    // Small words used by all rules.

    fn touch(&mut self, key: &StreamKey) {
        if !self.touched.contains(key) {
            self.touched.insert(key.clone());
        }
    }

    fn note(&mut self, key: &StreamKey, event: &'static str, detail: impl Into<String>) {
        self.timelines.note(self.now, key, event, detail);
    }

    fn command(&mut self, command: Command) {
        self.commands.push_back(command);
    }

    fn notify(&mut self, notice: Notice) {
        self.command(Command::Notify(notice));
    }

    fn verdict(&mut self, session: SessionId, verdict: Verdict) {
        self.command(Command::Verdict { session, verdict });
    }

    fn finish(&mut self, op: OpId, result: Result<OpReply, OpError>) {
        self.command(Command::Finish { op, result });
    }

    /// A number that was not used before in this process.
    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn ask(&mut self, question: Question, ask: Ask) -> Ticket {
        let ticket = Ticket(self.number());
        self.questions.insert(ticket, question);
        self.command(Command::Ask { ticket, ask });
        ticket
    }

    fn cancel(&mut self, ticket: Ticket) {
        if self.questions.remove(&ticket).is_some() {
            self.command(Command::Cancel(ticket));
        }
    }

    fn new_job(&mut self, owner: JobOwner) -> JobId {
        let job = JobId(self.number());
        self.jobs.insert(job, owner);
        job
    }

    /// Stops an attempt; whatever it still reports is ignored.
    fn stop_job(&mut self, job: JobId, command: Command) {
        if self.jobs.remove(&job).is_some() {
            self.command(command);
        }
    }

    /// Cuts a session. A publisher that is cut has no right to come back to its stream.
    fn kick(&mut self, id: SessionId, reason: &str) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.kicked = true;
        }
        self.command(Command::Kick {
            session: id,
            reason: reason.to_owned(),
        });
    }

    fn refuse_play(&mut self, id: SessionId, refusal: Refusal) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.phase = SessionPhase::Over;
        }
        self.verdict(id, Verdict::Play(Err(refusal)));
    }
}

/// A session in words: transport and id, no address parameters.
fn who(access: &Access) -> String {
    format!("{} {}", access.protocol, access.client.id)
}
