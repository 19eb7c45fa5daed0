//! What the endpoints ask of the engine, and what no capture shows.

use crate::fake::{ASKING, Client, Fake, SECRET};
use crate::golden::{pull, stream, tcp_session};
use lifecycle::op::{JobState, TimelineView};
use lifecycle::timeline::Entry;
use lifecycle::{Op, OpError, SessionId};
use media::{Schema, StreamKey};
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const VHOST: &str = "__defaultVhost__";

fn client(change: impl FnOnce(&mut Fake)) -> Client {
    let mut fake = Fake::default();
    change(&mut fake);
    Client::new(fake)
}

fn operations(client: &Client) -> Vec<Op> {
    client.server.operations.lock().clone()
}

#[tokio::test]
async fn a_pull_is_asked_for_with_all_its_options() {
    let client = client(|_| {});
    let query = "vhost=any&app=proxy&stream=p1&url=rtmp://u:p@cam/live/1.ts&retry_count=3&force=1&timeout_sec=2.5\
                 &rtp_type=1&net_adapter=10.0.0.1&enable_audio=0&enable_mp4=true&mp4_max_second=60&auto_close=1&modify_stamp=\
                 &stream_replace=other&max_track=9";
    let reply = client.call("addStreamProxy", query).await;
    assert_eq!(
        reply,
        json!({"code": 0, "data": {"key": "__defaultVhost__/proxy/p1"}})
    );
    let [Op::AddPull(spec)] = &operations(&client)[..] else {
        panic!("{:?}", operations(&client))
    };
    assert_eq!(spec.key, StreamKey::on_default_vhost("proxy", "p1"));
    assert_eq!(
        (spec.url.as_str(), spec.retry_count, spec.force),
        ("rtmp://u:p@cam/live/1.ts", Some(3), true)
    );
    assert_eq!(spec.timeout, Duration::from_millis(2500));
    let client_options =
        [("rtp_type", "1"), ("net_adapter", "10.0.0.1")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(spec.client_options, client_options);
    let options = &spec.options;
    assert!(!options.enable_audio && options.enable_mp4 && options.auto_close);
    assert_eq!(
        (options.mp4_max, options.modify_stamp),
        (Duration::from_secs(60), 2)
    );
    assert_eq!(
        (options.stream_replace.as_deref(), options.max_track),
        (Some("other"), 16)
    );
    assert!(spec.rule.is_none());
}

#[tokio::test]
async fn a_pull_without_options_has_the_defaults() {
    let client = client(|fake| fake.set("protocol.enable_audio", "0"));
    client
        .call(
            "addStreamProxy",
            "vhost=v&app=a&stream=s&url=http://h/x.FLV&timeout_sec=0.1&retry_count=-1",
        )
        .await;
    let [Op::AddPull(spec)] = &operations(&client)[..] else {
        panic!("{:?}", operations(&client))
    };
    assert_eq!(
        (spec.retry_count, spec.force, spec.timeout),
        (None, false, Duration::from_secs(10))
    );
    assert_eq!((spec.options.enable_audio, spec.options.max_track), (false, 2));
    assert!(spec.client_options.is_empty());
}

#[tokio::test]
async fn what_cannot_be_pulled_is_refused_at_once_even_with_force() {
    let client = client(|_| {});
    for url in [
        "http://h/a.mpd",
        "http://h/a?b.m3u8",
        "srt://h?streamid=x",
        "file:///etc/passwd",
        "rtmp",
        "rtmp://",
        "http://h/a",
    ] {
        let reply = client
            .call(
                "addStreamProxy",
                &format!("vhost=v&app=a&stream=s&force=1&url={url}"),
            )
            .await;
        assert_eq!(reply["code"], -1);
        assert_eq!(reply["msg"], format!("not supported play schema:{url}"));
    }
    assert!(operations(&client).is_empty());
}

#[tokio::test]
async fn what_an_http_url_leads_to_is_told_by_its_path_or_by_the_schema() {
    for (url, schema, max_track) in [
        ("https://h/a?b", "flv", 2),
        ("https://h/a", "HLS", 16),
        ("https://h/a", "ts", 16),
        ("https://h/a.FLV", "", 2),
        ("http://h/a.m3u8?k=v", "", 16),
        ("http://h/a.live.ts", "", 16),
    ] {
        let client = client(|_| {});
        let body = format!(
            "vhost=v&app=a&stream=s&url={}&schema={schema}",
            url.replace('?', "%3F")
        );
        let reply = client.call("addStreamProxy", &body).await;
        assert_eq!(reply["code"], 0, "{url} {schema}: {reply}");
        let [Op::AddPull(spec)] = &operations(&client)[..] else {
            panic!("{url}")
        };
        assert_eq!((spec.url.as_str(), spec.options.max_track), (url, max_track));
    }
}

#[tokio::test]
async fn names_and_urls_that_are_kept_have_a_bound() {
    let client = client(|_| {});
    let long = "x".repeat(1025);
    let reply = client
        .call(
            "addStreamProxy",
            &format!("vhost=v&app={long}&stream=s&url=rtmp://h/a/b"),
        )
        .await;
    assert_eq!(
        reply["msg"],
        "\"app\" is 1025 bytes long, at most 1024 are allowed"
    );
    assert_eq!(reply["code"], -300);
    let url = format!("rtmp://h/{}", "x".repeat(8192));
    let reply = client
        .call("addStreamProxy", &format!("vhost=v&app=a&stream=s&url={url}"))
        .await;
    assert_eq!(reply["code"], -300);
    assert!(operations(&client).is_empty());
}

#[tokio::test]
async fn refusals_of_the_engine_are_minus_one_with_their_text() {
    let limit = OpError::AtLimit {
        what: "pulls",
        limit: 7,
    };
    let errors = [
        OpError::Removed,
        limit,
        OpError::Stopping,
        OpError::Failed("end of file".to_owned()),
    ];
    for error in errors {
        let client = client(|fake| fake.outcome = Some(error.clone()));
        let reply = client
            .call("addStreamProxy", "vhost=v&app=a&stream=s&url=rtmp://h/a/b")
            .await;
        assert_eq!(reply, json!({"code": -1, "msg": error.to_string()}));
    }
    for (url, msg) in [
        ("rtmps://h/a/b", "play rtmp timeout"),
        ("rtsps://h/a/b", "play rtsp timeout"),
        ("http://h/a.flv", "wait http response header timeout"),
    ] {
        let client = client(|fake| fake.outcome = Some(OpError::TimedOut));
        let reply = client
            .call("addStreamProxy", &format!("vhost=v&app=a&stream=s&url={url}"))
            .await;
        assert_eq!(reply, json!({"code": -1, "msg": msg}));
    }
}

#[tokio::test]
async fn del_stream_proxy_takes_keys_of_ffmpeg_sources_too() {
    let client = client(|fake| fake.own_ports = vec![1935]);
    let added = client
        .call(
            "addFFmpegSource",
            "src_url=a&dst_url=rtmp://127.0.0.1/ff/x&timeout_ms=1",
        )
        .await;
    let key = added["data"]["key"].as_str().expect("key");
    assert_eq!(
        client.call("delStreamProxy", &format!("key={key}")).await,
        json!({"code": 0, "data": {"flag": true}})
    );
    assert_eq!(client.call("listFFmpegSource", "").await, json!({"code": 0}));
    assert_eq!(
        client.call("delStreamProxy", &format!("key={key}")).await,
        json!({"code": 0, "data": {"flag": false}})
    );
}

#[tokio::test]
async fn a_proxy_key_made_with_another_vhost_means_the_default_one_without_virtual_hosts() {
    let key = StreamKey::on_default_vhost("proxy", "a/b");
    let client = client(|fake| {
        fake.pulls
            .lock()
            .push(pull(key, "rtmp://h/a/b", JobState::Connecting))
    });
    let info = client.call("getProxyInfo", "key=my.host/proxy/a/b").await;
    assert_eq!(info["data"]["status_str"], "connecting");
    assert_eq!(
        (&info["data"]["status"], &info["data"]["state"]),
        (&json!(1), &json!("connecting"))
    );
    client.server.set("general.enableVhost", "1");
    assert_eq!(
        client.call("getProxyInfo", "key=my.host/proxy/a/b").await["code"],
        -500
    );
    assert_eq!(
        client
            .call("delStreamProxy", "key=__defaultVhost__/proxy/a/b")
            .await["data"]["flag"],
        true
    );
}

#[tokio::test]
async fn a_source_that_backs_off_shows_why() {
    let state = JobState::BackingOff {
        reason: "end of file".to_owned(),
        was_live: true,
        retry_at: Instant::now(),
    };
    let key = StreamKey::on_default_vhost("proxy", "p");
    let client = client(|fake| fake.pulls.lock().push(pull(key, "rtmp://h/a/b", state)));
    let data = client.call("getProxyInfo", "key=__defaultVhost__/proxy/p").await["data"].take();
    assert_eq!(
        (&data["state"], &data["reason"]),
        (&json!("backing_off"), &json!("end of file"))
    );
    assert_eq!(
        (&data["status"], &data["status_str"]),
        (&json!(1), &json!("play shutdown: end of file"))
    );
    assert_eq!(data["tracks"], json!([]));
}

#[tokio::test]
async fn a_push_is_asked_for_under_the_key_zlm_gives_it() {
    let client = client(|fake| fake.media = vec![stream(VHOST, "live", "test", Schema::Rtmp, 0)]);
    let query = "schema=rtmp&vhost=v&app=live&stream=test&dst_url=rtmp://127.0.0.1:12935/push/a1&retry_count=0&timeout_sec=3";
    let key = "rtmp/__defaultVhost__/live/test/752bace53ee2e9815b35a3472232146c";
    assert_eq!(
        client.call("addStreamPusherProxy", query).await["data"]["key"],
        key
    );
    let [Op::AddPush(spec)] = &operations(&client)[..] else {
        panic!("{:?}", operations(&client))
    };
    assert_eq!(
        (spec.key.as_str(), spec.schema, spec.retry_count),
        (key, Schema::Rtmp, Some(0))
    );
    assert_eq!(spec.timeout, Duration::from_secs(3));
}

#[tokio::test]
async fn a_destination_that_does_not_fit_is_refused_at_once_and_leaves_nothing() {
    let client = client(|fake| fake.media = vec![stream(VHOST, "live", "test", Schema::Rtmp, 0)]);
    let add = async |schema: &str, dst_url: &str| {
        let query = format!("schema={schema}&vhost=v&app=live&stream=test&dst_url={dst_url}");
        client.call("addStreamPusherProxy", &query).await["msg"]
            .as_str()
            .expect("msg")
            .to_owned()
    };
    let mismatch = " media source (schema) and  push url not match";
    assert_eq!(add("rtmp", "rtsp://h/a/b").await, mismatch);
    assert_eq!(add("rtsp", "rtmp://h/a/b").await, mismatch);
    assert_eq!(add("flv", "rtmp://h/a/b").await, mismatch);
    assert_eq!(
        add("ts", "srt://h?streamid=x").await,
        "not supported push schema:srt://h?streamid=x"
    );
    assert_eq!(
        add("rtmp", "http://h/a").await,
        "not supported push schema:http://h/a"
    );
    assert!(operations(&client).is_empty());
}

#[tokio::test]
async fn an_ffmpeg_source_knows_its_own_stream() {
    let client = client(|fake| fake.own_ports = vec![1935, 80]);
    let add = async |dst_url: &str, more: &str| {
        let query = format!("src_url=rtsp://u:p@cam/1&dst_url={dst_url}&{more}");
        let reply = client.call("addFFmpegSource", &query).await;
        (reply, operations(&client).pop())
    };
    let (reply, op) = add(
        "rtmp://127.0.0.1/ff/f/1?x",
        "timeout_ms=4000&enable_hls=true&enable_mp4=0&ffmpeg_cmd_key=ffmpeg.cmd_a",
    )
    .await;
    assert_eq!(reply["code"], 0);
    let Some(Op::AddFfmpeg(spec)) = op else {
        panic!("{op:?}")
    };
    assert_eq!(spec.local, Some(StreamKey::on_default_vhost("ff", "f/1")));
    assert_eq!(
        (spec.timeout, spec.enable_hls, spec.enable_mp4),
        (Duration::from_secs(4), true, false)
    );
    assert_eq!(
        (spec.src_url.as_str(), spec.cmd_key.as_str()),
        ("rtsp://u:p@cam/1", "ffmpeg.cmd_a")
    );
    let (_, op) = add("rtmp://other.example/ff/f1", "timeout_ms=x").await;
    let Some(Op::AddFfmpeg(spec)) = op else {
        panic!("{op:?}")
    };
    assert_eq!((spec.local, spec.timeout), (None, Duration::from_secs(10)));
    client.server.set("general.enableVhost", "1");
    for (dst_url, vhost) in [
        ("rtmp://127.0.0.1/a/b", VHOST),
        ("rtmp://127.0.0.1/a/b?vhost=my.host", "my.host"),
    ] {
        let (_, op) = add(dst_url, "timeout_ms=1").await;
        let Some(Op::AddFfmpeg(spec)) = op else {
            panic!("{op:?}")
        };
        assert_eq!(spec.local, Some(StreamKey::new(vhost, "a", "b")));
    }
}

#[tokio::test]
async fn ffmpeg_publishes_to_media_servers_only_and_to_this_one_over_rtmp_and_rtsp() {
    let client = client(|fake| fake.own_ports = vec![1935, 554, 322, 9000]);
    let add = async |dst_url: &str| {
        let query = format!("src_url=a&dst_url={dst_url}&timeout_ms=1");
        client.call("addFFmpegSource", &query).await
    };
    for dst_url in [
        "http://127.0.0.1:1935/a/b",
        "http://h/a/b",
        "file://h/etc/x",
        "tee://h/x",
    ] {
        let refused = json!({"code": -1, "msg": "本服务只支持rtmp/rtsp/srt推流"});
        assert_eq!(add(dst_url).await, refused, "{dst_url}");
    }
    let msg = "this server takes rtmp, rtmps, rtsp and rtsps pushes only, got srt";
    assert_eq!(
        add("srt://127.0.0.1?streamid=x").await,
        json!({"code": -1, "msg": msg})
    );
    assert!(operations(&client).is_empty());
    for dst_url in ["rtsp://h/a/b", "SRT://h:9000?streamid=x", "rtmps://h/a/b"] {
        assert_eq!(add(dst_url).await["code"], 0, "{dst_url}");
    }
    for dst_url in ["rtsp://127.0.0.1/a/b", "rtsps://127.0.0.1/a/b.sdp"] {
        assert_eq!(add(dst_url).await["code"], 0, "{dst_url}");
        let op = operations(&client).pop();
        let local = StreamKey::on_default_vhost("a", "b");
        assert!(
            matches!(&op, Some(Op::AddFfmpeg(spec)) if spec.local == Some(local)),
            "{op:?}"
        );
    }
}

#[tokio::test]
async fn the_options_of_an_rtsp_client_are_checked_and_handed_on() {
    let client = client(|fake| fake.media = vec![stream(VHOST, "live", "test", Schema::Rtsp, 0)]);
    let pull = async |url: &str, more: &str| {
        let query = format!("vhost=v&app=a&stream=s&url={url}&{more}");
        let reply = client.call("addStreamProxy", &query).await;
        client.call("delStreamProxy", "key=v/a/s").await;
        reply
    };
    let wrong = [
        (
            "rtp_type=3",
            r#""rtp_type" is "3", it must be 0 (TCP), 1 (UDP) or 2 (multicast)"#,
        ),
        (
            "rtp_type=tcp",
            r#""rtp_type" is "tcp", it must be 0 (TCP), 1 (UDP) or 2 (multicast)"#,
        ),
        (
            "rtsp_beat_type=-1",
            r#""rtsp_beat_type" is "-1", it must be 0 (RTCP and commands), 1 (RTCP) or 2 (commands)"#,
        ),
        (
            "play_track=9",
            r#""play_track" is "9", it must be 0 (all tracks), 1 (video) or 2 (audio)"#,
        ),
        (
            "media_timeout_ms=0",
            r#""media_timeout_ms" is "0", it must be a whole number of milliseconds from 1 to 3600000"#,
        ),
        (
            "rtsp_speed=nan",
            r#""rtsp_speed" is "nan", it must be a number from 0.1 to 20, or 0 for the speed of the source"#,
        ),
        (
            "net_adapter=eth0",
            r#""net_adapter" is "eth0", it must be an address of this machine"#,
        ),
        (
            "rtsp_pwd=a%0d%0ab",
            r#""rtsp_pwd" is "***", it must be text without control characters"#,
        ),
    ];
    for (more, msg) in wrong {
        assert_eq!(
            pull("rtsp://h/a/b", more).await,
            json!({"code": -300, "msg": msg}),
            "{more}"
        );
        // Other clients do not look at them.
        assert_eq!(pull("rtmp://h/a/b", more).await["code"], 0, "{more}");
    }
    let all = "rtp_type=2&rtsp_beat_type=1&rtsp_user=u&rtsp_pwd=p&rtsp_pwd_md5=1&protocol_timeout_ms=1&media_timeout_ms=5000&beat_interval_ms=3600000&net_adapter=::1&play_track=2&rtsp_speed=0.5";
    assert_eq!(pull("rtsps://h/a/b", all).await["code"], 0);
    let pulled = operations(&client)
        .into_iter()
        .rev()
        .find(|op| matches!(op, Op::AddPull(_)));
    let Some(Op::AddPull(spec)) = pulled else {
        panic!("{pulled:?}")
    };
    let handed: Vec<String> = spec
        .client_options
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(handed.join("&"), all);

    let push = async |more: &str| {
        let query = format!("schema=rtsp&vhost=v&app=live&stream=test&dst_url=rtsp://h/a/b&{more}");
        client.call("addStreamPusherProxy", &query).await
    };
    let msg = r#""rtp_type" is "2", it must be 0 (TCP) or 1 (UDP)"#;
    assert_eq!(push("rtp_type=2").await, json!({"code": -300, "msg": msg}));
    assert_eq!(push("rtp_type=1").await["code"], 0);
    let Some(Op::AddPush(spec)) = operations(&client).pop() else {
        panic!("no pusher")
    };
    assert_eq!(spec.schema, Schema::Rtsp);
    assert!(
        spec.client_options
            .contains(&("rtp_type".to_owned(), "1".to_owned()))
    );
}

#[tokio::test]
async fn an_ffmpeg_source_that_does_not_start_says_why() {
    let exit = "ffmpeg已经退出,exit code = 1";
    for (error, msg) in [
        (OpError::TimedOut, "等待超时"),
        (OpError::Failed(exit.to_owned()), exit),
    ] {
        let client = client(|fake| fake.outcome = Some(error));
        let reply = client
            .call("addFFmpegSource", "src_url=a&dst_url=rtmp://h/a/b&timeout_ms=1")
            .await;
        assert_eq!(reply, json!({"code": -1, "msg": msg}));
    }
}

#[tokio::test]
async fn urls_cannot_become_options_of_ffmpeg() {
    let client = client(|_| {});
    for query in [
        "src_url=-f&dst_url=rtmp://h/a/b",
        "src_url=a&dst_url=-y",
        "src_url=a&dst_url=/etc/passwd",
    ] {
        let reply = client
            .call("addFFmpegSource", &format!("{query}&timeout_ms=1"))
            .await;
        assert_ne!(reply["code"], 0, "{query}");
    }
    assert!(operations(&client).is_empty());
}

#[tokio::test]
async fn the_command_of_an_ffmpeg_source_is_shown_with_its_template() {
    let client = client(|fake| fake.set("ffmpeg.cmd", "%s -i %s -c copy -f flv %s"));
    client
        .call(
            "addFFmpegSource",
            "src_url=in&dst_url=rtmp://h/a/b&timeout_ms=1&ffmpeg_cmd_key=ffmpeg.cmd_none",
        )
        .await;
    let list = client.call("listFFmpegSource", "").await;
    assert_eq!(
        list["data"][0]["cmd"],
        "/usr/bin/ffmpeg -i in -c copy -f flv rtmp://h/a/b"
    );
    assert_eq!(list["data"][0]["ffmpeg_cmd_key"], "ffmpeg.cmd_none");
    assert_eq!(
        (&list["data"][0]["state"], &list["data"][0]["restarts"]),
        (&json!("live"), &json!(0))
    );
}

#[tokio::test]
async fn close_streams_closes_each_stream_once_and_counts_schemas() {
    let client = client(|fake| {
        fake.media = Schema::ALL
            .map(|schema| stream(VHOST, "live", "a", schema, 0))
            .into();
        fake.media.push(stream(VHOST, "live", "b", Schema::Rtmp, 3));
        fake.media.push(stream(VHOST, "other", "c", Schema::Rtmp, 0));
    });
    let reply = client.call("close_streams", "app=live&force=true").await;
    assert_eq!(reply, json!({"code": 0, "count_hit": 7, "count_closed": 7}));
    let close = |name| Op::CloseStream {
        key: StreamKey::on_default_vhost("live", name),
        force: true,
    };
    assert_eq!(operations(&client), [close("a"), close("b")]);
    let reply = client.call("close_streams", "vhost=some.host").await;
    assert_eq!(
        reply["count_hit"], 0,
        "filters compare the virtual host literally"
    );
}

#[tokio::test]
async fn lookups_ignore_the_virtual_host_unless_it_is_switched_on() {
    let client = client(|fake| fake.media = vec![stream("my.host", "live", "a", Schema::Rtmp, 0)]);
    let online = async |vhost: &str| {
        let query = format!("schema=rtmp&vhost={vhost}&app=live&stream=a");
        client.call("isMediaOnline", &query).await["online"].clone()
    };
    assert_eq!(online("my.host").await, false);
    client.server.set("general.enableVhost", "1");
    assert_eq!(online("my.host").await, true);
    assert_eq!(
        client
            .call("isMediaOnline", "schema=RTMP&vhost=my.host&app=live&stream=a")
            .await["online"],
        false
    );
}

#[tokio::test]
async fn kicking_goes_through_the_engine_and_spares_who_asks() {
    let client = client(|fake| {
        fake.sessions = (0..3).map(|id| tcp_session(id, 1935)).collect();
        fake.sessions[2].session = ASKING;
    });
    assert_eq!(client.call("kick_session", "id=1-1").await, json!({"code": 0}));
    assert_eq!(operations(&client), [Op::Kick(SessionId(1))]);
    client.server.operations.lock().clear();
    assert_eq!(
        client.call("kick_sessions", "peer_ip=127.0.0.1").await,
        json!({"code": 0, "count_hit": 2})
    );
    assert_eq!(
        operations(&client),
        [Op::Kick(SessionId(0)), Op::Kick(SessionId(1))]
    );
    assert_eq!(
        client.call("kick_sessions", "local_port=65536").await["count_hit"],
        0
    );
    assert_eq!(
        client.call("kick_sessions", "peer_ip=10.0.0.1").await["count_hit"],
        0
    );
}

#[tokio::test]
async fn configuration_values_may_be_emptied_and_wrong_ones_are_named() {
    let client = client(|fake| fake.set("hook.on_play", "http://h/play"));
    let reply = client
        .call(
            "setServerConfig",
            "hook.on_play=&General.flowThreshold=5&http.maxReqSize=many",
        )
        .await;
    assert_eq!(reply["changed"], 1, "names have case here");
    assert_eq!(reply["code"], 0);
    let msg = reply["msg"].as_str().expect("msg");
    assert!(
        msg.starts_with("http.maxReqSize = `many` is not allowed; it must be "),
        "{msg}"
    );
    let config = client.call("getServerConfig", "").await["data"][0].take();
    assert_eq!(
        (&config["hook.on_play"], &config["general.flowThreshold"]),
        (&json!(""), &json!("1024"))
    );
    assert_eq!(config["api.secret"], SECRET);
}

#[tokio::test]
async fn configuration_values_may_come_as_headers() {
    let client = client(|_| {});
    let headers = [("secret", SECRET), ("General.FlowThreshold", "7")];
    let reply = client
        .send("GET", "/index/api/setServerConfig", &headers, "")
        .await;
    assert_eq!(reply.json(), json!({"code": 0, "changed": 1}));
}

#[tokio::test]
async fn restart_is_asked_for_once() {
    let client = client(|_| {});
    client.call("restartServer", "").await;
    assert_eq!(client.server.restarts.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_timeline_shows_times_of_the_calendar() {
    let client = client(|fake| {
        let key = StreamKey::on_default_vhost("live", "cam");
        let now = Instant::now();
        let ago = |seconds| {
            now.checked_sub(Duration::from_secs(seconds))
                .expect("the clock is old enough")
        };
        let entry = |seconds, event| Entry {
            at: ago(seconds),
            event,
            detail: "rtmp 1-1".to_owned(),
        };
        let entries = vec![entry(2, "wanted"), entry(1, "published")];
        let (readers, waiting, authorizing, dropped) = (3, 2, 1, 9);
        fake.timeline = Some(TimelineView {
            key,
            state: "live",
            readers,
            waiting,
            authorizing,
            entries,
            dropped,
        });
    });
    let reply = client
        .call("getStreamTimeline", "vhost=v&app=live&stream=cam")
        .await;
    let data = &reply["data"];
    for (member, value) in [
        ("state", json!("live")),
        ("readers", json!(3)),
        ("waiting", json!(2)),
        ("authorizing", json!(1)),
    ] {
        assert_eq!(data[member], value, "{member}");
    }
    assert_eq!(
        (&data["vhost"], &data["stream"], &data["dropped"]),
        (&json!(VHOST), &json!("cam"), &json!(9))
    );
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as u64;
    let ago = |index: usize| now - data["entries"][index]["time"].as_u64().expect("time");
    assert!((2_000..60_000).contains(&ago(0)), "{}", ago(0));
    // Each is cut to whole milliseconds.
    assert!((999..=1_001).contains(&(ago(0) - ago(1))), "{}", ago(0) - ago(1));
    assert_eq!(
        (&data["entries"][1]["event"], &data["entries"][1]["detail"]),
        (&json!("published"), &json!("rtmp 1-1"))
    );
    let none = client
        .call("getStreamTimeline", "vhost=v&app=live&stream=none")
        .await;
    assert_eq!(none, json!({"code": -500, "msg": "can not find the stream"}));
    let missing = client.call("getStreamTimeline", "vhost=v&app=live").await;
    assert_eq!(missing["code"], -300);
}

#[tokio::test]
async fn receivers_of_hooks_are_added_changed_and_removed() {
    let client = client(|_| {});
    let listed = client.call("listHookEndpoints", "").await;
    assert_eq!(listed["data"][0]["name"], "zlm");
    assert_eq!(listed["data"][0]["origin"], "keys");

    let added = client
        .call(
            "addHookEndpoint",
            "name=a&url=http%3A%2F%2Fu%3Ap%40h%2Fx&events=stream.*",
        )
        .await;
    let secret = added["data"]["signing_secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"));
    let again = client.call("addHookEndpoint", "name=a&url=http%3A%2F%2Fh").await;
    assert_eq!(again["code"], -300);
    let wrong = client
        .call("addHookEndpoint", "name=b&url=ftp%3A%2F%2Fh&events=nothing")
        .await;
    let text = wrong["msg"].as_str().unwrap();
    assert!(text.contains("url: ") && text.contains("events: "), "{text}");
    // Durable needs a folder.
    let durable = client.call("setHookEndpoint", "name=a&durable=1").await;
    assert_eq!(durable["code"], -1);
    assert!(durable["msg"].as_str().unwrap().contains("hook.store_dir"));

    let set = client
        .call("setHookEndpoint", "name=a&except=stream.offline&enabled=0")
        .await;
    assert_eq!(set, json!({"code": 0}));
    let one = client.call("listHookEndpoints", "").await["data"][1].clone();
    assert_eq!(one["url"], "http://***@h/x");
    assert_eq!(
        (&one["enabled"], &one["except"]),
        (&json!(false), &json!(["stream.offline"]))
    );
    let rotated = client.call("rotateHookSecret", "name=a").await;
    assert_ne!(rotated["data"]["signing_secret"], json!(secret));
    let enabled = client.call("enableHookEndpoint", "name=a").await;
    assert_eq!(enabled["data"]["secrets"], 2);

    for (call, parameters) in [
        ("setHookEndpoint", "name=c&enabled=1"),
        ("rotateHookSecret", "name=zlm"),
        ("delHookEndpoint", "name=zlm"),
        ("enableHookEndpoint", "name=c"),
        ("testHookEndpoint", "name=a&event=no.such"),
        ("getHookDeliveries", "name=c"),
    ] {
        assert_eq!(client.call(call, parameters).await["code"], -300, "{call}");
    }
    assert_eq!(
        client.call("getHookDeliveries", "").await,
        json!({"code": 0, "data": []})
    );
    for call in ["listDeadLetters", "replayDeadLetters", "purgeDeadLetters"] {
        let reply = client.call(call, "name=zlm").await;
        assert_eq!(reply["code"], -1, "{call}: there is no folder");
    }
    assert_eq!(client.call("delHookEndpoint", "name=a").await, json!({"code": 0}));
    assert_eq!(
        client.call("listHookEndpoints", "").await["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn kept_verdicts_are_withdrawn_by_filter() {
    let client = client(|_| {});
    let all = client.call("flushHookCache", "").await;
    assert_eq!(all, json!({"code": 0, "count_flushed": 1}));
    client.call("flushHookCache", "app=live&stream=&vhost=v").await;
    let one = client.call("flushHookCache", "stream=a%2Fb").await;
    assert_eq!(one["count_flushed"], 3);
    let part = |text: &str| Some(text.to_owned());
    assert_eq!(
        *client.server.flushed.lock(),
        [
            [None, None, None],
            [part("v"), part("live"), None],
            [None, None, part("a/b")]
        ]
    );
}

#[tokio::test]
async fn a_download_tells_whether_its_client_is_permitted() {
    let client = client(|_| {});
    let target = "/index/api/downloadFile?file_path=/srv/a%20b.mp4";
    let refused = client.get(target).await;
    assert_eq!(
        (refused.status.as_u16(), refused.body.as_str()),
        (200, "a file"),
        "whether it may is not decided here"
    );
    assert!(refused.cookies().is_empty(), "nobody is asked to log in");
    client
        .get(&format!("{target}&save_name=x.mp4&secret={SECRET}"))
        .await;
    let path = "/srv/a b.mp4".to_owned();
    assert_eq!(
        *client.server.downloads.lock(),
        [
            (path.clone(), None, false),
            (path, Some("x.mp4".to_owned()), true)
        ]
    );
    // The secret alone does not help an address that is kept out.
    client.server.set("http.allow_ip_range", "10.0.0.1");
    client.get(&format!("{target}&secret={SECRET}")).await;
    assert!(!client.server.downloads.lock()[2].2);

    let long = client
        .call("downloadFile", &format!("file_path=/{}", "a".repeat(4096)))
        .await;
    assert_eq!(
        long["msg"],
        "\"file_path\" is 4097 bytes long, at most 4096 are allowed"
    );
    assert_eq!(client.server.downloads.lock().len(), 3);
}

#[tokio::test]
async fn a_message_that_is_too_long_and_a_probe_that_is_too_long_are_refused() {
    let client = client(|fake| fake.media = vec![stream(VHOST, "live", "cam", Schema::Rtmp, 0)]);
    let cam = "schema=rtmp&vhost=v&app=live&stream=cam";
    let message = |length: usize| format!("{cam}&msg={}", "x".repeat(length));
    assert_eq!(
        client.call("broadcastMessage", &message(16_384)).await,
        json!({"code": 0})
    );
    assert_eq!(
        client.call("broadcastMessage", &message(16_385)).await,
        json!({"code": -300, "msg": "\"msg\" is 16385 bytes long, at most 16384 are allowed"})
    );
    for (ms, code) in [("0", 0), ("60000", 0), ("60001", -300), ("-1", -300), ("x", 0)] {
        let reply = client.call("addProbe", &format!("{cam}&probe_ms={ms}")).await;
        assert_eq!(reply["code"], code, "{ms}");
    }
}
