//! Answers to commands, in ZLM's words (urls.md, section 3; texts and order of members read in source).

use crate::MEDIA_STREAM_ID;
use crate::message::Command;
use container::amf0::Value;

/// `onStatus` (RTMP 1.0, section 7.2.2).
pub(super) struct Status<'a> {
    pub(super) level: &'static str,
    pub(super) code: &'static str,
    pub(super) description: &'a str,
    /// The stream's name, on statuses of a player.
    pub(super) details: Option<&'a str>,
}

impl<'a> Status<'a> {
    pub(super) const fn good(code: &'static str, description: &'a str) -> Self {
        Self {
            level: "status",
            code,
            description,
            details: None,
        }
    }

    pub(super) const fn bad(code: &'static str, description: &'a str) -> Self {
        Self {
            level: "error",
            code,
            description,
            details: None,
        }
    }

    pub(super) const fn of(self, stream: &'a str) -> Self {
        Self {
            details: Some(stream),
            ..self
        }
    }

    pub(super) fn command(&self) -> Command {
        let mut members = vec![
            ("level", self.level.into()),
            ("code", self.code.into()),
            ("description", self.description.into()),
        ];
        members.extend(self.details.map(|details| ("details", details.into())));
        members.push(("clientid", "0".into()));
        Command {
            name: "onStatus".into(),
            transaction: 0.0,
            stream_id: MEDIA_STREAM_ID,
            args: vec![Value::Null, Value::object(members)],
        }
    }
}

/// The answer to `connect` (RTMP 1.0, section 7.2.1.1).
pub(super) fn connected(transaction: f64, object_encoding: f64) -> Command {
    let version = [("fmsVer", "FMS/3,0,1,123".into()), ("capabilities", 31.0.into())];
    let status = [
        ("level", "status".into()),
        ("code", "NetConnection.Connect.Success".into()),
        ("description", "Connection succeeded.".into()),
        ("objectEncoding", object_encoding.into()),
    ];
    result(transaction, Value::object(version), Value::object(status))
}

/// `_result` on the connection's own message stream.
pub(super) fn result(transaction: f64, object: Value, value: Value) -> Command {
    Command {
        name: "_result".into(),
        transaction,
        stream_id: 0,
        args: vec![object, value],
    }
}

/// Bandwidth detection is over, though it never began: FMLE waits for it.
pub(super) fn bandwidth_done() -> Command {
    Command {
        name: "onBWDone".into(),
        transaction: 0.0,
        stream_id: 0,
        args: vec![Value::Null],
    }
}

/// FMLE waits for this after `FCPublish`. It says "started", so it is sent with the verdict, not before.
pub(super) fn fc_published(stream: &str) -> Command {
    let members = [
        ("code", "NetStream.Publish.Start".into()),
        ("description", stream.into()),
    ];
    Command {
        name: "onFCPublish".into(),
        transaction: 0.0,
        stream_id: 0,
        args: vec![Value::Null, Value::object(members)],
    }
}
