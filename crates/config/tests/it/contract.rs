//! What ZLM's users and clients rely on.

use crate::ini;
use config::{Warning, keys};
use std::collections::BTreeMap;
use std::time::Duration;

const SHIPPED: &str = include_str!("../testdata/zlm_shipped.ini");

fn golden(case: &str) -> serde_json::Value {
    let path = format!(
        "{}/../../contract/golden/api/{case}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_table_has_exactly_the_keys_that_the_reference_reports() {
    let golden = golden("getServerConfig.ok");
    let mut reported: Vec<_> = golden["response"]["json"]["data"][0]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let mut table: Vec<_> = keys::all()
        .filter(|key| !key.own)
        .map(|key| key.name.to_owned())
        .collect();
    reported.sort();
    table.sort();
    assert_eq!(table, reported);
}

#[test]
fn the_file_that_zlm_ships_works_unchanged() {
    let loaded = ini(SHIPPED).unwrap();
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(
        (
            config.http.port,
            config.http.ssl_port,
            config.rtsp.port,
            config.rtsp.ssl_port
        ),
        (80, 443, 554, 0)
    );
    assert_eq!((config.rtmp.port, config.rtmp.ssl_port), (1935, 0));
    assert_eq!(config.general.media_server_id, "your_server_id");
    assert_eq!(config.hook.alive_interval, Duration::from_secs(10));
    assert_eq!(config.general.flow_threshold, 1024 * 1024);
    assert!(loaded.secret_replaced, "the published secret is no secret");
    assert_eq!(config.api.secret.expose(), "a".repeat(32));
}

#[test]
fn built_in_values_are_those_of_the_shipped_file_but_for_ports_and_secrets() {
    let shipped: BTreeMap<String, String> = ini(SHIPPED).unwrap().config.flat().map(owned).collect();
    let built_in: BTreeMap<String, String> = ini("").unwrap().config.flat().map(owned).collect();
    let number = |text: &String| text.parse::<f64>().ok();
    let mut others: Vec<_> = shipped
        .iter()
        .filter(|(name, text)| {
            let built_in = &built_in[*name];
            let same_number = number(text).is_some() && number(text) == number(built_in);
            *text != built_in && !same_number
        })
        .map(|(name, _)| name.as_str())
        .collect();
    // The secret is made up in both.
    others.retain(|name| *name != "api.secret");
    let wanted = [
        "general.mediaServerId",
        "http.port",
        "http.sslport",
        "rtc.enableTurn",
        "rtmp.sslport",
        "rtsp.port",
        "rtsp.sslport",
    ];
    assert_eq!(others, wanted);
    for (name, port) in [
        ("http.port", "8080"),
        ("http.sslport", "8443"),
        ("rtsp.port", "8554"),
        ("rtsp.sslport", "8322"),
        ("rtmp.sslport", "19350"),
    ] {
        assert_eq!(built_in[name], port);
    }
}

fn owned((name, text): (&str, &str)) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

#[test]
fn real_numbers_of_the_table_look_as_zlm_prints_them() {
    let config = ini("").unwrap().config;
    assert_eq!(config.text("hook.retry_delay"), Some("3.000000"));
    assert_eq!(config.text("rtc.nackIntervalRatio"), Some("1.000000"));
    let with_text = ini("[hook]\nretry_delay=3.0\n").unwrap().config;
    assert_eq!(
        with_text.text("hook.retry_delay"),
        Some("3.0"),
        "the text of the file stays as it is"
    );
}

#[test]
fn unknown_keys_are_kept_reported_and_explained() {
    let text = "[http]\nprot=80\n[ffmpeg]\ncmd_h265=%s -i %s -c:v hevc -f flv %s\n[transcode]\nsuffix=hd\n[hls]\nfilePath=./x\n[zzz]\nq\n";
    let loaded = ini(text).unwrap();
    for (name, value) in [
        ("http.prot", "80"),
        ("transcode.suffix", "hd"),
        ("hls.filePath", "./x"),
        ("zzz.q", ""),
    ] {
        assert!(loaded.config.flat().any(|pair| pair == (name, value)), "{name}");
    }
    assert_eq!(
        loaded.config.ffmpeg.template("ffmpeg.cmd_h265"),
        Some("%s -i %s -c:v hevc -f flv %s")
    );
    assert_eq!(
        loaded.config.ffmpeg.template(""),
        Some(loaded.config.ffmpeg.cmd.as_str())
    );
    let texts: Vec<_> = loaded.warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        texts,
        [
            "config.ini:2: unknown key `http.prot`; did you mean `http.port`?",
            "config.ini:8: `hls.filePath` is a key of older ZLMediaKit releases and has no effect",
            "config.ini:10: unknown key `zzz.q`",
        ]
    );
}

#[test]
fn a_key_that_stands_twice_has_its_last_value() {
    let loaded = ini("[http]\nport=1000\nport=1001\n").unwrap();
    assert_eq!(loaded.config.http.port, 1001);
    assert_eq!(
        loaded.warnings[0].to_string(),
        "config.ini:3: `http.port` stands in line 2 too; the last one counts"
    );
}
