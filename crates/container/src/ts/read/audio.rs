//! AAC in ADTS and MPEG audio: frames that begin with a header which tells their length, anywhere in PES packets.

use super::super::CLOCK;
use super::{Pes, Unit};
use bytes::{Bytes, BytesMut};
use media::MediaTime;
use media::codec::{aac, mp3};

/// Cuts a stream of frames. What it holds between PES packets is shorter than one frame.
#[derive(Debug)]
pub(in super::super) struct Framed {
    format: Format,
    /// The start of a frame whose rest is to come.
    rest: Bytes,
    clock: Option<SampleClock>,
    /// The configuration of the frames before.
    config: Option<aac::Config>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Adts,
    MpegAudio,
}

/// Time by the samples since the last time that was told.
#[derive(Clone, Copy, Debug)]
struct SampleClock {
    ticks: i64,
    samples: i64,
    rate: u32,
}

/// What a header says.
struct Head {
    /// Bytes that do not belong to the frame as Tidegate carries it.
    skip: usize,
    /// Bytes up to the next frame.
    len: usize,
    samples: u32,
    rate: u32,
    config: Option<aac::Config>,
}

enum Found {
    Frame(Head),
    /// It may be one, if more bytes come.
    Incomplete,
    No,
}

impl Framed {
    pub fn adts() -> Self {
        Self::new(Format::Adts)
    }

    pub fn mpeg_audio() -> Self {
        Self::new(Format::MpegAudio)
    }

    fn new(format: Format) -> Self {
        Self {
            format,
            rest: Bytes::new(),
            clock: None,
            config: None,
        }
    }

    pub fn push(&mut self, pes: &Pes, out: &mut Vec<Unit>) -> u64 {
        let held = std::mem::take(&mut self.rest);
        if held.is_empty() {
            return self.read(pes.data.clone(), 0, pes, out);
        }
        let mut both = BytesMut::with_capacity(held.len() + pes.data.len());
        both.extend_from_slice(&held);
        both.extend_from_slice(&pes.data);
        let both = both.freeze();
        // If what was held is no start of a frame that ends where another begins, the new packet begins with one.
        let fits = match self.head(&both) {
            Found::Frame(head) => match both.get(head.len..) {
                Some(next) => next.is_empty() || !matches!(self.head(next), Found::No),
                None => true,
            },
            Found::Incomplete => true,
            Found::No => false,
        };
        if fits {
            self.read(both, held.len(), pes, out)
        } else {
            1 + self.read(pes.data.clone(), 0, pes, out)
        }
    }

    pub fn reset(&mut self) -> u64 {
        let held = std::mem::take(&mut self.rest);
        u64::from(!held.is_empty())
    }

    /// Reads frames. The time of `pes` is that of the first frame which begins at `from` or later.
    fn read(&mut self, data: Bytes, from: usize, pes: &Pes, out: &mut Vec<Unit>) -> u64 {
        let (mut at, mut bad) = (0, 0);
        let mut times = pes.times;
        while at < data.len() {
            let head = match self.head(&data[at..]) {
                Found::Frame(head) if head.len <= data.len() - at => head,
                Found::Frame(_) | Found::Incomplete => {
                    // The frame may begin in this packet, and take its time.
                    if at >= from
                        && let Some(times) = times
                    {
                        self.clock = Some(SampleClock::at(times.pts));
                    }
                    self.rest = data.slice(at..);
                    break;
                }
                Found::No => {
                    bad += 1;
                    match self.search(&data, at + 1) {
                        Some(next) => at = next,
                        None => break,
                    }
                    continue;
                }
            };
            if at >= from
                && let Some(times) = times.take()
            {
                self.clock = Some(SampleClock::at(times.pts));
            }
            let unit = data.slice(at + head.skip..at + head.len);
            at += head.len;
            let Some(clock) = &mut self.clock else {
                bad += 1;
                continue;
            };
            let time = clock.advance(head.samples, head.rate);
            if unit.is_empty() {
                continue;
            }
            let changed = head.config.is_some() && head.config != self.config;
            if changed {
                self.config = head.config;
            }
            out.push(Unit {
                config: head.config.filter(|_| changed).map(|config| config.build()),
                ..Unit::sound(time, unit)
            });
        }
        bad
    }

    fn head(&self, data: &[u8]) -> Found {
        match self.format {
            Format::Adts => match aac::Adts::parse(data) {
                Ok(adts) => Found::Frame(Head {
                    skip: adts.header_len,
                    len: adts.frame_len,
                    samples: adts.config.frame_len,
                    rate: adts.config.sample_rate,
                    config: Some(adts.config),
                }),
                Err(_) if data.len() < 7 && could_sync(data, 0xf6, 0xf0) => Found::Incomplete,
                Err(_) => Found::No,
            },
            Format::MpegAudio => match mp3::Header::parse(data) {
                Ok(header) => Found::Frame(Head {
                    skip: 0,
                    // Nothing tells the length in free format; then a PES packet is taken for a frame.
                    len: header.frame_len.unwrap_or(data.len()),
                    samples: header.samples,
                    rate: header.sample_rate,
                    config: None,
                }),
                Err(_) if data.len() < 4 && could_sync(data, 0xe0, 0xe0) => Found::Incomplete,
                Err(_) => Found::No,
            },
        }
    }

    /// Where frames go on behind garbage: at a header behind whose frame another one stands. If there is none, where one may be.
    fn search(&self, data: &[u8], from: usize) -> Option<usize> {
        let find = |cut_off: bool| {
            (from..data.len()).find(|at| match self.head(&data[*at..]) {
                Found::Frame(head) => match data.get(at + head.len..) {
                    Some(next) => next.is_empty() || !matches!(self.head(next), Found::No),
                    None => cut_off,
                },
                Found::Incomplete => cut_off,
                Found::No => false,
            })
        };
        find(false).or_else(|| find(true))
    }
}

/// Whether so few bytes could be the start of a header.
fn could_sync(data: &[u8], mask: u8, value: u8) -> bool {
    data.first().is_none_or(|byte| *byte == 0xff) && data.get(1).is_none_or(|byte| byte & mask == value)
}

impl SampleClock {
    fn at(ticks: i64) -> Self {
        Self {
            ticks,
            samples: 0,
            rate: 0,
        }
    }

    /// The time now; then moves on by so many samples of `rate` per second.
    fn advance(&mut self, samples: u32, rate: u32) -> MediaTime {
        if self.rate != rate {
            // A new rate counts from the time so far.
            (self.ticks, self.samples, self.rate) = (self.now().as_ticks(CLOCK), 0, rate);
        }
        let now = self.now();
        self.samples = self.samples.saturating_add(samples.into());
        now
    }

    fn now(&self) -> MediaTime {
        MediaTime::from_ticks(self.ticks, CLOCK) + MediaTime::from_ticks(self.samples, self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Times;
    use super::*;

    fn adts(len: usize, byte: u8) -> Vec<u8> {
        let config = aac::Config::parse(&[0x11, 0x90]).unwrap();
        [&aac::Adts::header(&config, len).unwrap()[..], &vec![byte; len]].concat()
    }

    fn pes(ticks: Option<i64>, data: &[u8]) -> Pes {
        Pes {
            data: Bytes::copy_from_slice(data),
            times: ticks.map(|ticks| Times {
                dts: ticks,
                pts: ticks,
            }),
            bounded: true,
            random_access: false,
        }
    }

    /// Ticks, first byte and length of units.
    fn units(out: &[Unit]) -> Vec<(i64, u8, usize)> {
        out.iter()
            .map(|unit| (unit.pts.as_ticks(CLOCK), unit.data[0], unit.data.len()))
            .collect()
    }

    #[test]
    fn frames_are_timed_by_their_samples() {
        let (mut reader, mut out) = (Framed::adts(), Vec::new());
        let data = [adts(50, 1), adts(60, 2), adts(70, 3)].concat();
        assert_eq!(reader.push(&pes(Some(900), &data), &mut out), 0);
        // 1024 samples of 48 kHz.
        assert_eq!(units(&out), [(900, 1, 50), (2820, 2, 60), (4740, 3, 70)]);
        assert_eq!(out[0].config.as_deref(), Some(&[0x11, 0x90][..]));
        assert_eq!(out[1].config, None);
    }

    #[test]
    fn a_frame_may_be_in_several_packets_and_has_the_time_of_its_first() {
        let stream = [adts(50, 1), adts(60, 2), adts(70, 3)].concat();
        for cut in 1..stream.len() {
            let (mut reader, mut out) = (Framed::adts(), Vec::new());
            assert_eq!(reader.push(&pes(Some(900), &stream[..cut]), &mut out), 0);
            assert_eq!(reader.push(&pes(Some(50_000), &stream[cut..]), &mut out), 0);
            // What begins before the cut counts from 900, what begins behind it from 50000.
            let begins = [0, 57, 57 + 67];
            let before = begins.iter().filter(|at| **at < cut).count();
            let time = |nth: usize| match nth.checked_sub(before) {
                None => 900 + 1920 * nth as i64,
                Some(behind) => 50_000 + 1920 * behind as i64,
            };
            assert_eq!(
                units(&out),
                [(time(0), 1, 50), (time(1), 2, 60), (time(2), 3, 70)],
                "{cut}"
            );
        }
    }

    #[test]
    fn garbage_and_lost_ends_cost_no_more_than_themselves() {
        let (mut reader, mut out) = (Framed::adts(), Vec::new());
        let data = [&[1, 2, 0xff, 0xf1, 3][..], &adts(50, 1), &adts(60, 2)[..40]].concat();
        assert_eq!(reader.push(&pes(Some(0), &data), &mut out), 1);
        // The rest of the second never comes.
        assert_eq!(
            reader.push(&pes(Some(9_000), &[adts(30, 3), adts(30, 4)].concat()), &mut out),
            1
        );
        assert_eq!(units(&out), [(0, 1, 50), (9_000, 3, 30), (10_920, 4, 30)]);
        assert_eq!(reader.push(&pes(Some(0), &adts(60, 2)[..40]), &mut out), 0);
        assert_eq!((reader.reset(), reader.reset()), (1, 0));
    }

    #[test]
    fn without_a_time_nothing_is_known_but_one_is_enough() {
        let (mut reader, mut out) = (Framed::adts(), Vec::new());
        assert_eq!(reader.push(&pes(None, &adts(50, 1)), &mut out), 1);
        assert_eq!(reader.push(&pes(Some(0), &adts(50, 2)), &mut out), 0);
        assert_eq!(reader.push(&pes(None, &adts(50, 3)), &mut out), 0);
        assert_eq!(units(&out), [(0, 2, 50), (1920, 3, 50)]);
    }

    #[test]
    fn mpeg_audio_is_cut_by_its_headers() {
        // MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes, 1152 samples.
        let mut frame = vec![0xff, 0xfb, 0x90, 0x64];
        frame.resize(417, 7);
        let (mut reader, mut out) = (Framed::mpeg_audio(), Vec::new());
        let stream = frame.repeat(3);
        assert_eq!(reader.push(&pes(Some(0), &stream[..500]), &mut out), 0);
        assert_eq!(reader.push(&pes(Some(4_702), &stream[500..]), &mut out), 0);
        assert_eq!(
            units(&out),
            [(0, 0xff, 417), (2351, 0xff, 417), (4702, 0xff, 417)]
        );
        // Free format.
        let free = [0xff, 0xfb, 0x00, 0x64, 1, 2, 3];
        assert_eq!(reader.push(&pes(Some(0), &free), &mut out), 0);
        assert_eq!(out[3].data[..], free);
    }
}
