//! Names: which stream, and in which form.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The virtual host of every stream while `general.enableVhost` is 0, and of requests that name an address or `localhost`.
pub const DEFAULT_VHOST: &str = "__defaultVhost__";

/// Longest accepted `vhost`, `app` or `stream`, in bytes. File systems allow 255 per segment; a stream may have several.
pub const MAX_NAME_LEN: usize = 1024;

/// The name of a stream: `vhost/app/stream`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey(Arc<Names>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Names {
    vhost: Box<str>,
    app: Box<str>,
    stream: Box<str>,
}

impl StreamKey {
    /// A key from its three parts, taken as they are.
    pub fn new(vhost: &str, app: &str, stream: &str) -> Self {
        Self(Arc::new(Names {
            vhost: vhost.into(),
            app: app.into(),
            stream: stream.into(),
        }))
    }

    /// A key under [`DEFAULT_VHOST`].
    pub fn on_default_vhost(app: &str, stream: &str) -> Self {
        Self::new(DEFAULT_VHOST, app, stream)
    }

    /// Virtual host.
    pub fn vhost(&self) -> &str {
        &self.0.vhost
    }

    /// First path element of a media URL.
    pub fn app(&self) -> &str {
        &self.0.app
    }

    /// The other path elements of a media URL, joined with `/`.
    pub fn stream(&self) -> &str {
        &self.0.stream
    }

    /// The same application and host with another stream name (`stream_replace`).
    pub fn with_stream(&self, stream: &str) -> Self {
        Self::new(self.vhost(), self.app(), stream)
    }

    /// Splits the path of a media URL (`app/a/b`) at its first `/`. A missing part is empty, as ZLM does (urls.md, section 1).
    pub fn split_path(path: &str) -> (&str, &str) {
        let path = path.strip_prefix('/').unwrap_or(path);
        path.split_once('/').unwrap_or((path, ""))
    }
}

/// `vhost/app/stream`, the form of proxy keys and of log lines.
impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.vhost(), self.app(), self.stream())
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// ZLM's word for the form a stream is registered and asked for in. FLV over HTTP and WebSocket belongs to `rtmp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Schema {
    /// RTMP, HTTP-FLV, WS-FLV.
    Rtmp,
    /// RTSP and WebRTC.
    Rtsp,
    /// MPEG-TS over HTTP, WebSocket and SRT.
    Ts,
    /// Fragmented MP4 over HTTP and WebSocket.
    Fmp4,
    /// HLS with MPEG-TS segments.
    Hls,
    /// HLS with fMP4 segments.
    HlsFmp4,
}

impl Schema {
    /// All schemas, in the order in which lookups without a schema try them (api.md, section 1.12).
    pub const ALL: [Self; 6] = [
        Self::Rtmp,
        Self::Rtsp,
        Self::Ts,
        Self::Fmp4,
        Self::Hls,
        Self::HlsFmp4,
    ];

    /// Whether it can be had only when its first segment is whole, some time after the stream began.
    pub const fn takes_a_segment(self) -> bool {
        match self {
            Self::Hls | Self::HlsFmp4 => true,
            Self::Rtmp | Self::Rtsp | Self::Ts | Self::Fmp4 => false,
        }
    }

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Rtsp => "rtsp",
            Self::Ts => "ts",
            Self::Fmp4 => "fmp4",
            Self::Hls => "hls",
            Self::HlsFmp4 => "hls.fmp4",
        }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no schema. Names are case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a schema; allowed are rtmp, rtsp, ts, fmp4, hls, hls.fmp4")]
pub struct UnknownSchema(pub String);

impl FromStr for Schema {
    type Err = UnknownSchema;

    fn from_str(text: &str) -> Result<Self, UnknownSchema> {
        Self::ALL
            .into_iter()
            .find(|schema| schema.as_str() == text)
            .ok_or_else(|| UnknownSchema(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_segment_is_the_app_and_the_rest_is_the_stream() {
        assert_eq!(StreamKey::split_path("/live/sub/dir1"), ("live", "sub/dir1"));
        assert_eq!(StreamKey::split_path("live/cam1"), ("live", "cam1"));
        assert_eq!(StreamKey::split_path("/live"), ("live", ""));
        assert_eq!(StreamKey::split_path(""), ("", ""));
    }

    #[test]
    fn schemas_are_read_back_from_their_names_and_case_matters() {
        for schema in Schema::ALL {
            assert_eq!(schema.as_str().parse(), Ok(schema));
        }
        assert_eq!("RTMP".parse::<Schema>(), Err(UnknownSchema("RTMP".into())));
    }

    #[test]
    fn a_key_shows_as_zlm_writes_proxy_keys() {
        assert_eq!(
            StreamKey::on_default_vhost("live", "a/b").to_string(),
            "__defaultVhost__/live/a/b"
        );
    }
}
