//! `[[source]]` rules.

use crate::toml;
use config::{Error, RtspTransport, Via};
use std::time::Duration;

fn rule(fields: &str) -> String {
    format!("[[source]]\npattern = 'live/(.+)'\nurl = 'rtmp://o/live/$1'\n{fields}\n")
}

#[test]
fn a_rule_says_where_a_stream_comes_from_and_how_it_is_treated() {
    let text = "[ffmpeg]\ncmd_hd = '%s -i %s -f flv %s'\n[[source]]\npattern = 'cam/(?<n>[0-9]+)'\nurl = 'ffmpeg://rtsp://cam${n}.lan/1'\nclose_after = 2.5\ntransport = 'tcp'\nusername = 'us er'\npassword = 'p@ss'\ntimeout_sec = 4\nretry_count = 3\nffmpeg_cmd_key = 'ffmpeg.cmd_hd'\n";
    let config = toml(text).unwrap().config;
    let source = config.source_for("cam", "12").unwrap();
    assert_eq!(source.via, Via::Ffmpeg);
    assert_eq!(source.url, "rtsp://us%20er:p%40ss@cam12.lan/1");
    assert_eq!(source.shown_url(), "rtsp://***@cam12.lan/1");
    assert_eq!(source.close_after, Some(Duration::from_millis(2500)));
    assert_eq!(source.transport, RtspTransport::Tcp);
    assert_eq!(
        (source.timeout, source.retry_count),
        (Some(Duration::from_secs(4)), Some(3))
    );
    assert_eq!(source.ffmpeg_cmd_key, "ffmpeg.cmd_hd");
    assert!(source.on_demand);
    assert!(!format!("{config:?} {source:?}").contains("p@ss") && !format!("{source:?}").contains("p%40ss"));
    assert_eq!(config.source_for("cam", "x"), None);
}

#[test]
fn absent_fields_have_the_values_of_the_manual() {
    let source = toml(&rule("")).unwrap().config.source_for("live", "a").unwrap();
    assert_eq!(
        (source.via, source.on_demand, source.close_after),
        (Via::Pull, true, None)
    );
    assert_eq!(
        (source.timeout, source.retry_count, source.ffmpeg_cmd_key.as_str()),
        (None, None, "")
    );
}

#[test]
fn the_first_rule_that_matches_counts() {
    let text =
        "source = [{pattern = 'a/1', url = 'rtmp://first/x'}, {pattern = 'a/.', url = 'rtmp://second/x'}]\n";
    let config = toml(text).unwrap().config;
    assert_eq!(config.source_for("a", "1").unwrap().url, "rtmp://first/x");
    assert_eq!(config.source_for("a", "2").unwrap().url, "rtmp://second/x");
}

#[test]
fn times_have_units() {
    for (text, millis) in [
        ("20", 20_000),
        ("'20s'", 20_000),
        ("'500ms'", 500),
        ("'2 m'", 120_000),
        ("'1.5h'", 5_400_000),
        ("0", 0),
    ] {
        let source = toml(&rule(&format!("close_after = {text}")))
            .unwrap()
            .config
            .source_for("live", "a")
            .unwrap();
        assert_eq!(source.close_after, Some(Duration::from_millis(millis)), "{text}");
    }
}

#[test]
fn a_stream_that_is_always_there_has_one_name() {
    let text = "[[source]]\npattern = 'tv/news\\.1'\nurl = 'rtmp://o/news'\non_demand = false\n";
    let config = toml(text).unwrap().config;
    assert_eq!(config.sources[0].fixed_name(), Some(("tv", "news.1")));
    assert!(!config.sources[0].on_demand());
    let errors = toml(&rule("on_demand = false")).unwrap_err();
    assert!(
        errors
            .to_string()
            .starts_with("tidegate.toml:2: source rule 1, pattern: the server cannot start a stream"),
        "{errors}"
    );
}

#[test]
fn wrong_rules_are_refused_with_line_field_and_remedy() {
    let cases = [
        (
            "retries = 1",
            "tidegate.toml:4: source rule 1, retries: there is no such field",
        ),
        (
            "on_demnd = false",
            "tidegate.toml:4: source rule 1, on_demnd: there is no such field; did you mean `on_demand`?",
        ),
        (
            "close_after = 'soon'",
            "tidegate.toml:4: source rule 1, close_after: `soon` is not allowed; it must be a time: ",
        ),
        (
            "close_after = -1",
            "tidegate.toml:4: source rule 1, close_after: `-1` is not allowed; ",
        ),
        (
            "timeout_sec = 0.05",
            "tidegate.toml:4: source rule 1, timeout_sec: `0.05` is not allowed; ",
        ),
        (
            "retry_count = -2",
            "tidegate.toml:4: source rule 1, retry_count: `-2` is not allowed; ",
        ),
        (
            "transport = 'carrier pigeon'",
            "tidegate.toml:4: source rule 1, transport: `carrier pigeon` is not allowed; ",
        ),
        (
            "password = 1234",
            "tidegate.toml:4: source rule 1, password: `***` is not allowed; it must be a string",
        ),
        (
            "password = 'x'",
            "tidegate.toml:4: source rule 1, password: it needs a username beside it",
        ),
        (
            "ffmpeg_cmd_key = 'ffmpeg.cmd'",
            "tidegate.toml:4: source rule 1, ffmpeg_cmd_key: it has no effect without ffmpeg://",
        ),
        (
            "[[source]]\nurl = 'rtmp://o/x'",
            "tidegate.toml:4: source rule 2, pattern: it is missing",
        ),
        (
            "[[source]]\npattern = 'a/b'\nurl = 'srt://o/x'",
            "tidegate.toml:6: source rule 2, url: the scheme must be rtsp",
        ),
        (
            "[[source]]\npattern = 'a/b'\nurl = 'ffmpeg://rtsp://o/x'\nffmpeg_cmd_key = 'ffmpeg.cmd_no'",
            "tidegate.toml:4: source rule 2, ffmpeg_cmd_key: there is no key `ffmpeg.cmd_no`",
        ),
        (
            "[[source]]\npattern = 'a/b'\nurl = 'rtmp://u:p@o/x'\nusername = 'u'",
            "tidegate.toml:7: source rule 2, username: the URL holds credentials already",
        ),
        (
            "[[source]]\npattern = 'a/('\nurl = 'rtmp://o/x'",
            "tidegate.toml:5: source rule 2, pattern: ",
        ),
    ];
    for (fields, error) in cases {
        let errors = toml(&rule(fields)).unwrap_err();
        assert_eq!(errors.errors.len(), 1, "{errors}");
        assert!(errors.to_string().starts_with(error), "{errors}");
    }
}

#[test]
fn the_number_of_rules_is_bounded() {
    let text = "[[source]]\npattern='a/b'\nurl='rtmp://o/x'\n".repeat(10_001);
    let errors = toml(&text).unwrap_err();
    assert!(
        matches!(errors.errors[..], [Error::TooManyRules { got: 10_001, .. }]),
        "{errors}"
    );
}

#[test]
fn hook_endpoints_are_read_and_wrong_ones_refused_with_line_and_field() {
    let good = "[[hook_endpoint]]\nname = 'a'\nurl = 'https://u:p@h/x'\nevents = ['stream.*', 'on_flow_report']\nheaders = ['X-Token: t']\ndurable = true\ntimeout_sec = 2.5\n[[hook_endpoint]]\nname = 'b'\nurl = 'http://h'\nenabled = false\n";
    let loaded = toml(good).unwrap();
    let endpoints = &loaded.config.hook_endpoints;
    assert_eq!(endpoints.len(), 2);
    assert!(endpoints[0].durable && endpoints[0].wants("stream.online"));
    assert_eq!(endpoints[0].timeout, Some(Duration::from_millis(2500)));
    assert!(!endpoints[1].enabled);
    let text = config::explain(&loaded);
    assert!(
        text.contains("a -> https://***@h/x: stream.*, on_flow_report, durable")
            && text.contains("b -> http://h: all of Tidegate's own events, switched off"),
        "{text}"
    );

    let table = "[[hook_endpoint]]\nname = 'a'\nurl = 'http://h'\n";
    for (more, wanted) in [
        (
            "durabel = true",
            "tidegate.toml:4: hook endpoint 1, durabel: there is no such field; did you mean `durable`?",
        ),
        (
            "secret = 'whsec_abc'",
            "tidegate.toml:4: hook endpoint 1, secret: `***` is not allowed; ",
        ),
        (
            "events = [1]",
            "tidegate.toml:4: hook endpoint 1, events: `a table, a date or a list of other things than text`",
        ),
        (
            table,
            "tidegate.toml:5: hook endpoint 2, name: another one has this name",
        ),
        (
            "[[hook_endpoint]]\nname = 'b'",
            "tidegate.toml:4: hook endpoint 2, url: it is missing",
        ),
    ] {
        let errors = toml(&format!("{table}{more}\n")).unwrap_err();
        let text = errors.to_string();
        assert!(text.contains(wanted), "{text}\n{wanted}");
    }
}
