//! Records in a segment file, and how they are found again when some of its bytes are wrong.
//!
//! ```text
//!  file    "TIDEHOOK"  version:u32  crc:u32 of both      then records
//!  record  FF 'T' FE 'G'  length:u32 of the payload  crc:u32  kind:u8  payload
//! ```
//!
//! Numbers are little-endian. The CRC-32 covers length, kind and payload. FF and FE never occur in UTF-8, so no text or JSON that a
//! peer can put into a payload looks like a record, and reading resumes behind a damaged one at the next mark whose checksum is
//! right.

use super::entry::{MAX_BODY, MAX_TEXT};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// The version that is written and read.
pub(super) const VERSION: u32 = 1;

/// Bytes in front of the first record.
pub(super) const FILE_HEAD: u64 = 16;

/// Bytes of a record in front of its payload.
pub(super) const RECORD_HEAD: usize = 13;

/// Longest payload: the longest body, six texts, and the numbers. A longer one cannot have been written.
const MAX_PAYLOAD: usize = MAX_BODY + 6 * MAX_TEXT + 1024;

const FILE_MARK: [u8; 8] = *b"TIDEHOOK";
const MARK: [u8; 4] = [0xFF, b'T', 0xFE, b'G'];

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// In a damaged file, a byte is looked at this often, at most: a file of nothing but marks would take for ever otherwise.
const EFFORT: u64 = 4;

/// Kind of a record that marks an event as done; its payload is the event's number.
pub(super) const DONE: u8 = 1;

/// What stands at the beginning of a file.
pub(super) fn file_head() -> [u8; FILE_HEAD as usize] {
    let mut head = [0; FILE_HEAD as usize];
    head[..8].copy_from_slice(&FILE_MARK);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32fast::hash(&head[..12]);
    head[12..].copy_from_slice(&crc.to_le_bytes());
    head
}

/// What the beginning of a file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileHead {
    /// As we write it.
    Known,
    /// Sound, but of this version.
    Unknown(u32),
    /// Not sound.
    Damaged,
}

/// Reads the beginning of a file.
pub(super) fn read_file_head(file: &File) -> io::Result<FileHead> {
    let mut head = [0; FILE_HEAD as usize];
    match file.read_exact_at(&mut head, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(FileHead::Damaged),
        result => result?,
    }
    let version = u32_at(&head, 8);
    Ok(
        if head[..8] != FILE_MARK || crc32fast::hash(&head[..12]) != u32_at(&head, 12) {
            FileHead::Damaged
        } else if version == VERSION {
            FileHead::Known
        } else {
            FileHead::Unknown(version)
        },
    )
}

/// Appends a record whose payload `payload` writes.
pub(super) fn put(buf: &mut Vec<u8>, kind: u8, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = buf.len();
    buf.extend_from_slice(&MARK);
    buf.extend_from_slice(&[0; 8]);
    buf.push(kind);
    payload(buf);
    let len = u32::try_from(buf.len() - start - RECORD_HEAD).expect("entries check their lengths");
    buf[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    let crc = checksum(len, &buf[start + 12..]);
    buf[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
}

/// Appends the record that marks an event as done.
pub(super) fn put_done(buf: &mut Vec<u8>, seq: u64) {
    put(buf, DONE, |buf| buf.extend_from_slice(&seq.to_le_bytes()));
}

/// The number in the payload of a [`DONE`].
pub(super) fn done_seq(payload: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(payload.try_into().ok()?))
}

/// A sound record.
pub(super) struct Record<'a> {
    pub kind: u8,
    pub payload: &'a [u8],
}

/// What was passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    /// Stretches without a sound record.
    pub regions: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Reads the records of a file, in order. Needs room for the longest record, whatever the file says.
pub(super) struct Scanner {
    file: File,
    /// What was read and is not used up: `buf[used..]`.
    buf: Vec<u8>,
    used: usize,
    /// Offset in the file of `buf[used]`.
    at: u64,
    /// Nothing is read from here on.
    end: u64,
    /// Where a damaged stretch began that has not ended yet.
    bad_from: Option<u64>,
    effort: u64,
    damage: Damage,
}

impl Scanner {
    /// Reads from the first record to `end`.
    pub fn new(file: File, end: u64) -> Self {
        Self {
            file,
            buf: Vec::new(),
            used: 0,
            at: FILE_HEAD,
            end,
            bad_from: None,
            effort: end.saturating_mul(EFFORT),
            damage: Damage::default(),
        }
    }

    /// The file has grown.
    pub fn extend(&mut self, end: u64) {
        self.effort += end.saturating_sub(self.end).saturating_mul(EFFORT);
        self.end = end;
    }

    /// The next sound record, or `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        Ok(self.find()?.map(|(kind, range)| Record {
            kind,
            payload: &self.buf[range],
        }))
    }

    /// Damage between sound records so far.
    pub const fn damage(&self) -> Damage {
        self.damage
    }

    /// Where the last sound record ends, if bytes follow it that belong to none. At the end of the scan.
    pub const fn tail(&self) -> Option<u64> {
        self.bad_from
    }

    fn find(&mut self) -> io::Result<Option<(u8, Range<usize>)>> {
        loop {
            if let Some((kind, len)) = self.sound()? {
                if let Some(from) = self.bad_from.take() {
                    self.damage.regions += 1;
                    self.damage.bytes += self.at - from;
                }
                let payload = self.used + RECORD_HEAD..self.used + RECORD_HEAD + len;
                self.skip(RECORD_HEAD + len);
                return Ok(Some((kind, payload)));
            }
            if self.at >= self.end {
                return Ok(None);
            }
            self.bad_from.get_or_insert(self.at);
            if self.effort == 0 || !self.fill(1)? || !self.seek_mark(1)? {
                self.skip_to_end();
                return Ok(None);
            }
        }
    }

    /// Kind and payload length of the record at this place, if there is one.
    fn sound(&mut self) -> io::Result<Option<(u8, usize)>> {
        if !self.fill(RECORD_HEAD)? {
            return Ok(None);
        }
        let head = &self.buf[self.used..];
        let (len, crc) = (u32_at(head, 4), u32_at(head, 8));
        let length = len as usize;
        if head[..4] != MARK || length > MAX_PAYLOAD || !self.fill(RECORD_HEAD + length)? {
            return Ok(None);
        }
        if self.bad_from.is_some() {
            self.effort = self.effort.saturating_sub(length as u64);
        }
        let rest = &self.buf[self.used + 12..self.used + RECORD_HEAD + length];
        Ok((checksum(len, rest) == crc).then(|| (rest[0], length)))
    }

    /// Goes over some bytes of the buffer, and on to the next one that a record may begin with.
    fn seek_mark(&mut self, over: usize) -> io::Result<bool> {
        self.skip(over);
        while self.fill(1)? {
            let rest = &self.buf[self.used..];
            match rest.iter().position(|&byte| byte == MARK[0]) {
                Some(skip) => {
                    self.skip(skip);
                    return Ok(true);
                }
                None => self.skip(rest.len()),
            }
        }
        Ok(false)
    }

    const fn skip(&mut self, bytes: usize) {
        self.used += bytes;
        self.at += bytes as u64;
    }

    fn skip_to_end(&mut self) {
        self.at = self.end;
        self.buf.clear();
        self.used = 0;
    }

    /// Sees to it that this many bytes are in the buffer; false if the file has fewer.
    fn fill(&mut self, need: usize) -> io::Result<bool> {
        if self.buf.len() - self.used >= need {
            return Ok(true);
        }
        if self.end.saturating_sub(self.at) < need as u64 {
            return Ok(false);
        }
        self.buf.drain(..self.used);
        self.used = 0;
        while self.buf.len() < need {
            let have = self.buf.len();
            let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX) - have;
            self.buf.resize(have + left.min(CHUNK), 0);
            let read = self.file.read_at(&mut self.buf[have..], self.at + have as u64);
            self.buf
                .truncate(have + read.as_ref().copied().unwrap_or_default());
            match read {
                // The file is shorter than it was.
                Ok(0) => {
                    self.end = self.at + have as u64;
                    return Ok(false);
                }
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(true)
    }
}

fn checksum(len: u32, kind_and_payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len.to_le_bytes());
    hasher.update(kind_and_payload);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
