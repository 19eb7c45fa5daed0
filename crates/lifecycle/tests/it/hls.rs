//! HLS: a schema that comes later than the others.

use crate::bench::*;
use lifecycle::{Access, Event, Op, Protocol, Settings};
use media::info::OriginType;
use media::{ProtocolOptions, Schema};

fn bench() -> Bench {
    Bench::with(Settings {
        schemas: &[Schema::Rtmp, Schema::Hls],
        ..Settings::default()
    })
}

/// A stream that an RTMP publisher has opened.
fn opened(bench: &mut Bench, options: ProtocolOptions) {
    let publishes = Event::PublishRequested {
        access: access(1, "cam"),
        origin: OriginType::RtmpPush,
    };
    bench.at(0, publishes, &["ask on_publish s1"]);
    bench.reply(0, "on_publish s1", allow(options), &["open cam", "s1 publish ok"]);
}

fn first_segment(bench: &Bench) -> Event {
    Event::SchemaReady {
        key: key("cam"),
        incarnation: bench.incarnation,
        schema: Schema::Hls,
    }
}

fn hls(session: u64) -> Event {
    Event::PlayRequested {
        access: Access {
            schema: Schema::Hls,
            protocol: Protocol::Hls,
            ..access(session, "cam")
        },
        rule: None,
    }
}

#[test]
fn it_is_registered_with_its_first_segment_and_removed_with_the_others() {
    let mut bench = bench();
    opened(&mut bench, ProtocolOptions::default());
    bench.ready(10, "cam", &["register cam rtmp", "+rtmp cam"]);
    let ready = first_segment(&bench);
    bench.at(2000, ready.clone(), &["register cam rtmp,hls", "+hls cam"]);
    bench.at(2100, ready, &[]);
    let close = Op::CloseStream {
        key: key("cam"),
        force: true,
    };
    bench.op(
        3000,
        close,
        &["kick s1", "-rtmp cam", "-hls cam", "remove cam", "op1 done"],
    );
}

#[test]
fn a_stream_that_ends_before_its_first_segment_was_never_there_as_hls() {
    let mut bench = bench();
    opened(&mut bench, ProtocolOptions::default());
    bench.ready(10, "cam", &["register cam rtmp", "+rtmp cam"]);
    let ready = first_segment(&bench);
    let close = Op::CloseStream {
        key: key("cam"),
        force: true,
    };
    bench.op(1000, close, &["kick s1", "-rtmp cam", "remove cam", "op1 done"]);
    bench.at(1001, ready, &[]);
}

#[test]
fn on_demand_it_is_on_offer_from_the_start() {
    let mut bench = bench();
    let options = ProtocolOptions {
        hls_demand: true,
        ..ProtocolOptions::default()
    };
    opened(&mut bench, options);
    bench.ready(10, "cam", &["register cam rtmp,hls", "+rtmp cam", "+hls cam"]);
    let ready = first_segment(&bench);
    bench.at(2000, ready, &[]);
}

#[test]
fn a_player_gets_the_stream_before_its_first_segment() {
    let mut bench = bench();
    opened(&mut bench, ProtocolOptions::default());
    bench.ready(10, "cam", &["register cam rtmp", "+rtmp cam"]);
    bench.at(20, hls(2), &["ask on_play s2"]);
    bench.let_play(21, 2, &["s2 play ok"]);
}
