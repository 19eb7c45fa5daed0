//! The publisher's side: lease, readiness, coming back.

use crate::kit::*;
use hub::{Admission, Closed, EndReason, GateLimits, Progress, PublishError, RingLimits, TrackPolicy};
use media::options::ProtocolOptions;
use media::{Frame, MediaKind, Schema, TrackId};

fn bench() -> Bench {
    Bench::new(RingLimits::default(), plain_policy())
}

fn with_silence() -> Bench {
    let options = ProtocolOptions {
        modify_stamp: 0,
        ..ProtocolOptions::default()
    };
    Bench::new(
        RingLimits::default(),
        TrackPolicy::new(&options, GateLimits::default()),
    )
}

fn kinds(bench: &Bench) -> Vec<MediaKind> {
    bench.stream.tracks().iter().map(|track| track.kind()).collect()
}

#[test]
fn there_is_one_publisher_at_a_time() {
    let mut bench = bench();
    assert_eq!(bench.stream.publisher(None).err(), Some(PublishError::Busy));
    bench.publisher = None;
    assert!(!bench.stream.has_publisher());
    let (left, heard) = std::sync::mpsc::channel();
    let publisher = bench
        .stream
        .publisher(Some(Box::new(move || left.send(()).unwrap())))
        .unwrap();
    assert!(heard.try_recv().is_err());
    drop(publisher);
    assert!(heard.try_recv().is_ok());
    bench.stream.close(EndReason::OriginLost);
    assert_eq!(
        bench.stream.publisher(None).err(),
        Some(PublishError::Closed(EndReason::OriginLost))
    );
}

#[test]
fn a_publisher_learns_that_the_stream_was_closed() {
    let mut bench = Bench::video_only(RingLimits::default());
    bench.stream.close(EndReason::Unwatched);
    let now = bench.start;
    assert_eq!(
        bench.publisher().write(now, frame("k0", 0)),
        Err(Closed(EndReason::Unwatched))
    );
    assert_eq!(bench.publisher().poll(now), Err(Closed(EndReason::Unwatched)));
    assert!(!bench.stream.is_live());
}

#[test]
fn frames_before_readiness_are_kept_and_ready_is_told_once() {
    let mut bench = bench();
    let start = bench.start;
    bench.publisher().tracks_declared(start, true, true);
    bench.publisher().set_track(start, video(None));
    bench.publisher().set_track(start, audio(Some("s1")));
    assert_eq!(
        bench.publisher().write(start, frame("k0", 0)),
        Ok(Progress::Waiting)
    );
    assert_eq!(
        bench.publisher().write(start, frame("a1", 10)),
        Ok(Progress::Waiting)
    );
    assert!(!bench.stream.is_live());
    bench.publisher().set_track(start, video(Some("v1")));
    assert!(
        bench
            .publisher()
            .next_deadline()
            .is_some_and(|time| time <= start)
    );
    assert_eq!(
        bench.publisher().write(start, frame("p2", 40)),
        Ok(Progress::Ready)
    );
    assert_eq!(
        bench.publisher().write(start, frame("p3", 80)),
        Ok(Progress::Live)
    );
    assert_eq!(bench.publisher().next_deadline(), None);
    assert_eq!(bench.tap(A).poll(), packets("H C0:v1 C1:s1 k0 a1 p2 p3"));
}

#[test]
fn the_cache_before_readiness_is_bounded_per_track() {
    let mut bench = bench();
    let start = bench.start;
    bench.publisher().tracks_declared(start, true, true);
    bench.publisher().set_track(start, video(Some("v1")));
    bench.publisher().set_track(start, audio(None));
    bench.write("a0");
    for index in 0..200 {
        bench.write(&format!("k{index}"));
    }
    bench.publisher().set_track(start, audio(Some("s1")));
    let now = bench.at(10_000);
    assert_eq!(bench.publisher().poll(now), Ok(Progress::Ready));
    let totals = bench.hub.totals();
    assert_eq!((totals.frames_in, totals.frames_dropped), (101, 100));
}

#[test]
fn declared_audio_without_data_is_given_up_after_a_second() {
    let mut bench = bench();
    let start = bench.start;
    bench.publisher().tracks_declared(start, true, true);
    bench.publisher().set_track(start, video(Some("v1")));
    let deadline = bench.at(1_000);
    assert_eq!(bench.publisher().next_deadline(), Some(deadline));
    let before = bench.at(999);
    assert_eq!(
        bench.publisher().write(before, frame("k0", 0)),
        Ok(Progress::Waiting)
    );
    assert_eq!(bench.publisher().poll(deadline), Ok(Progress::Ready));
    assert_eq!(kinds(&bench), [MediaKind::Video]);
    let mut tap = bench.tap(A);
    assert_eq!(tap.poll(), packets("H C0:v1 k0"));
    // It comes after all: better late than silent.
    bench.publisher().set_track(deadline, audio(Some("s1")));
    bench.write("a1");
    assert_eq!(tap.poll(), packets("C1:s1 a1"));
}

#[test]
fn one_undeclared_track_waits_three_seconds_for_another() {
    let mut bench = bench();
    let start = bench.start;
    bench.publisher().set_track(start, video(Some("v1")));
    let deadline = bench.at(3_000);
    assert_eq!(bench.publisher().next_deadline(), Some(deadline));
    bench.write("k0");
    assert!(!bench.stream.is_live());
    assert_eq!(bench.publisher().poll(deadline), Ok(Progress::Ready));
}

#[test]
fn a_track_that_never_gets_ready_is_given_up_after_ten_seconds() {
    let mut bench = bench();
    let start = bench.start;
    bench.publisher().set_track(start, video(None));
    bench.publisher().set_track(start, audio(Some("s1")));
    bench.write("k0 a1");
    let deadline = bench.at(10_000);
    assert_eq!(bench.publisher().next_deadline(), Some(deadline));
    assert_eq!(bench.publisher().poll(deadline), Ok(Progress::Ready));
    assert_eq!(kinds(&bench), [MediaKind::Audio]);
    assert_eq!(bench.tap(A).poll(), packets("H C1:s1 a1"));
}

#[test]
fn audio_can_be_switched_off() {
    let mut options = plain_policy();
    options.enable_audio = false;
    let mut bench = Bench::new(RingLimits::default(), options);
    let start = bench.start;
    bench.publisher().tracks_declared(start, true, true);
    assert_eq!(
        bench.publisher().set_track(start, audio(Some("s1"))),
        Admission::AudioDisabled
    );
    assert_eq!(
        bench.publisher().set_track(start, video(Some("v1"))),
        Admission::Added
    );
    assert_eq!(bench.publisher().poll(start), Ok(Progress::Ready));
    bench.write("k0 a1 p2");
    assert_eq!(bench.tap(A).poll(), packets("H C0:v1 k0 p2"));
    assert_eq!(bench.hub.totals().frames_dropped, 1);
}

#[test]
fn surplus_tracks_are_ignored() {
    let mut bench = bench();
    let start = bench.start;
    bench.publisher().set_track(start, video(Some("v1")));
    bench.publisher().set_track(start, audio(Some("s1")));
    let third = media::Track {
        id: TrackId(2),
        ..audio(Some("s2"))
    };
    assert_eq!(
        bench.publisher().set_track(start, third),
        Admission::TooMany { max: 2 }
    );
    assert_eq!(
        bench.publisher().set_track(start, audio(Some("s1"))),
        Admission::Unchanged
    );
    bench.publisher().poll(start).unwrap();
    let stray = Frame {
        track: TrackId(2),
        ..frame("a0", 0)
    };
    bench.publisher().write(start, stray).unwrap();
    assert_eq!(bench.hub.totals().frames_in, 0);
}

#[test]
fn a_stream_without_sound_gets_silence_until_sound_comes() {
    let mut bench = with_silence();
    let start = bench.start;
    bench.publisher().tracks_declared(start, true, false);
    bench.publisher().set_track(start, video(Some("v1")));
    bench.publisher().poll(start).unwrap();
    assert_eq!(kinds(&bench), [MediaKind::Video, MediaKind::Audio]);
    let mut tap = bench.tap(A);
    tap.poll();
    bench.write("k0 p1 p2 p3 p4");
    tap.poll();
    let silent = media::codec::aac::silence_8k_mono().unit;
    let marks: Vec<_> = tap
        .batch
        .packets()
        .iter()
        .map(|packet| packet.parts[1] == silent)
        .collect();
    // At 0 ms, before the key frame at which the viewer begins, and at 128 ms, before the picture of 160 ms.
    assert_eq!(marks, [false, false, false, false, true, false]);
    assert_eq!(bench.hub.totals().frames_in, 5, "silence is not received");
    bench.publisher().set_track(start, audio(Some("s1")));
    bench.write("p5 p6 p7 p8 p9");
    assert_eq!(tap.poll(), packets("C1:s1 p5 p6 p7 p8 p9"));
}

#[test]
fn a_stream_of_sound_alone_gets_no_silence() {
    let mut bench = with_silence();
    let start = bench.start;
    bench.publisher().tracks_declared(start, false, true);
    bench.publisher().set_track(start, audio(Some("s1")));
    bench.publisher().poll(start).unwrap();
    assert_eq!(kinds(&bench), [MediaKind::Audio]);
}

#[test]
fn video_before_its_first_key_frame_is_dropped() {
    let mut bench = Bench::video_only(RingLimits::default());
    bench.write("p0 p1 k2 p3");
    assert_eq!(bench.tap(A).poll(), packets("H C0:v1 k2 p3"));
    assert_eq!(bench.hub.totals().frames_dropped, 2);
}

#[test]
fn a_publisher_that_comes_back_keeps_the_readers_and_the_time_line() {
    let mut bench = Bench::video_only(RingLimits::default());
    bench.write("k0 p1 p2");
    let mut tap = bench.tap(A);
    tap.poll();
    assert_eq!(tap.poll(), Got::Pending);
    bench.publisher = None;
    assert!(bench.stream.is_live());
    assert_eq!(tap.poll(), Got::Pending);
    let mut late = bench.tap(A);
    assert_eq!(late.poll(), packets("H C0:v1 k0 p1 p2"));

    bench.publisher = Some(bench.stream.publisher(None).unwrap());
    let now = bench.at(5_000);
    bench.publisher().tracks_declared(now, true, false);
    bench.publisher().set_track(now, video(Some("v1")));
    bench.millis = 0;
    bench.write("p3 k4 p5");
    assert_eq!(
        tap.poll(),
        packets("k4 p5"),
        "frames that refer to lost ones are left out"
    );
    let times: Vec<_> = tap
        .batch
        .packets()
        .iter()
        .map(|packet| packet.dts.as_millis())
        .collect();
    // The last frame was at 80 ms; the first of the new ones, which was dropped, got 120 ms.
    assert_eq!(times, [160, 200]);
    assert_eq!(late.poll(), packets("k4 p5"));
}

#[test]
fn tracks_that_come_back_unevenly_are_not_set_before_the_old_ones() {
    let mut bench = bench();
    let start = bench.start;
    let announce = |bench: &mut Bench| {
        bench.publisher().set_track(start, video(Some("v1")));
        bench.publisher().set_track(start, audio(Some("s1")));
    };
    announce(&mut bench);
    bench.millis = 10_000;
    bench.write("k0 a1");
    let mut tap = bench.tap(A);
    tap.poll();
    bench.publisher = None;
    bench.publisher = Some(bench.stream.publisher(None).unwrap());
    announce(&mut bench);
    for frame in [
        frame("a2", 700),
        frame("k3", 500),
        frame("a4", 740),
        frame("p5", 720),
    ] {
        bench.publisher().write(start, frame).unwrap();
    }
    assert_eq!(tap.poll(), packets("a2 k3 a4 p5"));
    let times: Vec<_> = tap
        .batch
        .packets()
        .iter()
        .map(|packet| packet.dts.as_millis())
        .collect();
    assert_eq!(times, [10_080, 10_080, 10_120, 10_100]);
}

#[test]
fn a_publisher_that_comes_back_with_fewer_tracks_replaces_the_list() {
    let mut bench = bench();
    let start = bench.start;
    bench.publisher().set_track(start, video(Some("v1")));
    bench.publisher().set_track(start, audio(Some("s1")));
    bench.write("k0 a1");
    let mut tap = bench.tap(A);
    tap.poll();
    bench.publisher = Some({
        bench.publisher = None;
        bench.stream.publisher(None).unwrap()
    });
    assert_eq!(
        kinds(&bench),
        [MediaKind::Video, MediaKind::Audio],
        "until the new tracks are ready"
    );
    bench.publisher().tracks_declared(start, false, true);
    bench.publisher().set_track(start, audio(Some("s2")));
    assert_eq!(bench.publisher().poll(start), Ok(Progress::Ready));
    assert_eq!(kinds(&bench), [MediaKind::Audio]);
    bench.write("a2 a3");
    assert_eq!(tap.poll(), packets("C1:s2 a2 a3"));
    assert_eq!(bench.tap(B).poll(), packets("H C1:s2 a2 a3"));
}

/// The loss of the video and of the audio track, as reports show it.
fn losses(bench: &Bench) -> Vec<Option<f32>> {
    let info = bench.stream.info(Schema::Rtsp, bench.start);
    info.tracks.iter().map(|track| track.loss).collect()
}

#[test]
fn a_publisher_reports_lost_packets_of_its_own_tracks() {
    let mut bench = bench();
    let start = bench.start;
    bench.publisher().set_track(start, video(Some("v1")));
    bench.publisher().set_track(start, audio(Some("s1")));
    // Before the tracks are offered, too.
    bench.publisher().set_loss(VIDEO, 1, 8);
    bench.write("k0 a0");
    assert_eq!(losses(&bench), [Some(12.5), None]);

    bench.publisher().set_loss(AUDIO, 0, 100);
    bench.publisher().set_loss(VIDEO, 0, 0);
    bench.publisher().set_loss(TrackId(77), 1, 2);
    bench.publisher().set_loss(VIDEO, 1, 10);
    bench.publisher().set_loss(VIDEO, 3, 2);
    assert_eq!(losses(&bench), [Some(12.5), None], "shown with the next call");
    bench.publisher().poll(start).unwrap();
    assert_eq!(losses(&bench), [Some(100.0), Some(0.0)]);

    // A changed configuration does not forget it; the next publisher does.
    bench.publisher().set_track(start, video(Some("v2")));
    assert_eq!(losses(&bench), [Some(100.0), Some(0.0)]);
    bench.publisher = None;
    bench.publisher = Some(bench.stream.publisher(None).unwrap());
    bench.publisher().set_track(start, video(Some("v2")));
    bench.publisher().set_track(start, audio(Some("s1")));
    bench.write("k1 a1");
    assert_eq!(losses(&bench), [None, None]);
}
