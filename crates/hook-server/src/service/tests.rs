use super::*;
use axum::http;
use serde_json::{Value, json};
use std::path::Path;
use tower::ServiceExt;

const QUIET: Behaviour = Behaviour {
    max_in_flight: 10,
    answer_delay: Duration::ZERO,
    black_hole: false,
};

/// All kinds of rules that need no media server.
const RULES: &str = r#"
default = "deny"
[[access]]
action = "allow"
on = "publish"
pattern = "live/.*"
options = { enable_mp4 = true, auto_close = false }
[[access]]
action = "allow"
on = "play"
pattern = "live/.*"
protocol = ["http", "rtmp"]
[[close]]
pattern = "live/short"
close = true
[[http_access]]
action = "allow"
path = "/record/.*"
keep_sec = 60
keep_path = "/record/"
[[rtsp_auth]]
pattern = "live/.*"
realm = "cameras"
users = [{ name = "plain", password = "pw" }, { name = "hashed", md5 = "0123456789abcdef0123456789ABCDEF" }]
"#;

fn service(rules: &str) -> Service {
    Service::new(Rules::parse(rules).unwrap(), QUIET).0
}

fn request(path: &str, body: impl Into<Body>) -> Request {
    let request = http::Request::post(path).body(body.into());
    request.unwrap()
}

async fn send(service: &Service, request: Request) -> (u16, Value) {
    let response = service.router().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn ask(service: &Service, hook: &str, body: Value) -> Value {
    let (status, answer) = send(service, request(&format!("/index/hook/{hook}"), body.to_string())).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn metrics_of(service: &Service) -> String {
    let request = http::Request::get("/metrics").body(Body::empty()).unwrap();
    let response = service.router().oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn every_captured_call_of_the_reference_gets_an_answer_of_its_form() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contract/golden/hooks");
    let service = service(RULES);
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let capture: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let Some(hook) = capture["hook"].as_str() else {
            continue;
        };
        // As ZLM writes it, over many lines.
        let body = serde_json::to_string_pretty(&capture["body"]).unwrap();
        let (status, answer) = send(&service, request(&format!("/{hook}"), body)).await;
        let members: &[&str] = match hook {
            "on_stream_not_found" | "on_stream_none_reader" => &["close"],
            "on_http_access" => &["err", "path", "second"],
            "on_rtsp_realm" => &["realm"],
            _ => &[],
        };
        assert_eq!(status, 200, "{}: {answer}", path.display());
        assert!(answer["code"].is_i64() && answer["msg"].is_string(), "{answer}");
        for member in members {
            assert!(!answer[member].is_null(), "{}: {answer}", path.display());
        }
        count += 1;
    }
    assert!(count >= 50, "{count}");
}

#[tokio::test]
async fn answers_are_what_the_contract_wants() {
    let service = service(RULES);
    let stream = |name: &str, protocol: &str| json!({"app": "live", "stream": name, "vhost": "__defaultVhost__", "protocol": protocol, "ip": "10.0.0.1"});
    let user = |name: &str, realm: &str, plain: bool| json!({"app": "live", "stream": "a", "user_name": name, "realm": realm, "must_no_encrypt": plain});
    let file = |path: &str| json!({"path": path, "ip": "10.0.0.1", "is_dir": false, "params": ""});
    let yes = json!({"code": 0, "msg": "success"});
    let unknown = json!({"code": -1, "msg": "unknown user"});
    for (hook, body, expected) in [
        (
            "on_publish",
            stream("a", "rtmp"),
            json!({"code": 0, "msg": "success", "auto_close": false, "enable_mp4": true}),
        ),
        ("on_play", stream("a", "http"), yes.clone()),
        (
            "on_play",
            stream("a", "rtsp"),
            json!({"code": -1, "msg": "no rule allows it"}),
        ),
        (
            "on_stream_not_found",
            stream("a", "http"),
            json!({"code": 0, "msg": "success", "close": false}),
        ),
        (
            "on_stream_none_reader",
            stream("short", ""),
            json!({"code": 0, "msg": "success", "close": true}),
        ),
        (
            "on_stream_none_reader",
            stream("a", ""),
            json!({"code": 0, "msg": "success", "close": false}),
        ),
        (
            "on_http_access",
            file("/record/a.mp4"),
            json!({"code": 0, "msg": "success", "err": "", "path": "/record/", "second": 60}),
        ),
        (
            "on_http_access",
            file("/etc/a.mp4"),
            json!({"code": 0, "msg": "success", "err": "denied", "path": "", "second": 0}),
        ),
        (
            "on_rtsp_realm",
            stream("a", "rtsp"),
            json!({"code": 0, "msg": "success", "realm": "cameras"}),
        ),
        (
            "on_rtsp_realm",
            json!({"app": "open", "stream": "a"}),
            json!({"code": 0, "msg": "success", "realm": ""}),
        ),
        (
            "on_rtsp_auth",
            user("plain", "cameras", true),
            json!({"code": 0, "msg": "success", "encrypted": false, "passwd": "pw"}),
        ),
        (
            "on_rtsp_auth",
            user("hashed", "cameras", false),
            json!({"code": 0, "msg": "success", "encrypted": true, "passwd": "0123456789abcdef0123456789ABCDEF"}),
        ),
        ("on_rtsp_auth", user("hashed", "cameras", true), unknown.clone()),
        ("on_rtsp_auth", user("nobody", "cameras", false), unknown.clone()),
        ("on_rtsp_auth", user("plain", "other", false), unknown),
        (
            "on_shell_login",
            json!({"user_name": "a"}),
            json!({"code": -1, "msg": "there are no rules for logins"}),
        ),
        ("on_server_keepalive", json!({"data": {}}), yes.clone()),
        ("events", json!({"type": "stream.online"}), yes),
    ] {
        assert_eq!(ask(&service, hook, body).await, expected, "{hook}");
    }
}

#[tokio::test]
async fn what_is_no_call_is_refused_with_the_reason_and_counted() {
    let service = service("default = \"allow\"\n");
    let get = http::Request::get("/on_play").body(Body::empty()).unwrap();
    let large = "x".repeat(MAX_BODY + 1);
    for (request, status, reason) in [
        (get, 405, "called with POST"),
        (request("/on_party", "{}"), 404, "the name of a hook"),
        (request("/", "{}"), 404, "the name of a hook"),
        (
            request("/on_play", ""),
            400,
            "the body is not the JSON object of a hook: it does not begin with `{`",
        ),
        (
            request("/on_play", "{\"app\": \"a\""),
            400,
            "the JSON object of a hook: EOF",
        ),
        (request("/on_play", "[]"), 400, "not the JSON object of a hook"),
        (request("/on_play", "{\"app\": 5}"), 400, "expected a string"),
        (request("/on_play", "\u{feff}{}"), 400, "begin with"),
        (
            request("/on_play", "{\"app\": \"live\"}"),
            400,
            "the body of on_play must have a member `stream` that is not empty",
        ),
        (request("/on_http_access", "{}"), 400, "`path`"),
        (request("/on_flow_report", "{}{"), 400, "trailing characters"),
        (request("/on_play", large), 413, "more than 1048576 bytes"),
    ] {
        let (got, answer) = send(&service, request).await;
        assert_eq!((got, &answer["code"]), (status, &json!(-1)), "{reason}");
        let msg = answer["msg"].as_str().unwrap();
        assert!(msg.contains(reason), "{msg}");
    }
    let text = metrics_of(&service).await;
    for line in [
        "hook_server_refused_total{reason=\"method\"} 1",
        "hook_server_refused_total{reason=\"no_hook\"} 2",
        "hook_server_refused_total{reason=\"bad_call\"} 8",
        "hook_server_refused_total{reason=\"too_large\"} 1",
        "hook_server_in_flight 0",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn callers_are_known_by_address_and_by_signature() {
    let service = service(
        "default = \"allow\"\nsenders = [\"10.0.0.0/8\"]\nsigning_secrets = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n",
    );
    let from = |ip: &str| {
        let mut request = request("/on_play", "{\"app\":\"a\",\"stream\":\"b\"}");
        request.extensions_mut().insert(Peer(ip.parse().unwrap()));
        request
    };
    assert_eq!(send(&service, from("11.0.0.1")).await.0, 403);
    let (status, answer) = send(&service, from("10.0.0.1")).await;
    assert_eq!(status, 401);
    assert!(
        answer["msg"].as_str().unwrap().contains("webhook-signature"),
        "{answer}"
    );
    let mut wrong = from("10.0.0.1");
    for (name, value) in [
        ("webhook-id", "evt_1".to_owned()),
        ("webhook-timestamp", unix().as_secs().to_string()),
        ("webhook-signature", "v1,AAAA".to_owned()),
    ] {
        wrong.headers_mut().insert(name, value.parse().unwrap());
    }
    assert_eq!(send(&service, wrong).await.0, 401);
    let text = metrics_of(&service).await;
    assert!(text.contains("refused_total{reason=\"sender\"} 1"), "{text}");
    assert!(text.contains("refused_total{reason=\"unsigned\"} 2"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_delay_and_a_black_hole_hold_calls_within_the_bound() {
    let rules = || Rules::parse("default = \"allow\"\n").unwrap();
    let play = || request("/on_play", "{\"app\":\"a\",\"stream\":\"b\"}");
    let slow = Behaviour {
        answer_delay: Duration::from_secs(3),
        ..QUIET
    };
    let (service, _background) = Service::new(rules(), slow);
    let began = tokio::time::Instant::now();
    assert_eq!(send(&service, play()).await.0, 200);
    assert_eq!(began.elapsed().as_secs(), 3);

    let hole = Behaviour {
        black_hole: true,
        max_in_flight: 2,
        ..QUIET
    };
    let (service, _background) = Service::new(rules(), hole);
    let mut held = [Box::pin(send(&service, play())), Box::pin(send(&service, play()))];
    for held in &mut held {
        assert!(futures_util::poll!(held).is_pending());
    }
    assert_eq!(send(&service, play()).await.0, 503);
    assert!(metrics_of(&service).await.contains("hook_server_in_flight 2"));
    drop(held);
    assert!(metrics_of(&service).await.contains("hook_server_in_flight 0"));
}

#[tokio::test]
async fn events_are_written_before_they_are_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("missing/events.jsonl");
    let rules = format!(
        "[journal]\nfile = {:?}\nevents = [\"on_record_mp4\", \"events\"]\n",
        file
    );
    let (service, background) = Service::new(Rules::parse(&rules).unwrap(), QUIET);
    let script = async {
        let event = || {
            let mut request = request("/on_record_mp4", "{\n\"app\": \"live\",\n\"file_size\": 5}");
            request
                .headers_mut()
                .insert("webhook-id", "evt_7".parse().unwrap());
            request
        };
        assert_eq!(send(&service, event()).await.0, 500, "the sender may try again");
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        assert_eq!(
            send(&service, event()).await,
            (200, json!({"code": 0, "msg": "success"}))
        );
        ask(&service, "on_flow_report", json!({"app": "live"})).await;
        ask(&service, "events", json!({"type": "stream.online"})).await;
    };
    tokio::select! {
        () = background => panic!("it does not end"),
        () = script => {}
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0]["hook"], "on_record_mp4");
    assert_eq!(lines[0]["id"], "evt_7");
    assert_eq!(lines[0]["body"], json!({"app": "live", "file_size": 5}));
    assert_eq!(lines[1]["body"]["type"], "stream.online");
    let text = metrics_of(&service).await;
    assert!(
        text.contains("journal_events_total{result=\"written\"} 2"),
        "{text}"
    );
    assert!(
        text.contains("journal_events_total{result=\"failed\"} 1"),
        "{text}"
    );
}

#[tokio::test]
async fn new_rules_hold_from_the_next_call_on() {
    let service = service("default = \"deny\"\n");
    let play = || ask(&service, "on_play", json!({"app": "a", "stream": "b"}));
    assert_eq!(play().await["code"], -1);
    service.replace(Rules::parse("default = \"allow\"\n").unwrap());
    assert_eq!(play().await["code"], 0);
}

#[tokio::test]
async fn the_media_server_may_remember_what_a_rule_says_so_of() {
    let service = service(
        "default = \"allow\"\n[[access]]\naction = \"deny\"\non = \"play\"\npattern = \"a/no\"\ncache_sec = 5\n\
         [[access]]\naction = \"allow\"\non = \"play\"\npattern = \"a/yes\"\ncache_sec = 60\n",
    );
    for (hook, stream, seconds) in [
        ("on_play", "yes", Some("60")),
        ("on_play", "no", Some("5")),
        ("on_play", "other", None),
        ("on_publish", "yes", None),
    ] {
        let body = json!({"app": "a", "stream": stream}).to_string();
        let response = service
            .router()
            .oneshot(request(&format!("/{hook}"), body))
            .await
            .unwrap();
        let header = response.headers().get("tidegate-cache-seconds");
        assert_eq!(
            header.map(|value| value.to_str().unwrap()),
            seconds,
            "{hook} {stream}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_opened_sends_players_away() {
    let service = service(
        "[[server]]\nid = \"a\"\napi = \"http://127.0.0.1:1\"\nsecret = \"s\"\n\
         [[source]]\npattern = \"cam/(?s)(.*)\"\nurl = \"rtsp://10.0.0.1/$1\"\n\
         [[source]]\npattern = \"file/(.*)\"\nurl = \"ffmpeg:///srv/$1\"\n",
    );
    let from = |server: &str, app: &str, stream: &str| {
        let body =
            json!({"mediaServerId": server, "vhost": "__defaultVhost__", "app": app, "stream": stream});
        ask(&service, "on_stream_not_found", body)
    };
    let away = json!({"code": 0, "msg": "success", "close": true});
    assert_eq!(from("b", "cam", "1").await, away, "no such server");
    assert_eq!(from("a", "cam", "../x").await, away, "no such path");
    assert_eq!(from("a", "file", "a b").await, away, "an argument for ffmpeg");
    let before = metrics_of(&service).await;
    assert!(
        !before.contains("api_calls_total{"),
        "nobody was called: {before}"
    );
    assert_eq!(from("a", "cam", "1").await, away, "nobody listens there");
    let text = metrics_of(&service).await;
    assert!(
        text.contains("api_calls_total{call=\"addStreamProxy\",result=\"failed\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("calls_total{hook=\"on_stream_not_found\",result=\"open_failed\"} 4"),
        "{text}"
    );
    assert_eq!(
        from("a", "other", "1").await["close"],
        false,
        "somebody may publish it"
    );
}
