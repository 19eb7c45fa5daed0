#![no_main]

mod unpack;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut unpacker = rtp::payload::h265::Unpacker::new();
    unpack::packets(data, |input, out| unpacker.push(input, out));
    unpacker.flush(&mut Vec::new());
});
