//! The page at `/` that lists the live streams and plays one in the browser, and the page that calls the API.
//!
//! - [`assets`]: its files, which are in the binary.
//! - [`streams`]: the list that it shows.
//!
//! Everything but the page itself is under `/tidegate/`, by its exact name, so that no file and no stream of a user is in its
//! way. Whoever may read files may have the page (`http.allow_ip_range`); what it plays is asked about like any other viewer.

mod assets;
mod streams;

use crate::app::App;
use crate::session::http::accepts_gzip;
use api::{PeerInfo, Permission};
use assets::Asset;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode, header};
use bytes::Bytes;
use config::PlayerPage;
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::OnceLock;
use tokio::sync::OnceCell;

/// Where the list is.
const STREAMS: &str = "/tidegate/streams.json";

/// What the page may do: its own files, media from this host, and what the players make of it (`blob:`). No inline script or
/// style, so a name that is taken for markup by mistake would still do nothing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     media-src 'self' blob:; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page's files as they are sent.
#[derive(Default)]
pub struct Player {
    tour: OnceLock<&'static str>,
    packed: [OnceCell<Packed>; assets::ALL.len()],
}

/// One file, ready to be sent.
#[derive(Clone)]
struct Packed {
    plain: Bytes,
    gzip: Bytes,
    /// Of the plain form, without quotes.
    tag: String,
}

impl Player {
    /// Puts text into the page, above the player. Before the first request only.
    pub fn explain(&self, html: &'static str) {
        let _ = self.tour.set(html);
    }

    /// Compresses at the first request: the files change with the binary only, and a server whose page nobody opens does no work.
    async fn packed(&self, index: usize, asset: &'static Asset) -> Option<Packed> {
        let tour = self.tour.get().copied().unwrap_or_default();
        let pack = || async move {
            tokio::task::spawn_blocking(move || pack(asset, tour))
                .await
                .inspect_err(
                    |error| tracing::error!(%error, path = asset.path, "a built-in file was not compressed"),
                )
        };
        self.packed.get(index)?.get_or_try_init(pack).await.ok().cloned()
    }
}

/// Whether a path is that of the page, its files or its list.
pub fn is_page(app: &App, path: &str) -> bool {
    app.config().http.player_page != PlayerPage::Off && (path == STREAMS || assets::find(path).is_some())
}

/// Answers a request for [one of those](is_page).
pub async fn respond(app: &App, request: &Parts) -> Response<Body> {
    let peer = request.extensions.get::<PeerInfo>().map(|peer| peer.peer.ip());
    if !peer.is_some_and(|ip| app.config().http.allow_ip_range.contains(ip)) {
        let mut response = Response::new(Body::from("Your ip is not allowed to access the service."));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return response;
    }
    match assets::find(request.uri.path()) {
        Some((index, asset)) => match app.player.packed(index, asset).await {
            Some(packed) => file(asset, packed, &request.headers),
            None => app.not_found_page(),
        },
        None => list(app, app.config().http.player_page, request),
    }
}

fn list(app: &App, mode: PlayerPage, request: &Parts) -> Response<Body> {
    let allowed = match request.extensions.get::<Permission>() {
        _ if mode == PlayerPage::Open => Ok(()),
        Some(permission) => permission.check(request),
        None => Err(api::reply::Failure::AddressNotAllowed.into()),
    };
    let reply = match allowed {
        Ok(()) => api::reply::Reply::new(&streams::listing(app, mode == PlayerPage::Open)),
        Err(refusal) => refusal,
    };
    let mut response = reply.into_response(&app.config().http.char_set);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

fn file(asset: &Asset, packed: Packed, request: &HeaderMap) -> Response<Body> {
    let gzip = accepts_gzip(request);
    // A tag names one form of the file (RFC 9110, section 8.8.3.3).
    let tag = format!("\"{}{}\"", packed.tag, if gzip { "-gzip" } else { "" });
    let known = request
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|one| one.trim() == tag || one.trim() == "*"));
    let body = match (known, gzip) {
        (true, _) => Body::empty(),
        (false, true) => packed.gzip.into(),
        (false, false) => packed.plain.into(),
    };
    let mut response = Response::new(body);
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    let mut put =
        |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    put(header::CONTENT_TYPE, asset.content_type);
    put(header::VARY, "accept-encoding");
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::REFERRER_POLICY, "no-referrer");
    put(header::CONTENT_SECURITY_POLICY, POLICY);
    put(
        CACHE_CONTROL,
        if asset.versioned {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        },
    );
    if gzip {
        put(header::CONTENT_ENCODING, "gzip");
    }
    // Hexadecimal digits in quotes.
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn pack(asset: &Asset, tour: &'static str) -> Packed {
    let plain = match asset.body.split_once(assets::TOUR) {
        Some((before, after)) => Bytes::from([before, tour, after].concat()),
        None => Bytes::from_static(asset.body.as_bytes()),
    };
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // A Vec takes every byte.
    let gzip = encoder
        .write_all(&plain)
        .and_then(|()| encoder.finish())
        .unwrap_or_default();
    let mut tag = String::with_capacity(32);
    for byte in Md5::digest(&plain) {
        let _ = write!(tag, "{byte:02x}"); // Writing to a String cannot fail.
    }
    Packed {
        plain,
        gzip: gzip.into(),
        tag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::ACCEPT_ENCODING;
    use std::io::Read;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_file_is_the_same_packed_and_plain_and_is_sent_once() {
        let (_, asset) = assets::find("/").expect("the page");
        let packed = pack(asset, "<p>a tour</p>");
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&packed.gzip[..])
            .read_to_string(&mut unpacked)
            .expect("gzip");
        assert_eq!(unpacked.as_bytes(), packed.plain);
        assert!(unpacked.contains("<p>a tour</p>") && !unpacked.contains(assets::TOUR));

        let first = file(asset, packed.clone(), &headers(ACCEPT_ENCODING, "gzip"));
        assert_eq!(first.headers()[header::CONTENT_ENCODING], "gzip");
        let mut again = headers(ACCEPT_ENCODING, "gzip");
        again.insert(IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(
            file(asset, packed.clone(), &again).status(),
            StatusCode::NOT_MODIFIED
        );
        again.remove(ACCEPT_ENCODING);
        let other = file(asset, packed, &again);
        assert_eq!(other.status(), StatusCode::OK, "the plain form is another one");
        assert!(!other.headers().contains_key(header::CONTENT_ENCODING));
    }
}
