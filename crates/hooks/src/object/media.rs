//! The media object, its tracks and its socket (api.md, sections 2.1 to 2.3).

use super::names::{codec_id, codec_name, codec_type, origin_name, origin_number};
use media::MediaKind;
use media::info::{MediaInfo, SockInfo, TrackDetail, TrackInfo};
use serde::{Serialize, Serializer};
use std::net::IpAddr;

/// A socket: `originSock` of a media object, and the body of session lists.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Socket<'a> {
    /// Session id, unique in the process.
    pub identifier: &'a str,
    /// Our address.
    #[serde(serialize_with = "address")]
    pub local_ip: IpAddr,
    /// Our port.
    pub local_port: u16,
    /// The peer's address.
    #[serde(serialize_with = "address")]
    pub peer_ip: IpAddr,
    /// The peer's port.
    pub peer_port: u16,
}

impl<'a> Socket<'a> {
    /// The object for a socket.
    pub fn new(sock: &'a SockInfo) -> Self {
        Self {
            identifier: &sock.identifier,
            local_ip: sock.local.ip(),
            local_port: sock.local.port(),
            peer_ip: sock.peer.ip(),
            peer_port: sock.peer.port(),
        }
    }
}

/// Writes IPv4 addresses in dotted form, also those of a dual-stack socket (`::ffff:1.2.3.4`), as ZLM does.
pub(crate) fn address<S: Serializer>(ip: &IpAddr, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&ip.to_canonical())
}

/// One stream in one schema: an element of `getMediaList`, and the body of `on_stream_changed`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Media<'a> {
    /// Form.
    pub schema: &'static str,
    /// Virtual host.
    pub vhost: &'a str,
    /// Application.
    pub app: &'a str,
    /// Stream.
    pub stream: &'a str,
    /// Query string of the publisher.
    pub params: &'a str,
    /// Unix time of registration, seconds.
    pub create_stamp: u64,
    /// Seconds since registration.
    pub alive_second: u64,
    /// Bytes per second.
    pub bytes_speed: u64,
    /// Bytes so far.
    pub total_bytes: u64,
    /// Readers of this schema.
    pub reader_count: u32,
    /// Readers of all schemas.
    pub total_reader_count: u32,
    /// Kind of origin, number.
    pub origin_type: u8,
    /// Kind of origin, name.
    pub origin_type_str: &'static str,
    /// Where it comes from.
    pub origin_url: &'a str,
    /// Its socket; `null` without one.
    pub origin_sock: Option<Socket<'a>>,
    /// An MP4 recording runs.
    #[serde(rename = "isRecordingMP4")]
    pub recording_mp4: bool,
    /// The HLS muxer exists.
    #[serde(rename = "isRecordingHLS")]
    pub recording_hls: bool,
    /// Tracks.
    pub tracks: Vec<TrackObject>,
}

impl<'a> Media<'a> {
    /// The object for a stream. Without `with_loss` the member `loss` is left out, as ZLM does in lists of more than one object.
    pub fn new(info: &'a MediaInfo, with_loss: bool) -> Self {
        let loss = with_loss.then(|| loss(&info.tracks));
        Self {
            schema: info.schema.as_str(),
            vhost: info.key.vhost(),
            app: info.key.app(),
            stream: info.key.stream(),
            params: &info.params,
            create_stamp: info.created_unix,
            alive_second: info.alive_second,
            bytes_speed: info.bytes_speed,
            total_bytes: info.total_bytes,
            reader_count: info.readers,
            total_reader_count: info.total_readers,
            origin_type: origin_number(info.origin.kind),
            origin_type_str: origin_name(info.origin.kind),
            origin_url: &info.origin.url,
            origin_sock: info.origin.sock.as_ref().map(Socket::new),
            recording_mp4: info.recording_mp4,
            recording_hls: info.recording_hls,
            tracks: info
                .tracks
                .iter()
                .map(|track| TrackObject::new(track, loss))
                .collect(),
        }
    }
}

/// A track of a media object.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TrackObject {
    /// Number of the codec.
    pub codec_id: i8,
    /// ZLM's name of the codec.
    pub codec_id_name: &'static str,
    /// 0 video, 1 audio.
    pub codec_type: u8,
    /// Whether its parameters are known.
    pub ready: bool,
    /// Frames so far.
    pub frames: u64,
    /// Media so far, milliseconds.
    pub duration: u64,
    /// Packet loss in percent, -1.0 if unknown. A real number on the wire, single precision widened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Members of one kind of track.
    #[serde(flatten)]
    pub detail: DetailObject,
}

/// What only one kind of track has.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum DetailObject {
    /// Video.
    Video {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Frames per second, rounded to a whole number, but a real on the wire (`25.0`).
        fps: f64,
        /// Key frames so far.
        key_frames: u64,
        /// Frames of the last group of pictures.
        gop_size: u32,
        /// Duration of the last group of pictures, milliseconds.
        gop_interval_ms: u32,
    },
    /// Audio.
    Audio {
        /// Hertz.
        sample_rate: u32,
        /// Channels.
        channels: u8,
        /// Bits per sample.
        sample_bit: u8,
    },
}

/// ZLM shows the loss of the video for all tracks (observed); without video that of the first one.
fn loss(tracks: &[TrackInfo]) -> f64 {
    const UNKNOWN: f64 = -1.0;
    let video = tracks.iter().find(|track| track.codec.kind() == MediaKind::Video);
    let loss = video.or(tracks.first()).and_then(|track| track.loss);
    loss.filter(|loss| loss.is_finite()).map_or(UNKNOWN, f64::from)
}

impl TrackObject {
    fn new(track: &TrackInfo, loss: Option<f64>) -> Self {
        let detail = match track.detail {
            TrackDetail::Video {
                width,
                height,
                fps,
                key_frames,
                gop_size,
                gop_interval_ms,
            } => {
                // A JSON number cannot be infinite or NaN; serde would write null, which breaks readers that expect a number.
                let fps = if fps.is_finite() {
                    f64::from(fps.round())
                } else {
                    0.0
                };
                DetailObject::Video {
                    width,
                    height,
                    fps,
                    key_frames,
                    gop_size,
                    gop_interval_ms,
                }
            }
            TrackDetail::Audio {
                sample_rate,
                channels,
                sample_bits,
            } => DetailObject::Audio {
                sample_rate,
                channels,
                sample_bit: sample_bits,
            },
        };
        Self {
            codec_id: codec_id(track.codec),
            codec_id_name: codec_name(track.codec),
            codec_type: codec_type(track.codec.kind()),
            ready: track.ready,
            frames: track.frames,
            duration: track.duration_ms,
            loss,
            detail,
        }
    }
}
