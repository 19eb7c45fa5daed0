use super::*;
use config::Via;
use proptest::prelude::*;

const SERVER: &str = "[[server]]\napi = \"http://127.0.0.1:8080\"\nsecret = \"s3cret\"\n";

#[track_caller]
fn refused(text: &str, line: usize, part: &str) {
    let error = Rules::parse(text).unwrap_err();
    let shown = error.to_string();
    assert!(shown.contains(part), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
    match error {
        BadRules::At { line: at, .. } => assert_eq!(at, line, "{shown}"),
        other => assert_eq!(line, 0, "{other:?} has no line"),
    }
}

#[test]
fn an_empty_file_denies_and_opens_nothing() {
    let rules = Rules::parse("").unwrap();
    assert_eq!(rules.listen.to_string(), "127.0.0.1:9000");
    assert_eq!(rules.default, Action::Deny);
    assert!(rules.source("live/a").is_none() && rules.rtsp("live/a").is_none());
    assert_eq!(rules.close("live/a"), Close::Never);
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_what_is_allowed() {
    refused("\nlisten = \"9000\"\n", 2, "invalid socket address");
    refused(
        "defualt = \"deny\"\n",
        1,
        "unknown field `defualt`, expected one of `listen`, `senders`",
    );
    refused("default = \"perhaps\"\n", 1, "expected `allow` or `deny`");
    refused("[[access]\n", 1, "unclosed array table");
    refused(
        "[[access]]\naction = \"allow\"\npattern = \"live/(\"\n",
        3,
        "pattern `live/(`: unclosed group",
    );
    refused(
        "[[access]]\naction = \"allow\"\npattern = \"live\"\n",
        3,
        "must hold a `/`",
    );
    refused(
        "[[access]]\naction = \"allow\"\naddress = [\n\"10.0.0.0/40\"]\n",
        3,
        "the prefix of `10.0.0.0/40` is not 0 to 32",
    );
    refused("[[access]]\naction = \"allow\"\naddress = []\n", 3, "no address");
    refused("[[access]]\npattern = \"a/b\"\n", 1, "missing field `action`");
    refused(
        "[[access]]\naction = \"allow\"\non = \"publish\"\noptions = { enable_mp3 = 1 }\n",
        4,
        "`enable_mp3` is no protocol option; there are modify_stamp, enable_audio",
    );
    refused(
        "[[access]]\naction = \"deny\"\noptions = { enable_mp4 = 1 }\n",
        1,
        "options have an effect on",
    );
    refused(
        "[[access]]\naction = \"allow\"\nmessage = \"x\"\n",
        1,
        "a message has an effect",
    );
    refused(
        "[[access]]\naction = \"allow\"\ncache_sec = 5\n",
        1,
        "cache_sec has an effect",
    );
    refused(
        "[[access]]\naction = \"allow\"\ntoken = { values = [\"s3cret\", \"\"] }\n",
        3,
        "it must not be empty",
    );
    refused("signing_secrets = [\"s3cret\"]\n", 1, "must be whsec_");
    refused(
        "[[server]]\napi = \"ftp://h\"\nsecret = \"s3cret\"\n",
        1,
        "api must be http://host:port",
    );
    refused(
        &format!("{SERVER}{SERVER}"),
        0,
        "two [[server]] tables without an id",
    );
    refused(
        "[[rtsp_auth]]\npattern = \"a/b\"\nrealm = \"r\"\nusers = [{ name = \"u\" }]\n",
        1,
        "user `u` needs",
    );
    refused(
        "[[rtsp_auth]]\npattern = \"a/b\"\nrealm = \"r\"\nusers = [{ name = \"u\", md5 = \"s3cret\" }]\n",
        1,
        "must be 32 hexadecimal digits",
    );
    refused("[journal]\nfile = \"x\"\nkeep = 2000\n", 3, "must be 0 to 1000");
    refused(
        "[journal]\nfile = \"x\"\nevents = [\"on_party\"]\n",
        3,
        "`on_party` is no hook",
    );
    refused(
        "[[close]]\npattern = \"a/b\"\nclose = false\nafter_sec = 5\n",
        1,
        "after_sec has no effect",
    );
    refused(
        "[[close]]\npattern = \"a/b\"\nclose = true\nafter_sec = -5\n",
        4,
        "must be seconds",
    );
    refused(
        "[[close]]\npattern = \"a/b\"\nclose = true\nafter_sec = 5\n",
        0,
        "add a [[server]]",
    );
    refused(&" ".repeat(MAX_FILE + 1), 0, "at most 8388608 are read");
    let many = "[[close]]\npattern = \"a/b\"\nclose = true\n".repeat(MAX_RULES + 1);
    refused(&many, 0, "10001 [[close]] tables; at most 10000");
}

#[test]
fn sources_that_cannot_be_meant_are_refused() {
    let source = |more: &str| format!("{SERVER}[[source]]\npattern = \"cam/(.+)\"\n{more}\n");
    let pull = "url = \"rtsp://10.0.0.1/$1\"\n";
    let ffmpeg = "url = \"ffmpeg://rtsp://10.0.0.1/$1\"\n";
    refused(
        &source("url = \"rtsp://$1/\""),
        4,
        "a capture may not make up the whole host",
    );
    refused(&source("url = \"gopher://x\""), 4, "the scheme must be");
    refused(&source(&format!("{pull}timeout_sec = 0.01")), 4, "at least 0.1");
    refused(
        &source(&format!("{pull}params = {{ secret = \"x\" }}")),
        4,
        "secret is set by other fields",
    );
    refused(
        &source(&format!("{pull}rtp_type = \"sctp\"")),
        7,
        "expected one of `tcp`, `udp`, `multicast`",
    );
    refused(
        &source(&format!("{pull}ffmpeg_cmd_key = \"ffmpeg.cmd_hd\"")),
        4,
        "without ffmpeg://",
    );
    refused(
        &source(&format!("{ffmpeg}retry_count = 3")),
        4,
        "retry_count has no effect",
    );
    refused(
        &source(&format!("{ffmpeg}options = {{ auto_close = true }}")),
        4,
        "enable_hls and enable_mp4 only",
    );
    refused(
        "[[source]]\npattern = \"cam/(.+)\"\nurl = \"rtsp://h/$1\"\n",
        0,
        "add a [[server]]",
    );
}

#[test]
fn the_first_source_that_fits_opens_with_its_parameters() {
    let rules = Rules::parse(&format!(
        r#"{SERVER}
        [[source]]
        pattern = "cam/(?<id>[0-9]+)"
        url = "rtsp://u:p@cam${{id}}.lan/h264"
        timeout_sec = 4.5
        retry_count = -1
        rtp_type = "udp"
        params = {{ rtsp_beat_type = 2, custom_header = "a b" }}
        options = {{ auto_close = true, enable_mp4 = false, mp4_max_second = 60 }}
        close = false

        [[source]]
        pattern = "cam/.*"
        url = "ffmpeg:///srv/none.mp4"
        ffmpeg_cmd_key = "ffmpeg.cmd_loop"
        "#
    ))
    .unwrap();
    let opening = rules.source("cam/7").unwrap().resolve("cam/7").unwrap();
    assert_eq!(
        (opening.via, opening.url.as_str()),
        (Via::Pull, "rtsp://u:p@cam7.lan/h264")
    );
    assert_eq!(opening.timeout, Duration::from_millis(4500));
    let pairs: Vec<_> = opening
        .params
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        pairs,
        [
            "auto_close=1",
            "enable_mp4=0",
            "mp4_max_second=60",
            "custom_header=a b",
            "rtsp_beat_type=2",
            "retry_count=-1",
            "rtp_type=1"
        ]
    );
    assert_eq!(rules.close("cam/7"), Close::Never, "as the source says");

    let other = rules.source("cam/x").unwrap().resolve("cam/x").unwrap();
    assert_eq!((other.via, other.url.as_str()), (Via::Ffmpeg, "/srv/none.mp4"));
    assert_eq!(
        other.params,
        [("ffmpeg_cmd_key".to_owned(), "ffmpeg.cmd_loop".to_owned())]
    );
    assert_eq!(rules.close("cam/x"), Close::Now, "what was opened on demand");
    assert_eq!(rules.close("live/x"), Close::Never, "what was published");
}

#[test]
fn close_rules_go_before_sources() {
    let rules = Rules::parse(&format!(
        r#"{SERVER}
        [[close]]
        pattern = "cam/slow"
        close = true
        after_sec = 90
        [[close]]
        pattern = "cam/always"
        close = false
        [[close]]
        pattern = "live/.*"
        close = true
        after_sec = 0
        [[source]]
        pattern = "cam/(.*)"
        url = "rtmp://10.0.0.1/live/$1"
        "#
    ))
    .unwrap();
    for (name, close) in [
        ("cam/slow", Close::After(Duration::from_secs(90))),
        ("cam/always", Close::Never),
        ("cam/other", Close::Now),
        ("live/a", Close::Now),
        ("other/a", Close::Never),
    ] {
        assert_eq!(rules.close(name), close, "{name}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange_to_be_refused(text in "(\\[\\[?(access|source|close|server|journal)\\]\\]?\n|(action|pattern|url|on|close|api) = [\"\\[{]?[a-z0-9./:$(){}\"]{0,12}\n){0,6}|\\PC{0,60}") {
        if let Err(BadRules::At { line, .. }) = Rules::parse(&text) {
            prop_assert!(line >= 1 && line <= text.lines().count().max(1) + 1);
        }
    }
}
