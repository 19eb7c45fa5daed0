//! Nobody watches: the delay, the question, the answer.

use super::stream::{Idle, OriginPhase};
use super::{Engine, Question};
use crate::Ask;
use crate::command::Cause;
use crate::hook::Advice;
use crate::timers::Timer;
use media::{Schema, StreamKey};
use std::time::Duration;

impl Engine {
    /// Starts the delay of an unwatched stream, or ends delay and question of a watched one.
    pub(super) fn settle_idle(&mut self, key: &StreamKey) {
        let Some(stream) = self.streams.get(key) else {
            self.timers.clear(&Timer::Idle(key.clone()));
            return;
        };
        let idle = stream.idle;
        if !stream.is_registered() || stream.interest() > 0 {
            if idle == Idle::Off {
                return;
            }
            if let Idle::Asking(ticket) = idle {
                self.note(key, "reader_won", "somebody watches again before the answer came");
                self.cancel(ticket);
            }
            self.set_idle(key, Idle::Off);
            if let Some(stream) = self.streams.get_mut(key) {
                stream.hookless = false;
            }
            self.timers.clear(&Timer::Idle(key.clone()));
            return;
        }
        match idle {
            Idle::Off => self.count_down(key, self.unwatched_delay(key)),
            Idle::Due if stream.authorizing == 0 => self.decide_unwatched(key),
            Idle::Due | Idle::Counting | Idle::Asking(_) | Idle::Settled => {}
        }
    }

    pub(super) fn idle_over(&mut self, key: &StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.idle = Idle::Due;
        if stream.authorizing == 0 {
            self.decide_unwatched(key);
        }
        // Else the permission that is being asked decides: settle looks again when it is there.
    }

    /// The delay is over and nobody is there or on the way.
    fn decide_unwatched(&mut self, key: &StreamKey) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        let Some(origin) = &stream.origin else { return };
        if origin.permanent {
            self.set_idle(key, Idle::Settled);
            return;
        }
        if origin.close_after.is_some() {
            self.note(key, "closed_by_rule", "nobody watches");
            self.close_stream(key, Cause::Unwatched, "nobody watches (rule)");
            return;
        }
        let auto_close = origin.options.auto_close;
        let schema = stream.last_watched.or(origin.schemas.first().copied());
        let ask = Ask::NoneReader {
            key: key.clone(),
            schema: schema.unwrap_or(Schema::Rtmp),
            params: origin.params.clone(),
        };
        if auto_close {
            // The service is told, as ZLM tells it; what it says changes nothing (lifecycle.md, section 6).
            self.ask(Question::Ignored, ask);
            self.note(key, "closed_by_auto_close", "nobody watches");
            self.close_stream(key, Cause::Unwatched, "nobody watches (auto_close)");
            return;
        }
        let ticket = self.ask(Question::NoneReader(key.clone()), ask);
        self.set_idle(key, Idle::Asking(ticket));
        if self.streams.get(key).is_some_and(|stream| !stream.hookless) {
            self.note(key, "none_reader_asked", "");
        }
    }

    pub(super) fn none_reader_answered(&mut self, key: &StreamKey, advice: &Advice, took: Duration) {
        self.touch(key);
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        let expected = matches!(stream.idle, Idle::Asking(_));
        // Whoever watches again has cancelled the question; whoever is being let in wins over the answer too.
        let returning = stream.authorizing > 0;
        if !expected {
            return;
        }
        match advice {
            Advice::Close if returning => {
                self.note(
                    key,
                    "reader_won",
                    format!("close after {took:?}, but a viewer is being let in"),
                );
                self.count_down(key, self.unwatched_delay(key));
            }
            Advice::Close => {
                self.note(key, "none_reader_answered", format!("close after {took:?}"));
                self.close_stream(key, Cause::Unwatched, "nobody watches (on_stream_none_reader)");
            }
            Advice::Keep => {
                self.note(key, "none_reader_answered", format!("keep after {took:?}"));
                self.set_idle(key, Idle::Settled);
            }
            Advice::KeepFor(time) => {
                self.note(
                    key,
                    "none_reader_answered",
                    format!("keep for {time:?} after {took:?}"),
                );
                self.count_down(key, *time);
            }
            Advice::Unconfigured => {
                // Asked again, since the hook may be switched on at any time; it costs nothing until then, and is told once.
                if let Some(stream) = self.streams.get_mut(key)
                    && !std::mem::replace(&mut stream.hookless, true)
                {
                    self.note(
                        key,
                        "none_reader_unconfigured",
                        "no hook, no rule: the stream stays",
                    );
                }
                self.count_down(key, self.unwatched_delay(key));
            }
            Advice::Failed(reason) => {
                self.note(
                    key,
                    "none_reader_failed",
                    format!("{reason} after {took:?}; asked again later"),
                );
                self.count_down(key, self.settings.none_reader_retry);
            }
        }
    }

    fn unwatched_delay(&self, key: &StreamKey) -> Duration {
        let origin = self.streams.get(key).and_then(|stream| stream.origin.as_ref());
        origin
            .and_then(|origin| origin.close_after)
            .unwrap_or(self.settings.none_reader_delay)
    }

    fn count_down(&mut self, key: &StreamKey, delay: Duration) {
        // A delay of zero would ask in a circle within one instant.
        let delay = delay.max(SHORTEST_DELAY);
        self.set_idle(key, Idle::Counting);
        self.timers.set(Timer::Idle(key.clone()), self.now + delay);
    }

    pub(super) fn set_idle(&mut self, key: &StreamKey, idle: Idle) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.idle = idle;
        }
    }

    /// Whether an orphaned stream is past its time. Exists for the timer only; a publisher that returned has cleared it.
    pub(super) fn orphan_over(&mut self, key: &StreamKey) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        let Some(origin) = &stream.origin else { return };
        if let OriginPhase::Orphan { until } = origin.phase
            && until <= self.now
        {
            self.note(key, "publisher_given_up", "it did not come back in time");
            self.gone(key, Cause::OriginLost, "the publisher did not come back");
        }
    }
}

/// Lower bound of `general.streamNoneReaderDelayMS` and `close_after`.
const SHORTEST_DELAY: Duration = Duration::from_millis(1);
