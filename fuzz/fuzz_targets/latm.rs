#![no_main]

mod unpack;

use rtp::payload::latm::{StreamMuxConfig, Unpacker};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&[flags, len], rest)) = data.split_first_chunk::<2>() else { return };
    let (config, rest) = rest.split_at(usize::from(len).min(rest.len()));
    let mut unpacker = Unpacker::new(flags & 1 != 0, StreamMuxConfig::parse(config).ok(), 44_100);
    unpack::packets(rest, |input, out| unpacker.push(input, out));
    let _ = unpacker.take_config();
    unpacker.flush(&mut Vec::new());
});
