//! Bytes of an enemy: never a panic, and never more than a bounded multiple of what was sent.

use bytes::Bytes;
use container::flv::{Demuxer, Error, MAX_TRACKS, Reader, TagType};
use container::{amf0, amf3};
use proptest::prelude::*;

/// Starts of bodies that lead into every part of the demuxer.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        Just(&b"\x17\x00\0\0\0"[..]),
        Just(&b"\x17\x01\0\0\0"[..]),
        Just(&b"\x1c\x00\0\0\0"[..]),
        Just(&b"\x1c\x01\0\0\0"[..]),
        Just(&b"\x1d\x01\0\0\0"[..]),
        Just(&b"\x90hvc1"[..]),
        Just(&b"\x91hvc1\0\0\0"[..]),
        Just(&b"\x90av01\x81"[..]),
        Just(&b"\x91av01"[..]),
        Just(&b"\x91vp09"[..]),
        Just(&b"\x91vp08"[..]),
        Just(&b"\x96\x20"[..]),
        Just(&b"\x96\x11avc1"[..]),
        Just(&b"\x95\x20mp4a"[..]),
        Just(&b"\x97\x01"[..]),
        Just(&b"\xaf\x00"[..]),
        Just(&b"\xaf\x01"[..]),
        Just(&b"\x90OpusOpusHead"[..]),
        Just(&b"\x2f\xff\xfb"[..]),
        Just(&b"\x02\0\x0aonMetaData"[..]),
        Just(&b""[..]),
    ];
    let rest = proptest::collection::vec(prop_oneof![2 => Just(0u8), 1 => 0u8..32, 1 => any::<u8>()], 0..80);
    (start, rest).prop_map(|(start, rest)| [start, &rest].concat())
}

proptest! {
    #[test]
    fn any_bodies_can_be_read(bodies in proptest::collection::vec((0u8..3, any::<i64>(), body()), 1..12)) {
        let mut demuxer = Demuxer::new();
        for (kind, timestamp, body) in bodies {
            let tag_type = [TagType::Video, TagType::Audio, TagType::Script][usize::from(kind)];
            let len = body.len();
            let _ = demuxer.tag(tag_type, timestamp, body.into());
            let events = std::iter::from_fn(|| demuxer.poll()).count();
            prop_assert!(events <= len + 2);
            prop_assert!(demuxer.tracks().count() <= MAX_TRACKS);
        }
    }

    #[test]
    fn any_bytes_can_be_pushed(
        chunks in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(0u8), Just(9), any::<u8>()], 0..60), 1..10),
        header: bool,
    ) {
        let mut reader = Reader::new();
        if header {
            reader.push(Bytes::from_static(b"FLV\x01\x05\0\0\0\x09\0\0\0\0"));
        }
        for chunk in chunks {
            reader.push(chunk.into());
            while let Ok(Some(_)) = reader.next() {}
        }
    }

    #[test]
    fn any_bytes_can_be_decoded_as_values(data in proptest::collection::vec(prop_oneof![0u8..18, any::<u8>()], 0..200)) {
        let _ = amf0::decode_all(&data);
        let _ = amf3::decode(&mut &data[..]);
        let _ = amf0::decode(&mut &[&[0x11], &data[..]].concat()[..]);
    }
}

#[test]
fn nesting_members_values_and_text_are_bounded() {
    let limit = |what, max| Err(amf0::Error::Limit { what, max });
    // Objects in objects in objects.
    let deep = b"\x03\0\x01a".repeat(amf0::MAX_DEPTH + 2);
    assert_eq!(
        amf0::decode(&mut &deep[..]),
        limit("levels of nesting", amf0::MAX_DEPTH)
    );
    let mut members = vec![3];
    members.extend(b"\0\x01a\x05".repeat(amf0::MAX_MEMBERS + 1));
    assert_eq!(
        amf0::decode(&mut &members[..]),
        limit("members in an object", amf0::MAX_MEMBERS)
    );
    let mut list = b"\x0a\xff\xff\xff\xff".to_vec();
    list.extend(vec![5; amf0::MAX_VALUES + 1]);
    assert_eq!(
        amf0::decode(&mut &list[..]),
        limit("values in a message", amf0::MAX_VALUES)
    );
    // AMF3: one text of 60 kB, named two bytes at a time.
    let mut bomb = b"\x11\x09\x8f\x7f\x01\x06\x87\xa9\x41".to_vec();
    bomb.extend(vec![b'a'; 60_000]);
    bomb.extend(b"\x06\0".repeat(1_000));
    assert_eq!(
        amf0::decode(&mut &bomb[..]),
        limit("bytes of text in a message", amf0::MAX_TEXT_LEN)
    );
}

#[test]
fn a_reader_refuses_what_is_no_flv() {
    let first_error = |bytes: &'static [u8], max| {
        let mut reader = Reader::with_max_body(max);
        reader.push(Bytes::from_static(bytes));
        loop {
            match reader.next() {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    };
    let html = Error::Signature { got: *b"<ht" };
    assert_eq!(first_error(b"<html><body>", 100), Some(html));
    assert_eq!(
        first_error(b"FLV\x01\x05\0\0\0\x08", 100),
        Some(Error::DataOffset { got: 8, max: 1024 })
    );
    let encrypted = b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x29\0\0\0\0\0\0\0\0\0\0";
    assert_eq!(
        first_error(encrypted, 100),
        Some(Error::TagType { at: 13, got: 0x29 })
    );
    let large = b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x09\0\0\x65\0\0\0\0\0\0\0";
    assert_eq!(
        first_error(large, 100),
        Some(Error::TagTooLarge {
            at: 13,
            got: 101,
            max: 100
        })
    );
    assert_eq!(first_error(large, 101), None);
}
