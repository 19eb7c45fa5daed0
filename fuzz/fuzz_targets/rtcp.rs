#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = rtp::rtcp::parse(data);
    let _ = rtp::Packet::parse(data.to_vec().into());
});
