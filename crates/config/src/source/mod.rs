//! `[[source]]` rules: where a stream comes from, without any hook service.
//!
//! A rule maps a pattern of `app/stream` to a URL. What a viewer typed can get into the URL through captures, so everything
//! that could change the meaning of the URL is encoded or refused, see the module `template`.

mod pattern;
mod read;
mod template;
pub(crate) mod url;

pub use pattern::Pattern;
pub(crate) use read::{Field, FieldValue, read};
pub use template::Template;

use crate::keys::RtspTransport;
use crate::secret::{Secret, mask_credentials};
use std::fmt;
use std::time::Duration;

/// Most rules of one file. An absent stream is compared with all of them.
pub const MAX_RULES: usize = 10_000;

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRule {
    pattern: Pattern,
    template: Template,
    options: Options,
}

/// What a rule says beside pattern and URL.
#[derive(Clone, Debug, PartialEq)]
struct Options {
    on_demand: bool,
    close_after: Option<Duration>,
    transport: RtspTransport,
    username: String,
    password: Secret,
    timeout: Option<Duration>,
    retry_count: Option<u32>,
    ffmpeg_cmd_key: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            on_demand: true,
            close_after: None,
            transport: RtspTransport::Any,
            username: String::new(),
            password: Secret::default(),
            timeout: None,
            retry_count: None,
            ffmpeg_cmd_key: String::new(),
        }
    }
}

impl SourceRule {
    /// The source of `app/stream`, if the pattern matches and what it captured may stand in a URL.
    pub fn resolve(&self, app: &str, stream: &str) -> Option<ResolvedSource> {
        let captures = self.pattern.captures(&format!("{app}/{stream}"))?;
        let mut url = self.template.fill(&captures)?;
        if !self.options.username.is_empty() {
            url = url::with_credentials(&url, &self.options.username, self.options.password.expose());
        }
        Some(ResolvedSource {
            via: self.template.via,
            url,
            on_demand: self.options.on_demand,
            close_after: self.options.close_after,
            transport: self.options.transport,
            timeout: self.options.timeout,
            retry_count: self.options.retry_count,
            ffmpeg_cmd_key: self.options.ffmpeg_cmd_key.clone(),
        })
    }

    /// Whether the source is started by the first viewer; otherwise the server starts it, see [`SourceRule::fixed_name`].
    pub const fn on_demand(&self) -> bool {
        self.options.on_demand
    }

    /// App and stream of a rule whose pattern matches one name only. Rules with `on_demand = false` always have it.
    pub fn fixed_name(&self) -> Option<(&str, &str)> {
        self.pattern.literal()?.split_once('/')
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        self.pattern.as_written()
    }

    /// The URL as it was written, with credentials hidden.
    pub fn shown_url(&self) -> String {
        mask_credentials(self.template.as_written()).into_owned()
    }

    /// The key of the FFmpeg template; empty for the default one.
    pub(crate) fn ffmpeg_cmd_key(&self) -> &str {
        &self.options.ffmpeg_cmd_key
    }
}

/// How a source is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The server pulls it itself.
    Pull,
    /// An FFmpeg process reads it and publishes it here.
    Ffmpeg,
}

/// Where one stream comes from.
#[derive(Clone, PartialEq)]
pub struct ResolvedSource {
    /// How the source is opened.
    pub via: Via,
    /// For [`Via::Pull`] the URL, for [`Via::Ffmpeg`] the input. Credentials of the rule stand in it; do not log it, see
    /// [`ResolvedSource::shown_url`].
    pub url: String,
    /// Close it when nobody watches.
    pub on_demand: bool,
    /// Close it after this time without viewers. `None`: after `general.streamNoneReaderDelayMS`.
    pub close_after: Option<Duration>,
    /// Transport of an RTSP source.
    pub transport: RtspTransport,
    /// Limit for opening it. `None`: that of addStreamProxy.
    pub timeout: Option<Duration>,
    /// Failures in a row before it is given up. `None`: never.
    pub retry_count: Option<u32>,
    /// The key of the FFmpeg template; empty for the default one.
    pub ffmpeg_cmd_key: String,
}

impl ResolvedSource {
    /// The URL with credentials hidden.
    pub fn shown_url(&self) -> String {
        mask_credentials(&self.url).into_owned()
    }
}

impl fmt::Debug for ResolvedSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ResolvedSource")
            .field("via", &self.via)
            .field("url", &self.shown_url())
            .field("on_demand", &self.on_demand)
            .field("close_after", &self.close_after)
            .field("transport", &self.transport)
            .field("timeout", &self.timeout)
            .field("retry_count", &self.retry_count)
            .field("ffmpeg_cmd_key", &self.ffmpeg_cmd_key)
            .finish()
    }
}

/// What is wrong with a rule, or with another table of this kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A field that every rule needs.
    #[error("it is missing")]
    Missing,
    /// Another one has it.
    #[error("another one has this name")]
    Taken,
    /// A field that does not exist.
    #[error("there is no such field{}", match nearest { Some(nearest) => format!("; did you mean `{nearest}`?"), None => String::new() })]
    UnknownField {
        /// The known field that is nearest.
        nearest: Option<&'static str>,
    },
    /// A value of a wrong type or out of its bounds.
    #[error("`{value}` is not allowed; it must be {allowed}")]
    Value {
        /// The value as it may be shown.
        value: String,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// The pattern is not a regular expression, or it is too large.
    #[error("{reason}")]
    Pattern {
        /// The words of the regular expression parser, in one line.
        reason: String,
    },
    /// No name of a stream can match.
    #[error("it must hold a `/` between app and stream")]
    NoSlash,
    /// `on_demand = false` with a pattern that matches many names.
    #[error(
        "the server cannot start a stream by itself whose name it does not know: with on_demand = false the pattern must be one app/stream without wildcards (write a dot as `\\.`)"
    )]
    NotLiteral,
    /// The URL names no group of the pattern.
    #[error("`${{{name}}}` is no group of the pattern")]
    NoSuchGroup {
        /// The name or number.
        name: String,
    },
    /// A lone dollar sign.
    #[error("`$` must be followed by the number of a group, by a name in braces, or by another `$`")]
    Dollar,
    /// A scheme that cannot be pulled.
    #[error(
        "the scheme must be rtsp, rtsps, rtmp, rtmps, http or https; write ffmpeg:// before any other URL to read it with FFmpeg"
    )]
    Scheme,
    /// An HTTP URL that does not say what it leads to.
    #[error(
        "an http(s) source must end in .m3u8, .ts or .flv; write ffmpeg:// before it to read it with FFmpeg"
    )]
    Suffix,
    /// Neither a URL nor an absolute path behind `ffmpeg://`.
    #[error("behind ffmpeg:// there must be a URL or an absolute path")]
    FfmpegInput,
    /// The URL has no host.
    #[error("the host is missing")]
    NoHost,
    /// A capture where a viewer could choose the server.
    #[error(
        "a capture may not make up the whole host, the port, the user or the password: viewers choose what is captured"
    )]
    CaptureInAuthority,
    /// A blank, a control character, or a path segment `.` or `..`.
    #[error("blanks, control characters and the path segments `.` and `..` are not allowed")]
    Characters,
    /// Credentials stand in the URL and beside it.
    #[error("the URL holds credentials already")]
    CredentialsTwice,
    /// A password without a user.
    #[error("it needs a username beside it")]
    NoUsername,
    /// A field that has no effect together with the others.
    #[error("it has no effect {0}")]
    NoEffect(&'static str),
    /// The template does not exist.
    #[error("there is no key `{key}`; templates are `ffmpeg.cmd` and `ffmpeg.cmd_NAME`")]
    NoTemplate {
        /// The key that was named.
        key: String,
    },
}
