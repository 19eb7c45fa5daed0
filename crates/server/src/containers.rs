//! The containers that viewers read, by the numbers the hub knows them by.

use container::flv;
use hub::MuxId;
use media::Mux;

/// FLV over HTTP.
pub const FLV: MuxId = MuxId(0);
/// FLV in WebSocket messages.
pub const WS_FLV: MuxId = MuxId(1);
/// RTMP messages in chunks.
pub const RTMP: MuxId = MuxId(2);

/// How RTMP and FLV are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// `rtmp.enhanced`.
    pub enhanced: bool,
    /// `rtmp.chunk_size`, bytes.
    pub chunk_size: u32,
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
        WS_FLV => Box::new(crate::session::http::ws::Framed::new(flv_muxer(style, server))),
        _ => Box::new(flv_muxer(style, server)),
    }
}

fn flv_muxer(style: Style, server: String) -> flv::Muxer {
    flv::Muxer::new(flv::Options {
        enhanced: style.enhanced,
        server,
    })
}
