//! The decision plane: questions that somebody waits for.
//!
//! A call is one future: it tries, waits and tries again inside its deadline, and ends when it is dropped. It never answers more
//! than it was told: a receiver that fails denies publishers and players, and neither opens nor closes a stream (hooks.md,
//! section 3).

use crate::body;
use crate::body::play::Play;
use crate::body::publish::Publish;
use crate::body::stream_none_reader::StreamNoneReader;
use crate::body::stream_not_found::StreamNotFound;
use crate::client::Limits;
use crate::event::Outgoing;
use crate::failure::{Class, Failure, NetworkCode};
use crate::hook::Hook;
use crate::plane::{Attempt, Plane};
use crate::reply::{Answer, BadMember, overrides};
use crate::settings::{Endpoint, Settings};
use config::hook_endpoint::KEYED;
use lifecycle::hook::{Advice, PublishAnswer};
use lifecycle::{Ask, Outcome};
use media::StreamKey;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long a question waits for its turn. A healthy receiver answers within milliseconds, so the default of 256 at once are tens of
/// thousands per second; what has waited for a second would be too late for the player anyway.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Bounds per receiver.
pub(crate) fn limits(settings: &Settings) -> Limits {
    Limits {
        in_flight: settings.max_in_flight.clamp(1, 65_536),
        queue: settings.queue_len,
        wait: MAX_WAIT,
    }
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// For the engine.
    pub outcome: Outcome,
    /// How long it took, all attempts and pauses.
    pub took: Duration,
    /// Attempts made; 0 if nobody was asked.
    pub attempts: u32,
    /// Why there is no usable answer, for operators.
    pub failure: Option<Failure>,
}

impl Answered {
    /// The kind of failure, if there was one.
    pub fn class(&self) -> Option<Class> {
        self.failure.as_ref().map(|failure| failure.class)
    }
}

/// Asks, unless the hook is off. `limit` is how long whoever asks can wait (the handshake limit of its protocol); without it the
/// limit is the worst case of the configured attempts.
pub(crate) async fn ask(plane: &Plane, ask: &Ask, limit: Option<Duration>) -> Answered {
    let started = Instant::now();
    let settings = plane.shared.settings();
    let called = call(plane, &settings, Hook::of(ask), || outgoing(ask), limit).await;
    let Some(Called { result, attempts }) = called else {
        return Answered {
            outcome: unasked(ask, &settings),
            took: Duration::ZERO,
            attempts: 0,
            failure: None,
        };
    };
    let (outcome, failure) = match result {
        Ok(answer) => read(ask, &answer, &settings),
        Err(failure) => (failed(ask, &failure), Some(failure)),
    };
    Answered {
        outcome,
        took: started.elapsed(),
        attempts,
        failure,
    }
}

/// What came of a call with all its attempts.
pub(crate) struct Called {
    pub result: Result<Answer, Failure>,
    /// Attempts made.
    pub attempts: u32,
}

/// Calls a receiver with everything that a question is due: breaker, deadline, further attempts. `None`: the hook is off.
pub(crate) async fn call(
    plane: &Plane,
    settings: &Settings,
    hook: Hook,
    outgoing: impl FnOnce() -> Outgoing,
    limit: Option<Duration>,
) -> Option<Called> {
    let endpoint = settings.endpoint(hook)?;
    let mut call = Call {
        plane,
        settings,
        endpoint,
        attempts: 0,
    };
    let deadline = Instant::now() + call.limit(hook, limit);
    let result = call.run(&outgoing(), deadline).await;
    Some(Called {
        result,
        attempts: call.attempts,
    })
}

/// One question whose answer the caller reads itself; `None` if its hook is off.
pub(crate) async fn ask_for<T>(
    plane: &Plane,
    hook: Hook,
    outgoing: impl FnOnce() -> Outgoing,
    limit: Option<Duration>,
    read: fn(&Answer) -> Result<T, Failure>,
) -> Option<Result<T, Failure>> {
    let settings = plane.shared.settings();
    let called = call(plane, &settings, hook, outgoing, limit).await?;
    let read = called.result.and_then(|answer| {
        read(&answer).inspect_err(|failure| {
            // An attempt reports its own failures; that the answer cannot be read is seen here only.
            let receiver = settings
                .endpoint(hook)
                .and_then(|endpoint| endpoint.target.as_ref().ok())
                .map(|target| target.redacted())
                .unwrap_or_default();
            plane
                .shared
                .reporter
                .failed(hook.into(), &receiver, called.attempts, failure);
        })
    });
    Some(read)
}

struct Call<'a> {
    plane: &'a Plane,
    settings: &'a Settings,
    endpoint: &'a Endpoint,
    attempts: u32,
}

impl Call<'_> {
    fn limit(&self, hook: Hook, limit: Option<Duration>) -> Duration {
        let configured = self.settings.question_limit();
        let limit = limit.map_or(configured, |limit| limit.min(configured));
        // Players wait no longer than this for a stream, whatever the answer.
        if hook == Hook::StreamNotFound {
            limit.min(self.settings.max_stream_wait)
        } else {
            limit
        }
    }

    async fn run(&mut self, outgoing: &Outgoing, deadline: Instant) -> Result<Answer, Failure> {
        let Ok(pass) = self.plane.admit(self.endpoint) else {
            let failure = Failure::breaker_open();
            self.plane
                .shared
                .metrics
                .not_attempted(outgoing.name, KEYED, failure.class);
            return Err(failure);
        };
        let most = if pass.probe { 1 } else { self.settings.retry() + 1 };
        let result = self.try_until(outgoing, most, deadline).await;
        pass.finish(&result);
        result
    }

    async fn try_until(
        &mut self,
        outgoing: &Outgoing,
        most: u32,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        loop {
            let attempt = Attempt {
                media_server_id: &self.settings.media_server_id,
                to: self.plane.keyed(self.settings, self.endpoint),
                outgoing,
                number: self.attempts + 1,
                deadline: Some(deadline),
                seq: None,
            };
            let result = self.plane.attempt(&attempt).await;
            if !matches!(&result, Err(failure) if never_sent(failure.class)) {
                self.attempts += 1;
            }
            match result {
                Err(failure) if failure.class.is_retried() && self.attempts < most => {
                    let next = Instant::now() + self.settings.retry_pause();
                    if next >= deadline {
                        // Nobody would hear the answer.
                        return Err(failure);
                    }
                    sleep_until(next).await;
                }
                result => return result,
            }
        }
    }
}

const fn never_sent(class: Class) -> bool {
    class.receiver_works().is_none()
}

fn outgoing(ask: &Ask) -> Outgoing {
    let (key, body): (&StreamKey, _) = match ask {
        Ask::Publish { access, origin } => (&access.key, body::encode(&Publish::new(access, *origin))),
        Ask::Play { access } => (&access.key, body::encode(&Play::new(access))),
        Ask::NotFound { access } => (&access.key, body::encode(&StreamNotFound::new(access))),
        Ask::NoneReader { key, schema, params } => {
            (key, body::encode(&StreamNoneReader::new(key, *schema, params)))
        }
    };
    Outgoing::new(Hook::of(ask), key.vhost(), body)
}

/// The hook is off.
fn unasked(ask: &Ask, settings: &Settings) -> Outcome {
    match ask {
        Ask::Publish { .. } => {
            let options = settings.publish_defaults.clone();
            Outcome::Publish(Ok(PublishAnswer {
                options,
                takeover: None,
            }))
        }
        Ask::Play { .. } => Outcome::Play(Ok(())),
        Ask::NotFound { .. } => Outcome::NotFound(Advice::Unconfigured),
        Ask::NoneReader { .. } => Outcome::NoneReader(Advice::Unconfigured),
    }
}

/// The receiver failed, or said no.
fn failed(ask: &Ask, failure: &Failure) -> Outcome {
    match ask {
        // These texts reach the peer.
        Ask::Publish { .. } => Outcome::Publish(Err(failure.text.clone())),
        Ask::Play { .. } => Outcome::Play(Err(failure.text.clone())),
        // These reach operators only.
        Ask::NotFound { .. } => Outcome::NotFound(Advice::Failed(failure.to_string())),
        Ask::NoneReader { .. } => Outcome::NoneReader(Advice::Failed(failure.to_string())),
    }
}

/// The receiver said yes.
fn read(ask: &Ask, answer: &Answer, settings: &Settings) -> (Outcome, Option<Failure>) {
    match ask {
        Ask::Publish { .. } => {
            let (publish, ignored) = overrides::publish(answer, &settings.publish_defaults);
            if !ignored.is_empty() {
                tracing::warn!(members = ?ignored, "on_publish answered values that these options cannot have");
            }
            (Outcome::Publish(Ok(publish)), None)
        }
        Ask::Play { .. } => (Outcome::Play(Ok(())), None),
        Ask::NotFound { .. } => {
            let (advice, failure) = advice(answer);
            (Outcome::NotFound(advice), failure)
        }
        Ask::NoneReader { .. } => {
            let (advice, failure) = advice(answer);
            (Outcome::NoneReader(advice), failure)
        }
    }
}

/// The longest time that `wait_ms` can name; what is longer means the same as never.
const LONGEST_ADVICE: Duration = Duration::from_secs(24 * 3600);

fn advice(answer: &Answer) -> (Advice, Option<Failure>) {
    match answer.boolean("close") {
        Ok(true) => (Advice::Close, None),
        Ok(false) => match answer.integer("wait_ms").map(u64::try_from) {
            Ok(Ok(wait_ms)) if wait_ms > 0 => (
                Advice::KeepFor(Duration::from_millis(wait_ms).min(LONGEST_ADVICE)),
                None,
            ),
            // Our own addition must never make an answer of somebody who means something else by it fail.
            Ok(_) | Err(_) => (Advice::Keep, None),
        },
        Err(bad) => {
            let failure = bad_member(&bad);
            (Advice::Failed(failure.to_string()), Some(failure))
        }
    }
}

/// The answer has a member that its reader cannot take.
pub(crate) fn bad_member(bad: &BadMember) -> Failure {
    Failure::network(Class::BadMember, NetworkCode::Other, bad.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::judge;

    #[test]
    fn an_answer_may_say_how_long_but_need_not() {
        let read = |text: &str| judge(200, text.as_bytes()).map(|answer| advice(&answer).0).ok();
        let for_ms = |ms| Some(Advice::KeepFor(Duration::from_millis(ms)));
        assert_eq!(read(r#"{"code":0,"wait_ms":2500}"#), for_ms(2500));
        assert_eq!(
            read(r#"{"code":0,"close":false,"wait_ms":1e12}"#),
            for_ms(24 * 3_600_000)
        );
        for plain in ["0", "-5", "null", "\"soon\"", "[]"] {
            assert_eq!(
                read(&format!("{{\"code\":0,\"wait_ms\":{plain}}}")),
                Some(Advice::Keep),
                "{plain}"
            );
        }
        assert_eq!(
            read(r#"{"code":0,"close":true,"wait_ms":2500}"#),
            Some(Advice::Close)
        );
    }
}
