//! Authentication of RTSP players (hooks.md, section 6): whether one is asked for a password, and which one it should know.
//!
//! These questions touch no stream, so a session asks them itself and the engine never hears of them. A receiver that fails lets
//! nobody in (hooks.md, section 3).

use crate::body;
use crate::body::rtsp_auth::RtspAuth;
use crate::body::rtsp_realm::RtspRealm;
use crate::decide::{self, Decisions};
use crate::event::Outgoing;
use crate::failure::Failure;
use crate::hook::Hook;
use crate::reply::{Answer, BadMember};
use lifecycle::Access;
use std::fmt;
use std::time::Duration;

/// The realm that is demanded when `on_rtsp_realm` failed. Every password for it is wrong.
pub const UNAUTHED_REALM: &str = "unAuthedRealm";

/// What `on_rtsp_realm` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RealmAnswer {
    /// No RTSP authentication: the hook is off, or its answer names no realm. `on_play` follows.
    Open,
    /// The player is asked for a user name and a password for this realm. Not empty, without control characters. `on_play` is not
    /// asked about who then knows the password.
    Realm(String),
    /// No usable answer: [`UNAUTHED_REALM`] is demanded, and every password fails.
    Failed(Failure),
}

impl RealmAnswer {
    /// The realm of the challenge, if there is to be one.
    pub fn realm(&self) -> Option<&str> {
        match self {
            Self::Open => None,
            Self::Realm(realm) => Some(realm),
            Self::Failed(_) => Some(UNAUTHED_REALM),
        }
    }
}

/// Who says that it may play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User<'a> {
    /// The name it gave.
    pub name: &'a str,
    /// The realm that was demanded.
    pub realm: &'a str,
    /// The plain password is needed, because the player answered with Basic.
    pub plain_needed: bool,
}

/// The password that a user should know. Never shown or logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    /// The password; or, if `encrypted`, MD5 of `user:realm:password` in lower-case hexadecimal (HA1 of RFC 2617, section
    /// 3.2.2.2).
    pub text: String,
    /// What `text` is. The receiver decides, also when the plain password was needed.
    pub encrypted: bool,
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Password")
            .field("text", &"***")
            .field("encrypted", &self.encrypted)
            .finish()
    }
}

/// Why there is no password to compare with: whatever the player sent is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPassword {
    /// `hook.on_rtsp_auth` is empty, or hooks are off.
    #[error("a realm is demanded, but hook.on_rtsp_auth is off")]
    Off,
    /// The realm is [`UNAUTHED_REALM`]: the receiver is not asked.
    #[error("on_rtsp_realm failed, so no password is right")]
    RealmFailed,
    /// The receiver failed, or said no.
    #[error("on_rtsp_auth: {0}")]
    Failed(Failure),
}

/// Asks `on_rtsp_realm`.
pub(crate) async fn realm(decisions: &Decisions, access: &Access, limit: Option<Duration>) -> RealmAnswer {
    let outgoing = || {
        let body = body::encode(&RtspRealm::new(access));
        Outgoing::new(Hook::RtspRealm, access.key.vhost(), body).of(&access.key)
    };
    let address = access.client.addr.ip();
    match decide::ask_for(decisions, Hook::RtspRealm, address, outgoing, limit, read_realm).await {
        None => RealmAnswer::Open,
        Some(Ok(realm)) if realm.is_empty() => RealmAnswer::Open,
        Some(Ok(realm)) => RealmAnswer::Realm(realm),
        Some(Err(failure)) => RealmAnswer::Failed(failure),
    }
}

/// Asks `on_rtsp_auth`.
pub(crate) async fn auth(
    decisions: &Decisions,
    access: &Access,
    user: &User<'_>,
    limit: Option<Duration>,
) -> Result<Password, NoPassword> {
    if user.realm == UNAUTHED_REALM {
        return Err(NoPassword::RealmFailed);
    }
    let outgoing = || {
        let body = body::encode(&RtspAuth::new(access, user));
        Outgoing::new(Hook::RtspAuth, access.key.vhost(), body).of(&access.key)
    };
    let address = access.client.addr.ip();
    decide::ask_for(decisions, Hook::RtspAuth, address, outgoing, limit, read_password)
        .await
        .ok_or(NoPassword::Off)?
        .map_err(NoPassword::Failed)
}

fn read_realm(answer: &Answer) -> Result<String, Failure> {
    let realm = answer.text("realm").map_err(|bad| decide::bad_member(&bad))?;
    if realm.chars().any(char::is_control) {
        // It goes into a header field of the challenge.
        return Err(decide::bad_member(&BadMember {
            name: "realm",
            got: "text with control characters",
            wanted: "text without them",
        }));
    }
    Ok(realm)
}

fn read_password(answer: &Answer) -> Result<Password, Failure> {
    let encrypted = answer
        .boolean("encrypted")
        .map_err(|bad| decide::bad_member(&bad))?;
    let mut text = answer.text("passwd").map_err(|bad| decide::bad_member(&bad))?;
    if text.is_empty() {
        // ZLM takes it for an empty password, and lets in who sends one. A service that does not know the user says it so.
        return Err(decide::bad_member(&BadMember {
            name: "passwd",
            got: "nothing",
            wanted: "the password of the user",
        }));
    }
    if encrypted {
        // Receivers may write the digits of HA1 in either case; the digest is made over lower-case ones.
        text.make_ascii_lowercase();
    }
    Ok(Password { text, encrypted })
}
