//! `getServerConfig` and `setServerConfig` (api.md, section 3.1), with the cases of the captures.

use crate::{ini, pairs};

const FILE: &str = "[general]\nflowThreshold=2048\n[transcode]\nsuffix=hd\n[hook]\nenable=1\n";

#[test]
fn changes_are_counted_as_the_reference_counts_them() {
    let config = ini(FILE).unwrap().config;
    for (changes, changed) in [
        (&[("general.flowThreshold", "4096")][..], 1),
        (&[("general.flowThreshold", "2048")], 0),
        (
            &[
                ("secret", "x"),
                ("general.flowThreshold", "1024"),
                ("hook.timeoutSec", "11"),
                ("no.such_key", "1"),
            ],
            2,
        ),
        (&[], 0),
        (&[("ffmpeg.bin", "/bin/sh"), ("ffmpeg.snap", "x")], 0),
        (
            &[("hook.on_record_ts", "http://127.0.0.1:12999/index/hook?a=1&b=2")],
            1,
        ),
        // Case matters, also for keys.
        (&[("hook.Enable", "0"), ("HOOK.ENABLE", "0")], 0),
        // A key that only the file has counts as known; a template that nobody wrote there does not.
        (
            &[("transcode.suffix", "sd"), ("ffmpeg.cmd_new", "%s -i %s %s")],
            1,
        ),
        (&[("transcode.suffix", "")], 1),
    ] {
        let outcome = config.set(&pairs(changes));
        assert_eq!(
            (outcome.changed, outcome.rejected.len()),
            (changed, 0),
            "{changes:?}"
        );
    }
}

#[test]
fn a_change_is_in_force_typed_and_as_text() {
    let config = ini(FILE).unwrap().config;
    let changes = [
        ("hook.on_play", "http://hook/play"),
        ("api.secret", "other"),
        ("protocol.enable_audio", "0"),
    ];
    let new = config.set(&pairs(&changes)).config;
    assert_eq!(new.hook.on_play.as_deref(), Some("http://hook/play"));
    assert_eq!(new.api.secret.expose(), "other");
    assert!(!new.protocol.defaults().enable_audio);
    assert!(
        new.flat()
            .any(|pair| pair == ("hook.on_play", "http://hook/play"))
    );
    assert_eq!(config.hook.on_play, None, "the old one stays as it was");
    let cleared = new.set(&pairs(&[("hook.on_play", "")]));
    assert_eq!((cleared.changed, cleared.config.hook.on_play), (1, None));
}

#[test]
fn a_value_that_is_not_allowed_is_refused_and_the_others_are_taken() {
    let config = ini(FILE).unwrap().config;
    let changes = [
        ("hook.timeoutSec", "soon"),
        ("hook.retry", "3"),
        ("api.secret", ""),
        ("general.mediaServerId", "a\r\n[api]\r\nsecret=known"),
        ("http.port", ""),
    ];
    let outcome = config.set(&pairs(&changes));
    assert_eq!(outcome.changed, 1);
    assert_eq!(outcome.config.hook.retry, 3);
    assert_eq!(outcome.config.hook.timeout, config.hook.timeout);
    assert_eq!(outcome.config.text("hook.timeoutSec"), Some("10"));
    assert_eq!(outcome.config.api.secret, config.api.secret);
    let refused: Vec<_> = outcome
        .rejected
        .iter()
        .map(|rejected| rejected.key.as_str())
        .collect();
    assert_eq!(
        refused,
        [
            "hook.timeoutSec",
            "api.secret",
            "general.mediaServerId",
            "http.port"
        ]
    );
    assert_eq!(
        outcome.rejected[0].to_string(),
        "hook.timeoutSec = `soon` is not allowed; it must be a number of seconds from 0.05 to 3600"
    );
}

#[test]
fn what_wvp_sets_when_it_connects_is_taken() {
    let config = ini("").unwrap().config;
    let hook = "http://wvp:18080/index/hook/x";
    let mut changes = pairs(&[
        (
            "ffmpeg.snap",
            "%s -rtsp_transport tcp -i %s -y -f mjpeg -frames:v 1 %s",
        ),
        ("hook.enable", "1"),
        ("hook.timeoutSec", "30"),
        ("protocol.continue_push_ms", "3000"),
        ("protocol.downloadRoot", "/x"),
        ("protocol.mp4_save_path", "/record"),
        ("record.appName", "record2"),
        ("rtp_proxy.port_range", "40000-45000"),
    ]);
    for name in [
        "play",
        "publish",
        "server_started",
        "stream_changed",
        "stream_none_reader",
        "stream_not_found",
    ] {
        changes.push((format!("hook.on_{name}"), hook.to_owned()));
    }
    for name in [
        "flow_report",
        "http_access",
        "record_ts",
        "rtsp_auth",
        "rtsp_realm",
        "shell_login",
    ] {
        changes.push((format!("hook.on_{name}"), String::new()));
    }
    let outcome = config.set(&changes);
    assert_eq!((outcome.changed, outcome.rejected), (12, vec![]));
}

/// Else the server would run on, and not start again.
#[test]
fn changes_that_no_start_would_accept_are_refused_together() {
    let config = ini(FILE).unwrap().config;
    let http = config.text("http.port").unwrap().to_owned();
    for changes in [
        vec![("rtmp.port", http.as_str()), ("hook.retry", "7")],
        vec![("http.cert_file", "/x.pem")],
    ] {
        let outcome = config.set(&pairs(&changes));
        assert_eq!((outcome.changed, outcome.rejected.len()), (0, changes.len()));
        assert!(tidegate_config::Config::diff(&config, &outcome.config).is_empty());
        assert!(outcome.rejected[0].to_string().contains(changes[0].0));
    }
    let swap = [("http.port", "1"), ("rtmp.port", http.as_str())];
    assert_eq!(config.set(&pairs(&swap)).changed, 2);
}
