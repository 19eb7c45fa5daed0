//! The server itself: version, load, configuration, restart.

use crate::dispatch::Call;
use crate::outside::{Pool, SetResult, WorkerLoad};
use crate::reply::{Answer, Reply};
use crate::routes;
use serde::Serialize;
use std::collections::BTreeMap;

pub async fn api_list(_: Call) -> Answer {
    let mut paths: Vec<String> = routes::ROUTES
        .iter()
        .map(|route| format!("{}{}", routes::PREFIX, route.name))
        .collect();
    paths.push(routes::ROOT.to_owned());
    paths.sort_unstable();
    Ok(Reply::list(&paths))
}

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

pub async fn threads_load(call: Call) -> Answer {
    Ok(load(call.server.load(Pool::Event).await))
}

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

pub async fn statistic(call: Call) -> Answer {
    Ok(Reply::data(&call.server.statistic()))
}

pub async fn config(call: Call) -> Answer {
    Ok(Reply::data(&[call.config.flat().collect::<BTreeMap<_, _>>()]))
}

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
