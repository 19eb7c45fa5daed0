//! `on_rtp_server_timeout`: a port that was opened for RTP got no data and was closed.

use media::StreamKey;
use serde::Serialize;

/// A port of `openRtpServer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpPort {
    /// Its number.
    pub local_port: u16,
    /// Which transport it takes.
    pub tcp_mode: TcpMode,
    /// Whether it was opened so that others can open it, too.
    pub re_use_port: bool,
    /// The SSRC (RFC 3550, section 3) it takes; 0 is any.
    pub ssrc: u32,
}

/// What carries the RTP, with its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TcpMode {
    /// UDP only.
    Udp = 0,
    /// The sender connects here.
    Passive = 1,
    /// This server connects to the sender.
    Active = 2,
}

/// The body.
#[derive(Debug, Serialize)]
pub struct RtpServerTimeout<'a> {
    vhost: &'a str,
    app: &'a str,
    /// Not `stream`, as everywhere else.
    stream_id: &'a str,
    local_port: u16,
    tcp_mode: u8,
    re_use_port: bool,
    /// A number, while `on_send_rtp_stopped` has text.
    ssrc: u32,
}

impl<'a> RtpServerTimeout<'a> {
    /// For the port that was to feed a stream.
    pub fn new(key: &'a StreamKey, port: &RtpPort) -> Self {
        Self {
            vhost: key.vhost(),
            app: key.app(),
            stream_id: key.stream(),
            local_port: port.local_port,
            tcp_mode: port.tcp_mode as u8,
            re_use_port: port.re_use_port,
            ssrc: port.ssrc,
        }
    }
}
