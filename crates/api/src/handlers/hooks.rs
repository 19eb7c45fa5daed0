//! Receivers of hooks: how they are doing, what they got, and what they did not. Not in ZLM.

use crate::describe::Shape::{Bool, Int, Object, Text, Word};
use crate::describe::parameters::MAX_URL_LEN;
use crate::describe::{About, Kind, Member, Parameter, Returns, data};
use crate::describe::{Shape, fixed, list};
use crate::dispatch::Call;
use crate::reply::{Answer, Failure, Reply};
use config::hook_endpoint::KEYED;
use hooks::admission::Filter;
use hooks::ops::{EndpointStatus, MAX_REPLAY, OpsError};
use hooks::store;
use media::key::MAX_NAME_LEN;
use serde::Serialize;

/// Most entries of one list.
const MAX_LISTED: i64 = 1000;

/// Longest list of events and longest path, in bytes. All parameters together must fit into the head of a request.
const MAX_TEXT: usize = 1024;

/// Longest list of headers, in bytes.
const MAX_HEADERS: usize = 4096;

/// Longest list of ids, in bytes: about 500 of them.
const MAX_IDS: usize = 16 * 1024;

const NAME: Parameter = Parameter::new(
    "name",
    Kind::Text(64),
    "The endpoint. `zlm` is the receiver of the keys `hook.on_*`.",
);

const FROM: Parameter = Parameter::new(
    "from_unix_ms",
    Kind::Int(0, i64::MAX),
    "Only what was given up at this time or later, in milliseconds since 1970.",
);
const UNTIL: Parameter = Parameter::new(
    "until_unix_ms",
    Kind::Int(0, i64::MAX),
    "Only what was given up before this time, in milliseconds since 1970.",
);
const EVENT: Parameter = Parameter::new("event", Kind::Text(64), "Only events of this name.");
const COUNT: Parameter = Parameter::new("count", Kind::Int(1, MAX_LISTED), "Most entries.").or("100");

const ENDPOINT: Shape = Object(fixed![
    Member::new("name", Text, "Its name."),
    Member::new(
        "origin",
        Word(&["keys", "config", "api"]),
        "Where it stands: the keys `hook.on_*`, a `[[hook_endpoint]]` table, or added here."
    ),
    Member::new("url", Text, "Where it is, credentials hidden. Empty for `zlm`."),
    Member::new("hooks", list!(Text), "Of `zlm`: the hooks that are on.").optional(),
    Member::new(
        "events",
        list!(Text),
        "What it gets. Empty: all of Tidegate's own events."
    ),
    Member::new("except", list!(Text), "What it does not get."),
    Member::new("enabled", Bool, "It gets events."),
    Member::new(
        "disabled",
        Text,
        "Why it was switched off because of its failures; empty if it was not."
    ),
    Member::new("durable", Bool, "Its events are kept on disk."),
    Member::new("newest_wins", Bool, "Where it is held up, the newest state wins."),
    Member::new("secrets", Int, "By how many secrets its calls are signed."),
    Member::new(
        "breaker",
        Word(&["closed", "half_open", "open"]),
        "Its circuit breaker for notifications; `open` is a receiver that is not asked for now."
    ),
    Member::new("waiting", Int, "Events that it has not got yet."),
    Member::new(
        "oldest_ms",
        Int,
        "How long the oldest of them has waited, milliseconds."
    ),
    Member::new(
        "stored",
        Int,
        "How many of them are on disk, so that they outlive the process."
    ),
    Member::new("stored_bytes", Int, "Bytes that they take there."),
    Member::new(
        "last_success_unix_ms",
        Int,
        "When it last took an event; 0 is never."
    ),
    Member::new("last_failure_unix_ms", Int, "When it last failed; 0 is never."),
    Member::new("last_failure", Text, "How."),
]);

macro_rules! delivery {
    ($($more:expr),*) => {
        Object(fixed![
            Member::new("id", Text, "`webhook-id`."),
            Member::new("event", Text, "Name of the event."),
            Member::new("stream", Text, "The stream as `vhost/app/stream`, or empty."),
            Member::new("attempt", Int, "Which attempt of this event, from 1."),
            Member::new("replay", Bool, "It was sent again by hand."),
            Member::new("started_unix_ms", Int, "When the attempt began."),
            Member::new("queued_ms", Int, "How long the event had waited by then."),
            Member::new(
                "connect_ms",
                Int,
                "Resolving the name and connecting; absent on a kept connection."
            )
            .optional(),
            Member::new("tls_ms", Int, "The TLS handshake.").optional(),
            Member::new("first_byte_ms", Int, "From the start to the head of the answer.").optional(),
            Member::new("took_ms", Int, "The whole attempt."),
            Member::new("reused", Bool, "On a kept connection."),
            Member::new("status", Int, "HTTP status of the answer; 0 if there was none."),
            Member::new("result", Text, "`ok`, or the kind of failure."),
            Member::new(
                "detail",
                Text,
                "What went wrong, with the remedy if there is one."
            ),
            Member::new("answer", Text, "The first 4096 bytes of the answer."),
            $($more),*
        ])
    };
}

const DELIVERY: Shape = delivery![];

const TESTED: Shape = delivery![
    Member::new(
        "request",
        Object(fixed![
            Member::new("method", Text, "`POST`."),
            Member::new("url", Text, "Where it went, without credentials and query."),
            Member::new(
                "version",
                Word(&["HTTP/1.1", "HTTP/2"]),
                "Absent if there was no connection."
            )
            .optional(),
            Member::new(
                "headers",
                list!(Object(fixed![
                    Member::new("name", Text, "Its name."),
                    Member::new(
                        "value",
                        Text,
                        "Its value; `***` in place of credentials, and of the endpoint's own `headers`."
                    ),
                ])),
                "All headers as they were sent."
            ),
            Member::new(
                "body",
                Text,
                "The body, whose bytes are what `webhook-signature` signs."
            ),
        ]),
        "The request as it was sent; absent if it came to none."
    )
    .optional()
];

const LETTER: Shape = Object(fixed![
    Member::new("position", Int, "Its place; later ones have higher numbers."),
    Member::new("id", Text, "`webhook-id`."),
    Member::new("event", Text, "Name of the event."),
    Member::new("stream", Text, "The stream as `vhost/app/stream`, or empty."),
    Member::new("created_unix_ms", Int, "When it happened."),
    Member::new("failed_unix_ms", Int, "When it was given up."),
    Member::new("attempts", Int, "Attempts that were made."),
    Member::new("class", Text, "Kind of the last failure."),
    Member::new("status", Int, "Status of the last answer; 0 if there was none."),
    Member::new("detail", Text, "The last failure in words."),
    Member::new(
        "body",
        Text,
        "The body, without the members that belong to an attempt."
    ),
]);

pub const LIST: About = About::new(
    "Lists the receivers of hooks and how they are doing, that of the keys `hook.on_*` first.",
    Returns::Members(fixed![data(list!(ENDPOINT), "The endpoints.")]),
)
.own();

pub async fn list(call: Call) -> Answer {
    Ok(Reply::data(&call.server.hooks().endpoints()))
}

/// The fields of an endpoint by their parameters: `secret` is that of the API.
pub const FIELDS: [(&str, &str); 15] = [
    ("url", "url"),
    ("events", "events"),
    ("except", "except"),
    ("signing_secret", "secret"),
    ("old_secrets_until", "old_secrets_until"),
    ("headers", "headers"),
    ("durable", "durable"),
    ("newest_wins", "newest_wins"),
    ("timeout_sec", "timeout_sec"),
    ("enabled", "enabled"),
    ("ca_file", "ca_file"),
    ("cert_file", "cert_file"),
    ("key_file", "key_file"),
    ("pin_sha256", "pin_sha256"),
    ("insecure", "insecure"),
];

const fn field(name: &'static str, about: &'static str) -> Parameter {
    Parameter::new(name, Kind::Text(MAX_TEXT), about)
}

macro_rules! endpoint_parameters {
    ($($first:expr),*) => {
        fixed![
            $($first,)*
            field("events", "What it gets: names or beginnings of names with `*`, `,` between. Empty: all of Tidegate's own events."),
            field("except", "What it does not get, in the same form."),
            field("signing_secret", "Signs its calls: `whsec_` and 24 to 64 bytes in base64, several with `,` between."),
            Parameter::new("old_secrets_until", Kind::Int(0, i64::MAX), "When all secrets but the first end, in seconds since 1970."),
            Parameter::new("headers", Kind::Text(MAX_HEADERS), "Further headers, `Name: value` with `,` between."),
            Parameter::new("durable", Kind::Switch, "Its events are kept on disk; needs `hook.store_dir`."),
            Parameter::new("newest_wins", Kind::Switch, "Where a stream is held up, the newest state wins."),
            Parameter::new("timeout_sec", Kind::Number(0.05, 60.0), "Limit of one attempt, 0.05 to 60 s. Empty: `hook.timeoutSec`, at least 15 if durable."),
            Parameter::new("enabled", Kind::Switch, "It gets events."),
            field("ca_file", "PEM file of certificates to trust."),
            field("cert_file", "PEM file of the client's certificate."),
            field("key_file", "PEM file of its key."),
            Parameter::new("pin_sha256", Kind::Text(95), "SHA-256 of the one certificate that the receiver may have, in hexadecimal digits."),
            Parameter::new("insecure", Kind::Switch, "Accept any certificate."),
        ]
    };
}

const URL: Parameter = Parameter::new(
    "url",
    Kind::Text(MAX_URL_LEN),
    "Where it is: `http://` or `https://`.",
);

pub const ADD: About = About::new(
    "Adds a receiver of notifications. With `hook.store_dir` it outlives a restart.",
    Returns::Members(fixed![data(
        Object(fixed![
            Member::new("name", Text, "Its name."),
            Member::new(
                "signing_secret",
                Text,
                "The secret that was made for it; absent if one was given. It is not shown again."
            )
            .optional(),
        ]),
        "What was added.",
    )]),
)
.takes(endpoint_parameters![NAME.required(), URL.required()])
.own();

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<&'a str>,
}

/// The fields that are given.
fn fields(call: &Call) -> Vec<(String, String)> {
    let given = FIELDS.iter().filter_map(|(parameter, field)| {
        let text = call.args.exact(parameter)?;
        Some(((*field).to_owned(), text.into_owned()))
    });
    given.collect()
}

pub async fn add(call: Call) -> Answer {
    let name = call.args.text("name").into_owned();
    let mut fields = fields(&call);
    fields.push(("name".to_owned(), name.clone()));
    let made = call.server.hooks().add_endpoint(&fields).await?;
    Ok(Reply::data(&Named {
        name: &name,
        signing_secret: made.as_ref().map(config::Secret::expose),
    }))
}

pub const SET: About = About::new(
    "Changes the given fields of an endpoint that was added; an empty one takes its value back.",
    Returns::Members(fixed![]),
)
.takes(endpoint_parameters![NAME.required(), URL])
.own();

pub async fn set(call: Call) -> Answer {
    let name = call.args.text("name");
    call.server.hooks().change_endpoint(&name, &fields(&call)).await?;
    Ok(Reply::success())
}

pub const DELETE: About = About::new(
    "Removes an endpoint that was added, with all that is kept for it.",
    Returns::Members(fixed![]),
)
.takes(fixed![NAME.required()])
.own();

pub async fn delete(call: Call) -> Answer {
    call.server.hooks().remove_endpoint(&call.args.text("name"))?;
    Ok(Reply::success())
}

pub const ROTATE: About = About::new(
    "Gives an endpoint that was added a new secret. The one before signs, too, for 24 hours.",
    Returns::Members(fixed![data(
        Object(fixed![
            Member::new("name", Text, "Its name."),
            Member::new("signing_secret", Text, "The new secret. It is not shown again."),
        ]),
        "The secret.",
    )]),
)
.takes(fixed![NAME.required()])
.own();

pub async fn rotate(call: Call) -> Answer {
    let name = call.args.text("name");
    let secret = call.server.hooks().rotate_secret(&name)?;
    Ok(Reply::data(&Named {
        name: &name,
        signing_secret: Some(secret.expose()),
    }))
}

pub const ENABLE: About = About::new(
    "Switches an endpoint on again that was switched off because of its failures.",
    Returns::Members(fixed![data(ENDPOINT, "How it is doing.")]),
)
.takes(fixed![NAME.required()])
.own();

pub async fn enable(call: Call) -> Answer {
    let name = call.args.text("name");
    call.server.hooks().enable_endpoint(&name)?;
    let status: EndpointStatus = call.server.hooks().endpoint(&name)?;
    Ok(Reply::data(&status))
}

pub const TEST: About = About::new(
    "Sends an example of an event to an endpoint, once, and shows the request and what came of it. To `zlm` questions can be sent, too; nothing follows from the answer.",
    Returns::Members(fixed![data(TESTED, "The attempt.")]),
)
.takes(fixed![
    NAME.required(),
    Parameter::new("event", Kind::Text(64), "Name of the event.").required(),
])
.own();

pub async fn test(call: Call) -> Answer {
    let (name, event) = (call.args.text("name"), call.args.text("event"));
    let tested = call.server.hooks().test(&name, &event).await?;
    Ok(Reply::data(&tested))
}

pub const DELIVERIES: About = About::new(
    "Lists the last attempts to an endpoint, the newest first; 1000 are kept.",
    Returns::Members(fixed![data(list!(DELIVERY), "The attempts.")]),
)
.takes(fixed![
    NAME.or(KEYED),
    EVENT,
    Parameter::new(
        "result",
        Kind::Text(32),
        "Only attempts with this result: `ok`, a kind of failure, or `failed` for all that are not `ok`.",
    ),
    COUNT,
])
.own();

pub async fn deliveries(call: Call) -> Answer {
    let (event, result) = (call.args.get("event"), call.args.get("result"));
    let listed = call.server.hooks().deliveries(
        &name_or_keyed(&call),
        count(&call),
        event.as_deref(),
        result.as_deref(),
    )?;
    Ok(Reply::data(&listed))
}

pub const DEAD: About = About::new(
    "Lists notifications of an endpoint that were given up, the oldest first.",
    Returns::Members(fixed![data(list!(LETTER), "The dead letters.")]),
)
.takes(fixed![
    NAME.or(KEYED),
    EVENT,
    FROM,
    UNTIL,
    Parameter::new(
        "after",
        Kind::Int(0, i64::MAX),
        "Only those behind this `position`."
    )
    .or("0"),
    COUNT,
])
.own();

pub async fn dead(call: Call) -> Answer {
    let after = call.args.int("after").and_then(|after| u64::try_from(after).ok());
    let hooks = call.server.hooks();
    let listed = hooks
        .dead_letters(
            &name_or_keyed(&call),
            after.unwrap_or(0),
            count(&call),
            filter(&call),
        )
        .await?;
    Ok(Reply::data(&listed))
}

pub const REPLAY: About = About::new(
    "Sends dead letters again: those of `ids`, or else those that the filters let through, at most 1000 of them. They keep their ids.",
    Returns::Members(fixed![Member::new("count_replayed", Int, "How many wait to be sent again.")]),
)
.takes(fixed![
    NAME.or(KEYED),
    Parameter::new("ids", Kind::Text(MAX_IDS), "Their ids with `,` between; about 500 at most."),
    EVENT,
    FROM,
    UNTIL,
])
.own();

#[derive(Serialize)]
struct Replayed {
    count_replayed: usize,
}

pub async fn replay(call: Call) -> Answer {
    let ids = call.args.text("ids");
    let ids = ids.split(',').map(str::trim).filter(|id| !id.is_empty());
    let ids: Vec<_> = ids.take(MAX_REPLAY).map(str::to_owned).collect();
    let hooks = call.server.hooks();
    let count_replayed = hooks.replay(&name_or_keyed(&call), ids, filter(&call)).await?;
    Ok(Reply::new(&Replayed { count_replayed }))
}

pub const PURGE: About = About::new(
    "Deletes dead letters of an endpoint: those that the filters let through.",
    Returns::Members(fixed![Member::new("count_purged", Int, "How many that were.")]),
)
.takes(fixed![NAME.required(), EVENT, FROM, UNTIL])
.own();

#[derive(Serialize)]
struct Purged {
    count_purged: usize,
}

pub async fn purge(call: Call) -> Answer {
    let hooks = call.server.hooks();
    let count_purged = hooks.purge(&call.args.text("name"), filter(&call)).await?;
    Ok(Reply::new(&Purged { count_purged }))
}

pub const FLUSH: About = About::new(
    "Withdraws kept verdicts of hooks, all or those that the filters let through, so that the receiver is asked again.",
    Returns::Members(fixed![Member::new(
        "count_flushed",
        Int,
        "How many verdicts would have been served without asking."
    )]),
)
.takes(fixed![
    Parameter::new("vhost", Kind::Text(MAX_NAME_LEN), "Only of this virtual host."),
    Parameter::new("app", Kind::Text(MAX_NAME_LEN), "Only of this application."),
    Parameter::new("stream", Kind::Text(MAX_NAME_LEN), "Only of streams of exactly this name."),
])
.own();

#[derive(Serialize)]
struct Flushed {
    count_flushed: usize,
}

pub async fn flush(call: Call) -> Answer {
    let [vhost, app, stream] = ["vhost", "app", "stream"].map(|name| call.args.get(name));
    let filter = Filter {
        vhost: vhost.as_deref(),
        app: app.as_deref(),
        stream: stream.as_deref(),
    };
    Ok(Reply::new(&Flushed {
        count_flushed: call.server.flush_hook_cache(&filter),
    }))
}

fn name_or_keyed(call: &Call) -> String {
    let name = call.args.get("name");
    name.map_or_else(|| KEYED.to_owned(), |name| name.into_owned())
}

fn count(call: &Call) -> usize {
    let count = call.args.int("count").unwrap_or(100).clamp(1, MAX_LISTED);
    usize::try_from(count).unwrap_or(100)
}

fn filter(call: &Call) -> store::Filter {
    let time = |name| call.args.int(name).and_then(|time| u64::try_from(time).ok());
    store::Filter {
        from_unix_ms: time("from_unix_ms"),
        until_unix_ms: time("until_unix_ms").filter(|until| *until > 0),
        event: call.args.get("event").map(|event| event.into_owned()),
    }
}

impl From<OpsError> for Failure {
    fn from(error: OpsError) -> Self {
        let text = error.to_string();
        match error {
            OpsError::NoStore | OpsError::Store(_) => Self::Failed(text),
            OpsError::Unknown { .. }
            | OpsError::Taken(_)
            | OpsError::TooMany
            | OpsError::Configured(_)
            | OpsError::Fields(_)
            | OpsError::Event(_) => Self::InvalidArgs(text),
        }
    }
}
