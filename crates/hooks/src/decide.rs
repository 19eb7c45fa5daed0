//! The decision plane: questions that somebody waits for.
//!
//! A call is one future: it tries, waits and tries again inside its deadline, and ends when it is dropped. It never answers more
//! than it was told: a receiver that fails denies publishers and players, unless `hook.fail_open` says otherwise, and neither opens nor
//! closes a stream (hooks.md, section 3).

use crate::admission::{self, Admission, Local, Request, Said};
use crate::body;
use crate::body::stream_none_reader::StreamNoneReader;
use crate::body::stream_not_found::StreamNotFound;
use crate::client::Limits;
use crate::event::Outgoing;
use crate::failure::{Class, Failure, NetworkCode};
use crate::hook::Hook;
use crate::plane::{Attempt, Plane};
use crate::reply::{Answer, BadMember};
use crate::settings::{Endpoint, Settings};
use crate::verdicts::Verdict;
use bytes::Bytes;
use config::hook_endpoint::KEYED;
use lifecycle::hook::{Advice, PublishAnswer};
use lifecycle::{Ask, Outcome};
use media::StreamKey;
use std::net::IpAddr;
use std::sync::Arc;
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

/// The plane of the questions, and what is answered without a call.
pub(crate) struct Decisions {
    pub plane: Arc<Plane>,
    pub local: Local,
}

impl Decisions {
    /// Puts other settings in force.
    pub(crate) fn apply(&self, old: &Settings, new: &Settings, reload: bool) {
        self.plane.apply(new, reload);
        self.local.apply(old, new);
    }

    /// Reports that an answer cannot be read; what an attempt sees itself is reported by it.
    pub(crate) fn report(&self, settings: &Settings, hook: Hook, attempts: u32, failure: &Failure) {
        let receiver = settings
            .endpoint(hook)
            .and_then(|endpoint| endpoint.target.as_ref().ok())
            .map(|target| target.redacted())
            .unwrap_or_default();
        self.plane
            .shared
            .reporter
            .failed(hook.into(), &receiver, attempts, failure);
    }
}

/// Asks, unless the hook is off. `limit` is how long whoever asks can wait (the handshake limit of its protocol); without it the
/// limit is the worst case of the configured attempts.
pub(crate) async fn ask(decisions: &Decisions, ask: &Ask, limit: Option<Duration>) -> Answered {
    let started = Instant::now();
    let settings = decisions.plane.shared.settings();
    let answered = match ask {
        Ask::Publish { access, origin } => {
            let request = Request::Publish {
                access,
                origin: *origin,
            };
            about_client(decisions, &settings, ask, &request, limit).await
        }
        Ask::Play { access } => {
            about_client(decisions, &settings, ask, &Request::Play { access }, limit).await
        }
        Ask::NotFound { access } => {
            let body = || body::encode(&StreamNotFound::new(access));
            about_stream(decisions, &settings, ask, &access.key, body, limit).await
        }
        Ask::NoneReader { key, schema, params } => {
            let body = || body::encode(&StreamNoneReader::new(key, *schema, params));
            about_stream(decisions, &settings, ask, key, body, limit).await
        }
    };
    let (outcome, attempts, failure) = answered.unwrap_or_else(|| (unasked(ask, &settings), 0, None));
    Answered {
        outcome,
        took: started.elapsed(),
        attempts,
        failure,
    }
}

type Parts = (Outcome, u32, Option<Failure>);

async fn about_client(
    decisions: &Decisions,
    settings: &Settings,
    ask: &Ask,
    request: &Request<'_>,
    limit: Option<Duration>,
) -> Option<Parts> {
    let Admission {
        said,
        attempts,
        failure,
    } = admission::admit(decisions, settings, request, limit).await?;
    let outcome = match said {
        Said::Verdict(Verdict::Play) => Outcome::Play(Ok(())),
        Said::Verdict(Verdict::Publish(answer)) => Outcome::Publish(Ok(*answer)),
        Said::Verdict(Verdict::Denied(failure)) | Said::Failed(failure) => failed(ask, &failure),
        Said::Verdict(Verdict::Files(_)) => failed(ask, &admission::misplaced()),
        Said::Default => unasked(ask, settings),
    };
    Some((outcome, attempts, failure))
}

async fn about_stream(
    decisions: &Decisions,
    settings: &Settings,
    ask: &Ask,
    key: &StreamKey,
    body: impl FnOnce() -> Bytes,
    limit: Option<Duration>,
) -> Option<Parts> {
    let hook = Hook::of(ask);
    let outgoing = || Outgoing::new(hook, key.vhost(), body()).of(key);
    let Called { result, attempts } = call(decisions, settings, hook, outgoing, limit).await?;
    let (advice, failure) = match result {
        Ok(answer) => advice(&answer),
        Err(failure) => (Advice::Failed(failure.to_string()), Some(failure)),
    };
    let outcome = if hook == Hook::StreamNotFound {
        Outcome::NotFound(advice)
    } else {
        Outcome::NoneReader(advice)
    };
    Some((outcome, attempts, failure))
}

/// What came of a call with all its attempts.
pub(crate) struct Called {
    pub result: Result<Answer, Failure>,
    /// Attempts made.
    pub attempts: u32,
}

/// Calls a receiver with everything that a question is due: breaker, deadline, further attempts. `None`: the hook is off.
pub(crate) async fn call(
    decisions: &Decisions,
    settings: &Settings,
    hook: Hook,
    outgoing: impl FnOnce() -> Outgoing,
    limit: Option<Duration>,
) -> Option<Called> {
    let endpoint = settings.endpoint(hook)?;
    let mut call = Call {
        plane: &decisions.plane,
        settings,
        endpoint,
        attempts: 0,
    };
    let deadline = Instant::now() + call.limit(hook, limit);
    let result = call.run(&outgoing(), deadline).await;
    decisions.local.called(&endpoint.url, &result);
    Some(Called {
        result,
        attempts: call.attempts,
    })
}

/// One question about a client whose answer the caller reads itself; `None` if its hook is off.
pub(crate) async fn ask_for<T>(
    decisions: &Decisions,
    hook: Hook,
    address: IpAddr,
    outgoing: impl FnOnce() -> Outgoing,
    limit: Option<Duration>,
    read: fn(&Answer) -> Result<T, Failure>,
) -> Option<Result<T, Failure>> {
    let settings = decisions.plane.shared.settings();
    settings.endpoint(hook)?;
    if let Some(failure) = decisions.local.blocked(&settings, hook, address) {
        return Some(Err(failure));
    }
    let called = call(decisions, &settings, hook, outgoing, limit).await?;
    let read = called.result.and_then(|answer| {
        read(&answer).inspect_err(|failure| decisions.report(&settings, hook, called.attempts, failure))
    });
    if let Err(Failure {
        class: Class::Denied, ..
    }) = &read
    {
        let reporter = &decisions.plane.shared.reporter;
        decisions.local.refused(&settings, reporter, hook, address);
    }
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

/// A client is not let in; the text reaches it.
fn failed(ask: &Ask, failure: &Failure) -> Outcome {
    match ask {
        Ask::Publish { .. } => Outcome::Publish(Err(failure.text.clone())),
        Ask::Play { .. } => Outcome::Play(Err(failure.text.clone())),
        Ask::NotFound { .. } => Outcome::NotFound(Advice::Failed(failure.to_string())),
        Ask::NoneReader { .. } => Outcome::NoneReader(Advice::Failed(failure.to_string())),
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
