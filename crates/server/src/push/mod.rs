//! Streams that are sent on to other servers.

mod rtmp;
mod rtsp;

use crate::app::App;
use hub::Stream;
use lifecycle::JobId;
use lifecycle::op::PushSpec;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Pushes until the remote or the stream ends, or `stop`; returns why.
pub async fn run(
    app: Arc<App>,
    job: JobId,
    spec: PushSpec,
    stream: Arc<Stream>,
    stop: CancellationToken,
) -> String {
    let (scheme, _) = spec.dst_url.split_once("://").unwrap_or_default();
    let pushed = match scheme.to_ascii_lowercase().as_str() {
        "rtsp" | "rtsps" => rtsp::push(&app, job, &spec, &stream, &stop).await,
        _ => rtmp::push(&app, job, &spec, &stream, &stop).await,
    };
    match pushed {
        Ok(reason) | Err(reason) => reason,
    }
}
