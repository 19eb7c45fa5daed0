use super::super::step::KEY_LEN;
use super::*;
use proptest::prelude::*;

const OPTIONS: Options = Options {
    media_timeout: Duration::from_secs(5),
};

fn url(text: &str) -> Url {
    text.parse().expect("a URL")
}

/// A session, a clock in milliseconds, and what it asks for in short form.
struct Bench {
    session: Session,
    start: Instant,
}

impl Bench {
    fn new() -> Self {
        Self {
            session: Session::new(url("http://origin/live/list.m3u8?t=1"), OPTIONS),
            start: Instant::now(),
        }
    }

    /// One that was given its first playlist at 0.
    fn with(text: &str) -> Self {
        let mut bench = Self::new();
        assert_eq!(bench.at(0), "playlist http://origin/live/list.m3u8?t=1");
        bench.list(0, text);
        bench
    }

    fn time(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn step(&mut self, ms: u64) -> Result<Step, Error> {
        self.session.step(self.time(ms))
    }

    fn at(&mut self, ms: u64) -> String {
        let step = self.step(ms);
        self.show(step)
    }

    fn show(&self, step: Result<Step, Error>) -> String {
        let fetch = |fetch: &Fetch| {
            let range = fetch
                .range
                .map(|range| format!(" {}+{}", range.offset, range.length));
            let iv = fetch
                .decryption
                .as_ref()
                .map(|found| format!(" key {} iv {}", found.key[0], found.iv[15]));
            let path = fetch.url.as_str().trim_start_matches("http://origin/live/");
            format!("{path}{}{}", range.unwrap_or_default(), iv.unwrap_or_default())
        };
        match step {
            Ok(Step::Playlist(url)) => format!("playlist {url}"),
            Ok(Step::Key(url)) => format!("key {url}"),
            Ok(Step::Map(map)) => format!("map {}", fetch(&map)),
            Ok(Step::Segment(segment)) => {
                let Timeline {
                    restarts,
                    discontinuities,
                } = segment.timeline;
                let line = format!("line {restarts}.{discontinuities}");
                format!("{} {} {line}", segment.sequence, fetch(&segment.fetch))
            }
            Ok(Step::Wait(until)) => format!("wait {}", until.duration_since(self.start).as_millis()),
            Ok(Step::Ended) => "ended".to_owned(),
            Err(error) => format!("error: {error}"),
        }
    }

    fn list(&mut self, ms: u64, text: &str) {
        let from = url("http://origin/live/list.m3u8");
        let text = format!("#EXTM3U\n{text}");
        let now = self.time(ms);
        self.session
            .playlist(now, &from, text.as_bytes())
            .expect("a playlist");
    }

    /// Expects these segments in turn, and does them.
    fn segments(&mut self, ms: u64, expected: &[&str]) {
        for expected in expected {
            assert_eq!(self.at(ms), *expected);
            self.session.segment_done();
        }
    }

    fn fail(&mut self, ms: u64) -> Result<(), Error> {
        let step = self.step(ms).expect("a step");
        let now = self.time(ms);
        self.session.failed(now, &step, "404".to_owned())
    }
}

/// A playlist of segments of two seconds, from one number to another.
fn window(from: u64, to: u64) -> String {
    let mut text = format!("#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{from}\n");
    for number in from..=to {
        text += &format!("#EXTINF:2,\n{number}.ts\n");
    }
    text
}

#[test]
fn live_begins_three_target_durations_from_the_end_and_follows() {
    let mut bench = Bench::with(&window(10, 19));
    bench.segments(
        0,
        &["17 17.ts line 0.0", "18 18.ts line 0.0", "19 19.ts line 0.0"],
    );
    assert_eq!(bench.at(100), "wait 2000");
    assert_eq!(bench.at(2_000), "playlist http://origin/live/list.m3u8?t=1");
    bench.list(2_050, &window(10, 19));
    assert_eq!(
        bench.at(2_050),
        "wait 3000",
        "half of it when nothing has changed, from when it was asked for"
    );
    assert_eq!(bench.at(3_000), "playlist http://origin/live/list.m3u8?t=1");
    bench.list(3_010, &window(11, 20));
    bench.segments(3_020, &["20 20.ts line 0.0"]);
    assert_eq!(bench.at(3_100), "wait 5000");
}

#[test]
fn a_reload_that_is_due_comes_before_further_segments() {
    let mut bench = Bench::with(&window(0, 9));
    bench.segments(0, &["7 7.ts line 0.0"]);
    assert_eq!(bench.at(2_100), "playlist http://origin/live/list.m3u8?t=1");
    bench.list(2_100, &window(1, 10));
    bench.segments(
        2_200,
        &["8 8.ts line 0.0", "9 9.ts line 0.0", "10 10.ts line 0.0"],
    );
}

#[test]
fn what_has_ended_is_played_from_its_beginning_to_its_end() {
    let mut bench = Bench::with(&format!("{}#EXT-X-ENDLIST\n", window(0, 5)));
    for number in 0..6 {
        bench.segments(9_000_000, &[&format!("{number} {number}.ts line 0.0")]);
    }
    assert_eq!(bench.at(9_000_000), "ended");
    assert!(!bench.session.is_live());
}

#[test]
fn an_event_is_played_from_its_beginning_and_a_live_playlist_can_end() {
    let event = format!("#EXT-X-PLAYLIST-TYPE:EVENT\n{}", window(0, 5));
    let mut bench = Bench::with(&event);
    bench.segments(0, &["0 0.ts line 0.0"]);
    let mut bench = Bench::with(&window(4, 5));
    bench.segments(0, &["4 4.ts line 0.0", "5 5.ts line 0.0"]);
    assert_eq!(bench.at(2_000), "playlist http://origin/live/list.m3u8?t=1");
    bench.list(2_000, &format!("{}#EXT-X-ENDLIST\n", window(5, 6)));
    bench.segments(2_000, &["6 6.ts line 0.0"]);
    assert_eq!(bench.at(2_000), "ended");
}

#[test]
fn the_playlist_may_say_where_to_begin() {
    for (tags, expected) in [
        ("#EXT-X-START:TIME-OFFSET=4.5\n#EXT-X-ENDLIST\n", "2 "),
        ("#EXT-X-START:TIME-OFFSET=-3\n#EXT-X-ENDLIST\n", "8 "),
        ("#EXT-X-START:TIME-OFFSET=900\n#EXT-X-ENDLIST\n", "9 "),
        ("#EXT-X-START:TIME-OFFSET=-900\n#EXT-X-ENDLIST\n", "0 "),
        ("#EXT-X-START:TIME-OFFSET=0\n", "0 "),
        ("#EXT-X-START:TIME-OFFSET=-1\n", "7 "),
        ("#EXT-X-START:TIME-OFFSET=x\n", "7 "),
        ("#EXT-X-SERVER-CONTROL:HOLD-BACK=10\n", "5 "),
        ("#EXT-X-SERVER-CONTROL:HOLD-BACK=1\n", "7 "),
    ] {
        let got = Bench::with(&format!("{tags}{}", window(0, 9))).at(0);
        assert!(got.starts_with(expected), "{tags}: {got}");
    }
}

#[test]
fn a_window_that_has_moved_past_us_is_entered_again_and_the_loss_is_counted() {
    let mut bench = Bench::with(&window(0, 5));
    bench.segments(0, &["3 3.ts line 0.0"]);
    bench.step(30_000).expect("a playlist");
    bench.list(30_000, &window(10, 19));
    bench.segments(30_000, &["17 17.ts line 0.0"]);
    assert_eq!(bench.session.counters().missed, 13);
}

#[test]
fn an_old_playlist_from_a_cache_is_waited_out() {
    let mut bench = Bench::with(&window(10, 19));
    bench.segments(
        0,
        &["17 17.ts line 0.0", "18 18.ts line 0.0", "19 19.ts line 0.0"],
    );
    bench.step(2_000).expect("a playlist");
    bench.list(2_000, &window(9, 18));
    assert!(bench.at(2_000).starts_with("wait"));
    bench.step(4_000).expect("a playlist");
    bench.list(4_000, &window(12, 21));
    bench.segments(4_000, &["20 20.ts line 0.0", "21 21.ts line 0.0"]);
    assert_eq!(bench.session.counters().restarts, 0);
}

#[test]
fn a_source_that_counts_anew_is_followed_on_a_new_time_line() {
    let mut bench = Bench::with(&window(100, 105));
    bench.segments(
        0,
        &[
            "103 103.ts line 0.0",
            "104 104.ts line 0.0",
            "105 105.ts line 0.0",
        ],
    );
    bench.step(2_000).expect("a playlist");
    bench.list(2_000, &window(0, 1));
    bench.segments(2_000, &["0 0.ts line 1.0", "1 1.ts line 1.0"]);
    assert_eq!(bench.session.counters().restarts, 1);
    // Near the old numbers, it shows by going on.
    let mut bench = Bench::with(&window(0, 5));
    bench.segments(0, &["3 3.ts line 0.0", "4 4.ts line 0.0", "5 5.ts line 0.0"]);
    for (ms, to) in [(2_000, 2), (4_000, 3), (6_000, 4)] {
        assert!(bench.at(ms).starts_with("playlist"));
        bench.list(ms, &window(0, to));
    }
    bench.segments(6_000, &["2 2.ts line 1.0", "3 3.ts line 1.0", "4 4.ts line 1.0"]);
}

#[test]
fn discontinuities_begin_a_time_line_though_the_packager_forgets_those_that_left() {
    let list = |from: u64, to: u64, header: &str| {
        window(from, to).replace("#EXTINF:2,\n5.ts", "#EXT-X-DISCONTINUITY\n#EXTINF:2,\n5.ts") + header
    };
    let mut bench = Bench::with(&list(0, 5, ""));
    bench.segments(0, &["3 3.ts line 0.0", "4 4.ts line 0.0", "5 5.ts line 0.1"]);
    bench.step(2_000).expect("a playlist");
    bench.list(2_000, &list(6, 7, ""));
    bench.segments(2_000, &["6 6.ts line 0.1", "7 7.ts line 0.1"]);
    // Missed segments: the playlist's own count is what there is.
    bench.step(4_000).expect("a playlist");
    bench.list(4_000, &list(20, 21, "#EXT-X-DISCONTINUITY-SEQUENCE:3\n"));
    bench.segments(4_000, &["20 20.ts line 0.3"]);
    let mut late = Bench::with(&list(3, 8, "#EXT-X-DISCONTINUITY-SEQUENCE:7\n"));
    late.segments(0, &["6 6.ts line 0.8"]);
}

#[test]
fn gaps_are_passed_over_and_their_discontinuity_is_not() {
    let text = window(0, 3)
        .replace(
            "#EXTINF:2,\n1.ts",
            "#EXT-X-DISCONTINUITY\n#EXT-X-GAP\n#EXTINF:2,\n1.ts",
        )
        .replace("#EXTINF:2,\n3.ts", "#EXT-X-GAP\n#EXTINF:2,\n3.ts");
    let mut bench = Bench::with(&format!("{text}#EXT-X-ENDLIST\n"));
    bench.segments(0, &["0 0.ts line 0.0", "2 2.ts line 0.1"]);
    assert_eq!(bench.at(0), "ended");
    assert_eq!(bench.session.counters().gaps, 2);
}

#[test]
fn keys_and_initialization_sections_come_before_the_segments_that_need_them() {
    let mut bench = Bench::with(
        "#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:5\n\
        #EXT-X-KEY:METHOD=AES-128,URI=\"/k1\",IV=0x7\n#EXT-X-MAP:URI=\"i.mp4\",BYTERANGE=\"70@0\"\n#EXTINF:2,\n5.m4s\n\
        #EXT-X-KEY:METHOD=AES-128,URI=\"http://keys/k2\"\n#EXTINF:2,\n6.m4s\n\
        #EXT-X-KEY:METHOD=NONE\n#EXTINF:2,\n#EXT-X-BYTERANGE:10@20\n7.m4s\n\
        #EXT-X-MAP:URI=\"j.mp4\"\n#EXTINF:2,\n8.m4s\n#EXT-X-DISCONTINUITY\n#EXTINF:2,\n9.m4s\n#EXT-X-ENDLIST\n",
    );
    assert_eq!(bench.at(0), "key http://origin/k1");
    bench
        .session
        .key(url("http://origin/k1"), &[1; KEY_LEN])
        .expect("a key");
    assert_eq!(bench.at(0), "map i.mp4 0+70 key 1 iv 7");
    bench.session.map_done();
    bench.segments(0, &["5 5.m4s key 1 iv 7 line 0.0"]);
    assert_eq!(bench.at(0), "key http://keys/k2");
    bench
        .session
        .key(url("http://keys/k2"), &[2; KEY_LEN])
        .expect("a key");
    bench.segments(0, &["6 6.m4s key 2 iv 6 line 0.0", "7 7.m4s 20+10 line 0.0"]);
    assert_eq!(bench.at(0), "map j.mp4");
    bench.session.map_done();
    bench.segments(0, &["8 8.m4s line 0.0"]);
    assert_eq!(bench.at(0), "map j.mp4", "again, for a new demuxer");
    bench.session.map_done();
    bench.segments(0, &["9 9.m4s line 0.1"]);
    assert_eq!(bench.at(0), "ended");
}

#[test]
fn encryption_that_cannot_be_undone_is_an_error() {
    let body = |key: &str| format!("#EXT-X-KEY:{key}\n{}#EXT-X-ENDLIST\n", window(0, 0));
    let mut bench = Bench::with(&body("METHOD=SAMPLE-AES,URI=\"k\""));
    assert_eq!(bench.at(0), "error: not supported: encryption with SAMPLE-AES");
    let mut bench = Bench::with(&body("METHOD=SAMPLE-AES-CTR,URI=\"k\",KEYFORMAT=\"urn:x\""));
    assert_eq!(
        bench.at(0),
        "error: not supported: encryption with SAMPLE-AES-CTR with keys of urn:x"
    );
    let mut bench = Bench::with(&body("METHOD=AES-128,URI=\"k\""));
    let got = bench.session.key(url("http://origin/live/k"), &[0; 15]);
    assert_eq!(got, Err(Error::KeyLength { got: 15 }));
    assert!(bench.fail(0).is_err(), "no key, no media");
    let mut bench = Bench::with(&body("METHOD=AES-128,URI=\"k\"\n#EXT-X-MAP:URI=\"m\""));
    assert_eq!(bench.step(0), Err(Error::MapWithoutIv));
}

#[test]
fn single_segments_may_fail_and_three_in_a_row_may_not() {
    let mut bench = Bench::with(&format!("{}#EXT-X-ENDLIST\n", window(0, 9)));
    bench.segments(0, &["0 0.ts line 0.0"]);
    assert_eq!((bench.fail(0), bench.fail(0)), (Ok(()), Ok(())));
    bench.segments(0, &["3 3.ts line 0.0"]);
    assert_eq!((bench.fail(0), bench.fail(0)), (Ok(()), Ok(())));
    let reason = "404".to_owned();
    assert_eq!(bench.fail(0), Err(Error::Segments { reason }));
    assert_eq!(bench.session.counters().failed, 5);
}

#[test]
fn a_playlist_that_cannot_be_had_is_asked_for_again() {
    let mut bench = Bench::new();
    assert!(bench.fail(0).is_err(), "the first one must be there");
    let mut bench = Bench::with(&window(0, 3));
    bench.segments(0, &["1 1.ts line 0.0", "2 2.ts line 0.0", "3 3.ts line 0.0"]);
    assert_eq!(bench.fail(2_000), Ok(()));
    assert_eq!(bench.at(2_000), "wait 3000");
    assert_eq!(bench.fail(3_000), Ok(()));
    assert!(matches!(
        bench.fail(4_000),
        Err(Error::Failed {
            what: "the playlist",
            ..
        })
    ));
}

#[test]
fn a_playlist_that_does_not_go_on_is_a_stall() {
    let mut bench = Bench::with(&window(0, 3));
    bench.segments(0, &["1 1.ts line 0.0", "2 2.ts line 0.0", "3 3.ts line 0.0"]);
    let mut now = 0;
    let error = loop {
        match bench.step(now) {
            Ok(Step::Playlist(_)) => bench.list(now, &window(0, 3)),
            Ok(Step::Wait(until)) => now = until.duration_since(bench.start).as_millis() as u64,
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
        assert!(now < 60_000);
    };
    // Three target durations; the media timeout is shorter.
    assert_eq!(
        (now, error.to_string()),
        (
            6_000,
            "receive hls media timeout: the playlist has named no new segment for 6 s".into()
        )
    );
}

#[test]
fn a_reader_that_was_held_up_is_not_taken_for_a_stall() {
    let event = format!("#EXT-X-PLAYLIST-TYPE:EVENT\n{}", window(0, 3));
    let mut bench = Bench::with(&event);
    bench.segments(0, &["0 0.ts line 0.0"]);
    // Ten minutes at a buffer that is full.
    bench.step(600_000).expect("a playlist");
    bench.list(600_000, &event);
    bench.segments(
        600_000,
        &["1 1.ts line 0.0", "2 2.ts line 0.0", "3 3.ts line 0.0"],
    );
    assert_eq!(bench.at(600_000), "wait 601000");
}

#[test]
fn redirects_give_the_base_and_other_schemes_are_refused() {
    let mut bench = Bench::new();
    let text = format!("#EXTM3U\n{}#EXT-X-ENDLIST\n", window(0, 0));
    let now = bench.time(0);
    bench
        .session
        .playlist(now, &url("https://cdn/a/b/c.m3u8?q"), text.as_bytes())
        .expect("a playlist");
    assert_eq!(bench.at(0), "0 https://cdn/a/b/0.ts line 0.0");
    for uri in [
        "file:///etc/passwd",
        "data:text/plain,x",
        "//",
        "http://",
        "rtsp://cam/1",
    ] {
        let mut bench = Bench::with(&format!(
            "#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{uri}\n#EXT-X-ENDLIST\n"
        ));
        assert!(matches!(bench.step(0), Err(Error::Url { .. })), "{uri}");
    }
}

#[test]
fn a_master_playlist_names_its_media_playlists_and_no_master() {
    let master = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",URI=\"../a.m3u8\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=5,AUDIO=\"a\"\nv/hi.m3u8\n";
    let asked = url("http://origin/x.m3u8");
    let now = Instant::now();
    let opened = open(
        now,
        &asked,
        &url("http://cdn/p/q/m.m3u8"),
        master.as_bytes(),
        OPTIONS,
    );
    let Ok(Opened::Variant { media, audio }) = opened else {
        panic!("{opened:?}")
    };
    assert_eq!(media.as_str(), "http://cdn/p/q/v/hi.m3u8");
    assert_eq!(audio.map(String::from).as_deref(), Some("http://cdn/p/a.m3u8"));
    let mut session = Session::new(asked.clone(), OPTIONS);
    assert_eq!(
        session.playlist(now, &asked, master.as_bytes()),
        Err(Error::NestedMaster)
    );
    let text = format!("#EXTM3U\n{}", window(0, 3));
    let Ok(Opened::Media(mut session)) = open(now, &asked, &asked, text.as_bytes(), OPTIONS) else {
        panic!("a media playlist")
    };
    assert!(matches!(session.step(now), Ok(Step::Segment(segment)) if segment.sequence == 1));
}

#[test]
fn an_empty_live_playlist_is_waited_for() {
    let mut bench = Bench::with("#EXT-X-TARGETDURATION:2\n");
    assert_eq!(bench.at(0), "wait 2000");
    assert!(bench.at(2_000).starts_with("playlist"));
    bench.list(2_000, &window(7, 7));
    bench.segments(2_000, &["7 7.ts line 0.0"]);
}

proptest! {
    /// Any succession of windows: numbers only go up on one count, no step is asked for twice when answered, waits end.
    #[test]
    fn numbers_go_up_and_waits_end(windows in proptest::collection::vec((0u64..60, 0u64..12, any::<bool>()), 1..40)) {
        let mut bench = Bench::new();
        let mut now = 0;
        let mut last = None;
        for (from, length, ended) in windows {
            for _ in 0..40 {
                match bench.step(now) {
                    Ok(Step::Playlist(_)) => break,
                    Ok(Step::Segment(segment)) => {
                        let at = (segment.timeline.restarts, segment.sequence);
                        prop_assert!(last < Some(at), "{:?} then {:?}", last, at);
                        last = Some(at);
                        bench.session.segment_done();
                    }
                    Ok(Step::Wait(until)) => {
                        prop_assert!(until > bench.time(now));
                        now = until.duration_since(bench.start).as_millis() as u64;
                    }
                    Ok(Step::Ended) | Err(_) => return Ok(()),
                    Ok(other) => panic!("{other:?}"),
                }
            }
            let end = if ended { "#EXT-X-ENDLIST\n" } else { "" };
            let text = if length == 0 { "#EXT-X-TARGETDURATION:2\n".to_owned() } else { window(from, from + length - 1) };
            bench.list(now, &format!("{text}{end}"));
        }
    }
}
