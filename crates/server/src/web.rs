//! What is served over HTTP beside live streams: the API, metrics, files, and the page that plays streams.

use crate::app::App;
use crate::{files, metrics, player};
use api::PeerInfo;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Method, Response, StatusCode, Uri};
use std::sync::Arc;

/// The router behind the HTTP driver.
pub fn router(app: Arc<App>) -> Router {
    let operator = Arc::new(app.operator());
    let rest = Router::new().fallback(rest).with_state(app);
    api::router(operator, rest)
}

/// Requests that are neither live streams nor the API (api.md, section 1.2).
async fn rest(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    let (request, _body) = request.into_parts();
    match request.method {
        // There is no answer without a stream, whose head this would be (urls.md, section 5).
        Method::HEAD if is_live(&request.uri) => Response::new(Body::empty()),
        Method::GET | Method::HEAD => match request.uri.path() {
            "/metrics" if app.config().metrics.enable => {
                let peer = request.extensions.get::<PeerInfo>().map(|peer| peer.peer.ip());
                if !peer.is_some_and(|ip| app.config().http.allow_ip_range.contains(ip)) {
                    return status(StatusCode::UNAUTHORIZED);
                }
                let text = metrics::text(&app).await;
                typed(
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    text.into(),
                )
            }
            // Everything of the page but the page itself has a name that is no file's.
            path if path != "/" && player::is_page(&app, path) => player::respond(&app, &request).await,
            _ => files::respond(&app, &request).await,
        },
        Method::OPTIONS => {
            let mut response = Response::new(Body::empty());
            api::preflight(
                &request.headers,
                app.config().http.allow_cross_domains,
                response.headers_mut(),
            );
            response
        }
        Method::POST | Method::PUT | Method::DELETE => status(StatusCode::NOT_FOUND),
        _ => status(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// Whether `GET` would be for a live stream.
fn is_live(uri: &Uri) -> bool {
    let suffix = [".live.flv", ".live.ts", ".live.mp4"];
    let schema = ["schema=rtmp", "schema=ts", "schema=fmp4"];
    suffix.iter().any(|end| uri.path().ends_with(end))
        || uri
            .query()
            .is_some_and(|query| query.split('&').any(|pair| schema.contains(&pair)))
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
