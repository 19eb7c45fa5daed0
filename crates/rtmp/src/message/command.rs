//! Commands (RTMP 1.0, section 7.2).

use super::{Error, type_id};
use container::amf0::{self, Value};

/// Longest accepted command in bytes. `connect` with a long URL has about 2,000.
pub const MAX_COMMAND_LEN: usize = 64 << 10;

/// A command or the answer to one.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// `connect`, `_result`, `onStatus` ...
    pub name: String,
    /// Number by which an answer names its command; 0 means that none is expected.
    pub transaction: f64,
    /// Message stream that it came on or is to go to.
    pub stream_id: u32,
    /// The command object (null where there is none), then the arguments.
    pub args: Vec<Value>,
}

impl Command {
    /// Reads the body of a message of type 20 or 17. Type 17 has a format byte before values in AMF0, which themselves may switch
    /// to AMF3 (RTMP 1.0, section 7.1.1); senders that leave the byte out exist.
    pub(super) fn decode(type_id: u8, stream_id: u32, mut body: &[u8]) -> Result<Self, Error> {
        if body.len() > MAX_COMMAND_LEN {
            return Err(Error::CommandLength { got: body.len() });
        }
        if type_id == type_id::COMMAND_AMF3
            && let [0, rest @ ..] = body
        {
            body = rest;
        }
        let mut values = amf0::decode_all(body)?.into_iter();
        let Some(Value::String(name)) = values.next() else {
            return Err(Error::NoName);
        };
        let transaction = values.next().and_then(|value| value.as_f64()).unwrap_or(0.0);
        Ok(Self {
            name,
            transaction,
            stream_id,
            args: values.collect(),
        })
    }

    /// The body of a message of type 20.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        amf0::encode(&Value::from(self.name.as_str()), &mut out);
        amf0::encode(&Value::Number(self.transaction), &mut out);
        for value in &self.args {
            amf0::encode(value, &mut out);
        }
        out
    }

    /// The member `name` of the command object.
    pub fn object(&self, name: &str) -> Option<&Value> {
        self.args.first()?.get(name)
    }

    /// The `index`-th argument behind the command object, counted from 0.
    pub fn arg(&self, index: usize) -> Option<&Value> {
        self.args.get(index + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play() -> Command {
        Command {
            name: "play".into(),
            transaction: 4.0,
            stream_id: 1,
            args: vec![Value::Null, "cam".into(), (-2.0).into()],
        }
    }

    #[test]
    fn commands_round_trip_in_both_envelopes() {
        let body = play().encode();
        assert_eq!(Command::decode(20, 1, &body), Ok(play()));
        assert_eq!(Command::decode(17, 1, &[&[0], &body[..]].concat()), Ok(play()));
        assert_eq!(
            Command::decode(17, 1, &body),
            Ok(play()),
            "without the format byte"
        );
        assert_eq!(play().arg(0).and_then(Value::as_str), Some("cam"));
    }

    #[test]
    fn arguments_may_switch_to_amf3() {
        // 0x11 switches; 0x06 0x07 "cam" is an AMF3 string.
        let body = [
            &b"\x00\x02\x00\x04play\x00"[..],
            &0f64.to_be_bytes(),
            b"\x05\x11\x06\x07cam",
        ]
        .concat();
        let command = Command::decode(17, 1, &body).expect("valid");
        assert_eq!(command.arg(0).and_then(Value::as_str), Some("cam"));
    }

    #[test]
    fn what_is_no_command_is_refused() {
        assert_eq!(Command::decode(20, 0, &[5]), Err(Error::NoName));
        assert_eq!(Command::decode(20, 0, &[]), Err(Error::NoName));
        assert!(matches!(
            Command::decode(20, 0, &[2, 0, 9, b'x']),
            Err(Error::Amf(_))
        ));
        let got = MAX_COMMAND_LEN + 1;
        assert_eq!(
            Command::decode(20, 0, &vec![5; got]),
            Err(Error::CommandLength { got })
        );
    }
}
