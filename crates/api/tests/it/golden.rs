//! Every captured call of ZLM to the endpoints that exist here, answered by this API. Where it answers otherwise on purpose,
//! [`ours`] says what and why.

use crate::fake::{ASKING, Client, Fake, OTHERWISE, Response, SECRET};
use api::describe::Kind;
use api::{ProbedFrame, SessionKind, SessionView, Traffic, Transport, WorkerLoad};
use hooks::object::Statistic;
use lifecycle::op::{FfmpegSpec, FfmpegView, JobState, PullSpec, PullView, PushSpec, PushView};
use lifecycle::{JobId, OpError, SessionId};
use md5::{Digest, Md5};
use media::info::{MediaInfo, OriginInfo, OriginType, SockInfo, TrackDetail, TrackInfo};
use media::{CodecId, MediaTime, ProtocolOptions, Schema, StreamKey, TrackId};
use serde_json::{Map, Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contract/golden/api");

/// The values behind the placeholders; ports are those of the captured server, so that MD5 keys come out the same.
const PLACEHOLDERS: [(&str, &str); 5] = [
    ("{SECRET}", SECRET),
    ("{RTMP_PORT}", "12935"),
    ("{RTSP_PORT}", "12554"),
    ("{HTTP_PORT}", "12080"),
    ("{SRT_PORT}", "12900"),
];

/// Members that this API adds (docs/api.md).
const ADDED: [&str; 3] = ["state", "reason", "restarts"];

/// Captured endpoints that are not offered, with the reason.
const ABSENT: [(&str, &[&str]); 8] = [
    (
        "there is no recording yet",
        &[
            "startRecord",
            "stopRecord",
            "isRecording",
            "startRecordTask",
            "getMP4RecordFile",
            "deleteRecordDirectory",
            "loadMP4File",
            "setRecordSpeed",
            "seekRecordStamp",
        ],
    ),
    ("there are no snapshots yet", &["getSnap", "deleteSnapDirectory"]),
    (
        "there is no RTP server and no RTP sender yet",
        &[
            "openRtpServer",
            "openRtpServerMultiplex",
            "connectRtpServer",
            "closeRtpServer",
            "updateRtpServerSSRC",
            "listRtpServer",
            "getRtpInfo",
            "pauseRtpCheck",
            "resumeRtpCheck",
            "startSendRtp",
            "startSendRtpPassive",
            "startSendRtpTalk",
            "stopSendRtp",
            "listRtpSender",
        ],
    ),
    (
        "there is no WebRTC yet",
        &[
            "webrtc",
            "whip",
            "whep",
            "delete_webrtc",
            "getWebrtcProxyPlayerInfo",
            "addWebrtcRoomKeeper",
            "delWebrtcRoomKeeper",
            "listWebrtcRoomKeepers",
            "listWebrtcRooms",
        ],
    ),
    (
        "tier C: pulls are not paused or sped up yet",
        &["setStreamSpeed", "pauseStream", "seekStream"],
    ),
    ("tier C: ONVIF", &["searchOnvifDevice", "getStreamUrl"]),
    ("fault 7.12: it hands out the executable", &["downloadBin"]),
    ("tier C: the captured build had none either", &["stack_start"]),
];

/// Cases that need files, with what compares them.
const WITH_FILES: [&str; 4] = [
    // crates/server/tests/it/files/download.rs
    "downloadFile.ok",
    "downloadFile.no_such_file",
    "downloadFile.outside_root",
    "downloadFile.save_name",
];

struct Case {
    name: String,
    request: Value,
    response: Value,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(FOLDER).expect("golden files") {
        let path = entry.expect("entry").path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("name")
            .to_owned();
        let endpoint = name.split('.').next().expect("endpoint");
        let offered =
            api::routes::ROUTES.iter().any(|route| route.name == endpoint) || endpoint == "unknownApi";
        let here = offered && !WITH_FILES.contains(&name.as_str());
        if path.extension().is_some_and(|extension| extension == "json") && here {
            cases.push(read(&path, name));
        }
    }
    cases.sort_by(|left, right| left.name.cmp(&right.name));
    cases
}

fn read(path: &Path, name: String) -> Case {
    let mut text = fs::read_to_string(path).expect("golden file");
    for (placeholder, value) in PLACEHOLDERS {
        text = text.replace(placeholder, value);
    }
    let mut case: Value = serde_json::from_str(&text).expect("golden JSON");
    Case {
        name,
        request: case["request"].take(),
        response: case["response"].take(),
    }
}

/// No capture is passed over without a reason.
#[tokio::test]
async fn every_capture_is_compared_or_says_why_not() {
    let compared: Vec<String> = cases().into_iter().map(|case| case.name).collect();
    for entry in fs::read_dir(FOLDER).expect("golden files") {
        let path = entry.expect("entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("name");
        let endpoint = name.split('.').next().expect("endpoint");
        let absent = ABSENT.iter().any(|(_, endpoints)| endpoints.contains(&endpoint));
        // Notes on the captures, and the offers that some of them send.
        let note = ["README", "_offers"].contains(&endpoint);
        let here = compared.iter().any(|case| case == name) || WITH_FILES.contains(&name);
        assert_eq!(
            [absent, note, here].into_iter().filter(|yes| *yes).count(),
            1,
            "{name}"
        );
    }
    let client = Client::new(Fake::default());
    for endpoint in ABSENT.iter().flat_map(|(_, endpoints)| *endpoints) {
        let target = format!("/index/api/{endpoint}?secret={SECRET}");
        assert_eq!(client.get(&target).await.body, OTHERWISE, "{endpoint}");
        let response = client.send("POST", &target, &[], "").await;
        assert_eq!(response.status.as_u16(), 404, "{endpoint}");
    }
}

#[test]
fn every_endpoint_of_zlm_has_golden_files() {
    let cases = cases();
    for route in api::routes::ROUTES.iter().filter(|route| !route.about.own) {
        let prefix = format!("{}.", route.name);
        assert!(
            cases.iter().any(|case| case.name.starts_with(&prefix)),
            "{}",
            route.name
        );
    }
}

#[test]
fn every_endpoint_and_its_required_parameters_are_documented() {
    let manual = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md"));
    for route in api::routes::ROUTES {
        let name = route.name;
        let section = manual.split("\n### ").find(|section| {
            let heading = section.split('\n').next();
            heading == Some(name)
        });
        let section = section.unwrap_or_else(|| panic!("{name} has no section"));
        for parameter in route.about.parameters {
            let parameter = match (parameter.required, parameter.kind) {
                (_, Kind::ConfigKeys) => continue,
                (true, _) => format!("**{}**", parameter.name),
                (false, _) => format!("`{}`", parameter.name),
            };
            assert!(section.contains(&parameter), "{parameter} of {name}");
        }
        for parameter in route.about.all_parameters() {
            assert!(manual.contains(parameter.name), "{} of {name}", parameter.name);
        }
    }
}

#[tokio::test]
async fn every_captured_call_is_answered_alike() {
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() > 100, "only {} cases found", cases.len());
    for mut case in cases {
        rewrite(&mut case);
        let client = Client::new(server(&case));
        prepare(&client, &mut case).await;
        let response = send(&client, &case.request).await;
        compare_response(&case, &response, &mut wrong);
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Puts our answers in the place of those that are otherwise on purpose.
fn rewrite(case: &mut Case) {
    if let Some(json) = ours(case) {
        case.response["json"] = json;
    }
}

/// What this API answers where ZLM's answer is a fault, or needs a protocol that is not there yet.
fn ours(case: &Case) -> Option<Value> {
    let json = &case.response["json"];
    let url = |name: &str| {
        case.request["query"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut json = json.clone();
        change(&mut json);
        Some(json)
    };
    match case.name.as_str() {
        // Fault 7.3.
        "addStreamProxy.target_already_published" => {
            Some(json!({"code": -1, "msg": "This stream already exists"}))
        }
        // Fault 7.4.
        "getProxyInfo.source_lost" => changed(&|json| json["data"]["status"] = json!(1)),
        // Fault 7.2: at once, no exception, no entry.
        "addStreamPusherProxy.schema_mismatch" => changed(&|json| json["code"] = json!(-1)),
        "addStreamProxy.ok_webrtc_whep" => {
            Some(json!({"code": -1, "msg": format!("not supported play schema:{}", url("url"))}))
        }
        // In lists of several objects some captures still show `loss`, left over from an earlier call.
        "getMediaList.all" | "getMediaList.by_schema_rtmp" | "getMediaList.by_stream" => changed(&|json| {
            for media in json["data"].as_array_mut().expect("objects") {
                for track in media["tracks"].as_array_mut().expect("tracks") {
                    track.as_object_mut().expect("a track").remove("loss");
                }
            }
        }),
        _ => None,
    }
}

/// A server in the state that the case was captured in. What a reply shows is read from the reply itself; that it comes out
/// again in the same form is the test.
fn server(case: &Case) -> Fake {
    let mut fake = Fake::default();
    let json = &case.response["json"];
    let data = &json["data"];
    let list = || data.as_array().map(Vec::as_slice).unwrap_or_default();
    fake.own_ports = vec![12935, 12080];
    let (endpoint, variant) = case.name.split_once('.').expect("endpoint.case");
    match endpoint {
        "getMediaList" => fake.media = list().iter().map(media_info).collect(),
        "getMediaInfo" if json["app"].is_string() => fake.media = vec![media_info(json)],
        "isMediaOnline" if variant == "vhost_enabled_default_vhost_misses" => {
            fake.media = vec![stream("my.host", "live", "vh", Schema::Rtmp, 0)];
        }
        "getMediaPlayerList" => {
            for name in ["test", "opus"] {
                fake.media
                    .extend(Schema::ALL.map(|schema| stream("__defaultVhost__", "live", name, schema, 1)));
            }
            let key = StreamKey::on_default_vhost("live", "test");
            let schema = case.request["query"]["schema"]
                .as_str()
                .expect("schema")
                .parse()
                .expect("schema");
            fake.players = list()
                .iter()
                .map(|json| (key.clone(), schema, session(json)))
                .collect();
        }
        "close_stream" => {
            fake.media = match variant {
                "not_found" => Vec::new(),
                _ => vec![
                    stream("__defaultVhost__", "live", "c1", Schema::Rtmp, 1),
                    stream("__defaultVhost__", "live", "c2", Schema::Rtsp, 0),
                ],
            };
        }
        "close_streams" => {
            fake.media = match variant {
                "all_schemas_forced" => [Schema::Rtmp, Schema::Rtsp, Schema::Ts, Schema::Fmp4]
                    .map(|schema| stream("__defaultVhost__", "grp", "cc", schema, 0))
                    .into(),
                "one_schema_forced" => vec![stream("__defaultVhost__", "grp", "c4", Schema::Rtmp, 1)],
                _ => vec![
                    stream("__defaultVhost__", "grp", "c4", Schema::Rtmp, 1),
                    stream("__defaultVhost__", "grp", "c5", Schema::Rtmp, 0),
                ],
            };
        }
        "getAllSession" => {
            fake.sessions = list().iter().map(session).collect();
            if variant != "all" {
                fake.sessions.push(tcp_session(1, 12443));
            }
        }
        "kick_session" | "kick_sessions" => {
            fake.sessions = (1..=6).map(|id| tcp_session(id, 12080)).collect();
            fake.sessions.push(tcp_session(7, 12935));
            fake.sessions.push(SessionView {
                session: ASKING,
                ..tcp_session(8, 12080)
            });
        }
        "getStatistic" if data.is_object() => fake.statistic = statistic(data),
        "getThreadsLoad" | "getWorkThreadsLoad" => fake.load = list().iter().map(worker_load).collect(),
        "listStreamProxy" => list().iter().for_each(|json| add_proxy(&mut fake, json)),
        "getProxyInfo" if data.is_object() => add_proxy(&mut fake, data),
        "delStreamProxy" if variant == "ok" => {
            let key = StreamKey::on_default_vhost("proxy", "p1");
            fake.pulls
                .lock()
                .push(pull(key, "rtmp://127.0.0.1/a/b", JobState::Live));
        }
        "addStreamProxy" => {
            fake.media = vec![stream("__defaultVhost__", "live", "test", Schema::Rtmp, 0)];
            if variant == "duplicate" {
                let key = StreamKey::on_default_vhost("proxy", "p1");
                fake.pulls
                    .lock()
                    .push(pull(key, "rtmp://127.0.0.1/a/b", JobState::Live));
            }
            fake.outcome = outcome(variant);
        }
        "listStreamPusherProxy" => list().iter().for_each(|json| add_pusher(&mut fake, json, "")),
        "getProxyPusherInfo" if data.is_object() => {
            add_pusher(
                &mut fake,
                data,
                case.request["query"]["key"].as_str().expect("key"),
            );
        }
        "addStreamPusherProxy" | "delStreamPusherProxy" => {
            for name in ["test", "vonly", "h265"] {
                for schema in [Schema::Rtmp, Schema::Rtsp] {
                    fake.media
                        .push(stream("__defaultVhost__", "live", name, schema, 0));
                }
            }
            if matches!(
                (endpoint, variant),
                (_, "duplicate") | ("delStreamPusherProxy", "ok")
            ) {
                let key = "rtmp/__defaultVhost__/live/test/752bace53ee2e9815b35a3472232146c";
                fake.pushes
                    .lock()
                    .push(push(key, "rtmp://127.0.0.1:12935/push/a1", JobState::Live));
            }
            fake.outcome = outcome(variant);
        }
        "broadcastMessage" | "addProbe" => {
            fake.media = vec![stream("__defaultVhost__", "live", "test", Schema::Rtsp, 1)];
            fake.probed = list().iter().map(probed).collect();
        }
        "addFFmpegSource" => fake.outcome = outcome(variant),
        "listFFmpegSource" => fake.ffmpegs.lock().extend(list().iter().map(ffmpeg)),
        "delFFmpegSource" if variant == "ok" => fake.ffmpegs.lock().push(ffmpeg(&json!({
            "key": "03b38bf1762d8f593486530bc1b28c1d", "src_url": "a", "dst_url": "b", "ffmpeg_cmd_key": ""
        }))),
        _ => {}
    }
    if endpoint == "isMediaOnline" {
        for schema in [Schema::Rtmp, Schema::Rtsp] {
            fake.media
                .push(stream("__defaultVhost__", "live", "test", schema, 0));
        }
    }
    if variant.starts_with("vhost_enabled") {
        fake.set("general.enableVhost", "1");
    }
    match case.name.as_str() {
        "getStatistic.ip_not_allowed" => fake.set("http.allow_ip_range", "10.0.0.0-10.255.255.255"),
        "getStatistic.forwarded_ip_has_no_effect" => fake.set("http.forwarded_ip_header", "X-Real-IP"),
        "setServerConfig.form_two_changes_one_unknown" => fake.set("general.flowThreshold", "512"),
        "setServerConfig.no_change" | "setServerConfig.one_change" => {
            fake.set("general.flowThreshold", "1024")
        }
        _ => {}
    }
    fake
}

/// How the attempt ended in the case of this name.
fn outcome(variant: &str) -> Option<OpError> {
    match variant {
        name if name.starts_with("connect_refused") => Some(OpError::Failed("connection refused".to_owned())),
        "already_publishing" => Some(OpError::Failed(
            "publish 失败:error NetStream.Publish.BadName".to_owned(),
        )),
        "stream_not_found" | "source_fails" => Some(OpError::TimedOut),
        _ => None,
    }
}

/// Puts into the request what an earlier call returned.
async fn prepare(client: &Client, case: &mut Case) {
    match case.name.as_str() {
        "getApiList.ok_with_login_cookie" | "getApiList.after_logout" | "logout.ok" => {
            let cookie = format!("ZLM_LOGINED={}", log_in(client).await);
            if case.name == "getApiList.after_logout" {
                let out = client
                    .send("GET", "/index/api/logout", &[("cookie", &cookie)], "")
                    .await;
                assert_eq!(out.json()["code"], 0);
            }
            case.request["headers"]["Cookie"] = json!(cookie);
        }
        "login.ok" => {
            let cookie = client.get("/index/api/logout").await.json()["cookie"]
                .as_str()
                .expect("cookie")
                .to_owned();
            case.request["query"]["digest"] = json!(digest(&cookie));
            case.request["headers"]["Cookie"] = json!(format!("ZLM_UNLOGIN={cookie}"));
        }
        "kick_session.ok" => case.request["query"]["id"] = json!("7-7"),
        _ => {}
    }
}

pub fn digest(cookie: &str) -> String {
    let digest = Md5::digest(format!("zlmediakit:{SECRET}:{cookie}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Logs in as a browser console does; the value of the login cookie.
pub async fn log_in(client: &Client) -> String {
    let refused = client.get("/index/api/version").await;
    let cookie = refused.json()["cookie"].as_str().expect("cookie").to_owned();
    assert_eq!(refused.cookie("ZLM_UNLOGIN"), cookie);
    let target = format!("/index/api/login?digest={}", digest(&cookie));
    let response = client
        .send(
            "GET",
            &target,
            &[("cookie", &format!("a=b; ZLM_UNLOGIN={cookie}"))],
            "",
        )
        .await;
    assert_eq!(response.json(), json!({"code": 0}));
    response.cookie("ZLM_LOGINED").to_owned()
}

async fn send(client: &Client, request: &Value) -> Response {
    let headers: Vec<(&str, &str)> = match &request["headers"] {
        Value::Object(headers) => headers
            .iter()
            .map(|(name, value)| (name.as_str(), text(value)))
            .collect(),
        _ => Vec::new(),
    };
    let is_form = headers.iter().any(|(_, value)| value.contains("urlencoded"));
    let body = match &request["body"] {
        Value::Object(members) if is_form => encode(members),
        Value::Object(members) => Value::Object(members.clone()).to_string(),
        Value::String(text) => text.clone(),
        _ => String::new(),
    };
    let query = request["query"].as_object().map(encode).unwrap_or_default();
    let target = format!("{}?{query}", text(&request["path"]));
    client
        .send(text(&request["method"]), &target, &headers, &body)
        .await
}

fn encode(members: &Map<String, Value>) -> String {
    let encoded =
        |value: &Value| -> String { text(value).bytes().map(|byte| format!("%{byte:02X}")).collect() };
    members
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect::<Vec<_>>()
        .join("&")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn compare_response(case: &Case, got: &Response, wrong: &mut Vec<String>) {
    let Case {
        name,
        response: expected,
        ..
    } = case;
    if name == "unknownApi.get" {
        // Handed on, so that a file of that name is found; here to something that says so.
        assert_eq!(got.body, OTHERWISE);
        return;
    }
    if expected["status"] != got.status.as_u16() {
        wrong.push(format!(
            "{name}: status {} instead of {}",
            got.status, expected["status"]
        ));
    }
    for (header, value) in expected["headers"].as_object().expect("headers") {
        let ignored = ["Keep-Alive", "Set-Cookie"].contains(&header.as_str())
            || header == "Connection" && value == "keep-alive"
            // A browser refuses "*" together with credentials (api.md, section 1.9).
            || name == "getApiList.options_preflight" && header == "Access-Control-Allow-Origin";
        let got = got.headers.get(header).and_then(|value| value.to_str().ok());
        if !ignored && got != value.as_str() {
            wrong.push(format!("{name}: header {header} {got:?} instead of {value}"));
        }
    }
    if name == "login.ok" {
        let logged_in = got.cookie("ZLM_LOGINED");
        assert!(logged_in.len() == 32 && logged_in.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(
            got.cookies()
                .iter()
                .any(|cookie| cookie.contains("ZLM_UNLOGIN=;expires=Thu, 01 Jan 1970"))
        );
    }
    if expected["json"].is_null() {
        if !got.body.is_empty() {
            wrong.push(format!("{name}: body {:?}", got.body));
        }
        return;
    }
    let only_types = ["version.ok", "getServerConfig.ok"].contains(&name.as_str());
    let got = got.json();
    if name.starts_with("getApiList.") && got["data"].is_array() {
        let ours = got["data"].as_array().expect("paths");
        let known = expected["json"]["data"].as_array().expect("paths");
        let own: Vec<Value> = api::routes::ROUTES
            .iter()
            .filter(|route| route.about.own)
            .map(|route| json!(format!("/index/api/{}", route.name)))
            .collect();
        assert!(
            ours.len() > 30 && ours.iter().all(|path| known.contains(path) || own.contains(path)),
            "{name}: {ours:?}"
        );
        return;
    }
    compare(name, "", &expected["json"], &got, only_types, wrong);
}

fn compare(name: &str, path: &str, expected: &Value, got: &Value, only_types: bool, wrong: &mut Vec<String>) {
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            for (member, value) in expected {
                let path = format!("{path}.{member}");
                match got.get(member) {
                    Some(got) => compare(name, &path, value, got, only_types, wrong),
                    None => wrong.push(format!("{name}: {path} is missing")),
                }
            }
            let more =
                |member: &&String| !expected.contains_key(*member) && !ADDED.contains(&member.as_str());
            let more: Vec<_> = got.keys().filter(more).collect();
            if !more.is_empty() && name != "getServerConfig.ok" {
                wrong.push(format!("{name}: {path} has {more:?} more"));
            }
        }
        (Value::Array(expected), Value::Array(got)) => {
            if expected.len() != got.len() {
                wrong.push(format!(
                    "{name}: {path} has {} elements instead of {}",
                    got.len(),
                    expected.len()
                ));
            }
            for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
                compare(
                    name,
                    &format!("{path}[{index}]"),
                    expected,
                    got,
                    only_types,
                    wrong,
                );
            }
        }
        (Value::String(cookie), Value::String(got)) if cookie == "{COOKIE}" => {
            if got.len() != 32 || !got.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                wrong.push(format!("{name}: {path} {got} is no cookie"));
            }
        }
        (Value::Number(expected), Value::Number(got)) if expected.is_f64() != got.is_f64() => {
            wrong.push(format!(
                "{name}: {path} {got} instead of {expected}: integer and real"
            ));
        }
        _ => {
            let same_type = std::mem::discriminant(expected) == std::mem::discriminant(got);
            if !same_type || !only_types && expected != got {
                wrong.push(format!("{name}: {path} {got} instead of {expected}"));
            }
        }
    }
}

// From JSON to what it shows.

fn media_info(json: &Value) -> MediaInfo {
    let number = |name: &str| json[name].as_u64().unwrap_or_else(|| panic!("{name} in {json}"));
    let origin = match number("originType") {
        1 => OriginType::RtmpPush,
        2 => OriginType::RtspPush,
        3 => OriginType::RtpPush,
        4 => OriginType::Pull,
        5 => OriginType::FfmpegPull,
        6 => OriginType::Mp4Vod,
        other => panic!("origin type {other}"),
    };
    MediaInfo {
        key: StreamKey::new(text(&json["vhost"]), text(&json["app"]), text(&json["stream"])),
        schema: text(&json["schema"]).parse().expect("schema"),
        params: text(&json["params"]).to_owned(),
        created_unix: number("createStamp"),
        alive_second: number("aliveSecond"),
        bytes_speed: number("bytesSpeed"),
        total_bytes: number("totalBytes"),
        readers: number("readerCount") as u32,
        total_readers: number("totalReaderCount") as u32,
        origin: OriginInfo {
            kind: origin,
            url: text(&json["originUrl"]).to_owned(),
            sock: json["originSock"].is_object().then(|| sock(&json["originSock"])),
        },
        recording_mp4: json["isRecordingMP4"].as_bool().expect("bool"),
        recording_hls: json["isRecordingHLS"].as_bool().expect("bool"),
        tracks: json["tracks"]
            .as_array()
            .expect("tracks")
            .iter()
            .map(track)
            .collect(),
    }
}

fn track(json: &Value) -> TrackInfo {
    let number = |name: &str| json[name].as_u64().unwrap_or_else(|| panic!("{name} in {json}"));
    let codec = match number("codec_id") {
        0 => CodecId::H264,
        1 => CodecId::H265,
        2 => CodecId::Aac,
        3 => CodecId::G711A,
        5 => CodecId::Opus,
        other => panic!("codec {other}"),
    };
    let detail = if number("codec_type") == 0 {
        TrackDetail::Video {
            width: number("width") as u32,
            height: number("height") as u32,
            fps: json["fps"].as_f64().expect("fps") as f32,
            key_frames: number("key_frames"),
            gop_size: number("gop_size") as u32,
            gop_interval_ms: number("gop_interval_ms") as u32,
        }
    } else {
        TrackDetail::Audio {
            sample_rate: number("sample_rate") as u32,
            channels: number("channels") as u8,
            sample_bits: number("sample_bit") as u8,
        }
    };
    let ready = json["ready"].as_bool().expect("ready");
    TrackInfo {
        codec,
        ready,
        frames: number("frames"),
        duration_ms: number("duration"),
        loss: json["loss"]
            .as_f64()
            .filter(|loss| *loss >= 0.0)
            .map(|loss| loss as f32),
        detail,
    }
}

fn sock(json: &Value) -> SockInfo {
    let address = |end: &str| {
        let ip = text(&json[format!("{end}_ip")]).parse().expect("address");
        SocketAddr::new(ip, json[format!("{end}_port")].as_u64().expect("port") as u16)
    };
    SockInfo {
        identifier: text(&json["identifier"]).to_owned(),
        local: address("local"),
        peer: address("peer"),
    }
}

fn session(json: &Value) -> SessionView {
    let kind = match text(&json["typeid"]) {
        "mediakit::RtmpSession" => SessionKind::Rtmp,
        "mediakit::RtspSession" => SessionKind::Rtsp,
        "mediakit::HttpSession" => SessionKind::Http,
        other => panic!("session type {other}"),
    };
    SessionView {
        session: SessionId(1),
        sock: sock(json),
        kind,
        transport: Transport::Tcp,
    }
}

pub fn tcp_session(id: u64, local_port: u16) -> SessionView {
    let sock = SockInfo {
        identifier: format!("{id}-{id}"),
        local: SocketAddr::from(([127, 0, 0, 1], local_port)),
        peer: SocketAddr::from(([127, 0, 0, 1], 40000 + id as u16)),
    };
    SessionView {
        session: SessionId(id),
        sock,
        kind: SessionKind::Http,
        transport: Transport::Tcp,
    }
}

pub fn stream(vhost: &str, app: &str, stream: &str, schema: Schema, readers: u32) -> MediaInfo {
    MediaInfo {
        key: StreamKey::new(vhost, app, stream),
        schema,
        params: "token=abc&user=1".to_owned(),
        created_unix: 1_795_353_454,
        alive_second: 27,
        bytes_speed: 1,
        total_bytes: 2,
        readers,
        total_readers: readers,
        origin: OriginInfo {
            kind: OriginType::RtmpPush,
            url: "rtmp://h/a/b".to_owned(),
            sock: None,
        },
        recording_mp4: false,
        recording_hls: false,
        tracks: Vec::new(),
    }
}

fn statistic(json: &Value) -> Statistic {
    let number = |name: &str| json[name].as_u64().unwrap_or_else(|| panic!("{name} in {json}"));
    Statistic {
        media_source: number("MediaSource"),
        multi_media_source_muxer: number("MultiMediaSourceMuxer"),
        tcp_server: number("TcpServer"),
        tcp_session: number("TcpSession"),
        udp_server: number("UdpServer"),
        udp_session: number("UdpSession"),
        tcp_client: number("TcpClient"),
        socket: number("Socket"),
        frame_imp: number("FrameImp"),
        frame: number("Frame"),
        buffer: number("Buffer"),
        buffer_raw: number("BufferRaw"),
        buffer_like_string: number("BufferLikeString"),
        buffer_list: number("BufferList"),
        rtp_packet: number("RtpPacket"),
        rtmp_packet: number("RtmpPacket"),
    }
}

fn worker_load(json: &Value) -> WorkerLoad {
    WorkerLoad {
        name: text(&json["name"]).to_owned(),
        load: json["load"].as_u64().expect("load") as u32,
        delay_ms: json["delay"].as_u64().expect("delay"),
        fd_count: json["fd_count"].as_u64().expect("fd_count"),
    }
}

fn probed(json: &Value) -> ProbedFrame {
    let number = |name: &str| json[name].as_i64().unwrap_or_else(|| panic!("{name} in {json}"));
    let video = text(&json["track_type"]) == "video";
    // ZLM has parameter sets among the frames, which are never so here.
    assert_eq!(json["config_frame"], false);
    ProbedFrame {
        codec: if video { CodecId::H264 } else { CodecId::Aac },
        track: TrackId(number("index") as u8),
        dts: MediaTime::from_millis(number("dts")),
        pts: MediaTime::from_millis(number("pts")),
        at: Duration::from_millis(number("recv_stamp") as u64),
        size: number("frame_size") as usize,
        // Every frame of sound is a key.
        key: json["key_frame"] == true || !video,
    }
}

pub fn pull(key: StreamKey, url: &str, state: JobState) -> PullView {
    let spec = PullSpec {
        key,
        url: url.to_owned(),
        alternatives: Vec::new(),
        options: ProtocolOptions::default(),
        retry_count: None,
        force: false,
        timeout: Duration::from_secs(10),
        client_options: Vec::new(),
        rule: None,
    };
    PullView {
        spec,
        state,
        live: Duration::ZERO,
        losses: 0,
        failures: 0,
        job: None,
    }
}

fn add_proxy(fake: &mut Fake, json: &Value) {
    let src = &json["src"];
    let key = StreamKey::new(text(&src["vhost"]), text(&src["app"]), text(&src["stream"]));
    let state = |reason: &str, was_live| JobState::BackingOff {
        reason: reason.to_owned(),
        was_live,
        retry_at: Instant::now(),
    };
    let state = match text(&json["status_str"]).split_once(": ") {
        None => JobState::Live,
        Some(("play failed", reason)) => state(reason, false),
        Some(("play shutdown", reason)) => state(reason, true),
        Some(other) => panic!("{other:?}"),
    };
    if state == JobState::Live {
        fake.media.push(MediaInfo {
            params: text(&src["params"]).to_owned(),
            total_readers: json["totalReaderCount"].as_u64().expect("readers") as u32,
            tracks: json["tracks"]
                .as_array()
                .expect("tracks")
                .iter()
                .map(track)
                .collect(),
            ..stream(key.vhost(), key.app(), key.stream(), Schema::Rtmp, 0)
        });
    }
    let job = add_traffic(fake, json);
    fake.pulls.lock().push(PullView {
        live: Duration::from_secs(json["liveSecs"].as_u64().expect("liveSecs")),
        losses: json["rePullCount"].as_u64().expect("rePullCount") as u32,
        job: Some(job),
        ..pull(key, text(&json["url"]), state)
    });
}

fn add_traffic(fake: &mut Fake, json: &Value) -> JobId {
    let job = JobId(fake.traffic.len() as u64);
    let number = |name: &str| json[name].as_u64().unwrap_or_else(|| panic!("{name} in {json}"));
    fake.traffic.insert(
        job,
        Traffic {
            bytes_speed: number("bytesSpeed"),
            total_bytes: number("totalBytes"),
        },
    );
    job
}

fn push(key: &str, dst_url: &str, state: JobState) -> PushView {
    let parts: Vec<&str> = key.split('/').collect();
    let spec = PushSpec {
        key: key.to_owned(),
        stream: StreamKey::new(parts[1], parts[2], parts[3]),
        schema: parts[0].parse().expect("schema"),
        dst_url: dst_url.to_owned(),
        retry_count: None,
        timeout: Duration::from_secs(10),
        client_options: Vec::new(),
    };
    PushView {
        spec,
        state,
        live: Duration::ZERO,
        losses: 0,
        job: None,
    }
}

fn add_pusher(fake: &mut Fake, json: &Value, key: &str) {
    let key = json["key"].as_str().unwrap_or(key);
    let state = if json["status"] == 0 {
        JobState::Live
    } else {
        JobState::Connecting
    };
    let job = add_traffic(fake, json);
    let view = PushView {
        live: Duration::from_secs(json["liveSecs"].as_u64().expect("liveSecs")),
        losses: json["rePublishCount"].as_u64().expect("rePublishCount") as u32,
        job: Some(job),
        ..push(key, text(&json["url"]), state)
    };
    let name = &view.spec.stream;
    let source = stream(name.vhost(), name.app(), name.stream(), view.spec.schema, 0);
    fake.media.push(MediaInfo {
        params: text(&json["src"]["params"]).to_owned(),
        ..source
    });
    fake.pushes.lock().push(view);
}

fn ffmpeg(json: &Value) -> FfmpegView {
    let spec = FfmpegSpec {
        key: text(&json["key"]).to_owned(),
        src_url: text(&json["src_url"]).to_owned(),
        dst_url: text(&json["dst_url"]).to_owned(),
        local: None,
        cmd_key: text(&json["ffmpeg_cmd_key"]).to_owned(),
        timeout: Duration::from_secs(10),
        enable_hls: false,
        enable_mp4: false,
        rule: None,
    };
    FfmpegView {
        spec,
        state: JobState::Live,
        restarts: 0,
        job: None,
    }
}
