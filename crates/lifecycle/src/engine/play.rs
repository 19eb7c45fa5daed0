//! Players: permission first, then the stream, then waiting for it.

use super::stream::{NotFound, Reader, Session, SessionPhase};
use super::{Engine, Question, who};
use crate::access::Access;
use crate::command::{PlayGrant, Refusal, Verdict};
use crate::hook::Advice;
use crate::op::RuleSource;
use crate::settings::LONGEST_WAIT;
use crate::timers::Timer;
use crate::{Ask, SessionId};
use media::{Schema, StreamKey};
use std::time::Duration;

impl Engine {
    pub(super) fn play_requested(&mut self, access: Access, rule: Option<Box<RuleSource>>) {
        let id = access.client.session;
        let key = access.key.clone();
        if self.sessions.contains_key(&id) {
            debug_assert!(false, "session {id} asks twice");
            return;
        }
        let mut session = Session {
            access,
            phase: SessionPhase::Over,
            rule,
            player: true,
            granted: false,
            kicked: false,
        };
        let full = !self.streams.contains_key(&key) && self.streams.len() >= self.settings.max_streams;
        if full || self.stopping {
            self.sessions.insert(id, session);
            self.refused_at_limit += u64::from(full);
            let reason = if full {
                "too many streams"
            } else {
                "the server is stopping"
            };
            self.refuse_play(id, Refusal::Overload(reason.to_owned()));
            return;
        }
        self.touch(&key);
        let stream = self.streams.entry(key).or_default();
        if session.access.authenticated {
            let access = session.access.clone();
            self.sessions.insert(id, session);
            self.admit(id, &access, "by password");
            return;
        }
        stream.authorizing += 1;
        let ticket = self.ask(
            Question::Play(id),
            Ask::Play {
                access: session.access.clone(),
            },
        );
        session.phase = SessionPhase::AskingPlay(ticket);
        self.sessions.insert(id, session);
    }

    pub(super) fn play_answered(&mut self, id: SessionId, answer: Result<(), String>, took: Duration) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let SessionPhase::AskingPlay(_) = session.phase else {
            return;
        };
        session.phase = SessionPhase::Over;
        let access = session.access.clone();
        let key = access.key.clone();
        self.touch(&key);
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        stream.authorizing -= 1;
        if let Err(text) = answer {
            self.note(
                &key,
                "play_denied",
                format!("{} after {took:?}: {text}", who(&access)),
            );
            self.refuse_play(id, Refusal::Denied(text));
            return;
        }
        self.admit(id, &access, &format!("on_play took {took:?}"));
    }

    /// Gives the stream to a player that was let in, or lets it wait. `how` it was let in is for the timeline.
    fn admit(&mut self, id: SessionId, access: &Access, how: &str) {
        let key = &access.key;
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if let Some(origin) = &stream.origin {
            let offered = origin.schemas.contains(&access.schema);
            if !offered {
                // The stream is there, but this form of it will not come: waiting would be for nothing.
                let reason = format!("the stream is not offered as {}", access.schema);
                self.note(key, "play_refused", format!("{}: {reason}", who(access)));
                self.refuse_play(id, Refusal::NotFound(reason));
                return;
            }
            if origin.registered {
                let incarnation = origin.incarnation;
                self.grant_play(id, access, incarnation, how);
                return;
            }
        }
        if access.from_edge() && !self.settings.edge_opens {
            self.refuse_play(
                id,
                Refusal::NotFound("an edge server asks for a stream that is not here".to_owned()),
            );
            return;
        }
        if stream.waiting.len() >= self.settings.max_waiting {
            self.refused_at_limit += 1;
            self.refuse_play(
                id,
                Refusal::Overload("too many players wait for this stream".to_owned()),
            );
            return;
        }
        let patience = stream.patience.unwrap_or(self.settings.max_stream_wait);
        let first = stream.waiting.is_empty();
        stream.waiting.insert(id);
        let count = stream.waiting.len();
        if let Some(session) = self.sessions.get_mut(&id) {
            session.phase = SessionPhase::Waiting;
        }
        self.timers.set(Timer::Wait(id), self.now + patience);
        // One line per crowd, not one per head: a thousand viewers must not push the story out of the timeline.
        if first || count.is_power_of_two() {
            self.note(
                key,
                "viewer_waits",
                format!("{} waits, {count} in all; {how}", who(access)),
            );
        }
        self.want(id, key);
    }

    pub(super) fn grant_play(&mut self, id: SessionId, access: &Access, incarnation: u64, why: &str) {
        let Some(stream) = self.streams.get_mut(&access.key) else {
            return;
        };
        stream.readers.insert(Reader::Session(id));
        let readers = stream.readers.len();
        if let Some(session) = self.sessions.get_mut(&id) {
            session.phase = SessionPhase::Playing { incarnation };
            session.granted = true;
        }
        if readers == 1 || readers.is_power_of_two() {
            self.note(
                &access.key,
                "reader_joined",
                format!("{}, {readers} in all; {why}", who(access)),
            );
        }
        self.touch(&access.key);
        let grant = PlayGrant {
            key: access.key.clone(),
            incarnation,
        };
        self.verdict(id, Verdict::Play(Ok(grant)));
    }

    /// Somebody new waits for a stream: makes sure that it is on its way, or that somebody is asked.
    fn want(&mut self, id: SessionId, key: &StreamKey) {
        if self
            .streams
            .get(key)
            .is_some_and(|stream| stream.origin.is_some())
        {
            return; // it is starting
        }
        if let Some(reason) = self.recent_failure(key) {
            self.fail_waiting(key, &reason);
            return;
        }
        if self.source_is_under_way(key) {
            return;
        }
        let rule = self.sessions.get(&id).and_then(|session| session.rule.clone());
        if let Some(rule) = rule {
            self.start_rule(key, *rule);
            return;
        }
        self.ask_not_found(id, key);
    }

    /// Asks the service about a missing stream, unless an answer is under way or young enough to stand for this player too.
    fn ask_not_found(&mut self, id: SessionId, key: &StreamKey) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let access = session.access.clone();
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if self.settings.not_found_per_player {
            self.ask(
                Question::NotFound {
                    key: key.clone(),
                    alone: Some(id),
                },
                Ask::NotFound { access },
            );
            return;
        }
        let wait = self.settings.max_stream_wait;
        let again = match stream.not_found {
            NotFound::NotAsked => true,
            NotFound::Asking(_) => false,
            // Those who waited when it was answered are gone by then: the answer says nothing about this player.
            NotFound::Answered(at) => self.now >= at + wait,
            NotFound::Failed(at) => self.now >= at + RETRY_NOT_FOUND,
        };
        if !again {
            self.not_found_coalesced += 1;
            return;
        }
        let detail = format!("for {}", who(&access));
        let ticket = self.ask(
            Question::NotFound {
                key: key.clone(),
                alone: None,
            },
            Ask::NotFound { access },
        );
        if let Some(stream) = self.streams.get_mut(key) {
            stream.not_found = NotFound::Asking(ticket);
        }
        self.note(key, "not_found_asked", detail);
    }

    pub(super) fn not_found_answered(
        &mut self,
        key: &StreamKey,
        alone: Option<SessionId>,
        advice: &Advice,
        took: Duration,
    ) {
        self.touch(key);
        let now = self.now;
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if alone.is_none() {
            stream.not_found = match advice {
                Advice::Close | Advice::Keep | Advice::KeepFor(_) | Advice::Unconfigured => {
                    NotFound::Answered(now)
                }
                Advice::Failed(_) => NotFound::Failed(now),
            };
        }
        match advice {
            Advice::Close => {
                self.note(key, "not_found_answered", format!("close after {took:?}"));
                let reason = "the hook service says that there is no such stream";
                match alone {
                    Some(id) => self.fail_one_waiting(key, id, reason),
                    None => self.fail_waiting(key, reason),
                }
            }
            Advice::Keep => self.note(key, "not_found_answered", format!("wait after {took:?}")),
            Advice::KeepFor(time) => {
                let patience = (*time).min(LONGEST_WAIT);
                self.wait_longer(key, alone, patience);
                self.note(
                    key,
                    "not_found_answered",
                    format!("wait {patience:?} after {took:?}"),
                );
            }
            Advice::Unconfigured => self.note(
                key,
                "not_found_unconfigured",
                "no hook, no rule: waiting for a publisher",
            ),
            Advice::Failed(reason) => self.note(key, "not_found_failed", format!("{reason} after {took:?}")),
        }
        // A source that the service tried failed before it answered, and it has not tried another one since.
        let failure = self.streams.get_mut(key).and_then(|stream| stream.failure.take());
        if let Some(reason) = failure
            && !self.source_is_under_way(key)
            && self
                .streams
                .get(key)
                .is_some_and(|stream| stream.origin.is_none())
        {
            self.fail_waiting(key, &reason);
        }
    }

    /// The service said how long players may wait, counted from its answer: those who do now, and those who join them.
    fn wait_longer(&mut self, key: &StreamKey, alone: Option<SessionId>, patience: Duration) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let concerned: Vec<SessionId> = match alone {
            Some(id) => stream.waiting.get(&id).copied().into_iter().collect(),
            None => {
                stream.patience = Some(patience);
                stream.waiting.iter().copied().collect()
            }
        };
        for id in concerned {
            self.timers.set(Timer::Wait(id), self.now + patience);
        }
    }

    /// Gives a registered stream to all who waited for one of its schemas, and tells the others that theirs will not come.
    pub(super) fn release_waiting(&mut self, key: &StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let Some(origin) = &stream.origin else { return };
        let (incarnation, schemas) = (origin.incarnation, origin.schemas.clone());
        let waiting = std::mem::take(&mut stream.waiting);
        stream.patience = None;
        stream.not_found = match stream.not_found {
            NotFound::Asking(ticket) => NotFound::Asking(ticket), // its answer still finds nobody, and is noted
            NotFound::NotAsked | NotFound::Answered(_) | NotFound::Failed(_) => NotFound::NotAsked,
        };
        if !waiting.is_empty() {
            self.note(key, "viewers_released", format!("{} at once", waiting.len()));
        }
        for id in waiting {
            self.timers.clear(&Timer::Wait(id));
            let Some(session) = self.sessions.get(&id) else {
                continue;
            };
            let access = session.access.clone();
            if schemas.contains(&access.schema) {
                self.grant_play(id, &access, incarnation, "the stream came");
            } else {
                self.refuse_play(
                    id,
                    Refusal::NotFound(format!("the stream is not offered as {}", access.schema)),
                );
            }
        }
    }

    /// A source of a missing stream failed for good: nobody shall wait out the full time for nothing. While the service is
    /// still busy with the question about this stream it may try another source; its answer is the last word then.
    pub(super) fn source_failed(&mut self, key: &StreamKey, reason: &str) {
        match self.streams.get_mut(key) {
            Some(stream) if matches!(stream.not_found, NotFound::Asking(_)) => {
                stream.failure = Some(reason.to_owned())
            }
            Some(_) | None => self.fail_waiting(key, reason),
        }
    }

    /// Ends the wait of all who wait for a stream. The next one who comes is a new question.
    pub(super) fn fail_waiting(&mut self, key: &StreamKey, reason: &str) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let waiting = std::mem::take(&mut stream.waiting);
        stream.patience = None;
        if !matches!(stream.not_found, NotFound::Asking(_)) {
            stream.not_found = NotFound::NotAsked;
        }
        self.touch(key);
        if waiting.is_empty() {
            return;
        }
        self.note(
            key,
            "viewers_failed",
            format!("{} at once: {reason}", waiting.len()),
        );
        for id in waiting {
            self.timers.clear(&Timer::Wait(id));
            self.refuse_play(id, Refusal::NotFound(reason.to_owned()));
        }
    }

    fn fail_one_waiting(&mut self, key: &StreamKey, id: SessionId, reason: &str) {
        if self.stop_waiting(key, id) {
            self.timers.clear(&Timer::Wait(id));
            self.refuse_play(id, Refusal::NotFound(reason.to_owned()));
        }
    }

    /// A player waits no longer. When it was the last one, the question about the stream has lost its reason.
    pub(super) fn stop_waiting(&mut self, key: &StreamKey, id: SessionId) -> bool {
        let Some(stream) = self.streams.get_mut(key) else {
            return false;
        };
        let was = stream.waiting.remove(&id);
        if stream.waiting.is_empty() {
            if let NotFound::Asking(ticket) = stream.not_found {
                self.cancel(ticket);
            }
            if let Some(stream) = self.streams.get_mut(key) {
                stream.not_found = NotFound::NotAsked;
                stream.patience = None;
            }
        }
        self.touch(key);
        was
    }

    pub(super) fn wait_over(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let access = session.access.clone();
        let reason = format!(
            "the stream did not come within {:?}",
            self.settings.max_stream_wait
        );
        self.fail_one_waiting(&access.key, id, &reason);
        let remain = self
            .streams
            .get(&access.key)
            .map_or(0, |stream| stream.waiting.len());
        if remain == 0 || remain.is_power_of_two() {
            self.note(
                &access.key,
                "viewer_timed_out",
                format!("{}: {reason}; {remain} wait on", who(&access)),
            );
        }
    }

    pub(super) fn reader_left(
        &mut self,
        key: &StreamKey,
        incarnation: u64,
        reader: Reader,
        schema: Schema,
        detail: &str,
    ) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if stream.incarnation(incarnation).is_none() || !stream.readers.remove(&reader) {
            return;
        }
        stream.last_watched = Some(schema);
        let readers = stream.readers.len();
        if readers == 0 || readers.is_power_of_two() {
            self.note(key, "reader_left", format!("{detail}; {readers} remain"));
        }
        self.touch(key);
    }

    /// Players wait for a stream that has no origin and nobody who was asked, because its origin was lost while it was
    /// starting: asks now.
    pub(super) fn settle_missing(&mut self, key: &StreamKey) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        let lost = stream.origin.is_none() && stream.not_found == NotFound::NotAsked;
        if let (true, Some(first)) = (lost, stream.waiting.first().copied())
            && !self.settings.not_found_per_player
            && !self.source_is_under_way(key)
        {
            self.want(first, key);
        }
    }
}

/// How soon the service is asked again about a missing stream after it failed to answer, if further players come.
const RETRY_NOT_FOUND: Duration = Duration::from_secs(1);
