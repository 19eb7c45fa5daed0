//! Opening streams that somebody waits for: one call to the API for each stream, however many wait.

use crate::api::Api;
use crate::rules::stream::Opening;
use config::Via;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// How much longer than the source the API may take to answer.
const MARGIN: Duration = Duration::from_millis(1500);

/// A stream on a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The server's `general.mediaServerId`.
    pub server: String,
    /// Virtual host.
    pub vhost: String,
    /// App.
    pub app: String,
    /// Stream.
    pub stream: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The source is there.
    Yes,
    /// It is not, and why.
    No(Arc<str>),
}

type Flight = Shared<BoxFuture<'static, Opened>>;

/// The openings under way.
#[derive(Clone, Default)]
pub struct Opener {
    flights: Arc<Mutex<Flights>>,
}

#[derive(Default)]
struct Flights {
    by_stream: HashMap<StreamId, (u64, WeakShared<BoxFuture<'static, Opened>>)>,
    last: u64,
}

/// Takes a flight off the list when it has ended, or when nobody waits for it any more.
struct Landing {
    flights: Arc<Mutex<Flights>>,
    id: StreamId,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        // Another one may have begun meanwhile.
        if flights
            .by_stream
            .get(&self.id)
            .is_some_and(|(number, _)| *number == self.number)
        {
            flights.by_stream.remove(&self.id);
        }
    }
}

impl Opener {
    /// Opens a stream, or waits for the opening that is under way. When all who wait have left, the call is given up; the server
    /// that has begun to open the source goes on, and says "already exists" to the next one.
    pub async fn open(&self, api: &Arc<Api>, id: StreamId, opening: Opening) -> Opened {
        let api = api.clone();
        self.join(id, |id| async move { add(&api, &id, &opening).await })
            .await
    }

    /// Openings under way.
    pub fn under_way(&self) -> usize {
        self.flights.lock().by_stream.len()
    }

    async fn join<F>(&self, id: StreamId, open: impl FnOnce(StreamId) -> F) -> Opened
    where
        F: Future<Output = Opened> + Send + 'static,
    {
        let flight = {
            let mut flights = self.flights.lock();
            let under_way = flights
                .by_stream
                .get(&id)
                .and_then(|(_, flight)| flight.upgrade());
            under_way.unwrap_or_else(|| {
                flights.last += 1;
                let number = flights.last;
                let landing = Landing {
                    flights: self.flights.clone(),
                    id: id.clone(),
                    number,
                };
                let opening = open(id.clone());
                let flight: Flight = async move {
                    let _landing = landing;
                    opening.await
                }
                .boxed()
                .shared();
                let weak = flight
                    .downgrade()
                    .expect("it has not been polled, so it has not ended");
                flights.by_stream.insert(id, (number, weak));
                flight
            })
        };
        flight.await
    }
}

async fn add(api: &Api, id: &StreamId, opening: &Opening) -> Opened {
    let timeout = opening.timeout;
    let reply = match opening.via {
        Via::Pull => {
            let seconds = timeout.as_secs_f64().to_string();
            let mut params = vec![
                ("vhost", id.vhost.as_str()),
                ("app", &id.app),
                ("stream", &id.stream),
                ("url", &opening.url),
                ("timeout_sec", &seconds),
            ];
            params.extend(pairs(opening));
            api.call("addStreamProxy", &params, timeout + MARGIN).await
        }
        Via::Ffmpeg => {
            let Some(destination) = api.server.publish_url(&id.vhost, &id.app, &id.stream) else {
                let why =
                    "a name with other characters than A-Z a-z 0-9 - . _ ~ / cannot be published by FFmpeg";
                return Opened::No(why.into());
            };
            let milliseconds = timeout.as_millis().to_string();
            let mut params = vec![
                ("src_url", opening.url.as_str()),
                ("dst_url", &destination),
                ("timeout_ms", &milliseconds),
            ];
            params.extend(pairs(opening));
            api.call("addFFmpegSource", &params, timeout + MARGIN).await
        }
    };
    let why = match reply {
        Ok(reply) if reply.code == 0 || reply.is_already_there() => {
            info!(app = id.app, stream = id.stream, "opened");
            return Opened::Yes;
        }
        Ok(reply) => format!("code {}: {}", reply.code, reply.msg),
        Err(error) => error.to_string(),
    };
    // The server may repeat the URL, and credentials stand in it.
    let why = config::secret::mask_credentials(&why).into_owned();
    warn!(app = id.app, stream = id.stream, "not opened: {why}");
    Opened::No(why.into())
}

fn pairs(opening: &Opening) -> impl Iterator<Item = (&str, &str)> {
    opening
        .params
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    fn id(stream: &str) -> StreamId {
        StreamId {
            server: "s".to_owned(),
            vhost: "v".to_owned(),
            app: "live".to_owned(),
            stream: stream.to_owned(),
        }
    }

    #[tokio::test]
    async fn all_who_wait_for_a_stream_share_one_call() {
        let opener = Opener::default();
        let (calls, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let join = |stream: &str| {
            let (calls, gate, opener, id) = (calls.clone(), gate.clone(), opener.clone(), id(stream));
            async move {
                let open = |_| async move {
                    calls.fetch_add(1, Ordering::SeqCst);
                    gate.acquire().await.unwrap().forget();
                    Opened::Yes
                };
                opener.join(id, open).await
            }
        };
        let mut waiting =
            futures_util::future::join_all((0..50).map(|n| join(if n == 0 { "b" } else { "a" })));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        gate.add_permits(2);
        assert!(waiting.await.iter().all(|opened| *opened == Opened::Yes));
        assert_eq!(calls.load(Ordering::SeqCst), 2, "one for each stream");
        assert_eq!(opener.under_way(), 0);

        gate.add_permits(1);
        assert_eq!(join("a").await, Opened::Yes);
        assert_eq!(
            calls.load(Ordering::SeqCst),
            3,
            "what has ended is not remembered"
        );
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_any_more_is_given_up() {
        let opener = Opener::default();
        let never = |_| std::future::pending::<Opened>();
        let mut first = Box::pin(opener.join(id("a"), never));
        let mut second = Box::pin(opener.join(id("a"), never));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(opener.under_way(), 1);
        drop(second);
        assert_eq!(opener.under_way(), 0);
        assert_eq!(opener.join(id("a"), |_| async { Opened::Yes }).await, Opened::Yes);
    }
}
