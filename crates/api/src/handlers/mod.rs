//! The endpoints, by topic. Each parses its parameters, asks the server, and shapes the reply.

pub mod client_options;
pub mod ffmpeg;
pub mod files;
pub mod hooks;
pub mod login;
mod media_url;
pub mod probe;
pub mod proxies;
pub mod pushers;
pub mod server;
pub mod sessions;
pub mod streams;
pub mod timeline;

use crate::describe::parameters::MAX_URL_LEN;
use crate::dispatch::Call;
use crate::reply::{Failure, Reply};
use lifecycle::OpReply;
use lifecycle::op::JobState;
use media::StreamKey;
use media::key::MAX_NAME_LEN;
use serde::Serialize;
use std::time::Duration;

/// Longest time that a source or pusher may take to start. The caller's connection waits that long.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// `data` with the handle of what was added.
#[derive(Serialize)]
struct Key<'a> {
    key: &'a str,
}

fn key_reply(key: &str) -> Reply {
    Reply::data(&Key { key })
}

/// `data` with whether what was to be removed existed.
#[derive(Serialize)]
struct Flag {
    flag: bool,
}

fn flag_reply(flag: bool) -> Reply {
    Reply::data(&Flag { flag })
}

fn flag(reply: OpReply) -> Result<bool, Failure> {
    let OpReply::Flag(flag) = reply else {
        return Err(Call::unexpected("removal"));
    };
    Ok(flag)
}

/// The stream of a proxy or pusher.
#[derive(Serialize)]
struct Source {
    vhost: String,
    app: String,
    stream: String,
    params: String,
}

impl Source {
    fn new(key: &StreamKey, params: &str) -> Self {
        Self {
            vhost: key.vhost().to_owned(),
            app: key.app().to_owned(),
            stream: key.stream().to_owned(),
            params: params.to_owned(),
        }
    }
}

/// The state of a source or pusher in one word, and why it is not live. Not in ZLM, which has `status` and `status_str` only.
#[derive(Serialize)]
struct State {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<&JobState> for State {
    fn from(state: &JobState) -> Self {
        let reason = match state {
            JobState::Idle | JobState::Connecting | JobState::Live => None,
            JobState::BackingOff { reason, .. } | JobState::Failed { reason } => Some(reason.clone()),
        };
        Self {
            state: state.name(),
            reason,
        }
    }
}

/// Bounds for texts that are kept.
fn check_lengths(call: &Call, names: &[&'static str], urls: &[&'static str]) -> Result<(), Failure> {
    let bounds = names
        .iter()
        .map(|name| (name, MAX_NAME_LEN))
        .chain(urls.iter().map(|name| (name, MAX_URL_LEN)));
    for (name, most) in bounds {
        check_bytes(call, name, most)?;
    }
    Ok(())
}

/// The bound for one text.
fn check_bytes(call: &Call, name: &str, most: usize) -> Result<(), Failure> {
    let got = call.args.text(name).len();
    if got > most {
        return Err(Failure::InvalidArgs(format!(
            "\"{name}\" is {got} bytes long, at most {most} are allowed"
        )));
    }
    Ok(())
}

/// `retry_count`: negative, as by default, is for ever.
fn retry_count(call: &Call) -> Option<u32> {
    u32::try_from(call.args.int("retry_count").unwrap_or(-1)).ok()
}

/// `timeout_sec`: 10 by default; values up to 0.1 are ignored, as in ZLM.
fn timeout_sec(call: &Call) -> Duration {
    let seconds = call
        .args
        .float("timeout_sec")
        .filter(|seconds| *seconds > 0.1)
        .unwrap_or(10.0);
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(MAX_TIMEOUT)
        .min(MAX_TIMEOUT)
}

fn key_not_found(call: &Call) -> Failure {
    Failure::Exception(format!("key not found: {}", call.args.text("key")))
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}
