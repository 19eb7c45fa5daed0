//! The containers that viewers read, by the numbers the hub knows them by.

use crate::app::App;
use crate::session::http::ws::Framed;
use container::{flv, mp4, ts};
use hub::{MuxId, Stream};
use media::{CodecId, Mux};
use rtp::rtcp::NtpTime;
use std::time::{SystemTime, UNIX_EPOCH};

/// FLV over HTTP.
pub const FLV: MuxId = MuxId(0);
/// FLV in WebSocket messages.
pub const WS_FLV: MuxId = MuxId(1);
/// RTMP messages in chunks.
pub const RTMP: MuxId = MuxId(2);
/// RTP and RTCP packets, framed for an RTSP connection.
pub const RTSP: MuxId = MuxId(3);
/// MPEG-TS over HTTP.
pub const TS: MuxId = MuxId(4);
/// MPEG-TS in WebSocket messages.
pub const WS_TS: MuxId = MuxId(5);
/// Fragmented MP4 over HTTP.
pub const FMP4: MuxId = MuxId(6);
/// Fragmented MP4 in WebSocket messages.
pub const WS_FMP4: MuxId = MuxId(7);
/// HLS: segments instead of packets, see [`crate::hls`].
pub const HLS: MuxId = MuxId(8);
// 9 is `crate::probe`'s.

/// How RTMP, FLV and MPEG-TS are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// `rtmp.enhanced`.
    pub enhanced: bool,
    /// `rtmp.chunk_size`, bytes.
    pub chunk_size: u32,
    /// `general.ts_g711`.
    pub g711: ts::G711,
}

/// The muxer of a container.
pub fn muxer(id: MuxId, style: Style) -> Box<dyn Mux> {
    let server = concat!("Tidegate/", env!("CARGO_PKG_VERSION")).to_owned();
    match id {
        RTMP => Box::new(rtmp::Muxer::new(rtmp::mux::Options {
            enhanced: style.enhanced,
            server,
            chunk_size: style.chunk_size,
        })),
        WS_FLV => Box::new(Framed::new(flv_muxer(style, server))),
        TS => Box::new(ts::Muxer::new(ts::Options { g711: style.g711 })),
        WS_TS => Box::new(Framed::new(ts::Muxer::new(ts::Options { g711: style.g711 }))),
        FMP4 => Box::new(mp4::Muxer::new()),
        WS_FMP4 => Box::new(Framed::new(mp4::Muxer::new())),
        _ => Box::new(flv_muxer(style, server)),
    }
}

/// Whether a container has room for a codec. FLV and RTP name nearly everything; what they cannot carry was refused on its way in.
pub fn carries(id: MuxId, style: Style, codec: CodecId) -> bool {
    match id {
        TS | WS_TS => ts::Options { g711: style.g711 }.carries(codec),
        FMP4 | WS_FMP4 => mp4::carries(codec),
        _ => true,
    }
}

fn flv_muxer(style: Style, server: String) -> flv::Muxer {
    flv::Muxer::new(flv::Options {
        enhanced: style.enhanced,
        server,
    })
}

/// `general.ts_g711` in the muxer's words.
pub const fn g711(choice: config::TsG711) -> ts::G711 {
    match choice {
        config::TsG711::Registered => ts::G711::Registered,
        config::TsG711::Private => ts::G711::Private,
        config::TsG711::Omit => ts::G711::Omit,
    }
}

/// How RTP is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpStyle {
    /// `rtp.videoMtuSize`, bytes.
    pub video_mtu: usize,
    /// `rtp.audioMtuSize`, bytes.
    pub audio_mtu: usize,
    /// `rtp.h264_stap_a`.
    pub stap_a: bool,
    /// `rtsp.directProxy`.
    pub direct: bool,
}

/// The muxer of [`RTSP`] for a stream.
pub fn rtsp(app: &App, stream: &Stream, style: RtpStyle) -> Box<dyn Mux> {
    // The wall clock when the stream was opened, so that reports say the time within the moment of its first frame.
    let opened = SystemTime::now()
        .checked_sub(stream.opened().elapsed())
        .unwrap_or(UNIX_EPOCH);
    let since = opened.duration_since(UNIX_EPOCH).unwrap_or_default();
    Box::new(rtp::mux::Muxer::new(rtp::mux::Options {
        video_mtu: style.video_mtu,
        audio_mtu: style.audio_mtu,
        stap_a: style.stap_a,
        direct: style.direct,
        seed: app.rtp_seed(stream.incarnation()),
        epoch: NtpTime::from_unix(since),
    }))
}
