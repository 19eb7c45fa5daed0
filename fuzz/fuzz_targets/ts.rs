#![no_main]

use bytes::BytesMut;
use container::ts::{Demuxer, Event, G711, MAX_TRACKS, Muxer, Options, PACKET_LEN};
use media::{CodecId, Frame, Mux, Packet, Track};

// A stream in pieces; what comes out goes into a muxer, and back. The muxer's place is the same whether bytes are made or not, and
// sound comes back frame by frame.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&[flags, piece], stream)) = data.split_first_chunk::<2>() else { return };
    let g711 = [G711::Registered, G711::Private, G711::Omit][usize::from(flags % 3)];
    let (mut tracks, frames) = demux(stream, usize::from(piece) + 1);
    assert!(tracks.len() <= MAX_TRACKS);
    let (mut muxer, mut packets, mut sent) = (Muxer::new(Options { g711 }), Vec::<Packet>::new(), 0);
    muxer.set_tracks(&tracks, &mut packets);
    tracks.retain(|track| muxer.carried().any(|id| id == track.id));
    let (mut kept, mut out) = (muxer.clone(), BytesMut::new());
    for frame in &frames {
        let dropped = muxer.dropped();
        muxer.write(frame, &mut packets);
        sent += usize::from(is_sound(&tracks, frame) && muxer.dropped() == dropped);
        let count = kept.packets(frame);
        let mut skipped = kept.clone();
        skipped.skip(frame);
        kept.append(frame, &mut out);
        assert_eq!(out.len(), count * PACKET_LEN);
        assert!(skipped == kept);
        out.clear();
    }
    let stream: Vec<u8> = packets.iter().flat_map(|packet| packet.parts[0].to_vec()).collect();
    assert!(stream.len().is_multiple_of(PACKET_LEN));
    let (again, read) = demux(&stream, 10_000);
    assert!(again.len() <= tracks.len());
    assert_eq!(read.iter().filter(|frame| is_sound(&again, frame)).count(), sent);
});

/// Of a codec whose frames are not looked into. Of damaged pictures fewer or more may come back: their parts begin and end where they
/// should not.
fn is_sound(tracks: &[Track], frame: &Frame) -> bool {
    let track = tracks.iter().find(|track| track.id == frame.track);
    track.is_some_and(|track| {
        matches!(track.codec, CodecId::Aac | CodecId::Opus | CodecId::G711A | CodecId::G711U)
    })
}

fn demux(stream: &[u8], piece: usize) -> (Vec<Track>, Vec<Frame>) {
    let (mut demuxer, mut frames) = (Demuxer::new(), Vec::new());
    let take = |demuxer: &mut Demuxer, frames: &mut Vec<Frame>| {
        while let Some(event) = demuxer.poll() {
            if let Event::Frame(frame) = event {
                assert!(demuxer.tracks().any(|track| track.id == frame.track), "a frame without a track");
                frames.push(frame);
            }
        }
    };
    for bytes in stream.chunks(piece) {
        demuxer.push(bytes);
        take(&mut demuxer, &mut frames);
    }
    demuxer.flush();
    take(&mut demuxer, &mut frames);
    (demuxer.tracks().cloned().collect(), frames)
}
