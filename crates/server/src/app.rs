//! What all parts of the running server share.

use crate::containers::{RtpStyle, Style};
use crate::link::Link;
use crate::meter::Meter;
use crate::operator::Operator;
use crate::player::Player;
use crate::rules;
use crate::session::rtsp::multicast::Groups;
use crate::session::rtsp::tunnel::Tunnels;
use crate::sessions::Sessions;
use crate::store::ConfigStore;
use crate::udp::Pair;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use config::Config;
use hooks::Hooks;
use hub::{Hub, Stream};
use lifecycle::JobId;
use lifecycle::op::RuleSource;
use media::key::DEFAULT_VHOST;
use media::{Schema, StreamKey};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use process::Supervisor;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Shared state of the server. One per process.
pub struct App {
    /// The configuration, and the way to change it.
    pub store: ConfigStore,
    /// Streams.
    pub hub: Hub,
    /// Connections.
    pub sessions: Arc<Sessions>,
    /// The way to the control task.
    pub link: Link,
    /// The hook service.
    pub hooks: Hooks,
    /// ffmpeg processes.
    pub processes: Supervisor,
    /// The schemas that streams are registered in, by incarnation.
    pub schemas: Mutex<HashMap<u64, Vec<Schema>>>,
    /// What pulls and pushers carry.
    pub traffic: Mutex<BTreeMap<JobId, Arc<Meter>>>,
    /// Ends every session when cancelled.
    pub stop: CancellationToken,
    /// Told when the API asks for a restart.
    pub restart: Notify,
    /// The ports that are open.
    pub ports: OnceLock<Ports>,
    /// When the process began, by both clocks.
    pub started: (Instant, SystemTime),
    /// Counters of the server's own.
    pub counters: crate::metrics::Counters,
    /// Files over HTTP.
    pub files: crate::files::Files,
    /// The page that plays streams.
    pub player: Player,
    /// RTSP inside HTTP.
    pub tunnels: Arc<Tunnels>,
    /// Streams sent to multicast groups.
    pub groups: Groups,
    /// Writes to players over TCP without TLS.
    pub egress: egress::Room,
    /// HLS.
    pub hls: crate::hls::Hls,
    /// Tasks that belong to no session; each ends with [`Self::stop`].
    pub tasks: TaskTracker,
    router: OnceLock<Router>,
    /// Makes the sources and first numbers of RTP streams.
    rtp_seed: u64,
    /// `rtmp.chunk_size` as it was at the start: packets of a stream are cut once for all its players, so what a session
    /// announces must be what the muxers of all running streams write.
    chunk_size: u32,
    /// Grows with each request to play, so that origin servers take turns.
    turn: AtomicUsize,
}

/// The ports that are open, as they were bound; 0 is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// RTMP.
    pub rtmp: u16,
    /// RTMPS.
    pub rtmps: u16,
    /// RTSP.
    pub rtsp: u16,
    /// RTSPS.
    pub rtsps: u16,
    /// HTTP.
    pub http: u16,
    /// HTTPS.
    pub https: u16,
}

impl Ports {
    /// Those that are open.
    pub fn open(&self) -> impl Iterator<Item = u16> {
        let all = [
            self.rtmp, self.rtmps, self.rtsp, self.rtsps, self.http, self.https,
        ];
        all.into_iter().filter(|port| *port != 0)
    }
}

impl App {
    /// The shared state.
    pub fn new(
        store: ConfigStore,
        link: Link,
        hooks: Hooks,
        processes: Supervisor,
        egress: egress::Room,
    ) -> Self {
        let max_streams = rules::MAX_STREAMS;
        let chunk_size = store.config().rtmp.chunk_size;
        Self {
            store,
            hub: Hub::new(max_streams),
            sessions: Arc::default(),
            link,
            hooks,
            processes,
            schemas: Mutex::default(),
            traffic: Mutex::default(),
            stop: CancellationToken::new(),
            restart: Notify::new(),
            ports: OnceLock::new(),
            started: (Instant::now(), SystemTime::now()),
            counters: crate::metrics::Counters::default(),
            files: crate::files::Files::default(),
            player: Player::default(),
            tunnels: Arc::default(),
            groups: Groups::default(),
            egress,
            hls: crate::hls::Hls::default(),
            tasks: TaskTracker::new(),
            router: OnceLock::new(),
            rtp_seed: rand::random(),
            chunk_size,
            turn: AtomicUsize::new(0),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.store.config()
    }

    /// How RTMP, FLV and MPEG-TS are written.
    pub fn style(&self) -> Style {
        Style {
            enhanced: self.config().rtmp.enhanced,
            chunk_size: self.chunk_size,
            g711: crate::containers::g711(self.config().general.ts_g711),
        }
    }

    /// How a stream's RTP is written: as it was configured when somebody first asked, so that all players of a stream are told and
    /// sent the same.
    pub fn rtp_style(&self, stream: &Stream) -> RtpStyle {
        let style = || {
            let config = self.config();
            RtpStyle {
                video_mtu: config.rtp.video_mtu as usize,
                audio_mtu: config.rtp.audio_mtu as usize,
                stap_a: config.rtp.h264_stap_a,
                direct: config.rtsp.direct_proxy,
            }
        };
        // Nothing else is kept with a stream.
        stream.keep(style).unwrap_or_else(style)
    }

    /// What the sources of a stream's RTP packets are made of.
    pub fn rtp_seed(&self, incarnation: u64) -> u64 {
        self.rtp_seed ^ incarnation.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// How a stream's RTP is received. `ordered`: over TCP, where nothing comes late.
    pub fn receive_options(&self, stream: &Stream, ordered: bool) -> rtp::demux::Options {
        rtp::demux::Options {
            direct: self.rtp_style(stream).direct,
            limits: if ordered {
                rtp::reorder::Limits::in_order()
            } else {
                rtp::reorder::Limits {
                    max_packets: MAX_LATE_PACKETS,
                    max_delay: MAX_LATENESS,
                }
            },
            ssrc: rand::random(),
        }
    }

    /// A pair of UDP ports of `rtp_proxy.port_range` on one of our addresses.
    pub fn udp_pair(&self, ip: IpAddr) -> std::io::Result<Pair> {
        let config = self.config();
        Pair::open(
            ip,
            config.rtp_proxy.port_range,
            usize::try_from(config.rtp_proxy.udp_recv_buffer).unwrap_or(usize::MAX),
            &self.counters.rtp,
        )
    }

    /// Everything that is served over HTTP but live streams.
    pub fn router(self: &Arc<Self>) -> Router {
        self.router
            .get_or_init(|| crate::web::router(self.clone()))
            .clone()
    }

    /// The virtual host of a request (hooks.md, section 5): an argument wins over the host, addresses and `localhost` map to
    /// the default one.
    pub fn vhost(&self, host: &str, params: &str) -> String {
        if !self.config().general.enable_vhost {
            return DEFAULT_VHOST.to_owned();
        }
        virtual_host(host, params)
    }

    /// The address of a client that may come through a proxy: the header of `http.forwarded_ip_header` counts, but only from
    /// a peer inside `http.allow_ip_range`, since anybody can write one (ZLM believes it from any client: hooks.md, 10.26).
    pub fn client_address(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let config = self.config();
        let name = &config.http.forwarded_ip_header;
        if name.is_empty() || !config.http.allow_ip_range.contains(peer.ip()) {
            return peer;
        }
        let value = headers
            .get(name.as_str())
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let first = value.split(',').next().unwrap_or_default().trim();
        let ip = first
            .parse::<IpAddr>()
            .ok()
            .or_else(|| first.parse::<SocketAddr>().ok().map(|address| address.ip()));
        ip.map_or(peer, |ip| SocketAddr::new(ip, peer.port()))
    }

    /// What the rules of the configuration make of a stream's name.
    pub fn rule_for(&self, key: &StreamKey, params: &str) -> Option<Box<RuleSource>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        rules::resolve(&self.config(), key, params, self.rtmp_port(), turn).map(Box::new)
    }

    /// The port that our own ffmpeg processes publish to.
    pub fn rtmp_port(&self) -> u16 {
        self.ports.get().map_or(0, |ports| ports.rtmp)
    }

    /// The page for what is not there (`http.notFound`).
    pub fn not_found_page(&self) -> Response<Body> {
        let http = &self.config().http;
        api::reply::not_found_page(&http.not_found, &http.char_set)
    }

    /// The API's view of the server.
    pub fn operator(self: &Arc<Self>) -> Operator {
        Operator(self.clone())
    }

    /// Counts what an attempt carries, while the returned value lives.
    pub fn measure(self: &Arc<Self>, job: JobId) -> Measured {
        let meter = Arc::new(Meter::new(Instant::now()));
        self.traffic.lock().insert(job, meter.clone());
        Measured {
            app: self.clone(),
            job,
            meter,
        }
    }
}

/// Packets that are held while one before them is late: a key frame of 8 Mbit/s in one burst.
const MAX_LATE_PACKETS: usize = 1024;

/// How long a late packet over UDP is waited for. Beyond the disorder of networks, below what viewers notice.
const MAX_LATENESS: Duration = Duration::from_millis(200);

/// An attempt whose traffic is counted.
pub struct Measured {
    app: Arc<App>,
    job: JobId,
    /// Its meter.
    pub meter: Arc<Meter>,
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.app.traffic.lock().remove(&self.job);
    }
}

fn virtual_host(host: &str, params: &str) -> String {
    let argument = params
        .split('&')
        .find_map(|pair| pair.strip_prefix("vhost="))
        .filter(|value| !value.is_empty());
    let host = match argument {
        Some(value) => percent_decode_str(value).decode_utf8_lossy().into_owned(),
        None => host.to_owned(),
    };
    let common = host.is_empty() || host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok();
    if common { DEFAULT_VHOST.to_owned() } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_hosts_follow_the_references_rules() {
        assert_eq!(virtual_host("media.example.com", ""), "media.example.com");
        assert_eq!(
            virtual_host("media.example.com", "a=b&vhost=other.example"),
            "other.example"
        );
        assert_eq!(virtual_host("localhost", ""), DEFAULT_VHOST);
        assert_eq!(virtual_host("10.1.2.3", "vhost="), DEFAULT_VHOST);
        assert_eq!(virtual_host("::1", ""), DEFAULT_VHOST);
        assert_eq!(virtual_host("", ""), DEFAULT_VHOST);
    }
}
