//! What happened to a stream, and why. Not in ZLM.

use crate::describe::Shape::{Int, Object, Text, Word};
use crate::describe::parameters::{APP, STREAM, VHOST};
use crate::describe::{About, Member, Returns, data};
use crate::describe::{fixed, list};
use crate::dispatch::Call;
use crate::reply::{Answer, Reply};
use lifecycle::{Op, OpReply};
use serde::Serialize;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub const OF_STREAM: About = About::new(
    "Tells why a stream is open, waiting or closed. -500 for a name that was not heard of lately.",
    Returns::Members(fixed![data(
        Object(fixed![
            Member::new("vhost", Text, "The virtual host."),
            Member::new("app", Text, "The application."),
            Member::new("stream", Text, "The name."),
            Member::new(
                "state",
                Word(&["missing", "wanted", "starting", "live", "unwatched", "orphan"]),
                "Where it stands; `orphan` is kept for a lost publisher.",
            ),
            Member::new("readers", Int, "Players that play."),
            Member::new("waiting", Int, "Players that wait for the stream."),
            Member::new("authorizing", Int, "Players that wait for permission."),
            Member::new(
                "entries",
                list!(Object(fixed![
                    Member::new("time", Int, "Unix time in milliseconds."),
                    Member::new("event", Text, "A fixed word."),
                    Member::new("detail", Text, "Who or why, in words."),
                ])),
                "Oldest first.",
            ),
            Member::new(
                "dropped",
                Int,
                "Older entries that are no longer kept (`general.timeline_len`).",
            ),
        ]),
        "What happened to it.",
    )]),
)
.takes(fixed![VHOST, APP, STREAM])
.own();

#[derive(Serialize)]
struct Timeline {
    vhost: String,
    app: String,
    stream: String,
    state: &'static str,
    readers: usize,
    waiting: usize,
    authorizing: usize,
    entries: Vec<Entry>,
    dropped: u64,
}

#[derive(Serialize)]
struct Entry {
    /// Unix time in milliseconds.
    time: u64,
    event: &'static str,
    detail: String,
}

pub async fn of_stream(call: Call) -> Answer {
    let OpReply::Timeline(view) = call.server.operate(Op::Timeline(call.key())).await? else {
        return Err(Call::unexpected("Timeline"));
    };
    let (now, unix_now) = (Instant::now(), SystemTime::now());
    let entries = view.entries.into_iter().map(|entry| Entry {
        time: unix_millis(unix_now, now.saturating_duration_since(entry.at)),
        event: entry.event,
        detail: entry.detail,
    });
    Ok(Reply::data(&Timeline {
        vhost: view.key.vhost().to_owned(),
        app: view.key.app().to_owned(),
        stream: view.key.stream().to_owned(),
        state: view.state,
        readers: view.readers,
        waiting: view.waiting,
        authorizing: view.authorizing,
        entries: entries.collect(),
        dropped: view.dropped,
    }))
}

/// 0 for times before 1970, which only a clock that was never set can give.
fn unix_millis(now: SystemTime, ago: std::time::Duration) -> u64 {
    let since = now
        .checked_sub(ago)
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
