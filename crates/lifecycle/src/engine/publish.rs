//! Publishers: permission, the name, registration, loss and return, closing.

use super::stream::{Idle, Origin, OriginPhase, Reader, Session, SessionPhase};
use super::{Engine, JobOwner, Question, who};
use crate::access::Access;
use crate::command::{Cause, Feeder, Opening, PublishGrant, Refusal, Verdict};
use crate::hook::PublishAnswer;
use crate::op::RulePolicy;
use crate::settings::DuplicatePublish;
use crate::timers::Timer;
use crate::{Ask, Command, Notice, OpError, OpReply, SessionId};
use media::info::OriginType;
use media::{ProtocolOptions, Schema, StreamKey};
use std::time::Duration;

impl Engine {
    pub(super) fn publish_requested(&mut self, access: Access, origin: OriginType) {
        let id = access.client.session;
        if self.sessions.contains_key(&id) {
            debug_assert!(false, "session {id} asks twice");
            return;
        }
        let mut session = Session {
            access,
            phase: SessionPhase::Over,
            rule: None,
            player: false,
            granted: false,
            kicked: false,
        };
        if self.stopping {
            self.sessions.insert(id, session);
            let refusal = Refusal::Overload("the server is stopping".to_owned());
            self.verdict(id, Verdict::Publish(Err(refusal)));
            return;
        }
        // Asked before the name is looked at, as ZLM does: the service may rename the stream or allow a takeover.
        let ticket = self.ask(
            Question::Publish(id),
            Ask::Publish {
                access: session.access.clone(),
                origin,
            },
        );
        session.phase = SessionPhase::AskingPublish(ticket);
        self.sessions.insert(id, session);
    }

    pub(super) fn publish_answered(
        &mut self,
        id: SessionId,
        answer: Result<PublishAnswer, String>,
        took: Duration,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.phase = SessionPhase::Over;
        let access = session.access.clone();
        let result = match answer {
            Ok(answer) => self.take_name(id, &access, answer, took),
            Err(text) => {
                self.note(
                    &access.key,
                    "publish_denied",
                    format!("{} after {took:?}: {text}", who(&access)),
                );
                Err(Refusal::Denied(text))
            }
        };
        if let (Ok(grant), Some(session)) = (&result, self.sessions.get_mut(&id)) {
            session.granted = true;
            session.phase = SessionPhase::Publishing {
                key: grant.key.clone(),
                incarnation: grant.incarnation,
            };
        }
        if result.is_err() && !self.streams.contains_key(&access.key) {
            self.timelines.retire(&access.key);
        }
        self.verdict(id, Verdict::Publish(result));
    }

    /// Gives a permitted publisher its name: a new stream, its orphaned one, or somebody else's if it may take over.
    fn take_name(
        &mut self,
        id: SessionId,
        access: &Access,
        answer: PublishAnswer,
        took: Duration,
    ) -> Result<PublishGrant, Refusal> {
        let key = target(&access.key, &answer.options);
        self.touch(&key);
        let feeder = Feeder::Session(id);
        let kind = origin_type(access);
        let present = self
            .streams
            .get(&key)
            .and_then(|stream| stream.origin.as_ref())
            .map(|origin| (origin.phase, origin.kind));
        match present {
            // Only the same protocol may go on: players hold its track layout, and RTSP ones the publisher's own packets.
            Some((OriginPhase::Orphan { .. }, orphaned)) if orphaned == kind => {
                self.note(
                    &key,
                    "publisher_returned",
                    format!("{} after {took:?}", who(access)),
                );
                let grant = self
                    .resume(&key, feeder, kind, Some(answer.options.continue_push))
                    .ok_or(Refusal::Taken)?;
                self.adopt_ffmpeg(id, &key, grant.incarnation);
                return Ok(grant);
            }
            Some((OriginPhase::Orphan { .. } | OriginPhase::Fed(_) | OriginPhase::Frozen, _)) => {
                let takeover = answer
                    .takeover
                    .unwrap_or(self.settings.duplicate_publish == DuplicatePublish::Takeover);
                if !takeover {
                    self.note(
                        &key,
                        "publish_refused",
                        format!("{}: the name is taken", who(access)),
                    );
                    return Err(Refusal::Taken);
                }
                self.note(&key, "taken_over", format!("by {}", who(access)));
                self.close_stream(&key, Cause::Replaced, "another publisher took over");
            }
            None if !self.streams.contains_key(&key) && self.streams.len() >= self.settings.max_streams => {
                self.refused_at_limit += 1;
                return Err(Refusal::Overload("too many streams".to_owned()));
            }
            None => {}
        }
        self.note(
            &key,
            "published",
            format!("{}, on_publish took {took:?}", who(access)),
        );
        Ok(self.open(&key, feeder, kind, access.params.clone(), answer.options, None))
    }

    /// Opens a stream for a feeder that has the right to its name.
    pub(super) fn open(
        &mut self,
        key: &StreamKey,
        feeder: Feeder,
        kind: OriginType,
        params: String,
        options: ProtocolOptions,
        rule: Option<&RulePolicy>,
    ) -> PublishGrant {
        let incarnation = self.number();
        let own = self.settings.own_schema(kind);
        let schemas: Vec<Schema> = self
            .settings
            .schemas
            .iter()
            .copied()
            .filter(|schema| options.enables(*schema) || own == Some(*schema))
            .collect();
        self.streams.entry(key.clone()).or_default().origin = Some(Origin {
            incarnation,
            phase: OriginPhase::Fed(feeder),
            kind,
            params: params.clone(),
            options: options.clone(),
            schemas: schemas.clone(),
            announced: Vec::new(),
            close_after: rule.filter(|rule| rule.on_demand).map(|rule| rule.close_after),
            permanent: rule.is_some_and(|rule| !rule.on_demand),
            ffmpeg: None,
            registered: false,
        });
        self.touch(key);
        let opening = Opening {
            key: key.clone(),
            incarnation,
            feeder,
            origin: kind,
            params,
            schemas,
            options,
        };
        self.command(Command::Open(opening));
        PublishGrant {
            key: key.clone(),
            incarnation,
            resumed: false,
        }
    }

    /// Lets a feeder go on with a stream that was kept for it.
    pub(super) fn resume(
        &mut self,
        key: &StreamKey,
        feeder: Feeder,
        kind: OriginType,
        continue_push: Option<Duration>,
    ) -> Option<PublishGrant> {
        let origin = self.streams.get_mut(key)?.origin.as_mut()?;
        let incarnation = origin.incarnation;
        origin.phase = OriginPhase::Fed(feeder);
        if let Some(continue_push) = continue_push {
            origin.options.continue_push = continue_push;
        }
        self.timers.clear(&Timer::Orphan(key.clone()));
        self.touch(key);
        self.command(Command::Resume {
            key: key.clone(),
            incarnation,
            feeder,
            origin: kind,
        });
        Some(PublishGrant {
            key: key.clone(),
            incarnation,
            resumed: true,
        })
    }

    pub(super) fn ready(&mut self, key: &StreamKey, incarnation: u64) {
        let Some(origin) = self
            .streams
            .get_mut(key)
            .and_then(|stream| stream.incarnation(incarnation))
        else {
            return;
        };
        if origin.registered {
            return;
        }
        origin.registered = true;
        let phase = origin.phase;
        let options = &origin.options;
        let at_once = |schema: &Schema| !schema.takes_a_segment() || options.on_demand(*schema);
        let schemas: Vec<Schema> = origin.schemas.iter().copied().filter(at_once).collect();
        self.announce(key, incarnation, &schemas);
        if let OriginPhase::Fed(Feeder::Session(id)) = phase {
            self.adopt_ffmpeg(id, key, incarnation);
        }
        self.release_waiting(key);
    }

    /// A schema that had to be made first is there: the stream is registered in it, too. Players of it need not wait for this:
    /// they get the stream, and wait for its first segment.
    pub(super) fn schema_ready(&mut self, key: &StreamKey, incarnation: u64, schema: Schema) {
        let origin = self
            .streams
            .get_mut(key)
            .and_then(|stream| stream.incarnation(incarnation));
        let due = |origin: &mut Origin| {
            origin.registered && origin.schemas.contains(&schema) && !origin.announced.contains(&schema)
        };
        if origin.is_some_and(due) {
            self.announce(key, incarnation, &[schema]);
        }
    }

    /// Registers a stream in further schemas.
    fn announce(&mut self, key: &StreamKey, incarnation: u64, schemas: &[Schema]) {
        let Some(origin) = self
            .streams
            .get_mut(key)
            .and_then(|stream| stream.incarnation(incarnation))
        else {
            return;
        };
        origin.announced.extend_from_slice(schemas);
        let (announced, params) = (origin.announced.clone(), origin.params.clone());
        self.touch(key);
        self.command(Command::Register {
            key: key.clone(),
            incarnation,
            schemas: announced,
        });
        let list: Vec<&str> = schemas.iter().map(|schema| schema.as_str()).collect();
        self.note(key, "registered", list.join(", "));
        for schema in schemas {
            self.notify(Notice::StreamChanged {
                key: key.clone(),
                incarnation,
                schema: *schema,
                registered: true,
                params: params.clone(),
            });
        }
    }

    /// A publishing session is over.
    pub(super) fn publisher_gone(
        &mut self,
        key: &StreamKey,
        incarnation: u64,
        id: SessionId,
        clean: bool,
        reason: &str,
    ) {
        let now = self.now;
        let Some(origin) = self
            .streams
            .get_mut(key)
            .and_then(|stream| stream.incarnation(incarnation))
        else {
            return;
        };
        if origin.phase != OriginPhase::Fed(Feeder::Session(id)) {
            return;
        }
        self.touched.insert(key.clone());
        let keep = origin.options.continue_push;
        if clean || keep.is_zero() || !origin.registered {
            self.note(key, "publisher_left", reason);
            let cause = if clean {
                Cause::Unpublished
            } else {
                Cause::OriginLost
            };
            self.gone(key, cause, reason);
            return;
        }
        let until = now + keep;
        origin.phase = OriginPhase::Orphan { until };
        self.timers.set(Timer::Orphan(key.clone()), until);
        self.note(key, "publisher_lost", format!("{reason}; kept for {keep:?}"));
        self.command(Command::Orphan {
            key: key.clone(),
            incarnation,
        });
    }

    pub(super) fn close_on_request(&mut self, key: &StreamKey, force: bool) -> Result<OpReply, OpError> {
        let stream = self
            .streams
            .get(key)
            .filter(|stream| stream.origin.is_some())
            .ok_or(OpError::NotFound)?;
        let readers = stream.interest();
        if !force && readers > 0 {
            return Err(OpError::Watched { readers });
        }
        self.note(key, "closed_by_api", if force { "forced" } else { "unwatched" });
        self.close_stream(key, Cause::Operator, "closed by the API");
        Ok(OpReply::Done)
    }

    /// Closes a stream with everything that feeds it: publisher, pull, ffmpeg process. Those who feed it may not come back
    /// to this incarnation.
    pub(super) fn close_stream(&mut self, key: &StreamKey, cause: Cause, reason: &str) {
        let Some(origin) = self.streams.get(key).and_then(|stream| stream.origin.as_ref()) else {
            return;
        };
        let (phase, ffmpeg) = (origin.phase, origin.ffmpeg.clone());
        match phase {
            OriginPhase::Fed(Feeder::Session(id)) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.phase = SessionPhase::Over;
                }
                self.kick(id, reason);
            }
            OriginPhase::Fed(Feeder::Pull(_)) | OriginPhase::Frozen => self.forget_pull(key),
            OriginPhase::Orphan { .. } => {}
        }
        if let Some(ffmpeg) = ffmpeg {
            self.forget_ffmpeg(&ffmpeg);
        }
        self.gone(key, cause, reason);
    }

    /// A stream is no more: tells the service, the hub, its readers and its relays.
    pub(super) fn gone(&mut self, key: &StreamKey, cause: Cause, reason: &str) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let Some(origin) = stream.origin.take() else {
            return;
        };
        let readers = std::mem::take(&mut stream.readers);
        stream.last_watched = None;
        if let Idle::Asking(ticket) = std::mem::take(&mut stream.idle) {
            self.cancel(ticket);
        }
        self.timers.clear(&Timer::Idle(key.clone()));
        self.timers.clear(&Timer::Orphan(key.clone()));
        self.touch(key);
        let incarnation = origin.incarnation;
        if origin.registered {
            for schema in &origin.announced {
                let (key, params) = (key.clone(), origin.params.clone());
                self.notify(Notice::StreamChanged {
                    key,
                    incarnation,
                    schema: *schema,
                    registered: false,
                    params,
                });
            }
        }
        self.note(key, "closed", format!("{reason}; {} readers", readers.len()));
        self.command(Command::Remove {
            key: key.clone(),
            incarnation,
            cause,
            reason: reason.to_owned(),
        });
        for reader in readers {
            match reader {
                Reader::Session(id) => {
                    if let Some(session) = self.sessions.get_mut(&id) {
                        session.phase = SessionPhase::Over;
                    }
                }
                Reader::Push(job) => {
                    if let Some(JobOwner::Push(push)) = self.jobs.get(&job).cloned() {
                        self.push_source_gone(&push);
                    }
                }
            }
        }
        if let Some(ffmpeg) = origin.ffmpeg {
            self.ffmpeg_stream_gone(&ffmpeg);
        }
    }
}

/// The name a stream is registered under (`stream_replace`).
pub(super) fn target(key: &StreamKey, options: &ProtocolOptions) -> StreamKey {
    options
        .stream_replace
        .as_ref()
        .map_or_else(|| key.clone(), |stream| key.with_stream(stream))
}

/// Kind of origin of a publisher by its transport.
fn origin_type(access: &Access) -> OriginType {
    use crate::access::Protocol::*;
    match access.protocol {
        Rtmp | Rtmps => OriginType::RtmpPush,
        Rtsp | Rtsps => OriginType::RtspPush,
        Srt => OriginType::SrtPush,
        Rtc => OriginType::RtcPush,
        Rtp => OriginType::RtpPush,
        Http | Https | Ws | Wss | Hls | HlsFmp4 => OriginType::Unknown,
    }
}
