//! Who may read files: `on_http_access` and the range of addresses.

use super::*;
use serde_json::{Value, json};
use testkit::hook::{Answer, HookServer, Request};

const FILES: &[(&str, &[u8])] = &[
    ("sub/a.txt", b"a"),
    ("sub/deep/b.txt", b"b"),
    ("subway/c.txt", b"c"),
    ("home/index.html", b"home"),
    ("record/live/x.mp4", b"mp4"),
];

async fn serve_asking(hooks: &HookServer, more: &str) -> Result<TestServer> {
    let config = format!("{}retry=0\n{more}", hooks.ini(&["on_http_access"]));
    serve_site(FILES, &config).await
}

fn told(answer: Value) -> impl Fn(&Request) -> Answer + Send + Sync {
    move |_| {
        let mut answer = answer.clone();
        answer["code"] = 0.into();
        Answer::Json(answer)
    }
}

fn asked(hooks: &HookServer) -> usize {
    hooks.received("on_http_access").len()
}

/// The cookie that an answer sets, as its client sends it back, and the header.
fn cookie(response: &Response) -> Option<(String, String)> {
    let header = response.headers.get("set-cookie")?;
    let pair = header.split(';').next().unwrap_or_default();
    Some((pair.to_owned(), header.to_owned()))
}

#[tokio::test]
async fn bodies_are_those_of_the_reference() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_asking(&hooks, "").await?;
    let varying = [
        "hook_index",
        "id",
        "port",
        "mediaServerId",
        "file_path",
        "path",
        "header.Host",
    ];
    let curl = "Host: h\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";
    let request = format!("GET /record/live/x.mp4 HTTP/1.0\r\n{curl}");
    assert!(
        raw(server.address("http"), request.as_bytes())
            .await?
            .ends_with(b"mp4")
    );
    let call = hooks.wait_for_count("on_http_access", 1, SOON).await.remove(0);
    call.assert_like_golden("on_http_access.file_mp4", &varying);
    let www = server.folder().canonicalize()?.join("www");
    let file = |path: &str| json!(format!("{}{path}", www.display()));
    assert_eq!(call.body["path"], "/record/live/x.mp4");
    assert_eq!(call.body["file_path"], file("/record/live/x.mp4"));
    assert_eq!(call.headers.get("x-vhost"), None);

    raw(
        server.address("http"),
        format!("GET /record/ HTTP/1.0\r\n{curl}").as_bytes(),
    )
    .await?;
    let call = hooks.wait_for_count("on_http_access", 2, SOON).await.remove(1);
    call.assert_like_golden("on_http_access.directory", &varying);
    assert_eq!(
        (&call.body["path"], &call.body["file_path"]),
        (&json!("/record/"), &file("/record/"))
    );

    let request = "GET /home/?a=1&b=%20c HTTP/1.0\r\nHost: h\r\nUser-Agent: agent/1.0\r\nAccept: */*\r\nX-Test: 1\r\nCookie: s=1\r\n\r\n";
    raw(server.address("http"), request.as_bytes()).await?;
    let call = hooks.wait_for_count("on_http_access", 3, SOON).await.remove(2);
    call.assert_like_golden("on_http_access.file_with_params", &varying);
    // A folder with a page of its own is that page.
    assert_eq!(
        (&call.body["path"], &call.body["file_path"]),
        (&json!("/home/index.html"), &file("/home/index.html"))
    );
    Ok(())
}

#[tokio::test]
async fn a_permission_is_kept_for_its_folder() -> Result<()> {
    let hooks = HookServer::start(told(json!({"second": 60}))).await?;
    let server = serve_asking(&hooks, "").await?;
    let first = server.get("/sub/a.txt").await?;
    let (pair, header) = cookie(&first).context("a cookie")?;
    let token = pair.strip_prefix("ZLM_HTTP_ACCESS=").context("its name")?;
    assert!(
        token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{token}"
    );
    assert_eq!(
        header,
        format!("{pair}; Path=/sub; Max-Age=60; HttpOnly; SameSite=Lax")
    );
    assert_eq!(first.headers.get("cache-control"), Some("private"));
    let cookies = format!("a=b; {pair}");
    let own = [("Cookie", cookies.as_str())];
    for target in ["/sub/a.txt", "/sub/deep/b.txt?other=query", "/sub/none", "/sub/"] {
        let response = ask(&server, "GET", target, &own).await?;
        assert_ne!(response.status, 401, "{target}");
        assert_eq!(cookie(&response), None, "{target}");
    }
    assert_eq!(asked(&hooks), 1);
    for (at, target) in ["/subway/c.txt", "/sub/../subway/c.txt", "/home/"]
        .iter()
        .enumerate()
    {
        ask(&server, "GET", target, &own).await?;
        assert_eq!(asked(&hooks), 2 + at, "{target}");
    }
    // Without the cookie everybody is asked about.
    server.get("/sub/a.txt").await?;
    let other = format!("ZLM_HTTP_ACCESS={}", "0".repeat(32));
    ask(&server, "GET", "/sub/a.txt", &[("Cookie", &other)]).await?;
    assert_eq!(asked(&hooks), 6);
    assert_eq!(metric(&server, "tidegate_file_decisions").await, 6);

    hooks.set_script(told(json!({"second": 60, "path": "/sub/deep/"})));
    let (_, header) = cookie(&server.get("/sub/a.txt").await?).context("a cookie")?;
    assert!(header.contains("; Path=/sub/deep; "), "{header}");
    hooks.set_script(told(json!({"second": 0})));
    assert_eq!(cookie(&server.get("/sub/a.txt").await?), None);
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_kept_until_the_query_changes() -> Result<()> {
    let hooks = HookServer::start(told(json!({"err": "pay <first>", "second": 60}))).await?;
    let server = serve_asking(&hooks, "").await?;
    let first = server.get("/sub/a.txt?token=1").await?;
    assert_eq!((first.status, first.text().as_str()), (401, "pay <first>"));
    assert_eq!(
        first.headers.get("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let (pair, _) = cookie(&first).context("a cookie")?;
    let own = [("Cookie", pair.as_str())];
    hooks.set_script(told(json!({"second": 60})));
    let again = ask(&server, "GET", "/sub/deep/b.txt?token=1", &own).await?;
    assert_eq!(
        (again.status, again.text().as_str(), asked(&hooks)),
        (401, "pay <first>", 1)
    );
    let better = ask(&server, "GET", "/sub/a.txt?token=2", &own).await?;
    assert_eq!((better.status, asked(&hooks)), (200, 2));
    assert!(cookie(&better).is_some());
    assert_eq!(
        metric(&server, "tidegate_files_refused_total{reason=\"denied\"}").await,
        2
    );
    Ok(())
}

/// A client that answers with its cookies, over TLS.
#[tokio::test]
async fn curl_keeps_the_cookie_and_shows_it_over_tls_only() -> Result<()> {
    let hooks = HookServer::start(told(json!({"second": 60, "path": "/"}))).await?;
    let authority = Authority::new()?;
    let identity = authority.issue(&["localhost"])?;
    let config = format!(
        "[http]\nsslport=8443\ncert_file={}\nkey_file={}\n",
        identity.certificate_file.display(),
        identity.key_file.display()
    );
    let server = serve_asking(&hooks, &config).await?;
    let jar = server.folder().join("jar");
    let port = server.port("https");
    let curl = Tool::curl()
        .args(["-sSf", "--cacert"])
        .arg(authority.file())
        .arg("-c")
        .arg(&jar)
        .arg(format!("https://localhost:{port}/sub/a.txt"))
        .arg(format!("https://localhost:{port}/sub/deep/b.txt"))
        .arg(format!("https://localhost:{port}/home/"));
    assert_eq!(curl.run(SOON).await?.stdout_text(), "abhome");
    assert_eq!(asked(&hooks), 1);
    let jar = std::fs::read_to_string(jar)?;
    let line = jar
        .lines()
        .find(|line| line.contains("ZLM_HTTP_ACCESS"))
        .context("kept")?;
    let fields: Vec<_> = line.split('\t').collect();
    // Host, subdomains, path, secure.
    assert_eq!(
        &fields[..4],
        ["#HttpOnly_localhost", "FALSE", "/", "TRUE"],
        "{line}"
    );
    Ok(())
}

#[tokio::test]
async fn a_service_that_fails_lets_nobody_in_and_nothing_is_kept() -> Result<()> {
    let mut hooks = HookServer::start(|_| Answer::Status(500)).await?;
    let server = serve_asking(&hooks, "").await?;
    let check = async |text: &str| {
        let response = server.get("/sub/a.txt").await?;
        assert_eq!((response.status, response.text().as_str()), (401, text));
        assert_eq!(cookie(&response), None);
        anyhow::Ok(())
    };
    check("[bad http status code]:500").await?;
    hooks.set_script(|_| Answer::refuse("not you"));
    check("[auth failed]: code:-1 msg:\"not you\"").await?;
    hooks.set_script(told(json!({"second": "60"})));
    assert_eq!(server.get("/sub/a.txt").await?.status, 401);
    hooks.down().await;
    let response = server.get("/sub/a.txt").await?;
    assert_eq!(response.status, 401);
    assert!(
        response.text().starts_with("[network err]"),
        "{}",
        response.text()
    );
    // Not even whether there is such a file.
    assert_eq!(server.get("/none").await?.status, 401);
    assert_eq!(ask(&server, "HEAD", "/sub/a.txt", &[]).await?.status, 401);
    hooks.up().await?;
    hooks.set_script(|_| Answer::ok());
    assert_eq!(server.get("/sub/a.txt").await?.text(), "a");
    assert_eq!(server.get("/none").await?.status, 404);
    assert_eq!(ask(&server, "HEAD", "/sub/a.txt", &[]).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn hidden_names_and_live_urls_are_not_asked_about() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_asking(&hooks, "[general]\nmaxStreamWaitMS=100\n").await?;
    for target in [
        "/.hidden",
        "/sub/%00",
        "/%c0%ae/",
        "/live/x.live.flv",
        "/index/api/version",
    ] {
        server.get(target).await?;
    }
    assert_eq!(asked(&hooks), 0);
    // Unknown names of the API may be files.
    assert_eq!(server.get("/index/api/nothing").await?.status, 404);
    assert_eq!(asked(&hooks), 1);
    Ok(())
}

#[tokio::test]
async fn the_range_of_addresses_counts_while_the_hook_is_off() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let away = "[http]\nallow_ip_range=10.9.9.9\nforwarded_ip_header=X-Real-IP\n";
    let server = serve_site(FILES, away).await?;
    let forged = [("X-Real-IP", "10.9.9.9")];
    for headers in [&[][..], &forged] {
        let response = ask(&server, "GET", "/sub/a.txt", headers).await?;
        let text = "Your ip is not allowed to access the service.";
        assert_eq!((response.status, response.text().as_str()), (401, text));
    }
    assert_eq!(server.get("/none").await?.status, 401);

    // A proxy inside of the range says whom it asks for.
    let near = "[http]\nforwarded_ip_header=X-Real-IP\n";
    let server = serve_site(FILES, near).await?;
    let status = async |ip: &str| {
        let response = ask(&server, "GET", "/sub/a.txt", &[("X-Real-IP", ip)]).await;
        response.map(|response| response.status)
    };
    assert_eq!(status("8.8.8.8").await?, 401);
    assert_eq!(status("192.168.1.7").await?, 200);
    assert_eq!(
        metric(&server, "tidegate_files_refused_total{reason=\"address\"}").await,
        1
    );

    // With the hook the service decides.
    let server = serve_asking(&hooks, away).await?;
    assert_eq!(server.get("/sub/a.txt").await?.text(), "a");
    Ok(())
}
