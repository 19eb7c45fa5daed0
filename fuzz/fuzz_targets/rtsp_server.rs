#![no_main]

use bytes::BytesMut;
use rtsp::message::Limits;
use rtsp::server::{
    Allowed, Config, Description, Event, Output, PlayAnswer, Refusal, ServerSession, SetupAnswer, Ways,
};
use std::time::{Duration, Instant};

// A client that says anything, and a server that grants most of it: whatever comes, it ends, and each request is decided once.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((seed, data)) = data.split_first() else { return };
    let config = Config {
        server: "test".to_owned(),
        handshake: Duration::from_secs(1),
        keep_alive: Duration::from_secs(1),
        allowed: Allowed::Any,
        limits: Limits::default(),
    };
    let mut now = Instant::now();
    let mut session = ServerSession::new(config, u64::from(*seed), now);
    let mut input = BytesMut::new();
    for chunk in data.chunks(1 + usize::from(*seed)) {
        input.extend_from_slice(chunk);
        if session.handle_bytes(now, &mut input).is_err() {
            return;
        }
        while let Some(output) = session.poll_output() {
            let Output::Event(event) = output else { continue };
            match event {
                Event::Describe(request) => session.describe(
                    now,
                    if request.stream == "no" {
                        Err(Refusal::NotFound)
                    } else {
                        Ok(Description {
                            sdp: "v=0\r\n".to_owned(),
                            controls: vec!["trackID=0".to_owned(), "trackID=1".to_owned()],
                        })
                    },
                ),
                Event::Announce(..) => session.announce(now, Ok(())),
                Event::Setup(request) => session.set_up(
                    now,
                    Ok(match request.way {
                        Ways::Tcp => SetupAnswer::Tcp { ssrc: Some(1) },
                        Ways::Udp(..) | Ways::Multicast => SetupAnswer::Udp {
                            ssrc: None,
                            ports: (2, 3),
                        },
                    }),
                ),
                Event::Play => session.play(now, Ok(PlayAnswer::default())),
                _ => {}
            }
            let _ = session.handle_bytes(now, &mut input);
        }
        now += Duration::from_millis(100);
        session.handle_timeout(now);
    }
});
