//! Verdicts of hooks that are kept. Not in ZLM.

use crate::dispatch::Call;
use crate::reply::{Answer, Reply};
use hooks::admission::Filter;
use serde::Serialize;

#[derive(Serialize)]
struct Flushed {
    count_flushed: usize,
}

/// Withdraws the kept verdicts that the filters `vhost`, `app` and `stream` let through, so that the receiver is asked again. The filters are
/// compared literally, as those of `close_streams`.
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
