//! Streams: what there is, and closing it.

use crate::describe::Shape::{Bool, Int, Named, Object, Text};
use crate::describe::objects::{MEDIA, MEDIA_MEMBERS, PLAYER_MEMBERS};
use crate::describe::parameters::{APP, FILTERS, SCHEMA, STREAM, VHOST};
use crate::describe::{About, Kind, Member, Parameter, Returns, data};
use crate::describe::{fixed, list};
use crate::dispatch::Call;
use crate::reply::{Answer, Code, Failure, Reply};
use hooks::object;
use lifecycle::{Op, OpError};
use media::info::MediaInfo;
use media::{Schema, StreamKey};
use serde::Serialize;
use std::collections::BTreeSet;

use super::sessions::Player;

const NOT_FOUND: Failure = Failure::NotFound("can not find the stream");

pub const LIST: About = About::new(
    "Lists streams, one entry for each of their forms (schemas).",
    Returns::Members(fixed![
        data(
            list!(Named(&MEDIA)),
            "Absent when nothing matches. The tracks carry `loss` when exactly one object matches.",
        )
        .optional()
    ]),
)
.takes(&FILTERS);

pub async fn list(call: Call) -> Answer {
    let found = filtered(&call);
    // ZLM adds the loss only when exactly one object matches (observed).
    let with_loss = found.len() == 1;
    Ok(Reply::list(
        &found
            .iter()
            .map(|info| object::Media::new(info, with_loss))
            .collect::<Vec<_>>(),
    ))
}

const ONE: &[Parameter] = &[SCHEMA, VHOST, APP, STREAM];

pub const IS_ONLINE: About = About::new(
    "Tells whether a stream is there.",
    Returns::Members(fixed![Member::new("online", Bool, "It is.")]),
)
.takes(ONE);

#[derive(Serialize)]
struct Online {
    online: bool,
}

pub async fn is_online(call: Call) -> Answer {
    Ok(Reply::new(&Online {
        online: one(&call).is_ok(),
    }))
}

pub const INFO: About = About::new(
    "Shows a stream. -500 if it is not there.",
    Returns::Members(MEDIA_MEMBERS),
)
.takes(ONE);

pub async fn info(call: Call) -> Answer {
    Ok(Reply::new(&object::Media::new(&one(&call)?, true)))
}

pub const PLAYERS: About = About::new(
    "Lists the players of one form of a stream. -500 if it is not there.",
    Returns::Members(fixed![data(
        list!(Object(PLAYER_MEMBERS)),
        "May be empty. HTTP-FLV players are under `rtmp`.",
    )]),
)
.takes(ONE);

pub async fn players(call: Call) -> Answer {
    let schema = schema(&call)?;
    let players = call.server.players(&call.key(), schema).ok_or(NOT_FOUND)?;
    // Unlike most lists this one is there when it is empty (observed).
    Ok(Reply::data(&players.iter().map(Player::from).collect::<Vec<_>>()))
}

const FORCE: Parameter = Parameter::new("force", Kind::Switch, "Close it even if somebody watches.").or("0");

pub const CLOSE: About = About::new(
    "Closes a stream in all its forms, with its source. -1 if it is watched, -500 if it is not there.",
    Returns::Members(fixed![
        Member::new("result", Int, "0, or -1 with `code` -1."),
        Member::new("msg", Text, "`success`, or why it was not closed."),
    ]),
)
.takes(fixed![SCHEMA, VHOST, APP, STREAM, FORCE]);

#[derive(Serialize)]
struct Closed<'a> {
    result: i32,
    msg: &'a str,
}

pub async fn close(call: Call) -> Answer {
    let key = one(&call)?.key;
    match call
        .server
        .operate(Op::CloseStream {
            key,
            force: call.args.flag("force"),
        })
        .await
    {
        Ok(_) => Ok(Reply::new(&Closed {
            result: 0,
            msg: "success",
        })),
        Err(OpError::NotFound) => Err(NOT_FOUND),
        Err(OpError::Watched { .. }) => Ok(Reply::with_code(
            Code::Failed,
            &Closed {
                result: -1,
                msg: "close failed",
            },
        )),
        Err(error) => Ok(Reply::with_code(
            Code::Failed,
            &Closed {
                result: -1,
                msg: &error.to_string(),
            },
        )),
    }
}

pub const CLOSE_MANY: About = About::new(
    "Closes all streams that match; without filters, all.",
    Returns::Members(fixed![
        Member::new("count_hit", Int, "Forms (schemas) that matched."),
        Member::new("count_closed", Int, "The same number, as in ZLM."),
    ]),
)
.takes(fixed![FILTERS[0], FILTERS[1], FILTERS[2], FILTERS[3], FORCE]);

#[derive(Serialize)]
struct ClosedMany {
    count_hit: usize,
    count_closed: usize,
}

/// Counts schemas, as ZLM does, and closes each stream once: ZLM closes it once per schema and trips over the first (api.md,
/// fault 7.1). A stream that is watched, or gone meanwhile, counts all the same.
pub async fn close_many(call: Call) -> Answer {
    let found = filtered(&call);
    let force = call.args.flag("force");
    let keys: BTreeSet<&StreamKey> = found.iter().map(|info| &info.key).collect();
    for key in keys {
        if let Err(OpError::Stopping) = call
            .server
            .operate(Op::CloseStream {
                key: key.clone(),
                force,
            })
            .await
        {
            return Err(OpError::Stopping.into());
        }
    }
    Ok(Reply::new(&ClosedMany {
        count_hit: found.len(),
        count_closed: found.len(),
    }))
}

/// Longest text of `broadcastMessage`, in bytes: what a data channel takes in one message everywhere (RFC 8831, section 6.6).
const MAX_MESSAGE_LEN: usize = 16_384;

pub const BROADCAST: About = About::new(
    "Sends text to the data channels of the WebRTC players of a stream. This version has no WebRTC, so nobody gets it. -500 if the \
     stream is not there.",
    Returns::Members(fixed![]),
)
.takes(fixed![
    SCHEMA,
    VHOST,
    APP,
    STREAM,
    Parameter::new("msg", Kind::Text(MAX_MESSAGE_LEN), "The text.").required(),
]);

/// Success even when nobody can receive it, as in ZLM (observed).
pub async fn broadcast(call: Call) -> Answer {
    super::check_bytes(&call, "msg", MAX_MESSAGE_LEN)?;
    one(&call)?;
    Ok(Reply::success())
}

/// The objects that the filters `schema`, `vhost`, `app` and `stream` let through. They are compared literally, `vhost` too
/// (api.md, section 1.12).
fn filtered(call: &Call) -> Vec<MediaInfo> {
    let wanted = ["schema", "vhost", "app", "stream"].map(|name| call.args.get(name));
    let fits = |info: &MediaInfo| {
        let values = [
            info.schema.as_str(),
            info.key.vhost(),
            info.key.app(),
            info.key.stream(),
        ];
        wanted
            .iter()
            .zip(values)
            .all(|(wanted, value)| wanted.as_ref().is_none_or(|wanted| wanted == value))
    };
    let mut media = call.server.media();
    media.retain(fits);
    media
}

fn one(call: &Call) -> Result<MediaInfo, Failure> {
    call.server
        .media_one(&call.key(), Some(schema(call)?))
        .ok_or(NOT_FOUND)
}

/// A schema that does not exist has no streams.
fn schema(call: &Call) -> Result<Schema, Failure> {
    call.args.text("schema").parse().map_err(|_| NOT_FOUND)
}
