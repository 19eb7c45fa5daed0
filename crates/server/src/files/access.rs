//! Who may read files: `on_http_access`, or `http.allow_ip_range` while that hook is off (hooks.md, section 3).

use super::decisions::{Asked, Verdict, set_cookie};
use super::path::{Place, Scope, Target};
use super::root::{Look, Root};
use super::{Counters, Turns, excused};
use crate::app::App;
use crate::session::http::{Gone, SentHead, plain};
use api::PeerInfo;
use axum::body::Body;
use axum::http::header::{COOKIE, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use hooks::Hook;
use hooks::files::{Decision, Permission, Visit};
use lifecycle::Client;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a client waits for the service at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// What whoever is outside of the range gets to read (api.md, section 1.4).
const NOT_ALLOWED: &str = "Your ip is not allowed to access the service.";

/// May it?
pub enum Gate {
    /// It may. With a cookie if the decision holds for more than this request.
    Open(Option<HeaderValue>),
    /// It may not.
    Shut(Response<Body>),
}

/// Asks whether a request may be served. `HEAD` is asked about like `GET`, since it tells whether a file exists; ZLM answers it without
/// looking.
pub async fn check(app: &App, request: &Parts, target: &Target, place: &Place, vhost: &str) -> Gate {
    let Some(peer) = request.extensions.get::<PeerInfo>().copied() else {
        debug_assert!(false, "a request without PeerInfo");
        return Gate::Shut(plain(StatusCode::INTERNAL_SERVER_ERROR, String::new()));
    };
    if excused(app, request) {
        return Gate::Open(None);
    }
    let client = client(app, request, &peer);
    if !app.hooks.is_on(Hook::HttpAccess) {
        return in_range(app, &client);
    }
    let asked = Asked {
        vhost,
        target,
        query: request.uri.query().unwrap_or_default(),
    };
    let cookies = request.headers.get_all(COOKIE);
    let cookies = cookies.iter().filter_map(|value| value.to_str().ok());
    match app.files.decisions.find(Instant::now(), asked, cookies) {
        Some(Verdict::Allowed) => return Gate::Open(None),
        Some(Verdict::Denied(text)) => return denied(app, text, None),
        None => {}
    }

    let Subject {
        target: subject,
        place,
        is_folder,
    } = Subject::find(&app.files.turns, target.clone(), place.clone()).await;
    let sent = request.extensions.get::<SentHead>();
    let visit = Visit {
        client: &client,
        path: &subject.path(),
        file_path: &place.absolute(is_folder),
        is_dir: is_folder,
        params: asked.query,
        headers: &sent.map(SentHead::headers).unwrap_or_default(),
    };
    let gone = request.extensions.get::<Gone>().cloned().unwrap_or_default();
    let answer = tokio::select! {
        biased;
        answer = app.hooks.http_access(&visit, Some(PATIENCE)) => answer,
        // Nobody else waits for it.
        () = gone.wait() => {
            let text = "the client closed the connection before it was answered".to_owned();
            return Gate::Shut(plain(StatusCode::BAD_REQUEST, text));
        }
    };
    match answer {
        // Switched off meanwhile.
        Permission::Unasked => in_range(app, &client),
        Permission::Failed(failure) => denied(app, failure.text, None),
        Permission::Decided(decision) => {
            let cookie = remember(app, asked, &subject, is_folder, &decision, peer.tls);
            match decision.denied {
                None => Gate::Open(cookie),
                Some(text) => denied(app, text, cookie),
            }
        }
    }
}

/// The same for a file that the API is asked for by its path in the file system. Every request is asked about: all of them have one
/// path, so an answer that was kept for one file would hold for all.
pub async fn check_download(app: &App, request: &Parts, file_path: &Path) -> Gate {
    let Some(peer) = request.extensions.get::<PeerInfo>().copied() else {
        debug_assert!(false, "a request without PeerInfo");
        return Gate::Shut(plain(StatusCode::INTERNAL_SERVER_ERROR, String::new()));
    };
    let client = client(app, request, &peer);
    let sent = request.extensions.get::<SentHead>();
    let visit = Visit {
        client: &client,
        path: request.uri.path(),
        file_path: &file_path.to_string_lossy(),
        is_dir: false,
        params: request.uri.query().unwrap_or_default(),
        headers: &sent.map(SentHead::headers).unwrap_or_default(),
    };
    match app.hooks.http_access(&visit, Some(PATIENCE)).await {
        Permission::Unasked => in_range(app, &client),
        Permission::Failed(failure) => denied(app, failure.text, None),
        Permission::Decided(Decision { denied: None, .. }) => Gate::Open(None),
        Permission::Decided(Decision {
            denied: Some(text), ..
        }) => denied(app, text, None),
    }
}

fn client(app: &App, request: &Parts, peer: &PeerInfo) -> Client {
    Client {
        session: peer.session,
        id: app
            .sessions
            .sock(peer.session)
            .map(|sock| sock.identifier)
            .unwrap_or_default(),
        addr: app.client_address(peer.peer, &request.headers),
    }
}

fn in_range(app: &App, client: &Client) -> Gate {
    if app.config().http.allow_ip_range.contains(client.addr.ip()) {
        Gate::Open(None)
    } else {
        Counters::count(&app.files.counters.address);
        Gate::Shut(plain(StatusCode::UNAUTHORIZED, NOT_ALLOWED.to_owned()))
    }
}

/// What the hook service is asked about: for a folder with an index page that page.
struct Subject {
    target: Target,
    place: Place,
    is_folder: bool,
}

impl Subject {
    async fn find(turns: &Turns, target: Target, place: Place) -> Self {
        let look = turns.run(move || {
            let look = Root::open(&place).and_then(|root| root.look(&place.below));
            (place, look)
        });
        // A panic in it is a defect that is reported by itself; a request for nothing is what is left.
        let Ok((mut place, look)) = look.await else {
            return Self {
                target,
                place: Place::default(),
                is_folder: false,
            };
        };
        match look {
            Ok(Look::Folder(Some(page))) => {
                place.below.push(page);
                Self {
                    target: target.child(page),
                    place,
                    is_folder: false,
                }
            }
            Ok(Look::Folder(None)) => Self {
                target,
                place,
                is_folder: true,
            },
            Ok(Look::File(_)) | Err(_) => Self {
                target,
                place,
                is_folder: false,
            },
        }
    }
}

fn remember(
    app: &App,
    asked: Asked<'_>,
    subject: &Target,
    is_folder: bool,
    decision: &Decision,
    tls: bool,
) -> Option<HeaderValue> {
    if decision.remember.is_zero() {
        return None;
    }
    let scope = if decision.scope.is_empty() {
        Scope::around(subject, is_folder)
    } else {
        Scope::new(&decision.scope)
    };
    let verdict = match &decision.denied {
        None => Verdict::Allowed,
        Some(text) => Verdict::Denied(text.clone()),
    };
    let now = Instant::now();
    let token = app
        .files
        .decisions
        .keep(now, asked, scope.clone(), verdict, decision.remember);
    // Percent-encoded, so it is always a valid value.
    HeaderValue::try_from(set_cookie(token, &scope, decision.remember, tls)).ok()
}

fn denied(app: &App, text: String, cookie: Option<HeaderValue>) -> Gate {
    Counters::count(&app.files.counters.denied);
    let mut response = plain(StatusCode::UNAUTHORIZED, text);
    if let Some(cookie) = cookie {
        response
            .headers_mut()
            .append(axum::http::header::SET_COOKIE, cookie);
    }
    Gate::Shut(response)
}
