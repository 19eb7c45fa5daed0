#![no_main]

use hls::client::{KEY_LEN, Opened, Options, Session, Step, open};
use std::time::{Duration, Instant};
use url::Url;

/// Steps between two playlists. More segments than that are left for the next one.
const MAX_STEPS: usize = 64;

// A source that answers with anything, playlist after playlist (0xFF between them), and whose resources sometimes fail: numbers go up
// on each count, every step that is answered is followed by another one, and every wait has an end that is to come.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((seed, data)) = data.split_first() else { return };
    let mut playlists = data.split(|byte| *byte == 0xFF);
    let asked: Url = "http://origin/live/list.m3u8".parse().expect("a URL");
    let options = Options {
        media_timeout: Duration::from_secs(5),
    };
    let mut now = Instant::now();
    let first = playlists.next().unwrap_or_default();
    let mut session = match open(now, &asked, &asked, first, options) {
        Ok(Opened::Media(session)) => *session,
        Ok(Opened::Variant { media, .. }) => Session::new(media, options),
        Err(_) => return,
    };
    let mut last = None;
    let mut steps = 0usize;
    loop {
        let step = match session.step(now) {
            Ok(step) => step,
            Err(_) => return,
        };
        steps += 1;
        let fails = *seed != 0 && steps.is_multiple_of(usize::from(*seed));
        match &step {
            Step::Ended => return,
            Step::Wait(until) => {
                assert!(*until > now, "a wait that is over");
                assert!(*until <= now + Duration::from_secs(60), "a wait of more than a minute");
                now = *until;
            }
            Step::Playlist(_) => {
                let Some(text) = playlists.next() else { return };
                steps = 0;
                if session.playlist(now, &asked, text).is_err()
                    && session.failed(now, &step, "bad".to_owned()).is_err()
                {
                    return;
                }
            }
            Step::Segment(segment) => {
                let at = (segment.timeline.restarts, segment.sequence);
                assert!(last < Some(at), "{last:?}, then {at:?}");
                last = Some(at);
                if !fails {
                    session.segment_done();
                } else if session.failed(now, &step, "bad".to_owned()).is_err() {
                    return;
                }
            }
            Step::Map(_) => session.map_done(),
            Step::Key(url) => {
                let key = [*seed; KEY_LEN];
                session.key(url.clone(), &key).expect("a key");
            }
        }
        if steps > MAX_STEPS {
            now += Duration::from_secs(60);
            steps = 1;
        }
    }
});
