//! `tidegate hook-server` as the hook service of a server, both as processes of their own.

use crate::clients::*;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use testkit::certificate::Authority;
use testkit::http;
use testkit::server::TestServer;
use testkit::tool::{Running, Tool};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// All hooks that the service has rules for and this server raises.
const HOOKS: &[&str] = &[
    "on_publish",
    "on_play",
    "on_flow_report",
    "on_stream_changed",
    "on_stream_none_reader",
    "on_stream_not_found",
    "on_rtsp_realm",
    "on_rtsp_auth",
    "on_http_access",
];

/// A running service and its rules file.
struct Service {
    running: Running,
    address: SocketAddr,
    folder: TempDir,
    reloads: usize,
}

impl Service {
    async fn start(rules: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("rules.toml");
        std::fs::write(&file, rules)?;
        let running = Tool::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["hook-server", "--listen", "127.0.0.1:0", "-c"])
            .arg(&file)
            .current_dir(folder.path())
            .spawn()?;
        let line = running.wait_for_output("listens on", SOON).await?;
        let (_, address) = line.split_once("http://").context("an address")?;
        Ok(Self {
            address: address.parse()?,
            running,
            folder,
            reloads: 0,
        })
    }

    fn rules_file(&self) -> PathBuf {
        self.folder.path().join("rules.toml")
    }

    /// Puts other rules in place of the old ones, at once as a careful program does.
    fn replace(&self, rules: &str) -> Result<()> {
        let new = self.folder.path().join("rules.new");
        std::fs::write(&new, rules)?;
        Ok(std::fs::rename(new, self.rules_file())?)
    }

    /// The same, and waits until they are in force.
    async fn reload(&mut self, rules: &str) -> Result<()> {
        self.replace(rules)?;
        self.reloads += 1;
        self.running
            .wait_for_lines("the rules were reloaded", self.reloads, SOON)
            .await
    }

    /// A `[hook]` section that sends everything here; further keys of it may follow.
    fn ini(&self) -> String {
        let url = |hook: &&str| format!("{hook}=http://{}/index/hook/{hook}\n", self.address);
        format!("[hook]\nenable=1\n{}", HOOKS.iter().map(url).collect::<String>())
    }

    async fn post(&self, hook: &str, headers: &[(&str, &str)], body: &str) -> Result<http::Response> {
        http::request(
            self.address,
            "POST",
            &format!("/{hook}"),
            headers,
            body.as_bytes(),
            SOON,
        )
        .await
    }

    /// The value of a metric, its labels included in the name; 0 if it is not there.
    async fn metric(&self, name: &str) -> Result<u64> {
        let answer = http::request(self.address, "GET", "/metrics", &[], &[], SOON).await?;
        ensure!(answer.status == 200);
        let text = answer.text();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.unwrap_or("0").parse()?)
    }

    /// Waits until a metric has this value.
    async fn wait_for_metric(&self, name: &str, value: u64) -> Result<()> {
        let mut last = 0;
        let reached = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            loop {
                last = self.metric(name).await?;
                if last == value {
                    return anyhow::Ok(());
                }
                tick.tick().await;
            }
        };
        match tokio::time::timeout(SOON, reached).await {
            Ok(reached) => reached,
            Err(_) => bail!("{name} is {last} and did not become {value}"),
        }
    }

    async fn calls(&self, hook: &str, result: &str) -> Result<u64> {
        self.metric(&format!(
            "hook_server_calls_total{{hook=\"{hook}\",result=\"{result}\"}}"
        ))
        .await
    }

    async fn api_calls(&self, call: &str, result: &str) -> Result<u64> {
        self.metric(&format!(
            "hook_server_api_calls_total{{call=\"{call}\",result=\"{result}\"}}"
        ))
        .await
    }
}

/// A server whose hooks go to the service, with a short delay for streams that nobody watches.
async fn server_of(service: &Service, more: &str) -> Result<TestServer> {
    let general = "[general]\nstreamNoneReaderDelayMS=400\nflowThreshold=0\nmediaServerId=test\n";
    serve(&format!("{}{general}{more}", service.ini())).await
}

/// The `[[server]]` table of a server.
fn table_of(server: &TestServer) -> String {
    let (api, secret) = (server.url_http(""), server.secret());
    format!("[[server]]\nid = \"test\"\napi = \"{api}\"\nsecret = \"{secret}\"\n")
}

fn unix() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// The parameters of a signed URL.
fn signed(key: &str, name: &str, expires: u64) -> String {
    let sign = hmac(key.as_bytes(), format!("{name}-{expires}").as_bytes());
    let hex: String = sign.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("expires={expires}&sign={hex}")
}

async fn refusal(server: &TestServer, stream: &str) -> Result<String> {
    let viewer = FlvViewer::open(server, stream).await?;
    assert_eq!(viewer.status(), 401, "{stream}");
    viewer.refusal().await
}

async fn is_refused(server: &TestServer, stream: &str) -> Result<()> {
    let publisher = publish(testkit::fixture::Fixture::H264Aac, &server.url_rtmp(stream)).await?;
    ensure!(
        !publisher.wait(SOON).await?.status.success(),
        "{stream} could be published"
    );
    Ok(())
}

const ACCESS: &str = r#"
default = "deny"

[[access]]
action = "allow"
on = "publish"
pattern = "live/.*"
address = ["127.0.0.0/8", "::1"]
token = { values = ["pub-1", "pub-2"] }
options = { enable_rtsp = false }

[[access]]
action = "allow"
on = "play"
pattern = "live/.*"
sign = { keys = ["play-key"] }
"#;

#[tokio::test]
async fn tokens_signatures_and_addresses_decide_and_rules_change_while_running() -> Result<()> {
    let mut service = Service::start(ACCESS).await?;
    let server = server_of(&service, "").await?;
    is_refused(&server, "live/cam").await?;
    is_refused(&server, "live/cam?token=pub-3").await?;
    is_refused(&server, "other/cam?token=pub-1").await?;
    let _publisher = publish(
        testkit::fixture::Fixture::H264Aac,
        &server.url_rtmp("live/cam?token=pub-2"),
    )
    .await?;
    online(&server, "live", "cam").await;
    let is_online = [
        ("schema", "rtsp"),
        ("vhost", "__defaultVhost__"),
        ("app", "live"),
        ("stream", "cam"),
    ];
    assert_eq!(
        server.api("isMediaOnline", &is_online).await["online"],
        false,
        "the rule's options"
    );

    for (params, why) in [
        ("token=pub-2".to_owned(), "signature missing"),
        (signed("play-key", "live/cam", unix() - 10), "signature expired"),
        (signed("play-key", "live/other", unix() + 60), "signature wrong"),
        (signed("other-key", "live/cam", unix() + 60), "signature wrong"),
    ] {
        let told = refusal(&server, &format!("live/cam?{params}")).await?;
        assert!(told.contains(why), "{params}: {told}");
    }
    let link = format!("live/cam?{}", signed("play-key", "live/cam", unix() + 600));
    let mut viewer = FlvViewer::open(&server, &link).await?;
    assert_eq!(viewer.status(), 200);
    assert!(viewer.picture().await?.key);

    let ban = "[[access]]\naction = \"deny\"\naddress = \"127.0.0.1\"\nmessage = \"banned for now\"\n";
    service
        .reload(&format!("{ban}{}", ACCESS.replace("default = \"deny\"\n", "")))
        .await?;
    let told = refusal(&server, &link).await?;
    assert!(told.contains("banned for now"), "{told}");

    service.replace("[[access]]\naction = \"maybe\"\n")?;
    let line = service
        .running
        .wait_for_line("the new rules are not used", SOON)
        .await?;
    assert!(
        line.contains("line 2: unknown variant `maybe`, expected `allow` or `deny`"),
        "{line}"
    );
    let told = refusal(&server, &link).await?;
    assert!(told.contains("banned for now"), "the old rules stay: {told}");
    service.reload(ACCESS).await?;
    assert_eq!(FlvViewer::open(&server, &link).await?.status(), 200);
    assert_eq!(
        service
            .metric("hook_server_reloads_total{result=\"failed\"}")
            .await?,
        1
    );
    Ok(())
}

#[tokio::test]
async fn a_source_is_opened_once_for_all_who_wait_and_closed_after_the_last() -> Result<()> {
    let mut service = Service::start("default = \"allow\"\n").await?;
    // The camera's stream is not there yet. It keeps its player waiting, and so all calls are under way at once.
    let wait = "maxStreamWaitMS=60000\n";
    let server = server_of(&service, &format!("{wait}[hook]\ntimeoutSec=60\n")).await?;
    let camera = serve(&format!("[general]\n{wait}")).await?;
    let rule = format!(
        "[[source]]\npattern = \"cam/(?<name>[a-z]+)\"\nurl = \"{}/${{name}}\"\ntimeout_sec = 50\n",
        camera.url_rtmp("live")
    );
    service
        .reload(&format!("default = \"allow\"\n{}{rule}", table_of(&server)))
        .await?;

    let mut asking = Vec::new();
    for _ in 0..20 {
        asking.push(FlvViewer::ask(server.address("http"), "cam/source").await?);
    }
    service.wait_for_metric("hook_server_in_flight", 1).await?;
    // ZLM calls for each player that waits, so do as it does.
    let body =
        "{\"mediaServerId\":\"test\",\"vhost\":\"__defaultVhost__\",\"app\":\"cam\",\"stream\":\"source\"}";
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let address = service.address;
        calls.spawn(async move {
            http::request(
                address,
                "POST",
                "/on_stream_not_found",
                &[],
                body.as_bytes(),
                SOON,
            )
            .await
        });
    }
    service.wait_for_metric("hook_server_in_flight", 21).await?;
    assert_eq!(service.metric("hook_server_sources_opening").await?, 1);
    let _publisher = publish_live(&camera, "live/source").await?;
    let mut viewers = Vec::new();
    for asking in asking {
        viewers.push(asking.await?);
    }
    for viewer in &mut viewers {
        assert_eq!(viewer.status(), 200);
        assert!(viewer.picture().await?.key);
    }
    assert_eq!(players(&camera, "rtmp", "live", "source").await, 1, "one pull");
    for answer in calls.join_all().await {
        assert_eq!(answer?.text(), "{\"code\":0,\"msg\":\"success\",\"close\":false}");
    }
    service.wait_for_metric("hook_server_in_flight", 0).await?;
    assert_eq!(service.calls("on_stream_not_found", "opened").await?, 21);
    for (result, count) in [("ok", 1), ("refused", 0), ("failed", 0)] {
        assert_eq!(
            service.api_calls("addStreamProxy", result).await?,
            count,
            "{result}"
        );
    }

    drop(viewers);
    offline(&server, "cam", "source").await;
    assert!(
        server.api("listStreamProxy", &[]).await["data"].is_null(),
        "the pull is gone"
    );
    assert_eq!(service.calls("on_stream_none_reader", "close").await?, 1);
    Ok(())
}

#[tokio::test]
async fn rtsp_and_ffmpeg_sources_open_and_failures_end_the_wait() -> Result<()> {
    let mut service = Service::start("default = \"allow\"\n").await?;
    let copy = "[ffmpeg]\ncmd=%s -nostdin -hide_banner -re -i %s -c copy -f flv %s\n";
    let server = server_of(
        &service,
        &format!("maxStreamWaitMS=60000\n[hook]\ntimeoutSec=60\n{copy}"),
    )
    .await?;
    let camera = serve("").await?;
    let _publisher = publish_live(&camera, "live/source").await?;
    let sources = format!(
        r#"
        publish_url = "{publish}"
        publish_params = "token=ours"
        [[access]]
        action = "allow"
        on = "publish"
        pattern = "ffmpeg/.*"
        token = {{ values = "ours" }}
        [[access]]
        action = "allow"
        on = "play"
        [[source]]
        pattern = "rtsp/(.+)"
        url = "{rtsp}/$1"
        rtp_type = "tcp"
        timeout_sec = 20
        [[source]]
        pattern = "ffmpeg/(.+)"
        url = "ffmpeg://{rtmp}/$1"
        timeout_sec = 20
        [[source]]
        pattern = "none/(.+)"
        url = "rtmp://127.0.0.1:1/live/$1"
        "#,
        publish = server.url_rtmp("").trim_end_matches('/'),
        rtsp = camera.url_rtsp("live"),
        rtmp = camera.url_rtmp("live"),
    );
    service
        .reload(&format!(
            "unknown_streams = \"close\"\n{}{sources}",
            table_of(&server)
        ))
        .await?;

    for app in ["rtsp", "ffmpeg"] {
        let mut viewer = FlvViewer::open(&server, &format!("{app}/source")).await?;
        assert_eq!(viewer.status(), 200, "{app}");
        assert!(viewer.picture().await?.key, "{app}");
    }
    assert_eq!(service.api_calls("addStreamProxy", "ok").await?, 1);
    assert_eq!(service.api_calls("addFFmpegSource", "ok").await?, 1);
    for app in ["rtsp", "ffmpeg"] {
        offline(&server, app, "source").await;
    }

    // Otherwise they would wait for a minute, longer than the viewer does.
    assert_eq!(FlvViewer::open(&server, "none/source").await?.status(), 404);
    assert_eq!(service.calls("on_stream_not_found", "open_failed").await?, 1);
    assert_eq!(FlvViewer::open(&server, "unknown/source").await?.status(), 404);
    assert_eq!(service.calls("on_stream_not_found", "unknown_closed").await?, 1);
    Ok(())
}

#[tokio::test]
async fn published_streams_stay_or_are_closed_later_as_the_rules_say() -> Result<()> {
    let authority = Authority::new()?;
    let identity = authority.issue(&["localhost"])?;
    let mut service = Service::start("default = \"allow\"\n").await?;
    let tls = format!(
        "[http]\ncert_file={}\nkey_file={}\nsslport=8443\n",
        identity.certificate_file.display(),
        identity.key_file.display()
    );
    let server = server_of(&service, &tls).await?;
    // The API is called over TLS here, and the server has no entry of its own.
    let rules = format!(
        "default = \"allow\"\n[[server]]\napi = \"https://localhost:{}\"\nsecret = \"{}\"\nca_file = {:?}\n\
         [[close]]\npattern = \"live/later\"\nclose = true\nafter_sec = 0.3\n\
         [[close]]\npattern = \"live/keep\"\nclose = false\n",
        server.port("https"),
        server.secret(),
        authority.file(),
    );
    service.reload(&rules).await?;
    let _keep = publish_live(&server, "live/keep").await?;
    let later = publish_live(&server, "live/later").await?;
    assert!(!later.wait(SOON).await?.status.success(), "the publisher is cut");
    offline(&server, "live", "later").await;
    assert_eq!(service.api_calls("close_streams", "ok").await?, 1);
    assert_eq!(service.calls("on_stream_none_reader", "close_later").await?, 1);
    let kept = "hook_server_calls_total{hook=\"on_stream_none_reader\",result=\"keep\"}";
    service.wait_for_metric(kept, 1).await?;
    assert!(is_online(&server, "live", "keep").await);
    Ok(())
}

#[tokio::test]
async fn rtsp_players_show_their_password_and_files_are_guarded() -> Result<()> {
    let rules = r#"
        default = "allow"
        [[rtsp_auth]]
        pattern = "live/.*"
        realm = "cameras"
        users = [{ name = "anna", password = "pw" }, { name = "ben", md5 = "MD5" }]
        [[http_access]]
        action = "deny"
        path = "/private/.*"
    "#;
    let service = Service::start(&rules.replace("MD5", &md5_hex("ben:cameras:pw2"))).await?;
    let server = server_of(&service, "").await?;
    std::fs::create_dir_all(server.folder().join("www/private"))?;
    std::fs::write(server.folder().join("www/private/a.txt"), "a")?;
    std::fs::write(server.folder().join("www/b.txt"), "b")?;
    assert_eq!(server.get("/private/a.txt").await?.status, 401);
    assert_eq!(server.get("/b.txt").await?.text(), "b");

    let _publisher = publish_live(&server, "live/cam").await?;
    let plays = async |user: &str| -> Result<bool> {
        let url = server
            .url_rtsp("live/cam")
            .replace("rtsp://", &format!("rtsp://{user}"));
        let probe = Tool::ffprobe()
            .args(["-v", "error", "-rtsp_transport", "tcp", &url])
            .spawn()?;
        Ok(probe.wait(SOON).await?.status.success())
    };
    assert!(plays("anna:pw@").await? && plays("ben:pw2@").await?);
    assert!(!plays("anna:pw2@").await? && !plays("carl:pw@").await? && !plays("").await?);
    Ok(())
}

#[tokio::test]
async fn signed_calls_count_once() -> Result<()> {
    let secret = b"a secret of twenty-four bytes and more";
    let text = format!("whsec_{}", BASE64_STANDARD.encode(secret));
    let service = Service::start(&format!("default = \"allow\"\nsigning_secrets = [\"{text}\"]\n")).await?;
    let body = "{\"app\":\"live\",\"stream\":\"a\",\"hook_index\":1}";
    let time = unix().to_string();
    let signature = BASE64_STANDARD.encode(hmac(secret, format!("evt_1.{time}.{body}").as_bytes()));
    let signature = format!("v1,bm9uZQ== v1,{signature}");
    let headers = [
        ("webhook-id", "evt_1"),
        ("webhook-timestamp", time.as_str()),
        ("webhook-signature", signature.as_str()),
    ];
    let answer = service.post("on_play", &headers, body).await?;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "{\"code\":0,\"msg\":\"success\"}")
    );
    assert_eq!(
        service.post("on_play", &headers, body).await?.status,
        401,
        "a replay"
    );
    assert_eq!(
        service
            .post("on_play", &headers, &body.replace('1', "2"))
            .await?
            .status,
        401
    );
    assert_eq!(service.post("on_play", &[], body).await?.status, 401);
    assert_eq!(
        service
            .metric("hook_server_refused_total{reason=\"replay\"}")
            .await?,
        1
    );
    assert_eq!(
        service
            .metric("hook_server_refused_total{reason=\"unsigned\"}")
            .await?,
        2
    );
    Ok(())
}

#[tokio::test]
async fn a_stop_does_not_wait_for_idle_connections() -> Result<()> {
    let service = Service::start("[journal]\nfile = \"-\"\n").await?;
    let idle = TcpStream::connect(service.address).await?;
    let healthy = http::request(service.address, "GET", "/healthz", &[], &[], SOON).await?;
    assert_eq!(
        (healthy.status, healthy.text().as_str()),
        (200, "{\"status\":\"ok\"}")
    );
    service.wait_for_metric("hook_server_connections", 2).await?;
    let event = service.post("on_record_mp4", &[], "{\"app\": \"live\"}").await?;
    assert_eq!(event.status, 200);
    let line = service.running.wait_for_output("on_record_mp4", SOON).await?;
    assert!(
        line.ends_with("\"hook\":\"on_record_mp4\",\"body\":{\"app\":\"live\"}}"),
        "{line}"
    );
    let ended = service.running.terminate(SOON).await?;
    assert!(ended.status.success(), "{ended:?}");
    assert!(
        !ended
            .stderr
            .iter()
            .any(|line| line.contains("did not end in time")),
        "{ended:?}"
    );
    drop(idle);
    Ok(())
}

#[tokio::test]
async fn the_manuals_example_is_valid_and_a_wrong_file_is_explained() -> Result<()> {
    let manual = include_str!("../../../../docs/hook-server.md");
    let mut examples = manual
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```"));
    let (example, _) = examples.next().context("an example")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("rules.toml");
    let check = || {
        Tool::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["hook-server", "--check", "-c"])
            .arg(&file)
            .spawn()
    };
    std::fs::write(&file, example)?;
    let checked = check()?.wait(SOON).await?;
    assert!(checked.status.success(), "{checked:?}");
    let said = checked.stdout_text();
    assert!(
        said.contains("2 servers") && said.contains("others: denied; signatures: required"),
        "{said}"
    );
    // The other examples are parts of a file.
    for (part, _) in examples {
        std::fs::write(
            &file,
            format!("[[server]]\napi = \"http://h\"\nsecret = \"s\"\n{part}"),
        )?;
        let checked = check()?.wait(SOON).await?;
        assert!(checked.status.success(), "{part}\n{checked:?}");
    }

    std::fs::write(&file, example.replace("[[source]]", "[[sauce]]"))?;
    let checked = check()?.wait(SOON).await?;
    assert_eq!(checked.status.code(), Some(1));
    let told = checked.stderr.join("\n");
    assert!(told.contains("unknown field `sauce`, expected one of"), "{told}");
    Ok(())
}
