//! The policy in force. Replaced as a whole when the configuration changes; running timers keep their old delay, as ZLM's do.

use media::Schema;
use media::info::OriginType;
use std::time::Duration;

/// The longest that a hook answer can let players wait for a stream. Each of them holds a connection meanwhile.
pub const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// What happens when a second publisher offers a name that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicatePublish {
    /// The second one is refused ("Already publishing.").
    Reject,
    /// The first one is disconnected.
    Takeover,
}

/// Policy and bounds of the engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `general.maxStreamWaitMS`: how long a player waits for a missing stream.
    pub max_stream_wait: Duration,
    /// `general.streamNoneReaderDelayMS`: how long a stream may be unwatched before somebody decides about it.
    pub none_reader_delay: Duration,
    /// How long after a failed `on_stream_none_reader` the question is asked again.
    pub none_reader_retry: Duration,
    /// One `on_stream_not_found` per waiting player, as ZLM, instead of one per missing stream.
    pub not_found_per_player: bool,
    /// Players of edge servers (`edge=1`) may open missing streams too; ZLM refuses them at once.
    pub edge_opens: bool,
    /// `general.resetWhenRePlay`: a pull that reconnects starts the stream anew and ends its players.
    pub reset_when_replay: bool,
    /// What happens to the second publisher of a name.
    pub duplicate_publish: DuplicatePublish,
    /// `general.flowThreshold` in bytes: sessions below it are not reported.
    pub flow_threshold: u64,
    /// `rtmp.directProxy`: an RTMP push is offered as RTMP even if its options say otherwise (hooks.md, section 7).
    pub rtmp_direct_proxy: bool,
    /// `rtsp.directProxy`: the same for an RTSP push and RTSP.
    pub rtsp_direct_proxy: bool,
    /// Schemas this server can make at all, in the order in which a stream is announced in them.
    pub schemas: &'static [Schema],
    /// Pauses between the attempts of a source or a pusher.
    pub backoff: crate::backoff::Backoff,
    /// `ffmpeg.restart_sec`; zero never restarts a healthy process.
    pub ffmpeg_restart: Duration,
    /// Most streams, missing ones that are waited for included. At the bound, new names are refused and counted.
    pub max_streams: usize,
    /// Most players that wait for one missing stream. At the bound, further ones are refused and counted.
    pub max_waiting: usize,
    /// Most pulls, ffmpeg sources and pushers, each. At the bound, adding fails with a clear text.
    pub max_jobs: usize,
    /// Entries kept in a stream's timeline.
    pub timeline_len: usize,
    /// Timelines kept of streams that are gone.
    pub timelines_kept: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_stream_wait: Duration::from_millis(15_000),
            none_reader_delay: Duration::from_millis(20_000),
            none_reader_retry: Duration::from_millis(20_000),
            not_found_per_player: false,
            edge_opens: false,
            reset_when_replay: true,
            duplicate_publish: DuplicatePublish::Reject,
            flow_threshold: 1024 * 1024,
            rtmp_direct_proxy: true,
            rtsp_direct_proxy: true,
            schemas: &[Schema::Rtmp],
            backoff: crate::backoff::Backoff::default(),
            ffmpeg_restart: Duration::ZERO,
            max_streams: 100_000,
            max_waiting: 20_000,
            max_jobs: 10_000,
            timeline_len: 64,
            timelines_kept: 1_000,
        }
    }
}

impl Settings {
    /// The schema that a publisher of this kind brings itself, so that the options of its stream cannot switch it off.
    pub(crate) fn own_schema(&self, origin: OriginType) -> Option<Schema> {
        match origin {
            OriginType::RtmpPush => self.rtmp_direct_proxy.then_some(Schema::Rtmp),
            OriginType::RtspPush => self.rtsp_direct_proxy.then_some(Schema::Rtsp),
            OriginType::Unknown
            | OriginType::RtpPush
            | OriginType::Pull
            | OriginType::FfmpegPull
            | OriginType::Mp4Vod
            | OriginType::DeviceChn
            | OriginType::RtcPush
            | OriginType::SrtPush => None,
        }
    }
}
