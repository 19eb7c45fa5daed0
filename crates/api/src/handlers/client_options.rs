//! Parameters that are handed on to the protocol client (api.md, section 2.5).

use super::media_url::MediaUrl;
use crate::dispatch::Call;
use crate::reply::Failure;
use std::net::IpAddr;

/// Their names, in lower case.
const NAMES: [&str; 18] = [
    "rtp_type",
    "rtsp_beat_type",
    "rtsp_user",
    "rtsp_pwd",
    "rtsp_pwd_md5",
    "protocol_timeout_ms",
    "media_timeout_ms",
    "beat_interval_ms",
    "net_adapter",
    "play_track",
    "proxy_url",
    "rtsp_speed",
    "wait_track_ready",
    "benchmark_mode",
    "latency",
    "passphrase",
    "custom_header",
    "schema",
];

/// Which way the media goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the remote.
    Pull,
    /// To the remote.
    Push,
}

/// The parameters that the call gives. What an RTSP client would have to guess at is refused here; other clients pass over what
/// they do not know, as ZLM's do.
pub fn read(call: &Call, url: &str, direction: Direction) -> Result<Vec<(String, String)>, Failure> {
    super::check_lengths(call, &[], &NAMES)?;
    let given = |name: &str| {
        call.args
            .get(name)
            .map(|value| (name.to_owned(), value.into_owned()))
    };
    let options: Vec<(String, String)> = NAMES.iter().filter_map(|name| given(name)).collect();
    if MediaUrl::parse(url).is_some_and(|url| url.is(&["rtsp", "rtsps"])) {
        for (name, value) in &options {
            check(name, value, direction)?;
        }
    }
    Ok(options)
}

/// Longest time that an option can name: an hour, in milliseconds.
const MAX_MS: u32 = 3_600_000;

fn check(name: &str, value: &str, direction: Direction) -> Result<(), Failure> {
    let one_of = |words: &[&str]| words.contains(&value);
    let number = || value.parse::<f64>().ok();
    let (fits, allowed) = match name {
        "rtp_type" if direction == Direction::Push => (one_of(&["0", "1"]), "0 (TCP) or 1 (UDP)"),
        "rtp_type" => (one_of(&["0", "1", "2"]), "0 (TCP), 1 (UDP) or 2 (multicast)"),
        "rtsp_beat_type" => (
            one_of(&["0", "1", "2"]),
            "0 (RTCP and commands), 1 (RTCP) or 2 (commands)",
        ),
        "play_track" => (one_of(&["0", "1", "2"]), "0 (all tracks), 1 (video) or 2 (audio)"),
        "rtsp_pwd_md5" => (one_of(&["0", "1", "false", "true"]), "0 or 1"),
        "protocol_timeout_ms" | "media_timeout_ms" | "beat_interval_ms" => (
            value.parse().is_ok_and(|ms| (1..=MAX_MS).contains(&ms)),
            "a whole number of milliseconds from 1 to 3600000",
        ),
        "rtsp_speed" => (
            number().is_some_and(|speed| speed == 0.0 || (0.1..=20.0).contains(&speed)),
            "a number from 0.1 to 20, or 0 for the speed of the source",
        ),
        "net_adapter" => (value.parse::<IpAddr>().is_ok(), "an address of this machine"),
        "rtsp_user" | "rtsp_pwd" => (
            !value.chars().any(char::is_control),
            "text without control characters",
        ),
        _ => return Ok(()),
    };
    if fits {
        return Ok(());
    }
    // A password is not repeated.
    let shown = if name == "rtsp_pwd" { "***" } else { value };
    Err(Failure::InvalidArgs(format!(
        "\"{name}\" is {shown:?}, it must be {allowed}"
    )))
}
