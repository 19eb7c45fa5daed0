//! The state of one stream name, and of one session.

use crate::access::Access;
use crate::command::Feeder;
use crate::op::RuleSource;
use crate::{JobId, SessionId, Ticket};
use media::info::OriginType;
use media::{ProtocolOptions, Schema};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// All that is known of one name. It exists while there is anything to know.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Who feeds it; `None` while it is missing.
    pub origin: Option<Origin>,
    /// Players that were let in and wait for it.
    pub waiting: BTreeSet<SessionId>,
    /// Players whose permission is being asked. They are interest too: the stream is not closed under them.
    pub authorizing: usize,
    /// Who reads the present incarnation.
    pub readers: BTreeSet<Reader>,
    /// The schema that the last reader of the present incarnation had.
    pub last_watched: Option<Schema>,
    /// The question about the missing stream.
    pub not_found: NotFound,
    /// How long players may wait for it, if the service said so.
    pub patience: Option<Duration>,
    /// A source failed while the service was still busy with that question.
    pub failure: Option<String>,
    /// The question about the unwatched stream.
    pub idle: Idle,
    /// The last question about it found the hook switched off. It is asked on, in silence.
    pub hookless: bool,
}

/// Who feeds a stream, since when, and how it is treated.
#[derive(Debug)]
pub(super) struct Origin {
    pub incarnation: u64,
    pub phase: OriginPhase,
    /// What it was opened as. An orphaned stream keeps it.
    pub kind: OriginType,
    pub params: String,
    pub options: ProtocolOptions,
    /// Schemas it is offered in.
    pub schemas: Vec<Schema>,
    /// Those of them that it is registered in.
    pub announced: Vec<Schema>,
    /// Closed without asking when unwatched this long: set for sources started by an on-demand rule.
    pub close_after: Option<Duration>,
    /// Runs whether it is watched or not: set for rules that are not on demand.
    pub permanent: bool,
    /// The ffmpeg source that pushes it.
    pub ffmpeg: Option<String>,
    /// It was registered.
    pub registered: bool,
}

/// Where its media comes from at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OriginPhase {
    /// Fed.
    Fed(Feeder),
    /// The publisher's connection broke; it may come back until then.
    Orphan { until: Instant },
    /// The pull's connection was lost; the stream is kept for its next attempt (`general.resetWhenRePlay=0`).
    Frozen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reader {
    Session(SessionId),
    Push(JobId),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum NotFound {
    #[default]
    NotAsked,
    Asking(Ticket),
    Answered(Instant),
    Failed(Instant),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Idle {
    /// Watched, missing, or not registered yet.
    #[default]
    Off,
    /// The delay runs.
    Counting,
    /// The delay is over, but somebody's permission is being asked.
    Due,
    /// The service is being asked.
    Asking(Ticket),
    /// The service said that the stream stays. Not asked again until a reader came and left.
    Settled,
}

impl Stream {
    pub fn state(&self) -> &'static str {
        let watched = !self.readers.is_empty();
        match &self.origin {
            None if self.waiting.is_empty() => "missing",
            None => "wanted",
            Some(Origin {
                phase: OriginPhase::Orphan { .. } | OriginPhase::Frozen,
                ..
            }) => "orphan",
            Some(Origin {
                registered: false, ..
            }) => "starting",
            Some(_) if watched => "live",
            Some(_) => "unwatched",
        }
    }

    /// Readers and waiting players: those who keep a stream open.
    pub fn interest(&self) -> usize {
        self.readers.len() + self.waiting.len()
    }

    pub fn is_registered(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.registered)
    }

    pub fn is_orphan(&self) -> bool {
        self.origin
            .as_ref()
            .is_some_and(|origin| !matches!(origin.phase, OriginPhase::Fed(_)))
    }

    /// The origin, if it is of this incarnation.
    pub fn incarnation(&mut self, incarnation: u64) -> Option<&mut Origin> {
        self.origin
            .as_mut()
            .filter(|origin| origin.incarnation == incarnation)
    }

    pub fn is_nothing(&self) -> bool {
        self.origin.is_none()
            && self.waiting.is_empty()
            && self.authorizing == 0
            && self.readers.is_empty()
            && !matches!(self.not_found, NotFound::Asking(_))
    }
}

/// What a session asked for and where it stands.
#[derive(Debug)]
pub(super) struct Session {
    pub access: Access,
    pub phase: SessionPhase,
    pub rule: Option<Box<RuleSource>>,
    /// A player, else a publisher.
    pub player: bool,
    /// It got what it asked for at some time.
    pub granted: bool,
    /// We cut it.
    pub kicked: bool,
}

#[derive(Debug)]
pub(super) enum SessionPhase {
    AskingPublish(Ticket),
    /// Feeds this stream, whose name may differ from the one asked for (`stream_replace`).
    Publishing {
        key: media::StreamKey,
        incarnation: u64,
    },
    AskingPlay(Ticket),
    Waiting,
    Playing {
        incarnation: u64,
    },
    /// Refused, or its stream is gone: only its end is awaited.
    Over,
}
