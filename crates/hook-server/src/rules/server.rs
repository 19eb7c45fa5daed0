//! The media servers that call, and whose API is called.

use super::field::SecretText;
use hooks::client::tls::TlsSettings;
use hooks::client::{Origin, Target};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::path::PathBuf;

/// What may stand in a segment of a path as it is (RFC 3986, section 3.3), and the `/` between them.
const NOT_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// A media server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct MediaServer {
    /// Its `general.mediaServerId`; `None` stands for every server that has no entry of its own.
    pub id: Option<String>,
    /// Where its API is; the path ends without `/`.
    pub api: Target,
    /// Its `api.secret`.
    pub secret: SecretText,
    /// Whom to trust over HTTPS.
    pub tls: TlsSettings,
    publish_url: String,
    publish_params: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: Option<String>,
    api: String,
    secret: SecretText,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    insecure: bool,
    publish_url: Option<String>,
    #[serde(default)]
    publish_params: String,
}

/// What is wrong with a server.
#[derive(Debug, thiserror::Error)]
pub enum BadServer {
    /// The URL of its API.
    #[error("api must be http://host:port or https://host:port: {0}")]
    Api(String),
    /// Where FFmpeg publishes.
    #[error("publish_url must begin with rtmp://, rtmps://, rtsp:// or rtsps://, and have no query")]
    PublishUrl,
    /// What is added to it.
    #[error("publish_params must be a query string without blanks and without `?` before it")]
    PublishParams,
}

impl TryFrom<Written> for MediaServer {
    type Error = BadServer;

    fn try_from(written: Written) -> Result<Self, BadServer> {
        // The texts of this error speak of the URL of a hook, which this one is not.
        let bad_api = |error: &dyn std::fmt::Display| {
            BadServer::Api(error.to_string().replace("the hook URL", "the URL"))
        };
        let mut api = Target::parse(&written.api).map_err(|error| bad_api(&error))?;
        if api.path.contains('?') {
            return Err(bad_api(&"it has a query"));
        }
        api.path.truncate(api.path.trim_end_matches('/').len());
        let publish_url = written
            .publish_url
            .unwrap_or_else(|| "rtmp://127.0.0.1:1935".to_owned());
        let has_scheme = ["rtmp://", "rtmps://", "rtsp://", "rtsps://"]
            .iter()
            .any(|scheme| publish_url.starts_with(scheme));
        let is_plain =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains(['?', '#']);
        if !has_scheme || !is_plain(&publish_url) {
            return Err(BadServer::PublishUrl);
        }
        if !is_plain(&written.publish_params) {
            return Err(BadServer::PublishParams);
        }
        let mut tls = TlsSettings {
            keys: "server".into(),
            ca_file: written.ca_file,
            ..TlsSettings::default()
        };
        tls.insecure = written.insecure;
        Ok(Self {
            id: written.id,
            api,
            secret: written.secret,
            tls,
            publish_url: publish_url.trim_end_matches('/').to_owned(),
            publish_params: written.publish_params,
        })
    }
}

impl MediaServer {
    /// Which server it is, without its secrets.
    pub fn shown(&self) -> String {
        let Origin { tls, host, port } = &self.api.origin;
        let scheme = if *tls { "https" } else { "http" };
        format!("{scheme}://{host}:{port}")
    }

    /// Where FFmpeg publishes a stream. The server splits a command line at blanks and takes the name from the URL as it stands
    /// there, so names with other characters than a path has cannot be opened so: `None`.
    pub fn publish_url(&self, vhost: &str, app: &str, stream: &str) -> Option<String> {
        let is_plain = |text: &str| utf8_percent_encode(text, NOT_IN_PATH).eq([text]);
        let has_dots = |text: &str| {
            text.split('/')
                .any(|part| part.is_empty() || part == "." || part == "..")
        };
        if ![vhost, app, stream].into_iter().all(is_plain) || has_dots(app) || has_dots(stream) {
            return None;
        }
        let mut url = format!("{}/{app}/{stream}", self.publish_url);
        let mut add = |text: &str| {
            if !text.is_empty() {
                url.push(if url.contains('?') { '&' } else { '?' });
                url.push_str(text);
            }
        };
        if !vhost.is_empty() && vhost != DEFAULT_VHOST {
            add(&format!("vhost={vhost}"));
        }
        add(&self.publish_params);
        Some(url)
    }
}

/// The virtual host of those who name none.
pub const DEFAULT_VHOST: &str = "__defaultVhost__";

#[cfg(test)]
mod tests {
    use super::*;

    fn server(more: &str) -> Result<MediaServer, String> {
        let text = format!("api = \"http://h:1/zlm/\"\nsecret = \"s\"\n{more}");
        toml_edit::de::from_str(&text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn ffmpeg_publishes_where_the_stream_is_expected() {
        let plain = server("").unwrap();
        assert_eq!(plain.api.path, "/zlm");
        let url = |server: &MediaServer, vhost, app, stream| server.publish_url(vhost, app, stream);
        assert_eq!(
            url(&plain, DEFAULT_VHOST, "live", "a/b-1").as_deref(),
            Some("rtmp://127.0.0.1:1935/live/a/b-1")
        );
        let more = server("publish_url = \"rtsp://10.0.0.1/\"\npublish_params = \"token=t&x=1\"").unwrap();
        assert_eq!(
            url(&more, "a.example", "live", "b").as_deref(),
            Some("rtsp://10.0.0.1/live/b?vhost=a.example&token=t&x=1")
        );
        for stream in ["a b", "a?x=1", "../b", "a//b", "", "a%20b", "摄", "a\"b", "-i\tx"] {
            assert_eq!(url(&plain, DEFAULT_VHOST, "live", stream), None, "{stream:?}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused_with_the_reason() {
        for (more, part) in [
            (
                "publish_url = \"http://x\"",
                "publish_url must begin with rtmp://",
            ),
            ("publish_url = \"rtmp://x/?a\"", "and have no query"),
            ("publish_params = \"?a=1\"", "publish_params must be"),
            ("port = 1", "unknown field `port`"),
        ] {
            let error = server(more).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let error = toml_edit::de::from_str::<MediaServer>("api = \"h:1\"\nsecret = \"s\"").unwrap_err();
        assert!(error.message().contains("the URL has no scheme"), "{error}");
    }
}
