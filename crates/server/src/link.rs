//! How sessions, jobs and the API reach the control task.
//!
//! One queue, so that a request and the news that its session has ended keep their order. It has no bound of its own: what is
//! in it is bounded by the live objects that put it there. A session asks once and ends once, a job reports twice, an API
//! connection has one request under way.

use hub::Stream;
use lifecycle::op::RuleSource;
use lifecycle::{Access, Event, Op, OpError, OpReply, Refusal, SessionEnd, SessionId};
use media::StreamKey;
use media::info::OriginType;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// What the control task receives.
pub enum Message {
    /// A fact for the engine.
    Event(Event),
    /// A session asks for something; the answer comes back to it.
    Request {
        /// The request as the engine sees it.
        event: Event,
        /// Who asks.
        session: SessionId,
        /// Where the answer goes.
        answer: oneshot::Sender<Answer>,
    },
    /// An operator asks for something.
    Op {
        /// The request.
        op: Op,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<OpReply, OpError>>,
    },
    /// The configuration was replaced.
    ConfigChanged,
}

/// The answer to a session.
pub enum Answer {
    /// It may publish to this stream.
    Publish(Granted),
    /// It may play this stream.
    Play(Granted),
    /// It may not.
    Refused(Refusal),
}

/// A stream that was granted, whole: it is valid even if another one has its name by now.
pub struct Granted {
    /// Its name, which may differ from the one asked for.
    pub key: StreamKey,
    /// Incarnation, for [`Event::Ready`].
    pub incarnation: u64,
    /// The stream.
    pub stream: Arc<Stream>,
}

/// The way to the control task.
#[derive(Clone)]
pub struct Link(mpsc::UnboundedSender<Message>);

impl Link {
    /// A link and its other end.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Message>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Hands in a fact. After the control task has ended nobody listens, and nothing needs to be known.
    pub fn raise(&self, event: Event) {
        let _ = self.0.send(Message::Event(event));
    }

    /// Says that the configuration was replaced.
    pub fn config_changed(&self) {
        let _ = self.0.send(Message::ConfigChanged);
    }

    /// Asks for the right to publish.
    pub fn ask_publish(&self, access: Access, origin: OriginType) -> Pending {
        let session = access.client.session;
        self.ask(session, Event::PublishRequested { access, origin })
    }

    /// Asks for the right to play.
    pub fn ask_play(&self, access: Access, rule: Option<Box<RuleSource>>) -> Pending {
        let session = access.client.session;
        self.ask(session, Event::PlayRequested { access, rule })
    }

    fn ask(&self, session: SessionId, event: Event) -> Pending {
        let (sender, answer) = oneshot::channel();
        let _ = self.0.send(Message::Request {
            event,
            session,
            answer: sender,
        });
        Pending {
            answer,
            guard: Guard {
                link: self.clone(),
                session,
                started: Instant::now(),
                bytes: 0,
                end: None,
            },
        }
    }

    /// Hands in an operation and waits for its end.
    pub async fn operate(&self, op: Op) -> Result<OpReply, OpError> {
        let (answer, result) = oneshot::channel();
        let _ = self.0.send(Message::Op { op, answer });
        result.await.unwrap_or(Err(OpError::Stopping))
    }
}

/// A request under way, and the promise that its end will be reported.
pub struct Pending {
    answer: oneshot::Receiver<Answer>,
    /// Reports the end of the session when dropped.
    pub guard: Guard,
}

impl Pending {
    /// The answer. Cancel-safe. A control task that ended is an answer too.
    pub async fn answer(&mut self) -> Answer {
        let stopping = || Answer::Refused(Refusal::Overload("the server is stopping".to_owned()));
        (&mut self.answer).await.unwrap_or_else(|_| stopping())
    }
}

/// Tells the engine that a session has ended, whatever way it went. Drop it after the session's hold on the stream.
pub struct Guard {
    link: Link,
    session: SessionId,
    started: Instant,
    bytes: u64,
    end: Option<(bool, String)>,
}

impl Guard {
    /// Counts traffic of the session, both directions.
    pub fn add_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Says how the session ended; the first word counts.
    pub fn ends(&mut self, clean: bool, reason: impl Into<String>) {
        self.end.get_or_insert_with(|| (clean, reason.into()));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (clean, reason) = self
            .end
            .take()
            .unwrap_or_else(|| (false, "the connection was lost".to_owned()));
        let end = SessionEnd {
            clean,
            bytes: self.bytes,
            duration: self.started.elapsed(),
            reason,
        };
        self.link.raise(Event::SessionEnded {
            session: self.session,
            end,
        });
    }
}
