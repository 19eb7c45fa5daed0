//! Who may play: the realm and the password come from the hook service (`on_rtsp_realm`, `on_rtsp_auth`).

use crate::app::App;
use hooks::Hooks;
use hooks::rtsp::{RealmAnswer, UNAUTHED_REALM, User};
use lifecycle::Access;
use rtsp::auth::{Challenge, Credentials, Scheme, Secret};
use std::sync::Arc;
use std::time::Duration;

/// What a connection knows of its player.
#[derive(Debug, Default)]
pub enum Gate {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    /// There is no RTSP authentication: `on_play` decides.
    Open,
    /// This challenge is to be answered.
    Challenged(Challenge),
    /// The service could not be asked for a realm: every password fails (hooks.md, section 4).
    Locked(Challenge),
}

/// What came of a look at the credentials.
#[derive(Debug)]
pub enum Checked {
    /// No authentication here.
    Open,
    /// The player is who it says it is.
    Authenticated,
    /// It has to answer these challenges. `last`: it gave a wrong answer, and has no second try on this connection.
    Challenged {
        /// Headers.
        challenges: Vec<String>,
        /// Close after them.
        last: bool,
    },
}

/// A look at a player's credentials, with what the connection knows afterwards.
pub async fn check(
    app: Arc<App>,
    gate: Gate,
    access: Access,
    credentials: Option<Credentials>,
    method: &'static str,
    nonce: u128,
) -> (Gate, Checked) {
    let gate = match gate {
        Gate::Unknown => ask_realm(&app.hooks, &access, app.config().rtsp.auth_basic, nonce).await,
        known => known,
    };
    let (challenge, locked) = match &gate {
        Gate::Unknown | Gate::Open => return (gate, Checked::Open),
        Gate::Challenged(challenge) => (challenge, false),
        Gate::Locked(challenge) => (challenge, true),
    };
    let again = |last| Checked::Challenged {
        challenges: challenge.headers(false),
        last,
    };
    let Some(credentials) = credentials else {
        let checked = again(false);
        return (gate, checked);
    };
    // An answer to another challenge, of a connection before: the player is told the new one and may answer it.
    if !answers(challenge, &credentials) {
        let checked = again(false);
        return (gate, checked);
    }
    if locked {
        let checked = again(true);
        return (gate, checked);
    }
    let plain = challenge.scheme == Scheme::Basic;
    let user = User {
        name: credentials.user(),
        realm: &challenge.realm,
        plain_needed: plain,
    };
    let password = app.hooks.rtsp_auth(&access, &user, Some(PATIENCE)).await;
    if credentials.need_password() && password.as_ref().is_ok_and(|password| password.encrypted) {
        // It answered what we asked, only the service knows no more than the MD5: asked again for that, it need not ask its user.
        let challenge = Challenge {
            sha256: false,
            ..challenge.clone()
        };
        let challenges = challenge.headers(true);
        let last = false;
        return (
            Gate::Challenged(challenge),
            Checked::Challenged { challenges, last },
        );
    }
    let known = password.is_ok();
    let right = password.is_ok_and(|password| {
        let secret = if password.encrypted {
            Secret::Ha1Md5(password.text)
        } else {
            Secret::Plain(password.text)
        };
        challenge.verify(&credentials, method, &secret)
    });
    let checked = if right {
        Checked::Authenticated
    } else {
        if known {
            app.hooks.wrong_password(&access);
        }
        again(true)
    };
    (gate, checked)
}

/// Whether credentials are for this challenge and no other.
fn answers(challenge: &Challenge, credentials: &Credentials) -> bool {
    challenge.scheme == credentials.scheme()
        && credentials.realm().is_none_or(|realm| realm == challenge.realm)
        && credentials.nonce().is_none_or(|nonce| nonce == challenge.nonce)
}

async fn ask_realm(hooks: &Hooks, access: &Access, basic: bool, nonce: u128) -> Gate {
    let challenge = |realm: String| Challenge {
        realm,
        nonce: format!("{nonce:032x}"),
        scheme: if basic { Scheme::Basic } else { Scheme::Digest },
        sha256: true,
    };
    match hooks.rtsp_realm(access, Some(PATIENCE)).await {
        RealmAnswer::Open => Gate::Open,
        RealmAnswer::Realm(realm) => Gate::Challenged(challenge(realm)),
        RealmAnswer::Failed(_) => Gate::Locked(challenge(UNAUTHED_REALM.to_owned())),
    }
}

/// How long a player waits for the service at most, each time.
const PATIENCE: Duration = Duration::from_secs(60);
