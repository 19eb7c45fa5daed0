//! Streams that are pulled from elsewhere.

use super::client_options::{self, Direction};
use super::media_url::MediaUrl;
use super::{State, seconds};
use crate::describe::Shape::{Int, Named, Text};
use crate::describe::objects::{FLAG, KEY, REASON, SOURCE, STATE, TRACK};
use crate::describe::parameters::{APP, MAX_URL_LEN, RETRY_COUNT, STREAM, TIMEOUT_SEC, VHOST};
use crate::describe::{About, Kind, Member, Object, Parameter, Returns, Shared, data, parameters};
use crate::describe::{fixed, list};
use crate::dispatch::Call;
use crate::reply::{Answer, Failure, Reply};
use config::{ProtocolOverrides, protocol_options};
use hooks::object;
use lifecycle::op::{JobState, PullSpec, PullView};
use lifecycle::{Op, OpError, OpReply};
use media::ProtocolOptions;
use media::key::DEFAULT_VHOST;
use serde::Serialize;

/// Whether this server can pull such a source. `schema` says what an HTTP URL without a telling suffix is.
pub fn can_pull(url: &str, schema: &str) -> bool {
    MediaUrl::parse(url).is_some_and(|url| {
        url.is(&["rtmp", "rtmps", "rtsp", "rtsps"])
            || url.is(&["http", "https"]) && (is_http_schema(schema) || has_suffix(&url))
    })
}

/// The names of what can be pulled over HTTP.
fn is_http_schema(schema: &str) -> bool {
    let names = ["hls", "ts", "flv"];
    names.iter().any(|name| schema.eq_ignore_ascii_case(name))
}

/// Whether the path tells what the URL leads to.
fn has_suffix(url: &MediaUrl) -> bool {
    let path = url.path.to_ascii_lowercase();
    [".m3u8", ".ts", ".flv"]
        .iter()
        .any(|suffix| path.ends_with(suffix))
}

pub const ADD: About = About::new(
    "Pulls a stream from elsewhere. Answers when the source is open or the first attempt has failed.",
    Returns::Members(fixed![data(Named(&KEY), "The handle, `vhost/app/stream`.")]),
)
.takes(fixed![
    VHOST,
    APP,
    STREAM,
    Parameter::new(
        "url",
        Kind::Text(MAX_URL_LEN),
        "The source: `rtsp[s]://`, `rtmp[s]://`, or `http[s]://` with a path that ends in `.m3u8`, `.ts` or `.flv`.",
    )
    .required(),
    Parameter::new(
        "schema",
        Kind::Word(&["hls", "ts", "flv"]),
        "What an HTTP URL leads to, whatever its path.",
    ),
    RETRY_COUNT,
    Parameter::new(
        "force",
        Kind::Switch,
        "Success at once, even if the first attempt fails; it is tried again.",
    )
    .or("0"),
    TIMEOUT_SEC,
])
.shares(fixed![Shared::ProtocolOptions, Shared::ClientOptions]);

pub async fn add(call: Call) -> Answer {
    let url = call.args.text("url").into_owned();
    if !can_pull(&url, &call.args.text("schema")) {
        return Err(Failure::Failed(format!("not supported play schema:{url}")));
    }
    super::check_lengths(&call, &["vhost", "app", "stream"], &["url"])?;
    let client_options = client_options::read(&call, &url, Direction::Pull)?;
    let timed_out = timed_out(&url);
    let spec = PullSpec {
        key: call.key(),
        options: options(&call, &url),
        url,
        alternatives: Vec::new(),
        retry_count: super::retry_count(&call),
        force: call.args.flag("force"),
        timeout: super::timeout_sec(&call),
        client_options,
        rule: None,
    };
    match call.server.operate(Op::AddPull(spec)).await {
        Ok(OpReply::Key(key)) => Ok(super::key_reply(&key)),
        Ok(_) => Err(Call::unexpected("AddPull")),
        Err(OpError::TimedOut) => Err(Failure::Failed(timed_out)),
        Err(error) => Err(error.into()),
    }
}

/// The words of ZLM's clients, which do not tell TLS apart.
fn timed_out(url: &str) -> String {
    match MediaUrl::parse(url) {
        Some(url) if url.is(&["rtmp", "rtmps"]) => "play rtmp timeout".to_owned(),
        Some(url) if url.is(&["rtsp", "rtsps"]) => "play rtsp timeout".to_owned(),
        Some(_) | None => "wait http response header timeout".to_owned(),
    }
}

/// The options of the configuration with those that the call overrides. `max_track` is ours to say: ZLM sets it by the kind of
/// source, so that playlists and transport streams with many tracks come through whole (api.md, section 2.4).
fn options(call: &Call, url: &str) -> ProtocolOptions {
    let mut options = call.config.protocol.defaults();
    for name in protocol_options::CONFIGURED
        .into_iter()
        .chain(protocol_options::PER_STREAM)
    {
        if let Some(value) = call.args.get(name) {
            // A number that the option cannot have leaves it as it is, as nothing is an error in ZLM either.
            options.apply_api(name, &value);
        }
    }
    let schema = call.args.text("schema");
    let is_told = ["hls", "ts"].iter().any(|name| schema.eq_ignore_ascii_case(name));
    options.max_track = if is_told || url.contains(".m3u8") || url.contains(".ts") {
        16
    } else {
        2
    };
    options
}

pub const DELETE: About = About::new(
    "Removes a proxy, or an FFmpeg source, with its stream.",
    Returns::Members(fixed![data(Named(&FLAG), "Whether it existed.")]),
)
.takes(fixed![parameters::KEY]);

/// Removes a pull. WVP deletes FFmpeg sources with this endpoint too (api.md, section 6), so such a key is tried as well.
pub async fn delete(call: Call) -> Answer {
    let key = key(&call);
    let pull = super::flag(call.server.operate(Op::DelPull(key.clone())).await?)?;
    let flag = pull || super::flag(call.server.operate(Op::DelFfmpeg(key)).await?)?;
    Ok(super::flag_reply(flag))
}

/// All but the handle.
const MEMBERS: &[Member] = &[
    Member::new("url", Text, "The source."),
    Member::new("status", Int, "0 up, 1 not."),
    Member::new(
        "status_str",
        Text,
        "`connecting`, `playing`, `play failed: WHY` or `play shutdown: WHY`.",
    ),
    Member::new("liveSecs", Int, "Seconds up in total."),
    Member::new("rePullCount", Int, "How often it was lost."),
    Member::new("totalReaderCount", Int, "Players of its stream."),
    Member::new("bytesSpeed", Int, "Bytes per second now."),
    Member::new("totalBytes", Int, "Bytes received in the current attempt."),
    Member::new("src", Named(&SOURCE), "Its stream."),
    Member::new(
        "tracks",
        list!(Named(&TRACK)),
        "Of its stream; empty while it is down.",
    ),
    STATE,
    REASON,
];

static PROXY: Object = Object {
    name: "Proxy",
    about: "A stream that is pulled from elsewhere.",
    members: MEMBERS,
};

static LISTED: Object = Object {
    name: "ListedProxy",
    about: "A stream that is pulled from elsewhere, with its handle.",
    members: &with_key(MEMBERS),
};

const fn with_key(members: &[Member]) -> [Member; MEMBERS.len() + 1] {
    let mut all = [Member::new("key", Text, "The handle."); MEMBERS.len() + 1];
    let mut index = 0;
    while index < members.len() {
        all[index + 1] = members[index];
        index += 1;
    }
    all
}

#[derive(Serialize)]
struct Proxy {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    url: String,
    status: u8,
    status_str: String,
    #[serde(rename = "liveSecs")]
    live_secs: u64,
    #[serde(rename = "rePullCount")]
    losses: u32,
    #[serde(rename = "totalReaderCount")]
    total_readers: u32,
    #[serde(rename = "bytesSpeed")]
    bytes_speed: u64,
    #[serde(rename = "totalBytes")]
    total_bytes: u64,
    src: super::Source,
    tracks: Vec<object::TrackObject>,
    #[serde(flatten)]
    state: State,
}

pub const LIST: About = About::new(
    "Lists proxies.",
    Returns::Members(fixed![
        data(list!(Named(&LISTED)), "Absent when there is none.").optional()
    ]),
)
.takes(fixed![Parameter {
    required: false,
    about: "Only the proxy with this handle; -400 if there is none.",
    ..parameters::KEY
}]);

pub async fn list(call: Call) -> Answer {
    let pulls = pulls(&call).await?;
    let Some(_) = call.args.get("key") else {
        return Ok(Reply::list(
            &pulls
                .into_iter()
                .map(|view| proxy(&call, view, true))
                .collect::<Vec<_>>(),
        ));
    };
    let key = key(&call);
    let view = pulls.into_iter().find(|view| view.spec.key.to_string() == key);
    let view = view.ok_or_else(|| super::key_not_found(&call))?;
    Ok(Reply::data(&[proxy(&call, view, true)]))
}

pub const INFO: About = About::new(
    "Shows a proxy. -500 if there is none with this handle.",
    Returns::Members(fixed![data(Named(&PROXY), "The proxy.")]),
)
.takes(fixed![parameters::KEY]);

pub async fn info(call: Call) -> Answer {
    let key = key(&call);
    let view = pulls(&call)
        .await?
        .into_iter()
        .find(|view| view.spec.key.to_string() == key);
    let view = view.ok_or(Failure::NotFound("can not find the proxy"))?;
    Ok(Reply::data(&proxy(&call, view, false)))
}

async fn pulls(call: &Call) -> Result<Vec<PullView>, Failure> {
    let OpReply::Pulls(pulls) = call.server.operate(Op::ListPulls).await? else {
        return Err(Call::unexpected("ListPulls"));
    };
    Ok(pulls)
}

fn proxy(call: &Call, view: PullView, with_key: bool) -> Proxy {
    let key = &view.spec.key;
    let live = view.state == JobState::Live;
    let media = call.server.media_one(key, None).filter(|_| live);
    let traffic = view.job.map(|job| call.server.traffic(job)).unwrap_or_default();
    Proxy {
        key: with_key.then(|| key.to_string()),
        // ZLM keeps reporting 0 after a loss (api.md, fault 7.4).
        status: u8::from(!live),
        status_str: status_str(&view.state),
        live_secs: seconds(view.live),
        losses: view.losses,
        total_readers: media.as_ref().map_or(0, |media| media.total_readers),
        bytes_speed: traffic.bytes_speed,
        total_bytes: traffic.total_bytes,
        src: super::Source::new(key, media.as_ref().map_or("", |media| &media.params)),
        tracks: media.map_or_else(Vec::new, |media| object::Media::new(&media, false).tracks),
        state: State::from(&view.state),
        url: view.spec.url,
    }
}

fn status_str(state: &JobState) -> String {
    match state {
        JobState::Idle => "idle".to_owned(),
        JobState::Connecting => "connecting".to_owned(),
        JobState::Live => "playing".to_owned(),
        JobState::BackingOff {
            reason,
            was_live: true,
            ..
        } => format!("play shutdown: {reason}"),
        JobState::BackingOff {
            reason,
            was_live: false,
            ..
        }
        | JobState::Failed { reason } => {
            format!("play failed: {reason}")
        }
    }
}

/// The handle of a proxy. Without virtual hosts proxies are under the default one; a caller that made up the key from its own
/// `vhost` means that one too.
fn key(call: &Call) -> String {
    let key = call.args.text("key").into_owned();
    match key.split_once('/') {
        Some((_, rest)) if !call.config.general.enable_vhost && rest.contains('/') => {
            format!("{DEFAULT_VHOST}/{rest}")
        }
        Some(_) | None => key,
    }
}
