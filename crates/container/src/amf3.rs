//! AMF3, as far as RTMP's AMF3 command envelope needs it: values behind AMF0's `avmplus-object` marker. Reading only; they
//! become [`Value`]s, under the same limits.

use crate::amf0::{Budget, Error, MAX_MEMBERS, Value, take};

/// Reads one AMF3 value from the front of `input` and moves `input` behind it.
pub fn decode(input: &mut &[u8]) -> Result<Value, Error> {
    value(input, &mut Tables::default(), &mut Budget::new(), 0)
}

/// What later values of the message may refer to (AMF3, section 2.2). Bounded by the [`Budget`].
#[derive(Default)]
pub(crate) struct Tables {
    texts: Vec<String>,
    traits: Vec<Traits>,
}

#[derive(Clone)]
struct Traits {
    class: String,
    names: Vec<String>,
    dynamic: bool,
}

pub(crate) fn value(
    input: &mut &[u8],
    tables: &mut Tables,
    budget: &mut Budget,
    depth: usize,
) -> Result<Value, Error> {
    budget.value(depth)?;
    let [marker] = take(input, "type marker")?;
    Ok(match marker {
        0x00 => Value::Undefined,
        0x01 => Value::Null,
        0x02 => Value::Boolean(false),
        0x03 => Value::Boolean(true),
        // 29 bits, the upper one the sign.
        0x04 => Value::Number(f64::from((u29(input)? << 3) as i32 >> 3)),
        0x05 => Value::Number(f64::from_be_bytes(take(input, "double")?)),
        0x06 => Value::String(text(input, tables, budget)?),
        0x07 | 0x0b => match reference_or_len(input)? {
            Err(reference) => reference,
            Ok(len) => Value::Xml(budget.text(input, len)?),
        },
        0x08 => match reference_or_len(input)? {
            Err(reference) => reference,
            Ok(_) => Value::Date {
                unix_ms: f64::from_be_bytes(take(input, "date")?),
                zone_minutes: 0,
            },
        },
        0x09 => match reference_or_len(input)? {
            Err(reference) => reference,
            Ok(len) => array(input, len, tables, budget, depth)?,
        },
        0x0a => object(input, tables, budget, depth)?,
        got => return Err(Error::Marker { got }),
    })
}

/// An array: named members up to an empty name, then `len` values. With names it becomes an associative array.
fn array(
    input: &mut &[u8],
    len: usize,
    tables: &mut Tables,
    budget: &mut Budget,
    depth: usize,
) -> Result<Value, Error> {
    let mut members = dynamic_members(input, tables, budget, depth)?;
    let mut values = Vec::new();
    for _ in 0..len {
        values.push(value(input, tables, budget, depth + 1)?);
    }
    if members.is_empty() {
        return Ok(Value::StrictArray(values));
    }
    members.extend(
        values
            .into_iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value)),
    );
    Ok(Value::EcmaArray(members))
}

/// An object: a reference, or traits (by reference or in full) and the members (AMF3, section 3.12).
fn object(input: &mut &[u8], tables: &mut Tables, budget: &mut Budget, depth: usize) -> Result<Value, Error> {
    let head = u29(input)?;
    if head & 1 == 0 {
        return Ok(reference(head >> 1));
    }
    let traits = if head & 2 == 0 {
        let got = (head >> 2) as usize;
        let known = tables.traits.len();
        let traits = tables
            .traits
            .get(got)
            .ok_or(Error::Reference {
                what: "traits",
                got,
                known,
            })?
            .clone();
        budget.text_len(traits.class.len() + traits.names.iter().map(String::len).sum::<usize>())?;
        traits
    } else if head & 4 != 0 {
        // Externalizable classes have a format of their own, known only to the class.
        return Err(Error::Marker { got: 0x0a });
    } else {
        let count = (head >> 4) as usize;
        if count > MAX_MEMBERS {
            return Err(Error::Limit {
                what: "members in an object",
                max: MAX_MEMBERS,
            });
        }
        let class = text(input, tables, budget)?;
        let mut names = Vec::new();
        for _ in 0..count {
            budget.value(depth)?;
            names.push(text(input, tables, budget)?);
        }
        let traits = Traits {
            class,
            names,
            dynamic: head & 8 != 0,
        };
        budget.text_len(traits.class.len() + traits.names.iter().map(String::len).sum::<usize>())?;
        tables.traits.push(traits.clone());
        traits
    };
    let mut members = Vec::new();
    for name in traits.names {
        members.push((name, value(input, tables, budget, depth + 1)?));
    }
    if traits.dynamic {
        members.extend(dynamic_members(input, tables, budget, depth)?);
    }
    Ok(if traits.class.is_empty() {
        Value::Object(members)
    } else {
        Value::TypedObject {
            class: traits.class,
            members,
        }
    })
}

/// Named members up to an empty name.
fn dynamic_members(
    input: &mut &[u8],
    tables: &mut Tables,
    budget: &mut Budget,
    depth: usize,
) -> Result<Vec<(String, Value)>, Error> {
    let mut members = Vec::new();
    loop {
        let name = text(input, tables, budget)?;
        if name.is_empty() {
            return Ok(members);
        }
        if members.len() == MAX_MEMBERS {
            return Err(Error::Limit {
                what: "members in an object",
                max: MAX_MEMBERS,
            });
        }
        members.push((name, value(input, tables, budget, depth + 1)?));
    }
}

/// Text without a type marker. Every text but the empty one can be referred to later.
fn text(input: &mut &[u8], tables: &mut Tables, budget: &mut Budget) -> Result<String, Error> {
    let head = u29(input)?;
    let got = (head >> 1) as usize;
    if head & 1 == 0 {
        let known = tables.texts.len();
        let text = tables.texts.get(got).ok_or(Error::Reference {
            what: "text",
            got,
            known,
        })?;
        budget.text_len(text.len())?;
        return Ok(text.clone());
    }
    let text = budget.text(input, got)?;
    if !text.is_empty() {
        // The table holds it a second time.
        budget.text_len(text.len())?;
        tables.texts.push(text.clone());
    }
    Ok(text)
}

/// `Ok(len)` of a value that follows, or `Err(reference)` to an earlier one.
fn reference_or_len(input: &mut &[u8]) -> Result<Result<usize, Value>, Error> {
    let head = u29(input)?;
    Ok(if head & 1 == 0 {
        Err(reference(head >> 1))
    } else {
        Ok((head >> 1) as usize)
    })
}

fn reference(index: u32) -> Value {
    Value::Reference(u16::try_from(index).unwrap_or(u16::MAX))
}

/// A variable-length unsigned 29-bit integer (AMF3, section 1.3.1).
fn u29(input: &mut &[u8]) -> Result<u32, Error> {
    let mut value = 0;
    for _ in 0..3 {
        let [byte] = take(input, "integer")?;
        value = value << 7 | u32::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    let [byte] = take(input, "integer")?;
    Ok(value << 8 | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Value {
        let mut input = bytes;
        let value = decode(&mut input).unwrap();
        assert_eq!(input, [0u8; 0]);
        value
    }

    #[test]
    fn integers_have_29_bits_and_a_sign() {
        for (bytes, expected) in [
            (&[4, 0x7f][..], 127.0),
            (&[4, 0x81, 0x00], 128.0),
            (&[4, 0xff, 0x7f], 16_383.0),
            (&[4, 0x81, 0x80, 0x00], 16_384.0),
            (&[4, 0x80, 0xc0, 0x80, 0x00], 2_097_152.0),
            (&[4, 0xbf, 0xff, 0xff, 0xff], 268_435_455.0),
            (&[4, 0xff, 0xff, 0xff, 0xff], -1.0),
            (&[4, 0xc0, 0x80, 0x80, 0x00], -268_435_456.0),
        ] {
            assert_eq!(read(bytes), Value::Number(expected));
        }
    }

    #[test]
    fn text_is_referred_to_by_its_number() {
        let list = read(b"\x09\x09\x01\x06\x05ab\x06\x01\x06\x03c\x06\x00");
        assert_eq!(
            list,
            Value::StrictArray(vec!["ab".into(), "".into(), "c".into(), "ab".into()])
        );
        let unknown = Error::Reference {
            what: "text",
            got: 1,
            known: 0,
        };
        assert_eq!(decode(&mut &b"\x06\x02"[..]), Err(unknown));
    }

    #[test]
    fn objects_have_traits_that_later_ones_share() {
        // Two objects of class "P" with sealed member "x"; the second refers to the traits of the first.
        let list = read(b"\x09\x05\x01\x0a\x13\x03P\x03x\x04\x01\x0a\x01\x04\x02");
        let point = |x: f64| Value::TypedObject {
            class: "P".into(),
            members: vec![("x".into(), x.into())],
        };
        assert_eq!(list, Value::StrictArray(vec![point(1.0), point(2.0)]));
        // Anonymous and dynamic.
        let dynamic = read(b"\x0a\x0b\x01\x03a\x03\x03b\x02\x01");
        assert_eq!(dynamic, Value::object([("a", true.into()), ("b", false.into())]));
        // Externalizable.
        assert_eq!(decode(&mut &b"\x0a\x07\x03P"[..]), Err(Error::Marker { got: 10 }));
    }

    #[test]
    fn the_other_types() {
        assert_eq!(read(&[0]), Value::Undefined);
        assert_eq!(read(&[1]), Value::Null);
        assert_eq!(read(b"\x05\x40\x59\0\0\0\0\0\0"), Value::Number(100.0));
        assert_eq!(
            read(b"\x08\x01\x40\x59\0\0\0\0\0\0"),
            Value::Date {
                unix_ms: 100.0,
                zone_minutes: 0
            }
        );
        assert_eq!(read(b"\x0b\x09<a/>"), Value::Xml("<a/>".into()));
        assert_eq!(
            read(b"\x09\x03\x03k\x01\x01\x03"),
            Value::ecma_array([("k", Value::Null), ("0", true.into())])
        );
        assert_eq!(read(b"\x09\x02"), Value::Reference(1));
        assert_eq!(decode(&mut &[0x0c, 1][..]), Err(Error::Marker { got: 12 }));
    }

    #[test]
    fn amf0_switches_with_its_marker() {
        let values = crate::amf0::decode_all(b"\x11\x06\x05hi\x05").unwrap();
        assert_eq!(values, ["hi".into(), Value::Null]);
    }
}
