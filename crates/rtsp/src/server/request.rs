//! What clients ask for, and how they are refused.

use crate::auth::Credentials;
use crate::message::{Headers, Response};
use crate::url;

/// The transports that clients may choose (`rtsp.rtpTransportType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// All.
    #[default]
    Any,
    /// Interleaved in the connection.
    Tcp,
    /// UDP to the client.
    Udp,
    /// UDP to a group.
    Multicast,
}

/// Who asks for which stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The URL without query and without the slash at its end.
    pub url: String,
    /// Host as the client wrote it, without port.
    pub host: String,
    /// First segment of the path; may be empty.
    pub app: String,
    /// The other segments, joined with `/`; may be empty.
    pub stream: String,
    /// Query without `?`. May hold credentials: not for logs.
    pub params: String,
    /// The `Authorization` header, if it could be read.
    pub credentials: Option<Credentials>,
}

impl Request {
    /// Reads the request line and the headers of a request for a stream.
    pub(super) fn of(uri: &str, headers: &Headers, publishes: bool) -> Self {
        let path = url::request_path(uri);
        let (url, _) = uri.split_once('?').unwrap_or((uri, ""));
        let mut stream = path.stream;
        let mut url = without_user(url.trim_end_matches('/'));
        if publishes {
            // Some publishers name a description file (urls.md, section 4).
            for name in [&mut stream, &mut url] {
                if let Some(short) = name.strip_suffix(".sdp").map(str::len) {
                    name.truncate(short);
                }
            }
        }
        Self {
            url,
            host: path.host,
            app: path.app,
            stream,
            params: path.params,
            credentials: headers
                .get("Authorization")
                .and_then(|value| Credentials::parse(value).ok()),
        }
    }
}

/// Some clients leave user and password in the URL. Answers and lists have no use for them.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[host..])
}

/// Why a client does not get what it asked for (urls.md, section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `401` with this text.
    Denied(String),
    /// `401` with these `WWW-Authenticate` headers. `last`: the connection ends with it.
    Unauthorized {
        /// One header each.
        challenges: Vec<String>,
        /// Close after it.
        last: bool,
    },
    /// `404 Stream Not Found`.
    NotFound,
    /// `406 Not Acceptable`: somebody publishes there.
    Taken,
    /// `403` with this text: the description cannot be used.
    Unusable(String),
    /// `503` with this text.
    Overload(String),
}

impl Refusal {
    /// The answer, and whether the connection ends with it.
    pub(super) fn response(self) -> (Response, bool) {
        let text = |response: Response, text: String| response.with_body("text/plain", text);
        match self {
            Self::Denied(reason) => (text(Response::new(401, "Unauthorized"), reason), true),
            Self::Unauthorized { challenges, last } => {
                let response = Response::new(401, "Unauthorized");
                let response = challenges.iter().fold(response, |response, value| {
                    response.with("WWW-Authenticate", value)
                });
                (response, last)
            }
            Self::NotFound => (
                Response::new(404, "Stream Not Found").with("Connection", "Close"),
                true,
            ),
            Self::Taken => (
                text(
                    Response::new(406, "Not Acceptable"),
                    "Already publishing.".to_owned(),
                ),
                true,
            ),
            Self::Unusable(reason) => (text(Response::new(403, "Forbidden"), reason), true),
            Self::Overload(reason) => (text(Response::new(503, "Service Unavailable"), reason), true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_of_a_url_go_no_further() {
        for (uri, url) in [
            ("rtsp://u:p@h:554/live/a?k=v", "rtsp://h:554/live/a"),
            ("rtsp://u:p@ss@h/live/a@b/", "rtsp://h/live/a@b"),
            ("rtsp://h/live/a", "rtsp://h/live/a"),
            ("/live/a", "/live/a"),
        ] {
            assert_eq!(Request::of(uri, &Headers::new(), false).url, url);
        }
    }
}
