#![no_main]

use bytes::Bytes;
use container::mp4::{self, Demuxer, Event, MAX_TRACKS, Muxer, Run};
use media::{Frame, MediaTime, Mux, Packet, Track};

// A stream in chunks; what comes out is made into an initialization, a fragment and a live stream, and those must be read without a
// complaint. Each byte of a fragment is of one frame, so frames cannot be more than what was sent.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&chunk, stream)) = data.split_first() else { return };
    let (tracks, frames) = demux(stream, usize::from(chunk) * 4 + 1);
    let Some(init) = mp4::init(&tracks) else { return };

    let mut live = Vec::<Packet>::new();
    let mut muxer = Muxer::new();
    muxer.set_tracks(&tracks, &mut live);
    live.extend(muxer.preamble());
    frames.iter().for_each(|frame| muxer.write(frame, &mut live));
    let live: Vec<u8> = live.iter().flat_map(|packet| &packet.parts).flat_map(|part| part.to_vec()).collect();
    clean(&live);

    let mut segments = vec![init];
    for (sequence, frames) in (1..).zip(frames.chunks(30)) {
        let of_track = |track: &Track| frames.iter().filter(|frame| frame.track == track.id).collect();
        let lists: Vec<Vec<&Frame>> = tracks.iter().map(of_track).collect();
        let runs: Vec<_> = tracks.iter().zip(&lists).map(|(track, frames)| run(track, frames)).collect();
        let (mut once, mut twice) = Default::default();
        assert_eq!(mp4::fragment(sequence, &runs, &mut once), 0);
        mp4::fragment(sequence, &runs, &mut twice);
        assert_eq!(once, twice);
        segments.extend(once);
    }
    clean(&segments.concat());
    tracks.iter().for_each(|track| drop(mp4::codec_string(track)));
});

fn run<'a>(track: &'a Track, frames: &'a [&'a Frame]) -> Run<'a> {
    let end = frames.last().map_or(MediaTime::ZERO, |frame| frame.dts);
    Run { track, frames, end }
}

fn demux(stream: &[u8], chunk: usize) -> (Vec<Track>, Vec<Frame>) {
    let (mut demuxer, mut frames, mut announced) = (Demuxer::new(), Vec::<Frame>::new(), Vec::new());
    for chunk in stream.chunks(chunk) {
        demuxer.push(Bytes::copy_from_slice(chunk));
        while let Ok(Some(event)) = demuxer.poll() {
            match event {
                Event::Track(track) => announced.push(track.id),
                Event::Frame(frame) => {
                    assert!(announced.contains(&frame.track), "a frame of a track that was not announced");
                    frames.push(frame);
                }
                Event::TracksDeclared { .. } | Event::Unsupported(_) | Event::Bad(_) => {}
            }
        }
    }
    assert!(demuxer.tracks().count() <= MAX_TRACKS);
    assert!(frames.len() <= stream.len());
    let tracks: Vec<_> = demuxer.tracks().cloned().collect();
    frames.retain(|frame| tracks.iter().any(|track| track.id == frame.track));
    (tracks, frames)
}

/// What we write, we read: its structure at least. Frames may still be broken inside, or come before what they need.
fn clean(stream: &[u8]) {
    let mut demuxer = Demuxer::new();
    demuxer.push(Bytes::copy_from_slice(stream));
    loop {
        match demuxer.poll() {
            Ok(Some(Event::Bad(mp4::Error::Codec { .. } | mp4::Error::BeforeConfig { .. }))) => {}
            Ok(Some(Event::Bad(error))) | Err(error) => panic!("what we wrote: {error}"),
            Ok(Some(_)) => {}
            Ok(None) => return,
        }
    }
}
