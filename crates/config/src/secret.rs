//! Text that must not reach a log: secrets, and the credentials in URLs.

use std::borrow::Cow;
use std::fmt;

/// The API secret that ZLM publishes in its sample file. Everybody knows it, so it counts as none.
pub const PUBLISHED_SECRET: &str = "035c73f7-bb6b-4889-a715-d9eb2d1925cc";

/// Text whose `Debug` form hides it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Compare it in constant time, and do not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text at all.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_empty() {
            "Secret(empty)"
        } else {
            "Secret(***)"
        })
    }
}

/// `text` with the part between `://` and the `@` of the same authority replaced, wherever it occurs.
pub fn mask_credentials(text: &str) -> Cow<'_, str> {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        let end = tail.find(['/', '?', '#', ' ']).unwrap_or(tail.len());
        masked.push_str(head);
        rest = match tail[..end].rfind('@') {
            Some(user_end) => {
                masked.push_str("***");
                &tail[user_end..]
            }
            None => tail,
        };
    }
    if masked.is_empty() || !masked.contains("***") {
        return Cow::Borrowed(text);
    }
    masked.push_str(rest);
    Cow::Owned(masked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_and_the_rest_stays() {
        for (text, shown) in [
            ("rtsp://admin:p@ss@cam/1", "rtsp://***@cam/1"),
            (
                "ffmpeg://rtsp://u:p@cam/1?a=b@c",
                "ffmpeg://rtsp://***@cam/1?a=b@c",
            ),
            ("http://host/a@b", "http://host/a@b"),
            ("rtmp://u:p@a/%s;rtmp://b/%s", "rtmp://***@a/%s;rtmp://b/%s"),
            ("rtsp://admin:p,w;x@cam/1", "rtsp://***@cam/1"),
            ("plain", "plain"),
        ] {
            assert_eq!(mask_credentials(text), shown);
        }
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(***)");
    }
}
