//! Pushers: streams that are sent on to other servers. A pusher is a reader of its stream.

use super::stream::Reader;
use super::{Engine, JobOwner};
use crate::op::{JobState, PushSpec, PushView};
use crate::timers::Timer;
use crate::{Command, JobId, OpError, OpId, OpReply};
use std::time::{Duration, Instant};

/// A pusher and where its attempts stand.
#[derive(Debug)]
pub(super) struct Push {
    pub spec: PushSpec,
    pub state: JobState,
    pub job: Option<JobId>,
    pub incarnation: u64,
    pub failures: u32,
    pub losses: u32,
    pub live_since: Option<Instant>,
    pub live_before: Duration,
    /// The request that waits for the end of the first attempt.
    pub waiting_op: Option<OpId>,
}

impl Push {
    pub fn view(&self, now: Instant) -> PushView {
        PushView {
            spec: self.spec.clone(),
            state: self.state.clone(),
            live: self.live_before
                + self
                    .live_since
                    .map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            losses: self.losses,
            job: self.job,
        }
    }
}

impl Engine {
    /// `Some` answers at once: the pusher exists already, which is success (lifecycle.md, section 11).
    pub(super) fn add_push(&mut self, op: OpId, spec: PushSpec) -> Result<Option<String>, OpError> {
        if self.stopping {
            return Err(OpError::Stopping);
        }
        if self.pushes.contains_key(&spec.key) {
            return Ok(Some(spec.key));
        }
        if self.source_of(&spec).is_none() {
            return Err(OpError::SourceNotFound);
        }
        if self.pushes.len() >= self.settings.max_jobs {
            self.refused_at_limit += 1;
            return Err(OpError::AtLimit {
                what: "pushers",
                limit: self.settings.max_jobs,
            });
        }
        let key = spec.key.clone();
        let push = Push {
            spec,
            state: JobState::Idle,
            job: None,
            incarnation: 0,
            failures: 0,
            losses: 0,
            live_since: None,
            live_before: Duration::ZERO,
            waiting_op: Some(op),
        };
        self.pushes.insert(key.clone(), push);
        self.start_push(&key);
        Ok(None)
    }

    /// The incarnation of the registered stream that a pusher sends.
    fn source_of(&self, spec: &PushSpec) -> Option<u64> {
        let origin = self.streams.get(&spec.stream)?.origin.as_ref()?;
        (origin.registered && origin.schemas.contains(&spec.schema)).then_some(origin.incarnation)
    }

    fn start_push(&mut self, key: &str) {
        let Some(spec) = self.pushes.get(key).map(|push| push.spec.clone()) else {
            return;
        };
        let Some(incarnation) = self.source_of(&spec) else {
            self.forget_push(key, OpError::SourceNotFound);
            return;
        };
        let job = self.new_job(JobOwner::Push(key.to_owned()));
        let Some(push) = self.pushes.get_mut(key) else {
            return;
        };
        push.state = JobState::Connecting;
        push.job = Some(job);
        push.incarnation = incarnation;
        let stream = spec.stream.clone();
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.readers.insert(Reader::Push(job));
        }
        self.note(&stream, "push_connecting", "");
        self.touch(&stream);
        self.command(Command::StartPush {
            job,
            spec: Box::new(spec),
            incarnation,
        });
    }

    pub(super) fn push_started(&mut self, job: JobId) {
        let Some(JobOwner::Push(key)) = self.jobs.get(&job).cloned() else {
            return;
        };
        let now = self.now;
        let Some(push) = self.pushes.get_mut(&key) else {
            return;
        };
        push.state = JobState::Live;
        push.failures = 0;
        push.live_since = Some(now);
        let (stream, op) = (push.spec.stream.clone(), push.waiting_op.take());
        self.note(&stream, "push_live", "");
        if let Some(op) = op {
            self.finish(op, Ok(OpReply::Key(key)));
        }
    }

    pub(super) fn push_ended(&mut self, job: JobId, reason: &str) {
        let Some(JobOwner::Push(key)) = self.jobs.get(&job).cloned() else {
            return;
        };
        self.jobs.remove(&job);
        let now = self.now;
        let Some(push) = self.pushes.get_mut(&key) else {
            return;
        };
        push.job = None;
        let was_live = push.live_since.is_some();
        if let Some(since) = push.live_since.take() {
            push.live_before += now.saturating_duration_since(since);
            push.losses += 1;
            push.failures = 0;
        } else {
            push.failures += 1;
        }
        let given_up = match push.spec.retry_count {
            _ if push.losses == 0 => true,
            Some(0) if was_live => true,
            Some(allowed) => push.failures > allowed,
            None => false,
        };
        let (stream, schema) = (push.spec.stream.clone(), push.spec.schema);
        let (incarnation, failures) = (push.incarnation, push.failures);
        self.note(
            &stream,
            if was_live { "push_lost" } else { "push_failed" },
            reason,
        );
        self.reader_left(&stream, incarnation, Reader::Push(job), schema, "pusher");
        if given_up {
            self.forget_push(&key, OpError::Failed(reason.to_owned()));
            return;
        }
        let random = self.jitter.next();
        let retry_at = now + self.settings.backoff.pause(failures, random);
        self.timers.set(Timer::PushRetry(key.clone()), retry_at);
        if let Some(push) = self.pushes.get_mut(&key) {
            push.state = JobState::BackingOff {
                reason: reason.to_owned(),
                was_live,
                retry_at,
            };
        }
    }

    pub(super) fn push_retry(&mut self, key: &str) {
        self.start_push(key);
    }

    /// The stream it sends is gone, and so is the pusher.
    pub(super) fn push_source_gone(&mut self, key: &str) {
        self.forget_push(key, OpError::SourceNotFound);
    }

    pub(super) fn del_push(&mut self, key: &str) -> bool {
        if !self.pushes.contains_key(key) {
            return false;
        }
        self.forget_push(key, OpError::Removed);
        true
    }

    fn forget_push(&mut self, key: &str, error: OpError) {
        self.timers.clear(&Timer::PushRetry(key.to_owned()));
        let Some(push) = self.pushes.remove(key) else {
            return;
        };
        if let Some(job) = push.job {
            self.stop_job(job, Command::StopPush(job));
            let PushSpec { stream, schema, .. } = &push.spec;
            self.reader_left(stream, push.incarnation, Reader::Push(job), *schema, "pusher");
        }
        if let Some(op) = push.waiting_op {
            self.finish(op, Err(error));
        }
    }
}
