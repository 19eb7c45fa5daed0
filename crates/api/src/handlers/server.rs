//! The server itself: version, load, configuration, restart.

use crate::describe::Shape::{Int, List, Map, Object, Text};
use crate::describe::{About, Kind, Member, Parameter, Returns, data};
use crate::describe::{fixed, list};
use crate::dispatch::Call;
use crate::openapi;
use crate::outside::{Pool, SetResult, WorkerLoad};
use crate::reply::{Answer, Reply};
use crate::routes;
use serde::Serialize;
use std::collections::BTreeMap;

pub const API_LIST: About = About::new(
    "Lists the paths of all endpoints.",
    Returns::Members(fixed![data(List(&Text), "The paths, sorted.")]),
);

pub async fn api_list(_: Call) -> Answer {
    let mut paths: Vec<String> = routes::ROUTES
        .iter()
        .map(|route| format!("{}{}", routes::PREFIX, route.name))
        .collect();
    paths.push(routes::ROOT.to_owned());
    paths.sort_unstable();
    Ok(Reply::list(&paths))
}

pub const OPENAPI: About = About::new(
    "This document.",
    Returns::Document("OpenAPI 3.1, JSON. Needs no secret, because it holds none."),
)
.own();

pub async fn openapi(_: Call) -> Answer {
    Ok(Reply::document(openapi::text()))
}

pub const VERSION: About = About::new(
    "Tells which build this is.",
    Returns::Members(fixed![data(
        Object(fixed![
            Member::new("branchName", Text, "Branch of the source."),
            Member::new("buildTime", Text, "When it was built, or `unknown`."),
            Member::new(
                "commitHash",
                Text,
                "Commit of the source, or the version of Tidegate."
            ),
        ]),
        "The build.",
    )]),
);

/// Names of the build. `TIDEGATE_BRANCH`, `TIDEGATE_COMMIT` and `TIDEGATE_BUILD_TIME` are set by whoever builds a release.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    branch_name: &'static str,
    build_time: &'static str,
    commit_hash: &'static str,
}

pub async fn version(_: Call) -> Answer {
    Ok(Reply::data(&Version {
        branch_name: option_env!("TIDEGATE_BRANCH").unwrap_or("main"),
        build_time: option_env!("TIDEGATE_BUILD_TIME").unwrap_or("unknown"),
        commit_hash: option_env!("TIDEGATE_COMMIT")
            .unwrap_or(concat!("tidegate-", env!("CARGO_PKG_VERSION"))),
    }))
}

#[derive(Serialize)]
struct Load {
    name: String,
    load: u32,
    delay: u64,
    fd_count: u64,
}

const LOAD: Returns = Returns::Members(fixed![data(
    list!(Object(fixed![
        Member::new("name", Text, "Name of the thread."),
        Member::new("load", Int, "Busy share of the last seconds, percent."),
        Member::new(
            "delay",
            Int,
            "How long a new task waits for its turn, milliseconds."
        ),
        Member::new("fd_count", Int, "Open descriptors that it serves."),
    ])),
    "One entry per thread.",
)]);

pub const THREADS_LOAD: About = About::new("Tells the load of the threads that serve connections.", LOAD);

pub async fn threads_load(call: Call) -> Answer {
    Ok(load(call.server.load(Pool::Event).await))
}

pub const WORK_THREADS_LOAD: About =
    About::new("Tells the load of the threads that do background work.", LOAD);

pub async fn work_threads_load(call: Call) -> Answer {
    Ok(load(call.server.load(Pool::Work).await))
}

fn load(workers: Vec<WorkerLoad>) -> Reply {
    let entry = |WorkerLoad {
                     name,
                     load,
                     delay_ms,
                     fd_count,
                 }| Load {
        name,
        load,
        delay: delay_ms,
        fd_count,
    };
    Reply::data(&workers.into_iter().map(entry).collect::<Vec<_>>())
}

pub const STATISTIC: About = About::new(
    "Counts objects, under the names of ZLM's classes.",
    Returns::Members(fixed![data(
        Map(&Int),
        "Counts by name. What has no counterpart here is 0."
    )]),
);

pub async fn statistic(call: Call) -> Answer {
    Ok(Reply::data(&call.server.statistic()))
}

pub const CONFIG: About = About::new(
    "Shows the whole configuration, `api.secret` included, as ZLM does.",
    Returns::Members(fixed![data(
        List(&Map(&Text)),
        "One object of all keys as `section.key`, all values text.",
    )]),
);

pub async fn config(call: Call) -> Answer {
    Ok(Reply::data(&[call.config.flat().collect::<BTreeMap<_, _>>()]))
}

pub const SET_CONFIG: About = About::new(
    "Changes the configuration and saves it.",
    Returns::Members(fixed![
        Member::new("changed", Int, "How many values are now different."),
        Member::new(
            "msg",
            Text,
            "The values that were refused, and what is allowed. Absent if there is none. Not in ZLM.",
        )
        .optional(),
    ]),
)
.takes(fixed![Parameter::new(
    "keys",
    Kind::ConfigKeys,
    "Any keys, exact case, as `hook.enable=1`. An empty value clears the key. Unknown names are ignored, and so are `ffmpeg.bin` and \
     `ffmpeg.snap`, which only the file can change.",
)]);

#[derive(Serialize)]
struct Changed {
    changed: usize,
    /// The values that were refused, and what is allowed. Not in ZLM, which stores any text. Absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<String>,
}

/// Takes the parameters that are keys of the configuration. Whether a key may be changed, and the value be had, is decided
/// there. A refused value is no failure: ZLM knows none here, and the other changes are made.
pub async fn set_config(call: Call) -> Answer {
    let given = |(key, _): (&str, &str)| {
        call.args
            .exact(key)
            .map(|value| (key.to_owned(), value.into_owned()))
    };
    let changes = call.config.flat().filter_map(given).collect();
    let SetResult { changed, rejected } = call.server.set_config(changes).await;
    let reasons: Vec<String> = rejected.iter().map(ToString::to_string).collect();
    Ok(Reply::new(&Changed {
        changed,
        msg: (!reasons.is_empty()).then(|| reasons.join(". ")),
    }))
}

pub const RESTART: About = About::new(
    "Restarts the server in about one second.",
    Returns::Members(fixed![Member::new("msg", Text, "That it will be done.")]),
);

#[derive(Serialize)]
struct Message {
    msg: &'static str,
}

pub async fn restart(call: Call) -> Answer {
    call.server.restart();
    Ok(Reply::new(&Message {
        msg: "MediaServer will reboot in on 1 second",
    }))
}
