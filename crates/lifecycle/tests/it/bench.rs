//! A script bench: one clock, short words for events and commands, and every command must be expected.

use lifecycle::hook::{Advice, PublishAnswer};
use lifecycle::op::{FfmpegSpec, PullSpec, PushSpec, RulePolicy, RuleSource};
use lifecycle::*;
use media::info::OriginType;
use media::{ProtocolOptions, Schema, StreamKey};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub fn key(stream: &str) -> StreamKey {
    StreamKey::on_default_vhost("live", stream)
}

pub fn access(session: u64, stream: &str) -> Access {
    Access {
        key: key(stream),
        schema: Schema::Rtmp,
        protocol: Protocol::Rtmp,
        params: String::new(),
        client: Client {
            session: SessionId(session),
            id: format!("s{session}"),
            addr: ([127, 0, 0, 1], 1000).into(),
        },
        authenticated: false,
    }
}

/// The same over RTSP.
pub fn rtsp(session: u64, stream: &str) -> Access {
    Access {
        schema: Schema::Rtsp,
        protocol: Protocol::Rtsp,
        ..access(session, stream)
    }
}

pub fn allow(options: ProtocolOptions) -> Outcome {
    Outcome::Publish(Ok(PublishAnswer {
        options,
        takeover: None,
    }))
}

pub fn pull_spec(stream: &str) -> PullSpec {
    PullSpec {
        key: key(stream),
        url: "rtmp://camera/live/1".into(),
        alternatives: Vec::new(),
        options: ProtocolOptions::default(),
        retry_count: None,
        force: false,
        timeout: Duration::from_secs(10),
        client_options: Vec::new(),
        rule: None,
    }
}

pub fn ffmpeg_spec(stream: &str) -> FfmpegSpec {
    FfmpegSpec {
        key: format!("md5-{stream}"),
        src_url: "rtsp://camera/1".into(),
        dst_url: format!("rtmp://127.0.0.1/live/{stream}"),
        local: Some(key(stream)),
        cmd_key: String::new(),
        timeout: Duration::from_secs(10),
        enable_hls: false,
        enable_mp4: false,
        rule: None,
    }
}

pub fn push_spec(stream: &str) -> PushSpec {
    PushSpec {
        key: format!("rtmp/{}/x", key(stream)),
        stream: key(stream),
        schema: Schema::Rtmp,
        dst_url: "rtmp://elsewhere/live/1".into(),
        retry_count: None,
        timeout: Duration::from_secs(10),
        client_options: Vec::new(),
    }
}

pub fn on_demand(close_after_ms: u64) -> Option<RulePolicy> {
    Some(RulePolicy {
        on_demand: true,
        close_after: Duration::from_millis(close_after_ms),
    })
}

pub struct Bench {
    pub engine: Engine,
    start: Instant,
    tickets: BTreeMap<String, Ticket>,
    job: Option<JobId>,
    pub incarnation: u64,
    op: u64,
    pub last_reply: Option<Result<OpReply, OpError>>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    pub fn with(mut settings: Settings) -> Self {
        settings.backoff.jitter_percent = 0;
        settings.flow_threshold = 1000;
        let start = Instant::now();
        Self {
            engine: Engine::new(start, settings, 1),
            start,
            tickets: BTreeMap::new(),
            job: None,
            incarnation: 0,
            op: 0,
            last_reply: None,
        }
    }

    /// Hands in an event at `ms` and checks every command that comes of it.
    #[track_caller]
    pub fn at(&mut self, ms: u64, event: Event, expected: &[&str]) {
        self.engine.handle(self.start + Duration::from_millis(ms), event);
        let mut got = Vec::new();
        while let Some(command) = self.engine.poll_command() {
            got.push(self.word(command));
        }
        assert_eq!(got, expected, "at {ms} ms");
    }

    pub fn time(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    #[track_caller]
    pub fn tick(&mut self, ms: u64, expected: &[&str]) {
        self.at(ms, Event::Tick, expected);
    }

    #[track_caller]
    pub fn play(&mut self, ms: u64, session: u64, stream: &str, expected: &[&str]) {
        self.at(
            ms,
            Event::PlayRequested {
                access: access(session, stream),
                rule: None,
            },
            expected,
        );
    }

    #[track_caller]
    pub fn play_by_rule(&mut self, ms: u64, session: u64, stream: &str, rule: RuleSource, expected: &[&str]) {
        self.at(
            ms,
            Event::PlayRequested {
                access: access(session, stream),
                rule: Some(Box::new(rule)),
            },
            expected,
        );
    }

    #[track_caller]
    pub fn publish(&mut self, ms: u64, session: u64, stream: &str, expected: &[&str]) {
        self.at(
            ms,
            Event::PublishRequested {
                access: access(session, stream),
                origin: OriginType::RtmpPush,
            },
            expected,
        );
    }

    /// Answers the open question of this name, as the commands show it.
    #[track_caller]
    pub fn reply(&mut self, ms: u64, question: &str, outcome: Outcome, expected: &[&str]) {
        let ticket = *self
            .tickets
            .get(question)
            .unwrap_or_else(|| panic!("never asked: {question}"));
        self.at(
            ms,
            Event::Reply {
                ticket,
                outcome,
                took: Duration::from_millis(1),
            },
            expected,
        );
    }

    #[track_caller]
    pub fn let_play(&mut self, ms: u64, session: u64, expected: &[&str]) {
        self.reply(
            ms,
            &format!("on_play s{session}"),
            Outcome::Play(Ok(())),
            expected,
        );
    }

    #[track_caller]
    pub fn not_found(&mut self, ms: u64, stream: &str, advice: Advice, expected: &[&str]) {
        self.reply(
            ms,
            &format!("on_stream_not_found {stream}"),
            Outcome::NotFound(advice),
            expected,
        );
    }

    #[track_caller]
    pub fn none_reader(&mut self, ms: u64, stream: &str, advice: Advice, expected: &[&str]) {
        self.reply(
            ms,
            &format!("on_stream_none_reader {stream}"),
            Outcome::NoneReader(advice),
            expected,
        );
    }

    #[track_caller]
    pub fn ready(&mut self, ms: u64, stream: &str, expected: &[&str]) {
        self.at(
            ms,
            Event::Ready {
                key: key(stream),
                incarnation: self.incarnation,
            },
            expected,
        );
    }

    #[track_caller]
    pub fn ended(&mut self, ms: u64, session: u64, clean: bool, expected: &[&str]) {
        let end = SessionEnd {
            clean,
            bytes: 10,
            duration: Duration::from_secs(1),
            reason: "test".into(),
        };
        self.at(
            ms,
            Event::SessionEnded {
                session: SessionId(session),
                end,
            },
            expected,
        );
    }

    #[track_caller]
    pub fn op(&mut self, ms: u64, op: Op, expected: &[&str]) {
        self.op += 1;
        self.at(
            ms,
            Event::Op {
                id: OpId(self.op),
                op,
            },
            expected,
        );
    }

    /// An event about the attempt that was started last.
    #[track_caller]
    pub fn job(&mut self, ms: u64, event: fn(JobId) -> Event, expected: &[&str]) {
        let job = self.job.expect("an attempt was started");
        self.at(ms, event(job), expected);
    }

    pub fn last_job(&self) -> JobId {
        self.job.expect("an attempt was started")
    }

    /// A published and registered stream, allowed with the given options.
    pub fn live(&mut self, ms: u64, session: u64, stream: &str, options: ProtocolOptions) {
        self.publish(ms, session, stream, &[&format!("ask on_publish s{session}")]);
        let open = [format!("open {stream}"), format!("s{session} publish ok")];
        self.reply(
            ms,
            &format!("on_publish s{session}"),
            allow(options),
            &[&open[0], &open[1]],
        );
        self.ready(
            ms,
            stream,
            &[&format!("register {stream} rtmp"), &format!("+rtmp {stream}")],
        );
    }

    /// A player of a registered stream.
    pub fn watch(&mut self, ms: u64, session: u64, stream: &str) {
        self.play(ms, session, stream, &[&format!("ask on_play s{session}")]);
        self.let_play(ms, session, &[&format!("s{session} play ok")]);
    }

    fn word(&mut self, command: Command) -> String {
        let name = |key: &StreamKey| key.stream().to_owned();
        match command {
            Command::Ask { ticket, ask } => {
                let whom = match &ask {
                    Ask::Publish { access, .. } | Ask::Play { access } => access.client.id.clone(),
                    Ask::NotFound { access } => name(&access.key),
                    Ask::NoneReader { key, .. } => name(key),
                };
                let question = format!("{} {whom}", ask.name());
                self.tickets.insert(question.clone(), ticket);
                format!("ask {question}")
            }
            Command::Cancel(ticket) => {
                let question = self
                    .tickets
                    .iter()
                    .find(|(_, open)| **open == ticket)
                    .expect("an asked question");
                format!("cancel {}", question.0)
            }
            Command::Notify(Notice::StreamChanged {
                key,
                schema,
                registered,
                ..
            }) => {
                format!("{}{schema} {}", if registered { "+" } else { "-" }, name(&key))
            }
            Command::Notify(Notice::FlowReport {
                access,
                bytes,
                player,
                ..
            }) => {
                format!(
                    "flow {} {bytes} {}",
                    access.client.id,
                    if player { "player" } else { "publisher" }
                )
            }
            Command::Verdict { session, verdict } => match verdict {
                Verdict::Publish(Ok(grant)) => {
                    format!(
                        "s{session} publish {}",
                        if grant.resumed { "resumed" } else { "ok" }
                    )
                }
                Verdict::Publish(Err(refusal)) => format!("s{session} publish {}", refused(&refusal)),
                Verdict::Play(Ok(_)) => format!("s{session} play ok"),
                Verdict::Play(Err(refusal)) => format!("s{session} play {}", refused(&refusal)),
            },
            Command::Open(opening) => {
                self.incarnation = opening.incarnation;
                format!("open {}", name(&opening.key))
            }
            Command::Resume { key, .. } => format!("resume {}", name(&key)),
            Command::Orphan { key, .. } => format!("orphan {}", name(&key)),
            Command::AdoptFfmpeg { key, .. } => format!("adopt {}", name(&key)),
            Command::Register { key, schemas, .. } => {
                let schemas: Vec<&str> = schemas.iter().map(|schema| schema.as_str()).collect();
                format!("register {} {}", name(&key), schemas.join(","))
            }
            Command::Remove { key, .. } => format!("remove {}", name(&key)),
            Command::Kick { session, .. } => format!("kick s{session}"),
            Command::StartPull { job, spec } => {
                self.job = Some(job);
                format!("pull {}", name(&spec.key))
            }
            Command::AcceptPull { grant, .. } => {
                format!(
                    "accept {}{}",
                    name(&grant.key),
                    if grant.resumed { " resumed" } else { "" }
                )
            }
            Command::StopPull(_) => "stop pull".into(),
            Command::StartFfmpeg { job, spec } => {
                self.job = Some(job);
                format!("ffmpeg {}", spec.key)
            }
            Command::StopFfmpeg(_) => "stop ffmpeg".into(),
            Command::StartPush { job, spec, .. } => {
                self.job = Some(job);
                format!("push {}", name(&spec.stream))
            }
            Command::StopPush(_) => "stop push".into(),
            Command::Finish { op, result } => {
                let word = match &result {
                    Ok(OpReply::Done) => "done".to_owned(),
                    Ok(OpReply::Key(key)) => format!("key {key}"),
                    Ok(OpReply::Flag(flag)) => format!("flag {flag}"),
                    Ok(_) => "list".to_owned(),
                    Err(error) => format!("error {error}"),
                };
                self.last_reply = Some(result);
                format!("op{} {word}", op.0)
            }
        }
    }
}

fn refused(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Denied(_) => "denied",
        Refusal::NotFound(_) => "not found",
        Refusal::Taken => "taken",
        Refusal::Overload(_) => "overload",
    }
}
