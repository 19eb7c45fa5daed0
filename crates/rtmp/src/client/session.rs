//! The session itself.

use super::{Config, Event, Failure, FailureReason, Output, Role, Stage, commands};
use crate::chunk::{self, Header};
use crate::connection::Connection;
use crate::message::{Command, Message, UserControl, set_data_frame, split_aggregate, type_id};
use crate::mux::{AUDIO_CSID, DATA_CSID, VIDEO_CSID, media_header};
use crate::output::Outbox;
use crate::{Error, MEDIA_STREAM_ID, handshake};
use bytes::{Bytes, BytesMut};
use container::amf0::Value;
use container::flv::{Tag, TagType};
use media::Packet;
use media::mux::Parts;
use std::time::Instant;

/// Our connection to another server. See the crate's comment for the drain rule.
pub struct ClientSession {
    config: Config,
    /// The newest time that was passed in.
    now: Instant,
    started: Instant,
    /// When media came last, or when the server said that they would.
    last_media: Instant,
    handshake: handshake::Client,
    connection: Connection,
    outbox: Outbox<Event>,
    stage: Stage,
    ended: bool,
    /// Message stream that the server gave us.
    stream_id: u32,
    arena: BytesMut,
    ignored: u64,
}

/// Transaction numbers. Answers to `releaseStream` and `FCPublish` are not waited for.
const CONNECT: f64 = 1.0;
const RELEASE_STREAM: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
const CREATE_STREAM: f64 = 4.0;
const START: f64 = 5.0;
const FC_UNPUBLISH: f64 = 6.0;
const DELETE_STREAM: f64 = 7.0;

/// "Live, else recorded", in the milliseconds that ffmpeg and librtmp send for the standard's -2 seconds.
const START_ANY: f64 = -2000.0;

/// What we say that we buffer, milliseconds: as librtmp's live default; servers that pace by it send at once.
const BUFFER_MS: u32 = 3000;

/// Longest text that is kept of a server's status, characters.
const MAX_STATUS_TEXT: usize = 1000;

impl ClientSession {
    /// A session on a connection that stands since `now`. `seed` is random and differs between connections.
    pub fn new(config: Config, seed: [u8; 32], now: Instant) -> Self {
        let (handshake, c0_c1) = handshake::Client::new(seed);
        let mut outbox = Outbox::new();
        outbox.send(c0_c1);
        Self {
            now,
            started: now,
            last_media: now,
            handshake,
            connection: Connection::new(config.limits),
            outbox,
            stage: Stage::Handshake,
            ended: false,
            stream_id: MEDIA_STREAM_ID,
            arena: BytesMut::new(),
            ignored: 0,
            config,
        }
    }

    /// Takes what it can use from the front of `input`; the rest (at most 64 KiB and a chunk header) stays there. On an error
    /// the connection is to be closed.
    pub fn handle_bytes(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), Error> {
        self.advance(now);
        if !self.handshake.is_done() {
            if let Some(c2) = self.handshake.handle(input)? {
                self.outbox.send(c2);
            }
            if !self.handshake.is_done() {
                return Ok(());
            }
            self.stage = Stage::Connect;
            self.send(&commands::connect(&self.config, CONNECT));
        }
        while !self.ended {
            match self.connection.next(input, self.outbox.bytes())? {
                Some(message) => self.message(message),
                None => return Ok(()),
            }
        }
        input.clear();
        Ok(())
    }

    /// To be called at the time of [`Self::poll_timeout`]; earlier calls have no effect.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        if self.poll_timeout().is_some_and(|deadline| self.now >= deadline) {
            self.fail(FailureReason::Timeout);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called: the start takes too long, or media stay away from a pull. A push that the
    /// server does not read fails at the driver's write timeout.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.stage, self.config.role) {
            _ if self.ended => None,
            (Stage::Started, Role::Play) => Some(self.last_media + self.config.media_timeout),
            (Stage::Started, Role::Publish) => None,
            (Stage::Handshake | Stage::Connect | Stage::CreateStream | Stage::Start, _) => {
                Some(self.started + self.config.timeout)
            }
        }
    }

    /// The next thing to do; `None` means drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.poll()
    }

    /// Sends a packet of a [`crate::Muxer`] with the same chunk size, without copying the media. Returns `false`, and sends
    /// nothing, unless the session publishes.
    pub fn send_packet(&mut self, packet: &Packet) -> bool {
        if !self.is_publishing() {
            return false;
        }
        let Some((first, rest)) = packet.parts.split_first() else {
            return true;
        };
        match media_header(first) {
            // Servers take metadata from a publisher in this wrapper; it is a message of one part.
            Some((header, body_at)) if header.type_id == type_id::DATA_AMF0 => {
                self.send_media(TagType::Script, header.timestamp, &[first.slice(body_at..)])
            }
            Some((header, _)) if header.stream_id != self.stream_id => {
                let mut first = BytesMut::from(&first[..]);
                // Behind a basic header of one byte: timestamp(3) length(3) type(1).
                first[8..12].copy_from_slice(&self.stream_id.to_le_bytes());
                self.outbox.send(first.freeze());
                self.send_parts(rest);
                true
            }
            _ => {
                self.send_parts(&packet.parts);
                true
            }
        }
    }

    /// Sends the body of an FLV tag, given in parts, without copying it. `timestamp` is in milliseconds, modulo 2^32. Returns
    /// `false`, and sends nothing, unless the session publishes and the body is at most [`chunk::MAX_MESSAGE_LEN`] bytes long.
    pub fn send_media(&mut self, tag_type: TagType, timestamp: u32, body: &[Bytes]) -> bool {
        if !self.is_publishing() {
            return false;
        }
        let csid = match tag_type {
            TagType::Audio => AUDIO_CSID,
            TagType::Video => VIDEO_CSID,
            TagType::Script => DATA_CSID,
        };
        let header = Header {
            csid,
            type_id: tag_type.id(),
            stream_id: self.stream_id,
            timestamp,
        };
        let mut parts = Parts::new();
        let size = self.connection.chunk_size();
        let fits = match tag_type {
            TagType::Script => {
                let body = set_data_frame(&body.concat());
                chunk::split(&header, size, &[], &[body], &mut self.arena, &mut parts)
            }
            TagType::Audio | TagType::Video => {
                chunk::split(&header, size, &[], body, &mut self.arena, &mut parts)
            }
        };
        self.send_parts(&parts);
        fits
    }

    /// Says goodbye and closes. No event follows.
    pub fn close(&mut self, now: Instant) {
        self.advance(now);
        if self.ended {
            return;
        }
        if matches!(self.stage, Stage::Start | Stage::Started) {
            if self.config.role == Role::Publish {
                self.send(&commands::plain("FCUnpublish", FC_UNPUBLISH, 0, [self.stream()]));
            }
            self.send(&commands::plain(
                "deleteStream",
                DELETE_STREAM,
                0,
                [f64::from(self.stream_id).into()],
            ));
        }
        self.finish();
    }

    /// How far the session came.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Commands and messages that were not understood or not used.
    pub const fn ignored(&self) -> u64 {
        self.ignored
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn is_publishing(&self) -> bool {
        self.config.role == Role::Publish && self.stage == Stage::Started && !self.ended
    }

    fn stream(&self) -> Value {
        self.config.url.stream_with_params.as_str().into()
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Media(tag) => self.media(tag, Event::Media),
            Message::Metadata(tag) => self.media(tag, Event::Metadata),
            Message::Aggregate(message) => {
                for part in split_aggregate(message) {
                    match part {
                        Ok(Message::Media(tag)) => self.media(tag, Event::Media),
                        Ok(Message::Metadata(tag)) => self.media(tag, Event::Metadata),
                        Ok(_) | Err(_) => self.ignored += 1,
                    }
                }
            }
            Message::Command(command) => self.command(&command),
            // ZLM and nginx-rtmp end a live stream so, ZLM without a status.
            Message::UserControl(UserControl::StreamEof(_))
                if self.config.role == Role::Play && self.stage == Stage::Started =>
            {
                self.outbox.event(Event::Ended);
                self.finish();
            }
            Message::UserControl(_)
            | Message::Acknowledgement(_)
            | Message::WindowAckSize(_)
            | Message::PeerBandwidth(_) => {}
            Message::Other { .. } => self.ignored += 1,
        }
    }

    fn media(&mut self, tag: Tag, event: fn(Tag) -> Event) {
        if self.config.role == Role::Publish || !matches!(self.stage, Stage::Start | Stage::Started) {
            self.ignored += 1;
            return;
        }
        // Servers exist that send media without saying that they start.
        self.start();
        if tag.tag_type != TagType::Script {
            self.last_media = self.now;
        }
        self.outbox.event(event(tag));
    }

    fn start(&mut self) {
        if self.stage == Stage::Start {
            self.stage = Stage::Started;
            self.last_media = self.now;
            self.outbox.event(match self.config.role {
                Role::Play => Event::PlayStarted,
                Role::Publish => Event::PublishStarted,
            });
        }
    }

    fn command(&mut self, command: &Command) {
        match (command.name.as_str(), self.stage) {
            ("_result", Stage::Connect) if command.transaction == CONNECT => self.connected(),
            ("_result", Stage::CreateStream) if command.transaction == CREATE_STREAM => {
                self.stream_created(command);
            }
            ("_error", _) if [CONNECT, CREATE_STREAM, START].contains(&command.transaction) => {
                self.fail(status(command).into());
            }
            ("onStatus", _) => self.status(status(command)),
            ("close", _) => {
                self.outbox.event(Event::Ended);
                self.finish();
            }
            // `onBWDone`, `onFCPublish`, answers nobody waits for ...
            _ => self.ignored += 1,
        }
    }

    fn connected(&mut self) {
        self.outbox.event(Event::Connected);
        if self.config.role == Role::Publish {
            self.connection
                .set_chunk_size(self.config.chunk_size, self.outbox.bytes());
            self.send(&commands::plain(
                "releaseStream",
                RELEASE_STREAM,
                0,
                [self.stream()],
            ));
            self.send(&commands::plain("FCPublish", FC_PUBLISH, 0, [self.stream()]));
        }
        self.send(&commands::plain("createStream", CREATE_STREAM, 0, []));
        self.stage = Stage::CreateStream;
    }

    fn stream_created(&mut self, command: &Command) {
        // A float-to-int cast saturates; ids are small whole numbers.
        let Some(stream_id) = command.arg(0).and_then(Value::as_f64).map(|id| id as u32) else {
            return self.fail(FailureReason::NoStreamId);
        };
        self.stream_id = stream_id;
        match self.config.role {
            Role::Play => {
                self.send(&commands::plain(
                    "play",
                    START,
                    stream_id,
                    [self.stream(), START_ANY.into()],
                ));
                let event = UserControl::SetBufferLength {
                    stream_id,
                    buffer_ms: BUFFER_MS,
                };
                self.connection.user_control(event, self.outbox.bytes());
            }
            Role::Publish => {
                self.send(&commands::plain(
                    "publish",
                    START,
                    stream_id,
                    [self.stream(), "live".into()],
                ));
            }
        }
        self.stage = Stage::Start;
    }

    fn status(&mut self, status: Status) {
        match (self.config.role, status.code.as_str()) {
            _ if status.level == "error" => self.fail(status.into()),
            (Role::Play, "NetStream.Play.Start") | (Role::Publish, "NetStream.Publish.Start") => self.start(),
            (
                Role::Play,
                "NetStream.Play.UnpublishNotify" | "NetStream.Play.Stop" | "NetStream.Play.Complete",
            )
            | (Role::Publish, "NetStream.Unpublish.Success") => {
                self.outbox.event(Event::Ended);
                self.finish();
            }
            _ => {}
        }
    }

    fn fail(&mut self, reason: FailureReason) {
        if self.ended {
            return;
        }
        self.outbox.event(Event::Failed(Failure {
            role: self.config.role,
            stage: self.stage,
            reason,
        }));
        self.finish();
    }

    fn finish(&mut self) {
        self.ended = true;
        self.outbox.close();
    }

    fn send(&mut self, command: &Command) {
        self.connection.command(command, self.outbox.bytes());
    }

    fn send_parts(&mut self, parts: &[Bytes]) {
        for part in parts {
            self.outbox.send(part.clone());
        }
    }
}

struct Status {
    level: String,
    code: String,
    description: String,
}

impl From<Status> for FailureReason {
    fn from(
        Status {
            level,
            code,
            description,
        }: Status,
    ) -> Self {
        Self::Status {
            level,
            code,
            description,
        }
    }
}

/// The information object of `onStatus` or `_error`: the first argument that has a code. Servers differ in its place.
fn status(command: &Command) -> Status {
    let information = command.args.iter().find(|value| value.get("code").is_some());
    let text = |name| {
        let text = information
            .and_then(|information| information.get(name)?.as_str())
            .unwrap_or_default();
        text.chars().take(MAX_STATUS_TEXT).collect::<String>()
    };
    let level = Some(text("level"))
        .filter(|level| !level.is_empty())
        .unwrap_or_else(|| "error".into());
    Status {
        level,
        code: text("code"),
        description: text("description"),
    }
}
