//! Every captured body of the reference is made again from the facts it shows.

use super::*;
use crate::body::flow_report::FlowReport;
use crate::body::http_access::HttpAccess;
use crate::body::play::Play;
use crate::body::publish::Publish;
use crate::body::record_mp4::RecordMp4;
use crate::body::record_ts::{RecordTs, RecordedFile};
use crate::body::rtp_server_timeout::{RtpPort, RtpServerTimeout, TcpMode};
use crate::body::rtsp_auth::RtspAuth;
use crate::body::rtsp_realm::RtspRealm;
use crate::body::send_rtp_stopped::{Ended, SendRtpStopped};
use crate::body::server_exited::ServerExited;
use crate::body::server_keepalive::ServerKeepalive;
use crate::body::server_started::ServerStarted;
use crate::body::shell_login::ShellLogin;
use crate::body::stream_changed::{Registered, Removed};
use crate::body::stream_none_reader::StreamNoneReader;
use crate::body::stream_not_found::StreamNotFound;
use crate::files::Visit;
use crate::object::{Statistic, codec_id, codec_name, origin_name, origin_number};
use crate::rtsp::User;
use lifecycle::{Client, SessionId};
use media::CodecId;
use media::info::{MediaInfo, OriginInfo, OriginType, SockInfo, TrackDetail, TrackInfo};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// Bodies and names of the captures of a hook.
fn captures(hook: &str) -> Vec<(String, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contract/golden/hooks");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect(folder) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.strip_prefix(hook).is_some_and(|rest| rest.starts_with('.')) {
            let capture: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).expect(&name);
            found.push((name, capture["body"].clone()));
        }
    }
    assert!(!found.is_empty(), "no capture of {hook}");
    found
}

/// Compares with a capture, which has two members more.
#[track_caller]
fn check(name: &str, golden: &Value, ours: &impl Serialize) {
    let mut golden = golden.clone();
    let members = golden.as_object_mut().unwrap();
    assert!(
        members.remove("hook_index").is_some_and(|index| index.is_u64()),
        "{name}"
    );
    assert!(
        members.remove("mediaServerId").is_some_and(|id| id.is_string()),
        "{name}"
    );
    let ours: Value = serde_json::from_slice(&encode(ours)).unwrap();
    assert_eq!(ours, golden, "{name}");
}

fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_else(|| panic!("{name} of {body}"))
}

fn number(body: &Value, name: &str) -> u64 {
    body[name].as_u64().unwrap_or_else(|| panic!("{name} of {body}"))
}

fn key(body: &Value) -> StreamKey {
    StreamKey::new(text(body, "vhost"), text(body, "app"), text(body, "stream"))
}

fn schema(body: &Value) -> Schema {
    match text(body, "schema") {
        "rtc" => Schema::Rtsp,
        "srt" => Schema::Ts,
        // Not played in any schema; the name comes from the protocol.
        "rtp" => Schema::Rtsp,
        name => name.parse().unwrap(),
    }
}

fn protocol(name: &str) -> Protocol {
    use Protocol::*;
    let all = [
        Rtmp, Rtmps, Rtsp, Rtsps, Http, Https, Ws, Wss, Hls, HlsFmp4, Srt, Rtc, Rtp,
    ];
    all.into_iter()
        .find(|protocol| protocol.as_str() == name)
        .unwrap_or_else(|| panic!("protocol {name}"))
}

fn access(body: &Value, protocol: Protocol) -> Access {
    let ip: IpAddr = text(body, "ip").parse().unwrap();
    // As a dual-stack socket shows it.
    let ip = match ip {
        IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
        v6 @ IpAddr::V6(_) => v6,
    };
    // These show the name of the stream instead.
    let has_id = !matches!(protocol, Protocol::Srt | Protocol::Rtp);
    let id = if has_id { text(body, "id") } else { "7-7" };
    Access {
        key: key(body),
        schema: schema(body),
        protocol,
        params: text(body, "params").to_owned(),
        client: Client {
            session: SessionId(1),
            id: id.to_owned(),
            addr: SocketAddr::new(ip, number(body, "port") as u16),
        },
        authenticated: false,
    }
}

fn origin(body: &Value) -> OriginType {
    use OriginType::*;
    let all = [
        Unknown, RtmpPush, RtspPush, RtpPush, Pull, FfmpegPull, Mp4Vod, DeviceChn, RtcPush, SrtPush,
    ];
    let origin = all
        .into_iter()
        .find(|origin| u64::from(origin_number(*origin)) == number(body, "originType"));
    let origin = origin.unwrap();
    assert_eq!(origin_name(origin), text(body, "originTypeStr"));
    origin
}

#[test]
fn on_publish() {
    for (name, body) in captures("on_publish") {
        let access = access(&body, protocol(text(&body, "protocol")));
        check(&name, &body, &Publish::new(&access, origin(&body)));
    }
}

#[test]
fn on_play() {
    for (name, body) in captures("on_play") {
        check(
            &name,
            &body,
            &Play::new(&access(&body, protocol(text(&body, "protocol")))),
        );
    }
}

#[test]
fn on_rtsp_realm() {
    for (name, body) in captures("on_rtsp_realm") {
        check(&name, &body, &RtspRealm::new(&access(&body, Protocol::Rtsp)));
    }
}

#[test]
fn on_rtsp_auth() {
    for (name, body) in captures("on_rtsp_auth") {
        let user = User {
            name: text(&body, "user_name"),
            realm: text(&body, "realm"),
            plain_needed: name == "on_rtsp_auth.basic.json",
        };
        check(
            &name,
            &body,
            &RtspAuth::new(&access(&body, Protocol::Rtsp), &user),
        );
    }
}

#[test]
fn on_http_access() {
    for (name, body) in captures("on_http_access") {
        let client = Client {
            session: SessionId(1),
            id: text(&body, "id").to_owned(),
            addr: SocketAddr::new(text(&body, "ip").parse().unwrap(), number(&body, "port") as u16),
        };
        let headers: Vec<_> = body
            .as_object()
            .unwrap()
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("header.")?, value.as_str()?)))
            .collect();
        assert!(!headers.is_empty(), "{name}");
        let visit = Visit {
            client: &client,
            path: text(&body, "path"),
            file_path: text(&body, "file_path"),
            is_dir: body["is_dir"].as_bool().unwrap(),
            params: text(&body, "params"),
            headers: &headers,
        };
        check(&name, &body, &HttpAccess::new(&visit));
    }
}

#[test]
fn on_stream_not_found_shows_srt_and_webrtc_as_what_they_read() {
    for (name, body) in captures("on_stream_not_found") {
        let mut access = access(&body, protocol_of_missing(&name, &body));
        access.client.id = text(&body, "id").to_owned();
        check(&name, &body, &StreamNotFound::new(&access));
    }
}

/// The captures of SRT and WebRTC players do not show their protocol.
fn protocol_of_missing(name: &str, body: &Value) -> Protocol {
    match name {
        "on_stream_not_found.srt.json" => Protocol::Srt,
        "on_stream_not_found.webrtc_whep.json" => Protocol::Rtc,
        _ => protocol(text(body, "protocol")),
    }
}

#[test]
fn on_stream_none_reader() {
    for (name, body) in captures("on_stream_none_reader") {
        if text(&body, "schema") == "muxer" {
            // ZLM's word for "the last reader was an RTP sender"; the engine has no such schema, and receivers take it as a hint.
            continue;
        }
        let key = key(&body);
        check(
            &name,
            &body,
            &StreamNoneReader::new(&key, schema(&body), text(&body, "params")),
        );
    }
}

#[test]
fn on_flow_report() {
    for (name, mut body) in captures("on_flow_report") {
        if name == "on_flow_report.rtp_pusher.json" {
            // The engine does not know the transport of RTP yet; see the comment on `FlowReport`.
            assert_eq!(body["protocol"], "udp");
            body["protocol"] = "rtp".into();
        }
        let access = access(&body, protocol(text(&body, "protocol")));
        let duration = Duration::from_millis(number(&body, "duration") * 1000 + 999);
        let player = body["player"].as_bool().unwrap();
        check(
            &name,
            &body,
            &FlowReport::new(&access, number(&body, "totalBytes"), duration, player),
        );
    }
}

fn socket(body: &Value) -> SockInfo {
    let address = |ip, port| SocketAddr::new(text(body, ip).parse().unwrap(), number(body, port) as u16);
    SockInfo {
        identifier: text(body, "identifier").to_owned(),
        local: address("local_ip", "local_port"),
        peer: address("peer_ip", "peer_port"),
    }
}

fn track(body: &Value) -> TrackInfo {
    use CodecId::*;
    let all = [H264, H265, Av1, Vp8, Vp9, Aac, Opus, G711A, G711U, Mp3];
    let codec = all
        .into_iter()
        .find(|codec| i64::from(codec_id(*codec)) == number(body, "codec_id") as i64)
        .unwrap();
    assert_eq!(codec_name(codec), text(body, "codec_id_name"));
    let small = |name| u32::try_from(number(body, name)).unwrap();
    let detail = match number(body, "codec_type") {
        0 => TrackDetail::Video {
            width: small("width"),
            height: small("height"),
            fps: body["fps"].as_f64().unwrap() as f32 + 0.2,
            key_frames: number(body, "key_frames"),
            gop_size: small("gop_size"),
            gop_interval_ms: small("gop_interval_ms"),
        },
        _ => TrackDetail::Audio {
            sample_rate: small("sample_rate"),
            channels: number(body, "channels") as u8,
            sample_bits: number(body, "sample_bit") as u8,
        },
    };
    TrackInfo {
        codec,
        ready: body["ready"].as_bool().unwrap(),
        frames: number(body, "frames"),
        duration_ms: number(body, "duration"),
        loss: body["loss"]
            .as_f64()
            .filter(|loss| *loss >= 0.0)
            .map(|loss| loss as f32),
        detail,
    }
}

fn media_info(body: &Value) -> MediaInfo {
    MediaInfo {
        key: key(body),
        schema: schema(body),
        params: text(body, "params").to_owned(),
        created_unix: number(body, "createStamp"),
        alive_second: number(body, "aliveSecond"),
        bytes_speed: number(body, "bytesSpeed"),
        total_bytes: number(body, "totalBytes"),
        readers: number(body, "readerCount") as u32,
        total_readers: number(body, "totalReaderCount") as u32,
        origin: OriginInfo {
            kind: origin(body),
            url: text(body, "originUrl").to_owned(),
            sock: Some(&body["originSock"])
                .filter(|sock| !sock.is_null())
                .map(socket),
        },
        recording_mp4: body["isRecordingMP4"].as_bool().unwrap(),
        recording_hls: body["isRecordingHLS"].as_bool().unwrap(),
        tracks: body["tracks"].as_array().unwrap().iter().map(track).collect(),
    }
}

#[test]
fn on_stream_changed() {
    for (name, body) in captures("on_stream_changed") {
        if body["regist"] == true {
            check(&name, &body, &Registered::new(&media_info(&body)));
        } else {
            let key = key(&body);
            check(
                &name,
                &body,
                &Removed::new(&key, schema(&body), text(&body, "params")),
            );
        }
    }
}

#[test]
fn reals_stay_reals_and_loss_can_be_left_out() {
    let (_, body) = captures("on_stream_changed")
        .into_iter()
        .find(|(_, body)| body["regist"] == true && body["tracks"][0]["loss"] == -1.0)
        .unwrap();
    let info = media_info(&body);
    let text = String::from_utf8(encode(&Registered::new(&info)).to_vec()).unwrap();
    assert!(
        text.contains("\"fps\":25.0") && text.contains("\"loss\":-1.0"),
        "{text}"
    );
    // The loss of the video is that of the whole stream, whichever track comes first.
    let mut lossy = info.clone();
    for (index, track) in lossy.tracks.iter_mut().enumerate() {
        track.loss = match track.codec.kind() {
            media::MediaKind::Video => Some(12.5),
            media::MediaKind::Audio => (index == 0).then_some(f32::NAN),
        };
    }
    let lossy: Value = serde_json::to_value(crate::object::Media::new(&lossy, true)).unwrap();
    for track in lossy["tracks"].as_array().unwrap() {
        assert_eq!(track["loss"], 12.5);
    }
    let without: Value = serde_json::to_value(crate::object::Media::new(&info, false)).unwrap();
    assert!(
        without["tracks"]
            .as_array()
            .unwrap()
            .iter()
            .all(|track| track.get("loss").is_none())
    );
}

#[test]
fn on_server_started() {
    for (name, body) in captures("on_server_started") {
        let members = body
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| key.contains('.'));
        let config: Vec<_> = members
            .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(config.len(), 179);
        check(&name, &body, &ServerStarted::new(&config));
    }
}

#[test]
fn on_record_ts() {
    for (name, body) in captures("on_record_ts") {
        let file = RecordedFile {
            name: text(&body, "file_name").to_owned(),
            folder: text(&body, "folder").into(),
            size: number(&body, "file_size"),
            // Whatever the fraction of the second is.
            start: Duration::from_millis(number(&body, "start_time") * 1000 + 990),
            length: Duration::from_secs_f64(body["time_len"].as_f64().unwrap()),
        };
        let key = key(&body);
        check(&name, &body, &RecordTs::new(&key, text(&body, "params"), &file));
    }
}

#[test]
fn on_record_mp4() {
    for (name, body) in captures("on_record_mp4") {
        // With the slash at its end, as the reference shows it, and without.
        for folder in [text(&body, "folder"), text(&body, "folder").trim_end_matches('/')] {
            let day = &text(&body, "file_name")[.."2026-11-22".len()];
            let file = RecordedFile {
                name: format!("{day}/{}", text(&body, "file_name")),
                folder: folder.into(),
                size: number(&body, "file_size"),
                start: Duration::from_millis(number(&body, "start_time") * 1000 + 990),
                length: Duration::from_secs_f64(body["time_len"].as_f64().unwrap()),
            };
            let key = key(&body);
            check(
                &name,
                &body,
                &RecordMp4::new(&key, text(&body, "params"), "record/live/rec1", &file),
            );
        }
    }
}

#[test]
fn on_rtp_server_timeout() {
    for (name, body) in captures("on_rtp_server_timeout") {
        let port = RtpPort {
            local_port: number(&body, "local_port") as u16,
            tcp_mode: [TcpMode::Udp, TcpMode::Passive, TcpMode::Active][number(&body, "tcp_mode") as usize],
            re_use_port: body["re_use_port"].as_bool().unwrap(),
            ssrc: number(&body, "ssrc") as u32,
        };
        let key = StreamKey::new(text(&body, "vhost"), text(&body, "app"), text(&body, "stream_id"));
        check(&name, &body, &RtpServerTimeout::new(&key, &port));
    }
}

#[test]
fn on_send_rtp_stopped() {
    for (name, body) in captures("on_send_rtp_stopped") {
        let origin = OriginInfo {
            kind: origin(&body),
            url: text(&body, "originUrl").to_owned(),
            sock: None,
        };
        let ended = Ended {
            error: number(&body, "err") as u8,
            message: text(&body, "msg"),
        };
        let (key, params, ssrc) = (key(&body), text(&body, "params"), text(&body, "ssrc"));
        check(
            &name,
            &body,
            &SendRtpStopped::new(&key, params, &origin, ssrc, ended),
        );
    }
}

#[test]
fn on_shell_login() {
    for (name, body) in captures("on_shell_login") {
        let client = Client {
            session: SessionId(1),
            id: text(&body, "id").to_owned(),
            addr: SocketAddr::new(text(&body, "ip").parse().unwrap(), number(&body, "port") as u16),
        };
        let (user, password) = (text(&body, "user_name"), text(&body, "passwd"));
        check(&name, &body, &ShellLogin::new(&client, user, password));
    }
}

/// A capture of every hook is made again by a test here, and every capture is of a hook.
#[test]
fn every_capture_is_of_a_hook_and_every_hook_was_captured() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contract/golden/hooks");
    for entry in std::fs::read_dir(folder).expect(folder) {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let hook = name.split('.').next().unwrap();
        assert!(
            crate::Hook::ALL.iter().any(|known| known.name() == hook),
            "{name}"
        );
    }
    for hook in crate::Hook::ALL {
        assert!(!captures(hook.name()).is_empty(), "{hook}");
        let test = format!("fn {hook}");
        assert!(include_str!("golden.rs").contains(&test), "{hook} has no test");
    }
}

#[test]
fn on_server_exited() {
    for (name, body) in captures("on_server_exited") {
        check(&name, &body, &ServerExited {});
    }
}

#[test]
fn on_server_keepalive() {
    for (name, body) in captures("on_server_keepalive") {
        let data = &body["data"];
        let statistic = Statistic {
            media_source: number(data, "MediaSource"),
            multi_media_source_muxer: number(data, "MultiMediaSourceMuxer"),
            tcp_server: number(data, "TcpServer"),
            tcp_session: number(data, "TcpSession"),
            udp_server: number(data, "UdpServer"),
            udp_session: number(data, "UdpSession"),
            tcp_client: number(data, "TcpClient"),
            socket: number(data, "Socket"),
            frame_imp: number(data, "FrameImp"),
            frame: number(data, "Frame"),
            buffer: number(data, "Buffer"),
            buffer_raw: number(data, "BufferRaw"),
            buffer_like_string: number(data, "BufferLikeString"),
            buffer_list: number(data, "BufferList"),
            rtp_packet: number(data, "RtpPacket"),
            rtmp_packet: number(data, "RtmpPacket"),
        };
        check(&name, &body, &ServerKeepalive::new(&statistic));
    }
}
