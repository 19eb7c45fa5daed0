//! `on_send_rtp_stopped`: a stream that was sent on as RTP is no longer, and nobody asked for that.

use crate::object::{origin_name, origin_number};
use media::StreamKey;
use media::info::OriginInfo;
use serde::Serialize;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// The reference's number of the error (hooks.md, section 2): 1 the peer closed, 2 nobody came or answered in time, 4 the
    /// connection was reset.
    pub error: u8,
    /// The same in words.
    pub message: &'a str,
}

/// The body.
#[derive(Debug, Serialize)]
pub struct SendRtpStopped<'a> {
    vhost: &'a str,
    app: &'a str,
    stream: &'a str,
    params: &'a str,
    /// Decimal text: the handle of the sender.
    ssrc: &'a str,
    #[serde(rename = "originType")]
    origin_type: u8,
    #[serde(rename = "originTypeStr")]
    origin_type_str: &'static str,
    #[serde(rename = "originUrl")]
    origin_url: &'a str,
    msg: &'a str,
    err: u8,
}

impl<'a> SendRtpStopped<'a> {
    /// For the sender `ssrc` of a stream; `params` are those of its publisher.
    pub fn new(
        key: &'a StreamKey,
        params: &'a str,
        origin: &'a OriginInfo,
        ssrc: &'a str,
        ended: Ended<'a>,
    ) -> Self {
        Self {
            vhost: key.vhost(),
            app: key.app(),
            stream: key.stream(),
            params,
            ssrc,
            origin_type: origin_number(origin.kind),
            origin_type_str: origin_name(origin.kind),
            origin_url: &origin.url,
            msg: ended.message,
            err: ended.error,
        }
    }
}
