//! News, and the two forms in which they are told.

use crate::body;
use crate::body::flow_report::FlowReport;
use crate::body::record_ts::{RecordTs, RecordedFile};
use crate::body::server_exited::ServerExited;
use crate::body::server_keepalive::ServerKeepalive;
use crate::body::server_started::ServerStarted;
use crate::body::stream_changed::{Registered, Removed};
use crate::hook::Hook;
use crate::notify::queue::Rank;
use crate::object::Statistic;
use crate::own::{self, OwnEvent};
use bytes::Bytes;
use lifecycle::Access;
use media::info::MediaInfo;
use media::{Schema, StreamKey};
use std::time::Duration;

/// News.
#[derive(Clone, Debug)]
pub enum Event {
    /// A stream was registered in a schema. (`on_stream_changed`)
    Registered {
        /// The stream as it is at this moment.
        info: Box<MediaInfo>,
    },
    /// A stream was removed from a schema. (`on_stream_changed`)
    Removed {
        /// The stream.
        key: StreamKey,
        /// The schema.
        schema: Schema,
        /// The publisher's parameters.
        params: String,
    },
    /// A session ended. (`on_flow_report`)
    FlowReport {
        /// Its request.
        access: Access,
        /// Bytes, both directions.
        bytes: u64,
        /// How long it lasted.
        duration: Duration,
        /// A player, else a publisher.
        player: bool,
    },
    /// A segment of HLS is on disk. (`on_record_ts`)
    RecordTs {
        /// The stream.
        key: StreamKey,
        /// The publisher's parameters.
        params: String,
        /// The file.
        file: Box<RecordedFile>,
    },
    /// The server started. (`on_server_started`)
    ServerStarted {
        /// The whole configuration: `section.key` and value, `api.secret` included.
        config: Vec<(String, String)>,
    },
    /// The server stops. (`on_server_exited`)
    ServerExited,
    /// The server lives. (`on_server_keepalive`)
    Keepalive(Statistic),
}

impl Event {
    /// The hook that tells it in ZLM's form.
    pub const fn hook(&self) -> Hook {
        match self {
            Self::Registered { .. } | Self::Removed { .. } => Hook::StreamChanged,
            Self::FlowReport { .. } => Hook::FlowReport,
            Self::RecordTs { .. } => Hook::RecordTs,
            Self::ServerStarted { .. } => Hook::ServerStarted,
            Self::ServerExited => Hook::ServerExited,
            Self::Keepalive(_) => Hook::ServerKeepalive,
        }
    }

    /// The stream it is about.
    pub(super) fn key(&self) -> Option<&StreamKey> {
        match self {
            Self::Registered { info, .. } => Some(&info.key),
            Self::Removed { key, .. } | Self::RecordTs { key, .. } => Some(key),
            Self::FlowReport { access, .. } => Some(&access.key),
            Self::ServerStarted { .. } | Self::ServerExited | Self::Keepalive(_) => None,
        }
    }

    /// The schema that `hook.stream_changed_schemas` looks at.
    pub(super) const fn filtered_schema(&self) -> Option<Schema> {
        match self {
            Self::Registered { info, .. } => Some(info.schema),
            Self::Removed { schema, .. } => Some(*schema),
            Self::FlowReport { .. }
            | Self::RecordTs { .. }
            | Self::ServerStarted { .. }
            | Self::ServerExited
            | Self::Keepalive(_) => None,
        }
    }

    pub(super) const fn rank(&self) -> Rank {
        match self {
            // Segments are so many that they would push everything else out.
            Self::Keepalive(_) | Self::FlowReport { .. } | Self::RecordTs { .. } => Rank::Spare,
            Self::Registered { .. } | Self::Removed { .. } => Rank::State,
            Self::ServerStarted { .. } | Self::ServerExited => Rank::Critical,
        }
    }

    /// The body in ZLM's form.
    pub(crate) fn zlm(&self) -> Bytes {
        match self {
            Self::Registered { info } => body::encode(&Registered::new(info)),
            Self::Removed { key, schema, params } => body::encode(&Removed::new(key, *schema, params)),
            Self::FlowReport {
                access,
                bytes,
                duration,
                player,
            } => body::encode(&FlowReport::new(access, *bytes, *duration, *player)),
            Self::RecordTs { key, params, file } => body::encode(&RecordTs::new(key, params, file)),
            Self::ServerStarted { config } => body::encode(&ServerStarted::new(config)),
            Self::ServerExited => body::encode(&ServerExited {}),
            Self::Keepalive(statistic) => body::encode(&ServerKeepalive::new(statistic)),
        }
    }

    /// The event of our own that tells it. A registration and a removal are told for the first and the last form of a stream.
    pub(super) const fn own_name(&self) -> OwnEvent {
        match self {
            Self::Registered { .. } => OwnEvent::StreamOnline,
            Self::Removed { .. } => OwnEvent::StreamOffline,
            Self::FlowReport { .. } => OwnEvent::SessionEnded,
            Self::RecordTs { .. } => OwnEvent::RecordingSegment,
            Self::ServerStarted { .. } => OwnEvent::ServerStarted,
            Self::ServerExited => OwnEvent::ServerStopping,
            Self::Keepalive(_) => OwnEvent::ServerAlive,
        }
    }

    /// The body in our own form.
    pub(crate) fn own(&self, server_id: &str) -> Bytes {
        match self {
            Self::Registered { info } => own::online(server_id, info),
            Self::Removed { key, params, .. } => own::offline(server_id, key, params),
            Self::FlowReport {
                access,
                bytes,
                duration,
                player,
            } => own::ended(server_id, access, *bytes, *duration, *player),
            Self::RecordTs { key, params, file } => own::segment(server_id, key, params, file),
            Self::ServerStarted { .. } => own::started(server_id),
            Self::ServerExited => own::stopping(server_id),
            Self::Keepalive(statistic) => own::alive(server_id, statistic),
        }
    }
}

/// How long an event is worth telling: receivers act upon news, not upon history.
pub(super) fn lifetime(name: crate::event::EventName, alive_interval: Duration) -> Duration {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    use crate::event::EventName::{Own, Zlm};
    match name {
        Zlm(Hook::ServerKeepalive) | Own(OwnEvent::ServerAlive) => alive_interval.max(Duration::from_secs(1)),
        Zlm(Hook::RecordMp4 | Hook::RecordTs) | Own(OwnEvent::RecordingSegment) => DAY * 3,
        Zlm(_) | Own(_) => DAY,
    }
}
