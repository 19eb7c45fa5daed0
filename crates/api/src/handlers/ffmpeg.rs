//! Streams that an ffmpeg process feeds.

use super::State;
use super::media_url::MediaUrl;
use crate::describe::Shape::{Int, Named, Object, Text};
use crate::describe::objects::{FLAG, KEY, REASON, STATE};
use crate::describe::parameters::MAX_URL_LEN;
use crate::describe::{About, Kind, Member, Parameter, Returns, data, parameters};
use crate::describe::{fixed, list};
use crate::dispatch::Call;
use crate::login::md5_hex;
use crate::reply::{Answer, Failure, Reply};
use lifecycle::op::{FfmpegSpec, FfmpegView};
use lifecycle::{Op, OpError, OpReply};
use media::StreamKey;
use media::key::DEFAULT_VHOST;
use serde::Serialize;
use std::time::Duration;

/// `timeout_ms` when it is 0 or no number: the default of `timeout_sec` of the other sources.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

pub const ADD: About = About::new(
    "Starts an ffmpeg process that feeds a stream. Answers when the stream is there. The same destination again is success.",
    Returns::Members(fixed![data(Named(&KEY), "The handle, the MD5 of `dst_url`.")]),
)
.takes(fixed![
    Parameter::new(
        "src_url",
        Kind::Text(MAX_URL_LEN),
        "Anything that FFmpeg opens; must not begin with `-`.",
    )
    .required(),
    Parameter::new(
        "dst_url",
        Kind::Text(MAX_URL_LEN),
        "Where it publishes: an `rtmp[s]`, `rtsp[s]` or `srt` URL, usually of this server.",
    )
    .required(),
    Parameter::new(
        "timeout_ms",
        Kind::Int(0, 3_600_000),
        "Limit for the stream to appear, in milliseconds; on another server, how long the process must live. 0 counts as 10000.",
    )
    .required(),
    Parameter::new("enable_hls", Kind::Switch, "Record HLS when the stream appears.").or("0"),
    Parameter::new("enable_mp4", Kind::Switch, "Record MP4 when the stream appears.").or("0"),
    Parameter::new(
        "ffmpeg_cmd_key",
        Kind::Text(MAX_URL_LEN),
        "Configuration key of the command's template, as `ffmpeg.cmd_hd`; an unknown one is `ffmpeg.cmd`.",
    )
    .or("ffmpeg.cmd"),
]);

pub async fn add(call: Call) -> Answer {
    super::check_lengths(&call, &[], &["src_url", "dst_url", "ffmpeg_cmd_key"])?;
    let (src_url, dst_url) = (
        call.args.text("src_url").into_owned(),
        call.args.text("dst_url").into_owned(),
    );
    for (name, url) in [("src_url", &src_url), ("dst_url", &dst_url)] {
        // As an argument of a command it would be an option.
        if url.starts_with('-') {
            return Err(Failure::InvalidArgs(format!("{name} must not start with \"-\"")));
        }
    }
    let cmd_key = call.args.text("ffmpeg_cmd_key").into_owned();
    let spec = FfmpegSpec {
        key: md5_hex(&dst_url),
        local: local_stream(&call, &dst_url)?,
        src_url,
        dst_url,
        cmd_key,
        timeout: timeout(&call),
        enable_hls: call.args.flag("enable_hls"),
        enable_mp4: call.args.flag("enable_mp4"),
        rule: None,
    };
    match call.server.operate(Op::AddFfmpeg(spec)).await {
        Ok(OpReply::Key(key)) => Ok(super::key_reply(&key)),
        Ok(_) => Err(Call::unexpected("AddFfmpeg")),
        // "Waiting timed out", ZLM's text.
        Err(OpError::TimedOut) => Err(Failure::Failed("等待超时".to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// The stream that a destination on this server becomes; `None` for other servers.
fn local_stream(call: &Call, dst_url: &str) -> Result<Option<StreamKey>, Failure> {
    let wrong = || Failure::Failed(format!("dst_url must be a URL with a host, got \"{dst_url}\""));
    let url = MediaUrl::parse(dst_url).ok_or_else(wrong)?;
    if !url.is(&["rtmp", "rtmps", "rtsp", "rtsps", "srt"]) {
        // "This server takes rtmp/rtsp/srt pushes only", ZLM's text for its own addresses. Here it goes for all: ffmpeg also
        // knows schemes that write files (`file`, `tee`), which a caller of the API must not.
        return Err(Failure::Failed("本服务只支持rtmp/rtsp/srt推流".to_owned()));
    }
    if !call.server.is_own_address(url.host, url.port_or_usual()) {
        return Ok(None);
    }
    let path = if url.is(&["rtsp", "rtsps"]) {
        // RTSP publishers may end their URL so; it is no part of the name (urls.md, section 4).
        url.path.strip_suffix(".sdp").unwrap_or(url.path)
    } else if url.is(&["rtmp", "rtmps"]) {
        url.path
    } else {
        let scheme = url.scheme;
        return Err(Failure::Failed(format!(
            "this server takes rtmp, rtmps, rtsp and rtsps pushes only, got {scheme}"
        )));
    };
    let (app, stream) = StreamKey::split_path(path);
    let vhost = url
        .vhost()
        .filter(|_| call.config.general.enable_vhost)
        .unwrap_or(DEFAULT_VHOST);
    Ok(Some(StreamKey::new(vhost, app, stream)))
}

fn timeout(call: &Call) -> Duration {
    let millis = call
        .args
        .int("timeout_ms")
        .and_then(|millis| u64::try_from(millis).ok())
        .unwrap_or(0);
    if millis == 0 {
        DEFAULT_TIMEOUT
    } else {
        Duration::from_millis(millis).min(super::MAX_TIMEOUT)
    }
}

pub const DELETE: About = About::new(
    "Stops an ffmpeg process and removes its stream.",
    Returns::Members(fixed![data(Named(&FLAG), "Whether it existed.")]),
)
.takes(fixed![parameters::KEY]);

pub async fn delete(call: Call) -> Answer {
    let key = call.args.text("key").into_owned();
    Ok(super::flag_reply(super::flag(
        call.server.operate(Op::DelFfmpeg(key)).await?,
    )?))
}

pub const LIST: About = About::new(
    "Lists FFmpeg sources.",
    Returns::Members(fixed![
        data(
            list!(Object(fixed![
                Member::new("key", Text, "The handle."),
                Member::new("src_url", Text, "The source."),
                Member::new("dst_url", Text, "Where it publishes."),
                Member::new("cmd", Text, "The command, for people to read."),
                Member::new("ffmpeg_cmd_key", Text, "Configuration key of its template."),
                Member::new("restarts", Int, "Starts after the first one. Not in ZLM."),
                STATE,
                REASON,
            ])),
            "Absent when there is none.",
        )
        .optional()
    ]),
);

#[derive(Serialize)]
struct Source {
    key: String,
    src_url: String,
    dst_url: String,
    cmd: String,
    ffmpeg_cmd_key: String,
    /// Starts of the process after the first one. Not in ZLM.
    restarts: u32,
    #[serde(flatten)]
    state: State,
}

pub async fn list(call: Call) -> Answer {
    let OpReply::Ffmpegs(views) = call.server.operate(Op::ListFfmpegs).await? else {
        return Err(Call::unexpected("ListFfmpegs"));
    };
    Ok(Reply::list(
        &views
            .into_iter()
            .map(|view| source(&call, view))
            .collect::<Vec<_>>(),
    ))
}

fn source(call: &Call, view: FfmpegView) -> Source {
    let FfmpegView {
        spec,
        state,
        restarts,
        ..
    } = view;
    Source {
        cmd: command(call, &spec),
        key: spec.key,
        src_url: spec.src_url,
        dst_url: spec.dst_url,
        ffmpeg_cmd_key: spec.cmd_key,
        restarts,
        state: State::from(&state),
    }
}

/// The command as text, to be read by people. What is run is a list of arguments.
fn command(call: &Call, spec: &FfmpegSpec) -> String {
    // An unknown key is the default template, as in ZLM.
    let ffmpeg = &call.config.ffmpeg;
    let template = ffmpeg.template(&spec.cmd_key).unwrap_or(&ffmpeg.cmd);
    let bin = ffmpeg.bin.to_string_lossy();
    let mut values = [&*bin, &spec.src_url, &spec.dst_url].into_iter();
    let mut command = String::with_capacity(template.len() + spec.src_url.len() + spec.dst_url.len());
    for (index, part) in template.split("%s").enumerate() {
        if index > 0 {
            command.push_str(values.next().unwrap_or("%s"));
        }
        command.push_str(part);
    }
    command
}
