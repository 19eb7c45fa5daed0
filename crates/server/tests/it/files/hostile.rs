//! Clients that mean no good.

use super::*;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::fmt::Write;
use tokio::task::JoinSet;

/// Stands in a file beside the root. No answer may hold it.
const MARKER: &str = "c9b1-never-to-be-seen";

const REQUESTS: usize = 1000;
const AT_ONCE: usize = 16;

/// The same names in every way that somebody has tried to smuggle them past a check.
const UP: &[&str] = &[
    "..",
    "%2e%2e",
    "%2E.",
    ".%2e",
    "%252e%252e",
    "%c0%ae%c0%ae",
    "%e0%80%ae%e0%80%ae",
    "..;",
    "...",
    "..%00",
    "%u002e.",
    ". .",
    "..\\..",
    "%uff0e%uff0e",
    "．．",
];
const SEPARATOR: &[&str] = &[
    "/", "//", "\\", "%2f", "%5c", "%252f", "%c0%af", "/./", "%00/", "／",
];
const GOAL: &[&str] = &[
    "secret",
    "secret.txt",
    "etc/passwd",
    "secret%00.html",
    "secret/",
    "secret?x=",
    "secret#",
    "../secret",
    "out/secret.txt",
    "out",
    "out/",
    "key",
    "key",
    "sub/up/../secret.txt",
    "index.html",
    "sub/a.txt",
    "big",
    "proc/self/environ",
];
const PREFIX: &[&str] = &[
    "/",
    "//",
    "",
    "/sub/",
    "/sub/a.txt/",
    "/vod/",
    "/vod/../",
    "/.",
    "/index/",
    "/index/api/../../",
    "http://x/",
    "/live/../",
    "///etc/",
    "file:///",
    "/~root/",
    "/%2e%2e",
];
const METHOD: &[&str] = &[
    "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "G\0T", "CONNECT", "",
];
const HOST: &[&str] = &["../..", "..%2f", "", "h\0", "[::1", "evil.example"];
const RANGE: &[&str] = &[
    "bytes=0-",
    "bytes=-1",
    "bytes=18446744073709551615-",
    "bytes=0-18446744073709551615",
    "bytes=-18446744073709551616",
    "bytes=9223372036854775807-9223372036854775808",
    "bytes=0-0,1-1,2-2",
    "bytes=--1",
    "bytes",
    "=",
    "bytes=1-0",
    "\u{7f}",
];

/// What one hostile client does.
#[derive(Debug)]
enum Attack {
    /// Sends this and closes its side.
    Send(Vec<u8>),
    /// Sends the first so many bytes, then the rest one by one.
    Trickle(Vec<u8>, usize),
    /// Sends this and goes away without reading.
    Leave(Vec<u8>),
}

fn path(random: &mut StdRng) -> String {
    let pick = |random: &mut StdRng, from: &[&'static str]| *from.choose(random).expect("not empty");
    let mut path = pick(random, PREFIX).to_owned();
    for _ in 0..random.random_range(0..6) {
        path.push_str(pick(random, UP));
        path.push_str(pick(random, SEPARATOR));
    }
    path.push_str(pick(random, GOAL));
    path
}

fn request(random: &mut StdRng) -> Vec<u8> {
    // Most of a request is right, so that it gets to where the rest may do harm.
    let mut mostly = |usual: &'static str, others: &[&'static str]| {
        let other = random.random_bool(0.2);
        if other {
            *others.choose(random).expect("not empty")
        } else {
            usual
        }
    };
    let (method, host) = (mostly("GET", METHOD), mostly("h", HOST));
    let mut text = format!("{method} {} HTTP/1.1\r\nHost: {host}\r\n", path(random));
    if random.random_bool(0.4) {
        let _ = write!(text, "Range: {}\r\n", RANGE.choose(random).expect("not empty"));
    }
    match random.random_range(0..40) {
        0 => {
            let _ = write!(text, "X-Long: {}\r\n", "a".repeat(random.random_range(0..60_000)));
        }
        1 => text.push_str(&"A: b\r\n".repeat(random.random_range(0..400))),
        2 => text.push_str("If-None-Match: *, W/\"\r\nIf-Modified-Since: Sun, 99 Foo 9999 99:99:99 GMT\r\n"),
        3 => {
            let cookie = "ZLM_HTTP_ACCESS=ffffffffffffffffffffffffffffffff;".repeat(500);
            let _ = write!(text, "Cookie: {cookie}\r\n");
        }
        4 => text.push_str("Content-Length: 999999999999\r\n"),
        5 => text.push_str("Transfer-Encoding: chunked\r\n\r\nfffffff\r\n"),
        _ => {}
    }
    text.push_str("\r\n");
    text.into_bytes()
}

fn attack(random: &mut StdRng) -> Attack {
    let mut bytes = request(random);
    match random.random_range(0..10) {
        0 => {
            let start = bytes.len().saturating_sub(random.random_range(1..40));
            Attack::Trickle(bytes, start)
        }
        1 => {
            let pipelined = b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n";
            Attack::Leave(pipelined.repeat(random.random_range(1..20)))
        }
        2 => {
            for _ in 0..random.random_range(1..30) {
                bytes.extend(request(random));
            }
            Attack::Send(bytes)
        }
        3 => {
            // Somewhere in the middle another byte.
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
            Attack::Send(bytes)
        }
        _ => Attack::Send(bytes),
    }
}

/// Runs an attack; what came back, at most a megabyte of it.
async fn run(address: SocketAddr, attack: Attack) -> Result<Vec<u8>> {
    let mut socket = TcpStream::connect(address).await?;
    let mut answer = Vec::new();
    // The server may refuse and close while it is still being talked to, so sending may fail.
    match attack {
        Attack::Send(bytes) => {
            let _ = socket.write_all(&bytes).await;
        }
        Attack::Trickle(bytes, start) => {
            let _ = socket.write_all(&bytes[..start]).await;
            for byte in &bytes[start..] {
                let _ = socket.write_all(&[*byte]).await;
                tokio::task::yield_now().await;
            }
        }
        Attack::Leave(bytes) => {
            let _ = socket.write_all(&bytes).await;
            return Ok(answer);
        }
    }
    let _ = socket.shutdown().await;
    let mut socket = socket.take(1 << 20);
    match timeout(SOON, socket.read_to_end(&mut answer)).await {
        // A reset after the answer is as good as an end.
        Ok(_) => Ok(answer),
        Err(_) => anyhow::bail!("neither an answer nor an end within {SOON:?}"),
    }
}

fn descriptors(server: &TestServer) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).map_or(0, Iterator::count)
}

/// Memory of the server in KB.
fn memory(server: &TestServer) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("VmRSS")?.parse()?)
}

/// A site with everything that could lead out of its root, which is `www`, or with virtual hosts `www/h`.
fn hostile_site(vhosts: bool) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join(if vhosts { "www/h" } else { "www" });
    std::fs::create_dir_all(root.join("sub"))?;
    for outside in [folder.path(), root.parent().context("a folder")?] {
        std::fs::write(outside.join("secret.txt"), MARKER)?;
        std::fs::write(outside.join("secret"), MARKER)?;
    }
    std::fs::write(root.join("sub/a.txt"), "inside")?;
    std::fs::write(root.join("index.html"), "home")?;
    symlink("..", root.join("out"))?;
    symlink("../secret", root.join("key"))?;
    symlink("../..", root.join("sub/up"))?;
    let vod = folder.path().join(if vhosts { "vod/h" } else { "vod" });
    std::fs::create_dir_all(&vod)?;
    symlink("..", vod.join("out"))?;
    // Its end is never reached by those who do not read it; it takes no space on the disk.
    std::fs::File::create(root.join("big"))?.set_len(64 << 20)?;
    Ok(folder)
}

#[tokio::test]
async fn hostile_requests_get_nothing_and_break_nothing() -> Result<()> {
    under_attack(false).await
}

#[tokio::test]
async fn hostile_requests_do_not_leave_their_virtual_host() -> Result<()> {
    under_attack(true).await
}

async fn under_attack(vhosts: bool) -> Result<()> {
    let config = format!(
        "[http]\nvirtualPath=vod,./vod\n[general]\nenableVhost={}\nmaxStreamWaitMS=50\n",
        u8::from(vhosts)
    );
    let server = super::plain()
        .folder(hostile_site(vhosts)?)
        .config(config)
        .start()
        .await?;
    let address = server.address("http");
    let healthy = async || {
        let request = b"GET /sub/a.txt HTTP/1.0\r\nHost: h\r\n\r\n";
        let answer = raw(address, request).await?;
        assert!(
            answer.ends_with(b"\r\n\r\ninside"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        anyhow::Ok(())
    };
    healthy().await?;
    let (before_memory, before_descriptors) = (memory(&server)?, descriptors(&server));

    let mut random = StdRng::seed_from_u64(0x7469_6465);
    let mut running = JoinSet::new();
    let mut statuses = BTreeMap::<String, usize>::new();
    for number in 0..REQUESTS + AT_ONCE {
        if number >= AT_ONCE {
            let done = running.join_next().await.context("running")?;
            let answer: Vec<u8> = done??;
            let status = answer.get(9..12).unwrap_or_default();
            *statuses
                .entry(String::from_utf8_lossy(status).into_owned())
                .or_default() += 1;
        }
        if number < REQUESTS {
            let attack = attack(&mut random);
            running.spawn(async move {
                let shown = format!("{number}: {attack:?}");
                let answer = run(address, attack).await.with_context(|| shown.clone())?;
                let text = String::from_utf8_lossy(&answer);
                assert!(
                    !text.contains(MARKER) && !text.contains("root:x:"),
                    "{shown} got {text}"
                );
                anyhow::Ok(answer)
            });
        }
    }
    // They were understood, and not all refused for the same reason.
    for status in ["200", "400", "404", "405"] {
        assert!(
            statuses.get(status).is_some_and(|count| *count > 5),
            "{status}: {statuses:?}"
        );
    }

    healthy().await?;
    let kept = server
        .poll("every descriptor is given back", SOON, async |server| {
            // A connection of the test's own that is being closed may be among them.
            let now = descriptors(server);
            (now <= before_descriptors + 1).then_some(now)
        })
        .await;
    let grown = memory(&server)?.saturating_sub(before_memory);
    assert!(grown < 48 * 1024, "{grown} KB more, {kept} descriptors");
    assert_eq!(metric(&server, "tidegate_session_panics_total").await, 0);
    assert_eq!(metric(&server, "tidegate_files_open").await, 0);
    for reason in ["hidden", "missing", "outside"] {
        let name = format!("tidegate_files_refused_total{{reason=\"{reason}\"}}");
        assert!(metric(&server, &name).await > 5, "{reason}: {statuses:?}");
    }
    Ok(())
}

/// Clients that ask for a large file and do not read it hold a piece of it each, and no descriptor once they are gone.
#[tokio::test]
async fn readers_that_do_not_read_cost_a_piece_each() -> Result<()> {
    /// The threads that read files have begun when these are served; they are not what is measured.
    const FIRST: usize = 50;
    const READERS: usize = 150;
    let server = super::plain()
        .folder(hostile_site(false)?)
        .config("")
        .start()
        .await?;
    let before_descriptors = descriptors(&server);
    let mut before_memory = 0;
    let mut readers = Vec::new();
    for number in 0..READERS {
        if number == FIRST {
            before_memory = memory(&server)?;
        }
        let mut socket = TcpStream::connect(server.address("http")).await?;
        socket.write_all(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n").await?;
        let mut head = [0; 1024];
        timeout(SOON, socket.read_exact(&mut head)).await??;
        assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"));
        readers.push(socket);
    }
    assert_eq!(metric(&server, "tidegate_files_open").await, READERS as u64);
    let grown = memory(&server)?.saturating_sub(before_memory);
    let more = (READERS - FIRST) as u64;
    assert!(grown < more * 256, "{grown} KB for {more} readers");
    drop(readers);
    server
        .poll("every file is closed", SOON, async |server| {
            let open = metric(server, "tidegate_files_open").await;
            (open == 0 && descriptors(server) <= before_descriptors + 2).then_some(())
        })
        .await;
    Ok(())
}

/// The bound is for everybody together; whoever comes later is told to come again.
#[tokio::test]
async fn beyond_the_bound_clients_are_told_to_come_again() -> Result<()> {
    /// As documented in docs/files.md.
    const MAX_OPEN: usize = 1024;
    // One socket each, besides those of the test and its tools.
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised)?;
    let server = super::plain()
        .folder(hostile_site(false)?)
        .config("")
        .start()
        .await?;
    let mut readers = Vec::new();
    for _ in 0..MAX_OPEN {
        let mut socket = TcpStream::connect(server.address("http")).await?;
        socket.write_all(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n").await?;
        readers.push(socket);
    }
    server
        .poll("all are being served", SOON, async |server| {
            (metric(server, "tidegate_files_open").await == MAX_OPEN as u64).then_some(())
        })
        .await;
    let refused = server.get("/sub/a.txt").await?;
    assert_eq!(
        (refused.status, refused.headers.get("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(
        metric(&server, "tidegate_files_refused_total{reason=\"busy\"}").await,
        1
    );
    // The rest of the server does not mind.
    assert_eq!(server.api("version", &[]).await["code"], 0);
    readers.pop();
    server
        .poll("there is room again", SOON, async |server| {
            let answer = server.get("/sub/a.txt").await.ok()?;
            (answer.text() == "inside").then_some(())
        })
        .await;
    Ok(())
}

#[tokio::test]
async fn a_kicked_download_ends_at_once() -> Result<()> {
    let server = super::plain()
        .folder(hostile_site(false)?)
        .config("")
        .start()
        .await?;
    let mut socket = TcpStream::connect(server.address("http")).await?;
    socket.write_all(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n").await?;
    let mut first = [0; 4096];
    timeout(SOON, socket.read_exact(&mut first)).await??;
    let port = socket.local_addr()?.port();
    let sessions = server.api("getAllSession", &[]).await;
    let sessions = sessions["data"].as_array().context("sessions")?;
    let own = sessions.iter().find(|session| session["peer_port"] == port);
    let id = own.and_then(|own| own["id"].as_str()).context("its id")?;
    assert_eq!(server.api("kick_session", &[("id", id)]).await["code"], 0);
    server
        .poll("the file is closed", SOON, async |server| {
            (metric(server, "tidegate_files_open").await == 0).then_some(())
        })
        .await;
    let mut rest = Vec::new();
    let _ = timeout(SOON, socket.read_to_end(&mut rest)).await?;
    assert!(rest.len() < 60 << 20, "{} bytes came after all", rest.len());
    Ok(())
}
