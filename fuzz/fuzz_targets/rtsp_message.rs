#![no_main]

use bytes::BytesMut;
use rtsp::message::{Limits, Parser};

fn all(data: &[u8], step: usize) -> (Vec<rtsp::message::Message>, bool) {
    let (mut parser, mut input, mut out) = (Parser::new(Limits::default()), BytesMut::new(), Vec::new());
    for chunk in data.chunks(step.max(1)) {
        input.extend_from_slice(chunk);
        loop {
            match parser.next(&mut input) {
                Ok(Some(message)) => out.push(message),
                Ok(None) => break,
                Err(_) => return (out, true),
            }
        }
    }
    (out, false)
}

// Wherever the network cuts the bytes, the messages are the same.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (whole, broken) = all(data, data.len());
    let (pieces, broken_in_pieces) = all(data, 1 + data.len() / 7);
    assert_eq!((whole, broken), (pieces, broken_in_pieces));
});
