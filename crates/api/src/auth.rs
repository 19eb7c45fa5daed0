//! Who may call (api.md, section 1.4).
//!
//! The address that is compared with `http.allow_ip_range` is that of the socket. `http.forwarded_ip_header` is not honoured:
//! any client can send such a header, so a filter that believed it would be none. ZLM does the same (observed), though not on
//! purpose. No address is exempt, loopback neither.

use crate::dispatch::Call;
use crate::login;
use crate::reply::Failure;
use crate::routes::{Access, Route};
use std::time::Instant;
use subtle::ConstantTimeEq;

/// The checks before a handler runs, in ZLM's order: address, login, secret, required parameters.
pub(crate) fn allow(route: &Route, call: &Call) -> Result<(), Failure> {
    if route.access == Access::Secret {
        if !call.config.http.allow_ip_range.contains(call.peer.peer.ip()) {
            return Err(Failure::AddressNotAllowed);
        }
        if !logged_in(call) && !secret_given(call) {
            return Err(Failure::LoginFirst {
                cookie: call.invite(),
            });
        }
    }
    if route.required.iter().any(|name| call.args.get(name).is_none()) {
        return Err(Failure::Missing {
            required: route.required,
            separator: route.separator,
        });
    }
    Ok(())
}

fn logged_in(call: &Call) -> bool {
    login::cookie(&call.headers, login::LOGGED_IN).is_some_and(|cookie| {
        call.logins
            .lock()
            .is_logged_in(Instant::now(), call.secret(), cookie)
    })
}

/// An empty secret in the configuration lets nobody in: a missing parameter must not equal it.
fn secret_given(call: &Call) -> bool {
    !call.secret().is_empty()
        && call
            .args
            .get("secret")
            .is_some_and(|given| equal(&given, call.secret()))
}

/// Whether two texts are equal, in a time that tells only whether their lengths differ.
pub(crate) fn equal(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}
