//! A request as it was sent, for operators who try out a receiver.

use crate::client::{Target, Timing};
use bytes::Bytes;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use hyper::{Request, Version};
use serde::Serialize;

/// In place of a secret.
const HIDDEN: &str = "***";

/// A request. Credentials, further headers of the endpoint and the query of the URL are hidden; the signature is not: it is good
/// for this body at this time only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// `POST`.
    pub method: String,
    /// Where it went.
    pub url: String,
    /// `HTTP/1.1` or `HTTP/2`; none if there was no connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'static str>,
    /// All headers, as this version has them.
    pub headers: Vec<Header>,
    /// The body.
    pub body: String,
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Header {
    /// Its name; of HTTP/2 in small letters.
    pub name: String,
    /// Its value, or `***`.
    pub value: String,
}

impl Sent {
    /// `request` as it was given to the client, and how it went from there.
    pub(crate) fn new(target: &Target, request: &Request<Bytes>, timing: &Timing) -> Self {
        let http2 = timing.version == Some(Version::HTTP_2);
        // What the connections make of it: the host is part of HTTP/2's URL, and the length is added.
        let given = request.headers().iter();
        let mut headers: Vec<_> = given
            .filter(|(name, _)| !(http2 && [HOST, CONNECTION].contains(name)))
            .map(|(name, value)| header(name, value, http2))
            .collect();
        headers.push(header(
            &CONTENT_LENGTH,
            &HeaderValue::from(request.body().len()),
            http2,
        ));
        let query = if target.path.contains('?') { "?***" } else { "" };
        Self {
            method: request.method().to_string(),
            url: target.redacted() + query,
            version: timing.version.map(|_| if http2 { "HTTP/2" } else { "HTTP/1.1" }),
            headers,
            body: String::from_utf8_lossy(request.body()).into_owned(),
        }
    }
}

fn header(name: &HeaderName, value: &HeaderValue, http2: bool) -> Header {
    let secret = value.is_sensitive() && name != "webhook-signature";
    Header {
        name: if http2 {
            name.to_string()
        } else {
            title_case(name.as_str())
        },
        value: if secret {
            HIDDEN.to_owned()
        } else {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        },
    }
}

/// As HTTP/1.1 connections write names.
fn title_case(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at_checked(1).unwrap_or(("", word));
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}
