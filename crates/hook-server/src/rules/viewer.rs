//! Files over HTTP, and passwords over RTSP.

use super::access::Action;
use super::field::{Addresses, NamePattern, PathPattern, Seconds, SecretText};
use super::token::Token;
use config::source::Pattern;
use serde::Deserialize;
use std::net::IpAddr;
use std::time::Duration;

/// Who may read which files.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRule {
    action: Action,
    path: Option<PathPattern>,
    address: Option<Addresses>,
    token: Option<Token>,
    /// How long the media server may remember the decision; 0: not at all.
    #[serde(default = "not_kept")]
    keep_sec: Seconds,
    /// For which files the decision is remembered: a path with all below it. Empty: the folder of the file.
    #[serde(default)]
    keep_path: String,
}

const fn not_kept() -> Seconds {
    Seconds(Duration::ZERO)
}

/// A decision about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileVerdict<'a> {
    /// Empty: allowed. Otherwise what the client is told.
    pub error: &'static str,
    /// How long it holds, in seconds.
    pub keep_sec: u64,
    /// Where it holds.
    pub keep_path: &'a str,
}

/// The first rule that fits decides; if there is none, `default`.
pub fn judge_file<'a>(
    rules: &'a [FileRule],
    default: Action,
    path: &str,
    params: &str,
    ip: Option<IpAddr>,
) -> FileVerdict<'a> {
    let fits = |rule: &&FileRule| {
        (rule.address.as_ref()).is_none_or(|addresses| addresses.contains(ip))
            && (rule.path.as_ref()).is_none_or(|pattern| pattern.0.is_match(path))
            && (rule.token.as_ref()).is_none_or(|token| token.check(params).is_ok())
    };
    let rule = rules.iter().find(fits);
    FileVerdict {
        error: match rule.map_or(default, |rule| rule.action) {
            Action::Allow => "",
            Action::Deny => "denied",
        },
        keep_sec: rule.map_or(0, |rule| rule.keep_sec.0.as_secs()),
        keep_path: rule.map_or("", |rule| &rule.keep_path),
    }
}

/// Users of RTSP players.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct RtspRule {
    pattern: Pattern,
    /// The realm that is demanded.
    pub realm: String,
    users: Vec<User>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    pattern: NamePattern,
    realm: String,
    users: Vec<WrittenUser>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenUser {
    name: String,
    password: Option<SecretText>,
    md5: Option<SecretText>,
}

#[derive(Clone, Debug, PartialEq)]
struct User {
    name: String,
    password: Password,
}

/// The password of a user.
#[derive(Clone, Debug, PartialEq)]
pub enum Password {
    /// As it is.
    Plain(SecretText),
    /// MD5 of `user:realm:password` in hexadecimal digits. Cannot be used with Basic authentication.
    Md5(SecretText),
}

/// What is wrong with users.
#[derive(Debug, thiserror::Error)]
pub enum BadUsers {
    /// No authentication is asked for with an empty realm.
    #[error("the realm must not be empty")]
    Realm,
    /// Both or none.
    #[error("user `{0}` needs either a password or md5")]
    Password(String),
    /// No MD5.
    #[error("md5 of user `{0}` must be 32 hexadecimal digits: the MD5 of user:realm:password")]
    Md5(String),
    /// Twice.
    #[error("there are two users `{0}`")]
    Twice(String),
}

impl TryFrom<Written> for RtspRule {
    type Error = BadUsers;

    fn try_from(written: Written) -> Result<Self, BadUsers> {
        if written.realm.is_empty() {
            return Err(BadUsers::Realm);
        }
        let mut users: Vec<User> = Vec::new();
        for WrittenUser { name, password, md5 } in written.users {
            let password = match (password, md5) {
                (Some(password), None) => Password::Plain(password),
                (None, Some(md5)) => {
                    let text = md5.expose();
                    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                        return Err(BadUsers::Md5(name));
                    }
                    Password::Md5(md5)
                }
                (None, None) | (Some(_), Some(_)) => return Err(BadUsers::Password(name)),
            };
            if users.iter().any(|user| user.name == name) {
                return Err(BadUsers::Twice(name));
            }
            users.push(User { name, password });
        }
        Ok(Self {
            pattern: written.pattern.0,
            realm: written.realm,
            users,
        })
    }
}

impl RtspRule {
    /// Whether it is about `app/stream`.
    pub fn is_for(&self, name: &str) -> bool {
        self.pattern.is_match(name)
    }

    /// The password of a user.
    pub fn password(&self, user: &str) -> Option<&Password> {
        let mut users = self.users.iter();
        users
            .find(|known| known.name == user)
            .map(|known| &known.password)
    }
}
