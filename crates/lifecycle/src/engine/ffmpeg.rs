//! ffmpeg sources: a process that pushes a stream to us (or to somebody else), with its restarts.

use super::stream::Origin;
use super::{Engine, JobOwner};
use crate::command::Cause;
use crate::op::{FfmpegSpec, FfmpegView, JobState};
use crate::timers::Timer;
use crate::{Command, JobId, OpError, OpId, OpReply, SessionId};
use media::StreamKey;

/// An ffmpeg source and where its process stands.
#[derive(Debug)]
pub(super) struct Ffmpeg {
    pub spec: FfmpegSpec,
    pub state: JobState,
    pub job: Option<JobId>,
    /// Starts of the process after the first.
    pub restarts: u32,
    /// Consecutive starts without the stream appearing.
    pub failures: u32,
    /// The stream appeared (or, for another server, the process lived long enough) at least once.
    pub appeared: bool,
    /// The process is being stopped on purpose and starts again when it is reaped.
    pub restarting: bool,
    /// Requests that wait for the end of the first attempt.
    pub waiting_ops: Vec<OpId>,
}

impl Ffmpeg {
    pub fn view(&self) -> FfmpegView {
        FfmpegView {
            spec: self.spec.clone(),
            state: self.state.clone(),
            restarts: self.restarts,
            job: self.job,
        }
    }

    fn on_demand(&self) -> bool {
        self.spec.rule.as_ref().is_some_and(|rule| rule.on_demand)
    }
}

impl Engine {
    /// `Some` answers at once: the source exists already, which is success (lifecycle.md, section 13).
    pub(super) fn add_ffmpeg(&mut self, op: OpId, spec: FfmpegSpec) -> Result<Option<String>, OpError> {
        if self.stopping {
            return Err(OpError::Stopping);
        }
        if let Some(present) = self.ffmpegs.get_mut(&spec.key) {
            return match present.state {
                // Two requests that race share the first attempt and its result.
                JobState::Connecting if !present.appeared => {
                    present.waiting_ops.push(op);
                    Ok(None)
                }
                JobState::Failed { .. } => {
                    let key = spec.key.clone();
                    self.forget_ffmpeg(&key);
                    self.insert_ffmpeg(spec, vec![op]).map(|()| None)
                }
                JobState::Idle | JobState::Connecting | JobState::Live | JobState::BackingOff { .. } => {
                    Ok(Some(spec.key))
                }
            };
        }
        if let Some(key) = &spec.local {
            let fed = self
                .streams
                .get(key)
                .is_some_and(|stream| stream.origin.is_some());
            if fed || self.source_is_under_way(key) {
                return Err(OpError::Exists);
            }
        }
        self.insert_ffmpeg(spec, vec![op]).map(|()| None)
    }

    pub(super) fn insert_ffmpeg(&mut self, spec: FfmpegSpec, waiting_ops: Vec<OpId>) -> Result<(), OpError> {
        if self.ffmpegs.len() >= self.settings.max_jobs {
            self.refused_at_limit += 1;
            return Err(OpError::AtLimit {
                what: "ffmpeg sources",
                limit: self.settings.max_jobs,
            });
        }
        let key = spec.key.clone();
        let ffmpeg = Ffmpeg {
            spec,
            state: JobState::Idle,
            job: None,
            restarts: 0,
            failures: 0,
            appeared: false,
            restarting: false,
            waiting_ops,
        };
        self.ffmpegs.insert(key.clone(), ffmpeg);
        self.start_ffmpeg(&key);
        Ok(())
    }

    fn start_ffmpeg(&mut self, key: &str) {
        let job = self.new_job(JobOwner::Ffmpeg(key.to_owned()));
        let now = self.now;
        let Some(ffmpeg) = self.ffmpegs.get_mut(key) else {
            return;
        };
        ffmpeg.state = JobState::Connecting;
        ffmpeg.restarting = false;
        ffmpeg.job = Some(job);
        let (spec, restarts) = (Box::new(ffmpeg.spec.clone()), ffmpeg.restarts);
        self.timers.set(Timer::Ffmpeg(key.to_owned()), now + spec.timeout);
        self.ffmpeg_note(
            spec.local.as_ref(),
            "ffmpeg_started",
            &format!("start {}", restarts + 1),
        );
        self.command(Command::StartFfmpeg { job, spec });
    }

    /// A publisher's stream was registered, or its publisher came back. If it is the one an ffmpeg of ours pushes, that source
    /// has appeared.
    pub(super) fn adopt_ffmpeg(&mut self, session: SessionId, key: &StreamKey, incarnation: u64) {
        let Some(asked) = self
            .sessions
            .get(&session)
            .map(|session| session.access.key.clone())
        else {
            return;
        };
        let found = self
            .ffmpegs
            .iter()
            .find(|(_, ffmpeg)| ffmpeg.job.is_some() && ffmpeg.spec.local.as_ref() == Some(&asked));
        let Some(handle) = found.map(|(handle, _)| handle.clone()) else {
            return;
        };
        let Some(spec) = self.ffmpeg_appeared(&handle) else {
            return;
        };
        if let Some(Origin {
            ffmpeg,
            close_after,
            permanent,
            ..
        }) = self
            .streams
            .get_mut(key)
            .and_then(|stream| stream.incarnation(incarnation))
        {
            *ffmpeg = Some(handle);
            *close_after = spec
                .rule
                .as_ref()
                .filter(|rule| rule.on_demand)
                .map(|rule| rule.close_after);
            *permanent = spec.rule.as_ref().is_some_and(|rule| !rule.on_demand);
        }
        self.command(Command::AdoptFfmpeg {
            key: key.clone(),
            incarnation,
            src_url: spec.src_url,
            enable_hls: spec.enable_hls,
            enable_mp4: spec.enable_mp4,
        });
    }

    fn ffmpeg_appeared(&mut self, handle: &str) -> Option<FfmpegSpec> {
        let timer = Timer::Ffmpeg(handle.to_owned());
        self.timers.clear(&timer);
        let restart = self.settings.ffmpeg_restart;
        if !restart.is_zero() {
            self.timers.set(timer, self.now + restart);
        }
        let ffmpeg = self.ffmpegs.get_mut(handle)?;
        ffmpeg.state = JobState::Live;
        ffmpeg.failures = 0;
        ffmpeg.appeared = true;
        let (ops, spec) = (std::mem::take(&mut ffmpeg.waiting_ops), ffmpeg.spec.clone());
        self.ffmpeg_note(spec.local.as_ref(), "ffmpeg_live", "");
        for op in ops {
            self.finish(op, Ok(OpReply::Key(handle.to_owned())));
        }
        Some(spec)
    }

    pub(super) fn ffmpeg_timer(&mut self, handle: &str) {
        let Some(ffmpeg) = self.ffmpegs.get_mut(handle) else {
            return;
        };
        match ffmpeg.state {
            JobState::Connecting => {
                if ffmpeg.spec.local.is_none() {
                    self.ffmpeg_appeared(handle);
                    return;
                }
                if let Some(job) = ffmpeg.job.take() {
                    self.stop_job(job, Command::StopFfmpeg(job));
                }
                self.ffmpeg_failed(handle, OpError::TimedOut);
            }
            JobState::BackingOff { .. } => {
                let local = ffmpeg.spec.local.clone();
                let wanted = local.is_some_and(|key| {
                    self.streams
                        .get(&key)
                        .is_some_and(|stream| stream.interest() + stream.authorizing > 0)
                });
                let Some(ffmpeg) = self.ffmpegs.get_mut(handle) else {
                    return;
                };
                if ffmpeg.on_demand() && !wanted {
                    self.del_ffmpeg(handle, "nobody wants it any more");
                    return;
                }
                ffmpeg.restarts += 1;
                self.start_ffmpeg(handle);
            }
            JobState::Live => self.restart_ffmpeg(handle, "ffmpeg.restart_sec"),
            JobState::Failed { .. } => self.forget_ffmpeg(handle),
            JobState::Idle => {}
        }
    }

    /// Stops a process in order to start it again when it is reaped, so that old and new never push side by side.
    fn restart_ffmpeg(&mut self, handle: &str, why: &str) {
        let Some(ffmpeg) = self.ffmpegs.get_mut(handle) else {
            return;
        };
        let Some(job) = ffmpeg.job else { return };
        if ffmpeg.restarting {
            return;
        }
        ffmpeg.restarting = true;
        let local = ffmpeg.spec.local.clone();
        self.ffmpeg_note(local.as_ref(), "ffmpeg_restarting", why);
        self.command(Command::StopFfmpeg(job));
    }

    pub(super) fn ffmpeg_exited(&mut self, job: JobId, reason: &str) {
        let Some(JobOwner::Ffmpeg(handle)) = self.jobs.get(&job).cloned() else {
            return;
        };
        self.jobs.remove(&job);
        self.timers.clear(&Timer::Ffmpeg(handle.clone()));
        let Some(ffmpeg) = self.ffmpegs.get_mut(&handle) else {
            return;
        };
        ffmpeg.job = None;
        if ffmpeg.restarting {
            ffmpeg.restarts += 1;
            self.start_ffmpeg(&handle);
            return;
        }
        self.ffmpeg_failed(&handle, OpError::Failed(reason.to_owned()));
    }

    /// A process ended by itself, or was stopped because its stream did not appear.
    fn ffmpeg_failed(&mut self, handle: &str, error: OpError) {
        let Some(ffmpeg) = self.ffmpegs.get_mut(handle) else {
            return;
        };
        let was_live = ffmpeg.state == JobState::Live;
        ffmpeg.failures = if was_live { 0 } else { ffmpeg.failures + 1 };
        let (failures, local, appeared) = (ffmpeg.failures, ffmpeg.spec.local.clone(), ffmpeg.appeared);
        let (ops, ruled, on_demand) = (
            std::mem::take(&mut ffmpeg.waiting_ops),
            ffmpeg.spec.rule.is_some(),
            ffmpeg.on_demand(),
        );
        let reason = error.to_string();
        self.ffmpeg_note(local.as_ref(), "ffmpeg_ended", &reason);
        for op in ops {
            self.finish(op, Err(error.clone()));
        }
        if let (Some(key), false) = (&local, was_live) {
            self.source_failed(key, &reason);
        }
        if !appeared && !ruled {
            self.ffmpegs.remove(handle);
            return;
        }
        let random = self.jitter.next();
        let retry_at = self.now + self.settings.backoff.pause(failures, random);
        self.timers.set(Timer::Ffmpeg(handle.to_owned()), retry_at);
        if let Some(ffmpeg) = self.ffmpegs.get_mut(handle) {
            ffmpeg.state = if on_demand && !was_live {
                JobState::Failed { reason }
            } else {
                JobState::BackingOff {
                    reason,
                    was_live,
                    retry_at,
                }
            };
        }
    }

    /// The stream of a source is gone although nobody asked for that: the process does not push any more, so it is restarted
    /// if it still runs.
    pub(super) fn ffmpeg_stream_gone(&mut self, handle: &str) {
        if self
            .ffmpegs
            .get(handle)
            .is_some_and(|ffmpeg| ffmpeg.state == JobState::Live)
        {
            self.restart_ffmpeg(handle, "it pushes no more");
        }
    }

    pub(super) fn del_ffmpeg(&mut self, handle: &str, why: &str) -> bool {
        let Some(ffmpeg) = self.ffmpegs.get(handle) else {
            return false;
        };
        let local = ffmpeg.spec.local.clone();
        self.ffmpeg_note(local.as_ref(), "ffmpeg_removed", why);
        self.forget_ffmpeg(handle);
        let fed: Vec<StreamKey> = self
            .streams
            .iter()
            .filter(|(_, stream)| {
                stream
                    .origin
                    .as_ref()
                    .is_some_and(|origin| origin.ffmpeg.as_deref() == Some(handle))
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in fed {
            self.close_stream(&key, Cause::Operator, why);
        }
        if let Some(key) = local {
            self.source_failed(&key, why);
        }
        true
    }

    /// Stops a process and removes its entry; its stream is the caller's business.
    pub(super) fn forget_ffmpeg(&mut self, handle: &str) {
        self.timers.clear(&Timer::Ffmpeg(handle.to_owned()));
        let Some(ffmpeg) = self.ffmpegs.remove(handle) else {
            return;
        };
        if let Some(job) = ffmpeg.job {
            self.stop_job(job, Command::StopFfmpeg(job));
        }
        for op in ffmpeg.waiting_ops {
            self.finish(op, Err(OpError::Removed));
        }
        if let Some(key) = &ffmpeg.spec.local {
            self.touch(key);
        }
    }

    fn ffmpeg_note(&mut self, local: Option<&StreamKey>, event: &'static str, detail: &str) {
        if let Some(key) = local {
            self.note(key, event, detail);
            self.touch(key);
        }
    }
}
