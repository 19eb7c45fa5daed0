//! Parameters that are handed on to the protocol client (api.md, section 2.5).

use super::media_url::MediaUrl;
use crate::describe::parameters::MAX_URL_LEN;
use crate::describe::{Kind, Parameter};
use crate::dispatch::Call;
use crate::reply::Failure;
use std::net::IpAddr;

/// They, in lower case. Each client takes those it knows.
#[rustfmt::skip]
pub const PARAMETERS: [Parameter; 18] = [
    Parameter::new("rtp_type", Kind::Int(0, 2), "RTSP: 0 TCP, 1 UDP, 2 multicast (pull only).").or("0"),
    Parameter::new("rtsp_beat_type", Kind::Int(0, 2), "RTSP: signs of life, 0 RTCP and commands, 1 RTCP, 2 commands.").or("0"),
    Parameter::new("rtsp_user", Kind::Text(MAX_URL_LEN), "RTSP: user, instead of the URL's."),
    Parameter::new("rtsp_pwd", Kind::Text(MAX_URL_LEN), "RTSP: password, instead of the URL's."),
    Parameter::new("rtsp_pwd_md5", Kind::Switch, "RTSP: `rtsp_pwd` is the MD5 of `user:realm:password`.").or("0"),
    Parameter::new("protocol_timeout_ms", Kind::Int(1, MAX_MS as i64), "Accepted, without effect in this version."),
    Parameter::new("media_timeout_ms", Kind::Int(1, MAX_MS as i64), "How long a source may send nothing, in milliseconds."),
    Parameter::new("beat_interval_ms", Kind::Int(1, MAX_MS as i64), "RTSP: time between signs of life, in milliseconds."),
    Parameter::new("net_adapter", Kind::Text(45), "Accepted, without effect in this version."),
    Parameter::new("play_track", Kind::Int(0, 2), "RTSP: 0 all tracks, 1 video, 2 audio.").or("0"),
    Parameter::new("proxy_url", Kind::Text(MAX_URL_LEN), "Accepted, without effect in this version."),
    Parameter::new("rtsp_speed", Kind::Number(0.0, 20.0), "RTSP: speed, 0.1 to 20; 0 is that of the source.").or("0"),
    Parameter::new("wait_track_ready", Kind::Switch, "Accepted, without effect in this version."),
    Parameter::new("benchmark_mode", Kind::Switch, "Accepted, without effect in this version."),
    Parameter::new("latency", Kind::Int(0, MAX_MS as i64), "Accepted, without effect in this version."),
    Parameter::new("passphrase", Kind::Text(MAX_URL_LEN), "Accepted, without effect in this version."),
    Parameter::new("custom_header", Kind::Text(MAX_URL_LEN), "HTTP, RTSP: further headers of each request."),
    Parameter::new("schema", Kind::Word(&["hls", "ts", "flv"]), "What an HTTP URL leads to, whatever its path."),
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
    let names = PARAMETERS.map(|parameter| parameter.name);
    super::check_lengths(call, &[], &names)?;
    let given = |name: &str| {
        call.args
            .get(name)
            .map(|value| (name.to_owned(), value.into_owned()))
    };
    let options: Vec<(String, String)> = names.iter().filter_map(|name| given(name)).collect();
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
