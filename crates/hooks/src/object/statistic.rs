//! The object counts of `getStatistic` and of the keep-alive hook.

use serde::Serialize;

/// ZLM's sixteen object counts. Receivers expect every name; what has no counterpart here stays 0 (api.md, `getStatistic`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statistic {
    /// Streams, counted once per schema.
    pub media_source: u64,
    /// Streams.
    pub multi_media_source_muxer: u64,
    /// TCP listeners.
    pub tcp_server: u64,
    /// Accepted TCP connections.
    pub tcp_session: u64,
    /// UDP listeners.
    pub udp_server: u64,
    /// UDP sessions.
    pub udp_session: u64,
    /// Outgoing TCP connections.
    pub tcp_client: u64,
    /// Open sockets.
    pub socket: u64,
    /// Frames of ZLM's own frame class.
    pub frame_imp: u64,
    /// Frames.
    pub frame: u64,
    /// Buffers.
    pub buffer: u64,
    /// Buffers of raw bytes.
    pub buffer_raw: u64,
    /// Buffers of strings.
    pub buffer_like_string: u64,
    /// Lists of buffers.
    pub buffer_list: u64,
    /// RTP packets.
    pub rtp_packet: u64,
    /// RTMP packets.
    pub rtmp_packet: u64,
}
