//! Questions about a client: may it publish, play, or read a file?
//!
//! Some are answered here: a verdict that the receiver let be kept is served again (`verdicts`), an address that was refused too
//! often is refused for a while ([`crate::throttle`]), and by `hook.fail_open` a receiver that is away is stood in for.

mod local;
mod metrics;
mod request;

pub use local::{Filter, MAX_CACHED, MAX_CACHED_DENIAL, MAX_LAST};
pub(crate) use local::{Local, StandIn};
pub(crate) use metrics::LocalMetrics;
pub(crate) use request::Request;

use crate::decide::{self, Called, Decisions};
use crate::failure::{Class, Failure};
use crate::settings::Settings;
use crate::verdicts::Verdict;
use std::time::Duration;

/// What came of a client's request.
pub(crate) struct Admission {
    pub said: Said,
    /// Attempts made.
    pub attempts: u32,
    /// Why the receiver gave no usable answer, or that it refused; for operators.
    pub failure: Option<Failure>,
}

/// What is to be done with the client.
pub(crate) enum Said {
    /// The receiver said this, now or before.
    Verdict(Verdict),
    /// As if the hook were off (`hook.fail_open`).
    Default,
    /// There is no answer: it is not let in.
    Failed(Failure),
}

/// Decides about a request; `None` if its hook is off.
pub(crate) async fn admit(
    decisions: &Decisions,
    settings: &Settings,
    request: &Request<'_>,
    limit: Option<Duration>,
) -> Option<Admission> {
    let (local, reporter) = (&decisions.local, &decisions.plane.shared.reporter);
    let (hook, address) = (request.hook(), request.address());
    settings.endpoint(hook)?;
    let question = request.question(settings.cache_by_address);
    let cached = settings.caches(hook).then(|| local.cached(&question)).flatten();
    // Whom a kept verdict lets in is no trouble to the receiver, whoever else is behind the same address.
    if let Some(verdict) = cached {
        if verdict.is_denial() {
            local.refused(settings, reporter, hook, address);
        }
        return Some(Admission::unasked(verdict));
    }
    if let Some(failure) = local.blocked(settings, hook, address) {
        return Some(Admission::unasked(Verdict::Denied(failure)));
    }

    let generations = local.generations();
    let Called { result, attempts } =
        decide::call(decisions, settings, hook, || request.outgoing(), limit).await?;
    let (consent, read) = match result {
        Ok(answer) => (answer.consent, request.read(&answer, settings)),
        Err(failure) if failure.class == Class::Denied => (failure.consent, Ok(Verdict::Denied(failure))),
        Err(failure) => (Duration::ZERO, Err(failure)),
    };
    let (said, failure) = match read {
        Ok(verdict) => {
            local.said(settings, generations, question, &verdict, consent);
            if verdict.is_denial() {
                local.refused(settings, reporter, hook, address);
            }
            let failure = match &verdict {
                Verdict::Denied(failure) => Some(failure.clone()),
                Verdict::Play | Verdict::Publish(_) | Verdict::Files(_) => None,
            };
            (Said::Verdict(verdict), failure)
        }
        Err(failure) => {
            if failure.class == Class::BadMember {
                // An attempt reports its own failures; that the answer cannot be read is seen here only.
                decisions.report(settings, hook, attempts, &failure);
            }
            let said = match local.stand_in(settings, &question, &failure) {
                None => Said::Failed(failure.clone()),
                Some(stand_in) => {
                    reporter.failed_open(hook, stand_in.name(), &failure);
                    match stand_in {
                        StandIn::Last(verdict) => Said::Verdict(verdict.for_once()),
                        StandIn::Default => Said::Default,
                    }
                }
            };
            (said, Some(failure))
        }
    };
    Some(Admission {
        said,
        attempts,
        failure,
    })
}

/// The verdict is one about another kind of request: a defect of ours, which lets nobody in and ends nothing.
pub(crate) fn misplaced() -> Failure {
    debug_assert!(false, "a verdict about another kind of request");
    tracing::error!("a verdict does not fit its request");
    Failure::new(
        Class::Denied,
        "[auth failed]".to_owned(),
        "the verdict does not fit the request".to_owned(),
    )
}

impl Admission {
    fn unasked(verdict: Verdict) -> Self {
        let failure = match &verdict {
            Verdict::Denied(failure) => Some(failure.clone()),
            Verdict::Play | Verdict::Publish(_) | Verdict::Files(_) => None,
        };
        Self {
            said: Said::Verdict(verdict),
            attempts: 0,
            failure,
        }
    }
}
