#![no_main]

mod unpack;

use rtp::payload::mpa::{Style, Unpacker};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((flags, rest)) = data.split_first() else { return };
    let style = if flags & 1 == 0 {
        Style::Rfc2250
    } else {
        Style::Bare { clock_rate: 44_100 }
    };
    let mut unpacker = Unpacker::new(style);
    unpack::packets(rest, |input, out| unpacker.push(input, out));
    unpacker.flush(&mut Vec::new());
});
