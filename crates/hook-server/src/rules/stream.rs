//! Where streams come from, and when they end.

use super::field::{NamePattern, OptionValue, Options, Seconds};
use config::Via;
use config::source::{Pattern, Problem, Template};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Limit for opening a source if a rule names none. Less than the 10 s that a hook call may take by default, so that the media
/// server still hears of a failure.
const OPEN_TIMEOUT: Duration = Duration::from_secs(8);

/// addStreamProxy ignores shorter limits (api.md, section 3.4).
const MIN_OPEN_TIMEOUT: Duration = Duration::from_millis(100);

/// Parameters of addStreamProxy and addFFmpegSource that have a field of their own here, or that the caller sets.
const TAKEN: [&str; 11] = [
    "secret",
    "vhost",
    "app",
    "stream",
    "url",
    "src_url",
    "dst_url",
    "timeout_sec",
    "timeout_ms",
    "retry_count",
    "rtp_type",
];

/// A source that is opened when somebody waits for the stream.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Source {
    pattern: Pattern,
    url: Template,
    /// Limit for opening it.
    pub timeout: Duration,
    retry_count: Option<i64>,
    rtp_type: Option<RtpType>,
    ffmpeg_cmd_key: Option<String>,
    params: BTreeMap<String, OptionValue>,
    options: Options,
    /// Close the stream when nobody watches, if no `[[close]]` rule says otherwise.
    pub close: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    pattern: NamePattern,
    url: String,
    timeout_sec: Option<Seconds>,
    retry_count: Option<i64>,
    rtp_type: Option<RtpType>,
    ffmpeg_cmd_key: Option<String>,
    #[serde(default)]
    params: BTreeMap<String, OptionValue>,
    #[serde(default)]
    options: Options,
    #[serde(default = "yes")]
    close: bool,
}

const fn yes() -> bool {
    true
}

/// Transport of an RTSP source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RtpType {
    Tcp,
    Udp,
    Multicast,
}

/// What is wrong with a source.
#[derive(Debug, thiserror::Error)]
pub enum BadSource {
    /// The URL.
    #[error("url: {0}")]
    Url(Problem),
    /// The limit.
    #[error("timeout_sec must be at least 0.1")]
    Timeout,
    /// A field that has no effect with FFmpeg.
    #[error("{0} has no effect on a source that FFmpeg reads")]
    NotWithFfmpeg(&'static str),
    /// addFFmpegSource knows two options only.
    #[error("of the options, a source that FFmpeg reads takes enable_hls and enable_mp4 only")]
    OptionsWithFfmpeg,
    /// A template without FFmpeg.
    #[error("ffmpeg_cmd_key has no effect without ffmpeg:// in the url")]
    OnlyWithFfmpeg,
    /// A parameter that has a field.
    #[error("params: {0} is set by other fields")]
    Taken(String),
}

impl TryFrom<Written> for Source {
    type Error = BadSource;

    fn try_from(written: Written) -> Result<Self, BadSource> {
        let url = Template::new(&written.url, &written.pattern.0).map_err(BadSource::Url)?;
        let timeout = written.timeout_sec.map_or(OPEN_TIMEOUT, |seconds| seconds.0);
        if timeout < MIN_OPEN_TIMEOUT {
            return Err(BadSource::Timeout);
        }
        if let Some(taken) = TAKEN.iter().find(|name| written.params.contains_key(**name)) {
            return Err(BadSource::Taken((*taken).to_owned()));
        }
        match url.via {
            Via::Pull if written.ffmpeg_cmd_key.is_some() => return Err(BadSource::OnlyWithFfmpeg),
            Via::Ffmpeg if written.retry_count.is_some() => {
                return Err(BadSource::NotWithFfmpeg("retry_count"));
            }
            Via::Ffmpeg if written.rtp_type.is_some() => return Err(BadSource::NotWithFfmpeg("rtp_type")),
            Via::Ffmpeg if !written.params.is_empty() => return Err(BadSource::NotWithFfmpeg("params")),
            Via::Ffmpeg
                if (written.options.0.keys()).any(|name| name != "enable_hls" && name != "enable_mp4") =>
            {
                return Err(BadSource::OptionsWithFfmpeg);
            }
            Via::Pull | Via::Ffmpeg => {}
        }
        Ok(Self {
            pattern: written.pattern.0,
            url,
            timeout,
            retry_count: written.retry_count,
            rtp_type: written.rtp_type,
            ffmpeg_cmd_key: written.ffmpeg_cmd_key,
            params: written.params,
            options: written.options,
            close: written.close,
        })
    }
}

/// A source for one stream.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// By addStreamProxy or by addFFmpegSource.
    pub via: Via,
    /// What is read. Credentials can stand in it.
    pub url: String,
    /// Limit.
    pub timeout: Duration,
    /// Further parameters of the API call.
    pub params: Vec<(String, String)>,
}

impl Source {
    /// Whether it is the source of `app/stream`.
    pub fn is_for(&self, name: &str) -> bool {
        self.pattern.is_match(name)
    }

    /// How to open `app/stream`; `None` if the name does not match, or what it captured may not stand in the URL.
    pub fn resolve(&self, name: &str) -> Option<Opening> {
        let url = self.url.fill(&self.pattern.captures(name)?)?;
        let mut params: Vec<_> = (self.options.0.iter().chain(&self.params))
            .map(|(name, value)| (name.clone(), value.to_string()))
            .collect();
        let mut add = |name: &str, value: String| params.push((name.to_owned(), value));
        if let Some(count) = self.retry_count {
            add("retry_count", count.to_string());
        }
        if let Some(kind) = self.rtp_type {
            add("rtp_type", (kind as u8).to_string());
        }
        if let Some(key) = &self.ffmpeg_cmd_key {
            add("ffmpeg_cmd_key", key.clone());
        }
        Some(Opening {
            via: self.url.via,
            url,
            timeout: self.timeout,
            params,
        })
    }
}

/// What becomes of a stream that nobody watches.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "WrittenClose")]
pub struct CloseRule {
    pattern: Pattern,
    /// What to do.
    pub close: Close,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// It is closed at once.
    Now,
    /// It is closed when it was unwatched for this time longer.
    After(Duration),
    /// It stays.
    Never,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenClose {
    pattern: NamePattern,
    close: bool,
    after_sec: Option<Seconds>,
}

/// Fields that cannot stand together.
#[derive(Debug, thiserror::Error)]
#[error("after_sec has no effect with close = false")]
pub struct NeverAfter;

impl TryFrom<WrittenClose> for CloseRule {
    type Error = NeverAfter;

    fn try_from(written: WrittenClose) -> Result<Self, NeverAfter> {
        let close = match (written.close, written.after_sec) {
            (true, None | Some(Seconds(Duration::ZERO))) => Close::Now,
            (true, Some(Seconds(after))) => Close::After(after),
            (false, None) => Close::Never,
            (false, Some(_)) => return Err(NeverAfter),
        };
        Ok(Self {
            pattern: written.pattern.0,
            close,
        })
    }
}

impl CloseRule {
    /// Whether it is about `app/stream`.
    pub fn is_for(&self, name: &str) -> bool {
        self.pattern.is_match(name)
    }
}
