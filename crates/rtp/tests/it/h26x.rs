//! What the RTP muxer of FFmpeg 5.1 made of streams of x264 and x265, which it also wrote to a file: 320x180 at 25 fps, 1.2 s, with
//! B-frames in a pyramid. H.264 with access unit delimiters; H.265 with two slices a picture. `testdata/ffmpeg-*.rtp` are the
//! packets as they were received, each behind its length in 16 bits; `testdata/ffmpeg-*.annexb` the files.

use bytes::Bytes;
use media::codec::nal::{AnnexB, LengthPrefixed};
use media::codec::{h264 as avc, h265 as hevc};
use tidegate_rtp::order::Order;
use tidegate_rtp::payload::{Error, Input, Unit, h264, h265};

type Push<'a> = &'a mut dyn FnMut(Input<'_>, &mut Vec<Unit>) -> Result<(), Error>;

fn packets(capture: &'static [u8]) -> Vec<tidegate_rtp::Packet> {
    let mut rest = capture;
    let mut packets = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (packet, behind) = behind.split_at(u16::from_be_bytes(*length).into());
        packets.push(tidegate_rtp::Packet::parse(Bytes::from_static(packet)).unwrap());
        rest = behind;
    }
    packets
}

/// Every frame of the file comes, whole, and with decoding times in equal steps.
fn check(capture: &'static [u8], file: &[u8], is_delimiter: fn(&[u8]) -> bool, depth: u8, push: Push<'_>) {
    let mut units = Vec::new();
    let mut markers = 0;
    for packet in packets(capture) {
        // RTCP comes to the same socket at times.
        if packet.header().payload_type != 96 {
            continue;
        }
        let input = Input {
            payload: packet.payload(),
            marker: packet.header().marker,
            timestamp: packet.header().timestamp.into(),
            gap: false,
        };
        push(input, &mut units).unwrap();
        markers += usize::from(input.marker);
        assert_eq!(units.len(), markers);
    }
    assert_eq!(units.len(), 30);
    let got: Vec<_> = units
        .iter()
        .flat_map(|unit| LengthPrefixed::new(&unit.data, 4).map(Result::unwrap))
        .collect();
    let expected: Vec<_> = AnnexB::new(file).filter(|unit| !is_delimiter(unit)).collect();
    assert!(got == expected, "{} and {} NAL units", got.len(), expected.len());

    let mut order = Order::new(90_000);
    order.set_depth(Some(depth));
    let times: Vec<_> = units
        .iter()
        .map(|unit| (order.push(unit.timestamp), unit.timestamp))
        .collect();
    assert!(times.iter().all(|(dts, pts)| dts <= pts));
    assert!(
        times.windows(2).all(|pair| pair[1].0 - pair[0].0 == 3_600),
        "{times:?}"
    );
    // x264 declares a depth of 2 and with two B-frames needs 1.
    assert!(times.iter().any(|(dts, pts)| pts - dts <= 3_600));
}

#[test]
fn h264_of_ffmpeg() {
    let file = include_bytes!("../../testdata/ffmpeg-h264.annexb");
    let sps = AnnexB::new(file)
        .find(|unit| avc::nal_type(unit) == avc::NAL_SPS)
        .unwrap();
    let depth = avc::Sps::parse(sps).unwrap().reorder.unwrap();
    let mut unpacker = h264::Unpacker::new();
    check(
        include_bytes!("../../testdata/ffmpeg-h264.rtp"),
        file,
        |unit| avc::nal_type(unit) == avc::NAL_AUD,
        depth,
        &mut |input, out| unpacker.push(input, out),
    );
}

#[test]
fn h265_of_ffmpeg() {
    let file = include_bytes!("../../testdata/ffmpeg-h265.annexb");
    let sps = AnnexB::new(file)
        .find(|unit| hevc::nal_type(unit) == hevc::NAL_SPS)
        .unwrap();
    let depth = hevc::Sps::parse(sps).unwrap().reorder.unwrap();
    let mut unpacker = h265::Unpacker::new();
    check(
        include_bytes!("../../testdata/ffmpeg-h265.rtp"),
        file,
        |unit| hevc::nal_type(unit) == hevc::NAL_AUD,
        depth,
        &mut |input, out| unpacker.push(input, out),
    );
}
