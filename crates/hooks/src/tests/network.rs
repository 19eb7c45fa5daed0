//! Over loopback: what only sockets can show.

use super::loopback::{ask, assert_failed, listen, settings_for};
use super::notifications::metric;
use super::script::{Receiver, Reply, play, response, yes};
use crate::failure::Class;
use crate::{Hooks, Settings};
use lifecycle::Outcome;
use std::time::Duration;
use tokio::net::TcpListener;

#[tokio::test]
async fn two_calls_over_tcp_share_a_connection() {
    let receiver = Receiver::new(|_| yes());
    let address = listen(&receiver, None).await;
    let (hooks, _driver) = Hooks::new(settings_for(&format!("http://{address}/hook")), "Tidegate(test)");
    for _ in 0..2 {
        assert_eq!(hooks.ask(&play(), None).await.outcome, Outcome::Play(Ok(())));
    }
    assert_eq!((receiver.connections(), receiver.received().len()), (1, 2));
    assert_eq!(
        receiver.received()[0].header("host"),
        Some(address.to_string().as_str())
    );
}

#[tokio::test]
async fn connections_are_counted_while_they_are_there() {
    let receiver = Receiver::new(|request| {
        if request.nth == 1 {
            yes()
        } else {
            Reply::Close(b"HTTP/1.1 200 OK\r\n\r\n{\"code\":0}".to_vec())
        }
    });
    let address = listen(&receiver, None).await;
    let settings = settings_for(&format!("http://{address}/hook"));
    let (hooks, _driver) = Hooks::new(settings.clone(), "Tidegate(test)");
    let counted = |open: u32, made: u32| {
        let open = format!("hook_connections{{plane=\"decision\",version=\"1.1\"}} {open}");
        let made = format!("hook_connects_total{{plane=\"decision\",result=\"ok\"}} {made}");
        metric(&hooks, &open) && metric(&hooks, &made)
    };
    hooks.ask(&play(), None).await;
    assert!(counted(1, 1), "it is kept");
    hooks.ask(&play(), None).await;
    assert!(counted(0, 1), "the receiver closed it");
    hooks.ask(&play(), None).await;
    assert!(counted(1, 2));

    // One to a port that is closed, and one that is given up: TLS is never answered.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    for (url, result) in [
        (format!("http://{closed}/"), "connect"),
        (format!("https://{silent}/"), "given_up"),
    ] {
        let settings = Settings {
            timeout: Duration::from_millis(100),
            retry: 0,
            ..settings_for(&url)
        };
        let (hooks, _driver) = Hooks::new(settings, "Tidegate(test)");
        hooks.ask(&play(), None).await;
        let line = format!("hook_connects_total{{plane=\"decision\",result=\"{result}\"}} 1");
        assert!(metric(&hooks, &line), "{line}");
        assert!(metric(
            &hooks,
            "hook_connections{plane=\"decision\",version=\"1.1\"} 0"
        ));
    }
}

/// The rows of the failure matrix (hooks.md, section 3) once more, where the bytes go through sockets. The times of the rows are
/// checked with a paused clock, see `decisions`.
#[tokio::test]
async fn the_failure_matrix_holds_over_tcp() {
    let raw = |text: &str| Reply::Send(text.as_bytes().to_vec());
    let close = |text: &str| Reply::Close(text.as_bytes().to_vec());
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"code\":0}";
    let rows = [
        (yes(), Ok(()), 1),
        (
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{\"code\":0}\r\n0\r\n\r\n"),
            Ok(()),
            1,
        ),
        (close("HTTP/1.1 200 OK\r\n\r\n{\"code\":0,} x"), Ok(()), 1),
        (Reply::Hang, Err("[network err]:2(timeout)"), 2),
        (raw("HTTP/1.1 200 OK\r\n"), Err("[network err]:2(timeout)"), 2),
        (raw(half), Err("[network err]:2(timeout)"), 2),
        (close(""), Err("[network err]:1(end of file)"), 2),
        (close(half), Err("[network err]:1(end of file)"), 2),
        (response(500, ""), Err("[bad http status code]:500"), 2),
        (response(204, ""), Err("[bad http status code]:204"), 2),
        (
            raw("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"),
            Err("[bad http status code]:302"),
            2,
        ),
        (response(200, ""), Err("[parse json failed]:empty"), 2),
        (
            response(200, "[]"),
            Err("[parse json failed]:not an object but an array"),
            2,
        ),
        (response(200, "{}"), Err("[json code]:code not int:null"), 2),
        (
            response(200, r#"{"code":-1,"msg":"no"}"#),
            Err("[auth failed]: code:-1 msg:\"no\""),
            1,
        ),
    ];
    let asked = rows.map(|(reply, expected, attempts)| async move {
        let name = format!("{reply:?}");
        // Only the silent rows run into it; the others must not, however busy the machine is.
        let timeout = match expected {
            Err("[network err]:2(timeout)") => Duration::from_millis(200),
            Ok(()) | Err(_) => Duration::from_secs(60),
        };
        let receiver = Receiver::new(move |_| reply.clone());
        let address = listen(&receiver, None).await;
        let got = ask(Settings {
            timeout,
            retry: 1,
            retry_delay: Duration::from_millis(1),
            // Without it the second attempt would be left out if the first one ended late.
            total_deadline: Duration::from_secs(60),
            ..settings_for(&format!("http://{address}/hook"))
        })
        .await;
        let expected = Outcome::Play(expected.map_err(str::to_owned));
        assert_eq!((&got.outcome, got.attempts), (&expected, attempts), "{name}");
        let received = receiver.received();
        assert_eq!(received.len(), attempts as usize, "{name}");
        assert!(
            received
                .iter()
                .all(|request| request.line == "POST /hook HTTP/1.1"),
            "{name}: no redirect is followed"
        );
    });
    futures_util::future::join_all(asked).await;
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let got = ask(settings_for(&format!("http://{address}/"))).await;
    assert_failed(
        &got,
        Class::Connect,
        "[network err]:3(connection refused)",
        &address.to_string(),
    );
}

#[tokio::test]
async fn a_reset_connection_has_its_own_number() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tokio::io::AsyncReadExt::read_u8(&mut tcp).await.unwrap();
        // Closing with unread bytes and without lingering sends a reset.
        tcp.set_zero_linger().unwrap();
    });
    let got = ask(settings_for(&format!("http://{address}/"))).await;
    assert_failed(&got, Class::Reset, "[network err]:4(connection reset)", "");
}

#[tokio::test]
async fn a_name_without_address_is_a_dns_failure() {
    // Longer than a label may be, so no name server is asked.
    let got = ask(settings_for(&format!("http://{}.invalid/", "x".repeat(64)))).await;
    assert_failed(&got, Class::Dns, "[network err]:5(dns failed)", ".invalid");
}

#[tokio::test]
async fn localhost_is_found_by_name() {
    let receiver = Receiver::new(|_| yes());
    let address = listen(&receiver, None).await;
    let got = ask(settings_for(&format!("http://localhost:{}/", address.port()))).await;
    assert_eq!(got.outcome, Outcome::Play(Ok(())), "{got:?}");
}
