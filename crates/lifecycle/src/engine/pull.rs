//! Pulls: sources that Tidegate connects to, with their attempts.

use super::publish::target;
use super::stream::{OriginPhase, Stream};
use super::{Engine, JobOwner};
use crate::command::{Cause, Feeder};
use crate::op::{JobState, PullSpec, PullView, RuleSource};
use crate::timers::Timer;
use crate::{Command, JobId, OpError, OpId, OpReply};
use media::StreamKey;
use media::info::OriginType;
use std::time::{Duration, Instant};

/// A pull and where its attempts stand. Kept under the name its stream has; `spec.key` is the handle for operators.
#[derive(Debug)]
pub(super) struct Pull {
    pub spec: PullSpec,
    pub state: JobState,
    pub job: Option<JobId>,
    /// Which of the URLs the next attempt uses; 0 is the first one.
    pub next_url: usize,
    /// Consecutive failed attempts, one for all URLs in turn.
    pub failures: u32,
    /// Losses after having been live.
    pub losses: u32,
    pub live_since: Option<Instant>,
    /// Time live before the present connection.
    pub live_before: Duration,
    /// Requests that wait for the end of the first attempt.
    pub waiting_ops: Vec<OpId>,
}

impl Pull {
    pub fn view(&self, now: Instant) -> PullView {
        PullView {
            spec: self.spec.clone(),
            state: self.state.clone(),
            live: self.live_before
                + self
                    .live_since
                    .map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            losses: self.losses,
            failures: self.failures,
            job: self.job,
        }
    }

    fn on_demand(&self) -> bool {
        self.spec.rule.as_ref().is_some_and(|rule| rule.on_demand)
    }
}

impl Engine {
    pub(super) fn add_pull(&mut self, op: OpId, spec: PullSpec) -> Result<(), OpError> {
        if self.stopping {
            return Err(OpError::Stopping);
        }
        let key = target(&spec.key, &spec.options);
        let replaceable = self
            .pulls
            .get(&key)
            .is_none_or(|pull| matches!(pull.state, JobState::Failed { .. }));
        let fed = self
            .streams
            .get(&key)
            .is_some_and(|stream| stream.origin.is_some());
        let ffmpeg = self
            .ffmpegs
            .values()
            .any(|ffmpeg| ffmpeg.spec.local.as_ref() == Some(&key));
        if !replaceable || fed || ffmpeg {
            return Err(OpError::Exists);
        }
        self.insert_pull(key, spec, vec![op])
    }

    fn insert_pull(&mut self, key: StreamKey, spec: PullSpec, waiting_ops: Vec<OpId>) -> Result<(), OpError> {
        if self.pulls.len() >= self.settings.max_jobs {
            self.refused_at_limit += 1;
            return Err(OpError::AtLimit {
                what: "pulls",
                limit: self.settings.max_jobs,
            });
        }
        let pull = Pull {
            spec,
            state: JobState::Idle,
            job: None,
            next_url: 0,
            failures: 0,
            losses: 0,
            live_since: None,
            live_before: Duration::ZERO,
            waiting_ops,
        };
        self.pulls.insert(key.clone(), pull);
        self.start_pull(&key);
        Ok(())
    }

    fn start_pull(&mut self, key: &StreamKey) {
        self.timers.clear(&Timer::PullRetry(key.clone()));
        let job = self.new_job(JobOwner::Pull(key.clone()));
        let Some(pull) = self.pulls.get_mut(key) else {
            return;
        };
        pull.state = JobState::Connecting;
        pull.job = Some(job);
        let (mut spec, attempt, which) = (Box::new(pull.spec.clone()), pull.failures + 1, pull.next_url);
        if let Some(url) = which
            .checked_sub(1)
            .and_then(|which| spec.alternatives.get(which))
        {
            spec.url = url.clone();
        }
        let urls = spec.alternatives.len() + 1;
        self.command(Command::StartPull { job, spec });
        self.note(
            key,
            "pull_connecting",
            format!("attempt {attempt}, source {} of {urls}", which + 1),
        );
    }

    pub(super) fn pull_opened(&mut self, job: JobId) {
        let Some(JobOwner::Pull(key)) = self.jobs.get(&job).cloned() else {
            return;
        };
        if self
            .pulls
            .get(&key)
            .is_none_or(|pull| pull.state != JobState::Connecting)
        {
            return;
        }
        let phase = self
            .streams
            .get(&key)
            .and_then(|stream| stream.origin.as_ref())
            .map(|origin| origin.phase);
        let feeder = Feeder::Pull(job);
        let grant = match phase {
            None => {
                let Some(pull) = self.pulls.get(&key) else { return };
                let (options, rule) = (pull.spec.options.clone(), pull.spec.rule.clone());
                Some(self.open(
                    &key,
                    feeder,
                    OriginType::Pull,
                    String::new(),
                    options,
                    rule.as_ref(),
                ))
            }
            Some(OriginPhase::Frozen) => self.resume(&key, feeder, OriginType::Pull, None),
            Some(OriginPhase::Fed(_) | OriginPhase::Orphan { .. }) => None,
        };
        let Some(grant) = grant else {
            // Somebody published under this name while we connected.
            self.command(Command::StopPull(job));
            self.pull_ended(job, &OpError::Exists.to_string());
            return;
        };
        let now = self.now;
        let Some(pull) = self.pulls.get_mut(&key) else {
            return;
        };
        pull.state = JobState::Live;
        pull.failures = 0;
        pull.live_since = Some(now);
        let (ops, handle) = (std::mem::take(&mut pull.waiting_ops), pull.spec.key.to_string());
        self.note(&key, "pull_opened", "");
        self.command(Command::AcceptPull { job, grant });
        for op in ops {
            self.finish(op, Ok(OpReply::Key(handle.clone())));
        }
    }

    pub(super) fn pull_ended(&mut self, job: JobId, reason: &str) {
        let Some(JobOwner::Pull(key)) = self.jobs.get(&job).cloned() else {
            return;
        };
        self.jobs.remove(&job);
        self.touch(&key);
        let now = self.now;
        let Some(pull) = self.pulls.get_mut(&key) else {
            return;
        };
        pull.job = None;
        let was_live = pull.live_since.is_some();
        if let Some(since) = pull.live_since.take() {
            pull.live_before += now.saturating_duration_since(since);
            pull.losses += 1;
            pull.failures = 0;
            pull.next_url = 0;
        } else {
            pull.next_url = (pull.next_url + 1) % (pull.spec.alternatives.len() + 1);
            if pull.next_url != 0 {
                self.note(&key, "pull_failed", reason);
                self.start_pull(&key);
                return;
            }
            pull.failures += 1;
        }
        let (failures, ever_live) = (pull.failures, pull.losses > 0);
        let given_up = match pull.spec.retry_count {
            _ if !was_live && !ever_live && !pull.spec.force && pull.spec.rule.is_none() => true,
            Some(0) if was_live => true,
            Some(allowed) => failures > allowed,
            None => false,
        };
        let on_demand = pull.on_demand();
        let ops = std::mem::take(&mut pull.waiting_ops);
        let (force, handle) = (pull.spec.force, pull.spec.key.to_string());
        self.note(&key, if was_live { "pull_lost" } else { "pull_failed" }, reason);
        for op in ops {
            let result = if force {
                Ok(OpReply::Key(handle.clone()))
            } else {
                Err(OpError::Failed(reason.to_owned()))
            };
            self.finish(op, result);
        }
        if was_live {
            let registered = self.streams.get(&key).is_some_and(Stream::is_registered);
            if self.settings.reset_when_replay || given_up || !registered {
                self.gone(&key, Cause::OriginLost, reason);
            } else if let Some(origin) = self
                .streams
                .get_mut(&key)
                .and_then(|stream| stream.origin.as_mut())
            {
                origin.phase = OriginPhase::Frozen;
            }
        }
        if given_up {
            self.pulls.remove(&key);
            self.note(&key, "pull_given_up", reason);
            self.source_failed(&key, reason);
            return;
        }
        let random = self.jitter.next();
        let retry_at = now + self.settings.backoff.pause(failures, random);
        self.timers.set(Timer::PullRetry(key.clone()), retry_at);
        // A source that a viewer's wish started has failed that viewer: it is told so at once, and so is who asks until the
        // pause is over. Then the next wish starts it again.
        let failed = on_demand && !was_live;
        if let Some(pull) = self.pulls.get_mut(&key) {
            let reason = reason.to_owned();
            pull.state = if failed {
                JobState::Failed { reason }
            } else {
                JobState::BackingOff {
                    reason,
                    was_live,
                    retry_at,
                }
            };
        }
        if failed {
            self.source_failed(&key, reason);
        }
    }

    pub(super) fn pull_retry(&mut self, key: &StreamKey) {
        let wanted = self
            .streams
            .get(key)
            .is_some_and(|stream| stream.interest() + stream.authorizing > 0);
        let Some(pull) = self.pulls.get(key) else { return };
        let forget = match pull.state {
            JobState::Failed { .. } => true,
            JobState::BackingOff { .. } => pull.on_demand() && !wanted,
            JobState::Idle | JobState::Connecting | JobState::Live => return,
        };
        if forget {
            self.close_stream(key, Cause::Unwatched, "nobody wants it any more");
            self.forget_pull(key);
        } else {
            self.start_pull(key);
        }
    }

    pub(super) fn del_pull(&mut self, handle: &str) -> bool {
        let key = self
            .pulls
            .iter()
            .find(|(_, pull)| pull.spec.key.to_string() == handle)
            .map(|(key, _)| key.clone());
        let Some(key) = key else { return false };
        self.note(&key, "pull_removed", "delStreamProxy");
        self.remove_pull(&key, "the pull was removed");
        true
    }

    fn remove_pull(&mut self, key: &StreamKey, reason: &str) {
        let fed_by_it = self
            .streams
            .get(key)
            .and_then(|stream| stream.origin.as_ref())
            .is_some_and(|origin| {
                matches!(
                    origin.phase,
                    OriginPhase::Fed(Feeder::Pull(_)) | OriginPhase::Frozen
                )
            });
        self.forget_pull(key);
        if fed_by_it {
            self.gone(key, Cause::Operator, reason);
        }
        self.source_failed(key, reason);
    }

    /// Stops a pull and removes its entry; its stream is the caller's business.
    pub(super) fn forget_pull(&mut self, key: &StreamKey) {
        self.timers.clear(&Timer::PullRetry(key.clone()));
        let Some(pull) = self.pulls.remove(key) else {
            return;
        };
        self.touch(key);
        if let Some(job) = pull.job {
            self.stop_job(job, Command::StopPull(job));
        }
        for op in pull.waiting_ops {
            self.finish(op, Err(OpError::Removed));
        }
    }

    /// Why waiting for this stream would be for nothing at the moment.
    pub(super) fn recent_failure(&self, key: &StreamKey) -> Option<String> {
        let last_chance = self.now + self.settings.max_stream_wait;
        let pull = self.pulls.get(key).map(|pull| &pull.state);
        let ffmpeg = self
            .ffmpegs
            .values()
            .find(|ffmpeg| ffmpeg.spec.local.as_ref() == Some(key))
            .map(|ffmpeg| &ffmpeg.state);
        [pull, ffmpeg]
            .into_iter()
            .flatten()
            .find_map(|state| match state {
                JobState::Failed { reason } => Some(reason.clone()),
                JobState::BackingOff { reason, retry_at, .. } if *retry_at > last_chance => {
                    Some(reason.clone())
                }
                JobState::Idle | JobState::Connecting | JobState::Live | JobState::BackingOff { .. } => None,
            })
    }

    /// Whether a source for this stream is connecting, or will try again in time for somebody who starts to wait now.
    pub(super) fn source_is_under_way(&self, key: &StreamKey) -> bool {
        self.pulls.contains_key(key)
            || self
                .ffmpegs
                .values()
                .any(|ffmpeg| ffmpeg.spec.local.as_ref() == Some(key))
    }

    /// Starts what the rules make of a missing stream that somebody waits for.
    pub(super) fn start_rule(&mut self, key: &StreamKey, rule: RuleSource) {
        self.note(key, "rule_started", "a source rule matches");
        let result = match rule {
            RuleSource::Pull(spec) => self.insert_pull(key.clone(), spec, Vec::new()),
            RuleSource::Ffmpeg(spec) => self.insert_ffmpeg(spec, Vec::new()),
        };
        if let Err(error) = result {
            self.fail_waiting(key, &error.to_string());
        }
    }

    /// Starts rules that run without being asked for, stops those that are gone or have changed.
    pub(super) fn static_rules(&mut self, rules: Vec<RuleSource>) {
        if self.stopping {
            return;
        }
        let gone: Vec<StreamKey> = self
            .pulls
            .iter()
            .filter(|(_, pull)| pull.spec.rule.as_ref().is_some_and(|rule| !rule.on_demand))
            .filter(|(_, pull)| {
                !rules
                    .iter()
                    .any(|rule| matches!(rule, RuleSource::Pull(spec) if *spec == pull.spec))
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.note(&key, "rule_removed", "the configuration changed");
            self.remove_pull(&key, "the rule was removed");
        }
        let gone: Vec<String> = self
            .ffmpegs
            .iter()
            .filter(|(_, ffmpeg)| ffmpeg.spec.rule.as_ref().is_some_and(|rule| !rule.on_demand))
            .filter(|(_, ffmpeg)| {
                !rules
                    .iter()
                    .any(|rule| matches!(rule, RuleSource::Ffmpeg(spec) if *spec == ffmpeg.spec))
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.del_ffmpeg(&key, "the rule was removed");
        }
        for rule in rules {
            let Some(key) = rule.key().cloned() else { continue };
            let taken = self.source_is_under_way(&key)
                || self
                    .streams
                    .get(&key)
                    .is_some_and(|s: &Stream| s.origin.is_some());
            if !taken {
                self.start_rule(&key, rule);
            }
        }
    }
}
