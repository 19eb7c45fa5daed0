//! Who may publish and who may play.

use super::field::{Addresses, NamePattern, OneOrMany, Options, Seconds};
use super::token::{Signed, Token, Unproven};
use serde::Deserialize;
use std::net::IpAddr;

/// What becomes of those that a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// They may.
    Allow,
    /// They may not.
    #[default]
    Deny,
}

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// To publish.
    Publish,
    /// To play.
    Play,
}

/// One rule: it is about those who meet all its conditions.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct AccessRule {
    action: Action,
    on: Vec<Verb>,
    pattern: Option<NamePattern>,
    address: Option<Addresses>,
    protocol: Vec<String>,
    token: Option<Token>,
    sign: Option<Signed>,
    message: Option<String>,
    options: Options,
    cache: Option<Seconds>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    action: Action,
    #[serde(default)]
    on: OneOrMany<Verb>,
    pattern: Option<NamePattern>,
    address: Option<Addresses>,
    #[serde(default)]
    protocol: OneOrMany<String>,
    token: Option<Token>,
    sign: Option<Signed>,
    message: Option<String>,
    #[serde(default)]
    options: Options,
    cache_sec: Option<Seconds>,
}

/// Fields that cannot stand together.
#[derive(Debug, thiserror::Error)]
pub enum Mismatch {
    /// Options are given to publishers.
    #[error("options have an effect on a rule with action = \"allow\" that is about publishing only")]
    Options,
    /// Who is refused is told why, who is let in is told nothing.
    #[error("a message has an effect with action = \"deny\" only")]
    Message,
    /// Publishers are asked about each time.
    #[error("cache_sec has an effect on a rule with on = \"play\" only")]
    Cache,
}

impl TryFrom<Written> for AccessRule {
    type Error = Mismatch;

    fn try_from(written: Written) -> Result<Self, Mismatch> {
        let Written {
            action,
            on: OneOrMany(on),
            pattern,
            address,
            protocol: OneOrMany(protocol),
            token,
            sign,
            message,
            options,
            cache_sec: cache,
        } = written;
        let has_options = !options.0.is_empty();
        if has_options && (action == Action::Deny || on.contains(&Verb::Play)) {
            return Err(Mismatch::Options);
        }
        if message.is_some() && action == Action::Allow {
            return Err(Mismatch::Message);
        }
        if cache.is_some() && on != [Verb::Play] {
            return Err(Mismatch::Cache);
        }
        Ok(Self {
            action,
            on,
            pattern,
            address,
            protocol,
            token,
            sign,
            message,
            options,
            cache,
        })
    }
}

/// Somebody who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// What for.
    pub verb: Verb,
    /// `app/stream`.
    pub name: &'a str,
    /// The query string, raw.
    pub params: &'a str,
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// The transport: `rtmp`, `https` and so on (hooks.md, section 5).
    pub protocol: &'a str,
    /// UNIX seconds.
    pub now: u64,
}

/// What the rules say.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged<'a> {
    /// Yes or no.
    pub verdict: Verdict<'a>,
    /// How long the media server may remember it, in seconds. 0: not at all.
    pub cache_sec: u64,
}

/// Yes or no.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<'a> {
    /// Yes; a publisher's stream gets these options.
    Allow(&'a Options),
    /// No, and what the client is told.
    Deny(String),
}

/// The first rule that is about the one who asks decides; if there is none, `default`.
pub fn judge<'a>(rules: &'a [AccessRule], default: Action, asking: &Asking<'_>) -> Judged<'a> {
    // What the client of a rule lacked that was about it otherwise: more help than that no rule was about it.
    let mut lacking = None;
    for rule in rules {
        match rule.concerns(asking) {
            Concern::No => {}
            Concern::Unproven(why) => lacking = lacking.or(Some(why)),
            Concern::Yes => {
                let verdict = match rule.action {
                    Action::Allow => Verdict::Allow(&rule.options),
                    Action::Deny => {
                        let message = rule.message.clone();
                        Verdict::Deny(message.unwrap_or_else(|| "denied by a rule".to_owned()))
                    }
                };
                return Judged {
                    verdict,
                    cache_sec: rule.cache.map_or(0, |seconds| seconds.0.as_secs()),
                };
            }
        }
    }
    let verdict = match default {
        Action::Allow => Verdict::Allow(&NO_OPTIONS),
        Action::Deny => {
            Verdict::Deny(lacking.map_or_else(|| "no rule allows it".to_owned(), |why| why.to_string()))
        }
    };
    Judged {
        verdict,
        cache_sec: 0,
    }
}

static NO_OPTIONS: Options = Options(std::collections::BTreeMap::new());

enum Concern {
    Yes,
    No,
    /// Only the token or the signature is not right.
    Unproven(Unproven),
}

impl AccessRule {
    fn concerns(&self, asking: &Asking<'_>) -> Concern {
        let fits = (self.on.is_empty() || self.on.contains(&asking.verb))
            && (self.protocol.is_empty() || self.protocol.iter().any(|name| name == asking.protocol))
            && (self.address.as_ref()).is_none_or(|addresses| addresses.contains(asking.ip))
            && (self.pattern.as_ref()).is_none_or(|pattern| pattern.0.is_match(asking.name));
        if !fits {
            return Concern::No;
        }
        let token = self.token.as_ref().map(|token| token.check(asking.params));
        let sign = (self.sign.as_ref()).map(|sign| sign.check(asking.name, asking.params, asking.now));
        match token.unwrap_or(Ok(())).and(sign.unwrap_or(Ok(()))) {
            Ok(()) => Concern::Yes,
            Err(why) => Concern::Unproven(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Rules, token};

    fn rules(text: &str) -> Rules {
        Rules::parse(text).unwrap()
    }

    fn judged(rules: &Rules, verb: Verb, name: &str, params: &str, ip: &str, protocol: &str) -> String {
        let asking = Asking {
            verb,
            name,
            params,
            ip: ip.parse().ok(),
            protocol,
            now: 1000,
        };
        match rules.judge(&asking).verdict {
            Verdict::Allow(options) => serde_json::to_string(options).unwrap(),
            Verdict::Deny(why) => why,
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = rules(
            r#"
            [[access]]
            action = "deny"
            address = ["10.9.0.0/16", "::1"]
            message = "banned"

            [[access]]
            action = "allow"
            on = "publish"
            pattern = "live/cam[0-9]+"
            address = "10.0.0.0/8"
            protocol = ["rtmp", "rtmps"]
            options = { enable_mp4 = true, mp4_max_second = 60, stream_replace = "x" }

            [[access]]
            action = "allow"
            on = "play"
            pattern = "open/.*"
            "#,
        );
        use Verb::{Play, Publish};
        let granted = r#"{"enable_mp4":true,"mp4_max_second":60,"stream_replace":"x"}"#;
        for (verb, name, ip, protocol, said) in [
            (Publish, "live/cam1", "10.0.0.1", "rtmp", granted),
            (Publish, "live/cam1", "::ffff:10.0.0.1", "rtmps", granted),
            (Publish, "live/cam1", "10.9.0.1", "rtmp", "banned"),
            (Play, "open/x", "10.9.0.1", "http", "banned"),
            (Play, "open/x", "::1", "http", "banned"),
            (Publish, "live/cam1", "10.0.0.1", "rtsp", "no rule allows it"),
            (Publish, "live/camx", "10.0.0.1", "rtmp", "no rule allows it"),
            (Publish, "live/cam1", "11.0.0.1", "rtmp", "no rule allows it"),
            (Publish, "live/cam1", "no address", "rtmp", "no rule allows it"),
            (Play, "live/cam1", "10.0.0.1", "rtmp", "no rule allows it"),
            (Play, "open/x", "8.8.8.8", "http", "{}"),
        ] {
            assert_eq!(
                judged(&rules, verb, name, "", ip, protocol),
                said,
                "{name} {ip} {protocol}"
            );
        }
    }

    #[test]
    fn what_is_lacking_is_said_when_nothing_else_lets_in() {
        let mut text = r#"
            [[access]]
            action = "allow"
            pattern = "live/.*"
            token = { values = ["t"] }
            [[access]]
            action = "allow"
            pattern = "live/signed"
            sign = { keys = ["k"] }
            "#
        .to_owned();
        let strict = rules(&text);
        let play = |rules: &Rules, name: &str, params: &str| {
            judged(rules, Verb::Play, name, params, "10.0.0.1", "http")
        };
        assert_eq!(play(&strict, "live/a", "token=t"), "{}");
        assert_eq!(play(&strict, "live/a", "token=x"), "token wrong");
        assert_eq!(play(&strict, "live/a", ""), "token missing");
        assert_eq!(play(&strict, "other/a", "token=t"), "no rule allows it");
        let signed = format!("expires=2000&sign={}", token::sign("k", "live/signed", "2000"));
        assert_eq!(play(&strict, "live/signed", &signed), "{}");

        text.insert_str(0, "default = \"allow\"\n");
        assert_eq!(play(&rules(&text), "live/a", "token=x"), "{}", "rules only add");
    }
}
