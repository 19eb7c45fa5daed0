//! A hand-made client at one end, a [`ServerSession`] at the other.

use bytes::{Bytes, BytesMut};
use container::amf0::Value;
use rtmp::chunk::{Header, Reader, Writer};
use rtmp::message::{Command, Message};
use rtmp::server::{Config, Event, Output, ServerSession, Verdict};
use rtmp::{Error, handshake};
use std::time::{Duration, Instant};

/// What the client sees or the driver hears, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Message(Message),
    Event(Event),
    Close,
}

pub struct Peer {
    pub session: ServerSession,
    pub start: Instant,
    pub now: Instant,
    input: BytesMut,
    writer: Writer,
    reader: Reader,
    received: BytesMut,
    /// All bytes that came from the server behind the handshake.
    pub raw: Vec<u8>,
}

impl Peer {
    /// The handshake is done.
    pub fn new(config: Config) -> Self {
        let start = Instant::now();
        let mut session = ServerSession::new(config, [1; 32], start);
        let (mut client, c0_c1) = handshake::Client::new([2; 32]);
        let mut input = BytesMut::from(&c0_c1[..]);
        session.handle_bytes(start, &mut input).expect("C0 C1");
        let Some(Output::Send(answer)) = session.poll_output() else {
            panic!("no S0 S1 S2")
        };
        let c2 = client
            .handle(&mut BytesMut::from(&answer[..]))
            .expect("valid")
            .expect("C2");
        input.extend_from_slice(&c2);
        session.handle_bytes(start, &mut input).expect("C2");
        let limits = config_limits();
        Self {
            session,
            start,
            now: start,
            input,
            writer: Writer::default(),
            reader: Reader::new(limits),
            received: BytesMut::new(),
            raw: Vec::new(),
        }
    }

    /// `connect` and `createStream` are done too; URL `rtmp://host:1935/live`.
    pub fn connected(config: Config) -> Self {
        let mut peer = Self::new(config);
        peer.connect("live", "rtmp://host:1935/live");
        peer.command("createStream", 2.0, [Value::Null]);
        peer
    }

    pub fn connect(&mut self, app: &str, tc_url: &str) -> Vec<Seen> {
        let object = Value::object([("app", app.into()), ("tcUrl", tc_url.into())]);
        self.command("connect", 1.0, [object])
    }

    pub fn at(&mut self, millis: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(millis);
        self
    }

    pub fn command(
        &mut self,
        name: &str,
        transaction: f64,
        args: impl IntoIterator<Item = Value>,
    ) -> Vec<Seen> {
        let command = Command {
            name: name.into(),
            transaction,
            stream_id: 1,
            args: args.into_iter().collect(),
        };
        self.message(20, 0, &command.encode())
    }

    pub fn publish(&mut self, stream: &str) -> Vec<Seen> {
        self.command("publish", 5.0, [Value::Null, stream.into(), "live".into()])
    }

    pub fn play(&mut self, stream: &str) -> Vec<Seen> {
        self.command("play", 5.0, [Value::Null, stream.into()])
    }

    pub fn message(&mut self, type_id: u8, timestamp: u32, body: &[u8]) -> Vec<Seen> {
        self.try_message(type_id, timestamp, body)
            .expect("a valid message")
    }

    pub fn try_message(&mut self, type_id: u8, timestamp: u32, body: &[u8]) -> Result<Vec<Seen>, Error> {
        let header = Header {
            csid: 3,
            type_id,
            stream_id: 1,
            timestamp,
        };
        self.writer.write(&header, body, &mut self.input);
        self.session.handle_bytes(self.now, &mut self.input)?;
        assert!(self.input.is_empty(), "all is taken");
        Ok(self.drain())
    }

    pub fn decide(&mut self, verdict: Verdict) -> Vec<Seen> {
        self.session.decide(self.now, verdict).expect("a pending request");
        self.drain()
    }

    pub fn timeout(&mut self) -> Vec<Seen> {
        self.session
            .handle_timeout(self.now)
            .expect("timeouts do not fail");
        self.drain()
    }

    pub fn drain(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(bytes) => {
                    self.raw.extend_from_slice(&bytes);
                    self.received.extend_from_slice(&bytes);
                    while let Some(message) = self.reader.next(&mut self.received).expect("valid chunks") {
                        seen.push(Seen::Message(Message::parse(message).expect("a valid message")));
                    }
                    assert!(self.received.is_empty(), "whole messages are sent");
                }
                Output::Event(event) => seen.push(Seen::Event(event)),
                Output::Close => seen.push(Seen::Close),
            }
        }
        seen
    }
}

fn config_limits() -> rtmp::chunk::Limits {
    Config::default().limits
}

/// `onStatus` as the client must see it.
pub fn status(members: &[(&'static str, &str)]) -> Seen {
    let members = members.iter().map(|&(name, value)| (name, Value::from(value)));
    let args = vec![Value::Null, Value::object(members)];
    Seen::Message(Message::Command(Command {
        name: "onStatus".into(),
        transaction: 0.0,
        stream_id: 1,
        args,
    }))
}

pub fn tag(tag_type: container::flv::TagType, timestamp_ms: i64, body: &[u8]) -> container::flv::Tag {
    container::flv::Tag {
        tag_type,
        timestamp_ms,
        body: Bytes::copy_from_slice(body),
    }
}
