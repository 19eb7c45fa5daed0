//! The protocol itself, spoken by hand.

use super::*;
use anyhow::Context;
use std::time::Duration;
use testkit::hook::{Answer, HookServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A client that sends what it is told to.
pub struct Hand {
    socket: TcpStream,
    read: Vec<u8>,
    cseq: u32,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub reason: String,
    pub head: String,
    pub body: String,
}

impl Reply {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// All headers of this name.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .filter_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then_some(value.trim())
            })
            .collect()
    }
}

impl Hand {
    pub async fn connect(server: &TestServer) -> Result<Self> {
        Ok(Self {
            socket: TcpStream::connect(server.address("rtsp")).await?,
            read: Vec::new(),
            cseq: 0,
        })
    }

    /// A player of one track over TCP that gets packets.
    pub async fn playing(server: &TestServer, url: &str, control: &str) -> Result<Self> {
        let mut hand = Self::connect(server).await?;
        hand.ask("DESCRIBE", url, &[]).await?;
        hand.ask("SETUP", &format!("{url}/{control}"), &[TCP]).await?;
        assert_eq!(hand.ask("PLAY", url, &[]).await?.status, 200);
        hand.packet().await?;
        Ok(hand)
    }

    /// Sends a request without waiting.
    pub async fn send(&mut self, method: &str, url: &str, headers: &[&str], body: &str) -> Result<()> {
        self.cseq += 1;
        let mut text = format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\n", self.cseq);
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        if !body.is_empty() {
            text.push_str(&format!(
                "Content-Type: application/sdp\r\nContent-Length: {}\r\n",
                body.len()
            ));
        }
        text.push_str("\r\n");
        text.push_str(body);
        self.socket.write_all(text.as_bytes()).await?;
        Ok(())
    }

    /// Sends bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.socket.write_all(bytes).await?;
        Ok(())
    }

    /// The next answer; interleaved data before it is passed over.
    pub async fn reply(&mut self) -> Result<Reply> {
        loop {
            if self.read.first() == Some(&b'$') {
                if let Some(&[_, _, high, low]) = self.read.first_chunk::<4>() {
                    let end = 4 + usize::from(u16::from_be_bytes([high, low]));
                    if self.read.len() >= end {
                        self.read.drain(..end);
                        continue;
                    }
                }
            } else if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(self.read[..end].to_vec())?;
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: "))
                    .map_or(0, |length| length.trim().parse().unwrap_or(0));
                if self.read.len() >= end + 4 + length {
                    let body = String::from_utf8(self.read[end + 4..end + 4 + length].to_vec())?;
                    self.read.drain(..end + 4 + length);
                    let first = head.lines().next().context("a status line")?;
                    let mut words = first.splitn(3, ' ');
                    let status = words.nth(1).context("a status")?.parse()?;
                    return Ok(Reply {
                        status,
                        reason: words.next().unwrap_or_default().to_owned(),
                        head,
                        body,
                    });
                }
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<()> {
        let mut block = [0; 4096];
        let count = timeout(SOON, self.socket.read(&mut block))
            .await
            .context("an answer in time")??;
        anyhow::ensure!(count > 0, "the connection was closed");
        self.read.extend_from_slice(&block[..count]);
        Ok(())
    }

    pub async fn ask(&mut self, method: &str, url: &str, headers: &[&str]) -> Result<Reply> {
        self.send(method, url, headers, "").await?;
        self.reply().await
    }

    /// Whether the server closes the connection.
    pub async fn closed(&mut self) -> Result<bool> {
        let mut block = [0; 4096];
        loop {
            match timeout(SOON, self.socket.read(&mut block)).await? {
                Ok(0) | Err(_) => return Ok(true),
                Ok(_) => {}
            }
        }
    }

    /// The next interleaved packet: channel and bytes.
    pub async fn packet(&mut self) -> Result<(u8, Vec<u8>)> {
        loop {
            if let Some(&[b'$', channel, high, low]) = self.read.first_chunk::<4>() {
                let end = 4 + usize::from(u16::from_be_bytes([high, low]));
                if self.read.len() >= end {
                    let packet = self.read[4..end].to_vec();
                    self.read.drain(..end);
                    return Ok((channel, packet));
                }
            }
            self.more().await?;
        }
    }
}

/// The transport of one track inside the connection.
pub const TCP: &str = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1";

const H264_SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
    a=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n";

#[tokio::test]
async fn the_answers_are_those_of_the_contract() -> Result<()> {
    let server = serve("[general]\nmaxStreamWaitMS=300\n").await?;
    let url = server.url_rtsp("live/cam");
    let mut hand = Hand::connect(&server).await?;
    let options = hand.ask("OPTIONS", &url, &[]).await?;
    assert_eq!(
        options.header("Public"),
        Some(
            "OPTIONS, DESCRIBE, SETUP, TEARDOWN, PLAY, PAUSE, ANNOUNCE, RECORD, SET_PARAMETER, GET_PARAMETER"
        )
    );
    assert_eq!(options.header("CSeq"), Some("1"));
    for method in ["PLAY", "PAUSE", "SETUP", "TEARDOWN", "RECORD"] {
        let reply = hand.ask(method, &url, &["Session: nobody"]).await?;
        assert_eq!(
            (reply.status, reply.reason.as_str()),
            (454, "Session Not Found"),
            "{method}"
        );
    }
    let missing = hand.ask("DESCRIBE", &url, &[]).await?;
    assert_eq!(
        (missing.status, missing.reason.as_str()),
        (404, "Stream Not Found")
    );
    assert_eq!(missing.header("Connection"), Some("Close"));
    assert!(hand.closed().await?);

    let mut hand = Hand::connect(&server).await?;
    assert_eq!(hand.ask("INVENTED", &url, &[]).await?.status, 403);
    assert!(hand.closed().await?);

    let mut hand = Hand::connect(&server).await?;
    hand.send("ANNOUNCE", &server.url_rtsp("single"), &[], H264_SDP)
        .await?;
    assert_eq!(hand.reply().await?.status, 403, "a path of one segment");

    let mut hand = Hand::connect(&server).await?;
    assert_eq!(
        hand.ask("ANNOUNCE", &url, &[]).await?.status,
        403,
        "an empty description"
    );
    Ok(())
}

#[tokio::test]
async fn a_name_in_use_is_told_before_anything_else() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_rtsp_live(&server, "live/cam", Over::Tcp).await?;
    let mut hand = Hand::connect(&server).await?;
    let reply = hand.ask("ANNOUNCE", &server.url_rtsp("live/cam"), &[]).await?;
    assert_eq!((reply.status, reply.reason.as_str()), (406, "Not Acceptable"));
    assert_eq!(reply.body, "Already publishing.");
    Ok(())
}

/// Everything at once, as an impatient client sends it: the answers come in order, also over the wait for the stream.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, "").await?;
    let url = server.url_rtsp("live/cam");
    let mut hand = Hand::connect(&server).await?;
    hand.send("OPTIONS", &url, &[], "").await?;
    hand.send("DESCRIBE", &url, &[], "").await?;
    hand.send("SETUP", &format!("{url}/trackID=0"), &[TCP], "")
        .await?;
    hand.send("PLAY", &url, &[], "").await?;
    hand.send("GET_PARAMETER", &url, &[], "").await?;
    hooks.wait_for_call("on_stream_not_found", |_| true, SOON).await;
    let _publisher = publish_live(&server, "live/cam").await?;
    for cseq in 1..=5 {
        let reply = hand.reply().await?;
        assert_eq!(
            (reply.status, reply.header("CSeq")),
            (200, Some(cseq.to_string().as_str()))
        );
    }
    assert_eq!(hand.packet().await?.0 / 2, 0, "only the track that was set up");
    Ok(())
}

#[tokio::test]
async fn a_connection_may_play_one_stream_after_another() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, "").await?;
    let _one = publish_live(&server, "live/one").await?;
    let _two = publish_live(&server, "live/two").await?;
    let mut hand = Hand::connect(&server).await?;
    for stream in ["live/one", "live/two", "live/one"] {
        let url = server.url_rtsp(stream);
        let described = hand.ask("DESCRIBE", &url, &[]).await?;
        assert_eq!(described.status, 200);
        assert_eq!(described.header("Content-Base"), Some(format!("{url}/").as_str()));
        let session = described.header("Session").context("a session")?.to_owned();
        let session = format!("Session: {}", session.split(';').next().unwrap_or_default());
        for track in 0..2 {
            let channels = format!("interleaved={}-{}", track * 2, track * 2 + 1);
            let reply = hand
                .ask("SETUP", &format!("{url}/trackID={track}"), &[TCP, &session])
                .await?;
            let transport = reply.header("Transport").context("a transport")?;
            assert!(
                transport.contains(&channels) && transport.contains("ssrc="),
                "{transport}"
            );
        }
        let play = hand.ask("PLAY", &url, &[&session]).await?;
        assert_eq!(play.header("Range"), Some("npt=0.00-"));
        let info = play.header("RTP-Info").context("RTP-Info")?;
        assert!(
            info.contains(&format!("url={url}/trackID=0;seq=")) && info.contains("trackID=1;"),
            "{info}"
        );
        assert_eq!(play_info_sequence(info), first_sequence(&mut hand).await?);
        assert_eq!(hand.ask("TEARDOWN", &url, &[&session]).await?.status, 200);
    }
    let reports = hooks.wait_for_count("on_flow_report", 3, SOON).await;
    assert!(reports.iter().all(|report| report.body["player"] == true));
    assert_eq!(hooks.received("on_play").len(), 3, "each is a play of its own");
    Ok(())
}

fn play_info_sequence(info: &str) -> u16 {
    let rest = info.split("trackID=0;seq=").nth(1).unwrap_or_default();
    rest.split(';')
        .next()
        .unwrap_or_default()
        .parse()
        .expect("a number")
}

async fn first_sequence(hand: &mut Hand) -> Result<u16> {
    loop {
        if let (0, packet) = hand.packet().await? {
            return Ok(u16::from_be_bytes([packet[2], packet[3]]));
        }
    }
}

#[tokio::test]
async fn a_player_that_pauses_gets_nothing_until_it_goes_on() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let url = server.url_rtsp("live/cam");
    let mut hand = Hand::connect(&server).await?;
    hand.ask("DESCRIBE", &url, &[]).await?;
    hand.ask("SETUP", &format!("{url}/trackID=0"), &[TCP]).await?;
    assert_eq!(
        hand.ask("DESCRIBE", &url, &[]).await?.status,
        200,
        "not playing yet"
    );
    hand.ask("SETUP", &format!("{url}/trackID=0"), &[TCP]).await?;
    hand.ask("PLAY", &url, &[]).await?;
    hand.packet().await?;
    assert_eq!(hand.ask("DESCRIBE", &url, &[]).await?.status, 455);
    assert_eq!(hand.ask("PAUSE", &url, &[]).await?.status, 200);
    assert_eq!(hand.ask("OPTIONS", &url, &[]).await?.status, 200);
    assert!(hand.read.is_empty(), "nothing follows a pause");
    assert!(timeout(Duration::from_millis(300), hand.packet()).await.is_err());
    assert_eq!(hand.ask("PLAY", &url, &[]).await?.status, 200);
    hand.packet().await?;
    Ok(())
}

#[tokio::test]
async fn the_configured_transport_is_the_only_one() -> Result<()> {
    let server = serve("[rtsp]\nrtpTransportType=0\n").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let url = server.url_rtsp("live/cam");
    let mut hand = Hand::connect(&server).await?;
    hand.ask("DESCRIBE", &url, &[]).await?;
    let track = format!("{url}/trackID=0");
    for transport in ["RTP/AVP;unicast;client_port=40000-40001", "RTP/AVP;multicast"] {
        let reply = hand
            .ask("SETUP", &track, &[&format!("Transport: {transport}")])
            .await?;
        assert_eq!(
            (reply.status, reply.reason.as_str()),
            (461, "Unsupported transport")
        );
    }
    let choice = "Transport: RTP/AVP;unicast;client_port=40000-40001,RTP/AVP/TCP;unicast;interleaved=4-5";
    let reply = hand.ask("SETUP", &track, &[choice]).await?;
    assert!(
        reply
            .header("Transport")
            .is_some_and(|transport| transport.contains("interleaved=0-1"))
    );
    Ok(())
}

/// A publisher that says nothing is no publisher for long; a player over TCP only has to read.
#[tokio::test]
async fn silence_ends_publishers_and_handshakes() -> Result<()> {
    let server = serve("[rtsp]\nkeepAliveSecond=1\nhandshakeSecond=1\n").await?;
    let mut idle = Hand::connect(&server).await?;
    assert!(idle.closed().await?, "nothing asked");
    let url = server.url_rtsp("live/cam");
    let mut hand = Hand::connect(&server).await?;
    hand.send("ANNOUNCE", &url, &[], H264_SDP).await?;
    assert_eq!(hand.reply().await?.status, 200);
    let setup = hand
        .ask(
            "SETUP",
            &format!("{url}/streamid=0"),
            &[&format!("{TCP};mode=record")],
        )
        .await?;
    assert_eq!(setup.status, 200);
    assert_eq!(hand.ask("RECORD", &url, &[]).await?.status, 200);
    assert!(hand.closed().await?, "nothing sent");
    Ok(())
}

#[tokio::test]
async fn rubbish_harms_nobody() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let long = format!("OPTIONS * RTSP/1.0\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let many = format!("OPTIONS * RTSP/1.0\r\n{}\r\n", "A: b\r\n".repeat(5_000));
    let body = "ANNOUNCE rtsp://h/a/b RTSP/1.0\r\nContent-Length: 4000000000\r\n\r\n".to_owned();
    for text in [
        long,
        many,
        body,
        "\0\0\0\0\r\n\r\n".repeat(1000),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
    ] {
        let mut hand = Hand::connect(&server).await?;
        // The server may close before all is written.
        let _ = hand.socket.write_all(text.as_bytes()).await;
        assert!(hand.closed().await?, "{:.40}", text);
    }
    assert_eq!(
        codecs(Over::Tcp, &server.url_rtsp("live/cam")).await?,
        ["h264", "aac"]
    );
    Ok(())
}

/// on_publish and on_play refuse with their text.
#[tokio::test]
async fn refusals_carry_the_text_of_the_service() -> Result<()> {
    let hooks = HookServer::start(|_| Answer::refuse("not you")).await?;
    let server = serve_hooked(&hooks, "").await?;
    let url = server.url_rtsp("live/cam?token=1");
    let mut hand = Hand::connect(&server).await?;
    let play = hand.ask("DESCRIBE", &url, &[]).await?;
    assert_eq!(
        (play.status, play.header("Content-Type")),
        (401, Some("text/plain"))
    );
    assert!(play.body.contains("not you"), "{}", play.body);
    assert!(hand.closed().await?);
    let mut hand = Hand::connect(&server).await?;
    hand.send("ANNOUNCE", &url, &[], H264_SDP).await?;
    let publish = hand.reply().await?;
    assert_eq!(publish.status, 401);
    assert!(publish.body.contains("not you"), "{}", publish.body);
    let call = hooks.received("on_publish").remove(0);
    assert_eq!(
        (
            &call.body["schema"],
            &call.body["protocol"],
            &call.body["params"],
            &call.body["originTypeStr"]
        ),
        (
            &"rtsp".into(),
            &"rtsp".into(),
            &"token=1".into(),
            &"rtsp_push".into()
        )
    );
    Ok(())
}
