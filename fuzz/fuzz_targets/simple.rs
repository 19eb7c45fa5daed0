#![no_main]

mod unpack;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut unpacker = rtp::payload::simple::Unpacker::new();
    unpack::packets(data, |input, out| unpacker.push(input, out));
    let mut opaque = rtp::payload::opaque::Unpacker::new(media::MediaKind::Video);
    unpack::packets(data, |input, out| opaque.push(input, out));
});
