//! AMF0 (Adobe Action Message Format 0): the values of FLV script tags and RTMP commands.
//!
//! Reading is bounded in nesting, members, values and text, so no message can cost more than a small multiple of its size.

use crate::amf3;

/// Deepest accepted nesting of objects and arrays. Commands need 3.
pub const MAX_DEPTH: usize = 16;

/// Most members accepted in one object. Metadata has about 30.
pub const MAX_MEMBERS: usize = 1_000;

/// Most values accepted in one message. Metadata of files has an index with two numbers per key frame.
pub const MAX_VALUES: usize = 16_384;

/// Most bytes of text accepted in one message, names included. References let AMF3 repeat text at the cost of a byte.
pub const MAX_TEXT_LEN: usize = 1 << 20;

/// A value. AMF3 values are read into the same type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number; also AMF3's 29-bit integers.
    Number(f64),
    /// A boolean.
    Boolean(bool),
    /// Text, short or long. Bytes that are not UTF-8 were replaced.
    String(String),
    /// An anonymous object, members in order.
    Object(Vec<(String, Value)>),
    /// Null.
    Null,
    /// Undefined.
    Undefined,
    /// An earlier object of the message, by index. Not resolved, so that no message grows by being read.
    Reference(u16),
    /// An associative array.
    EcmaArray(Vec<(String, Value)>),
    /// A list.
    StrictArray(Vec<Value>),
    /// A point in time.
    Date {
        /// Milliseconds since 1970 in UTC.
        unix_ms: f64,
        /// Minutes; reserved, always 0 by the standard.
        zone_minutes: i16,
    },
    /// An XML document as text.
    Xml(String),
    /// An object with a class name.
    TypedObject {
        /// Name of the class.
        class: String,
        /// Members in order.
        members: Vec<(String, Value)>,
    },
}

/// Why a value cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The message ends inside a value.
    #[error("AMF: {what} needs {need} bytes, {got} there")]
    Truncated {
        /// The part.
        what: &'static str,
        /// Bytes it takes.
        need: usize,
        /// Bytes that are left.
        got: usize,
    },
    /// A type marker that is reserved or not defined.
    #[error("AMF: type marker {got:#04x} is not supported")]
    Marker {
        /// The marker.
        got: u8,
    },
    /// A limit of this reader.
    #[error("AMF: more than {max} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A reference to text or a class that was not sent before.
    #[error("AMF3: {what} reference {got}, {known} known")]
    Reference {
        /// Text or traits.
        what: &'static str,
        /// The index.
        got: usize,
        /// How many there are.
        known: usize,
    },
    /// An object ends without its end marker.
    #[error("AMF0: object without end marker 00 00 09")]
    NoObjectEnd,
}

impl Value {
    /// An anonymous object.
    pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        Self::Object(own(members))
    }

    /// An associative array.
    pub fn ecma_array<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        Self::EcmaArray(own(members))
    }

    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Number(_)
            | Self::Boolean(_)
            | Self::Object(_)
            | Self::Null
            | Self::Undefined
            | Self::Reference(_)
            | Self::EcmaArray(_)
            | Self::StrictArray(_)
            | Self::Date { .. }
            | Self::Xml(_)
            | Self::TypedObject { .. } => None,
        }
    }

    /// The number, if it is a number.
    pub fn as_f64(&self) -> Option<f64> {
        if let Self::Number(number) = self {
            Some(*number)
        } else {
            None
        }
    }

    /// The boolean; numbers count as true unless 0, since some encoders write 1 and 0.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Boolean(flag) = self {
            Some(*flag)
        } else {
            self.as_f64().map(|number| number != 0.0)
        }
    }

    /// The members of an object, a typed object or an associative array.
    pub fn members(&self) -> Option<&[(String, Value)]> {
        match self {
            Self::Object(members) | Self::EcmaArray(members) | Self::TypedObject { members, .. } => {
                Some(members)
            }
            Self::Number(_)
            | Self::Boolean(_)
            | Self::String(_)
            | Self::Null
            | Self::Undefined
            | Self::Reference(_)
            | Self::StrictArray(_)
            | Self::Date { .. }
            | Self::Xml(_) => None,
        }
    }

    /// The first member of that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members()?
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value)
    }
}

fn own<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Vec<(String, Value)> {
    members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Boolean(flag)
    }
}

/// Reads one value from the front of `input` and moves `input` behind it.
pub fn decode(input: &mut &[u8]) -> Result<Value, Error> {
    value(input, &mut Budget::new(), 0)
}

/// Reads values until `input` is used up. One set of limits holds for all of them together.
pub fn decode_all(mut input: &[u8]) -> Result<Vec<Value>, Error> {
    let mut budget = Budget::new();
    let mut values = Vec::new();
    while !input.is_empty() {
        values.push(value(&mut input, &mut budget, 0)?);
    }
    Ok(values)
}

/// Appends a value to `out`. Text beyond 65,535 bytes becomes a long string; a member whose name is longer than that, which no
/// reader could take, is left out.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Number(number) => {
            out.push(NUMBER);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Boolean(flag) => out.extend_from_slice(&[BOOLEAN, u8::from(*flag)]),
        Value::String(text) => match u16::try_from(text.len()) {
            Ok(len) => {
                out.push(STRING);
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            }
            Err(_) => encode_long(LONG_STRING, text, out),
        },
        Value::Object(members) => {
            out.push(OBJECT);
            encode_members(members, out);
        }
        Value::Null => out.push(NULL),
        Value::Undefined => out.push(UNDEFINED),
        Value::Reference(index) => {
            out.push(REFERENCE);
            out.extend_from_slice(&index.to_be_bytes());
        }
        Value::EcmaArray(members) => {
            out.push(ECMA_ARRAY);
            out.extend_from_slice(&(members.len() as u32).to_be_bytes());
            encode_members(members, out);
        }
        Value::StrictArray(values) => {
            out.push(STRICT_ARRAY);
            out.extend_from_slice(&(values.len() as u32).to_be_bytes());
            for value in values {
                encode(value, out);
            }
        }
        Value::Date {
            unix_ms,
            zone_minutes,
        } => {
            out.push(DATE);
            out.extend_from_slice(&unix_ms.to_be_bytes());
            out.extend_from_slice(&zone_minutes.to_be_bytes());
        }
        Value::Xml(text) => encode_long(XML_DOCUMENT, text, out),
        Value::TypedObject { class, members } => {
            out.push(TYPED_OBJECT);
            encode_name(class, out);
            encode_members(members, out);
        }
    }
}

fn encode_members(members: &[(String, Value)], out: &mut Vec<u8>) {
    for (name, value) in members {
        if encode_name(name, out) {
            encode(value, out);
        }
    }
    out.extend_from_slice(&[0, 0, OBJECT_END]);
}

/// Whether the name was short enough to be written.
fn encode_name(name: &str, out: &mut Vec<u8>) -> bool {
    let Ok(len) = u16::try_from(name.len()) else {
        return false;
    };
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(name.as_bytes());
    true
}

fn encode_long(marker: u8, text: &str, out: &mut Vec<u8>) {
    out.push(marker);
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn value(input: &mut &[u8], budget: &mut Budget, depth: usize) -> Result<Value, Error> {
    budget.value(depth)?;
    let [marker] = take(input, "type marker")?;
    Ok(match marker {
        NUMBER => Value::Number(f64::from_be_bytes(take(input, "number")?)),
        BOOLEAN => Value::Boolean(take::<1>(input, "boolean")? != [0]),
        STRING => Value::String(short_text(input, budget)?),
        OBJECT => Value::Object(members(input, budget, depth)?),
        NULL => Value::Null,
        UNDEFINED => Value::Undefined,
        REFERENCE => Value::Reference(u16::from_be_bytes(take(input, "reference")?)),
        ECMA_ARRAY => {
            // The count is a hint only; encoders write 0 or a wrong one. The end marker counts.
            take::<4>(input, "array length")?;
            Value::EcmaArray(members(input, budget, depth)?)
        }
        STRICT_ARRAY => {
            let count = u32::from_be_bytes(take(input, "array length")?);
            let mut values = Vec::new();
            for _ in 0..count {
                values.push(value(input, budget, depth + 1)?);
            }
            Value::StrictArray(values)
        }
        DATE => Value::Date {
            unix_ms: f64::from_be_bytes(take(input, "date")?),
            zone_minutes: i16::from_be_bytes(take(input, "time zone")?),
        },
        LONG_STRING => Value::String(long_text(input, budget)?),
        XML_DOCUMENT => Value::Xml(long_text(input, budget)?),
        TYPED_OBJECT => Value::TypedObject {
            class: short_text(input, budget)?,
            members: members(input, budget, depth)?,
        },
        AVM_PLUS => amf3::value(input, &mut amf3::Tables::default(), budget, depth)?,
        // 0x04 movie clip, 0x0d unsupported and 0x0e record set are reserved (AMF0, sections 2.6, 2.14, 2.16).
        got => return Err(Error::Marker { got }),
    })
}

/// Members up to the end marker.
fn members(input: &mut &[u8], budget: &mut Budget, depth: usize) -> Result<Vec<(String, Value)>, Error> {
    let mut members = Vec::new();
    loop {
        if input.is_empty() {
            return Err(Error::NoObjectEnd);
        }
        let name = short_text(input, budget)?;
        if name.is_empty() && input.first() == Some(&OBJECT_END) {
            *input = &input[1..];
            return Ok(members);
        }
        if members.len() == MAX_MEMBERS {
            return Err(Error::Limit {
                what: "members in an object",
                max: MAX_MEMBERS,
            });
        }
        members.push((name, value(input, budget, depth + 1)?));
    }
}

fn short_text(input: &mut &[u8], budget: &mut Budget) -> Result<String, Error> {
    let len = u16::from_be_bytes(take(input, "text length")?);
    budget.text(input, usize::from(len))
}

fn long_text(input: &mut &[u8], budget: &mut Budget) -> Result<String, Error> {
    let len = u32::from_be_bytes(take(input, "text length")?);
    budget.text(input, usize::try_from(len).unwrap_or(usize::MAX))
}

/// The next `N` bytes.
pub(crate) fn take<const N: usize>(input: &mut &[u8], what: &'static str) -> Result<[u8; N], Error> {
    let (head, rest) = input.split_first_chunk::<N>().ok_or(Error::Truncated {
        what,
        need: N,
        got: input.len(),
    })?;
    *input = rest;
    Ok(*head)
}

/// What reading one message may still cost.
pub(crate) struct Budget {
    values: usize,
    text: usize,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self {
            values: MAX_VALUES,
            text: MAX_TEXT_LEN,
        }
    }

    /// Pays for one value at `depth`.
    pub(crate) fn value(&mut self, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::Limit {
                what: "levels of nesting",
                max: MAX_DEPTH,
            });
        }
        self.values = self.values.checked_sub(1).ok_or(Error::Limit {
            what: "values in a message",
            max: MAX_VALUES,
        })?;
        Ok(())
    }

    /// Pays for `len` bytes of text that are stored once more.
    pub(crate) fn text_len(&mut self, len: usize) -> Result<(), Error> {
        self.text = self.text.checked_sub(len).ok_or(Error::Limit {
            what: "bytes of text in a message",
            max: MAX_TEXT_LEN,
        })?;
        Ok(())
    }

    /// Pays for and takes `len` bytes of text.
    pub(crate) fn text(&mut self, input: &mut &[u8], len: usize) -> Result<String, Error> {
        let (text, rest) = input.split_at_checked(len).ok_or(Error::Truncated {
            what: "text",
            need: len,
            got: input.len(),
        })?;
        self.text_len(len)?;
        *input = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}

// Type markers (AMF0, section 2.1).
const NUMBER: u8 = 0x00;
const BOOLEAN: u8 = 0x01;
const STRING: u8 = 0x02;
const OBJECT: u8 = 0x03;
const NULL: u8 = 0x05;
const UNDEFINED: u8 = 0x06;
const REFERENCE: u8 = 0x07;
const ECMA_ARRAY: u8 = 0x08;
const OBJECT_END: u8 = 0x09;
const STRICT_ARRAY: u8 = 0x0a;
const DATE: u8 = 0x0b;
const LONG_STRING: u8 = 0x0c;
const XML_DOCUMENT: u8 = 0x0f;
const TYPED_OBJECT: u8 = 0x10;
const AVM_PLUS: u8 = 0x11;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, &mut out);
        out
    }

    #[test]
    fn a_command_is_what_flash_wrote() {
        let connect = [
            Value::from("connect"),
            Value::from(1.0),
            Value::object([
                ("app", "live".into()),
                ("fpad", false.into()),
                ("audioCodecs", 4071.0.into()),
            ]),
        ];
        let mut bytes = Vec::new();
        connect.iter().for_each(|value| encode(value, &mut bytes));
        let expected = [
            &b"\x02\x00\x07connect\x00\x3f\xf0\0\0\0\0\0\0"[..],
            b"\x03\x00\x03app\x02\x00\x04live\x00\x04fpad\x01\x00",
            b"\x00\x0baudioCodecs\x00\x40\xaf\xce\0\0\0\0\0\x00\x00\x09",
        ];
        assert_eq!(bytes, expected.concat());
        assert_eq!(decode_all(&bytes), Ok(connect.to_vec()));
        assert_eq!(connect[2].get("app").and_then(Value::as_str), Some("live"));
        assert_eq!(connect[2].get("none"), None);
    }

    #[test]
    fn reading_moves_the_input_behind_the_value() {
        let mut input = &b"\x05\x01\x01\x06"[..];
        assert_eq!(decode(&mut input), Ok(Value::Null));
        assert_eq!(decode(&mut input), Ok(Value::Boolean(true)));
        assert_eq!(input, [6]);
    }

    #[test]
    fn an_array_ends_with_its_marker_whatever_its_count_says() {
        let bytes = b"\x08\xff\xff\xff\xff\0\x01a\x05\0\0\x09";
        assert_eq!(
            decode_all(bytes),
            Ok(vec![Value::ecma_array([("a", Value::Null)])])
        );
        assert_eq!(decode_all(&bytes[..9]), Err(Error::NoObjectEnd));
    }

    #[test]
    fn reserved_types_and_cut_values_are_errors() {
        for marker in [0x04, 0x09, 0x0d, 0x0e, 0x12, 0xff] {
            assert_eq!(decode_all(&[marker]), Err(Error::Marker { got: marker }));
        }
        assert_eq!(
            decode_all(b"\x02\0\x05ab"),
            Err(Error::Truncated {
                what: "text",
                need: 5,
                got: 2
            })
        );
        assert_eq!(
            decode_all(b"\0\0"),
            Err(Error::Truncated {
                what: "number",
                need: 8,
                got: 1
            })
        );
    }

    #[test]
    fn long_text_and_text_that_is_not_utf_8() {
        let long = Value::String("x".repeat(70_000));
        assert_eq!(encoded(&long)[..5], [12, 0, 1, 0x11, 0x70]);
        assert_eq!(decode_all(&encoded(&long)), Ok(vec![long]));
        assert_eq!(decode_all(b"\x02\0\x02a\xff"), Ok(vec!["a\u{fffd}".into()]));
        let too_long_a_name = Value::Object(vec![("n".repeat(65_536), Value::Null)]);
        assert_eq!(encoded(&too_long_a_name), [3, 0, 0, 9]);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (-1e18..1e18f64).prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,20}".prop_map(Value::String),
            ".{0,20}".prop_map(Value::Xml),
            Just(Value::Null),
            Just(Value::Undefined),
            any::<u16>().prop_map(Value::Reference),
            (0.0..1e15f64, any::<i16>()).prop_map(|(unix_ms, zone_minutes)| Value::Date {
                unix_ms,
                zone_minutes
            }),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let members = proptest::collection::vec((".{0,10}", inner.clone()), 0..6);
            prop_oneof![
                members.clone().prop_map(Value::Object),
                members.clone().prop_map(Value::EcmaArray),
                (".{0,10}", members).prop_map(|(class, members)| Value::TypedObject { class, members }),
                proptest::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_survive_the_wire(value in value()) {
            prop_assert_eq!(decode_all(&encoded(&value)), Ok(vec![value]));
        }
    }
}
