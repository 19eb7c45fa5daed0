//! Sources that Tidegate connects to.

mod http_flv;
mod rtmp;
mod rtsp;

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
use tokio_util::sync::CancellationToken;

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
    stop: CancellationToken,
}

/// Pulls until the source ends or fails, or it is stopped; returns why.
pub async fn run(
    app: Arc<App>,
    job: JobId,
    spec: PullSpec,
    accepted: oneshot::Receiver<Granted>,
    sock: SockSlot,
    stop: CancellationToken,
) -> String {
    let mut attempt = Attempt {
        app,
        job,
        spec,
        accepted: Some(accepted),
        sock,
        media_timeout: MEDIA_TIMEOUT,
        stop: stop.clone(),
    };
    let media_timeout = attempt
        .option("media_timeout_ms")
        .and_then(|value| value.parse().ok());
    if let Some(time) = media_timeout.filter(|ms| *ms > 0) {
        attempt.media_timeout = Duration::from_millis(time);
    }
    let scheme = attempt
        .spec
        .url
        .split_once("://")
        .map_or("", |(scheme, _)| scheme)
        .to_ascii_lowercase();
    // It says goodbye when it is stopped.
    if matches!(scheme.as_str(), "rtsp" | "rtsps") {
        return rtsp::run(attempt).await;
    }
    let running = async {
        match scheme.as_str() {
            "rtmp" | "rtmps" => rtmp::run(attempt).await,
            _ => http_flv::run(attempt).await,
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => "stopped".to_owned(),
        reason = running => reason,
    }
}

impl Attempt {
    /// An option of the request.
    fn option(&self, name: &str) -> Option<&str> {
        let options = &self.spec.client_options;
        options
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// `custom_header` of the request: `Name=value`, several with `&` (api.md, section 2.5).
    fn custom_headers(&self) -> Vec<(String, String)> {
        let pairs = self.option("custom_header").unwrap_or_default().split('&');
        let header = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        pairs.filter_map(header).collect()
    }

    /// Says that the source is open, and waits for the right to feed its stream.
    async fn granted(&mut self) -> Result<Granted, String> {
        self.app.link.raise(Event::PullOpened { job: self.job });
        let accepted = self.accepted.take().ok_or("the source opened twice")?;
        accepted.await.map_err(|_| "stopped".to_owned())
    }

    /// The same for sources of FLV.
    async fn opened(&mut self) -> Result<Ingest, String> {
        let granted = self.granted().await?;
        let link = self.app.link.clone();
        self.leased(|| Ingest::new(&granted, link.clone())).await
    }

    /// Takes the right to write to a granted stream, which its former attempt may still hold for a moment.
    async fn leased<T>(&self, take: impl Fn() -> Result<T, PublishError>) -> Result<T, String> {
        let started = Instant::now();
        loop {
            match take() {
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
