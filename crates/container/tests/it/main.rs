//! Containers as their users see them: what goes in comes out, whatever comes in does no harm, and ffmpeg agrees.

// Named as other crates know it.
extern crate tidegate_container as container;

mod captured;
mod ffmpeg;
mod hostile;
mod mp4;
mod multitrack;
mod round_trip;
mod ts;

use bytes::Bytes;
use container::flv::{Demuxer, Error, Event, TagType};
use media::{Frame, Track};

/// Reads one tag body and returns what it brought.
fn read(
    demuxer: &mut Demuxer,
    tag_type: TagType,
    timestamp_ms: i64,
    body: &[u8],
) -> Result<Vec<Event>, Error> {
    demuxer.tag(tag_type, timestamp_ms, Bytes::copy_from_slice(body))?;
    Ok(std::iter::from_fn(|| demuxer.poll()).collect())
}

/// The tracks and frames among events.
fn tracks_and_frames(events: impl IntoIterator<Item = Event>) -> (Vec<Track>, Vec<Frame>) {
    let (mut tracks, mut frames) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Track(track) => tracks.push(track),
            Event::Frame(frame) => frames.push(frame),
            Event::Metadata(_) | Event::TracksDeclared { .. } => {}
            Event::Unsupported(unsupported) => panic!("unexpected {unsupported:?}"),
        }
    }
    (tracks, frames)
}

/// Bytes from hexadecimal text; blanks do not count.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// `avcC` of x264: High, 1920x1080, 25 frames per second.
const AVCC: &str =
    "01640028 ffe1001b 67640028acd940780227e5c0440000030004000003 00c83c60c658 01 0006 68ebe3cb22c0 fdf8f800";
/// `hvcC` of x265: Main, 322x182, 30 frames per second.
const HVCC: &str = "0101600000009000000000003cf000fcfdf8f800000f03 2000010018 40010c01ffff01600000030090000003000003003c959809 \
    210001002a 420101016000000300900000030000 03003ca00a480b9c9596566924caf0168080000003008000000f04 2200010007 4401c172b46240";
/// `av1C` of libaom: 322x182.
const AV1C: &str = "81200000 0a0d 200000043d06d4daf92021a004";
/// `vpcC` of libvpx: profile 1, 320x180.
const VPCC: &str = "010b8702 02000000";
