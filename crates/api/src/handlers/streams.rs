//! Streams: what there is, and closing it.

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

#[derive(Serialize)]
struct Online {
    online: bool,
}

pub async fn is_online(call: Call) -> Answer {
    Ok(Reply::new(&Online {
        online: one(&call).is_ok(),
    }))
}

pub async fn info(call: Call) -> Answer {
    Ok(Reply::new(&object::Media::new(&one(&call)?, true)))
}

pub async fn players(call: Call) -> Answer {
    let schema = schema(&call)?;
    let players = call.server.players(&call.key(), schema).ok_or(NOT_FOUND)?;
    // Unlike most lists this one is there when it is empty (observed).
    Ok(Reply::data(&players.iter().map(Player::from).collect::<Vec<_>>()))
}

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
