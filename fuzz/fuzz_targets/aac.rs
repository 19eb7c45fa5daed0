#![no_main]

mod unpack;

use rtp::payload::aac::{Mode, Unpacker};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [kind, lengths @ .., _] = data.get(..4).unwrap_or(&[0; 4]) else { return };
    // The two usual modes, and whatever a description may ask for.
    let mode = match kind % 3 {
        0 => Mode::HBR,
        1 => Mode::LBR,
        _ => {
            let (size, index) = (lengths[0].to_string(), lengths[1].to_string());
            let parameters = [("sizelength", &*size), ("indexlength", &*index), ("indexdeltalength", &*index)];
            let Ok(mode) = Mode::parse(parameters) else { return };
            mode
        }
    };
    let mut unpacker = Unpacker::new(mode, 1024);
    unpack::packets(data.get(4..).unwrap_or_default(), |input, out| unpacker.push(input, out));
    unpacker.flush(&mut Vec::new());
});
