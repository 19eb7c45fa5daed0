//! Streams that are sent on to another server.

use super::client_options::{self, Direction};
use super::media_url::MediaUrl;
use super::{Source, State, seconds};
use crate::describe::Shape::{Int, Named, Text};
use crate::describe::objects::{FLAG, KEY, REASON, SOURCE, STATE};
use crate::describe::parameters::{APP, MAX_URL_LEN, RETRY_COUNT, SCHEMA, STREAM, TIMEOUT_SEC, VHOST};
use crate::describe::{About, Kind, Member, Object, Parameter, Returns, Shared, data, parameters};
use crate::describe::{fixed, list};
use crate::dispatch::Call;
use crate::login::md5_hex;
use crate::reply::{Answer, Failure, Reply};
use lifecycle::op::{JobState, PushSpec, PushView};
use lifecycle::{Op, OpError, OpReply};
use media::Schema;
use serde::Serialize;

pub const ADD: About = About::new(
    "Sends a stream on to another server. Answers after the first attempt. The same pusher again is success.",
    Returns::Members(fixed![data(
        Named(&KEY),
        "The handle, `schema/vhost/app/stream/MD5 of dst_url`."
    )]),
)
.takes(fixed![
    SCHEMA,
    VHOST,
    APP,
    STREAM,
    Parameter::new(
        "dst_url",
        Kind::Text(MAX_URL_LEN),
        "The destination: `rtmp[s]://`, which needs the schema `rtmp`, or `rtsp[s]://`, which needs `rtsp`.",
    )
    .required(),
    RETRY_COUNT,
    TIMEOUT_SEC,
])
.shares(fixed![Shared::ClientOptions]);

pub async fn add(call: Call) -> Answer {
    let dst_url = call.args.text("dst_url").into_owned();
    let schema = call.args.text("schema").into_owned();
    // ZLM finds out in a worker thread and leaves a dead pusher behind (api.md, fault 7.2).
    let unsupported = || Failure::Failed(format!("not supported push schema:{dst_url}"));
    let needed = needed_schema(&dst_url).ok_or_else(unsupported)?;
    if needed.as_str() != schema {
        return Err(Failure::Failed(
            " media source (schema) and  push url not match".to_owned(),
        ));
    }
    if !can_push(&dst_url) {
        return Err(unsupported());
    }
    super::check_lengths(&call, &["vhost", "app", "stream"], &["dst_url"])?;
    let client_options = client_options::read(&call, &dst_url, Direction::Push)?;
    let stream = call.key();
    let spec = PushSpec {
        key: format!("{needed}/{stream}/{}", md5_hex(&dst_url)),
        stream,
        schema: needed,
        dst_url,
        retry_count: super::retry_count(&call),
        timeout: super::timeout_sec(&call),
        client_options,
    };
    match call.server.operate(Op::AddPush(spec)).await {
        Ok(OpReply::Key(key)) => Ok(super::key_reply(&key)),
        Ok(_) => Err(Call::unexpected("AddPush")),
        Err(OpError::TimedOut) => Err(Failure::Failed(format!("publish {needed} timeout"))),
        Err(OpError::NotFound) => Err(OpError::SourceNotFound.into()),
        Err(error) => Err(error.into()),
    }
}

/// Whether this server can push to such a destination.
fn can_push(dst_url: &str) -> bool {
    MediaUrl::parse(dst_url).is_some_and(|url| url.is(&["rtmp", "rtmps", "rtsp", "rtsps"]))
}

/// The schema that a destination needs; `None` if nothing is pushed to such URLs.
fn needed_schema(dst_url: &str) -> Option<Schema> {
    let url = MediaUrl::parse(dst_url)?;
    let kinds: [(Schema, &[&str]); 3] = [
        (Schema::Rtmp, &["rtmp", "rtmps"]),
        (Schema::Rtsp, &["rtsp", "rtsps", "webrtc", "webrtcs"]),
        (Schema::Ts, &["srt"]),
    ];
    kinds
        .into_iter()
        .find(|(_, schemes)| url.is(schemes))
        .map(|(schema, _)| schema)
}

pub const DELETE: About = About::new(
    "Removes a pusher.",
    Returns::Members(fixed![data(Named(&FLAG), "Whether it existed.")]),
)
.takes(fixed![parameters::KEY]);

pub async fn delete(call: Call) -> Answer {
    let key = call.args.text("key").into_owned();
    Ok(super::flag_reply(super::flag(
        call.server.operate(Op::DelPush(key)).await?,
    )?))
}

/// All but the handle.
const MEMBERS: &[Member] = &[
    Member::new("url", Text, "The destination."),
    Member::new("status", Int, "0 up, 1 not."),
    Member::new("liveSecs", Int, "Seconds up in total."),
    Member::new("rePublishCount", Int, "How often it was lost."),
    Member::new("bytesSpeed", Int, "Bytes per second now."),
    Member::new("totalBytes", Int, "Bytes sent in the current attempt."),
    Member::new("src", Named(&SOURCE), "Its stream; absent when that is gone.").optional(),
    STATE,
    REASON,
];

static PUSHER: Object = Object {
    name: "Pusher",
    about: "A stream that is sent on to another server.",
    members: MEMBERS,
};

static LISTED: Object = Object {
    name: "ListedPusher",
    about: "A stream that is sent on to another server, with its handle.",
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
struct Pusher {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    url: String,
    status: u8,
    #[serde(rename = "liveSecs")]
    live_secs: u64,
    #[serde(rename = "rePublishCount")]
    losses: u32,
    #[serde(rename = "bytesSpeed")]
    bytes_speed: u64,
    #[serde(rename = "totalBytes")]
    total_bytes: u64,
    /// Absent when the source is gone, as in ZLM (read in source).
    #[serde(skip_serializing_if = "Option::is_none")]
    src: Option<Source>,
    #[serde(flatten)]
    state: State,
}

pub const LIST: About = About::new(
    "Lists pushers.",
    Returns::Members(fixed![
        data(list!(Named(&LISTED)), "Absent when there is none.").optional()
    ]),
)
.takes(fixed![Parameter {
    required: false,
    about: "Only the pusher with this handle; -400 if there is none.",
    ..parameters::KEY
}]);

pub async fn list(call: Call) -> Answer {
    let pushes = pushes(&call).await?;
    let Some(key) = call.args.get("key") else {
        return Ok(Reply::list(
            &pushes
                .into_iter()
                .map(|view| pusher(&call, view, true))
                .collect::<Vec<_>>(),
        ));
    };
    let view = pushes.into_iter().find(|view| view.spec.key == key);
    let view = view.ok_or_else(|| super::key_not_found(&call))?;
    Ok(Reply::data(&[pusher(&call, view, true)]))
}

pub const INFO: About = About::new(
    "Shows a pusher. -500 if there is none with this handle.",
    Returns::Members(fixed![data(Named(&PUSHER), "The pusher.")]),
)
.takes(fixed![parameters::KEY]);

pub async fn info(call: Call) -> Answer {
    let key = call.args.text("key");
    let view = pushes(&call).await?.into_iter().find(|view| view.spec.key == key);
    let view = view.ok_or(Failure::NotFound("can not find pusher"))?;
    Ok(Reply::data(&pusher(&call, view, false)))
}

async fn pushes(call: &Call) -> Result<Vec<PushView>, Failure> {
    let OpReply::Pushes(pushes) = call.server.operate(Op::ListPushes).await? else {
        return Err(Call::unexpected("ListPushes"));
    };
    Ok(pushes)
}

fn pusher(call: &Call, view: PushView, with_key: bool) -> Pusher {
    let media = call.server.media_one(&view.spec.stream, Some(view.spec.schema));
    let traffic = view.job.map(|job| call.server.traffic(job)).unwrap_or_default();
    Pusher {
        status: u8::from(view.state != JobState::Live),
        live_secs: seconds(view.live),
        losses: view.losses,
        bytes_speed: traffic.bytes_speed,
        total_bytes: traffic.total_bytes,
        src: media.map(|media| Source::new(&media.key, &media.params)),
        state: State::from(&view.state),
        url: view.spec.dst_url,
        key: with_key.then_some(view.spec.key),
    }
}
