//! What is served over HTTP beside live streams: the API, metrics, and the page that plays streams.

use crate::app::App;
use crate::metrics;
use crate::player;
use api::PeerInfo;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Method, Response, StatusCode};
use std::sync::Arc;

/// The router behind the HTTP driver.
pub fn router(app: Arc<App>) -> Router {
    let operator = Arc::new(app.operator());
    let rest = Router::new().fallback(rest).with_state(app);
    api::router(operator, rest)
}

/// Requests that are neither live streams nor the API (api.md, section 1.2).
async fn rest(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    match *request.method() {
        Method::HEAD => Response::new(Body::empty()),
        Method::GET => match request.uri().path() {
            "/metrics" if app.config().metrics.enable => {
                let peer = request.extensions().get::<PeerInfo>().map(|peer| peer.peer.ip());
                if !peer.is_some_and(|ip| app.config().http.allow_ip_range.contains(ip)) {
                    return status(StatusCode::UNAUTHORIZED);
                }
                let text = metrics::text(&app).await;
                typed(
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    text.into(),
                )
            }
            _ => match player::serve(&app, request).await {
                Ok(response) => response,
                Err(_elsewhere) => app.not_found_page(),
            },
        },
        Method::OPTIONS => {
            let mut response = Response::new(Body::empty());
            api::preflight(
                request.headers(),
                app.config().http.allow_cross_domains,
                response.headers_mut(),
            );
            response
        }
        Method::POST | Method::PUT | Method::DELETE => status(StatusCode::NOT_FOUND),
        _ => status(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn typed(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
