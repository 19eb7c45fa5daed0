//! `[[hook_endpoint]]` tables: receivers of notifications beside the one that the keys `hook.on_*` name.

use crate::fingerprint::Fingerprint;
use crate::nearest;
use crate::secret::{Secret, mask_credentials};
use crate::source::{Field, FieldValue, Problem};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::path::PathBuf;
use std::time::Duration;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value};

/// Most endpoints. Each has a queue of its own.
pub const MAX_ENDPOINTS: usize = 100;

/// The name under which the receivers of the keys `hook.on_*` go in logs, metrics and the API. No other may have it.
pub const KEYED: &str = "zlm";

/// Notifications in ZLM's form, by name.
pub const ZLM_EVENTS: [&str; 9] = [
    "on_flow_report",
    "on_record_mp4",
    "on_record_ts",
    "on_rtp_server_timeout",
    "on_send_rtp_stopped",
    "on_server_exited",
    "on_server_keepalive",
    "on_server_started",
    "on_stream_changed",
];

/// Tidegate's own events, by type.
pub const OWN_EVENTS: [&str; 7] = [
    "recording.segment",
    "server.alive",
    "server.started",
    "server.stopping",
    "session.ended",
    "stream.offline",
    "stream.online",
];

/// Most headers of one endpoint.
const MAX_HEADERS: usize = 16;

/// Most secrets of one endpoint: the new one, and old ones during a rotation.
const MAX_SECRETS: usize = 4;

/// Fewest and most bytes of a secret (Standard Webhooks 1.0.0, "Signature scheme").
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The fields of a table.
const FIELDS: [&str; 16] = [
    "name",
    "url",
    "events",
    "except",
    "secret",
    "old_secrets_until",
    "headers",
    "durable",
    "newest_wins",
    "timeout_sec",
    "enabled",
    "ca_file",
    "cert_file",
    "key_file",
    "pin_sha256",
    "insecure",
];

/// Headers that an endpoint cannot set, because a request has them already or they would break it.
const RESERVED_HEADERS: [&str; 12] = [
    "accept",
    "accept-language",
    "connection",
    "content-length",
    "content-type",
    "host",
    "traceparent",
    "transfer-encoding",
    "user-agent",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// One receiver of notifications.
#[derive(Clone, Debug, PartialEq)]
pub struct HookEndpoint {
    /// Its name in logs, metrics and the API, and of its folder on disk.
    pub name: String,
    /// Where it is: `http` or `https`. May hold credentials.
    pub url: Secret,
    /// What it gets: names, or beginnings of names with `*` behind; none is all of [`OWN_EVENTS`].
    pub events: Vec<String>,
    /// What it does not get, unless `events` names it without `*`.
    pub except: Vec<String>,
    /// Secrets for signatures, `whsec_` and base64. All sign; the first one is the newest.
    pub secrets: Vec<Secret>,
    /// When all secrets but the first one end, in Unix seconds. `None`: never.
    pub old_secrets_until: Option<u64>,
    /// Further headers.
    pub headers: Vec<(String, Secret)>,
    /// Events are kept on disk until they are delivered or too old.
    pub durable: bool,
    /// What waits about the state of a stream is replaced by what is newer, once the stream has waited for 30 s.
    pub newest_wins: bool,
    /// Limit of one attempt. `None`: `hook.timeoutSec`, at least 15 s if it is durable.
    pub timeout: Option<Duration>,
    /// It gets events.
    pub enabled: bool,
    /// Certificates of further authorities to trust, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, in PEM.
    pub cert_file: Option<PathBuf>,
    /// Its key, in PEM; none: it is in the same file.
    pub key_file: Option<PathBuf>,
    /// The one certificate that the receiver may have.
    pub pin_sha256: Option<Fingerprint>,
    /// Accept any certificate.
    pub insecure: bool,
}

impl Default for HookEndpoint {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: Secret::default(),
            events: Vec::new(),
            except: Vec::new(),
            secrets: Vec::new(),
            old_secrets_until: None,
            headers: Vec::new(),
            durable: false,
            newest_wins: false,
            timeout: None,
            enabled: true,
            ca_file: None,
            cert_file: None,
            key_file: None,
            pin_sha256: None,
            insecure: false,
        }
    }
}

impl HookEndpoint {
    /// Changes it by fields as texts, as an API call gives them: `1`, `0`, `true` and `false` are switches, lists have `,`
    /// between their items, and an empty text takes a value back.
    ///
    /// # Errors
    ///
    /// What is wrong with which field; nothing is changed then.
    pub fn change<'a>(
        &mut self,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), Vec<(String, Problem)>> {
        let fields: Vec<_> = fields
            .into_iter()
            .map(|(name, text)| Field {
                name: name.to_owned(),
                value: FieldValue::Text(text.to_owned()),
            })
            .collect();
        let changed = apply(self.clone(), &fields)?;
        *self = changed;
        Ok(())
    }

    /// Whether it gets an event: an exact name in `events` wins over `except`, and `except` over the rest.
    pub fn wants(&self, event: &str) -> bool {
        if self.events.iter().any(|pattern| pattern == event) {
            return true;
        }
        if self.except.iter().any(|pattern| matches(pattern, event)) {
            return false;
        }
        if self.events.is_empty() {
            return OWN_EVENTS.contains(&event);
        }
        self.events.iter().any(|pattern| matches(pattern, event))
    }

    /// The URL with credentials hidden.
    pub fn shown_url(&self) -> String {
        mask_credentials(self.url.expose()).into_owned()
    }
}

/// Reads endpoints that [`write`] has written.
///
/// # Errors
///
/// What is wrong, a line each.
pub fn parse(text: &str) -> Result<Vec<HookEndpoint>, String> {
    let mut errors = Vec::new();
    let read = crate::toml::read(text, &"endpoints".into(), &mut errors);
    if errors.is_empty() {
        return Ok(read.endpoints);
    }
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    Err(errors.join("\n"))
}

/// Endpoints as a TOML file.
pub fn write(endpoints: &[HookEndpoint]) -> String {
    let mut tables = ArrayOfTables::new();
    for endpoint in endpoints {
        tables.push(endpoint.table());
    }
    let mut document = DocumentMut::new();
    document.insert("hook_endpoint", Item::ArrayOfTables(tables));
    format!("# Hook endpoints that were added by the API. Written anew with each change.\n{document}")
}

impl HookEndpoint {
    /// Fields that are as they would be without being mentioned are left out.
    fn table(&self) -> Table {
        let path = |path: &Option<PathBuf>| {
            let path = path.as_ref()?;
            Some(Value::from(path.to_string_lossy().into_owned()))
        };
        let list = |items: &[String]| {
            (!items.is_empty()).then(|| Value::from_iter(items.iter().map(String::as_str)))
        };
        let secrets: Vec<_> = self
            .secrets
            .iter()
            .map(|secret| secret.expose().to_owned())
            .collect();
        let headers = self.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| format!("{name}: {}", value.expose()))
            .collect();
        let fields = [
            ("name", Some(Value::from(self.name.as_str()))),
            ("url", Some(Value::from(self.url.expose()))),
            ("events", list(&self.events)),
            ("except", list(&self.except)),
            ("secret", list(&secrets)),
            (
                "old_secrets_until",
                self.old_secrets_until
                    .and_then(|until| i64::try_from(until).ok())
                    .map(Value::from),
            ),
            ("headers", list(&headers)),
            ("durable", self.durable.then(|| Value::from(true))),
            ("newest_wins", self.newest_wins.then(|| Value::from(true))),
            (
                "timeout_sec",
                self.timeout.map(|timeout| Value::from(timeout.as_secs_f64())),
            ),
            ("enabled", (!self.enabled).then(|| Value::from(false))),
            ("ca_file", path(&self.ca_file)),
            ("cert_file", path(&self.cert_file)),
            ("key_file", path(&self.key_file)),
            (
                "pin_sha256",
                self.pin_sha256.map(|pin| Value::from(pin.to_string())),
            ),
            ("insecure", self.insecure.then(|| Value::from(true))),
        ];
        let mut table = Table::new();
        for (name, value) in fields {
            if let Some(value) = value {
                table.insert(name, Item::Value(value));
            }
        }
        table
    }
}

fn matches(pattern: &str, event: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => event.starts_with(beginning),
        None => pattern == event,
    }
}

/// Makes an endpoint of its fields, or says what is wrong with which of them.
pub(crate) fn read(fields: &[Field]) -> Result<HookEndpoint, Vec<(String, Problem)>> {
    apply(HookEndpoint::default(), fields)
}

fn apply(mut endpoint: HookEndpoint, fields: &[Field]) -> Result<HookEndpoint, Vec<(String, Problem)>> {
    let mut problems = Vec::new();
    for field in fields {
        if let Err(problem) = endpoint.take(&field.name, &field.value) {
            problems.push((field.name.clone(), problem));
        }
    }
    let refused = |name: &str| problems.iter().any(|(field, _)| field == name);
    let mut more = Vec::new();
    let missing = [
        ("name", endpoint.name.is_empty()),
        ("url", endpoint.url.is_empty()),
    ];
    for (name, absent) in missing {
        if absent && !refused(name) {
            more.push((name.to_owned(), Problem::Missing));
        }
    }
    if endpoint.key_file.is_some() && endpoint.cert_file.is_none() && !refused("cert_file") {
        more.push(("cert_file".to_owned(), Problem::Missing));
    }
    problems.extend(more);
    if problems.is_empty() {
        Ok(endpoint)
    } else {
        Err(problems)
    }
}

impl HookEndpoint {
    fn take(&mut self, name: &str, value: &FieldValue) -> Result<(), Problem> {
        match name {
            "name" => self.name = endpoint_name(value)?,
            "url" => self.url = url(value)?,
            "events" => self.events = patterns(value)?,
            "except" => self.except = patterns(value)?,
            "secret" => self.secrets = secrets(value)?,
            "old_secrets_until" => self.old_secrets_until = unix(value)?,
            "headers" => self.headers = headers(value)?,
            "durable" => self.durable = switch(value)?,
            "newest_wins" => self.newest_wins = switch(value)?,
            "timeout_sec" => self.timeout = timeout(value)?,
            "enabled" => self.enabled = switch(value)?,
            "ca_file" => self.ca_file = path(value)?,
            "cert_file" => self.cert_file = path(value)?,
            "key_file" => self.key_file = path(value)?,
            "pin_sha256" => self.pin_sha256 = pin(value)?,
            "insecure" => self.insecure = switch(value)?,
            _ => {
                return Err(Problem::UnknownField {
                    nearest: nearest::among(name, FIELDS.into_iter()),
                });
            }
        }
        Ok(())
    }
}

fn refuse(value: &FieldValue, allowed: &'static str) -> Problem {
    Problem::Value {
        value: match value {
            FieldValue::Text(text) => mask_credentials(text).into_owned(),
            FieldValue::List(items) => items.join(", "),
            FieldValue::Bool(on) => on.to_string(),
            FieldValue::Int(number) => number.to_string(),
            FieldValue::Float(number) => number.to_string(),
            FieldValue::Other => "a table, a date or a list of other things than text".to_owned(),
        },
        allowed,
    }
}

/// What is wrong with it must not show it.
fn hidden(allowed: &'static str) -> Problem {
    let value = "***".to_owned();
    Problem::Value { value, allowed }
}

fn text(value: &FieldValue) -> Result<&str, Problem> {
    match value {
        FieldValue::Text(text) => Ok(text.trim()),
        FieldValue::Bool(_)
        | FieldValue::Int(_)
        | FieldValue::Float(_)
        | FieldValue::List(_)
        | FieldValue::Other => Err(refuse(value, "a string")),
    }
}

/// A list, or text with `,` between the items.
fn list(value: &FieldValue) -> Result<Vec<String>, Problem> {
    let items: Vec<&str> = match value {
        FieldValue::List(items) => items.iter().map(String::as_str).collect(),
        FieldValue::Text(text) => text.split(',').collect(),
        FieldValue::Bool(_) | FieldValue::Int(_) | FieldValue::Float(_) | FieldValue::Other => {
            return Err(refuse(value, "a list of strings"));
        }
    };
    let items = items.into_iter().map(str::trim).filter(|item| !item.is_empty());
    Ok(items.map(str::to_owned).collect())
}

fn switch(value: &FieldValue) -> Result<bool, Problem> {
    match value {
        FieldValue::Bool(on) => Ok(*on),
        FieldValue::Int(0) => Ok(false),
        FieldValue::Int(1) => Ok(true),
        FieldValue::Text(text) => match text.trim() {
            "1" | "true" => Ok(true),
            "0" | "false" | "" => Ok(false),
            _ => Err(refuse(value, "true or false")),
        },
        FieldValue::Int(_) | FieldValue::Float(_) | FieldValue::List(_) | FieldValue::Other => {
            Err(refuse(value, "true or false"))
        }
    }
}

fn endpoint_name(value: &FieldValue) -> Result<String, Problem> {
    const ALLOWED: &str = "1 to 64 of a-z, 0-9, - and _, with a letter or digit first, and not \"zlm\", which is the receiver of hook.on_*";
    let name = text(value)?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let good = (1..=64).contains(&name.len())
        && name.bytes().next().is_some_and(plain)
        && name
            .bytes()
            .all(|byte| plain(byte) || matches!(byte, b'-' | b'_'))
        && name != KEYED;
    good.then(|| name.to_owned())
        .ok_or_else(|| refuse(value, ALLOWED))
}

fn url(value: &FieldValue) -> Result<Secret, Problem> {
    let text = text(value)?;
    let scheme = text
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    let good = matches!(scheme.as_deref(), Some("http" | "https"))
        && text.len() <= 4096
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    good.then(|| Secret::new(text))
        .ok_or_else(|| refuse(value, "a URL that begins with http:// or https://"))
}

fn patterns(value: &FieldValue) -> Result<Vec<String>, Problem> {
    let known = |pattern: &String| {
        ZLM_EVENTS
            .iter()
            .chain(&OWN_EVENTS)
            .any(|event| matches(pattern, event))
    };
    let patterns = list(value)?;
    if patterns.iter().all(known) {
        return Ok(patterns);
    }
    Err(refuse(
        value,
        "a list of events: on_flow_report, on_record_mp4, on_record_ts, on_rtp_server_timeout, on_send_rtp_stopped, \
         on_server_exited, on_server_keepalive, on_server_started, on_stream_changed, recording.segment, server.alive, \
         server.started, server.stopping, session.ended, stream.offline, stream.online, or the beginning of such a name with * \
         behind it",
    ))
}

/// What is allowed as secrets.
pub(crate) const SECRETS_ALLOWED: &str = "up to 4 secrets, each whsec_ and 24 to 64 bytes in base64";

/// Secrets as they are written: `whsec_` and base64, several with `,` between them.
///
/// # Errors
///
/// What is allowed.
pub(crate) fn parse_secrets(text: &str) -> Result<Vec<Secret>, &'static str> {
    let items: Vec<&str> = text
        .split([',', ' '])
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .collect();
    let good = |item: &&str| {
        item.strip_prefix("whsec_")
            .and_then(|encoded| BASE64_STANDARD.decode(encoded).ok())
            .is_some_and(|bytes| SECRET_BYTES.contains(&bytes.len()))
    };
    if items.len() > MAX_SECRETS || !items.iter().all(good) {
        return Err(SECRETS_ALLOWED);
    }
    Ok(items.into_iter().map(Secret::new).collect())
}

fn secrets(value: &FieldValue) -> Result<Vec<Secret>, Problem> {
    let items = list(value).map_err(|_| hidden("a list of strings"))?;
    parse_secrets(&items.join(",")).map_err(hidden)
}

fn headers(value: &FieldValue) -> Result<Vec<(String, Secret)>, Problem> {
    const ALLOWED: &str =
        "up to 16 headers as \"Name: value\", with other names than those of the hooks themselves";
    let items = list(value).map_err(|_| hidden("a list of strings"))?;
    let parsed: Option<Vec<_>> = items.iter().map(|item| header(item)).collect();
    parsed
        .filter(|headers| headers.len() <= MAX_HEADERS)
        .ok_or_else(|| hidden(ALLOWED))
}

fn header(item: &str) -> Option<(String, Secret)> {
    let (name, value) = item.split_once(':')?;
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let good = !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(token)
        && !RESERVED_HEADERS.contains(&name.as_str())
        && !name.starts_with("tidegate-")
        && value.len() <= 1024
        && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    good.then(|| (name, Secret::new(value)))
}

fn timeout(value: &FieldValue) -> Result<Option<Duration>, Problem> {
    const ALLOWED: &str = "seconds from 0.05 to 60";
    let seconds = match value {
        FieldValue::Int(seconds) => Some(*seconds as f64),
        FieldValue::Float(seconds) => Some(*seconds),
        FieldValue::Text(text) if text.trim().is_empty() => return Ok(None),
        FieldValue::Text(text) => crate::key::decimal(text.trim()),
        FieldValue::Bool(_) | FieldValue::List(_) | FieldValue::Other => None,
    };
    seconds
        .filter(|seconds| (0.05..=60.0).contains(seconds))
        .map(|seconds| Some(Duration::from_secs_f64(seconds)))
        .ok_or_else(|| refuse(value, ALLOWED))
}

fn unix(value: &FieldValue) -> Result<Option<u64>, Problem> {
    let seconds = match value {
        FieldValue::Int(seconds) => u64::try_from(*seconds).ok(),
        FieldValue::Text(text) if text.trim().is_empty() => return Ok(None),
        FieldValue::Text(text) => crate::key::whole(text.trim()),
        FieldValue::Bool(_) | FieldValue::Float(_) | FieldValue::List(_) | FieldValue::Other => None,
    };
    seconds
        .map(Some)
        .ok_or_else(|| refuse(value, "a time in seconds since 1970"))
}

fn path(value: &FieldValue) -> Result<Option<PathBuf>, Problem> {
    let text = text(value)?;
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

fn pin(value: &FieldValue) -> Result<Option<Fingerprint>, Problem> {
    let text = text(value)?;
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = Fingerprint::parse(text);
    parsed
        .map(Some)
        .ok_or_else(|| refuse(value, "64 hexadecimal digits, with or without colons"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn changed<const N: usize>(fields: [(&str, &str); N]) -> Result<HookEndpoint, Vec<(String, Problem)>> {
        let mut endpoint = HookEndpoint::default();
        endpoint.change([("name", "a"), ("url", "https://h/x")])?;
        endpoint.change(fields).map(|()| endpoint)
    }

    #[test]
    fn events_are_chosen_by_name_or_beginning_and_a_name_wins() {
        let endpoint = |events, except| changed([("events", events), ("except", except)]).unwrap();
        let own = endpoint("", "");
        assert!(own.wants("stream.online") && !own.wants("on_stream_changed"));
        let both = endpoint(
            "stream.*, on_server_*,on_flow_report",
            "on_server_keepalive,stream.*",
        );
        assert!(both.wants("on_server_started") && both.wants("on_flow_report"));
        assert!(!both.wants("on_server_keepalive") && !both.wants("stream.online"));
        assert!(endpoint("stream.online", "*").wants("stream.online"));
        assert!(!endpoint("", "stream.*").wants("stream.offline"));
    }

    #[test]
    fn wrong_fields_are_named_and_secrets_are_not_shown() {
        let wrong = |field: &'static str, text: &'static str| {
            let problems = changed([(field, text)]).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(problems[0].0, field);
            problems[0].1.to_string()
        };
        assert!(wrong("name", "ZLM").contains("a-z"));
        assert!(wrong("name", "zlm").contains("hook.on_*"));
        assert!(wrong("url", "ftp://u:secret@h/").contains("ftp://***@h/"));
        assert!(wrong("events", "stream.onlin").contains("stream.online"));
        for secret in ["whsec_short", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            let text = wrong("secret", secret);
            assert!(
                text.contains("whsec_ and 24 to 64") && !text.contains(secret),
                "{text}"
            );
        }
        for header in ["Host: x", "tidegate-seq: 1", "a b: c", "X-A: a\r\nb", "no colon"] {
            assert!(wrong("headers", header).contains("Name: value"), "{header}");
        }
        assert!(wrong("timeout_sec", "61").contains("0.05 to 60"));
        assert!(wrong("pin_sha256", "ab:cd").contains("64 hexadecimal"));
        assert!(wrong("durabel", "1").contains("`durable`"));
        let halves = changed([("key_file", "/k.pem")]).unwrap_err();
        assert_eq!(halves, [("cert_file".to_owned(), Problem::Missing)]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut full = changed([
            ("events", "stream.*,on_flow_report"),
            ("except", "stream.online"),
            ("secret", SECRET),
            ("old_secrets_until", "1796000000"),
            ("headers", "x-a: \"quoted\" text"),
            ("durable", "1"),
            ("newest_wins", "1"),
            ("timeout_sec", "2.5"),
            ("enabled", "0"),
            ("ca_file", "/etc/ca.pem"),
            ("cert_file", "/etc/c.pem"),
            ("key_file", "/etc/k.pem"),
            ("insecure", "1"),
        ])
        .unwrap();
        full.pin_sha256 = Fingerprint::parse(&"ab".repeat(32));
        let mut plain = changed([]).unwrap();
        plain.name = "b".to_owned();
        let both = [full, plain];
        assert_eq!(parse(&write(&both)).unwrap(), both);
        assert_eq!(parse(&write(&[])).unwrap(), []);
        let error = parse("[[hook_endpoint]]\nname='a'\n").unwrap_err();
        assert!(error.contains("url: it is missing"), "{error}");
    }

    #[test]
    fn a_refused_change_changes_nothing_and_a_good_one_all() {
        let mut endpoint = changed([("secret", SECRET), ("headers", "X-Token: t, x-b: c")]).unwrap();
        let before = endpoint.clone();
        assert!(
            endpoint
                .change([("durable", "1"), ("timeout_sec", "no")])
                .is_err()
        );
        assert_eq!(endpoint, before);
        endpoint
            .change([("durable", "true"), ("secret", ""), ("timeout_sec", "2.5")])
            .unwrap();
        assert!(endpoint.durable && endpoint.secrets.is_empty());
        assert_eq!(endpoint.timeout, Some(Duration::from_millis(2500)));
        assert_eq!(endpoint.headers[0], ("x-token".to_owned(), Secret::new("t")));
    }
}
