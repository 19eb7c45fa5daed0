//! The session itself.

use super::early::Early;
use super::name::locate;
use super::status::{self, Status};
use super::{
    Config, Counters, Event, Output, PlayRequest, PlayVerdict, PublishRefusal, PublishVerdict, Request,
    TimeoutReason, Verdict,
};
use crate::connection::Connection;
use crate::message::{Command, Message, UserControl, split_aggregate};
use crate::output::Outbox;
use crate::{Error, MEDIA_STREAM_ID, handshake};
use bytes::BytesMut;
use container::amf0::Value;
use container::flv::Tag;
use std::time::{Duration, Instant};

/// One connection to our RTMP port. See the crate's comment for the drain rule.
///
/// A connection publishes or plays one stream. It is not told "started" before the verdict.
pub struct ServerSession {
    config: Config,
    /// The newest time that was passed in.
    now: Instant,
    started: Instant,
    last_received: Instant,
    last_ping: Instant,
    /// When the peer said goodbye.
    left: Instant,
    /// `None` once it is done.
    handshake: Option<handshake::Server>,
    connection: Connection,
    outbox: Outbox<Event>,
    state: State,
    app: String,
    tc_url: String,
    /// Name of the stream that is published or played, or wants to be.
    stream: String,
    fc_publish: bool,
    early: Early,
    counters: Counters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was asked for.
    Idle,
    PublishPending,
    Publishing,
    PlayPending,
    Playing,
    /// It said goodbye and was answered; now it should close the connection.
    Leaving,
    Ended,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::PublishPending => "waiting for a verdict on publish",
            Self::Publishing => "publishing",
            Self::PlayPending => "waiting for a verdict on play",
            Self::Playing => "playing",
            Self::Leaving => "leaving",
            Self::Ended => "ended",
        }
    }
}

/// How long a peer that said goodbye may take to close the connection. GStreamer's rtmp2sink reports an error if we are first,
/// since it stops only after it has sent its last command.
const GOODBYE_GRACE: Duration = Duration::from_secs(1);

impl ServerSession {
    /// A session for a connection that was accepted at `now`. `seed` is random and differs between connections.
    pub fn new(config: Config, seed: [u8; 32], now: Instant) -> Self {
        Self {
            now,
            started: now,
            last_received: now,
            last_ping: now,
            left: now,
            handshake: Some(handshake::Server::new(seed)),
            connection: Connection::new(config.limits),
            outbox: Outbox::new(),
            state: State::Idle,
            app: String::new(),
            tc_url: String::new(),
            stream: String::new(),
            fc_publish: false,
            early: Early::default(),
            counters: Counters::default(),
            config,
        }
    }

    /// Takes what it can use from the front of `input`; the rest (at most 64 KiB and a chunk header) stays there. On an error
    /// the connection is to be closed; [`Self::handle_eof`] tells then what ended.
    pub fn handle_bytes(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), Error> {
        self.advance(now);
        self.last_received = self.now;
        if let Some(handshake) = &mut self.handshake {
            if let Some(answer) = handshake.handle(input)? {
                self.outbox.send(answer);
            }
            if !handshake.is_done() {
                return Ok(());
            }
            self.handshake = None;
        }
        while !matches!(self.state, State::Leaving | State::Ended) {
            match self.connection.next(input, self.outbox.bytes())? {
                Some(message) => self.message(message),
                None => return Ok(()),
            }
        }
        input.clear();
        Ok(())
    }

    /// Answers the pending request. Without effect if the session has ended meanwhile.
    pub fn decide(&mut self, now: Instant, verdict: Verdict) -> Result<(), Error> {
        self.advance(now);
        match (self.state, verdict) {
            (State::PublishPending, Verdict::Publish(PublishVerdict::Accepted)) => self.accept_publish(),
            (State::PublishPending, Verdict::Publish(PublishVerdict::Refused { code, text })) => {
                self.refuse_publish(code, &text);
            }
            (State::PlayPending, Verdict::Play(PlayVerdict::Accepted)) => self.accept_play(),
            (State::PlayPending, Verdict::Play(PlayVerdict::NotFound)) => {
                self.refuse_play("NetStream.Play.StreamNotFound", "No such stream.");
            }
            (State::PlayPending, Verdict::Play(PlayVerdict::Denied(text))) => {
                self.refuse_play("NetStream.Play.BadAuth", &text);
            }
            (State::Leaving | State::Ended, Verdict::Publish(_) | Verdict::Play(_)) => {}
            (state, Verdict::Publish(_)) => {
                return Err(Error::Verdict {
                    verdict: "publish",
                    state: state.name(),
                });
            }
            (state, Verdict::Play(_)) => {
                return Err(Error::Verdict {
                    verdict: "play",
                    state: state.name(),
                });
            }
        }
        Ok(())
    }

    /// To be called at the time of [`Self::poll_timeout`]; earlier calls have no effect.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.advance(now);
        let Some((deadline, reason)) = self.poll_timeout() else {
            return Ok(());
        };
        if self.now < deadline {
            return Ok(());
        }
        match reason {
            TimeoutReason::Ping => {
                self.last_ping = self.now;
                // The time only has to come back; it wraps after 49.7 days.
                let time = self.now.duration_since(self.started).as_millis() as u32;
                self.user_control(UserControl::PingRequest(time));
            }
            TimeoutReason::Handshake | TimeoutReason::Keepalive => {
                self.outbox.event(Event::TimedOut(reason));
                self.end();
            }
            TimeoutReason::Goodbye => self.close(),
        }
        Ok(())
    }

    /// When [`Self::handle_timeout`] wants to be called, and why. A pending request has no deadline here: who decides has one.
    pub fn poll_timeout(&self) -> Option<(Instant, TimeoutReason)> {
        let Config {
            handshake_timeout,
            keepalive_timeout,
            ..
        } = self.config;
        match self.state {
            State::Idle => Some((self.started + handshake_timeout, TimeoutReason::Handshake)),
            State::Publishing => Some((self.last_received + keepalive_timeout, TimeoutReason::Keepalive)),
            // A player that does not answer is not ended for it: not all do, and a dead one fails at the next writes.
            State::Playing => Some((
                self.last_received.max(self.last_ping) + keepalive_timeout,
                TimeoutReason::Ping,
            )),
            State::Leaving => Some((self.left + GOODBYE_GRACE, TimeoutReason::Goodbye)),
            State::PublishPending | State::PlayPending | State::Ended => None,
        }
    }

    /// Gives back memory that a conversation needs, and a session that says little does not. For players, of whom there may be thousands.
    pub fn rest(&mut self) {
        self.outbox.rest();
    }

    /// The next thing to do; `None` means drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.poll()
    }

    /// The stream has ended, or the session is to end (kicked): tells the peer and closes. A player hears
    /// `NetStream.Play.UnpublishNotify` and StreamEOF (ZLM sends only the latter: lifecycle.md, W29). No event follows.
    pub fn end_of_stream(&mut self, now: Instant) {
        self.advance(now);
        match self.state {
            State::Playing => {
                let stream = std::mem::take(&mut self.stream);
                self.status(
                    Status::good("NetStream.Play.UnpublishNotify", "Stopped publishing.").of(&stream),
                );
                self.user_control(UserControl::StreamEof(MEDIA_STREAM_ID));
            }
            State::Publishing => self.status(Status::good("NetStream.Unpublish.Success", "Stop publishing.")),
            State::Idle | State::PublishPending | State::PlayPending | State::Leaving | State::Ended => {}
        }
        self.close();
    }

    /// The connection was closed or reset by the peer, or an error ended it. Nothing can be sent any more; an event tells what
    /// ended, if anything did.
    pub fn handle_eof(&mut self, now: Instant) {
        self.advance(now);
        self.end();
    }

    /// What was left out so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Command(command) => self.command(&command),
            Message::Media(tag) => self.media(tag, Event::Media),
            Message::Metadata(tag) => self.media(tag, Event::Metadata),
            Message::Aggregate(message) => {
                for part in split_aggregate(message) {
                    match part {
                        Ok(Message::Media(tag)) => self.media(tag, Event::Media),
                        Ok(Message::Metadata(tag)) => self.media(tag, Event::Metadata),
                        Ok(_) => self.counters.ignored += 1,
                        Err(_) => self.counters.bad_aggregates += 1,
                    }
                }
            }
            // Buffer lengths and ping answers carry nothing that changes what we do.
            Message::UserControl(_)
            | Message::Acknowledgement(_)
            | Message::WindowAckSize(_)
            | Message::PeerBandwidth(_) => {}
            Message::Other { .. } => self.counters.ignored += 1,
        }
    }

    fn media(&mut self, tag: Tag, event: fn(Tag) -> Event) {
        let is_kept = match self.state {
            State::Publishing => {
                self.outbox.event(event(tag));
                true
            }
            State::PublishPending => self.early.keep(tag),
            State::Idle | State::PlayPending | State::Playing | State::Leaving | State::Ended => false,
        };
        self.counters.unwanted_media += u64::from(!is_kept);
    }

    fn command(&mut self, command: &Command) {
        let transaction = command.transaction;
        match command.name.as_str() {
            "connect" => self.connect(command),
            "createStream" => {
                self.send(&status::result(
                    transaction,
                    Value::Null,
                    f64::from(MEDIA_STREAM_ID).into(),
                ));
            }
            // Both only prepare; some encoders wait for the answers.
            "releaseStream" | "FCPublish" => {
                self.fc_publish |= command.name == "FCPublish";
                self.send(&status::result(transaction, Value::Null, Value::Undefined));
            }
            "publish" => self.publish(command),
            "play" => self.play(command),
            "deleteStream" => self.goodbye(),
            "closeStream" | "FCUnpublish" if self.state != State::Idle => self.goodbye(),
            "pause" | "seek" | "onPlayCtrl" if self.state == State::Playing => self.control_playback(command),
            // `play2` would switch to another stream in the middle of a session.
            "play2" => self.refuse_second("NetStream.Play.Failed"),
            // `getStreamLength`, `_checkbw`, `receiveAudio`, `receiveVideo`, `FCSubscribe` ... : ZLM ignores them too.
            _ => self.counters.ignored += 1,
        }
    }

    fn connect(&mut self, command: &Command) {
        if self.state != State::Idle {
            self.counters.ignored += 1;
            return;
        }
        let text = |name| {
            command
                .object(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        (self.app, self.tc_url) = (text("app"), text("tcUrl"));
        let encoding = command
            .object("objectEncoding")
            .and_then(Value::as_f64)
            .unwrap_or(0.0);
        let out = self.outbox.bytes();
        self.connection.set_chunk_size(self.config.chunk_size, out);
        self.connection.window_ack_size(self.config.window_ack_size, out);
        self.connection.peer_bandwidth(self.config.peer_bandwidth, out);
        self.send(&status::connected(command.transaction, encoding));
        self.send(&status::bandwidth_done());
    }

    /// The name in the first argument; empty if there is none.
    fn request(&mut self, command: &Command) -> Request {
        let stream = command.arg(0).and_then(Value::as_str).unwrap_or_default();
        let request = locate(&self.app, &self.tc_url, stream);
        self.stream.clone_from(&request.stream);
        request
    }

    fn publish(&mut self, command: &Command) {
        if self.state != State::Idle {
            return self.refuse_second("NetStream.Publish.BadName");
        }
        let request = self.request(command);
        if !request.is_publishable() {
            return self.refuse_publish(
                PublishRefusal::BadAuth,
                "The publish URL needs an app and a stream of at most 1024 bytes: rtmp://host/app/stream",
            );
        }
        self.state = State::PublishPending;
        self.outbox.event(Event::PublishRequested(request));
    }

    fn play(&mut self, command: &Command) {
        if self.state != State::Idle {
            return self.refuse_second("NetStream.Play.Failed");
        }
        let request = self.request(command);
        if !request.fits() {
            return self.refuse_play("NetStream.Play.StreamNotFound", "No such stream.");
        }
        let number = |index, default| command.arg(index).and_then(Value::as_f64).unwrap_or(default);
        let (start, duration) = (number(1, -2.0), number(2, -1.0));
        self.state = State::PlayPending;
        self.outbox.event(Event::PlayRequested(PlayRequest {
            request,
            start,
            duration,
        }));
    }

    fn accept_publish(&mut self) {
        self.state = State::Publishing;
        // Waiting for the verdict was not the publisher's silence.
        self.last_received = self.now;
        if self.fc_publish {
            self.send(&status::fc_published(&self.stream));
        }
        self.status(Status::good(
            "NetStream.Publish.Start",
            "Started publishing stream.",
        ));
        for tag in self.early.take() {
            let event = match tag.tag_type {
                container::flv::TagType::Script => Event::Metadata,
                container::flv::TagType::Audio | container::flv::TagType::Video => Event::Media,
            };
            self.outbox.event(event(tag));
        }
    }

    fn refuse_publish(&mut self, code: PublishRefusal, text: &str) {
        let code = match code {
            PublishRefusal::BadName => "NetStream.Publish.BadName",
            PublishRefusal::BadAuth => "NetStream.Publish.BadAuth",
        };
        self.status(Status::bad(code, text));
        self.close();
    }

    fn accept_play(&mut self) {
        self.state = State::Playing;
        self.last_ping = self.now;
        self.user_control(UserControl::StreamBegin(MEDIA_STREAM_ID));
        let stream = self.stream.clone();
        for (code, description) in [
            ("NetStream.Play.Reset", "Resetting and playing."),
            ("NetStream.Play.Start", "Started playing."),
            ("NetStream.Play.PublishNotify", "Now published."),
        ] {
            self.status(Status::good(code, description).of(&stream));
        }
    }

    fn refuse_play(&mut self, code: &'static str, text: &str) {
        let stream = std::mem::take(&mut self.stream);
        self.status(Status::bad(code, text).of(&stream));
        self.close();
    }

    /// What goes on is not disturbed by a second request.
    fn refuse_second(&mut self, code: &'static str) {
        self.status(Status::bad(
            code,
            "A connection publishes or plays one stream; open another connection.",
        ));
    }

    fn goodbye(&mut self) {
        self.status(Status::good("NetStream.Unpublish.Success", "Stop publishing."));
        self.tell_end(true);
        self.state = State::Leaving;
        self.left = self.now;
    }

    fn control_playback(&mut self, command: &Command) {
        let argument = command.arg(0);
        match command.name.as_str() {
            "pause" => {
                let pause = argument.and_then(Value::as_bool).unwrap_or(true);
                let (code, text, event) = if pause {
                    (
                        "NetStream.Pause.Notify",
                        "Paused stream.",
                        UserControl::StreamEof(MEDIA_STREAM_ID),
                    )
                } else {
                    (
                        "NetStream.Unpause.Notify",
                        "Unpaused stream.",
                        UserControl::StreamBegin(MEDIA_STREAM_ID),
                    )
                };
                self.status(Status::good(code, text));
                self.user_control(event);
                self.outbox.event(Event::Paused(pause));
            }
            "seek" => {
                let Some(position_ms) = argument.and_then(Value::as_f64) else {
                    return;
                };
                self.status(Status::good("NetStream.Seek.Notify", "Seeking."));
                self.outbox.event(Event::SeekRequested { position_ms });
            }
            _ => {
                let Some(speed) = argument.and_then(|control| control.get("speed")?.as_f64()) else {
                    return;
                };
                self.status(Status::good("NetStream.Speed.Notify", "Speeding"));
                self.outbox.event(Event::SpeedRequested(speed));
            }
        }
    }

    /// The peer is gone without a word.
    fn end(&mut self) {
        self.tell_end(false);
        self.close();
    }

    fn tell_end(&mut self, clean: bool) {
        match self.state {
            State::PublishPending | State::Publishing => self.outbox.event(Event::Unpublished { clean }),
            State::PlayPending | State::Playing => self.outbox.event(Event::Stopped { clean }),
            State::Idle | State::Leaving | State::Ended => {}
        }
    }

    fn close(&mut self) {
        self.state = State::Ended;
        self.outbox.close();
    }

    fn status(&mut self, status: Status<'_>) {
        self.send(&status.command());
    }

    fn send(&mut self, command: &Command) {
        self.connection.command(command, self.outbox.bytes());
    }

    fn user_control(&mut self, event: UserControl) {
        self.connection.user_control(event, self.outbox.bytes());
    }
}
