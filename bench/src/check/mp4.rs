//! Fragmented MP4 (ISO/IEC 14496-12) with one track.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BytesMut};

use super::Seen;

/// Largest `moov` or `moof`, bytes.
const MAX_HEAD: usize = 1 << 20;

/// A stream of boxes. A frame has come when its `mdat` has.
#[derive(Debug, Default)]
pub struct Mp4 {
    timescale: Option<u32>,
    /// `sequence_number` of the last `moof`.
    sequence: Option<u32>,
    missing: u64,
    /// Times and sync flags of the samples whose `mdat` is to come.
    samples: Vec<(i64, bool)>,
    /// Bytes to skip: the rest of a box that is not read.
    skip: u64,
    in_mdat: bool,
}

/// What a `moof` says.
#[derive(Debug, Default)]
struct Fragment {
    sequence: Option<u32>,
    time: Option<u64>,
    default_duration: u32,
    default_flags: u32,
    samples: Vec<(Option<u32>, Option<u32>)>,
}

impl Mp4 {
    /// See [`super::Container::push`]; a head that is not whole stays in `bytes`.
    pub fn push(&mut self, at: Instant, bytes: &mut BytesMut, seen: &mut Vec<Seen>) -> Result<()> {
        loop {
            let skipped = self.skip.min(bytes.len() as u64);
            bytes.advance(skipped as usize);
            self.skip -= skipped;
            if self.skip > 0 {
                return Ok(());
            }
            if std::mem::take(&mut self.in_mdat) {
                let scale = i64::from(self.timescale.context("an mdat before the moov")?);
                seen.extend(self.samples.drain(..).map(|(time, key)| Seen {
                    time_us: time.saturating_mul(1_000_000) / scale,
                    key,
                    at,
                }));
            }
            let Some((kind, head, len)) = header(bytes)? else {
                return Ok(());
            };
            match &kind {
                b"moov" | b"moof" => {
                    let len = usize::try_from(len).unwrap_or(usize::MAX);
                    ensure!(len <= MAX_HEAD, "a head of {len} bytes");
                    if bytes.len() < len {
                        return Ok(());
                    }
                    let whole = bytes.split_to(len);
                    if kind == *b"moov" {
                        self.timescale = Some(timescale(&whole[head..])?.context("a moov without mdhd")?);
                    } else {
                        self.fragment(&whole[head..])?;
                    }
                }
                kind => {
                    self.in_mdat = kind == b"mdat";
                    self.skip = len;
                }
            }
        }
    }

    /// Fragments that were missing in the numbers, so far.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    fn fragment(&mut self, moof: &[u8]) -> Result<()> {
        ensure!(self.samples.is_empty(), "two moof without an mdat between");
        let mut fragment = Fragment::default();
        walk(moof, &mut |kind, body| fragment.read(kind, body))?;
        let sequence = fragment.sequence.context("a moof without mfhd")?;
        if let Some(last) = self.sequence.replace(sequence) {
            self.missing += u64::from(sequence.wrapping_sub(last).wrapping_sub(1));
        }
        let mut time = fragment.time.context("a moof without tfdt")? as i64;
        for (duration, flags) in fragment.samples {
            // sample_is_non_sync_sample (section 8.8.3.1).
            let key = flags.unwrap_or(fragment.default_flags) & 0x1_0000 == 0;
            self.samples.push((time, key));
            time += i64::from(duration.unwrap_or(fragment.default_duration));
        }
        Ok(())
    }
}

impl Fragment {
    fn read(&mut self, kind: &[u8; 4], mut body: &[u8]) -> Result<()> {
        let full = word(&mut body)?;
        let flag = |bit: u32| full & bit != 0;
        match kind {
            b"mfhd" => self.sequence = Some(word(&mut body)?),
            b"tfdt" if full >> 24 == 1 => {
                self.time = Some(u64::from(word(&mut body)?) << 32 | u64::from(word(&mut body)?))
            }
            b"tfdt" => self.time = Some(word(&mut body)?.into()),
            b"tfhd" => {
                word(&mut body)?;
                // base_data_offset has two words; then the index of the description.
                for _ in 0..2 * u32::from(flag(1)) + u32::from(flag(2)) {
                    word(&mut body)?;
                }
                if flag(8) {
                    self.default_duration = word(&mut body)?;
                }
                if flag(0x10) {
                    word(&mut body)?;
                }
                if flag(0x20) {
                    self.default_flags = word(&mut body)?;
                }
            }
            b"trun" => {
                let count = word(&mut body)?;
                if flag(1) {
                    word(&mut body)?;
                }
                let mut first_flags = if flag(4) { Some(word(&mut body)?) } else { None };
                for _ in 0..count {
                    let duration = if flag(0x100) { Some(word(&mut body)?) } else { None };
                    if flag(0x200) {
                        word(&mut body)?;
                    }
                    let flags = if flag(0x400) { Some(word(&mut body)?) } else { None };
                    if flag(0x800) {
                        word(&mut body)?;
                    }
                    self.samples.push((duration, first_flags.take().or(flags)));
                    ensure!(self.samples.len() <= MAX_HEAD / 4, "too many samples");
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Kind, length of the header and of the whole box, once they are there.
fn header(bytes: &[u8]) -> Result<Option<([u8; 4], usize, u64)>> {
    let Some(&[a, b, c, d, kind @ ..]) = bytes.first_chunk::<8>() else {
        return Ok(None);
    };
    let (head, len) = match u32::from_be_bytes([a, b, c, d]) {
        1 => match bytes.get(8..16).and_then(|len| len.first_chunk::<8>()) {
            Some(len) => (16, u64::from_be_bytes(*len)),
            None => return Ok(None),
        },
        len => (8, len.into()),
    };
    let shown = kind.escape_ascii();
    ensure!(
        kind.iter().all(u8::is_ascii_alphanumeric),
        "a box of kind \"{shown}\""
    );
    ensure!(len >= head as u64, "a box {shown} of {len} bytes");
    Ok(Some((kind, head, len)))
}

/// Gives each box within, also those in boxes that hold no more than boxes, but not those themselves.
fn walk(mut bytes: &[u8], found: &mut impl FnMut(&[u8; 4], &[u8]) -> Result<()>) -> Result<()> {
    while !bytes.is_empty() {
        let Some((kind, head, len)) = header(bytes)? else {
            bail!("{} bytes behind the last box", bytes.len());
        };
        let body = usize::try_from(len).ok().and_then(|len| bytes.get(head..len));
        let body = body.with_context(|| format!("a box of {len} bytes in {}", bytes.len()))?;
        match &kind {
            b"traf" | b"trak" | b"mdia" => walk(body, found)?,
            kind => found(kind, body)?,
        }
        bytes = &bytes[len as usize..];
    }
    Ok(())
}

fn timescale(moov: &[u8]) -> Result<Option<u32>> {
    let mut timescale = None;
    walk(moov, &mut |kind, mut body| {
        if kind == b"mdhd" && timescale.is_none() {
            let long = word(&mut body)? >> 24 == 1;
            for _ in 0..if long { 4 } else { 2 } {
                word(&mut body)?;
            }
            timescale = Some(word(&mut body)?).filter(|&scale| scale > 0);
        }
        Ok(())
    })?;
    Ok(timescale)
}

fn word(body: &mut &[u8]) -> Result<u32> {
    let (word, rest) = body.split_first_chunk::<4>().context("a box that is too short")?;
    *body = rest;
    Ok(u32::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut whole = (body.len() as u32 + 8).to_be_bytes().to_vec();
        whole.extend(kind);
        whole.extend(body);
        whole
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn start() -> Vec<u8> {
        let mdhd = boxed(b"mdhd", &words(&[0, 0, 0, 1000, 0, 0]));
        let moov = boxed(b"moov", &boxed(b"trak", &boxed(b"mdia", &mdhd)));
        [boxed(b"ftyp", b"isom\0\0\0\0"), moov].concat()
    }

    fn fragment(sequence: u32, time: u32, key: bool) -> Vec<u8> {
        let flags = if key { 0x200_0000 } else { 0x101_0000 };
        let traf = [
            boxed(b"tfhd", &words(&[0x02_0000, 1])),
            boxed(b"tfdt", &words(&[1 << 24, 0, time])),
            boxed(b"trun", &words(&[0x701, 1, 0, 40, 3, flags])),
        ];
        let moof = [
            boxed(b"mfhd", &words(&[0, sequence])),
            boxed(b"traf", &traf.concat()),
        ];
        [boxed(b"moof", &moof.concat()), boxed(b"mdat", b"abc")].concat()
    }

    fn check(bytes: &[u8], step: usize) -> Result<(Vec<(i64, bool)>, u64)> {
        let (mut mp4, mut seen, mut buffer) = (Mp4::default(), Vec::new(), BytesMut::new());
        for part in bytes.chunks(step) {
            buffer.extend_from_slice(part);
            mp4.push(Instant::now(), &mut buffer, &mut seen)?;
        }
        let found = seen.iter().map(|seen| (seen.time_us, seen.key)).collect();
        Ok((found, mp4.missing()))
    }

    #[test]
    fn frames_come_with_their_mdat_however_the_bytes_are_cut() {
        let stream = [start(), fragment(1, 5, true), fragment(2, 45, false)].concat();
        for step in [1, 3, 1000] {
            let (seen, missing) = check(&stream, step).expect("valid");
            assert_eq!(seen, [(5_000, true), (45_000, false)], "{step}");
            assert_eq!(missing, 0);
        }
    }

    #[test]
    fn numbers_that_are_left_out_are_counted() {
        let stream = [start(), fragment(7, 5, true), fragment(10, 125, false)].concat();
        assert_eq!(check(&stream, 1000).expect("valid").1, 2);
    }

    #[test]
    fn broken_boxes_are_errors() {
        let no_moov = fragment(1, 5, true);
        let short = boxed(b"moof", &boxed(b"mfhd", &words(&[0])));
        let beyond = boxed(b"moof", &words(&[100, 0x6D66_6864, 0, 0]));
        let wrong_kind = boxed(b"\0\0\0\0", b"");
        for stream in [
            no_moov,
            [start(), short].concat(),
            [start(), beyond].concat(),
            wrong_kind,
        ] {
            assert!(check(&stream, 1000).is_err());
        }
    }
}
