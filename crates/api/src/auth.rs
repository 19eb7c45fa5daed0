//! Who may call (api.md, section 1.4).
//!
//! The address that is compared with `http.allow_ip_range` is that of the socket. `http.forwarded_ip_header` is not honoured:
//! any client can send such a header, so a filter that believed it would be none. ZLM does the same (observed), though not on
//! purpose. No address is exempt, loopback neither.

use crate::args::{self, Args};
use crate::dispatch::Call;
use crate::login::{self, Logins};
use crate::outside::{PeerInfo, Server};
use crate::reply::{Failure, Reply};
use crate::routes::{Access, Route};
use axum::http::request::Parts;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Instant;
use subtle::ConstantTimeEq;

/// The check in front of every endpoint with a secret, for what else is served only to those who may use the API. The router
/// puts it into the extensions of each request that it hands on.
#[derive(Clone)]
pub struct Permission {
    pub(crate) server: Arc<dyn Server>,
    pub(crate) logins: Arc<Mutex<Logins>>,
}

impl Permission {
    /// Judges the head of a request. A body is not read, so a secret has to be in the query string or in a header.
    ///
    /// # Errors
    ///
    /// The reply that an endpoint would refuse the same client with.
    pub fn check(&self, request: &Parts) -> Result<(), Reply> {
        let Some(peer) = request.extensions.get::<PeerInfo>().copied() else {
            return Err(Failure::AddressNotAllowed.into());
        };
        let call = Call {
            server: self.server.clone(),
            config: self.server.config(),
            args: Args::read(request.uri.query().unwrap_or_default(), &request.headers, b""),
            peer,
            request: request.clone(),
            logins: self.logins.clone(),
        };
        may_call(&call).map_err(Reply::from)
    }
}

/// The checks before a handler runs, in ZLM's order: address, login, secret, required parameters.
pub(crate) fn allow(route: &Route, call: &Call) -> Result<(), Failure> {
    match route.access {
        Access::Secret => may_call(call)?,
        Access::Address => address_allowed(call)?,
        // The handler asks.
        Access::SecretOrHook | Access::Open => {}
    }
    if route.about.required().any(|name| call.args.get(name).is_none()) {
        return Err(Failure::Missing {
            required: route.about.required().collect(),
            separator: route.separator,
        });
    }
    Ok(())
}

fn address_allowed(call: &Call) -> Result<(), Failure> {
    if call.config.http.allow_ip_range.contains(call.peer.peer.ip()) {
        Ok(())
    } else {
        Err(Failure::AddressNotAllowed)
    }
}

/// Whether the client is one that endpoints with a secret are for.
pub(crate) fn is_permitted(call: &Call) -> bool {
    address_allowed(call).is_ok() && (logged_in(call) || secret_given(call))
}

fn may_call(call: &Call) -> Result<(), Failure> {
    address_allowed(call)?;
    if !logged_in(call) && !secret_given(call) {
        return Err(Failure::LoginFirst {
            cookie: call.invite(),
        });
    }
    Ok(())
}

fn logged_in(call: &Call) -> bool {
    login::cookie(&call.request.headers, login::LOGGED_IN).is_some_and(|cookie| {
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
            .get(args::SECRET)
            .is_some_and(|given| equal(&given, call.secret()))
}

/// Whether two texts are equal, in a time that tells only whether their lengths differ.
pub(crate) fn equal(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}
