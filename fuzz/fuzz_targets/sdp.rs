#![no_main]

use rtp::format::Format;
use rtp::sdp::{Media, Session};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(session) = Session::parse(data) else { return };
    for media in &session.media {
        if let Some(format) = Format::of(media) {
            let _ = format.initial();
        }
        // What is passed on can be read back.
        Media::parse_section(&media.section()).expect("a section that was written");
    }
});
