//! Login by cookie (api.md, section 1.5): the store behind `ZLM_UNLOGIN` and `ZLM_LOGINED`.

use crate::auth::equal;
use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use md5::{Digest, Md5};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

/// Cookie of a client that has yet to log in; its value goes into the digest.
pub const PENDING: &str = "ZLM_UNLOGIN";
/// Cookie of a client that has logged in.
pub const LOGGED_IN: &str = "ZLM_LOGINED";

/// How long a client has to answer with its digest, as in ZLM.
const PENDING_FOR: Duration = Duration::from_secs(60);
/// How long a login lasts, as in ZLM.
const LOGGED_IN_FOR: Duration = Duration::from_secs(24 * 3600);

/// Most pending cookies, about 2 MB. Each refused call makes one; at the bound the oldest is forgotten, so a flood of refused
/// calls can make somebody ask for another cookie but cannot take memory.
const MAX_PENDING: usize = 16_384;
/// Most logins at one time; at the bound the oldest one ends.
const MAX_LOGGED_IN: usize = 1024;

/// The cookies this server gave out. They are forgotten when it ends.
#[derive(Default)]
pub struct Logins {
    /// The secret the logins were made with. Another secret ends them all.
    secret: String,
    pending: Cookies,
    logged_in: Cookies,
}

impl Logins {
    /// A fresh value for the digest, to be sent as [`PENDING`].
    pub fn invite(&mut self, now: Instant) -> String {
        self.pending.add(now, PENDING_FOR, MAX_PENDING)
    }

    /// Whether the request of a client that sent this [`LOGGED_IN`] cookie needs no secret.
    pub fn is_logged_in(&mut self, now: Instant, secret: &str, cookie: &str) -> bool {
        self.use_secret(secret);
        self.logged_in.contains(now, cookie)
    }

    /// Exchanges a [`PENDING`] cookie and the right digest for a [`LOGGED_IN`] cookie. A pending cookie serves for one attempt,
    /// so a digest that was overheard cannot be sent again.
    pub fn log_in(&mut self, now: Instant, secret: &str, pending: &str, digest: &str) -> Option<String> {
        self.use_secret(secret);
        let known = self.pending.remove(now, pending);
        let right = equal(&digest_of(secret, pending), &digest.to_ascii_lowercase());
        (known && right).then(|| self.logged_in.add(now, LOGGED_IN_FOR, MAX_LOGGED_IN))
    }

    /// Ends a login; false if there was none.
    pub fn log_out(&mut self, now: Instant, cookie: &str) -> bool {
        self.logged_in.remove(now, cookie)
    }

    fn use_secret(&mut self, secret: &str) {
        if !equal(&self.secret, secret) {
            self.logged_in = Cookies::default();
            secret.clone_into(&mut self.secret);
        }
    }
}

/// What a client proves that it knows the secret with.
pub fn digest_of(secret: &str, cookie: &str) -> String {
    md5_hex(&format!("zlmediakit:{secret}:{cookie}"))
}

/// MD5 as 32 lower-case hexadecimal characters. A name and a checksum here, never a protection by itself.
pub(crate) fn md5_hex(text: &str) -> String {
    hex(&Md5::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Values with the time at which each ends.
#[derive(Debug, Default)]
struct Cookies {
    ends: HashMap<String, Instant>,
    /// In order of making, which is the order in which they end. A value that was removed stands here until its turn.
    made: VecDeque<String>,
}

impl Cookies {
    fn add(&mut self, now: Instant, lasts: Duration, most: usize) -> String {
        while self
            .made
            .front()
            .is_some_and(|oldest| self.made.len() >= most || !self.contains(now, oldest))
        {
            if let Some(oldest) = self.made.pop_front() {
                self.ends.remove(&oldest);
            }
        }
        let value = hex(&rand::random::<[u8; 16]>());
        self.ends.insert(value.clone(), now + lasts);
        self.made.push_back(value.clone());
        value
    }

    fn contains(&self, now: Instant, value: &str) -> bool {
        self.ends.get(value).is_some_and(|end| now < *end)
    }

    /// True if it was there and had not ended.
    fn remove(&mut self, now: Instant, value: &str) -> bool {
        self.ends.remove(value).is_some_and(|end| now < end)
    }
}

/// The value of a cookie of a request.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(known, value)| (known == name).then_some(value))
}

/// `Set-Cookie` for [`PENDING`]. Scripts of a console read it.
pub(crate) fn set_pending(value: &str) -> String {
    format!(
        "{PENDING}={value};expires={};path=/",
        httpdate::fmt_http_date(SystemTime::now() + PENDING_FOR)
    )
}

/// `Set-Cookie` that removes [`PENDING`].
pub(crate) fn clear_pending() -> String {
    format!(
        "{PENDING}=;expires={};path=/",
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH)
    )
}

/// `Set-Cookie` for [`LOGGED_IN`]. Unlike ZLM's it is kept from scripts and from requests that other sites cause: CORS allows
/// every origin here and a plain link can change things, so any web page could use the login of its visitor.
pub(crate) fn set_logged_in(value: &str, tls: bool) -> String {
    let expires = httpdate::fmt_http_date(SystemTime::now() + LOGGED_IN_FOR);
    // A login over TLS must not travel in the clear later.
    let secure = if tls { ";Secure" } else { "" };
    format!("{LOGGED_IN}={value};expires={expires};path=/;HttpOnly;SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const SECRET: &str = "s3cret";

    fn logged_in(logins: &mut Logins, now: Instant) -> String {
        let pending = logins.invite(now);
        logins
            .log_in(now, SECRET, &pending, &digest_of(SECRET, &pending))
            .expect("the digest is right")
    }

    #[test]
    fn the_digest_is_what_zlm_computes() {
        // printf 'zlmediakit:035c:abc' | md5sum
        assert_eq!(digest_of("035c", "abc"), "866f899dc7760f65fa4e774034273323");
    }

    #[test]
    fn a_right_digest_logs_in_for_a_day() {
        let (mut logins, now) = (Logins::default(), Instant::now());
        let cookie = logged_in(&mut logins, now);
        assert_eq!(cookie.len(), 32);
        assert!(cookie.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(logins.is_logged_in(now + LOGGED_IN_FOR - Duration::from_secs(1), SECRET, &cookie));
        assert!(!logins.is_logged_in(now + LOGGED_IN_FOR, SECRET, &cookie));
        assert!(!logins.is_logged_in(now, SECRET, "00000000000000000000000000000000"));
    }

    #[test]
    fn a_pending_cookie_serves_for_one_attempt_within_a_minute_and_only_if_this_server_made_it() {
        let (mut logins, now) = (Logins::default(), Instant::now());
        let pending = logins.invite(now);
        let digest = digest_of(SECRET, &pending);
        assert_eq!(
            logins.log_in(now + PENDING_FOR, SECRET, &pending, &digest),
            None,
            "too late"
        );
        let pending = logins.invite(now);
        let digest = digest_of(SECRET, &pending);
        assert_eq!(logins.log_in(now, SECRET, &pending, "wrong"), None);
        assert_eq!(
            logins.log_in(now, SECRET, &pending, &digest),
            None,
            "second attempt"
        );
        assert_eq!(
            logins.log_in(now, SECRET, "made-up", &digest_of(SECRET, "made-up")),
            None
        );
    }

    #[test]
    fn logging_out_and_changing_the_secret_end_logins() {
        let (mut logins, now) = (Logins::default(), Instant::now());
        let cookie = logged_in(&mut logins, now);
        assert!(logins.log_out(now, &cookie));
        assert!(!logins.log_out(now, &cookie));
        assert!(!logins.is_logged_in(now, SECRET, &cookie));
        let cookie = logged_in(&mut logins, now);
        assert!(!logins.is_logged_in(now, "another", &cookie));
        assert!(!logins.is_logged_in(now, SECRET, &cookie), "ended for good");
    }

    #[test]
    fn a_flood_of_refused_calls_is_bounded_and_forgets_the_oldest() {
        let (mut logins, now) = (Logins::default(), Instant::now());
        let oldest = logins.invite(now);
        for _ in 0..MAX_PENDING {
            logins.invite(now);
        }
        assert_eq!(logins.pending.ends.len(), MAX_PENDING);
        assert_eq!(logins.pending.made.len(), MAX_PENDING);
        assert_eq!(
            logins.log_in(now, SECRET, &oldest, &digest_of(SECRET, &oldest)),
            None
        );
        logins.invite(now + PENDING_FOR);
        assert_eq!(logins.pending.made.len(), 1, "what has ended makes room");
        assert_eq!(logins.pending.ends.len(), 1);
    }

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; ZLM_LOGINED=abc;b=2"));
        headers.append(COOKIE, HeaderValue::from_static("ZLM_UNLOGIN=d=e"));
        assert_eq!(cookie(&headers, LOGGED_IN), Some("abc"));
        assert_eq!(cookie(&headers, PENDING), Some("d=e"));
        assert_eq!(cookie(&headers, "c"), None);
    }
}
