//! The chunk reader against every way of writing chunks.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rtmp::chunk::{Error, Header, Limits, Message, Reader, Writer, split};
use std::collections::VecDeque;

const EXTENDED: u32 = 0xFF_FFFF;

/// Chunks to be sent on one chunk stream; the last of each message carries what the reader must give for it.
type Queue = VecDeque<(Option<Message>, Vec<u8>)>;

/// Writes as many kinds of header as the format has; the crate's own writer only uses two.
struct AnyWriter {
    chunk_size: usize,
    /// Whether type 3 headers inside a message repeat the extended timestamp.
    repeats_extended: bool,
    last: Vec<(Sent, u32)>,
}

#[derive(Clone, Debug)]
struct Sent {
    csid: u32,
    type_id: u8,
    stream_id: u32,
    timestamp: u32,
    body: Vec<u8>,
}

impl Sent {
    fn message(&self) -> Message {
        Message {
            csid: self.csid,
            type_id: self.type_id,
            stream_id: self.stream_id,
            timestamp_ms: self.timestamp.into(),
            body: Bytes::copy_from_slice(&self.body),
        }
    }
}

fn basic(fmt: u8, csid: u32) -> Vec<u8> {
    match csid {
        2..64 => vec![fmt << 6 | csid as u8],
        64..320 => vec![fmt << 6, (csid - 64) as u8],
        _ => vec![fmt << 6 | 1, ((csid - 64) & 0xFF) as u8, ((csid - 64) >> 8) as u8],
    }
}

impl AnyWriter {
    /// The chunks of a message; `best` is the smallest header type that may be used.
    fn chunks(&mut self, message: &Sent, best: u8) -> Vec<Vec<u8>> {
        let known = self.last.iter().position(|(last, _)| last.csid == message.csid);
        let (fmt, field) = match known.map(|index| &self.last[index]) {
            Some((last, last_field)) if last.stream_id == message.stream_id => {
                let delta = message.timestamp.wrapping_sub(last.timestamp);
                let same = last.type_id == message.type_id && last.body.len() == message.body.len();
                match same {
                    true if delta == *last_field && delta < EXTENDED => (3.min(best), delta),
                    true => (2.min(best), delta),
                    false => (1.min(best), delta),
                }
            }
            _ => (0, 0),
        };
        let field = if fmt == 0 { message.timestamp } else { field };
        let extended = if field >= EXTENDED {
            field.to_be_bytes().to_vec()
        } else {
            vec![]
        };
        let mut header = basic(fmt, message.csid);
        if fmt < 3 {
            header.extend_from_slice(&field.min(EXTENDED).to_be_bytes()[1..]);
        }
        if fmt < 2 {
            header.extend_from_slice(&(message.body.len() as u32).to_be_bytes()[1..]);
            header.push(message.type_id);
        }
        if fmt == 0 {
            header.extend_from_slice(&message.stream_id.to_le_bytes());
        }
        header.extend_from_slice(&extended);
        match known {
            Some(index) => self.last[index] = (message.clone(), field),
            None => self.last.push((message.clone(), field)),
        }

        let mut next = basic(3, message.csid);
        if self.repeats_extended {
            next.extend_from_slice(&extended);
        }
        let mut pieces: Vec<&[u8]> = message.body.chunks(self.chunk_size).collect();
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        let headers = std::iter::once(&header).chain(std::iter::repeat(&next));
        headers
            .zip(pieces)
            .map(|(header, piece)| [header, piece].concat())
            .collect()
    }
}

/// Feeds `bytes` in pieces whose lengths are taken from `cuts`, over and over.
fn read(reader: &mut Reader, bytes: &[u8], cuts: &[usize]) -> Result<Vec<Message>, Error> {
    let mut input = BytesMut::new();
    let mut messages = Vec::new();
    let mut cuts = cuts.iter().cycle();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((*cuts.next().expect("cuts")).clamp(1, rest.len()));
        input.extend_from_slice(piece);
        rest = after;
        while let Some(message) = reader.next(&mut input)? {
            messages.push(message);
        }
    }
    Ok(messages)
}

fn sent() -> impl Strategy<Value = Sent> {
    let csid = prop_oneof![Just(3u32), Just(63), Just(64), Just(319), Just(320), Just(65_599)];
    let timestamp = prop_oneof![
        0u32..200,
        // Even steps, so that headers of type 3 start messages.
        (0u32..10).prop_map(|step| step * 20),
        0xFF_FFF0..0x100_0010u32,
        0x7F00_0000..0x7F00_0100u32,
    ];
    let len = prop_oneof![0usize..4, 100usize..300, Just(128), Just(256), Just(150)];
    (
        csid,
        prop_oneof![Just(8u8), Just(9), Just(18), Just(20)],
        0u32..2,
        timestamp,
        len,
    )
        .prop_map(|(csid, type_id, stream_id, timestamp, len)| {
            // Payload bytes have their upper bit set, so none looks like the first byte of a time below 2^31.
            let body = (0..len).map(|index| 0x80 | index as u8).collect();
            Sent {
                csid,
                type_id,
                stream_id,
                timestamp,
                body,
            }
        })
}

proptest! {
    #[test]
    fn any_chunk_size_header_form_interleaving_and_fragmentation_gives_the_same_messages(
        mut messages in prop::collection::vec((sent(), 0u8..4), 1..20),
        chunk_size in 1usize..400,
        repeats_extended: bool,
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..50),
        cuts in prop::collection::vec(1usize..300, 1..10),
    ) {
        // Time never runs backwards here: the writer has no negative deltas.
        messages.sort_by_key(|(message, _)| message.timestamp);
        let mut writer = AnyWriter { chunk_size, repeats_extended, last: Vec::new() };
        let mut set_size = vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];
        set_size.extend_from_slice(&(chunk_size as u32).to_be_bytes());

        // One queue for each chunk stream; any of them may send its next chunk.
        let mut queues: Vec<(u32, Queue)> = Vec::new();
        for (message, best) in &messages {
            let index = queues.iter().position(|(csid, _)| *csid == message.csid).unwrap_or_else(|| {
                queues.push((message.csid, Default::default()));
                queues.len() - 1
            });
            let mut chunks = writer.chunks(message, *best);
            let last = chunks.pop().expect("a chunk");
            queues[index].1.extend(chunks.into_iter().map(|chunk| (None, chunk)));
            queues[index].1.push_back((Some(message.message()), last));
        }
        let (mut bytes, mut expected) = (set_size, Vec::new());
        let mut picks = picks.iter().cycle();
        while !queues.is_empty() {
            let pick = picks.next().expect("picks").index(queues.len());
            let (done, chunk) = queues[pick].1.pop_front().expect("no empty queue is kept");
            bytes.extend_from_slice(&chunk);
            expected.extend(done);
            queues.retain(|(_, queue)| !queue.is_empty());
        }

        let mut reader = Reader::new(Limits::default());
        prop_assert_eq!(read(&mut reader, &bytes, &cuts), Ok(expected));
        prop_assert_eq!(reader.position(), bytes.len() as u64);
    }

    #[test]
    fn what_the_crate_writes_it_reads(
        messages in prop::collection::vec(sent(), 1..10),
        size in 128u32..1000,
        cuts in prop::collection::vec(1usize..500, 1..10),
    ) {
        let mut writer = Writer::default();
        let mut whole = BytesMut::new();
        writer.set_chunk_size(size, &mut whole);
        let mut cut = whole.to_vec();
        let mut arena = BytesMut::new();
        for Sent { csid, type_id, stream_id, timestamp, body } in &messages {
            let header = Header { csid: *csid, type_id: *type_id, stream_id: *stream_id, timestamp: *timestamp };
            writer.write(&header, body, &mut whole);
            let (head, rest) = body.split_at(body.len().min(5));
            let (a, b) = rest.split_at(rest.len() / 3);
            let payload = [Bytes::copy_from_slice(a), Bytes::copy_from_slice(b)];
            let mut parts = media::mux::Parts::new();
            prop_assert!(split(&header, size, head, &payload, &mut arena, &mut parts));
            cut.extend(parts.iter().flatten());
        }
        prop_assert_eq!(&cut[..], &whole[..], "both writers agree");
        let got = read(&mut Reader::new(Limits::default()), &whole, &cuts).expect("valid");
        let modulo = |message: &Message| (message.timestamp_ms as u32, message.body.clone());
        prop_assert_eq!(
            got.iter().map(modulo).collect::<Vec<_>>(),
            messages.iter().map(|sent| modulo(&sent.message())).collect::<Vec<_>>()
        );
    }

    #[test]
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        cuts in prop::collection::vec(1usize..100, 1..5),
    ) {
        let limits = Limits { max_message_bytes: 500, max_chunk_streams: 4, max_buffered_bytes: 800 };
        let _ = read(&mut Reader::new(limits), &bytes, &cuts);
    }

    #[test]
    fn plausible_bytes_never_panic(
        chunks in prop::collection::vec((0u8..4, 2u8..6, prop::collection::vec(0u8..8, 0..40)), 0..60),
        cuts in prop::collection::vec(1usize..100, 1..5),
    ) {
        let bytes: Vec<u8> = chunks.iter().flat_map(|(fmt, csid, rest)| {
            std::iter::once(fmt << 6 | csid).chain(rest.iter().copied())
        }).collect();
        let _ = read(&mut Reader::new(Limits::default()), &bytes, &cuts);
    }
}

/// A type 0 header on a chunk stream below 64.
fn first(csid: u8, field: u32, length: u32, type_id: u8) -> Vec<u8> {
    let (time, len) = (field.to_be_bytes(), length.to_be_bytes());
    vec![
        csid, time[1], time[2], time[3], len[1], len[2], len[3], type_id, 1, 0, 0, 0,
    ]
}

fn read_all(bytes: &[u8]) -> Result<Vec<Message>, Error> {
    read(&mut Reader::new(Limits::default()), bytes, &[usize::MAX])
}

#[track_caller]
fn fails(bytes: &[u8], limits: Limits, expected: Error) {
    assert_eq!(
        read(&mut Reader::new(limits), bytes, &[usize::MAX]),
        Err(expected.clone())
    );
    assert_eq!(read(&mut Reader::new(limits), bytes, &[1]), Err(expected));
}

#[test]
fn a_message_in_one_chunk_is_cut_from_the_read_buffer() {
    let mut input = BytesMut::from(&[first(4, 0, 100, 8), vec![7; 100]].concat()[..]);
    let payload_at = input.as_ptr() as usize + 12;
    let message = Reader::new(Limits::default())
        .next(&mut input)
        .expect("valid")
        .expect("whole");
    assert_eq!(message.body.as_ptr() as usize, payload_at, "not copied");
}

#[test]
fn a_type_3_header_after_type_0_adds_the_timestamp_itself() {
    // ffmpeg sends this when the second delta equals the first time (RTMP 1.0, section 5.3.1.2.4).
    let bytes = [first(4, 23, 1, 8), vec![1], vec![0xC4, 2], vec![0xC4, 3]].concat();
    let times: Vec<_> = read_all(&bytes)
        .expect("valid")
        .iter()
        .map(|message| message.timestamp_ms)
        .collect();
    assert_eq!(times, [23, 46, 69]);
}

#[test]
fn librtmp_may_open_a_chunk_stream_with_type_1() {
    // OBS's first control message, a window size of 2,500,000.
    let messages = read_all(&[0x42, 0, 0, 0, 0, 0, 4, 5, 0, 0x26, 0x25, 0xA0]).expect("valid");
    assert_eq!((messages[0].type_id, messages[0].stream_id), (5, 0));
    for fmt in [2u8, 3] {
        let bytes = [fmt << 6 | 5, 0, 0, 0, 0];
        fails(
            &bytes,
            Limits::default(),
            Error::NothingToRepeat { at: 0, csid: 5, fmt },
        );
    }
}

#[test]
fn extended_timestamps_are_read_from_senders_that_repeat_them_and_from_those_that_do_not() {
    let time = 0x0123_4567u32;
    let start = [first(4, EXTENDED, 300, 9), time.to_be_bytes().to_vec()].concat();
    let body: Vec<u8> = (0..300u32).map(|index| index as u8).collect();
    for repeat in [&time.to_be_bytes()[..], &[]] {
        let bytes = [
            &start,
            &body[..128],
            &[0xC4],
            repeat,
            &body[128..256],
            &[0xC4],
            repeat,
            &body[256..],
        ]
        .concat();
        for cuts in [[1], [usize::MAX]] {
            let messages = read(&mut Reader::new(Limits::default()), &bytes, &cuts).expect("valid");
            assert_eq!(messages.len(), 1);
            assert_eq!(messages[0].timestamp_ms, i64::from(time));
            assert_eq!(messages[0].body, body);
        }
    }
}

#[test]
fn a_last_piece_shorter_than_an_extended_timestamp_is_not_waited_for() {
    let start = [first(4, EXTENDED, 129, 9), vec![1, 0, 0, 0]].concat();
    let bytes = [&start, &[9; 128][..], &[0xC4, 0x55]].concat();
    assert_eq!(
        read_all(&bytes).expect("valid").len(),
        1,
        "0x55 cannot begin the time 0x01000000"
    );
}

#[test]
fn a_new_message_of_type_3_takes_its_extended_timestamp() {
    let absolute = [
        first(4, EXTENDED, 1, 9),
        vec![1, 0, 0, 0, 7],
        vec![0xC4, 1, 0, 0, 40, 7],
    ]
    .concat();
    let delta = [
        first(4, 5, 1, 9),
        vec![7, 0x84, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 7],
        vec![0xC4, 1, 0, 0, 0, 7],
    ]
    .concat();
    let times = |bytes: &[u8]| -> Vec<i64> {
        read_all(bytes)
            .expect("valid")
            .iter()
            .map(|message| message.timestamp_ms)
            .collect()
    };
    assert_eq!(times(&absolute), [0x0100_0000, 0x0100_0028]);
    assert_eq!(times(&delta), [5, 0x0100_0005, 0x0200_0005]);
}

#[test]
fn times_go_on_behind_the_wrap_of_32_bits() {
    let at = |csid, type_id, time: u32| {
        [
            first(csid, EXTENDED, 1, type_id),
            time.to_be_bytes().to_vec(),
            vec![0],
        ]
        .concat()
    };
    let bytes = [
        at(6, 8, 0xFFFF_FFF0),
        at(7, 9, 0xFFFF_FFF8),
        // A delta of 32 across the wrap, then an absolute time.
        vec![0x86, 0, 0, 32, 0],
        [first(7, 0x18, 1, 9), vec![0]].concat(),
        at(6, 8, 0xFFFF_FFFE),
        [first(3, 0, 1, 20), vec![0]].concat(),
    ]
    .concat();
    let times: Vec<_> = read_all(&bytes)
        .expect("valid")
        .iter()
        .map(|message| message.timestamp_ms)
        .collect();
    let wrap = 1i64 << 32;
    assert_eq!(times[..5], [wrap - 16, wrap - 8, wrap + 16, wrap + 24, wrap - 2]);
}

#[test]
fn abort_drops_the_unfinished_message() {
    let abort = [first(2, 0, 4, 2), vec![0, 0, 0, 4]].concat();
    let bytes = [
        first(4, 0, 200, 9),
        vec![1; 128],
        abort,
        first(4, 7, 2, 9),
        vec![2; 2],
    ]
    .concat();
    let messages = read_all(&bytes).expect("valid");
    assert_eq!(messages.len(), 1);
    assert_eq!(
        (messages[0].timestamp_ms, &messages[0].body[..]),
        (7, &[2, 2][..])
    );
}

#[test]
fn chunk_sizes_are_bounded_and_huge_ones_mean_whole_messages() {
    let set = |size: u32| [first(2, 0, 4, 1), size.to_be_bytes().to_vec()].concat();
    for got in [0, 0x8000_0000] {
        fails(&set(got), Limits::default(), Error::ChunkSize { at: 16, got });
    }
    let bytes = [set(0x7FFF_FFFF), first(4, 0, 100_000, 9), vec![1; 100_000]].concat();
    for cuts in [[1000], [usize::MAX]] {
        let messages = read(&mut Reader::new(Limits::default()), &bytes, &cuts).expect("valid");
        assert_eq!(messages[0].body.len(), 100_000);
    }
    let bytes = [set(1), first(4, 0, 2, 9), vec![1, 0xC4, 2]].concat();
    assert_eq!(read_all(&bytes).expect("valid")[0].body, &[1, 2][..]);
}

#[test]
fn lengths_counts_and_sums_have_limits_with_their_numbers() {
    let limits = Limits {
        max_message_bytes: 1000,
        max_chunk_streams: 2,
        max_buffered_bytes: 300,
    };
    let error = Error::MessageLength {
        at: 0,
        csid: 4,
        got: 1001,
        allowed: 1000,
    };
    fails(&first(4, 0, 1001, 9), limits, error);

    let one = |csid| [first(csid, 0, 1, 9), vec![0]].concat();
    let error = Error::ChunkStreams {
        at: 26,
        csid: 6,
        got: 3,
        allowed: 2,
    };
    fails(&[one(4), one(5), first(6, 0, 1, 9)].concat(), limits, error);

    let open = |csid| [first(csid, 0, 200, 9), vec![0; 128]].concat();
    let close = |csid: u8| [vec![0xC0 | csid], vec![0; 72]].concat();
    let two = [open(4), open(5)].concat();
    fails(
        &two,
        Limits {
            max_buffered_bytes: 255,
            ..limits
        },
        Error::Buffered {
            at: 140,
            got: 256,
            allowed: 255,
        },
    );
    // 128 + 128 + 72 bytes are too much; a message that is finished makes room.
    fails(
        &[two, close(4)].concat(),
        limits,
        Error::Buffered {
            at: 280,
            got: 328,
            allowed: 300,
        },
    );
    let after = [open(4), close(4), open(5), close(5), open(4), close(4)].concat();
    assert_eq!(
        read(&mut Reader::new(limits), &after, &[usize::MAX]).map(|messages| messages.len()),
        Ok(3)
    );
}

#[test]
fn a_message_inside_another_on_one_chunk_stream_is_an_error() {
    let bytes = [first(4, 0, 200, 9), vec![0; 128], first(4, 0, 200, 9)].concat();
    fails(
        &bytes,
        Limits::default(),
        Error::InsideMessage {
            at: 140,
            csid: 4,
            fmt: 0,
            got: 128,
            length: 200,
        },
    );
}

#[test]
fn control_messages_need_their_four_bytes() {
    let bytes = [first(2, 0, 3, 1), vec![0; 3]].concat();
    fails(
        &bytes,
        Limits::default(),
        Error::ControlLength {
            at: 15,
            type_id: 1,
            got: 3,
        },
    );
}
