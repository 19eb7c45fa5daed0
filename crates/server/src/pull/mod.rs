//! Sources that Tidegate connects to.

mod hls;
mod http;
mod http_flv;
mod http_ts;
mod rtmp;
mod rtsp;

use crate::app::App;
use crate::control::SockSlot;
use crate::link::Granted;
use crate::session::ingest::Feed;
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

/// The source has ended, in ZLM's words.
const END: &str = "end of file";

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
    let kind = Kind::of(&attempt.spec.url, attempt.option("schema").unwrap_or_default());
    let running = async {
        match kind {
            // It says goodbye when it is stopped.
            Kind::Rtsp => rtsp::run(attempt).await,
            Kind::Rtmp => rtmp::run(attempt).await,
            Kind::HttpFlv => http_flv::run(attempt).await,
            Kind::HttpTs => http_ts::run(attempt).await,
            Kind::Hls => hls::run(attempt).await,
        }
    };
    if kind == Kind::Rtsp {
        return running.await;
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => "stopped".to_owned(),
        reason = running => reason,
    }
}

/// What a source speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rtsp,
    Rtmp,
    HttpFlv,
    HttpTs,
    Hls,
}

impl Kind {
    /// By the scheme of a URL that can be pulled; what an HTTP URL leads to is said by `schema`, else by the end of its path.
    fn of(url: &str, schema: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let is = |text: &str, names: &[&str]| names.iter().any(|name| text.eq_ignore_ascii_case(name));
        if is(scheme, &["rtsp", "rtsps"]) {
            return Self::Rtsp;
        }
        if is(scheme, &["rtmp", "rtmps"]) {
            return Self::Rtmp;
        }
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let suffix = path.rsplit_once('.').map_or("", |(_, suffix)| suffix);
        if is(schema, &["hls"]) {
            Self::Hls
        } else if is(schema, &["ts"]) {
            Self::HttpTs
        } else if is(schema, &["flv"]) {
            Self::HttpFlv
        } else if is(suffix, &["m3u8"]) {
            Self::Hls
        } else if is(suffix, &["ts"]) {
            Self::HttpTs
        } else {
            Self::HttpFlv
        }
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

    /// The same for sources whose frames come by themselves.
    async fn feed(&mut self) -> Result<Feed, String> {
        let granted = self.granted().await?;
        let link = self.app.link.clone();
        self.leased(|| Feed::new(&granted, link.clone())).await
    }

    /// Asks for what is pulled over HTTP, all in one answer.
    async fn answer(
        &self,
        began: Instant,
        protocol: &str,
        client: &mut http::Client,
    ) -> Result<http::Answer, String> {
        let source = client.source().clone();
        let answer = async {
            let answer = client.get(&source, None, u64::MAX).await;
            answer.map_err(|error| error.to_string())
        };
        self.within(began, protocol, answer).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_and_its_schema_say_what_a_source_speaks() {
        for (url, schema, kind) in [
            ("RTSPS://cam/1", "", Kind::Rtsp),
            ("rtmp://h/a/b.m3u8", "hls", Kind::Rtmp),
            ("http://h/a.M3U8?x=.ts", "", Kind::Hls),
            ("https://h/a/b.live.ts#.flv", "", Kind::HttpTs),
            ("https://h/a/b.live.flv", "", Kind::HttpFlv),
            ("http://h/a", "HLS", Kind::Hls),
            ("http://h/a", "ts", Kind::HttpTs),
            ("http://h/a.ts", "flv", Kind::HttpFlv),
            ("http://h/a.m3u8", "unknown", Kind::Hls),
            ("http://h/a", "", Kind::HttpFlv),
        ] {
            assert_eq!(Kind::of(url, schema), kind, "{url} {schema}");
        }
    }
}
