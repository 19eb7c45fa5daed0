//! From a request to its handler and back.

use crate::args::{self, Args};
use crate::auth::{self, Permission};
use crate::cors;
use crate::login::Logins;
use crate::outside::{PeerInfo, Server};
use crate::reply::{self, Answer, Failure, Reply};
use crate::routes::{self, Route};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode, Version};
use config::Config;
use media::StreamKey;
use media::key::DEFAULT_VHOST;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Instant;
use tower::ServiceExt;

/// The API in front of everything else that is served over HTTP. Requests that are not for the API go to `otherwise`, among
/// them `GET` of unknown names under `/index/`: a file may have that name.
pub fn router(server: Arc<dyn Server>, otherwise: Router) -> Router {
    let api = Api {
        server,
        logins: Arc::default(),
        otherwise,
    };
    Router::new().fallback(dispatch).with_state(api)
}

#[derive(Clone)]
struct Api {
    server: Arc<dyn Server>,
    logins: Arc<Mutex<Logins>>,
    otherwise: Router,
}

/// One call of an endpoint, handed to its handler.
pub(crate) struct Call {
    pub server: Arc<dyn Server>,
    pub config: Arc<Config>,
    pub args: Args,
    pub peer: PeerInfo,
    /// The head of the request.
    pub request: Parts,
    pub logins: Arc<Mutex<Logins>>,
}

impl Call {
    /// The stream that `vhost`, `app` and `stream` name. Without virtual hosts every stream is under the default one, whatever
    /// the parameter says (api.md, section 1.12).
    pub fn key(&self) -> StreamKey {
        let vhost = self.args.text("vhost");
        let vhost = if self.config.general.enable_vhost {
            &vhost
        } else {
            DEFAULT_VHOST
        };
        StreamKey::new(vhost, &self.args.text("app"), &self.args.text("stream"))
    }

    /// `api.secret`.
    pub fn secret(&self) -> &str {
        self.config.api.secret.expose()
    }

    /// A fresh pending cookie.
    pub fn invite(&self) -> String {
        self.logins.lock().invite(Instant::now())
    }

    /// The engine answered another question than `asked`: a defect of ours that must not end the connection.
    pub fn unexpected(asked: &'static str) -> Failure {
        debug_assert!(false, "the answer does not fit {asked}");
        tracing::error!(asked, "the engine's answer does not fit the operation");
        Failure::Exception("the answer does not fit the operation".to_owned())
    }
}

async fn dispatch(State(api): State<Api>, request: Request) -> Response<Body> {
    let path = args::decode(request.uri().path().as_bytes(), false);
    let route = routes::find(&path);
    if route.is_none() && !is_ours(&path) {
        return otherwise(api, request).await;
    }
    let config = api.server.config();
    let origin_allowed = config.http.allow_cross_domains;
    let method = request.method();
    if method == Method::HEAD {
        return reply::empty(StatusCode::OK);
    }
    if method == Method::OPTIONS {
        let mut response = reply::empty(StatusCode::OK);
        cors::preflight(request.headers(), origin_allowed, response.headers_mut());
        return response;
    }
    if ![Method::GET, Method::POST, Method::PUT, Method::DELETE].contains(method) {
        return closing(StatusCode::METHOD_NOT_ALLOWED);
    }
    let Some(route) = route else {
        return if method == Method::GET {
            otherwise(api, request).await
        } else {
            reply::empty(StatusCode::NOT_FOUND)
        };
    };
    let headers = request.headers().clone();
    let mut response = match call(api, route, config.clone(), request).await {
        Ok(call) => answer(route, call).await.into_response(&config.http.char_set),
        Err(status) => closing(status),
    };
    cors::allow(&headers, origin_allowed, response.headers_mut());
    response
}

fn is_ours(path: &str) -> bool {
    path.get(..routes::ROOT.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(routes::ROOT))
}

async fn otherwise(api: Api, mut request: Request) -> Response<Body> {
    let permission = Permission {
        server: api.server,
        logins: api.logins,
    };
    request.extensions_mut().insert(permission);
    let Ok(response) = api.otherwise.oneshot(request).await;
    response
}

/// An empty reply after which the connection ends, because what the client sends next cannot be told from this request.
fn closing(status: StatusCode) -> Response<Body> {
    let mut response = reply::empty(status);
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Reads a request whole. ZLM leaves oversized bodies, and POST without a length, without an answer (observed); here they get
/// the status that HTTP has for them.
async fn call(
    api: Api,
    route: &'static Route,
    config: Arc<Config>,
    request: Request,
) -> Result<Call, StatusCode> {
    let (parts, body) = request.into_parts();
    let Some(peer) = parts.extensions.get::<PeerInfo>().copied() else {
        debug_assert!(false, "a request without PeerInfo");
        tracing::error!("a request came without its peer's address, so nothing can be allowed");
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let has_length =
        parts.headers.contains_key(CONTENT_LENGTH) || parts.headers.contains_key(TRANSFER_ENCODING);
    if parts.method == Method::POST && parts.version < Version::HTTP_2 && !has_length {
        return Err(StatusCode::LENGTH_REQUIRED);
    }
    let limit = usize::try_from(config.http.max_req_size).unwrap_or(usize::MAX);
    // The other cause of an error here is a connection that broke, where nobody sees the status.
    let body = axum::body::to_bytes(body, limit)
        .await
        .map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    let query = parts.uri.query().unwrap_or_default();
    let args = Args::read(query, &parts.headers, &body).described_by(&route.about);
    Ok(Call {
        server: api.server,
        config,
        args,
        peer,
        request: parts,
        logins: api.logins,
    })
}

async fn answer(route: &'static Route, call: Call) -> Reply {
    let started = Instant::now();
    let (peer, debug) = (call.peer.peer, call.config.api.debug);
    let answer = match auth::allow(route, &call) {
        Ok(()) => (route.handler)(call).await,
        Err(failure) => Err(failure),
    };
    let took_ms = started.elapsed().as_millis();
    // Neither parameters nor texts are logged: secrets and URLs with passwords are among them.
    match &answer {
        Ok(_) if debug => tracing::info!(endpoint = route.name, %peer, took_ms, "api call"),
        Ok(_) => tracing::debug!(endpoint = route.name, %peer, took_ms, "api call"),
        Err(failure) => {
            tracing::info!(endpoint = route.name, %peer, took_ms, code = failure.code() as i32, "api call failed");
        }
    }
    answer.unwrap_or_else(Reply::from)
}

/// For the table of routes.
pub(crate) type Handler = fn(Call) -> std::pin::Pin<Box<dyn Future<Output = Answer> + Send>>;
