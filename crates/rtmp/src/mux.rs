//! Frames of a stream to RTMP messages, cut into chunks once and shared by all players.

use crate::chunk::{self, Header};
use crate::message::type_id;
use crate::{CHUNK_SIZE, MEDIA_STREAM_ID, MIN_CHUNK_SIZE};
use bytes::{Bytes, BytesMut};
use container::flv::{Carried, TagType, body, metadata};
use media::mux::Parts;
use media::{Frame, MediaTime, Mux, Packet, Track};

/// Chunk stream of metadata.
pub(crate) const DATA_CSID: u32 = 4;
/// Chunk stream of audio, as ZLM sends it.
pub(crate) const AUDIO_CSID: u32 = 6;
/// Chunk stream of video.
pub(crate) const VIDEO_CSID: u32 = 7;

/// How to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `rtmp.enhanced`: H.265, AV1, VP8, VP9 and Opus with their FourCC; else with the domestic ids.
    pub enhanced: bool,
    /// `server` in the metadata.
    pub server: String,
    /// Bytes per chunk. At least 128. Must be that of the sessions that send the packets.
    pub chunk_size: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            enhanced: true,
            server: "Tidegate".to_owned(),
            chunk_size: CHUNK_SIZE,
        }
    }
}

/// Writes RTMP messages: the same tag bodies as FLV, each with a full header (type 0), so that a player can begin at any of
/// them and other messages may stand between two packets. Payloads are shared, headers are cut from an arena.
#[derive(Debug)]
pub struct Muxer {
    options: Options,
    carried: Carried,
    has_tracks: bool,
    /// Time of the newest frame, for configurations that change between frames.
    newest: u32,
    newest_dts: MediaTime,
    arena: BytesMut,
}

impl Muxer {
    /// A muxer without tracks.
    pub fn new(options: Options) -> Self {
        let chunk_size = options.chunk_size.clamp(MIN_CHUNK_SIZE, chunk::MAX_CHUNK_SIZE);
        Self {
            options: Options {
                chunk_size,
                ..options
            },
            carried: Carried::default(),
            has_tracks: false,
            newest: 0,
            newest_dts: MediaTime::ZERO,
            arena: BytesMut::new(),
        }
    }

    fn metadata(&self, timestamp: u32) -> Option<Packet> {
        let body = metadata::body(&self.carried, self.options.enhanced, &self.options.server);
        self.configuration(TagType::Script, body, timestamp)
    }

    fn sequence_header(&self, track: &Track, timestamp: u32) -> Option<Packet> {
        let body = body::sequence_header(track, self.options.enhanced)?;
        self.configuration(body::tag_type(track.kind()), body, timestamp)
    }

    /// A message in one piece, unless it is longer than a chunk.
    fn configuration(&self, tag_type: TagType, body: Bytes, timestamp: u32) -> Option<Packet> {
        let header = header(tag_type, timestamp);
        let mut arena = BytesMut::with_capacity(chunk::MAX_HEADER_LEN + body.len());
        let mut parts = Parts::new();
        let fits = if body.len() < self.options.chunk_size as usize {
            chunk::split(
                &header,
                self.options.chunk_size,
                &body,
                &[],
                &mut arena,
                &mut parts,
            )
        } else {
            chunk::split(
                &header,
                self.options.chunk_size,
                &[],
                &[body],
                &mut arena,
                &mut parts,
            )
        };
        fits.then_some(Packet {
            parts,
            key: false,
            config: true,
            dts: self.newest_dts,
        })
    }
}

impl Mux for Muxer {
    /// The first call appends nothing: until then there was no preamble, so nobody can have joined.
    fn set_tracks(&mut self, tracks: &[Track], out: &mut Vec<Packet>) {
        let old = std::mem::replace(&mut self.carried, Carried::of(tracks));
        if std::mem::replace(&mut self.has_tracks, true) && old != self.carried {
            out.extend(self.metadata(self.newest));
            for track in self.carried.reconfigured(&old) {
                out.extend(self.sequence_header(track, self.newest));
            }
        }
    }

    /// Times are 0: players take the start of the time line from the first frame.
    fn preamble(&self) -> Vec<Packet> {
        let headers = self.carried.iter().map(|track| self.sequence_header(track, 0));
        std::iter::once(self.metadata(0))
            .chain(headers)
            .flatten()
            .collect()
    }

    fn write(&mut self, frame: &Frame, out: &mut Vec<Packet>) {
        let Some(track) = self.carried.track(frame.track) else {
            return;
        };
        let head = body::frame_head(frame, track, self.options.enhanced);
        let timestamp = body::timestamp(frame);
        if self.arena.capacity() < MAX_AROUND {
            self.arena = BytesMut::with_capacity(ARENA_LEN);
        }
        let mut parts = Parts::new();
        let header = header(body::tag_type(track.kind()), timestamp);
        let payload = std::slice::from_ref(&frame.data);
        if !chunk::split(
            &header,
            self.options.chunk_size,
            &head,
            payload,
            &mut self.arena,
            &mut parts,
        ) {
            return;
        }
        self.newest = timestamp;
        self.newest_dts = frame.dts;
        out.push(Packet {
            parts,
            key: self.carried.starts_at(frame),
            config: false,
            dts: frame.dts,
        });
    }
}

const fn header(tag_type: TagType, timestamp: u32) -> Header {
    let csid = match tag_type {
        TagType::Audio => AUDIO_CSID,
        TagType::Video => VIDEO_CSID,
        TagType::Script => DATA_CSID,
    };
    Header {
        csid,
        type_id: tag_type.id(),
        stream_id: MEDIA_STREAM_ID,
        timestamp,
    }
}

/// Reads back the header at the front of a packet, and where the message begins behind it. `None` if there is no such header.
pub(crate) fn media_header(packet: &[u8]) -> Option<(Header, usize)> {
    let [
        basic,
        time2,
        time1,
        time0,
        _len2,
        _len1,
        _len0,
        type_id,
        a,
        b,
        c,
        d,
    ] = *packet.first_chunk::<12>()?;
    let csid = u32::from(basic);
    let is_media = matches!(type_id, type_id::AUDIO | type_id::VIDEO | type_id::DATA_AMF0);
    if !is_media || !matches!(csid, DATA_CSID | AUDIO_CSID | VIDEO_CSID) {
        return None;
    }
    let stream_id = u32::from_le_bytes([a, b, c, d]);
    match u32::from_be_bytes([0, time2, time1, time0]) {
        0xFF_FFFF => {
            let timestamp = u32::from_be_bytes(*packet.get(12..)?.first_chunk()?);
            Some((
                Header {
                    csid,
                    type_id,
                    stream_id,
                    timestamp,
                },
                16,
            ))
        }
        timestamp => Some((
            Header {
                csid,
                type_id,
                stream_id,
                timestamp,
            },
            12,
        )),
    }
}

/// Most bytes that are made for a frame: first header, head of the body, header of all other chunks.
const MAX_AROUND: usize = 2 * chunk::MAX_HEADER_LEN + body::MAX_HEAD_LEN;
/// About 200 packets of headers; a page, so that a ring that keeps the last packet of an arena keeps little else.
const ARENA_LEN: usize = 4096;
