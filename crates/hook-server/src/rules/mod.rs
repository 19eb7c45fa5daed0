//! The rules file: TOML, read as a whole, compiled once, shared until the next one takes its place.

pub mod access;
pub mod field;
pub mod server;
pub mod stream;
pub mod token;
pub mod viewer;

use crate::journal::Journal;
use crate::signature::SigningSecret;
use access::{AccessRule, Action, Asking, Judged};
use field::{Addresses, OneOrMany};
use serde::Deserialize;
use server::MediaServer;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use stream::{Close, CloseRule, Source};
use viewer::{FileRule, FileVerdict, RtspRule};

/// Largest rules file in bytes.
pub const MAX_FILE: usize = 8 << 20;

/// Most rules of one kind. Each call is compared with all of them in the worst case.
const MAX_RULES: usize = 10_000;

/// All rules.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Where hooks are received.
    #[serde(default = "listen")]
    pub listen: SocketAddr,
    /// Who may call; `None`: everybody who can connect.
    pub senders: Option<Addresses>,
    /// With any of these the calls are signed. Empty: signatures are not looked at.
    #[serde(default)]
    pub signing_secrets: OneOrMany<SigningSecret>,
    /// What becomes of those that no `[[access]]` and no `[[http_access]]` rule is about.
    #[serde(default)]
    pub default: Action,
    /// What becomes of players whose stream no `[[source]]` opens.
    #[serde(default)]
    pub unknown_streams: Unknown,
    #[serde(default, rename = "server")]
    servers: Vec<MediaServer>,
    #[serde(default)]
    access: Vec<AccessRule>,
    #[serde(default, rename = "source")]
    sources: Vec<Source>,
    #[serde(default, rename = "close")]
    closes: Vec<CloseRule>,
    #[serde(default)]
    http_access: Vec<FileRule>,
    #[serde(default)]
    rtsp_auth: Vec<RtspRule>,
    /// Where events are written.
    pub journal: Option<Journal>,
}

fn listen() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9000)
}

/// What becomes of players whose stream nobody opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// They wait for a publisher, as long as the media server lets them.
    #[default]
    Wait,
    /// They are told at once that there is no such stream.
    Close,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRules {
    /// It is too long.
    #[error("{got} bytes; at most {MAX_FILE} are read")]
    TooLong {
        /// Bytes.
        got: usize,
    },
    /// What stands there is not allowed.
    #[error("line {line}: {reason}")]
    At {
        /// From 1.
        line: usize,
        /// What, and what would be allowed.
        reason: String,
    },
    /// Too many rules.
    #[error("{got} [[{kind}]] tables; at most {MAX_RULES} are allowed")]
    TooMany {
        /// The name of the tables.
        kind: &'static str,
        /// How many.
        got: usize,
    },
    /// Two entries for one server.
    #[error("there are two [[server]] tables {}", match id { Some(id) => format!("with id = \"{id}\""), None => "without an id".to_owned() })]
    SameServer {
        /// Its id.
        id: Option<String>,
    },
    /// Sources that cannot be opened.
    #[error("a [[source]] is opened by the API of a media server: add a [[server]] with api and secret")]
    NoServer,
    /// Delays that cannot be kept.
    #[error(
        "a [[close]] with after_sec closes by the API of a media server: add a [[server]] with api and secret"
    )]
    NoServerToClose,
}

impl Rules {
    /// Reads a file's text.
    ///
    /// # Errors
    ///
    /// What is wrong first, with its line where it has one. No secret of the file stands in the text.
    pub fn parse(text: &str) -> Result<Self, BadRules> {
        if text.len() > MAX_FILE {
            return Err(BadRules::TooLong { got: text.len() });
        }
        let rules: Self = toml_edit::de::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let before = text.as_bytes().get(..at).unwrap_or_default();
            // The error can draw the line itself, but a secret may stand in it.
            BadRules::At {
                line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
                reason: error.message().lines().collect::<Vec<_>>().join(" "),
            }
        })?;
        rules.check()?;
        Ok(rules)
    }

    fn check(&self) -> Result<(), BadRules> {
        for (kind, got) in [
            ("server", self.servers.len()),
            ("access", self.access.len()),
            ("source", self.sources.len()),
            ("close", self.closes.len()),
            ("http_access", self.http_access.len()),
            ("rtsp_auth", self.rtsp_auth.len()),
        ] {
            if got > MAX_RULES {
                return Err(BadRules::TooMany { kind, got });
            }
        }
        let mut ids = HashSet::new();
        if let Some(same) = self.servers.iter().find(|server| !ids.insert(&server.id)) {
            return Err(BadRules::SameServer { id: same.id.clone() });
        }
        if self.servers.is_empty() && !self.sources.is_empty() {
            return Err(BadRules::NoServer);
        }
        if self.servers.is_empty() && (self.closes.iter()).any(|rule| matches!(rule.close, Close::After(_))) {
            return Err(BadRules::NoServerToClose);
        }
        Ok(())
    }

    /// The media servers.
    pub fn servers(&self) -> &[MediaServer] {
        &self.servers
    }

    /// May one publish or play?
    pub fn judge(&self, asking: &Asking<'_>) -> Judged<'_> {
        access::judge(&self.access, self.default, asking)
    }

    /// May one read this file?
    pub fn judge_file(&self, path: &str, params: &str, ip: Option<IpAddr>) -> FileVerdict<'_> {
        viewer::judge_file(&self.http_access, self.default, path, params, ip)
    }

    /// The first source of `app/stream`.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.is_for(name))
    }

    /// What becomes of `app/stream` when nobody watches: what the first `[[close]]` rule says, else its source; a stream that is
    /// published stays.
    pub fn close(&self, name: &str) -> Close {
        match self.closes.iter().find(|rule| rule.is_for(name)) {
            Some(rule) => rule.close,
            None if self.source(name).is_some_and(|source| source.close) => Close::Now,
            None => Close::Never,
        }
    }

    /// Who is asked for a password, and for whose.
    pub fn rtsp(&self, name: &str) -> Option<&RtspRule> {
        self.rtsp_auth.iter().find(|rule| rule.is_for(name))
    }

    /// What the file says, for people: one line.
    pub fn summary(&self) -> String {
        let slowest = self.sources.iter().map(|source| source.timeout).max();
        let within = match slowest {
            Some(limit) if limit != Duration::ZERO => format!(" (within {} s)", limit.as_secs_f64()),
            Some(_) | None => String::new(),
        };
        format!(
            "{} servers, {} access rules, {} sources{within}, {} close rules, {} file rules, {} realms; others: {}; signatures: {}; \
             journal: {}",
            self.servers.len(),
            self.access.len(),
            self.sources.len(),
            self.closes.len(),
            self.http_access.len(),
            self.rtsp_auth.len(),
            match self.default {
                Action::Allow => "allowed",
                Action::Deny => "denied",
            },
            if self.signing_secrets.0.is_empty() {
                "not checked"
            } else {
                "required"
            },
            self.journal
                .as_ref()
                .map_or("none".into(), |journal| journal.file.to_string_lossy()),
        )
    }
}

#[cfg(test)]
mod tests;
