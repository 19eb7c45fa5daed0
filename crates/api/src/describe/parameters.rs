//! Parameters that many endpoints take.

use super::{Kind, Parameter};
use config::keys;
use config::protocol_options::{CONFIGURED, PER_STREAM};
use media::key::MAX_NAME_LEN;

/// Longest URL that is taken, in bytes: what common HTTP servers take, and enough for signed URLs.
pub const MAX_URL_LEN: usize = 8192;

/// The forms of a stream.
pub const SCHEMAS: &[&str] = &["rtmp", "rtsp", "ts", "fmp4", "hls", "hls.fmp4"];

const NAME: Kind = Kind::Text(MAX_NAME_LEN);

/// Which form of a stream.
pub const SCHEMA: Parameter = Parameter::new(
    "schema",
    Kind::Word(SCHEMAS),
    "The form of the stream. Upper and lower case differ.",
)
.required();

/// Which virtual host.
pub const VHOST: Parameter = Parameter::new(
    "vhost",
    NAME,
    "The virtual host, usually `__defaultVhost__`. With `general.enableVhost=0` it must be given, but its value does not count.",
)
.required();

/// Which application.
pub const APP: Parameter = Parameter::new("app", NAME, "The application.").required();

/// Which stream.
pub const STREAM: Parameter = Parameter::new("stream", NAME, "The name of the stream.").required();

/// Filters of lists of streams.
pub const FILTERS: [Parameter; 4] = [
    Parameter::new("schema", Kind::Word(SCHEMAS), "Only this form."),
    Parameter::new(
        "vhost",
        NAME,
        "Only this virtual host, compared literally even with `general.enableVhost=0`.",
    ),
    Parameter::new("app", NAME, "Only this application."),
    Parameter::new("stream", NAME, "Only streams of exactly this name."),
];

/// Filters of lists of sessions.
pub const SESSION_FILTERS: [Parameter; 2] = [
    Parameter::new(
        "local_port",
        Kind::Int(0, 65535),
        "Only connections to this port of the server; 0 is every port.",
    )
    .or("0"),
    Parameter::new("peer_ip", Kind::Text(45), "Only connections from this address."),
];

/// The handle of a source or a pusher.
pub const KEY: Parameter = Parameter::new(
    "key",
    Kind::Text(3 * MAX_NAME_LEN + MAX_URL_LEN),
    "The handle that adding it returned.",
)
.required();

/// How often a lost source or destination is tried again.
pub const RETRY_COUNT: Parameter = Parameter::new(
    "retry_count",
    Kind::Int(-1, u32::MAX as i64),
    "Failures after which it is given up, once it was up (a pull: or with `force`). -1, like every negative number, is never.",
)
.or("-1");

/// The limit for connecting.
pub const TIMEOUT_SEC: Parameter = Parameter::new(
    "timeout_sec",
    Kind::Number(0.0, 3600.0),
    "Limit for connecting, in seconds. Values up to 0.1 count as 10.",
)
.or("10");

/// The options of a new stream, from the table of configuration keys.
pub fn protocol_options() -> Vec<Parameter> {
    let configured = CONFIGURED.into_iter().filter_map(|name| {
        let key = keys::find(&format!("protocol.{name}"))?;
        let kind = match key.kind_name() {
            "bool" => Kind::Switch,
            "int" | "int, ms" => Kind::Int(0, u32::MAX as i64),
            "float, s" => Kind::Number(0.0, f64::from(u32::MAX)),
            _ => Kind::Text(4096),
        };
        // As in the configuration unless it is given, so there is no fixed default.
        Some(Parameter::new(name, kind, key.doc))
    });
    let per_stream = PER_STREAM.into_iter().map(|name| {
        let (kind, about) = match name {
            "stream_replace" => (NAME, "The name that the stream gets instead of `stream`."),
            _ => (
                Kind::Int(1, 100),
                "Most tracks of the stream. Not taken from calls: 16 for HLS and MPEG-TS, else 2.",
            ),
        };
        Parameter::new(name, kind, about)
    });
    configured.chain(per_stream).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_a_stream_is_described_and_every_schema_exists() {
        let described = protocol_options();
        for name in CONFIGURED.into_iter().chain(PER_STREAM) {
            assert!(described.iter().any(|one| one.name == name), "{name}");
        }
        let schemas: Vec<&str> = media::Schema::ALL.iter().map(|one| one.as_str()).collect();
        assert!(SCHEMAS.iter().all(|schema| schemas.contains(schema)));
        assert_eq!(SCHEMAS.len(), schemas.len());
    }
}
