//! Bytes of an FLV file or HTTP body to tags.

use super::tag::{FILE_HEADER_LEN, PREVIOUS_TAG_SIZE_LEN, TAG_HEADER_LEN};
use super::{Error, MAX_BODY_LEN, Tag, TagType};
use bytes::{Buf, Bytes, BytesMut};

/// What the file header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The video flag. Many servers set both flags always.
    pub video: bool,
    /// The audio flag.
    pub audio: bool,
}

/// A push parser: give it bytes with [`Self::push`], then take tags with [`Self::next`] until it has none.
///
/// It holds at most one tag plus what was pushed since the last `None`. `PreviousTagSize` fields are not checked, since they
/// are wrong in files of several old encoders and nothing is gained by them; tags of unknown types are skipped and counted.
#[derive(Debug)]
pub struct Reader {
    buffer: BytesMut,
    max_body: usize,
    state: State,
    header: Option<Header>,
    /// Offset in the stream of the first byte in `buffer`.
    at: u64,
    clock: Clock,
    skipped: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    /// This many bytes go unread, then tags begin.
    Skip(usize),
    Tag,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader at the start of a file, with the largest tags that the format allows.
    pub fn new() -> Self {
        Self::with_max_body(MAX_BODY_LEN)
    }

    /// A reader that refuses tags with bodies longer than `max_body` bytes.
    pub fn with_max_body(max_body: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            max_body,
            state: State::Header,
            header: None,
            at: 0,
            clock: Clock::default(),
            skipped: 0,
        }
    }

    /// Adds bytes to what is to be read. Not copied if everything before was used up and nobody else holds them.
    pub fn push(&mut self, bytes: Bytes) {
        if !self.buffer.is_empty() {
            self.buffer.extend_from_slice(&bytes);
            return;
        }
        match bytes.try_into_mut() {
            Ok(bytes) => self.buffer = bytes,
            Err(bytes) => self.buffer.extend_from_slice(&bytes),
        }
    }

    /// The next tag; `None` when more bytes are needed. After an error the reader is useless.
    #[allow(clippy::should_implement_trait)] // Not an iterator: `None` is not the end.
    pub fn next(&mut self) -> Result<Option<Tag>, Error> {
        loop {
            match self.state {
                State::Header => {
                    let Some(header) = self.buffer.first_chunk::<FILE_HEADER_LEN>() else {
                        return Ok(None);
                    };
                    let [f, l, v, _version, flags, offset @ ..] = *header;
                    if [f, l, v] != *b"FLV" {
                        return Err(Error::Signature { got: [f, l, v] });
                    }
                    let offset = u32::from_be_bytes(offset);
                    if !(FILE_HEADER_LEN as u32..=MAX_DATA_OFFSET).contains(&offset) {
                        return Err(Error::DataOffset {
                            got: offset,
                            max: MAX_DATA_OFFSET,
                        });
                    }
                    self.header = Some(Header {
                        video: flags & 1 != 0,
                        audio: flags & 4 != 0,
                    });
                    self.state = State::Skip(offset as usize + PREVIOUS_TAG_SIZE_LEN);
                }
                State::Skip(left) => {
                    let now = left.min(self.buffer.len());
                    self.consume(now);
                    if now < left {
                        self.state = State::Skip(left - now);
                        return Ok(None);
                    }
                    self.state = State::Tag;
                }
                State::Tag => {
                    let Some(header) = self.buffer.first_chunk::<TAG_HEADER_LEN>() else {
                        return Ok(None);
                    };
                    let [kind, len2, len1, len0, time2, time1, time0, time3, _stream @ ..] = *header;
                    if kind & 0xe0 != 0 {
                        return Err(Error::TagType {
                            at: self.at,
                            got: kind,
                        });
                    }
                    let len = u32::from_be_bytes([0, len2, len1, len0]) as usize;
                    if len > self.max_body {
                        return Err(Error::TagTooLarge {
                            at: self.at,
                            got: len,
                            max: self.max_body,
                        });
                    }
                    let Some(tag_type) = TagType::from_id(kind) else {
                        self.skipped = self.skipped.saturating_add(1);
                        self.state = State::Skip(TAG_HEADER_LEN + len + PREVIOUS_TAG_SIZE_LEN);
                        continue;
                    };
                    if self.buffer.len() < TAG_HEADER_LEN + len {
                        let missing = TAG_HEADER_LEN + len - self.buffer.len();
                        self.buffer.reserve(missing.min(MAX_RESERVE));
                        return Ok(None);
                    }
                    let timestamp_ms = self
                        .clock
                        .extend(u32::from_be_bytes([time3, time2, time1, time0]));
                    self.consume(TAG_HEADER_LEN);
                    let body = self.buffer.split_to(len).freeze();
                    self.at = self.at.saturating_add(len as u64);
                    self.state = State::Skip(PREVIOUS_TAG_SIZE_LEN);
                    return Ok(Some(Tag {
                        tag_type,
                        timestamp_ms,
                        body,
                    }));
                }
            }
        }
    }

    /// The file header, once it was read.
    pub fn header(&self) -> Option<Header> {
        self.header
    }

    /// Tags of unknown types so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn consume(&mut self, count: usize) {
        self.buffer.advance(count);
        self.at = self.at.saturating_add(count as u64);
    }
}

/// Extends the 32-bit milliseconds of the wire, which wrap after 49.7 days: each time is taken as the one nearest to the
/// time before, but never as one below 0. So the headers at time 0 that many servers put before a stream do not mislead.
#[derive(Clone, Copy, Debug, Default)]
struct Clock(Option<i64>);

impl Clock {
    fn extend(&mut self, wire: u32) -> i64 {
        let extended = match self.0 {
            None => i64::from(wire),
            Some(last) => last.saturating_add(i64::from(wire.wrapping_sub(last as u32) as i32)),
        };
        let extended = if extended < 0 {
            extended + (1 << 32)
        } else {
            extended
        };
        self.0 = Some(extended);
        extended
    }
}

/// Largest file header. It is 9 bytes in every known version; later ones may be longer.
const MAX_DATA_OFFSET: u32 = 1024;
/// Most memory reserved on the word of a tag header alone; beyond it the buffer grows with what really comes.
const MAX_RESERVE: usize = 1 << 20;
