//! The driver of one RTMP connection: a publisher or a player.

use super::ingest::flv::Ingest;
use super::{Accepted, Io, MEDIA_BLOCK, TALK_BLOCK, WORD_BLOCK, linger, make_room, shrink};
use crate::app::App;
use crate::containers::{self, RTMP};
use crate::egress::{Pace, WRITE_TIMEOUT, deliver, land, write_all, write_batch};
use crate::link::{Answer, Pending};
use crate::maybe::{at, some};
use bytes::BytesMut;
use egress::{Delivery, Outcome};
use hub::{Batch, Next, Reader, ReaderOptions};
use lifecycle::{Access, Client, Protocol, Refusal};
use media::info::OriginType;
use media::{Schema, StreamKey};
use rtmp::chunk::Limits;
use rtmp::server::{
    Config, Event, Output, PlayVerdict, PublishRefusal, PublishVerdict, Request, ServerSession, Verdict,
};
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncReadExt;
use tracing::{debug, info};

/// What the connection does.
enum Role {
    Nothing,
    Asking {
        publish: bool,
        pending: Pending,
    },
    Publishing {
        ingest: Option<Box<Ingest>>,
        pending: Pending,
    },
    Playing {
        /// `None` while the threads that write have it.
        reader: Option<Reader>,
        pending: Pending,
        paused: bool,
    },
}

/// Why the driver stops.
enum Stop {
    /// All is said; the peer may read it and close.
    Closing,
    /// The connection is gone.
    Gone,
}

struct Driver<S> {
    app: Arc<App>,
    accepted: Accepted<S>,
    session: ServerSession,
    /// Before `role`: its reader leaves before the end is told.
    delivery: Option<Delivery>,
    role: Role,
    buffer: BytesMut,
    /// Bytes read and written that no request has been charged with yet.
    uncharged: u64,
}

/// Serves a connection until it ends.
pub async fn serve<S: Io>(app: Arc<App>, accepted: Accepted<S>) {
    let config = app.config();
    let session = ServerSession::new(
        Config {
            handshake_timeout: config.rtmp.handshake,
            keepalive_timeout: config.rtmp.keep_alive,
            chunk_size: app.style().chunk_size,
            limits: Limits {
                max_message_bytes: config.rtmp.max_message_bytes as usize,
                ..Limits::default()
            },
            ..Config::default()
        },
        rand::random(),
        Instant::now(),
    );
    drop(config);
    let mut driver = Driver {
        app,
        accepted,
        session,
        delivery: None,
        role: Role::Nothing,
        buffer: BytesMut::new(),
        uncharged: 0,
    };
    let id = driver.accepted.registration.sock.identifier.clone();
    match driver.run().await {
        Ok(Stop::Closing) => {
            // The stream is let go of before the peer has taken its time.
            driver.role = Role::Nothing;
            linger(&mut driver.accepted.io).await;
        }
        Ok(Stop::Gone) => {}
        Err(error) => {
            debug!(session = %id, %error, "RTMP connection ended");
            driver.ground();
            driver.session.handle_eof(Instant::now());
            let reason = error.to_string();
            let _ = driver.drain_lost(&reason);
        }
    }
}

impl<S: Io> Driver<S> {
    async fn run(&mut self) -> io::Result<Stop> {
        let stop = self.accepted.registration.stop.clone();
        let mut batch = Batch::default();
        let mut pace = Pace::new(self.app.config().general.merge_write);
        loop {
            if let Some(stop) = self.drain().await? {
                return Ok(stop);
            }
            self.take_off();
            let block = match self.role {
                Role::Publishing { .. } => MEDIA_BLOCK,
                Role::Playing { .. } => WORD_BLOCK,
                Role::Nothing | Role::Asking { .. } => TALK_BLOCK,
            };
            make_room(&mut self.buffer, block);
            let deadline = self.deadline();
            let (asking, reader) = match &mut self.role {
                Role::Asking { pending, .. } => (Some(pending), None),
                Role::Playing {
                    reader,
                    paused: false,
                    ..
                } => (None, reader.as_mut()),
                Role::Nothing | Role::Publishing { .. } | Role::Playing { .. } => (None, None),
            };
            let delivery = self.delivery.as_mut();
            // Stop first, then the answer we owe the peer, then media in its order of arrival.
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.ends(true, "closed by the server");
                    self.session.end_of_stream(Instant::now());
                }
                answer = some(asking.map(Pending::answer)) => self.decide(answer)?,
                next = some(reader.map(|reader| pace.next_batch(reader, &mut batch))) => match next {
                    Next::Packets | Next::Lagged { .. } => {
                        let written = write_batch(&mut self.accepted.io, &batch, &stop).await;
                        batch.clear();
                        pace.written();
                        self.charge(written?);
                    }
                    Next::Ended(reason) => {
                        self.ends(true, format!("the stream ended: {reason}"));
                        self.session.end_of_stream(Instant::now());
                    }
                },
                outcome = some(delivery.map(Delivery::ended)) => match outcome {
                    Outcome::Ended(reason) => {
                        self.land().await?;
                        self.ends(true, format!("the stream ended: {reason}"));
                        self.session.end_of_stream(Instant::now());
                    }
                    Outcome::Failed(error) => return Err(error),
                },
                count = self.accepted.io.read_buf(&mut self.buffer) => match count? {
                    0 => {
                        self.ground();
                        self.ends(false, "the peer closed the connection");
                        self.session.handle_eof(Instant::now());
                        let _ = self.drain_lost("the peer closed the connection");
                        return Ok(Stop::Gone);
                    }
                    count => {
                        self.charge(count as u64);
                        let now = Instant::now();
                        self.session.handle_bytes(now, &mut self.buffer).map_err(io::Error::other)?;
                    }
                },
                () = at(deadline) => self.timed_out()?,
            }
        }
    }

    /// Takes everything the session wants done.
    async fn drain(&mut self) -> io::Result<Option<Stop>> {
        while let Some(output) = self.session.poll_output() {
            match output {
                // Between two packets; counted with them.
                Output::Send(bytes) if let Some(delivery) = &self.delivery => delivery.say(bytes)?,
                Output::Send(bytes) => {
                    write_all(&mut self.accepted.io, &bytes, WRITE_TIMEOUT).await?;
                    self.charge(bytes.len() as u64);
                }
                Output::Event(event) => {
                    // Whatever a player wants, it wants it now: it pauses, stops, plays something else.
                    self.land().await?;
                    self.handle(event)?;
                }
                Output::Close => {
                    self.land().await?;
                    return Ok(Some(Stop::Closing));
                }
            }
        }
        Ok(None)
    }

    /// Gives a player to the threads that write, if they take it.
    fn take_off(&mut self) {
        if let Role::Playing {
            reader,
            paused: false,
            ..
        } = &mut self.role
            && self.delivery.is_none()
            && self.accepted.io.socket().is_some()
            && let Some(ready) = reader.take()
        {
            match deliver(&self.app.egress, &self.accepted.io, ready) {
                Ok(delivery) => {
                    self.delivery = Some(delivery);
                    shrink(&mut self.buffer);
                    self.session.rest();
                }
                Err(back) => *reader = Some(back),
            }
        }
    }

    /// Takes a player back.
    async fn land(&mut self) -> io::Result<()> {
        let Some(delivery) = &mut self.delivery else {
            return Ok(());
        };
        let landed = land(delivery, &self.accepted.registration.stop).await;
        self.ground();
        let landed = landed?;
        if let Role::Playing { reader, .. } = &mut self.role {
            *reader = landed;
        }
        Ok(())
    }

    /// Lets go of a delivery, wherever it is, and charges the player with what it carried.
    fn ground(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            self.charge(delivery.bytes());
        }
    }

    /// Takes the events that are left when nothing can be sent any more.
    fn drain_lost(&mut self, reason: &str) -> io::Result<()> {
        while let Some(output) = self.session.poll_output() {
            if let Output::Event(event) = output {
                self.handle(event)?;
            }
        }
        self.ends(false, reason);
        Ok(())
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::PublishRequested(request) => {
                let access = self.access(&request);
                info!(stream = %access.key, session = %access.client.id, "publish requested over {}", access.protocol);
                let url = format!("rtmp://{}", access.key);
                self.accepted.registration.comes_from(url, &access.params);
                let pending = self.app.link.ask_publish(access, OriginType::RtmpPush);
                self.role = Role::Asking {
                    publish: true,
                    pending: self.charged(pending),
                };
            }
            Event::PlayRequested(request) => {
                let access = self.access(&request.request);
                debug!(stream = %access.key, session = %access.client.id, "play requested over {}", access.protocol);
                let rule = self.app.rule_for(&access.key, &access.params);
                let pending = self.app.link.ask_play(access, rule);
                self.role = Role::Asking {
                    publish: false,
                    pending: self.charged(pending),
                };
            }
            Event::Media(tag) | Event::Metadata(tag) => {
                if let Role::Publishing {
                    ingest: Some(ingest), ..
                } = &mut self.role
                {
                    // A closed stream ends the session through its stop token, with a goodbye.
                    let _ = ingest.tag(Instant::now(), tag);
                }
            }
            Event::Unpublished { clean } => {
                self.ends(
                    clean,
                    if clean {
                        "unpublished by the peer"
                    } else {
                        "the publisher was lost"
                    },
                );
                // The stream is released and its end reported now: the peer may take its time to close.
                self.role = Role::Nothing;
            }
            Event::Stopped { clean } => {
                self.ends(clean, "stopped by the peer");
                self.role = Role::Nothing;
            }
            Event::Paused(pause) => {
                if let Role::Playing { paused, .. } = &mut self.role {
                    *paused = pause;
                }
            }
            // Live streams have no other place and no other speed.
            Event::SeekRequested { .. } | Event::SpeedRequested(_) => {}
            Event::TimedOut(reason) => self.ends(false, format!("timed out: {reason:?}")),
        }
        Ok(())
    }

    fn decide(&mut self, answer: Answer) -> io::Result<()> {
        let Role::Asking { publish, pending } = std::mem::replace(&mut self.role, Role::Nothing) else {
            return Ok(());
        };
        let now = Instant::now();
        let verdict = match answer {
            Answer::Publish(granted) => match Ingest::new(&granted, self.app.link.clone()) {
                Ok(ingest) => {
                    self.role = Role::Publishing {
                        ingest: Some(Box::new(ingest)),
                        pending,
                    };
                    Verdict::Publish(PublishVerdict::Accepted)
                }
                Err(error) => {
                    debug!(stream = %granted.key, %error, "the granted stream cannot be written");
                    Verdict::Publish(taken())
                }
            },
            Answer::Play(granted) => {
                let style = self.app.style();
                let options = ReaderOptions::player(Schema::Rtmp);
                match granted
                    .stream
                    .reader(RTMP, options, || containers::muxer(RTMP, style))
                {
                    Ok(reader) => {
                        self.accepted.registration.plays(&granted.key, Schema::Rtmp);
                        self.role = Role::Playing {
                            reader: Some(reader),
                            pending,
                            paused: false,
                        };
                        Verdict::Play(PlayVerdict::Accepted)
                    }
                    Err(error) => {
                        debug!(stream = %granted.key, %error, "the granted stream cannot be read");
                        Verdict::Play(PlayVerdict::NotFound)
                    }
                }
            }
            Answer::Refused(refusal) => {
                // The request stays open until the connection ends, so that its end is reported once and last.
                self.role = Role::Publishing {
                    ingest: None,
                    pending,
                };
                refused(publish, refusal)
            }
        };
        self.session.decide(now, verdict).map_err(io::Error::other)
    }

    fn timed_out(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if let Role::Publishing {
            ingest: Some(ingest), ..
        } = &mut self.role
        {
            let _ = ingest.poll(now);
        }
        self.session.handle_timeout(now).map_err(io::Error::other)
    }

    fn deadline(&self) -> Option<Instant> {
        let session = self.session.poll_timeout().map(|(at, _)| at);
        let tracks = match &self.role {
            Role::Publishing {
                ingest: Some(ingest), ..
            } => ingest.deadline(),
            Role::Nothing | Role::Asking { .. } | Role::Publishing { .. } | Role::Playing { .. } => None,
        };
        [session, tracks].into_iter().flatten().min()
    }

    fn pending(&mut self) -> Option<&mut Pending> {
        match &mut self.role {
            Role::Nothing => None,
            Role::Asking { pending, .. }
            | Role::Publishing { pending, .. }
            | Role::Playing { pending, .. } => Some(pending),
        }
    }

    fn charge(&mut self, bytes: u64) {
        match self.pending() {
            Some(pending) => pending.guard.add_bytes(bytes),
            None => self.uncharged += bytes,
        }
    }

    /// Charges a new request with what the connection carried before it.
    fn charged(&mut self, mut pending: Pending) -> Pending {
        pending.guard.add_bytes(std::mem::take(&mut self.uncharged));
        pending
    }

    fn ends(&mut self, clean: bool, reason: impl Into<String>) {
        if let Some(pending) = self.pending() {
            pending.guard.ends(clean, reason);
        }
    }

    fn access(&self, request: &Request) -> Access {
        let registration = &self.accepted.registration;
        let vhost = self.app.vhost(&request.vhost_host, &request.params);
        Access {
            key: StreamKey::new(&vhost, &request.app, &request.stream),
            schema: Schema::Rtmp,
            protocol: if self.accepted.tls {
                Protocol::Rtmps
            } else {
                Protocol::Rtmp
            },
            params: request.params.clone(),
            client: Client {
                session: registration.id,
                id: registration.sock.identifier.clone(),
                addr: registration.sock.peer,
            },
            authenticated: false,
        }
    }
}

fn taken() -> PublishVerdict {
    PublishVerdict::Refused {
        code: PublishRefusal::BadName,
        text: "Already publishing.".to_owned(),
    }
}

fn refused(publish: bool, refusal: Refusal) -> Verdict {
    if !publish {
        return Verdict::Play(match refusal {
            Refusal::Denied(text) => PlayVerdict::Denied(text),
            Refusal::NotFound(_) | Refusal::Taken | Refusal::Overload(_) => PlayVerdict::NotFound,
        });
    }
    Verdict::Publish(match refusal {
        Refusal::Taken => taken(),
        Refusal::Denied(text) | Refusal::NotFound(text) | Refusal::Overload(text) => {
            PublishVerdict::Refused {
                code: PublishRefusal::BadAuth,
                text,
            }
        }
    })
}
