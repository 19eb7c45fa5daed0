//! HTTP/2 to receivers, over loopback.

use super::loopback::{Authority, Identity, assert_failed, insecure, listen, listen_tls, settings_with};
use super::notifications::metric;
use super::script::{Receiver, Reply as Script, play};
use crate::client::answer::{MAX_BODY, MAX_ERROR_BODY, MAX_HEAD};
use crate::client::dial::Network;
use crate::client::tls::TlsSettings;
use crate::client::{AddressRules, Client, IDLE_LIMIT, Limits, Reply, Route, Target, Timing, UrlSource};
use crate::failure::{Class, Failure};
use crate::{Answered, Hooks, Metrics, Settings};
use bytes::Bytes;
use futures_util::future::join_all;
use h2::server::SendResponse;
use hyper::{Method, Request, Response, Version};
use lifecycle::Outcome;
use parking_lot::Mutex;
use rustls::version::TLS13;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::server::TlsStream;

/// A request on its stream.
struct Arrived {
    request: Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
    /// Number of the connection, from 0.
    connection: usize,
}

impl Arrived {
    fn answer(mut self, status: u16, body: impl Into<Bytes>) {
        let head = Response::builder().status(status).body(()).unwrap();
        let mut stream = self.respond.send_response(head, false).unwrap();
        stream.send_data(body.into(), true).unwrap();
    }

    /// The client may have given the request up.
    fn try_yes(mut self) {
        if let Ok(mut stream) = self.respond.send_response(Response::new(()), false) {
            let _ = stream.send_data(Bytes::from_static(br#"{"code":0}"#), true);
        }
    }

    fn yes(self) {
        self.answer(200, r#"{"code":0}"#);
    }

    /// Ends when the client gave the request up.
    async fn cancelled(&mut self) {
        std::future::poll_fn(|cx| self.respond.poll_reset(cx))
            .await
            .unwrap();
    }
}

/// Serves HTTP/2 and hands out the requests.
async fn listen_http2(builder: h2::server::Builder) -> (SocketAddr, mpsc::UnboundedReceiver<Arrived>) {
    let (sender, requests) = mpsc::unbounded_channel();
    let identity = Identity::self_signed("receiver.example");
    let connections = Arc::new(Mutex::new(0));
    let address = listen_tls(identity.http2_server(), move |tls| {
        let (builder, sender, connections) = (builder.clone(), sender.clone(), connections.clone());
        async move {
            let connection = {
                let mut connections = connections.lock();
                *connections += 1;
                *connections - 1
            };
            let Ok(mut http2) = builder.handshake::<_, Bytes>(tls).await else {
                return;
            };
            while let Some(Ok((request, respond))) = http2.accept().await {
                let arrived = Arrived {
                    request,
                    respond,
                    connection,
                };
                if sender.send(arrived).is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (address, requests)
}

fn settings_for(address: SocketAddr) -> Settings {
    settings_with(&format!("https://{address}/hook?a=1"), &insecure())
}

fn hooks(settings: Settings) -> Hooks {
    Hooks::new(settings, "Tidegate(test)").0
}

async fn ask(hooks: &Hooks) -> Answered {
    hooks.ask(&play(), None).await
}

#[track_caller]
fn assert_ok(got: &Answered) {
    assert_eq!(got.outcome, Outcome::Play(Ok(())), "{got:?}");
}

#[tokio::test]
async fn a_try_shows_the_request_of_http2() {
    let (address, mut requests) = listen_http2(h2::server::Builder::new()).await;
    let (hooks, _driver) = Hooks::new(settings_for(address), "Tidegate(test)");
    let receiver = async {
        let arrived = requests.recv().await.unwrap();
        let headers = arrived.request.headers().clone();
        arrived.yes();
        headers
    };
    let (tested, headers) = tokio::join!(hooks.test("zlm", "on_play"), receiver);
    let shown = tested.unwrap().request.unwrap();
    assert_eq!(shown.version, Some("HTTP/2"));
    assert_eq!(shown.url, format!("https://{address}/hook?***"));
    let shown: std::collections::BTreeMap<_, _> = shown
        .headers
        .iter()
        .map(|header| (&*header.name, &*header.value))
        .collect();
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    assert_eq!(shown, headers.collect());
}

#[tokio::test]
async fn fifty_calls_at_once_share_one_connection() {
    let (address, mut requests) = listen_http2(h2::server::Builder::new()).await;
    let hooks = hooks(settings_for(address));
    let receiver = async {
        // Nobody is answered before all have asked.
        let mut arrived = Vec::new();
        for _ in 0..50 {
            arrived.push(requests.recv().await.unwrap());
        }
        let head = &arrived[0].request;
        assert_eq!(head.method(), Method::POST);
        assert_eq!(head.uri().to_string(), format!("https://{address}/hook?a=1"));
        assert_eq!(head.headers()["content-type"], "application/json");
        assert!(head.headers().contains_key("content-length"));
        assert!(!head.headers().contains_key("host") && !head.headers().contains_key("connection"));
        assert!(arrived.iter().all(|arrived| arrived.connection == 0));
        // The other way round, so the one that drives the connection is answered last.
        arrived.into_iter().rev().for_each(Arrived::yes);
    };
    let asked = join_all((0..50).map(|_| ask(&hooks)));
    let (got, ()) = tokio::join!(asked, receiver);
    got.iter().for_each(assert_ok);
    for (line, value) in [
        ("hook_connections{plane=\"decision\",version=\"2\"}", 1),
        ("hook_connections{plane=\"decision\",version=\"1.1\"}", 0),
        ("hook_connects_total{plane=\"decision\",result=\"ok\"}", 1),
    ] {
        assert!(metric(&hooks, &format!("{line} {value}")), "{line} {value}");
    }

    // A later call finds the connection, and its body arrives whole.
    let receiver = async {
        let mut arrived = requests.recv().await.unwrap();
        let mut body = Vec::new();
        while let Some(data) = arrived.request.body_mut().data().await {
            body.extend_from_slice(&data.unwrap());
        }
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["stream"], arrived.connection), (&"cam1".into(), 0));
        arrived.yes();
    };
    let (got, ()) = tokio::join!(ask(&hooks), receiver);
    assert_ok(&got);
}

#[tokio::test]
async fn a_certificate_that_is_demanded_and_missing_is_told_here_as_well() {
    let authority = Authority::new("ours");
    let mut config = authority.demand(&authority.issue("127.0.0.1", |_| {}), &[&TLS13]);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let address = listen_tls(config, |_| async { unreachable!("the handshake fails") }).await;
    let got = ask(&hooks(settings_for(address))).await;
    assert_failed(
        &got,
        Class::Tls,
        "[network err]:255(other error)",
        "demands a client certificate, and none is configured",
    );
}

#[tokio::test]
async fn the_receiver_chooses_among_what_is_offered() {
    let identity = Identity::self_signed("receiver.example");
    for (http2, chosen) in [(true, &b"h2"[..]), (false, &b"http/1.1"[..])] {
        let mut config = identity.server();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let (sender, mut names) = mpsc::unbounded_channel();
        let address = listen_tls(config, move |tls| {
            let name = tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            sender.send(name).unwrap();
            async {}
        })
        .await;
        let tls = TlsSettings { http2, ..insecure() };
        let got = ask(&hooks(settings_with(&format!("https://{address}/"), &tls))).await;
        assert_eq!(got.class(), Some(Class::Reset), "{got:?}");
        assert_eq!(names.recv().await.unwrap().as_deref(), Some(chosen));
    }
}

/// With tasks on several threads, so that calls drive the connection against each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_on_several_threads_wake_each_other() {
    let (address, mut requests) = listen_http2(h2::server::Builder::new()).await;
    let hooks = hooks(settings_for(address));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let hooks = hooks.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    assert_ok(&ask(&hooks).await);
                }
            })
        })
        .collect();
    let receiver = tokio::spawn(async move {
        let mut count = 0;
        while let Some(arrived) = requests.recv().await {
            assert_eq!(arrived.connection, 0);
            count += 1;
            arrived.yes();
            if count == 1000 {
                return;
            }
        }
    });
    for call in calls {
        call.await.unwrap();
    }
    receiver.await.unwrap();
}

/// Calls come and go, leaders among them; whoever stays gets its answer at the first attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_are_dropped_harm_no_other_call() {
    let (address, mut requests) = listen_http2(h2::server::Builder::new()).await;
    let hooks = hooks(settings_for(address));
    let receiver = tokio::spawn(async move {
        while let Some(arrived) = requests.recv().await {
            arrived.try_yes();
        }
    });
    let calls: Vec<_> = (0..16)
        .map(|task: u32| {
            let hooks = hooks.clone();
            tokio::spawn(async move {
                for nth in 0..60 {
                    if !(task + nth).is_multiple_of(3) {
                        let got = ask(&hooks).await;
                        assert_ok(&got);
                        assert_eq!(got.attempts, 1);
                        continue;
                    }
                    // Polled a few times, then dropped wherever it is.
                    let mut call = Box::pin(ask(&hooks));
                    for _ in 0..(nth % 7) {
                        tokio::select! {
                            biased;
                            _ = &mut call => break,
                            () = tokio::task::yield_now() => {}
                        }
                    }
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    receiver.abort();
}

#[tokio::test]
async fn the_receiver_limits_how_many_are_under_way() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(4);
    let (address, mut requests) = listen_http2(builder).await;
    let hooks = hooks(settings_for(address));
    let receiver = async {
        for _ in 0..5 {
            let mut arrived = Vec::new();
            for _ in 0..4 {
                arrived.push(requests.recv().await.unwrap());
            }
            assert!(requests.try_recv().is_err(), "no more than allowed");
            arrived.into_iter().for_each(Arrived::yes);
        }
    };
    let asked = join_all((0..20).map(|_| ask(&hooks)));
    let (got, ()) = tokio::join!(asked, receiver);
    got.iter().for_each(assert_ok);
}

#[tokio::test]
async fn our_limit_holds_as_well() {
    let (address, mut requests) = listen_http2(h2::server::Builder::new()).await;
    let hooks = hooks(Settings {
        max_in_flight: 2,
        queue_len: 0,
        ..settings_for(address)
    });
    let receiver = async {
        let (first, second) = (requests.recv().await.unwrap(), requests.recv().await.unwrap());
        (first.yes(), second.yes())
    };
    let asked = join_all((0..3).map(|_| ask(&hooks)));
    let (got, _) = tokio::join!(asked, receiver);
    let refused: Vec<_> = got
        .iter()
        .filter(|got| got.class() == Some(Class::Overload))
        .collect();
    assert_eq!(refused.len(), 1, "{got:?}");
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled_and_the_others_go_on() {
    let (address, mut requests) = listen_http2(h2::server::Builder::new()).await;
    let hooks = hooks(settings_for(address));
    // In tasks of their own, so that nothing wakes one of them but what should.
    let call = || {
        let hooks = hooks.clone();
        tokio::spawn(async move { ask(&hooks).await })
    };
    let leader = call();
    let mut first = requests.recv().await.unwrap();
    let other = call();
    let second = requests.recv().await.unwrap();
    assert_eq!((first.connection, second.connection), (0, 0));
    // The one that drove the connection goes; the other one must take over, tell the receiver, and get its own answer.
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    first.cancelled().await;
    second.yes();
    assert_ok(&other.await.unwrap());
}

#[tokio::test]
async fn a_call_that_is_dropped_alone_closes_the_connection() {
    let (address, mut requests) = listen_http2(h2::server::Builder::new()).await;
    let hooks = hooks(settings_for(address));
    let asked = play();
    let mut call = Box::pin(hooks.ask(&asked, None));
    let mut arrived = tokio::select! {
        arrived = requests.recv() => arrived.unwrap(),
        _ = &mut call => unreachable!(),
    };
    drop(call);
    // An error, since the connection is gone.
    let gone = std::future::poll_fn(|cx| arrived.respond.poll_reset(cx)).await;
    assert!(gone.is_err(), "{gone:?}");
    let receiver = async {
        let arrived = requests.recv().await.unwrap();
        assert_eq!(arrived.connection, 1);
        arrived.yes();
    };
    let (got, ()) = tokio::join!(ask(&hooks), receiver);
    assert_ok(&got);
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_left_to_the_calls_it_has() {
    let (address, mut requests) = listen_http2(h2::server::Builder::new()).await;
    let hooks = hooks(settings_for(address));
    let asked = play();
    // What the two ends have to say to each other about the connection is said.
    let (got, ()) = tokio::join!(ask(&hooks), async { requests.recv().await.unwrap().yes() });
    assert_ok(&got);
    let mut patient = pin!(hooks.ask(&asked, None));
    let first = tokio::select! {
        arrived = requests.recv() => arrived.unwrap(),
        _ = &mut patient => unreachable!(),
    };
    // Gives up without having seen one byte from the receiver.
    let mut impatient = Box::pin(hooks.ask(&asked, None));
    let second = tokio::select! {
        arrived = requests.recv() => arrived.unwrap(),
        _ = &mut patient => unreachable!(),
        _ = &mut impatient => unreachable!(),
    };
    assert_eq!((first.connection, second.connection), (0, 0));
    drop(impatient);
    let receiver = async {
        let third = requests.recv().await.unwrap();
        assert_eq!(third.connection, 1, "new calls do not wait on the old connection");
        third.yes();
    };
    let (got, ()) = tokio::join!(ask(&hooks), receiver);
    assert_ok(&got);
    first.yes();
    assert_ok(&patient.await);
}

/// A frame (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The answer `{"code":0}` on a stream; 0x88 is `:status: 200`.
fn yes_frames(stream: u32) -> Vec<u8> {
    [
        frame(1, 4, stream, &[0x88]),
        frame(0, 1, stream, br#"{"code":0}"#),
    ]
    .concat()
}

fn go_away(last: u32, reason: u32) -> Vec<u8> {
    frame(7, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat())
}

/// What the receiver sends when a request came: bytes, and whether it closes then.
type Move = (Vec<u8>, bool);

/// Gets the number of the connection, from 0, and of the stream.
type Frames = fn(usize, u32) -> Move;

/// Speaks HTTP/2 frame by frame.
async fn listen_frames(script: Frames) -> (SocketAddr, Arc<Mutex<Vec<(usize, u32)>>>) {
    let identity = Identity::self_signed("receiver.example");
    let log = Arc::new(Mutex::new(Vec::new()));
    let connections = Arc::new(Mutex::new(0));
    let address = listen_tls(identity.http2_server(), {
        let log = log.clone();
        move |tls| {
            let (log, connections) = (log.clone(), connections.clone());
            async move {
                let connection = {
                    let mut connections = connections.lock();
                    *connections += 1;
                    *connections - 1
                };
                let _ = serve_frames(tls, connection, script, &log).await;
            }
        }
    })
    .await;
    (address, log)
}

async fn serve_frames(
    mut tls: TlsStream<TcpStream>,
    connection: usize,
    script: Frames,
    log: &Mutex<Vec<(usize, u32)>>,
) -> std::io::Result<()> {
    let mut preface = [0; 24];
    tls.read_exact(&mut preface).await?;
    tls.write_all(&frame(4, 0, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        tls.read_exact(&mut head).await?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; len as usize];
        tls.read_exact(&mut payload).await?;
        match (head[3], head[4]) {
            // SETTINGS that are no acknowledgement.
            (4, 0) => tls.write_all(&frame(4, 1, 0, &[])).await?,
            // The end of a request.
            (0, flags) if flags & 1 == 1 => {
                log.lock().push((connection, stream));
                let (bytes, close) = script(connection, stream);
                tls.write_all(&bytes).await?;
                if close {
                    tls.shutdown().await?;
                    return Ok(());
                }
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_receiver_that_says_goodbye_is_asked_on_a_new_connection() {
    // It takes one request, and says so while answering it.
    let (address, log) =
        listen_frames(|_, stream| ([yes_frames(stream), go_away(stream, 0)].concat(), true)).await;
    let hooks = hooks(settings_for(address));
    for _ in 0..3 {
        assert_ok(&ask(&hooks).await);
    }
    assert_eq!(*log.lock(), [(0, 1), (1, 1), (2, 1)]);
}

#[tokio::test]
async fn requests_that_the_receiver_did_not_take_are_made_again_at_once() {
    for script in [
        // GOAWAY: the last request taken was the one before.
        |connection, stream| match (connection, stream) {
            (0, 3) => (go_away(1, 0), false),
            _ => (yes_frames(stream), false),
        },
        // The connection is closed without a word.
        |connection, stream| match (connection, stream) {
            (0, 3) => (Vec::new(), true),
            _ => (yes_frames(stream), false),
        },
    ] {
        let (address, log) = listen_frames(script).await;
        let hooks = hooks(settings_for(address));
        assert_ok(&ask(&hooks).await);
        let got = ask(&hooks).await;
        assert_ok(&got);
        assert_eq!(got.attempts, 1, "at no cost");
        assert_eq!(*log.lock(), [(0, 1), (0, 3), (1, 1)]);
    }
    // REFUSED_STREAM concerns this request only.
    let (address, log) = listen_frames(|_, stream| match stream {
        1 => (frame(3, 0, 1, &7_u32.to_be_bytes()), false),
        _ => (yes_frames(stream), false),
    })
    .await;
    assert_ok(&ask(&hooks(settings_for(address))).await);
    assert_eq!(*log.lock(), [(0, 1), (0, 3)]);
}

#[tokio::test]
async fn a_receiver_that_never_takes_a_request_fails_after_one_repetition() {
    let rows: [(Frames, &str, usize); 4] = [
        (
            |_, _| (go_away(0, 11), false),
            "closes the connection (ENHANCE_YOUR_CALM)",
            2,
        ),
        (
            |_, stream| (frame(3, 0, stream, &7_u32.to_be_bytes()), false),
            "REFUSED_STREAM",
            2,
        ),
        // The receiver had looked at it.
        (
            |_, stream| (frame(3, 0, stream, &2_u32.to_be_bytes()), false),
            "INTERNAL_ERROR",
            1,
        ),
        // A new connection that dies is the receiver's failure.
        (|_, _| (Vec::new(), true), "connection broke", 1),
    ];
    for (script, words, requests) in rows {
        let (address, log) = listen_frames(script).await;
        let got = ask(&hooks(settings_for(address))).await;
        assert_eq!(got.class(), Some(Class::Reset), "{got:?}");
        let detail = got.failure.unwrap().detail;
        assert!(detail.contains(words), "{detail}");
        assert_eq!(log.lock().len(), requests, "{words}");
    }
}

#[tokio::test]
async fn what_is_no_http2_is_told_from_a_broken_connection() {
    let (address, _) = listen_frames(|_, _| (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), false)).await;
    let got = ask(&hooks(settings_for(address))).await;
    assert_failed(
        &got,
        Class::BadHttp,
        "[network err]:255(other error)",
        "not HTTP/2",
    );
}

#[tokio::test]
async fn answers_over_http2_have_the_usual_limits() {
    let large = Bytes::from(vec![b' '; MAX_BODY + 1]);
    let answer = r#"{"code":0}"#;
    let exact = Bytes::from(answer.to_owned() + &" ".repeat(MAX_BODY - answer.len()));
    let head = "x".repeat(MAX_HEAD + 1);
    for (case, expected) in [
        ("exact", None),
        ("large", Some(Class::TooLarge)),
        ("head", Some(Class::TooLarge)),
    ] {
        let (address, mut requests) = listen_http2(h2::server::Builder::new()).await;
        let receiver = async {
            let mut arrived = requests.recv().await.unwrap();
            match case {
                "exact" => arrived.answer(200, exact.clone()),
                "large" => arrived.answer(200, large.clone()),
                _ => {
                    let head = Response::builder().header("x", &head).body(()).unwrap();
                    arrived.respond.send_response(head, true).unwrap();
                }
            }
        };
        let hooks = hooks(settings_for(address));
        let (got, ()) = tokio::join!(ask(&hooks), receiver);
        assert_eq!(got.class(), expected, "{case}: {got:?}");
    }
}

/// A client without the planes around it.
fn client() -> Client {
    let limits = Limits {
        in_flight: 10,
        queue: 0,
        wait: Duration::ZERO,
    };
    let dial = Box::new(Network::new(AddressRules::default()));
    Client::new(dial, limits, Metrics::default().plane("test"))
}

async fn post(client: &Client, url: &str) -> (Result<Reply, Failure>, Timing) {
    let target = Target::parse(url).unwrap();
    let slot = client.slot(Route {
        origin: target.origin.clone(),
        tls: Arc::new(insecure()),
        source: UrlSource::Operator,
    });
    let mut request = Request::new(Bytes::from_static(b"{}"));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.path.parse().unwrap();
    let host = target.host_header.parse().unwrap();
    request.headers_mut().insert(hyper::header::HOST, host);
    let mut timing = Timing::start();
    let reply = client.post(&slot, request, &mut timing).await;
    timing.end();
    (reply, timing)
}

#[tokio::test]
async fn an_answer_comes_with_its_times_and_an_error_with_its_first_bytes() {
    let answer = |status: u16, body: usize| {
        let head = format!("HTTP/1.1 {status} X\r\nRetry-After: 7\r\nContent-Length: {body}\r\n\r\n");
        Script::Send([head.into_bytes(), vec![b'x'; body]].concat())
    };
    let http1 = Receiver::new(move |received| match received.nth {
        1 => answer(503, 10),
        _ => answer(200, 5000),
    });
    let identity = Identity::self_signed("receiver.example");
    let plain = listen(&http1, None).await;
    let secure = listen(&http1, Some(identity.server())).await;
    let (http2, mut requests) = listen_http2(h2::server::Builder::new()).await;
    tokio::spawn(async move {
        let mut count = 0;
        while let Some(mut arrived) = requests.recv().await {
            count += 1;
            let (status, len) = if count == 1 { (503, 10) } else { (200, 5000) };
            let head = Response::builder().status(status).header("retry-after", "7");
            let mut stream = arrived
                .respond
                .send_response(head.body(()).unwrap(), false)
                .unwrap();
            stream.send_data(vec![b'x'; len].into(), true).unwrap();
        }
    });
    for (url, version) in [
        (format!("http://{plain}/"), Version::HTTP_11),
        (format!("https://{secure}/"), Version::HTTP_11),
        (format!("https://{http2}/"), Version::HTTP_2),
    ] {
        let client = client();
        for (status, body, reused) in [(503, 10, false), (200, 5000, true)] {
            let (reply, timing) = post(&client, &url).await;
            let reply = reply.unwrap();
            assert_eq!((reply.status, reply.body.len()), (status, body), "{url}");
            assert_eq!(reply.retry_after, Some(Duration::from_secs(7)));
            assert_eq!((timing.reused, timing.version), (reused, Some(version)), "{url}");
            assert_eq!(timing.connect.is_some(), !reused, "{url}");
            assert_eq!(timing.tls.is_some(), !reused && url.starts_with("https"), "{url}");
            let (first, total) = (timing.first_byte.unwrap(), timing.total.unwrap());
            let opened = timing.connect.unwrap_or_default() + timing.tls.unwrap_or_default();
            assert!(opened <= first && first <= total, "{timing:?}");
        }
    }
}

#[tokio::test]
async fn of_a_long_error_the_beginning_is_kept_and_none_is_waited_for() {
    let client = client();
    for (sent, kept) in [(9000, MAX_ERROR_BODY), (3, 3)] {
        let http1 = Receiver::new(move |_| {
            let head = b"HTTP/1.1 500 X\r\nContent-Length: 9000\r\n\r\n".to_vec();
            Script::Send([head, vec![b'x'; sent]].concat())
        });
        let address = listen(&http1, None).await;
        let (reply, _) = post(&client, &format!("http://{address}/")).await;
        assert_eq!(reply.unwrap().body.len(), kept);
    }

    let (address, mut requests) = listen_http2(h2::server::Builder::new()).await;
    let url = format!("https://{address}/");
    let receiver = async {
        requests.recv().await.unwrap().answer(500, vec![b'x'; 9000]);
        let mut hanging = requests.recv().await.unwrap();
        let head = Response::builder().status(500).body(()).unwrap();
        let mut stream = hanging.respond.send_response(head, false).unwrap();
        stream.send_data(Bytes::from_static(b"abc"), false).unwrap();
        // The rest is not wanted.
        std::future::poll_fn(|cx| stream.poll_reset(cx)).await.unwrap();
        requests.recv().await.unwrap().yes();
    };
    let asked = async {
        let bodies = [
            post(&client, &url).await.0.unwrap(),
            post(&client, &url).await.0.unwrap(),
            post(&client, &url).await.0.unwrap(),
        ];
        assert_eq!(bodies[0].body.len(), MAX_ERROR_BODY);
        assert_eq!((bodies[1].status, &bodies[1].body[..]), (500, &b"abc"[..]));
        assert_eq!(bodies[2].status, 200, "the connection serves on");
    };
    tokio::join!(receiver, asked);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_a_while() {
    let (address, mut requests) = listen_http2(h2::server::Builder::new()).await;
    let (client, url) = (client(), format!("https://{address}/"));
    for (wait, connection) in [(Duration::ZERO, 0), (Duration::from_secs(1), 0), (IDLE_LIMIT, 1)] {
        tokio::time::pause();
        tokio::time::advance(wait).await;
        tokio::time::resume();
        client.sweep();
        let receiver = async {
            let arrived = requests.recv().await.unwrap();
            assert_eq!(arrived.connection, connection, "{wait:?}");
            arrived.yes();
        };
        let ((reply, _), ()) = tokio::join!(post(&client, &url), receiver);
        assert_eq!(reply.unwrap().status, 200);
    }
}

/// All wait for one handshake; the one that began it leaves.
#[tokio::test]
async fn a_handshake_is_finished_by_those_who_still_wait() {
    let gate = Arc::new(Semaphore::new(0));
    let identity = Identity::self_signed("receiver.example");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(identity.http2_server()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(Semaphore::new(0));
    tokio::spawn({
        let (gate, accepted) = (gate.clone(), accepted.clone());
        async move {
            let (tcp, _) = listener.accept().await.unwrap();
            accepted.add_permits(1);
            let _open = gate.acquire().await.unwrap();
            let tls = acceptor.accept(tcp).await.unwrap();
            let mut http2 = h2::server::handshake(tls).await.unwrap();
            while let Some(Ok((_, mut respond))) = http2.accept().await {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream
                    .send_data(Bytes::from_static(br#"{"code":0}"#), true)
                    .unwrap();
            }
        }
    });
    let hooks = hooks(settings_for(address));
    let asked = play();
    let mut first = Box::pin(hooks.ask(&asked, None));
    let mut second = pin!(hooks.ask(&asked, None));
    tokio::select! {
        permit = accepted.acquire() => permit.unwrap().forget(),
        _ = &mut first => unreachable!(),
        _ = &mut second => unreachable!(),
    }
    drop(first);
    gate.add_permits(1);
    // There is one connection, so this call got the one that the first one began.
    assert_ok(&second.await);
}
