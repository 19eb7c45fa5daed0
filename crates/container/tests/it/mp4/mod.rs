//! Fragmented MP4: what goes in comes out, whatever comes in does no harm, and ffmpeg agrees.

mod ffmpeg;
mod hostile;
mod layout;
mod round_trip;
mod sources;

use bytes::Bytes;
use container::mp4::{self, Demuxer, Event, Muxer, Run};
use media::{Frame, MediaKind, MediaTime, Mux, Packet, Track};

/// The stream that a viewer of the live form gets, who was there from the start.
fn live(tracks: &[Track], frames: &[Frame]) -> Vec<u8> {
    let (mut muxer, mut packets) = (Muxer::new(), Vec::new());
    muxer.set_tracks(tracks, &mut packets);
    packets.extend(muxer.preamble());
    frames.iter().for_each(|frame| muxer.write(frame, &mut packets));
    assert_eq!(muxer.dropped(), 0);
    bytes(&packets)
}

fn bytes(packets: &[Packet]) -> Vec<u8> {
    let parts = packets.iter().flat_map(|packet| &packet.parts);
    parts.flat_map(|part| part.to_vec()).collect()
}

/// An initialization and fragments with one run per track. Each key frame of video begins one; without video each `len`th frame.
fn segments(tracks: &[Track], frames: &[Frame], len: usize) -> Vec<Vec<u8>> {
    let mut all = vec![mp4::init(tracks).unwrap().to_vec()];
    let video = tracks.iter().find(|track| track.kind() == MediaKind::Video);
    let begins = |index: usize, frame: &Frame| match video {
        Some(video) => frame.track == video.id && frame.key,
        None => index.is_multiple_of(len),
    };
    let mut starts: Vec<_> = (1..frames.len()).filter(|at| begins(*at, &frames[*at])).collect();
    starts.push(frames.len());
    let mut from = 0;
    for (sequence, to) in (1..).zip(starts) {
        let of_track = |track: &Track| -> Vec<&Frame> {
            frames[from..to]
                .iter()
                .filter(|frame| frame.track == track.id)
                .collect()
        };
        let lists: Vec<_> = tracks.iter().map(of_track).collect();
        let end = |track: &Track| {
            let next = frames[to..].iter().find(|frame| frame.track == track.id);
            let last = frames.iter().rfind(|frame| frame.track == track.id);
            next.or(last).map_or(MediaTime::ZERO, |frame| frame.dts)
        };
        let runs: Vec<_> = tracks
            .iter()
            .zip(&lists)
            .map(|(track, frames)| Run {
                track,
                frames,
                end: end(track),
            })
            .collect();
        let mut out: Vec<Bytes> = Vec::new();
        assert_eq!(mp4::fragment(sequence, &runs, &mut out), 0);
        all.push(out.concat());
        from = to;
    }
    all
}

/// Reads a whole stream that arrives in chunks of these sizes, over and over. The tracks as they are at the end.
#[track_caller]
fn demux(stream: &[u8], chunks: &[usize]) -> (Vec<Track>, Vec<Frame>) {
    let (mut demuxer, mut frames, mut rest) = (Demuxer::new(), Vec::new(), stream);
    let mut announced: Vec<Track> = Vec::new();
    for size in chunks.iter().cycle() {
        let (chunk, next) = rest.split_at((*size).min(rest.len()));
        rest = next;
        demuxer.push(Bytes::copy_from_slice(chunk));
        while let Some(event) = demuxer.poll().unwrap() {
            match event {
                Event::Track(track) => {
                    announced.retain(|known| known.id != track.id);
                    announced.push(track);
                }
                Event::Frame(frame) => {
                    assert!(announced.iter().any(|track| track.id == frame.track), "{frame:?}");
                    frames.push(frame);
                }
                Event::TracksDeclared { .. } => {}
                Event::Unsupported(_) | Event::Bad(_) => panic!("unexpected {event:?}"),
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    let counters = demuxer.counters();
    assert_eq!((counters.frames, counters.bad), (frames.len() as u64, 0));
    (demuxer.tracks().cloned().collect(), frames)
}
