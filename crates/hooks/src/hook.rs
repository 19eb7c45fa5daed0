//! The web hooks by name.

use lifecycle::Ask;
use std::fmt;

/// One of ZLM's web hooks, with the URL key `hook.<name>` (hooks.md, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Traffic of a finished session.
    FlowReport,
    /// May this client read this file or folder?
    HttpAccess,
    /// May this player play?
    Play,
    /// May this publisher publish, and how?
    Publish,
    /// An MP4 file is complete.
    RecordMp4,
    /// An HLS segment is complete.
    RecordTs,
    /// An RTP port got no data.
    RtpServerTimeout,
    /// The password of an RTSP user.
    RtspAuth,
    /// Whether an RTSP play needs a user and password.
    RtspRealm,
    /// A stream sent as RTP ended by itself.
    SendRtpStopped,
    /// The server stops.
    ServerExited,
    /// The server lives.
    ServerKeepalive,
    /// The server started.
    ServerStarted,
    /// May this user use the telnet console?
    ShellLogin,
    /// A stream was registered or removed in one schema.
    StreamChanged,
    /// Nobody watches a stream.
    StreamNoneReader,
    /// A player waits for a missing stream.
    StreamNotFound,
}

impl Hook {
    /// All hooks, in the order of [`Hook::index`].
    pub const ALL: [Self; 17] = [
        Self::FlowReport,
        Self::HttpAccess,
        Self::Play,
        Self::Publish,
        Self::RecordMp4,
        Self::RecordTs,
        Self::RtpServerTimeout,
        Self::RtspAuth,
        Self::RtspRealm,
        Self::SendRtpStopped,
        Self::ServerExited,
        Self::ServerKeepalive,
        Self::ServerStarted,
        Self::ShellLogin,
        Self::StreamChanged,
        Self::StreamNoneReader,
        Self::StreamNotFound,
    ];

    /// Position in [`Hook::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name on the wire; the configuration key of its URL is `hook.<name>`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FlowReport => "on_flow_report",
            Self::HttpAccess => "on_http_access",
            Self::Play => "on_play",
            Self::Publish => "on_publish",
            Self::RecordMp4 => "on_record_mp4",
            Self::RecordTs => "on_record_ts",
            Self::RtpServerTimeout => "on_rtp_server_timeout",
            Self::RtspAuth => "on_rtsp_auth",
            Self::RtspRealm => "on_rtsp_realm",
            Self::SendRtpStopped => "on_send_rtp_stopped",
            Self::ServerExited => "on_server_exited",
            Self::ServerKeepalive => "on_server_keepalive",
            Self::ServerStarted => "on_server_started",
            Self::ShellLogin => "on_shell_login",
            Self::StreamChanged => "on_stream_changed",
            Self::StreamNoneReader => "on_stream_none_reader",
            Self::StreamNotFound => "on_stream_not_found",
        }
    }

    /// Somebody waits for the answer; else it is a notification.
    pub const fn is_question(self) -> bool {
        match self {
            Self::HttpAccess
            | Self::Play
            | Self::Publish
            | Self::RtspAuth
            | Self::RtspRealm
            | Self::ShellLogin
            | Self::StreamNoneReader
            | Self::StreamNotFound => true,
            Self::FlowReport
            | Self::RecordMp4
            | Self::RecordTs
            | Self::RtpServerTimeout
            | Self::SendRtpStopped
            | Self::ServerExited
            | Self::ServerKeepalive
            | Self::ServerStarted
            | Self::StreamChanged => false,
        }
    }

    /// The hook that carries a question of the engine.
    pub const fn of(ask: &Ask) -> Self {
        match ask {
            Ask::Publish { .. } => Self::Publish,
            Ask::Play { .. } => Self::Play,
            Ask::NotFound { .. } => Self::StreamNotFound,
            Ask::NoneReader { .. } => Self::StreamNoneReader,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_stands_at_its_index() {
        for (position, hook) in Hook::ALL.into_iter().enumerate() {
            assert_eq!(hook.index(), position, "{hook}");
        }
    }
}
