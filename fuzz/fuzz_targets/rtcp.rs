#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rtp::rtcp::Rtcp::parse(data).for_each(drop);
    let _ = rtp::Packet::parse(data.to_vec().into());
});
