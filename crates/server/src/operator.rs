//! The API's view of the running server.

use crate::app::App;
use crate::{files, probe};
use api::outside::MAX_PROBED;
use api::{Download, Pool, ProbedFrame, Server, SessionView, SetResult, Traffic, WorkerLoad};
use async_trait::async_trait;
use axum::body::Body;
use axum::http::Response;
use config::Config;
use hooks::object::Statistic;
use lifecycle::{JobId, Op, OpError, OpReply};
use media::info::MediaInfo;
use media::{Schema, StreamKey};
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tracing::info;

/// Hands the API's questions to whoever knows.
#[derive(Clone)]
pub struct Operator(pub Arc<App>);

#[async_trait]
impl Server for Operator {
    async fn operate(&self, op: Op) -> Result<OpReply, OpError> {
        self.0.link.operate(op).await
    }

    fn config(&self) -> Arc<Config> {
        self.0.config()
    }

    async fn set_config(&self, changes: Vec<(String, String)>) -> SetResult {
        self.0.change_config(&changes).await
    }

    fn media(&self) -> Vec<MediaInfo> {
        let now = Instant::now();
        let mut all = Vec::new();
        for stream in self.0.hub.streams() {
            all.extend(
                self.0
                    .registered(&stream)
                    .into_iter()
                    .map(|schema| stream.info(schema, now)),
            );
        }
        all
    }

    fn media_one(&self, key: &StreamKey, schema: Option<Schema>) -> Option<MediaInfo> {
        let stream = self.0.hub.get(key)?;
        let registered = self.0.registered(&stream);
        let schema = Schema::ALL
            .into_iter()
            .find(|one| registered.contains(one) && schema.is_none_or(|only| only == *one))?;
        Some(stream.info(schema, Instant::now()))
    }

    fn players(&self, key: &StreamKey, schema: Schema) -> Option<Vec<SessionView>> {
        let stream = self.0.hub.get(key)?;
        self.0
            .registered(&stream)
            .contains(&schema)
            .then(|| self.0.sessions.players(key, schema))
    }

    fn sessions(&self) -> Vec<SessionView> {
        self.0.sessions.views()
    }

    fn traffic(&self, job: JobId) -> Traffic {
        let meter = self.0.traffic.lock().get(&job).cloned();
        meter.map_or_else(Traffic::default, |meter| Traffic {
            bytes_speed: meter.speed(Instant::now()),
            total_bytes: meter.total(),
        })
    }

    fn is_own_address(&self, host: &str, port: u16) -> bool {
        let ports = self.0.ports.get().copied().unwrap_or_default();
        ports.open().any(|open| open == port) && is_this_machine(host)
    }

    fn statistic(&self) -> Statistic {
        self.0.statistic()
    }

    async fn load(&self, pool: Pool) -> Vec<WorkerLoad> {
        let before = Instant::now();
        tokio::task::yield_now().await;
        let delay_ms = u64::try_from(before.elapsed().as_millis()).unwrap_or(u64::MAX);
        match pool {
            Pool::Event => {
                let writers = self.0.egress.views();
                let players: u64 = writers.iter().map(|view| view.viewers as u64).sum();
                let descriptors = descriptors().saturating_sub(players);
                let loads = self.0.counters.worker_loads();
                let count = loads.len().max(1) as u64;
                let entry = |(number, load): (usize, u32)| WorkerLoad {
                    name: format!("event poller {number}"),
                    load,
                    delay_ms,
                    fd_count: descriptors / count,
                };
                let writer = |(number, view): (usize, egress::WorkerView)| WorkerLoad {
                    name: format!("egress {number}"),
                    load: (view.busy * 100.0) as u32,
                    delay_ms: 0,
                    fd_count: view.viewers as u64,
                };
                let pollers = loads.into_iter().enumerate().map(entry);
                pollers
                    .chain(writers.into_iter().enumerate().map(writer))
                    .collect()
            }
            Pool::Work => {
                vec![WorkerLoad {
                    name: "work poller 0".to_owned(),
                    load: 0,
                    delay_ms,
                    fd_count: 0,
                }]
            }
        }
    }

    fn hooks(&self) -> &hooks::Hooks {
        &self.0.hooks
    }

    fn flush_hook_cache(&self, filter: &hooks::admission::Filter<'_>) -> usize {
        self.0.hooks.withdraw_verdicts(filter)
    }

    async fn probe(&self, key: &StreamKey, time: Duration) -> Option<Vec<ProbedFrame>> {
        let stream = self.0.hub.get(key)?;
        probe::watch(&stream, time, MAX_PROBED).await
    }

    async fn download(&self, download: Download<'_>) -> Response<Body> {
        files::download(&self.0, download).await
    }

    fn restart(&self) {
        let app = self.0.clone();
        info!("the API asks for a restart");
        tokio::spawn(async move {
            sleep(Duration::from_secs(1)).await;
            app.restart.notify_one();
        });
    }
}

impl App {
    /// The schemas a stream is registered in.
    pub fn registered(&self, stream: &hub::Stream) -> Vec<Schema> {
        self.schemas
            .lock()
            .get(&stream.incarnation())
            .cloned()
            .unwrap_or_default()
    }

    /// ZLM's object counts, real where there is a counterpart.
    pub fn statistic(&self) -> Statistic {
        let streams = self.hub.streams();
        let sources: usize = streams.iter().map(|stream| self.registered(stream).len()).sum();
        let ports = self.ports.get().copied().unwrap_or_default();
        let listeners = ports.open().count() as u64;
        let sessions = self.sessions.len() as u64;
        let clients = self.traffic.lock().len() as u64;
        Statistic {
            media_source: sources as u64,
            multi_media_source_muxer: streams.len() as u64,
            tcp_server: listeners,
            tcp_session: sessions,
            tcp_client: clients,
            socket: listeners + sessions + clients,
            ..Statistic::default()
        }
    }
}

/// Descriptors this process has open.
fn descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

/// Whether a host name or address is one of this machine's: only those can be bound.
fn is_this_machine(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok();
    }
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .is_ok_and(|name| name.trim().eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_its_own() {
        assert!(is_this_machine("127.0.0.1"));
        assert!(is_this_machine("LocalHost"));
        assert!(is_this_machine("[::1]"));
        assert!(!is_this_machine("192.0.2.1"), "an address for documentation");
        assert!(!is_this_machine("camera.example"));
    }
}
