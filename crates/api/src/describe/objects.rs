//! Objects that stand in several replies (api.md, chapter 2).

use super::Shape::{Bool, Int, Named, NamedOrNull, Real, Text, Word};
use super::{Member, Object};
use crate::describe::{fixed, list};

/// A connection's two ends.
pub const SOCKET_MEMBERS: &[Member] = &[
    Member::new("identifier", Text, "Id of the session, unique in the process."),
    Member::new("local_ip", Text, "Address of the server."),
    Member::new("local_port", Int, "Port of the server."),
    Member::new("peer_ip", Text, "Address of the other end; IPv4 in dotted form."),
    Member::new("peer_port", Int, "Port of the other end."),
];

/// A connection's two ends.
pub static SOCKET: Object = Object {
    name: "Socket",
    about: "The two ends of a connection.",
    members: SOCKET_MEMBERS,
};

/// A player: a connection and what speaks on it.
pub const PLAYER_MEMBERS: &[Member] = &[
    SOCKET_MEMBERS[0],
    SOCKET_MEMBERS[1],
    SOCKET_MEMBERS[2],
    SOCKET_MEMBERS[3],
    SOCKET_MEMBERS[4],
    TYPE_ID,
];

/// A connection in the list of all.
pub const SESSION_MEMBERS: &[Member] = &[
    Member::new("id", Text, "The same as `identifier`."),
    Member::new("type", Word(&["tcp", "udp"]), "What carries it."),
    SOCKET_MEMBERS[0],
    SOCKET_MEMBERS[1],
    SOCKET_MEMBERS[2],
    SOCKET_MEMBERS[3],
    SOCKET_MEMBERS[4],
    TYPE_ID,
];

const TYPE_ID: Member = Member::new(
    "typeid",
    Text,
    "ZLM's name for what speaks on it, as `mediakit::RtmpSession` or `mediakit::HttpSession`.",
);

/// What is carried in a stream.
pub static TRACK: Object = Object {
    name: "Track",
    about: "One track of a stream. Which members there are depends on `codec_type`.",
    members: fixed![
        Member::new(
            "codec_id",
            Int,
            "0 H264, 1 H265, 2 AAC, 3 G711A, 4 G711U, 5 Opus, 7 VP8, 8 VP9, 9 AV1, 14 MP3.",
        ),
        Member::new(
            "codec_id_name",
            Text,
            "Name of the codec; AAC is `mpeg4-generic`.",
        ),
        Member::new("codec_type", Int, "0 video, 1 audio."),
        Member::new("ready", Bool, "Its parameters are known."),
        Member::new("frames", Int, "Frames so far."),
        Member::new("duration", Int, "Media so far, milliseconds."),
        Member::new(
            "loss",
            Real,
            "Lost packets of the video in percent, -1.0 when unknown. In lists of more than one stream it is absent.",
        )
        .optional(),
        Member::new("width", Int, "Video: pixels.").optional(),
        Member::new("height", Int, "Video: pixels.").optional(),
        Member::new("fps", Real, "Video: frames per second, rounded.").optional(),
        Member::new("key_frames", Int, "Video: key frames so far.").optional(),
        Member::new("gop_size", Int, "Video: frames of the last group of pictures.").optional(),
        Member::new(
            "gop_interval_ms",
            Int,
            "Video: length of the last group of pictures, milliseconds.",
        )
        .optional(),
        Member::new("sample_rate", Int, "Audio: samples per second.").optional(),
        Member::new("channels", Int, "Audio: channels.").optional(),
        Member::new("sample_bit", Int, "Audio: bits of a sample.").optional(),
    ],
};

/// One stream in one schema.
pub const MEDIA_MEMBERS: &[Member] = &[
    Member::new("schema", Word(super::parameters::SCHEMAS), "The form."),
    Member::new("vhost", Text, "The virtual host."),
    Member::new("app", Text, "The application."),
    Member::new("stream", Text, "The name."),
    Member::new("params", Text, "Query string of the publisher, without `?`."),
    Member::new(
        "createStamp",
        Int,
        "When this form was registered, Unix time in seconds.",
    ),
    Member::new("aliveSecond", Int, "Seconds since then."),
    Member::new("bytesSpeed", Int, "Bytes per second now."),
    Member::new("totalBytes", Int, "Bytes so far."),
    Member::new("readerCount", Int, "Players of this form."),
    Member::new("totalReaderCount", Int, "Players of all forms."),
    Member::new(
        "originType",
        Int,
        "0 unknown, 1 RTMP push, 2 RTSP push, 3 RTP push, 4 pull, 5 FFmpeg, 6 MP4 file, 7 device, 8 WebRTC push, 9 SRT push.",
    ),
    Member::new("originTypeStr", Text, "The same as a word."),
    Member::new(
        "originUrl",
        Text,
        "Where it comes from: the URL of the source or of the publisher.",
    ),
    Member::new(
        "originSock",
        NamedOrNull(&SOCKET),
        "The publisher's connection; `null` without one.",
    ),
    Member::new("isRecordingMP4", Bool, "An MP4 recording runs."),
    Member::new("isRecordingHLS", Bool, "HLS with MPEG-TS segments is on."),
    Member::new("tracks", list!(Named(&TRACK)), "In no fixed order."),
];

/// One stream in one schema.
pub static MEDIA: Object = Object {
    name: "Media",
    about: "One stream in one of its forms (schemas).",
    members: MEDIA_MEMBERS,
};

/// The stream of a proxy or a pusher.
pub static SOURCE: Object = Object {
    name: "Source",
    about: "The stream of a proxy or a pusher.",
    members: fixed![
        Member::new("vhost", Text, "The virtual host."),
        Member::new("app", Text, "The application."),
        Member::new("stream", Text, "The name."),
        Member::new("params", Text, "Query string of the publisher, without `?`."),
    ],
};

/// `state` of a source or a pusher.
pub const STATE: Member = Member::new(
    "state",
    Word(&["idle", "connecting", "live", "backing_off", "failed"]),
    "Its state. Not in ZLM.",
);

/// `reason` of a source or a pusher.
pub const REASON: Member = Member::new(
    "reason",
    Text,
    "Why it is not live, if there is a reason. Not in ZLM.",
)
.optional();

/// The handle of what was added.
pub static KEY: Object = Object {
    name: "Key",
    about: "The handle of what was added.",
    members: &[Member::new("key", Text, "The handle.")],
};

/// Whether something existed.
pub static FLAG: Object = Object {
    name: "Flag",
    about: "Whether what was to be removed existed.",
    members: &[Member::new("flag", Bool, "It existed, and is removed.")],
};
