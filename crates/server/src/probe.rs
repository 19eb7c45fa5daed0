//! Watching the frames of a stream for a while (`addProbe`, api.md, section 3.8).

use bytes::{BufMut, Bytes, BytesMut};
use hub::reader::{Batch, BatchLimits, CountAs, Next, ReaderOptions};
use hub::{MuxId, Stream};
use media::{CodecId, Frame, MediaTime, Mux, Packet, Track, TrackId};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// The container of probes: one packet for each frame, with what is told about it instead of its contents.
pub const PROBE: MuxId = MuxId(9);

/// Length of a packet: track, presentation time, length of the frame, time of arrival.
const PACKET_LEN: usize = 1 + 8 + 8 + 8;

/// Times of arrival are counted from here: a packet holds numbers only.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The frames that come within `time`, at most `most`. `None`: it is no stream yet, or none any more.
pub async fn watch(stream: &Arc<Stream>, time: Duration, most: usize) -> Option<Vec<api::ProbedFrame>> {
    let options = ReaderOptions {
        count: CountAs::Nothing,
        batch: BatchLimits::default(),
        on_leave: None,
    };
    let mut reader = stream.reader(PROBE, options, || Box::new(Prober)).ok()?;
    // What is cached was written before, by the line above or for an earlier probe.
    let began = EPOCH.elapsed();
    let deadline = tokio::time::Instant::now() + time;
    let mut frames = Vec::new();
    let mut batch = Batch::default();
    while frames.len() < most {
        match tokio::time::timeout_at(deadline, reader.next_batch(&mut batch)).await {
            Err(_) | Ok(Next::Ended(_)) => break,
            Ok(Next::Packets | Next::Lagged { .. }) => {}
        }
        let tracks = stream.tracks();
        let seen = batch
            .packets()
            .iter()
            .filter_map(|packet| told(packet, &tracks, began));
        frames.extend(seen.filter(|frame| frame.at <= time));
        batch.clear();
    }
    frames.truncate(most);
    Some(frames)
}

/// What a packet tells; `None` for a frame that came before the probe began, or whose track is gone.
fn told(packet: &Packet, tracks: &[Track], began: Duration) -> Option<api::ProbedFrame> {
    let bytes: &[u8; PACKET_LEN] = packet.parts.first()?.as_ref().try_into().ok()?;
    let number = |at: usize| {
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[at..at + 8]);
        u64::from_be_bytes(number)
    };
    let track = TrackId(bytes[0]);
    let codec: CodecId = tracks.iter().find(|one| one.id == track)?.codec;
    Some(api::ProbedFrame {
        codec,
        track,
        dts: packet.dts,
        pts: MediaTime::from_micros(number(1).cast_signed()),
        at: Duration::from_nanos(number(17)).checked_sub(began)?,
        size: usize::try_from(number(9)).unwrap_or(usize::MAX),
        key: packet.key,
    })
}

struct Prober;

impl Mux for Prober {
    fn set_tracks(&mut self, _: &[Track], _: &mut Vec<Packet>) {}

    fn preamble(&self) -> Vec<Packet> {
        Vec::new()
    }

    fn write(&mut self, frame: &Frame, out: &mut Vec<Packet>) {
        let mut head = BytesMut::with_capacity(PACKET_LEN);
        head.put_u8(frame.track.0);
        head.put_i64(frame.pts.as_micros());
        head.put_u64(frame.data.len() as u64);
        // 584 years of nanoseconds.
        head.put_u64(u64::try_from(EPOCH.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let head: Bytes = head.freeze();
        out.push(Packet {
            parts: [head].into_iter().collect(),
            key: frame.key,
            config: false,
            dts: frame.dts,
        });
    }
}
