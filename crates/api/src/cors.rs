//! Cross-origin rules (api.md, section 1.9).

use axum::http::header::{self, HeaderMap, HeaderValue};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, HEAD, OPTIONS, DELETE");

/// Adds to a reply what a page of another origin needs to read it. Nothing without an `Origin`, or when
/// `http.allow_cross_domains` is off.
pub fn allow(request: &HeaderMap, allowed: bool, reply: &mut HeaderMap) {
    let Some(origin) = request.get(header::ORIGIN).filter(|_| allowed) else {
        return;
    };
    reply.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    reply.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    // A cache must not hand the reply for one origin to another.
    reply.append(header::VARY, HeaderValue::from_name(header::ORIGIN));
}

/// The headers of the answer to `OPTIONS`.
///
/// ZLM answers `*` for origin and headers (observed), which browsers refuse together with credentials. So both are echoed if
/// the request names them.
pub fn preflight(request: &HeaderMap, allowed: bool, reply: &mut HeaderMap) {
    reply.insert(header::ALLOW, METHODS);
    reply.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    reply.insert(
        "access-control-request-methods",
        HeaderValue::from_static("GET, POST, PUT, OPTIONS, DELETE"),
    );
    let headers = HeaderValue::from_static("Accept,Accept-Language,Content-Language,Content-Type");
    reply.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, headers);
    reply.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if !allowed {
        return;
    }
    let any = || HeaderValue::from_static("*");
    reply.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    let origin = request.get(header::ORIGIN).cloned().unwrap_or_else(any);
    reply.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let headers = request
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .cloned()
        .unwrap_or_else(any);
    reply.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers);
    reply.append(header::VARY, HeaderValue::from_name(header::ORIGIN));
}
