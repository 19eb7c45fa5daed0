//! Sources that Tidegate connects to.

mod http_flv;
mod rtmp;

use crate::app::App;
use crate::control::SockSlot;
use crate::link::Granted;
use crate::session::ingest::flv::Ingest;
use hub::PublishError;
use lifecycle::op::PullSpec;
use lifecycle::{Event, JobId};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// How long a source may send nothing (`media_timeout_ms` of the request; lifecycle.md, section 10).
const MEDIA_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a pull whose stream was kept waits for its former attempt to let go of it.
const LEASE_PATIENCE: Duration = Duration::from_secs(2);

/// One attempt, from connecting to the end of the source.
struct Attempt {
    app: Arc<App>,
    job: JobId,
    spec: PullSpec,
    accepted: Option<oneshot::Receiver<Granted>>,
    sock: SockSlot,
    media_timeout: Duration,
}

/// Pulls until the source ends or fails; returns why.
pub async fn run(
    app: Arc<App>,
    job: JobId,
    spec: PullSpec,
    accepted: oneshot::Receiver<Granted>,
    sock: SockSlot,
) -> String {
    let option = |name: &str| {
        spec.client_options
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let media_timeout = option("media_timeout_ms")
        .and_then(|value| value.parse().ok())
        .filter(|ms| *ms > 0);
    let media_timeout = media_timeout.map_or(MEDIA_TIMEOUT, Duration::from_millis);
    let rtmp = matches!(spec.url.split_once("://"), Some((scheme, _)) if scheme.to_ascii_lowercase().starts_with("rtmp"));
    let attempt = Attempt {
        app,
        job,
        spec,
        accepted: Some(accepted),
        sock,
        media_timeout,
    };
    if rtmp {
        rtmp::run(attempt).await
    } else {
        http_flv::run(attempt).await
    }
}

impl Attempt {
    /// Says that the source is open, and waits for the right to feed its stream.
    async fn opened(&mut self) -> Result<Ingest, String> {
        self.app.link.raise(Event::PullOpened { job: self.job });
        let accepted = self.accepted.take().ok_or("the source opened twice")?;
        let granted = accepted.await.map_err(|_| "stopped".to_owned())?;
        let started = Instant::now();
        loop {
            match Ingest::new(&granted, self.app.link.clone()) {
                Ok(ingest) => return Ok(ingest),
                Err(PublishError::Busy) if started.elapsed() < LEASE_PATIENCE => {
                    sleep(Duration::from_millis(10)).await
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// A step towards the open source, within the time that is left for it.
    async fn within<T>(
        &self,
        began: Instant,
        protocol: &str,
        step: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        let left = self.spec.timeout.saturating_sub(began.elapsed());
        timeout(left, step)
            .await
            .unwrap_or_else(|_| Err(format!("play {protocol} timeout")))
    }
}
