//! What one row of the key table says: name, kind, default, when a change takes effect, and where the typed value lives.

use crate::Config;
use crate::address::{Address, IpRanges, PortRange};
use crate::secret::Secret;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// From the next use on.
    Hot,
    /// For streams and sessions that begin later.
    New,
    /// It is fixed when it was first used; after that, a restart is needed.
    First,
    /// Only at the start of the program.
    Start,
}

impl Reload {
    /// Whether a running server cannot be expected to follow the change.
    pub const fn needs_restart(self) -> bool {
        match self {
            Reload::First | Reload::Start => true,
            Reload::Hot | Reload::New => false,
        }
    }

    /// For the manual.
    pub const fn describe(self) -> &'static str {
        match self {
            Reload::Hot => "at once",
            Reload::New => "for new streams and sessions",
            Reload::First => "until first used, then after a restart",
            Reload::Start => "after a restart",
        }
    }
}

/// One key of the configuration.
pub struct Key {
    /// `section.key`, as in the API; case matters.
    pub name: &'static str,
    /// The built-in value, as text.
    pub default: &'static str,
    /// When a change takes effect.
    pub reload: Reload,
    /// Meaning, unit and bounds, in one paragraph of Markdown.
    pub doc: &'static str,
    /// Tidegate's own key; ZLMediaKit keeps it as an unknown one.
    pub own: bool,
    /// Tidegate acts on the key. Otherwise it is accepted, checked, kept and reported only.
    pub effective: bool,
    /// The value is a secret and must not be shown or logged.
    pub secret: bool,
    /// `setServerConfig` must not change it (api.md, section 3.1).
    pub file_only: bool,
    pub(crate) kind: Kind,
}

impl Key {
    /// A key of ZLMediaKit that Tidegate acts on.
    pub(crate) const fn zlm(
        name: &'static str,
        default: &'static str,
        reload: Reload,
        kind: Kind,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            default,
            reload,
            doc,
            own: false,
            effective: true,
            secret: false,
            file_only: false,
            kind,
        }
    }

    /// A key of ZLMediaKit that is accepted, checked, kept and reported, and has no effect (yet).
    pub(crate) const fn stored(
        name: &'static str,
        default: &'static str,
        reload: Reload,
        kind: Kind,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            default,
            reload,
            doc,
            own: false,
            effective: false,
            secret: false,
            file_only: false,
            kind,
        }
    }

    /// A key of Tidegate.
    pub(crate) const fn own(
        name: &'static str,
        default: &'static str,
        reload: Reload,
        kind: Kind,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            default,
            reload,
            doc,
            own: true,
            effective: true,
            secret: false,
            file_only: false,
            kind,
        }
    }

    pub(crate) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(crate) const fn file_only(mut self) -> Self {
        self.file_only = true;
        self
    }

    /// The part before the first dot.
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// The part after the first dot.
    pub fn short_name(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, short)| short)
    }

    /// Reads `text` and puts the value in its place in `config`. On an error `config` is unchanged, and the error says what
    /// is allowed.
    pub(crate) fn apply(&self, text: &str, config: &mut Config) -> Result<(), NotAllowed> {
        self.kind.apply(text, config)
    }

    /// What values are allowed, for errors and the manual.
    pub fn allowed(&self) -> String {
        self.kind.allowed()
    }

    /// The word for the kind of value, for the manual.
    pub const fn kind_name(&self) -> &'static str {
        self.kind.name()
    }

    /// `text` as it may be shown: secrets are hidden, and so are credentials in URLs.
    pub fn shown<'a>(&self, text: &'a str) -> std::borrow::Cow<'a, str> {
        if self.secret && !text.is_empty() {
            "***".into()
        } else {
            crate::secret::mask_credentials(text)
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({} = {:?})", self.name, self.default)
    }
}

/// The value is not one of the allowed ones, which are described here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotAllowed(pub String);

/// Where the typed value lives. `None`: nothing in the program uses it (yet).
pub(crate) type Place<T> = Option<fn(&mut Config) -> &mut T>;

/// One word of a [`Kind::Choice`] and what it does.
pub(crate) type Word = (&'static str, fn(&mut Config));

/// The kind of a value, with its bounds and the place of the typed value. Keeping the two together lets the compiler see
/// that they fit.
pub(crate) enum Kind {
    Bool(Place<bool>),
    Small {
        min: u8,
        max: u8,
        place: Place<u8>,
    },
    Count {
        min: u32,
        max: u32,
        place: Place<u32>,
    },
    /// An amount of `unit` bytes; the typed value is in bytes.
    Bytes {
        unit: u64,
        min: u64,
        max: u64,
        place: Place<u64>,
    },
    Float {
        min: f64,
        max: f64,
        place: Place<f64>,
    },
    Millis {
        min: u32,
        max: u32,
        place: Place<Duration>,
    },
    /// With or without a fraction.
    Seconds {
        min: f64,
        max: f64,
        place: Place<Duration>,
    },
    Port(Place<u16>),
    PortRange(Place<PortRange>),
    Address(Place<Address>),
    /// IPv4 multicast.
    Group(Place<Ipv4Addr>),
    IpRanges(Place<IpRanges>),
    /// `http` or `https`, or empty.
    HookUrl(Place<Option<String>>),
    Text(Place<String>),
    Secret(Place<Secret>),
    Path(Place<PathBuf>),
    OptionalPath(Place<Option<PathBuf>>),
    /// Separated by `;`.
    Paths(Place<Vec<PathBuf>>),
    List {
        separator: char,
        place: Place<Vec<String>>,
    },
    /// `name,folder;name,folder`.
    Folders(Place<Vec<(String, PathBuf)>>),
    /// A command line with three `%s`.
    Template(Place<String>),
    Choice(&'static [Word]),
}

/// The number of `%s` in a command line: program, source, destination.
const TEMPLATE_SLOTS: usize = 3;

impl Kind {
    fn apply(&self, text: &str, config: &mut Config) -> Result<(), NotAllowed> {
        let refuse = || NotAllowed(self.allowed());
        match self {
            Kind::Bool(place) => put(config, *place, boolean(text).ok_or_else(refuse)?),
            Kind::Small { min, max, place } => {
                let number = whole(text).and_then(|number| u8::try_from(number).ok());
                put(
                    config,
                    *place,
                    number
                        .filter(|number| (*min..=*max).contains(number))
                        .ok_or_else(refuse)?,
                );
            }
            Kind::Count { min, max, place } => {
                let number = whole(text).and_then(|number| u32::try_from(number).ok());
                put(
                    config,
                    *place,
                    number
                        .filter(|number| (*min..=*max).contains(number))
                        .ok_or_else(refuse)?,
                );
            }
            Kind::Bytes {
                unit,
                min,
                max,
                place,
            } => {
                let number = whole(text)
                    .filter(|number| (*min..=*max).contains(number))
                    .ok_or_else(refuse)?;
                put(config, *place, number.saturating_mul(*unit));
            }
            Kind::Float { min, max, place } => {
                let number = decimal(text).filter(|number| (*min..=*max).contains(number));
                put(config, *place, number.ok_or_else(refuse)?);
            }
            Kind::Millis { min, max, place } => {
                let number = whole(text).and_then(|number| u32::try_from(number).ok());
                let number = number
                    .filter(|number| (*min..=*max).contains(number))
                    .ok_or_else(refuse)?;
                put(config, *place, Duration::from_millis(number.into()));
            }
            Kind::Seconds { min, max, place } => {
                let number = decimal(text)
                    .filter(|number| (*min..=*max).contains(number))
                    .ok_or_else(refuse)?;
                put(
                    config,
                    *place,
                    Duration::try_from_secs_f64(number).map_err(|_| refuse())?,
                );
            }
            Kind::Port(place) => {
                let port = whole(text).and_then(|number| u16::try_from(number).ok());
                put(config, *place, port.ok_or_else(refuse)?);
            }
            Kind::PortRange(place) => put(config, *place, PortRange::parse(text).ok_or_else(refuse)?),
            Kind::Address(place) => put(config, *place, text.parse().map(Address).map_err(|_| refuse())?),
            Kind::Group(place) => {
                let group = text.parse().ok().filter(Ipv4Addr::is_multicast);
                put(config, *place, group.ok_or_else(refuse)?);
            }
            Kind::IpRanges(place) => {
                let ranges = IpRanges::parse(text);
                put(
                    config,
                    *place,
                    ranges.map_err(|part| NotAllowed(format!("{}; {part}", self.allowed())))?,
                );
            }
            Kind::HookUrl(place) => {
                if !text.is_empty() && !is_hook_url(text) {
                    return Err(refuse());
                }
                put(config, *place, (!text.is_empty()).then(|| text.to_owned()));
            }
            Kind::Text(place) => put(config, *place, text.to_owned()),
            Kind::Secret(place) => put(config, *place, Secret::new(text)),
            Kind::Path(place) => put(config, *place, path(text).ok_or_else(refuse)?),
            Kind::OptionalPath(place) => {
                let file = if text.is_empty() {
                    None
                } else {
                    Some(path(text).ok_or_else(refuse)?)
                };
                put(config, *place, file);
            }
            Kind::Paths(place) => {
                let paths = parts(text, ';').map(path).collect::<Option<Vec<_>>>();
                put(config, *place, paths.ok_or_else(refuse)?);
            }
            Kind::List { separator, place } => {
                put(
                    config,
                    *place,
                    parts(text, *separator).map(str::to_owned).collect(),
                );
            }
            Kind::Folders(place) => {
                let folders = parts(text, ';').map(folder).collect::<Option<Vec<_>>>();
                put(config, *place, folders.ok_or_else(refuse)?);
            }
            Kind::Template(place) => {
                if !text.starts_with("%s") || text.matches("%s").count() != TEMPLATE_SLOTS {
                    return Err(refuse());
                }
                put(config, *place, text.to_owned());
            }
            Kind::Choice(words) => {
                let (_, choose) = words.iter().find(|(word, _)| *word == text).ok_or_else(refuse)?;
                choose(config);
            }
        }
        Ok(())
    }

    fn allowed(&self) -> String {
        match self {
            Kind::Bool(_) => "0 or 1 (also false or true)".to_owned(),
            Kind::Small { min, max, .. } => format!("a whole number from {min} to {max}"),
            Kind::Count { min, max, .. } => format!("a whole number from {min} to {max}"),
            Kind::Bytes { unit: 1, min, max, .. } => format!("a whole number of bytes from {min} to {max}"),
            Kind::Bytes { min, max, .. } => format!("a whole number of KB from {min} to {max}"),
            Kind::Float { min, max, .. } => format!("a number from {min} to {max}"),
            Kind::Millis { min, max, .. } => format!("a whole number of milliseconds from {min} to {max}"),
            Kind::Seconds { min, max, .. } => format!("a number of seconds from {min} to {max}"),
            Kind::Port(_) => "a port number from 1 to 65535, or 0 for off".to_owned(),
            Kind::PortRange(_) => {
                format!("two port numbers as min-max with at least {} ports", PortRange::MIN_LEN)
            }
            Kind::Address(_) => "an IPv4 or IPv6 address".to_owned(),
            Kind::Group(_) => "an IPv4 multicast address, 224.0.0.0 to 239.255.255.255".to_owned(),
            Kind::IpRanges(_) => {
                "IPv4 and IPv6 addresses, each alone, as network/bits, or as min-max of one kind, with commas between, or empty for all"
                    .to_owned()
            }
            Kind::HookUrl(_) => "an http:// or https:// URL, or empty for off".to_owned(),
            Kind::Text(_) | Kind::Secret(_) => "any text".to_owned(),
            Kind::Path(_) => "a path".to_owned(),
            Kind::OptionalPath(_) => "a path, or empty".to_owned(),
            Kind::Paths(_) => "paths with ; between, or empty".to_owned(),
            Kind::List { separator, .. } => format!("words with {separator} between, or empty"),
            Kind::Folders(_) => "name,folder pairs with ; between, or empty".to_owned(),
            Kind::Template(_) => {
                "a command line that starts with %s and holds %s three times: program, source, destination".to_owned()
            }
            Kind::Choice(words) => {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                format!("one of {}", words.join(", "))
            }
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Kind::Bool(_) => "bool",
            Kind::Small { .. } | Kind::Count { .. } => "int",
            Kind::Bytes { unit: 1, .. } => "int, bytes",
            Kind::Bytes { .. } => "int, KB",
            Kind::Float { .. } => "float",
            Kind::Millis { .. } => "int, ms",
            Kind::Seconds { .. } => "float, s",
            Kind::Port(_) => "port",
            Kind::PortRange(_) => "port range",
            Kind::Address(_) | Kind::Group(_) => "address",
            Kind::IpRanges(_) => "address ranges",
            Kind::HookUrl(_) => "URL",
            Kind::Text(_) | Kind::Secret(_) => "text",
            Kind::Path(_) | Kind::OptionalPath(_) => "path",
            Kind::Paths(_) => "paths",
            Kind::List { .. } => "list",
            Kind::Folders(_) => "folders",
            Kind::Template(_) => "command line",
            Kind::Choice(_) => "choice",
        }
    }

    /// What stands between the parts of a value that is a list; `None` for single values.
    pub(crate) const fn separator(&self) -> Option<char> {
        match self {
            Kind::Paths(_) | Kind::Folders(_) => Some(';'),
            Kind::List { separator, .. } => Some(*separator),
            Kind::IpRanges(_) => Some(','),
            Kind::Bool(_)
            | Kind::Small { .. }
            | Kind::Count { .. }
            | Kind::Bytes { .. }
            | Kind::Float { .. }
            | Kind::Millis { .. }
            | Kind::Seconds { .. }
            | Kind::Port(_)
            | Kind::PortRange(_)
            | Kind::Address(_)
            | Kind::Group(_)
            | Kind::HookUrl(_)
            | Kind::Text(_)
            | Kind::Secret(_)
            | Kind::Path(_)
            | Kind::OptionalPath(_)
            | Kind::Template(_)
            | Kind::Choice(_) => None,
        }
    }

    /// How the value is written in TOML.
    pub(crate) const fn toml_type(&self) -> TomlType {
        match self {
            Kind::Bool(_) => TomlType::Bool,
            Kind::Small { .. }
            | Kind::Count { .. }
            | Kind::Bytes { .. }
            | Kind::Millis { .. }
            | Kind::Port(_) => TomlType::Int,
            Kind::Float { .. } | Kind::Seconds { .. } => TomlType::Number,
            Kind::PortRange(_)
            | Kind::Address(_)
            | Kind::Group(_)
            | Kind::IpRanges(_)
            | Kind::HookUrl(_)
            | Kind::Text(_)
            | Kind::Secret(_)
            | Kind::Path(_)
            | Kind::OptionalPath(_)
            | Kind::Paths(_)
            | Kind::List { .. }
            | Kind::Folders(_)
            | Kind::Template(_)
            | Kind::Choice(_) => TomlType::Text,
        }
    }
}

/// The native type that a TOML file uses for a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TomlType {
    Bool,
    Int,
    /// An integer when the value has no fraction.
    Number,
    Text,
}

fn put<T>(config: &mut Config, place: Place<T>, value: T) {
    if let Some(place) = place {
        *place(config) = value;
    }
}

pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" => Some(true),
        "0" => Some(false),
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A whole number, also in the form `30.000000` that ZLM gives to its defaults.
pub(crate) fn whole(text: &str) -> Option<u64> {
    let digits = match text.split_once('.') {
        Some((digits, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => digits,
        Some(_) => return None,
        None => text,
    };
    digits.parse().ok()
}

/// A decimal number without exponent; `inf` and `nan` are none.
pub(crate) fn decimal(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'));
    if plain { text.parse().ok() } else { None }
}

/// Not empty and without NUL, which no file system can hold.
fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
}

fn parts(text: &str, separator: char) -> impl Iterator<Item = &str> {
    text.split(separator)
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

fn folder(pair: &str) -> Option<(String, PathBuf)> {
    let (name, folder) = pair.split_once(',')?;
    let name = name.trim();
    (!name.is_empty()).then_some(())?;
    Some((name.to_owned(), path(folder.trim())?))
}

/// A scheme the hook client speaks, a host, and no blank or control character.
fn is_hook_url(text: &str) -> bool {
    let rest = crate::source::url::strip_scheme(text, &["http", "https"]);
    rest.is_some_and(|rest| {
        let host = crate::source::url::host_of(rest);
        !host.is_empty() && !text.chars().any(|char| char.is_control() || char.is_whitespace())
    })
}
