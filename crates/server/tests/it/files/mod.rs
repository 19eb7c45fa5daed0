//! Files over HTTP: with curl, and byte by byte.

mod access;
mod download;
mod hostile;

use crate::clients::*;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;
use testkit::certificate::Authority;
use testkit::http::{self, Response};
use testkit::server::{Builder, TestServer};
use testkit::tool::Tool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Bytes that repeat only after a long time.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 251 + at % 251) as u8).collect()
}

/// A folder for a server, with files in `www`.
fn site(files: &[(&str, &[u8])]) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    for (name, content) in files {
        let path = folder.path().join("www").join(name);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        std::fs::write(path, content)?;
    }
    Ok(folder)
}

async fn serve_site(files: &[(&str, &[u8])], config: &str) -> Result<TestServer> {
    plain().folder(site(files)?).config(config).start().await
}

/// A server without the page that plays streams, which stands before the contents of the root.
pub fn plain() -> Builder {
    tidegate().env("TIDEGATE_HTTP__PLAYERPAGE", "0")
}

/// Makes a file look as if it had been written long ago, so that its validators are strong.
fn age(path: &Path) -> Result<()> {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(784_111_777);
    std::fs::File::options()
        .write(true)
        .open(path)?
        .set_modified(time)?;
    Ok(())
}

async fn ask(server: &TestServer, method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Response> {
    http::request(server.address("http"), method, target, headers, &[], SOON).await
}

/// Sends bytes and reads until the server closes.
async fn raw(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let exchange = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(bytes).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    timeout(SOON, exchange).await.context("no end of the answer")?
}

/// A number of `/metrics`.
async fn metric(server: &TestServer, name: &str) -> u64 {
    let text = server.get("/metrics").await.expect("metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    value.trim().parse().expect("a number")
}

#[tokio::test]
async fn curl_downloads_resumes_and_revalidates() -> Result<()> {
    let whole = content(3_000_001);
    let authority = Authority::new()?;
    let identity = authority.issue(&["localhost"])?;
    let config = format!(
        "[http]\nsslport=8443\ncert_file={}\nkey_file={}\n",
        identity.certificate_file.display(),
        identity.key_file.display()
    );
    let server = serve_site(&[("record/live/a b/x.mp4", &whole)], &config).await?;
    age(&server.folder().join("www/record/live/a b/x.mp4"))?;
    let plain = server.url_http("record/live/a%20b/x.mp4");
    let secure = format!(
        "https://localhost:{}/record/live/a%20b/x.mp4",
        server.port("https")
    );
    let curl = |url: &str| {
        Tool::curl()
            .args(["-sSf", "--cacert"])
            .arg(authority.file())
            .arg(url)
    };
    for url in [&plain, &secure] {
        let output = curl(url).run(SOON).await?;
        assert!(output.stdout == whole, "{url}: {} bytes", output.stdout.len());
        let output = curl(url).args(["-r", "-100"]).run(SOON).await?;
        assert!(output.stdout == whole[whole.len() - 100..], "{url}");
    }

    let copy = server.folder().join("copy");
    std::fs::write(&copy, &whole[..1_234_567])?;
    curl(&plain).args(["-C", "-", "-o"]).arg(&copy).run(SOON).await?;
    assert!(std::fs::read(&copy)? == whole);

    let tag = server.folder().join("tag");
    let saved = curl(&plain).arg("--etag-save").arg(&tag).run(SOON).await?;
    assert_eq!(saved.stdout.len(), whole.len());
    let again = curl(&plain)
        .arg("--etag-compare")
        .arg(&tag)
        .args(["-w", "%{http_code}"])
        .run(SOON)
        .await?;
    assert_eq!(again.stdout_text(), "304");
    assert_eq!(metric(&server, "tidegate_files_open").await, 0);
    let sent = metric(&server, "tidegate_files_sent_bytes_total").await;
    let least = 3 * whole.len() + 200 + (whole.len() - 1_234_567);
    assert_eq!(sent, least as u64);
    assert_eq!(metric(&server, "tidegate_files_served_total").await, 7);
    Ok(())
}

#[tokio::test]
async fn a_head_is_that_of_the_answer_to_get() -> Result<()> {
    let server = serve_site(
        &[
            ("a.ts", &content(100_000)),
            ("p.m3u8", b"#EXTM3U\n"),
            ("d/x", b""),
        ],
        "",
    )
    .await?;
    age(&server.folder().join("www/a.ts"))?;
    for target in ["/a.ts", "/p.m3u8", "/none", "/d", "/d/", "/d/x", "/.x"] {
        let get = ask(&server, "GET", target, &[]).await?;
        let head = ask(&server, "HEAD", target, &[("Range", "bytes=0-1")]).await?;
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{target}");
        let fields = |response: &Response| {
            let fields = response.headers.0.iter();
            let fields = fields.filter(|(name, _)| !name.eq_ignore_ascii_case("date"));
            fields.cloned().collect::<Vec<_>>()
        };
        assert_eq!(fields(&head), fields(&get), "{target}");
    }
    let get = ask(&server, "GET", "/a.ts", &[]).await?;
    for (name, value) in [
        ("content-type", "video/mp2t; charset=utf-8"),
        ("content-length", "100000"),
        ("accept-ranges", "bytes"),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(get.headers.get(name), Some(value), "{get:?}");
    }
    assert_eq!(get.headers.get("cache-control"), None);
    let playlist = ask(&server, "GET", "/p.m3u8", &[]).await?;
    assert_eq!(
        playlist.headers.get("content-type"),
        Some("application/vnd.apple.mpegurl; charset=utf-8")
    );
    assert_eq!(playlist.headers.get("cache-control"), Some("no-cache"));
    // There is no live answer to tell the head of.
    for live in ["/live/x.live.flv", "/live/x.live.ts", "/live/x?schema=fmp4"] {
        let head = ask(&server, "HEAD", live, &[]).await?;
        assert_eq!(
            (head.status, head.headers.get("content-length")),
            (200, Some("0"))
        );
    }
    Ok(())
}

#[tokio::test]
async fn parts_and_conditions_are_those_of_the_standard() -> Result<()> {
    let whole = content(1000);
    let server = serve_site(&[("a.mp4", &whole), ("empty", b"")], "").await?;
    age(&server.folder().join("www/a.mp4"))?;
    let tag = ask(&server, "GET", "/a.mp4", &[]).await?;
    let tag = tag.headers.get("etag").context("a tag")?.to_owned();
    assert!(tag.starts_with('"'), "{tag}");
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    type Case<'a> = (&'a [(&'a str, &'a str)], u16, &'a [u8], Option<&'a str>);
    let cases: &[Case<'_>] = &[
        (
            &[("Range", "bytes=10-19")],
            206,
            &whole[10..20],
            Some("bytes 10-19/1000"),
        ),
        (
            &[("Range", "bytes=990-")],
            206,
            &whole[990..],
            Some("bytes 990-999/1000"),
        ),
        (
            &[("Range", "bytes=-3")],
            206,
            &whole[997..],
            Some("bytes 997-999/1000"),
        ),
        (&[("Range", "bytes=-3000")], 206, &whole, Some("bytes 0-999/1000")),
        (&[("Range", "bytes=1000-")], 416, b"", Some("bytes */1000")),
        (&[("Range", "bytes=0-1,3-4")], 200, &whole, None),
        (&[("Range", "bytes=5-1")], 200, &whole, None),
        (
            &[("Range", "bytes=0-1"), ("If-Range", &tag)],
            206,
            &whole[..2],
            Some("bytes 0-1/1000"),
        ),
        (
            &[("Range", "bytes=0-1"), ("If-Range", date)],
            206,
            &whole[..2],
            Some("bytes 0-1/1000"),
        ),
        (
            &[("Range", "bytes=0-1"), ("If-Range", "\"old\"")],
            200,
            &whole,
            None,
        ),
        (&[("If-None-Match", &tag)], 304, b"", None),
        (
            &[("If-None-Match", "\"old\""), ("If-Modified-Since", date)],
            200,
            &whole,
            None,
        ),
        (&[("If-Modified-Since", date)], 304, b"", None),
        (&[("If-Match", "\"old\"")], 412, b"", None),
        (
            &[("If-Unmodified-Since", "Sat, 05 Nov 1994 08:49:37 GMT")],
            412,
            b"",
            None,
        ),
    ];
    for (headers, status, body, range) in cases {
        let response = ask(&server, "GET", "/a.mp4", headers).await?;
        assert_eq!(response.status, *status, "{headers:?}: {response:?}");
        assert!(response.body == *body, "{headers:?}: {response:?}");
        assert_eq!(response.headers.get("content-range"), *range, "{headers:?}");
        if *status == 304 {
            // A length would be taken for that of the file.
            assert_eq!(response.headers.get("content-length"), None, "{headers:?}");
            assert_eq!(response.headers.get("etag"), Some(tag.as_str()), "{headers:?}");
        }
    }
    let empty = ask(&server, "GET", "/empty", &[("Range", "bytes=0-")]).await?;
    assert_eq!(
        (empty.status, empty.headers.get("content-range")),
        (416, Some("bytes */0"))
    );

    // A 304, a part and a whole file on one connection: each ends where its head says.
    let pipelined = format!(
        "GET /a.mp4 HTTP/1.1\r\nHost: h\r\nIf-None-Match: {tag}\r\n\r\n\
         HEAD /a.mp4 HTTP/1.1\r\nHost: h\r\n\r\n\
         GET /a.mp4 HTTP/1.1\r\nHost: h\r\nRange: bytes=0-0\r\n\r\n\
         GET /a.mp4 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    );
    let answer = raw(server.address("http"), pipelined.as_bytes()).await?;
    let text = String::from_utf8_lossy(&answer);
    let statuses: Vec<_> = text
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| &text[at + 9..at + 12])
        .collect();
    assert_eq!(statuses, ["304", "200", "206", "200"]);
    assert!(answer.ends_with(&whole));
    Ok(())
}

#[tokio::test]
async fn folders_have_their_page_or_a_list() -> Result<()> {
    let files: &[(&str, &[u8])] = &[
        ("site/index.html", b"<p>home"),
        ("old/index.htm", b"<p>old"),
        ("list/b <i>&.ts", b"12345"),
        ("list/a/x", b""),
        ("list/.2026-progress.mp4", b""),
    ];
    let server = serve_site(files, "").await?;
    for (target, body) in [
        ("/site/", "<p>home"),
        ("/old/", "<p>old"),
        ("/site/index.html", "<p>home"),
    ] {
        let response = server.get(target).await?;
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, body),
            "{target}"
        );
        assert_eq!(
            response.headers.get("content-type"),
            Some("text/html; charset=utf-8")
        );
    }
    for (target, location) in [
        ("/site", "/site/"),
        ("/list/a?k=v", "/list/a/?k=v"),
        ("//list//a", "/list/a/"),
        ("/%2f/list%2fa", "/list/a/"),
    ] {
        let response = server.get(target).await?;
        assert_eq!(
            (response.status, response.headers.get("location")),
            (302, Some(location)),
            "{target}"
        );
    }
    let list = server.get("/list/").await?;
    let text = list.text();
    assert_eq!(list.status, 200);
    assert!(
        text.contains("<a href=\"b%20%3Ci%3E%26.ts\">b &lt;i&gt;&amp;.ts</a></td><td>5</td>"),
        "{text}"
    );
    assert!(
        text.contains("<a href=\"a/\">a/</a>") && text.contains("<a href=\"../\">"),
        "{text}"
    );
    assert!(!text.contains("progress"), "{text}");
    assert_eq!(server.get("/list/b%20%3Ci%3E%26.ts").await?.text(), "12345");
    assert_eq!(server.get("/list/.2026-progress.mp4").await?.status, 404);
    assert_eq!(server.get("/list/b%20%3Ci%3E%26.ts/").await?.status, 404);

    let text = "<p>nothing here";
    let changes = [("http.dirMenu", "0"), ("http.notFound", text)];
    assert_eq!(server.api("setServerConfig", &changes).await["changed"], 2);
    for target in ["/list/", "/list", "/"] {
        let response = server.get(target).await?;
        assert_eq!(
            (response.status, response.text().as_str()),
            (404, text),
            "{target}"
        );
    }
    assert_eq!(server.get("/site/").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn links_stay_inside_and_only_files_are_served() -> Result<()> {
    let server = serve_site(&[("in/a.txt", b"inside")], "").await?;
    let folder = server.folder();
    std::fs::create_dir(folder.join("private"))?;
    std::fs::write(folder.join("private/key"), "outside")?;
    let www = folder.join("www");
    symlink("in/a.txt", www.join("link"))?;
    symlink("in", www.join("folder"))?;
    symlink("../private", www.join("out"))?;
    symlink("../private/key", www.join("key"))?;
    symlink(folder.join("private/key"), www.join("absolute"))?;
    symlink("/etc/passwd", www.join("passwd"))?;
    symlink("/proc/self/environ", www.join("environ"))?;
    let made = std::process::Command::new("mkfifo")
        .arg(www.join("pipe"))
        .status()?;
    assert!(made.success());
    for target in ["/link", "/folder/a.txt"] {
        assert_eq!(server.get(target).await?.text(), "inside", "{target}");
    }
    for target in [
        "/out/key",
        "/out/",
        "/key",
        "/absolute",
        "/passwd",
        "/environ",
        "/pipe",
    ] {
        assert_eq!(server.get(target).await?.status, 404, "{target}");
    }
    let list = server.get("/").await?.text();
    assert!(list.contains("folder/") && list.contains("\"link\""), "{list}");
    for name in ["out", "key", "absolute", "passwd", "environ", "pipe"] {
        assert!(!list.contains(&format!("\"{name}")), "{name}: {list}");
    }
    assert_eq!(
        metric(&server, "tidegate_files_refused_total{reason=\"outside\"}").await,
        6
    );
    Ok(())
}

#[tokio::test]
async fn further_folders_and_virtual_hosts_have_their_places() -> Result<()> {
    let files: &[(&str, &[u8])] = &[
        ("a", b"root"),
        ("__defaultVhost__/a", b"default"),
        ("cam.example/a", b"cam"),
    ];
    let folder = site(files)?;
    let vod = folder.path().join("vod files");
    std::fs::create_dir_all(vod.join("cam.example"))?;
    std::fs::write(vod.join("b"), "vod")?;
    std::fs::write(vod.join("cam.example/b"), "vod of cam")?;
    let config = format!("[http]\nvirtualPath=vod,{}\n", vod.display());
    let server = plain().folder(folder).config(config).start().await?;
    let text = async |target: &str| server.get(target).await.map(|response| response.text());
    assert_eq!(text("/a").await?, "root");
    assert_eq!(text("/vod/b").await?, "vod");
    assert_eq!(server.get("/vod/../vod/%2e%2e/vod").await?.status, 302);
    assert_eq!(server.get("/vod/../b").await?.status, 404);
    assert_eq!(text("/a?vhost=cam.example").await?, "root");

    let changed = server
        .api("setServerConfig", &[("general.enableVhost", "1")])
        .await;
    assert_eq!(changed["changed"], 1, "{changed}");
    assert_eq!(text("/a").await?, "default");
    assert_eq!(text("/a?vhost=cam.example").await?, "cam");
    let request = b"GET /a HTTP/1.0\r\nHost: cam.example:8080\r\n\r\n";
    assert!(
        raw(server.address("http"), request)
            .await?
            .ends_with(b"\r\n\r\ncam")
    );
    assert_eq!(text("/vod/b?vhost=cam.example").await?, "vod of cam");
    assert_eq!(server.get("/vod/b").await?.status, 404);
    for evil in ["..", "cam.example%2f..", "%2e%2e%2f..", ".", "none"] {
        let response = server.get(&format!("/a?vhost={evil}")).await?;
        assert_eq!(response.status, 404, "{evil}");
    }
    Ok(())
}

#[tokio::test]
async fn other_methods_and_origins() -> Result<()> {
    let server = serve_site(&[("a.ts", b"x")], "").await?;
    for (method, status) in [
        ("POST", 404),
        ("PUT", 404),
        ("DELETE", 404),
        ("PATCH", 405),
        ("TRACE", 405),
    ] {
        assert_eq!(
            ask(&server, method, "/a.ts", &[("Content-Length", "0")])
                .await?
                .status,
            status,
            "{method}"
        );
    }
    let origin = [("Origin", "http://page.example")];
    for target in ["/a.ts", "/none", "/"] {
        let response = ask(&server, "GET", target, &origin).await?;
        let allowed = response.headers.get("access-control-allow-origin");
        assert_eq!(allowed, Some("http://page.example"), "{target}");
        assert_eq!(
            response.headers.get("access-control-allow-credentials"),
            Some("true")
        );
        assert_eq!(response.headers.get("vary"), Some("origin"), "{target}");
    }
    let preflight = ask(&server, "OPTIONS", "/a.ts", &origin).await?;
    assert_eq!(
        preflight.headers.get("access-control-allow-origin"),
        Some("http://page.example")
    );
    server
        .api("setServerConfig", &[("http.allow_cross_domains", "0")])
        .await;
    let response = ask(&server, "GET", "/a.ts", &origin).await?;
    assert_eq!(response.headers.get("access-control-allow-origin"), None);
    Ok(())
}

/// What the demo brings along stays, unless the user has a file of that name.
#[tokio::test]
async fn built_in_pages_stand_before_lists_and_behind_files() -> Result<()> {
    let folder = site(&[("a.ts", b"x")])?;
    let ready = folder.path().join("ready.json");
    let demo = Tool::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["demo", "--free-ports", "--ready-file"])
        .arg(&ready)
        .current_dir(folder.path())
        .spawn()?;
    demo.wait_for_stdout("Hook calls, as they come".len(), SOON)
        .await?;
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(&ready)?)?;
    let port = ports["http"].as_u64().context("a port")?;
    let address: SocketAddr = format!("127.0.0.1:{port}").parse()?;
    let get = async |target| http::request(address, "GET", target, &[], &[], SOON).await;
    let page = get("/").await?;
    assert_eq!(page.status, 200);
    assert!(
        page.text().contains("Tidegate") && !page.text().contains("a.ts"),
        "{}",
        page.text()
    );
    assert_eq!(get("/a.ts").await?.text(), "x");
    std::fs::write(folder.path().join("www/index.html"), "mine")?;
    assert_eq!(get("/").await?.text(), "mine");
    assert_eq!(
        get("/tidegate/page.js").await?.headers.get("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    Ok(())
}
