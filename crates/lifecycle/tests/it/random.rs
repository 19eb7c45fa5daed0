//! Random sequences of events against a small model that only watches the commands.

use crate::bench::{ffmpeg_spec, key, on_demand, pull_spec, push_spec};
use lifecycle::hook::{Advice, PublishAnswer};
use lifecycle::op::RuleSource;
use lifecycle::*;
use media::info::OriginType;
use media::{ProtocolOptions, Schema, StreamKey};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
enum Step {
    Play { stream: u8, by_rule: bool },
    Publish { stream: u8 },
    End { pick: u8, clean: bool },
    Reply { pick: u8, answer: u8 },
    Ready { pick: u8 },
    Job { pick: u8, what: u8 },
    Op { what: u8, stream: u8 },
    Wait { ms: u16 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u8, any::<bool>()).prop_map(|(stream, by_rule)| Step::Play { stream, by_rule: by_rule && stream == 2 }),
        2 => (0..3u8).prop_map(|stream| Step::Publish { stream }),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(pick, clean)| Step::End { pick, clean }),
        8 => (any::<u8>(), any::<u8>()).prop_map(|(pick, answer)| Step::Reply { pick, answer }),
        4 => any::<u8>().prop_map(|pick| Step::Ready { pick }),
        3 => (any::<u8>(), 0..4u8).prop_map(|(pick, what)| Step::Job { pick, what }),
        2 => (0..7u8, 0..3u8).prop_map(|(what, stream)| Step::Op { what, stream }),
        4 => (0..30_000u16).prop_map(|ms| Step::Wait { ms }),
    ]
}

#[derive(Debug, Default, PartialEq)]
enum Seen {
    #[default]
    Asked,
    Granted(u64),
    Refused,
}

/// What the outside knows: only commands it was given and events it handed in.
struct Model {
    engine: Engine,
    now: Instant,
    next_session: u64,
    sessions: BTreeMap<u64, (StreamKey, bool, Seen)>,
    kicked: BTreeSet<u64>,
    open: BTreeMap<StreamKey, (u64, bool)>,
    questions: BTreeMap<Ticket, Ask>,
    /// Questions about streams that were closed without waiting for the answer (`auto_close`).
    told: BTreeSet<Ticket>,
    jobs: BTreeMap<JobId, &'static str>,
    ops: u64,
    open_ops: BTreeSet<u64>,
}

impl Model {
    fn new(settings: Settings) -> Self {
        let now = Instant::now();
        Self {
            engine: Engine::new(now, settings, 7),
            now,
            next_session: 0,
            sessions: BTreeMap::new(),
            kicked: BTreeSet::new(),
            open: BTreeMap::new(),
            questions: BTreeMap::new(),
            told: BTreeSet::new(),
            jobs: BTreeMap::new(),
            ops: 0,
            open_ops: BTreeSet::new(),
        }
    }

    fn readers(&self, stream: &StreamKey) -> usize {
        let Some((incarnation, _)) = self.open.get(stream) else {
            return 0;
        };
        self.sessions
            .values()
            .filter(|(key, player, seen)| key == stream && *player && *seen == Seen::Granted(*incarnation))
            .count()
    }

    fn authorizing(&self, stream: &StreamKey) -> usize {
        let asked = |ask: &&Ask| matches!(ask, Ask::Play { access } if access.key == *stream);
        self.questions.values().filter(asked).count()
    }

    fn handle(&mut self, event: Event) {
        // The one answer that may never close a watched stream.
        let guarded = match &event {
            Event::Reply {
                ticket,
                outcome: Outcome::NoneReader(_),
                ..
            } => match self.questions.get(ticket) {
                Some(Ask::NoneReader { key, .. }) if self.readers(key) + self.authorizing(key) > 0 => {
                    Some(key.clone())
                }
                _ => None,
            },
            _ => None,
        };
        // The answer after which the stream must be asked about again.
        let unanswered = match &event {
            Event::Reply {
                ticket,
                outcome: Outcome::NoneReader(Advice::Failed(_) | Advice::Unconfigured),
                ..
            } if !self.told.contains(ticket) => match self.questions.get(ticket) {
                Some(Ask::NoneReader { key, .. }) if self.engine.state_of(key) == "unwatched" => {
                    Some(key.clone())
                }
                _ => None,
            },
            _ => None,
        };
        if let Event::Reply { ticket, .. } = &event {
            self.questions.remove(ticket);
        }
        if let Event::SessionEnded { session, .. } = &event {
            self.sessions.remove(&session.0);
        }
        self.engine.handle(self.now, event.clone());
        while let Some(command) = self.engine.poll_command() {
            if let (Command::Remove { key, .. }, Some(guarded)) = (&command, &guarded) {
                assert_ne!(key, guarded, "closed under a viewer by a late answer");
            }
            self.observe(command);
        }
        self.check(&event);
        if let Some(key) = unanswered.filter(|key| self.engine.state_of(key) == "unwatched") {
            assert!(
                self.engine.deadline().is_some(),
                "leaked: nobody will ask about {key} again"
            );
        }
    }

    fn observe(&mut self, command: Command) {
        match command {
            Command::Ask { ticket, ask } => {
                let same = |other: &Ask| match (&ask, other) {
                    (Ask::NotFound { access: a }, Ask::NotFound { access: b }) => a.key == b.key,
                    // auto_close tells without waiting, so a second one may follow for the next incarnation.
                    _ => false,
                };
                assert!(!self.questions.values().any(same), "asked twice at once: {ask:?}");
                assert!(
                    self.questions.insert(ticket, ask).is_none(),
                    "a ticket is used once"
                );
            }
            Command::Cancel(ticket) => assert!(
                self.questions.remove(&ticket).is_some(),
                "cancelled what was not open"
            ),
            Command::Notify(Notice::StreamChanged {
                key,
                incarnation,
                registered,
                ..
            }) => {
                let (open, was) = self.open.get_mut(&key).expect("news of an open stream");
                assert_eq!(
                    (*open, *was),
                    (incarnation, !registered),
                    "registered and removed take turns"
                );
                *was = registered;
            }
            Command::Notify(Notice::FlowReport { .. }) => {}
            Command::Verdict { session, verdict } => {
                let Some((_, player, seen)) = self.sessions.get_mut(&session.0) else {
                    panic!("a verdict for a session that is over");
                };
                assert_eq!(*seen, Seen::Asked, "one verdict for each session");
                *seen = match &verdict {
                    Verdict::Play(Ok(grant)) => {
                        assert!(*player);
                        assert_eq!(
                            self.open.get(&grant.key),
                            Some(&(grant.incarnation, true)),
                            "plays what is registered"
                        );
                        Seen::Granted(grant.incarnation)
                    }
                    Verdict::Publish(Ok(grant)) => {
                        assert!(!*player);
                        assert_eq!(
                            self.open.get(&grant.key).map(|open| open.0),
                            Some(grant.incarnation)
                        );
                        Seen::Granted(grant.incarnation)
                    }
                    Verdict::Play(Err(_)) | Verdict::Publish(Err(_)) => Seen::Refused,
                };
            }
            Command::Open(opening) => {
                let before = self
                    .open
                    .insert(opening.key.clone(), (opening.incarnation, false));
                assert_eq!(before, None, "one incarnation of a name at a time");
            }
            Command::Resume { key, incarnation, .. } | Command::Orphan { key, incarnation } => {
                assert_eq!(self.open.get(&key), Some(&(incarnation, true)));
            }
            Command::AdoptFfmpeg { key, incarnation, .. } | Command::Register { key, incarnation, .. } => {
                assert_eq!(self.open.get(&key).map(|open| open.0), Some(incarnation));
            }
            Command::Remove { key, incarnation, .. } => {
                let told = |(_, ask): &(&Ticket, &Ask)| matches!(ask, Ask::NoneReader { key: about, .. } if *about == key);
                self.told
                    .extend(self.questions.iter().filter(told).map(|(ticket, _)| *ticket));
                assert_eq!(
                    self.open.remove(&key),
                    Some((incarnation, false)),
                    "removed once, after it was unregistered"
                );
            }
            Command::Kick { session, .. } => {
                self.kicked.insert(session.0);
            }
            Command::StartPull { job, .. } => assert!(self.jobs.insert(job, "pull").is_none()),
            Command::StartFfmpeg { job, .. } => assert!(self.jobs.insert(job, "ffmpeg").is_none()),
            Command::StartPush { job, .. } => assert!(self.jobs.insert(job, "push").is_none()),
            Command::AcceptPull { job, grant } => {
                assert_eq!(self.jobs.get(&job), Some(&"pull"));
                assert_eq!(
                    self.open.get(&grant.key).map(|open| open.0),
                    Some(grant.incarnation)
                );
            }
            Command::StopPull(job) | Command::StopPush(job) => {
                assert!(self.jobs.remove(&job).is_some(), "stopped once")
            }
            // An ffmpeg may be stopped in order to be restarted, and then removed; its exit ends the job.
            Command::StopFfmpeg(_) => {}
            Command::Finish { op, .. } => assert!(self.open_ops.remove(&op.0), "answered once"),
        }
    }

    fn check(&self, event: &Event) {
        for stream in self.open.keys() {
            let asking = self.questions.iter().any(|(ticket, ask)| {
                !self.told.contains(ticket) && matches!(ask, Ask::NoneReader { key, .. } if key == stream)
            });
            let watched = self.readers(stream) > 0;
            assert!(
                !(asking && watched),
                "a watched stream is asked about after {event:?}"
            );
        }
        assert!(
            self.engine.deadline().is_none_or(|at| at > self.now),
            "a timer that is due was left"
        );
    }

    fn run(&mut self, step: &Step) {
        let streams = ["a", "b", "c"];
        match *step {
            Step::Play { stream, by_rule } => {
                self.next_session += 1;
                let access = crate::bench::access(self.next_session, streams[usize::from(stream)]);
                self.sessions
                    .insert(self.next_session, (access.key.clone(), true, Seen::Asked));
                let mut spec = pull_spec(streams[usize::from(stream)]);
                spec.rule = on_demand(3_000);
                let rule = by_rule.then(|| Box::new(RuleSource::Pull(spec)));
                self.handle(Event::PlayRequested { access, rule });
            }
            Step::Publish { stream } => {
                self.next_session += 1;
                let access = crate::bench::access(self.next_session, streams[usize::from(stream)]);
                self.sessions
                    .insert(self.next_session, (access.key.clone(), false, Seen::Asked));
                self.handle(Event::PublishRequested {
                    access,
                    origin: OriginType::RtmpPush,
                });
            }
            Step::End { pick, clean } => {
                let Some(id) = self
                    .sessions
                    .keys()
                    .nth(usize::from(pick) % self.sessions.len().max(1))
                    .copied()
                else {
                    return;
                };
                self.end(id, clean);
            }
            Step::Reply { pick, answer } => {
                let Some((ticket, ask)) = self
                    .questions
                    .iter()
                    .nth(usize::from(pick) % self.questions.len().max(1))
                    .map(|(t, a)| (*t, a.clone()))
                else {
                    return;
                };
                self.reply(ticket, &ask, answer);
            }
            Step::Ready { pick } => {
                let Some((key, (incarnation, registered))) = self
                    .open
                    .iter()
                    .nth(usize::from(pick) % self.open.len().max(1))
                    .map(|(k, o)| (k.clone(), *o))
                else {
                    return;
                };
                if !registered {
                    self.handle(Event::Ready { key, incarnation });
                }
            }
            Step::Job { pick, what } => {
                let Some((job, kind)) = self
                    .jobs
                    .iter()
                    .nth(usize::from(pick) % self.jobs.len().max(1))
                    .map(|(j, k)| (*j, *k))
                else {
                    return;
                };
                let reason = "test".to_owned();
                let event = match (kind, what) {
                    ("pull", 0 | 1) => Event::PullOpened { job },
                    ("pull", _) => Event::PullEnded { job, reason },
                    ("push", 0 | 1) => Event::PushStarted { job },
                    ("push", _) => Event::PushEnded { job, reason },
                    _ => Event::FfmpegExited { job, reason },
                };
                if !matches!(event, Event::PullOpened { .. } | Event::PushStarted { .. }) {
                    self.jobs.remove(&job);
                }
                self.handle(event);
            }
            Step::Op { what, stream } => {
                let stream = streams[usize::from(stream)];
                let op = match what {
                    0 => Op::AddPull(pull_spec(stream)),
                    1 => {
                        let mut spec = pull_spec(stream);
                        spec.force = true;
                        spec.retry_count = Some(1);
                        Op::AddPull(spec)
                    }
                    2 => Op::DelPull(key(stream).to_string()),
                    3 => Op::AddFfmpeg(ffmpeg_spec(stream)),
                    4 => Op::AddPush(push_spec(stream)),
                    5 => Op::CloseStream {
                        key: key(stream),
                        force: false,
                    },
                    _ => Op::CloseStream {
                        key: key(stream),
                        force: true,
                    },
                };
                self.ops += 1;
                self.open_ops.insert(self.ops);
                self.handle(Event::Op {
                    id: OpId(self.ops),
                    op,
                });
            }
            Step::Wait { ms } => {
                let until = self.now + Duration::from_millis(u64::from(ms));
                while let Some(at) = self.engine.deadline().filter(|at| *at <= until) {
                    self.now = at.max(self.now);
                    self.handle(Event::Tick);
                }
                self.now = until;
                self.handle(Event::Tick);
            }
        }
    }

    fn end(&mut self, id: u64, clean: bool) {
        let end = SessionEnd {
            clean,
            bytes: 2_000,
            duration: Duration::from_secs(1),
            reason: "left".into(),
        };
        // The call is over before the session's end is known to the model, so that a cancel finds it.
        self.engine_end(id, end);
    }

    fn engine_end(&mut self, id: u64, end: SessionEnd) {
        self.handle(Event::SessionEnded {
            session: SessionId(id),
            end,
        });
    }

    fn reply(&mut self, ticket: Ticket, ask: &Ask, answer: u8) {
        let advice = match answer % 4 {
            0 => Advice::Close,
            1 if answer.is_multiple_of(3) => Advice::KeepFor(Duration::from_secs(2)),
            1 => Advice::Keep,
            2 => Advice::Unconfigured,
            _ => Advice::Failed("down".into()),
        };
        let outcome = match ask {
            Ask::Publish { .. } if answer.is_multiple_of(5) => Outcome::Publish(Err("no".into())),
            Ask::Publish { .. } => {
                let options = ProtocolOptions {
                    continue_push: Duration::from_secs(u64::from(answer % 3) * 5),
                    auto_close: answer.is_multiple_of(7),
                    ..ProtocolOptions::default()
                };
                let takeover = (answer.is_multiple_of(11)).then_some(true);
                Outcome::Publish(Ok(PublishAnswer { options, takeover }))
            }
            Ask::Play { .. } if answer.is_multiple_of(5) => Outcome::Play(Err("no".into())),
            Ask::Play { .. } => Outcome::Play(Ok(())),
            Ask::NotFound { .. } => Outcome::NotFound(advice),
            Ask::NoneReader { .. } => Outcome::NoneReader(advice),
        };
        self.handle(Event::Reply {
            ticket,
            outcome,
            took: Duration::from_millis(3),
        });
    }

    /// Answers everything, lets every deadline pass: nobody may be left without a verdict, and no request without an answer.
    fn wind_down(&mut self) {
        while let Some((ticket, ask)) = self
            .questions
            .iter()
            .next()
            .map(|(ticket, ask)| (*ticket, ask.clone()))
        {
            self.reply(ticket, &ask, 3);
        }
        let late = self.now + Duration::from_secs(16);
        while let Some(at) = self.engine.deadline().filter(|at| *at <= late) {
            self.now = at.max(self.now);
            self.handle(Event::Tick);
            while let Some((ticket, ask)) = self
                .questions
                .iter()
                .next()
                .map(|(ticket, ask)| (*ticket, ask.clone()))
            {
                self.reply(ticket, &ask, 3);
            }
        }
        self.now = late;
        self.handle(Event::Tick);
        for (id, (_, _, seen)) in &self.sessions {
            assert_ne!(*seen, Seen::Asked, "session {id} was never told");
        }
        self.handle(Event::Shutdown);
        assert!(self.open.is_empty(), "shutdown left streams: {:?}", self.open);
        assert!(
            self.open_ops.is_empty(),
            "requests without an answer: {:?}",
            self.open_ops
        );
        let sessions: Vec<u64> = self.sessions.keys().copied().collect();
        for id in sessions {
            self.end(id, true);
        }
        self.ops += 1;
        self.open_ops.insert(self.ops);
        self.engine.handle(
            self.now,
            Event::Op {
                id: OpId(self.ops),
                op: Op::Counts,
            },
        );
        let Some(Command::Finish {
            result: Ok(OpReply::Counts(counts)),
            ..
        }) = self.engine.poll_command()
        else {
            panic!("counts are answered at once");
        };
        let left = (
            counts.streams,
            counts.waiting,
            counts.playing,
            counts.pulls,
            counts.ffmpegs,
            counts.pushes,
        );
        assert_eq!(left, (0, 0, 0, 0, 0, 0), "something was left behind");
        assert_eq!(self.engine.deadline(), None, "a timer was left behind");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nobody_is_forgotten_and_nothing_is_leaked(
        steps in proptest::collection::vec(step(), 1..120),
        reset_when_replay: bool,
    ) {
        let settings = Settings {
            reset_when_replay,
            schemas: &[Schema::Rtmp],
            none_reader_delay: Duration::from_secs(4),
            none_reader_retry: Duration::from_secs(4),
            max_stream_wait: Duration::from_secs(5),
            ..Settings::default()
        };
        let mut model = Model::new(settings);
        for step in &steps {
            model.run(step);
        }
        model.wind_down();
    }
}
