//! Types of single fields: each is checked where it is read, so that an error has its line.

use config::protocol_options::{CONFIGURED, PER_STREAM};
use config::source::Pattern;
use config::{IpRanges, Secret};
use serde::de::value::StrDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::time::Duration;

/// A pattern of `app/stream`.
#[derive(Clone, Debug, PartialEq)]
pub struct NamePattern(pub Pattern);

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let written = String::deserialize(from)?;
        Pattern::new(&written)
            .map(Self)
            .map_err(|problem| D::Error::custom(format!("pattern `{written}`: {problem}")))
    }
}

/// A pattern of the path of a URL.
#[derive(Clone, Debug, PartialEq)]
pub struct PathPattern(pub Pattern);

impl<'de> Deserialize<'de> for PathPattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let written = String::deserialize(from)?;
        Pattern::of_path(&written)
            .map(Self)
            .map_err(|problem| D::Error::custom(format!("path `{written}`: {problem}")))
    }
}

/// Client addresses, at least one: `10.0.0.1`, `10.0.0.0/8`, `10.0.0.1-10.0.0.9`.
#[derive(Clone, Debug, PartialEq)]
pub struct Addresses(IpRanges);

impl Addresses {
    /// Whether the address, as a hook names it, is among them. What is no address is not.
    pub fn contains(&self, ip: Option<IpAddr>) -> bool {
        ip.is_some_and(|ip| self.0.contains(ip))
    }
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let OneOrMany(parts) = OneOrMany::<String>::deserialize(from)?;
        let text = parts.join(",");
        // An empty list of the configuration holds every address; here it can only be a mistake.
        if text.split(',').all(|part| part.trim().is_empty()) {
            return Err(D::Error::custom(
                "no address; leave the field out to mean every address",
            ));
        }
        IpRanges::parse(&text).map(Self).map_err(D::Error::custom)
    }
}

/// Text that must not show, and must not be empty.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretText(pub Secret);

impl SecretText {
    /// The text itself.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() {
            return Err(D::Error::custom("it must not be empty"));
        }
        Ok(Self(Secret::new(text)))
    }
}

/// Longest time that a rule may name: a year.
const MAX_SECONDS: f64 = 31_536_000.0;

/// A time in seconds: 0 to a year.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seconds(pub Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(from)?;
        (0.0..=MAX_SECONDS)
            .contains(&seconds)
            .then(|| Duration::try_from_secs_f64(seconds).ok())
            .flatten()
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("{seconds}: must be seconds, 0 to {MAX_SECONDS}")))
    }
}

/// One value or a list.
#[derive(Clone, Debug, PartialEq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Both<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Both<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a string or a list of strings")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(StrDeserializer::new(text)).map(|value| OneOrMany(vec![value]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(OneOrMany(values))
            }
        }
        from.deserialize_any(Both(PhantomData))
    }
}

/// The value of a protocol option, as it stands in the rules and goes on in JSON.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum OptionValue {
    /// A switch.
    Switch(bool),
    /// A number.
    Number(i64),
    /// Text.
    Text(String),
}

impl fmt::Display for OptionValue {
    /// As a parameter of an API call: the reference reads some switches as numbers (api.md, section 1.3).
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(on) => write!(out, "{}", u8::from(*on)),
            Self::Number(number) => write!(out, "{number}"),
            Self::Text(text) => out.write_str(text),
        }
    }
}

/// Protocol options by name (hooks.md, section 7).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Options(pub BTreeMap<String, OptionValue>);

impl<'de> Deserialize<'de> for Options {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let options = BTreeMap::<String, OptionValue>::deserialize(from)?;
        let known = || CONFIGURED.iter().chain(&PER_STREAM).copied();
        match options.keys().find(|name| !known().any(|known| known == *name)) {
            None => Ok(Self(options)),
            Some(name) => Err(D::Error::custom(format!(
                "`{name}` is no protocol option; there are {}",
                known().collect::<Vec<_>>().join(", ")
            ))),
        }
    }
}
