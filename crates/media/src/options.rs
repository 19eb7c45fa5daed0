//! How one stream is treated: the protocol options of a publisher, a pull or a rule (api.md, section 2.4).

use crate::Schema;
use std::path::PathBuf;
use std::time::Duration;

/// Per-stream options. The defaults come from the configuration section `protocol`, then the answer of `on_publish` or the
/// parameters of an API call override single ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolOptions {
    /// Timestamp repair: 0 as sent, 1 time of arrival, 2 source increments with jumps repaired.
    pub modify_stamp: u8,
    /// Carry audio.
    pub enable_audio: bool,
    /// Give video-only streams a silent AAC track; without effect when `enable_audio` is off.
    pub add_mute_audio: bool,
    /// Close the stream by itself when nobody has watched it for `general.streamNoneReaderDelayMS`.
    pub auto_close: bool,
    /// How long a stream is kept for its publisher after the connection broke; zero closes it at once.
    pub continue_push: Duration,
    /// Period of the output smoothing timer; zero is off.
    pub paced_sender: Duration,
    /// Offer HLS with MPEG-TS.
    pub enable_hls: bool,
    /// Offer HLS with fMP4.
    pub enable_hls_fmp4: bool,
    /// Record MP4 from the start.
    pub enable_mp4: bool,
    /// Offer RTSP and WebRTC.
    pub enable_rtsp: bool,
    /// Offer RTMP, HTTP-FLV and WS-FLV.
    pub enable_rtmp: bool,
    /// Offer MPEG-TS over HTTP, WebSocket and SRT.
    pub enable_ts: bool,
    /// Offer fragmented MP4 over HTTP and WebSocket.
    pub enable_fmp4: bool,
    /// Make HLS only while it is watched.
    pub hls_demand: bool,
    /// Make RTSP only while it is watched.
    pub rtsp_demand: bool,
    /// Make RTMP and FLV only while they are watched.
    pub rtmp_demand: bool,
    /// Make MPEG-TS only while it is watched.
    pub ts_demand: bool,
    /// Make fragmented MP4 only while it is watched.
    pub fmp4_demand: bool,
    /// An MP4 recording counts as a reader.
    pub mp4_as_player: bool,
    /// Length of MP4 files.
    pub mp4_max: Duration,
    /// Root folder of MP4 recordings.
    pub mp4_save_path: PathBuf,
    /// Root folder of HLS files.
    pub hls_save_path: PathBuf,
    /// Register under this stream name instead.
    pub stream_replace: Option<String>,
    /// Most tracks of the stream; further ones are ignored.
    pub max_track: u8,
}

/// The built-in defaults of section `protocol`.
impl Default for ProtocolOptions {
    fn default() -> Self {
        Self {
            modify_stamp: 2,
            enable_audio: true,
            add_mute_audio: true,
            auto_close: false,
            continue_push: Duration::from_secs(15),
            paced_sender: Duration::ZERO,
            enable_hls: true,
            enable_hls_fmp4: false,
            enable_mp4: false,
            enable_rtsp: true,
            enable_rtmp: true,
            enable_ts: true,
            enable_fmp4: true,
            hls_demand: false,
            rtsp_demand: false,
            rtmp_demand: false,
            ts_demand: false,
            fmp4_demand: false,
            mp4_as_player: false,
            mp4_max: Duration::from_secs(3600),
            mp4_save_path: PathBuf::from("./www"),
            hls_save_path: PathBuf::from("./www"),
            stream_replace: None,
            max_track: 2,
        }
    }
}

impl ProtocolOptions {
    /// Whether the stream is offered in `schema`.
    pub const fn enables(&self, schema: Schema) -> bool {
        match schema {
            Schema::Rtmp => self.enable_rtmp,
            Schema::Rtsp => self.enable_rtsp,
            Schema::Ts => self.enable_ts,
            Schema::Fmp4 => self.enable_fmp4,
            Schema::Hls => self.enable_hls,
            Schema::HlsFmp4 => self.enable_hls_fmp4,
        }
    }

    /// Whether `schema` is made only while it is watched.
    pub const fn on_demand(&self, schema: Schema) -> bool {
        match schema {
            Schema::Rtmp => self.rtmp_demand,
            Schema::Rtsp => self.rtsp_demand,
            Schema::Ts => self.ts_demand,
            Schema::Fmp4 => self.fmp4_demand,
            Schema::Hls | Schema::HlsFmp4 => self.hls_demand,
        }
    }
}
