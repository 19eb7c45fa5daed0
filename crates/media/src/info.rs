//! Plain snapshots of a stream, for those who report on it. Field names are ours; ZLM's JSON names belong to `hooks`.

use crate::{CodecId, Schema, StreamKey};
use std::net::SocketAddr;

/// Where a stream's media comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OriginType {
    /// Not known (a stream that waits for its publisher to come back).
    Unknown,
    /// Pushed over RTMP.
    RtmpPush,
    /// Pushed over RTSP.
    RtspPush,
    /// Pushed over RTP.
    RtpPush,
    /// Pulled by Tidegate.
    Pull,
    /// Pushed by an ffmpeg that Tidegate started.
    FfmpegPull,
    /// Played from an MP4 file.
    Mp4Vod,
    /// Made inside the process.
    DeviceChn,
    /// Pushed over WebRTC.
    RtcPush,
    /// Pushed over SRT.
    SrtPush,
}

/// The socket of an origin or of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SockInfo {
    /// Session id, unique in the process, as shown to operators (`12-34`).
    pub identifier: String,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub peer: SocketAddr,
}

/// Origin of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginInfo {
    /// Kind.
    pub kind: OriginType,
    /// The URL it comes from, as ZLM shows it.
    pub url: String,
    /// Its socket, if it has one.
    pub sock: Option<SockInfo>,
}

/// Counters of one track.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackInfo {
    /// Codec.
    pub codec: CodecId,
    /// Whether the configuration is known.
    pub ready: bool,
    /// Frames so far.
    pub frames: u64,
    /// Media so far, in milliseconds.
    pub duration_ms: u64,
    /// Packets of its source that were lost on the way, in per cent; `None` if nobody counts them, as over TCP.
    pub loss: Option<f32>,
    /// Parameters by kind.
    pub detail: TrackDetail,
}

/// Counters and parameters that only one kind of track has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TrackDetail {
    /// Video.
    Video {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Measured, else declared, frames per second.
        fps: f32,
        /// Key frames so far.
        key_frames: u64,
        /// Frames of the last complete group of pictures.
        gop_size: u32,
        /// Duration of the last complete group of pictures, milliseconds.
        gop_interval_ms: u32,
    },
    /// Audio.
    Audio {
        /// Hertz.
        sample_rate: u32,
        /// Channels.
        channels: u8,
        /// Bits per sample.
        sample_bits: u8,
    },
}

/// One stream in one schema: ZLM's "media source".
#[derive(Clone, Debug, PartialEq)]
pub struct MediaInfo {
    /// Stream name.
    pub key: StreamKey,
    /// Form.
    pub schema: Schema,
    /// Query string of the publisher, without `?`.
    pub params: String,
    /// Unix time of registration, seconds.
    pub created_unix: u64,
    /// Seconds since registration, by the monotonic clock.
    pub alive_second: u64,
    /// Bytes per second over the last whole seconds.
    pub bytes_speed: u64,
    /// Bytes received so far.
    pub total_bytes: u64,
    /// Readers of this schema.
    pub readers: u32,
    /// Readers of all schemas of the stream.
    pub total_readers: u32,
    /// Where it comes from.
    pub origin: OriginInfo,
    /// An MP4 recording is running.
    pub recording_mp4: bool,
    /// The HLS (MPEG-TS) muxer exists.
    pub recording_hls: bool,
    /// Tracks.
    pub tracks: Vec<TrackInfo>,
}
