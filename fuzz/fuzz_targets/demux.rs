#![no_main]

use bytes::Bytes;
use media::{Frame, Mux, Packet};
use rtp::demux::{Demuxer, Event, Options};
use rtp::mux::{self, Muxer};
use rtp::reorder::Limits;
use rtp::rtcp::NtpTime;
use rtp::sdp::Session;
use std::time::{Duration, Instant};

// A description, then packets for its sections over a network that loses and delays; what comes out goes into a muxer, as frames do
// in the server. Times never go back within a track.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&[flags, high, low], rest)) = data.split_first_chunk::<3>() else { return };
    let (text, mut rest) = rest.split_at(usize::from(u16::from_be_bytes([high, low])).min(rest.len()));
    let Ok(session) = Session::parse(text) else { return };
    let limits = if flags & 1 == 0 {
        Limits::in_order()
    } else {
        Limits {
            max_packets: 16,
            max_delay: Duration::from_millis(50),
        }
    };
    let options = Options {
        direct: flags & 2 != 0,
        limits,
        ssrc: 1,
    };
    let mut now = Instant::now();
    let mut demuxer = Demuxer::new(&session.media, options);
    let mut muxer = Muxer::new(mux::Options {
        video_mtu: 300,
        audio_mtu: 200,
        stap_a: flags & 4 != 0,
        direct: flags & 2 != 0,
        seed: 7,
        epoch: NtpTime(1 << 40),
    });
    let (mut tracks, mut out): (Vec<media::Track>, Vec<Packet>) = Default::default();
    while let [section, len, after, tail @ ..] = rest {
        let (packet, next) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = next;
        now += Duration::from_millis(u64::from(*after));
        let packet = Bytes::copy_from_slice(packet);
        if section & 0x80 == 0 {
            let _ = demuxer.rtp(now, usize::from(*section), packet);
        } else {
            let _ = demuxer.rtcp(now, usize::from(section & 0x7f), &packet);
        }
        while let Some(event) = demuxer.poll(now) {
            match event {
                Event::Track(track) => {
                    tracks.retain(|known| known.id != track.id);
                    tracks.push(track);
                    muxer.set_tracks(&tracks, &mut out);
                }
                Event::Frame(frame) => write(&mut muxer, &frame, &mut out),
                Event::Bad(_) | Event::Unsupported(_) => {}
            }
        }
        let _ = demuxer.reports(now);
    }
});

fn write(muxer: &mut Muxer, frame: &Frame, out: &mut Vec<Packet>) {
    assert!(frame.dts <= frame.pts, "decoded after it is shown");
    muxer.write(frame, out);
    for packet in out.drain(..) {
        let whole: usize = packet.parts.iter().map(Bytes::len).sum();
        let framed = packet.parts.iter().cloned().flat_map(mux::frames);
        let sum: usize = framed.map(|(_, packet)| packet.len() + mux::FRAME_HEAD).sum();
        assert_eq!(whole, sum, "packets that are not framed");
    }
}
