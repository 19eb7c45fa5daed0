//! Streams of every codec, and the way from a publisher's frames over its packets to a player's, for the tests of both ends.

use bytes::{BufMut, Bytes, BytesMut};
use media::codec::nal::AnnexB;
use media::codec::{h264, h265, opus};
use media::track::{AudioParams, TrackParams, VideoParams};
use media::{CodecId, Frame, MediaKind, MediaTime, Mux, Track, TrackId};
use std::time::Instant;
use tidegate_rtp::demux::{self, Demuxer, Event};
use tidegate_rtp::mux::{self, Muxer};
use tidegate_rtp::reorder::Limits;
use tidegate_rtp::rtcp::NtpTime;
use tidegate_rtp::sdp::Media;

pub const VIDEO: [CodecId; 5] = [
    CodecId::H264,
    CodecId::H265,
    CodecId::Av1,
    CodecId::Vp8,
    CodecId::Vp9,
];
pub const AUDIO: [CodecId; 6] = [
    CodecId::Aac,
    CodecId::Opus,
    CodecId::G711A,
    CodecId::G711U,
    CodecId::Mp3,
    CodecId::L16,
];

pub const EPOCH: NtpTime = NtpTime(0xe900_0000_8000_0000);

pub const OPTIONS: mux::Options = mux::Options {
    video_mtu: 1400,
    audio_mtu: 1400,
    stap_a: true,
    direct: false,
    seed: 7,
    epoch: EPOCH,
};

pub const RECEIVE: demux::Options = demux::Options {
    direct: true,
    limits: Limits::in_order(),
    ssrc: 1,
};

/// A track of which its frames tell the rest.
pub fn track(id: u8, codec: CodecId) -> Track {
    let (config, rate, channels): (Option<Bytes>, _, _) = match codec {
        CodecId::Aac => (Some(Bytes::from_static(&[0x12, 0x10])), 44_100, 2),
        CodecId::Opus => (Some(opus::Head::new(2).build()), 48_000, 2),
        CodecId::L16 | CodecId::Mp3 => (None, 44_100, 2),
        CodecId::H264 => (
            h264::Config::from_frame(&sets(codec)).map(|config| config.build()),
            0,
            0,
        ),
        CodecId::H265 => (
            h265::Config::from_frame(&sets(codec)).map(|config| config.build()),
            0,
            0,
        ),
        _ => (None, 8_000, 1),
    };
    Track {
        id: TrackId(id),
        codec,
        config,
        params: match codec.kind() {
            MediaKind::Video => TrackParams::Video(VideoParams::default()),
            MediaKind::Audio => TrackParams::Audio(AudioParams {
                sample_rate: rate,
                channels,
                sample_bits: 16,
            }),
        },
        wire: None,
    }
}

/// Parameter sets of x264 and x265 for two B-frames in a pyramid, in canonical form.
pub fn sets(codec: CodecId) -> Bytes {
    let mut out = BytesMut::new();
    if codec == CodecId::H264 {
        AnnexB::new(include_bytes!("../../testdata/ffmpeg-h264.annexb"))
            .filter(|unit| matches!(h264::nal_type(unit), 7 | 8))
            .take(2)
            .for_each(|unit| put(unit, &mut out));
    } else {
        AnnexB::new(include_bytes!("../../testdata/ffmpeg-h265.annexb"))
            .filter(|unit| matches!(h265::nal_type(unit), 32..=34))
            .take(3)
            .for_each(|unit| put(unit, &mut out));
    }
    out.freeze()
}

fn put(unit: &[u8], out: &mut BytesMut) {
    out.put_u32(unit.len() as u32);
    out.put_slice(unit);
}

/// The frames of a track in decoding order, from time 0 on. Video has 25 pictures per second, a key frame each second and, where
/// the codec has them, two B-frames between others; every picture is another one.
pub fn frames(track: &Track, seconds: u32) -> Vec<Frame> {
    let (rate, step) = match track.codec {
        CodecId::Aac => (44_100, 1024),
        CodecId::Opus => (48_000, 960),
        CodecId::Mp3 => (90_000, 2351),
        CodecId::L16 => (44_100, 220),
        CodecId::G711A | CodecId::G711U => (8_000, 160),
        _ => (90_000, 3_600),
    };
    let count = i64::from(seconds) * rate / step;
    (0..count)
        .map(|index| {
            let (key, shown) = match track.kind() {
                MediaKind::Audio => (true, index),
                MediaKind::Video => (index % 25 == 0, shown(track.codec, index)),
            };
            Frame {
                track: track.id,
                dts: MediaTime::from_ticks(index * step, rate as u32),
                pts: MediaTime::from_ticks(shown * step, rate as u32),
                key,
                data: picture(track.codec, key, index as u32),
                wire: None,
            }
        })
        .collect()
}

/// I P B B P B B, where the codec has them: shown one picture later than decoded, and P-frames behind their two B-frames.
fn shown(codec: CodecId, index: i64) -> i64 {
    let moved = match (index % 25, index % 25 % 3) {
        _ if !matches!(codec, CodecId::H264 | CodecId::H265) => 0,
        (0, _) => 1,
        (_, 1) => 3,
        _ => 0,
    };
    index + moved
}

fn picture(codec: CodecId, key: bool, index: u32) -> Bytes {
    let len = match codec {
        CodecId::Mp3 => 417,
        CodecId::L16 => 880,
        CodecId::G711A | CodecId::G711U => 160,
        _ if codec.kind() == MediaKind::Audio => 150 + index % 200,
        _ if key => 6000 + index % 1000,
        _ => 150 + index * 37 % 2500,
    };
    let mut body = index.to_be_bytes().map(|byte| byte | 1).to_vec();
    body.extend((0..len).map(|at| (at.wrapping_mul(31).wrapping_add(index.wrapping_mul(77)) >> 3) as u8 | 1));
    // No byte is 0, and still no picture is like another.
    for (at, byte) in body.iter_mut().skip(4).take(16).enumerate() {
        *byte = ((index >> at & 1) as u8 * 2) | 1;
    }
    let mut out = BytesMut::new();
    match codec {
        CodecId::H264 | CodecId::H265 => {
            if key {
                out.put_slice(&sets(codec));
            }
            let header: &[u8] = match (codec, key) {
                (CodecId::H264, true) => &[0x65, 0x88],
                (CodecId::H264, false) => &[0x41, 0x9a],
                (_, true) => &[0x26, 1, 0x88],
                (_, false) => &[0x02, 1, 0x98],
            };
            put(&[header, &body].concat(), &mut out);
        }
        CodecId::Av1 => {
            if key {
                out.put_slice(&[
                    0x0a, 12, 0x20, 0, 0, 1, 0x9f, 0xf9, 0xb5, 0xf2, 0x40, 0x43, 0x40, 8,
                ]);
            }
            let len = body.len() + 1;
            out.put_slice(&[0x32, len as u8 & 0x7f | 0x80, (len >> 7) as u8]);
            out.put_u8(if key { 0x10 } else { 0x30 });
            out.put_slice(&body);
        }
        CodecId::Vp8 => {
            let header: &[u8] = if key {
                &[0x50, 0x42, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0x40]
            } else {
                &[0x51, 0x42, 0]
            };
            out.put_slice(&[header, &body].concat());
        }
        CodecId::Vp9 => {
            let header: &[u8] = if key {
                &[
                    0xa2, 0x49, 0x83, 0x42, 0xe0, 0x13, 0xf0, 0x0b, 0x36, 0x14, 0x38, 0x24, 0x1c, 0x18,
                ]
            } else {
                &[0xa6]
            };
            out.put_slice(&[header, &body].concat());
        }
        CodecId::Mp3 => {
            body.truncate(413);
            out.put_slice(&[0xff, 0xfb, 0x90, 0]);
            out.put_slice(&body);
        }
        CodecId::L16 => out.put_slice(&body[..880]),
        CodecId::G711A | CodecId::G711U => out.put_slice(&body[..160]),
        _ => out.put_slice(&body),
    }
    out.freeze()
}

/// The frames of several tracks in the order in which they are decoded.
pub fn stream(tracks: &[Track], seconds: u32) -> Vec<Frame> {
    let mut all: Vec<Frame> = tracks.iter().flat_map(|track| frames(track, seconds)).collect();
    all.sort_by_key(|frame| frame.dts);
    all
}

/// The packets of one frame: channel and packet.
pub type Sent = Vec<(u8, Bytes)>;

/// Frames to packets, one list for each frame.
pub fn send(muxer: &mut Muxer, frames: &[Frame]) -> Vec<Sent> {
    frames.iter().map(|frame| send_one(muxer, frame).1).collect()
}

/// The packets of a frame, and whether a player may start there.
pub fn send_one(muxer: &mut Muxer, frame: &Frame) -> (bool, Sent) {
    let mut out = Vec::new();
    muxer.write(frame, &mut out);
    let key = out.iter().any(|packet| packet.key);
    let pieces = out.iter().flat_map(|packet| &packet.parts);
    (key, pieces.flat_map(|piece| mux::frames(piece.clone())).collect())
}

/// A muxer that knows these tracks.
pub fn muxer(tracks: &[Track], options: mux::Options) -> Muxer {
    let mut muxer = Muxer::new(options);
    muxer.set_tracks(tracks, &mut Vec::new());
    muxer
}

/// A publisher: its description, and the packets of its frames.
pub fn publish(tracks: &[Track], frames: &[Frame], options: mux::Options) -> (Vec<Media>, Vec<Sent>) {
    let mut muxer = muxer(tracks, options);
    (mux::describe(tracks, options.direct), send(&mut muxer, frames))
}

/// What came of packets that all come now.
#[derive(Default)]
pub struct Got {
    /// The newest of each.
    pub tracks: Vec<Track>,
    pub frames: Vec<Frame>,
    pub bad: Vec<demux::Error>,
}

impl Got {
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Track(track) => {
                self.tracks.retain(|other| other.id != track.id);
                self.tracks.push(track);
                self.tracks.sort_by_key(|track| track.id);
            }
            Event::Frame(frame) => self.frames.push(frame),
            Event::Bad(error) => self.bad.push(error),
            Event::Unsupported(what) => panic!("{what}"),
        }
    }
}

pub fn receive<'a>(
    sections: &[Media],
    packets: impl IntoIterator<Item = &'a (u8, Bytes)>,
    options: demux::Options,
) -> Got {
    let (mut demuxer, mut got, now) = (Demuxer::new(sections, options), Got::default(), Instant::now());
    for (channel, packet) in packets {
        let section = usize::from(channel / 2);
        if channel % 2 == 0 {
            demuxer.rtp(now, section, packet.clone()).unwrap();
        } else {
            assert!(!demuxer.rtcp(now, section, packet).unwrap());
        }
        while let Some(event) = demuxer.poll(now) {
            got.take(event);
        }
    }
    got
}

/// The RTP packets of these.
pub fn rtp(sent: &[(u8, Bytes)]) -> Vec<tidegate_rtp::Packet> {
    let packets = sent.iter().filter(|(channel, _)| channel % 2 == 0);
    packets
        .map(|(_, packet)| tidegate_rtp::Packet::parse(packet.clone()).unwrap())
        .collect()
}

/// Another packet with this in place of its bytes from `at` on.
pub fn patched(packet: &Bytes, at: usize, with: &[u8]) -> Bytes {
    let mut packet = packet.to_vec();
    packet[at..at + with.len()].copy_from_slice(with);
    packet.into()
}

/// The packets as a sender with other numbers sends them, reports included.
pub fn renumbered(sent: &[Sent], sequence: u16, timestamp: u32) -> Vec<Sent> {
    let number = |(channel, packet): &(u8, Bytes)| {
        let at = if channel % 2 == 0 { 4 } else { 16 };
        let time = u32::from_be_bytes(packet[at..at + 4].try_into().unwrap()).wrapping_add(timestamp);
        let mut packet = patched(packet, at, &time.to_be_bytes());
        if channel % 2 == 0 {
            let number = u16::from_be_bytes([packet[2], packet[3]]).wrapping_add(sequence);
            packet = patched(&packet, 2, &number.to_be_bytes());
        }
        (*channel, packet)
    };
    sent.iter()
        .map(|sent| sent.iter().map(number).collect())
        .collect()
}
