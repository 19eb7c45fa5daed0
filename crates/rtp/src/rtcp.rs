//! RTCP: reports on what was sent and received (RFC 3550, section 6), also in reduced size (RFC 5506).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |V=2|P|  count  |  packet type  |  length: 32-bit words after   |
//! |                  SSRC, then what the type says                |
//! ```

use std::time::Duration;

use bytes::{BufMut, BytesMut};

/// Report blocks, sources or items that one packet can have: its count has 5 bits.
pub const MAX_COUNT: usize = 31;

/// Why bytes are not RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It ends too early.
    #[error("an RTCP packet at byte {at} of {got} bytes: {what} needs {need}")]
    Short {
        /// Where the packet begins.
        at: usize,
        /// What is cut off.
        what: &'static str,
        /// Bytes it needs, from the beginning of the packet.
        need: usize,
        /// Bytes there.
        got: usize,
    },
    /// Not version 2.
    #[error("RTCP version {0}: must be 2 (RFC 3550, section 6.4.1)")]
    Version(u8),
}

/// One packet of a compound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rtcp {
    /// From who sends media.
    SenderReport(SenderReport),
    /// From who only receives.
    ReceiverReport(ReceiverReport),
    /// Who the sources are.
    Description(Description),
    /// Sources that leave. May be empty.
    Bye {
        /// At most 31.
        ssrcs: Vec<u32>,
    },
    /// Of no use here: application defined, feedback, and what is not known.
    Other {
        /// Second byte.
        packet_type: u8,
    },
}

impl Rtcp {
    /// The packets of a datagram or interleaved frame, in order.
    ///
    /// An error is the last item; what came before it is good. A packet whose length reaches beyond the end is read as far as the
    /// bytes go, and one that counts more blocks than it has is read for those it has, since old cameras get both wrong and their
    /// reports are still right. Bytes behind a valid packet that do not begin another are not looked at.
    pub const fn parse(bytes: &[u8]) -> Packets<'_> {
        Packets { bytes, at: 0 }
    }
}

/// See [`Rtcp::parse`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Iterator for Packets<'_> {
    type Item = Result<Rtcp, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.bytes.get(at..)?;
        // A second `next` after the end or an error finds nothing.
        self.at = usize::MAX;
        let Some(&[first, packet_type, l0, l1]) = rest.first_chunk() else {
            let what = "the header";
            let (need, got) = (HEADER_LEN, rest.len());
            return (at == 0).then_some(Err(Error::Short { at, what, need, got }));
        };
        if first >> 6 != 2 {
            return (at == 0).then_some(Err(Error::Version(first >> 6)));
        }
        let declared = HEADER_LEN + usize::from(u16::from_be_bytes([l0, l1])) * 4;
        let packet = rest.get(..declared).unwrap_or(rest);
        let result = read(at, first & 0x1f, packet_type, packet);
        if result.is_ok() {
            self.at = at + packet.len();
        }
        Some(result)
    }
}

/// What a sender sent, and when (RFC 3550, section 6.4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderReport {
    /// Who sent it.
    pub ssrc: u32,
    /// Wall clock of the sender.
    pub ntp: NtpTime,
    /// The same moment as an RTP timestamp of this source.
    pub rtp: u32,
    /// Packets sent so far, modulo 2^32.
    pub packets: u32,
    /// Bytes of payload sent so far, modulo 2^32.
    pub octets: u32,
    /// What it received from others. At most 31.
    pub reports: Vec<ReportBlock>,
}

impl SenderReport {
    /// Appends a compound of this report and a description with the canonical name. Blocks beyond 31 and bytes of the name beyond
    /// 255 are left out.
    pub fn write(&self, cname: &str, out: &mut BytesMut) {
        let reports = bounded(&self.reports);
        put_header(
            out,
            reports.len(),
            SENDER_REPORT,
            SENDER_LEN + reports.len() * BLOCK_LEN,
        );
        out.put_u32(self.ssrc);
        out.put_u64(self.ntp.0);
        out.put_u32(self.rtp);
        out.put_u32(self.packets);
        out.put_u32(self.octets);
        reports.iter().for_each(|block| block.write(out));
        put_description(self.ssrc, cname, out);
    }
}

/// What a receiver received (RFC 3550, section 6.4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiverReport {
    /// Who sent it.
    pub ssrc: u32,
    /// One for each source that it heard of. At most 31.
    pub reports: Vec<ReportBlock>,
}

impl ReceiverReport {
    /// Appends a compound of this report and a description with the canonical name. Blocks beyond 31 and bytes of the name beyond
    /// 255 are left out.
    pub fn write(&self, cname: &str, out: &mut BytesMut) {
        self.write_alone(out);
        put_description(self.ssrc, cname, out);
    }

    fn write_alone(&self, out: &mut BytesMut) {
        let reports = bounded(&self.reports);
        put_header(
            out,
            reports.len(),
            RECEIVER_REPORT,
            RECEIVER_LEN + reports.len() * BLOCK_LEN,
        );
        out.put_u32(self.ssrc);
        reports.iter().for_each(|block| block.write(out));
    }
}

/// Reception of one source as its receiver saw it (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source.
    pub ssrc: u32,
    /// Share of packets lost since the previous report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning; less than none if some came twice. Written within 24 bits with a sign.
    pub cumulative_lost: i32,
    /// Highest sequence number that came; wraps-around in the upper 16 bits.
    pub highest_sequence: u32,
    /// Interarrival jitter in ticks of the source's clock.
    pub jitter: u32,
    /// [`NtpTime::middle`] of the last sender report; 0 if none came.
    pub last_sr: u32,
    /// Time since that report in 1/65536 s; 0 if none came.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    fn read(block: &[u8; BLOCK_LEN]) -> Self {
        let word = |index: usize| word(block, index * 4).unwrap_or(0);
        Self {
            ssrc: word(0),
            fraction_lost: block[4],
            // Shifted up and down again for the sign.
            cumulative_lost: ((word(1) << 8) as i32) >> 8,
            highest_sequence: word(2),
            jitter: word(3),
            last_sr: word(4),
            delay_since_last_sr: word(5),
        }
    }

    fn write(&self, out: &mut BytesMut) {
        let lost = self
            .cumulative_lost
            .clamp(MIN_CUMULATIVE_LOST, MAX_CUMULATIVE_LOST);
        out.put_u32(self.ssrc);
        out.put_u32(u32::from(self.fraction_lost) << 24 | (lost as u32 & 0x00ff_ffff));
        out.put_u32(self.highest_sequence);
        out.put_u32(self.jitter);
        out.put_u32(self.last_sr);
        out.put_u32(self.delay_since_last_sr);
    }
}

/// Names of sources (RFC 3550, section 6.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Source and its canonical name, which is empty if it has none. At most 31: more than one only from a mixer.
    pub names: Vec<(u32, String)>,
}

/// Appends the compound that says goodbye for one source: an empty receiver report, a description, the goodbye (RFC 3550, sections
/// 6.1 and 6.6).
pub fn write_bye(ssrc: u32, cname: &str, out: &mut BytesMut) {
    let report = ReceiverReport {
        ssrc,
        reports: vec![],
    };
    report.write(cname, out);
    put_header(out, 1, BYE, RECEIVER_LEN);
    out.put_u32(ssrc);
}

/// Wall clock time as the Network Time Protocol has it: 1/2^32 s since 1900, modulo 2^64, which is until 2036. 0 means that the
/// sender has no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// From microseconds since 1970.
    pub const fn from_unix_micros(micros: i64) -> Self {
        let since_1900 = micros as i128 + UNIX_EPOCH * 1_000_000;
        // To nearest, so that the microseconds return.
        Self((((since_1900 << 32) + 500_000).div_euclid(1_000_000)) as u64)
    }

    /// In microseconds since 1970. Times before 1968 are taken to be after 2036 (RFC 4330, section 3).
    pub const fn to_unix_micros(self) -> i64 {
        let era = if self.0 >> 63 == 0 { 1i128 << 64 } else { 0 };
        let micros = ((self.0 as i128 + era) * 1_000_000 + (1 << 31)) >> 32;
        (micros - UNIX_EPOCH * 1_000_000) as i64
    }

    /// From the time since 1970.
    pub const fn from_unix(since: Duration) -> Self {
        // A clock beyond the year 290 000 is not one.
        Self::from_unix_micros(since.as_micros() as i64)
    }

    /// Microseconds from `earlier` to this, negative if it is later. Right across 2036, up to 68 years.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        let difference = self.0.wrapping_sub(earlier.0) as i64;
        ((difference as i128 * 1_000_000 + (1 << 31)) >> 32) as i64
    }

    /// This many microseconds later, or earlier if negative.
    pub const fn plus_micros(self, micros: i64) -> Self {
        let difference = (((micros as i128) << 32) + 500_000).div_euclid(1_000_000);
        Self(self.0.wrapping_add(difference as u64))
    }

    /// The middle 32 bits: 1/65536 s, as reports refer to it.
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// Reads one packet that begins with a whole header.
fn read(at: usize, count: u8, packet_type: u8, packet: &[u8]) -> Result<Rtcp, Error> {
    let need = |what, need| {
        let got = packet.len();
        if got < need {
            Err(Error::Short { at, what, need, got })
        } else {
            Ok(())
        }
    };
    let field = |offset| word(packet, offset).unwrap_or(0);
    let count = usize::from(count);
    Ok(match packet_type {
        SENDER_REPORT => {
            need("a sender report", SENDER_LEN)?;
            Rtcp::SenderReport(SenderReport {
                ssrc: field(4),
                ntp: NtpTime(u64::from(field(8)) << 32 | u64::from(field(12))),
                rtp: field(16),
                packets: field(20),
                octets: field(24),
                reports: read_blocks(packet, SENDER_LEN, count),
            })
        }
        RECEIVER_REPORT => {
            need("a receiver report", RECEIVER_LEN)?;
            Rtcp::ReceiverReport(ReceiverReport {
                ssrc: field(4),
                reports: read_blocks(packet, RECEIVER_LEN, count),
            })
        }
        DESCRIPTION => Rtcp::Description(read_description(packet, count)),
        BYE => {
            let words = packet.get(HEADER_LEN..).unwrap_or(&[]).chunks_exact(4);
            let ssrcs = words.filter_map(|bytes| word(bytes, 0)).take(count).collect();
            Rtcp::Bye { ssrcs }
        }
        packet_type => Rtcp::Other { packet_type },
    })
}

fn read_blocks(packet: &[u8], from: usize, count: usize) -> Vec<ReportBlock> {
    let (blocks, _) = packet.get(from..).unwrap_or(&[]).as_chunks::<BLOCK_LEN>();
    blocks.iter().take(count).map(ReportBlock::read).collect()
}

/// Reads chunks as far as they are whole.
fn read_description(packet: &[u8], count: usize) -> Description {
    let mut names = Vec::new();
    let mut at = HEADER_LEN;
    while names.len() < count {
        let Some(ssrc) = word(packet, at) else { break };
        at += 4;
        let mut cname = String::new();
        // Items end with a zero byte, or with the packet.
        while let Some(&[kind, len]) = packet.get(at..at + 2).and_then(|head| head.first_chunk()) {
            if kind == 0 {
                break;
            }
            let end = at + 2 + usize::from(len);
            let Some(text) = packet.get(at + 2..end) else {
                break;
            };
            if kind == CNAME {
                cname = String::from_utf8_lossy(text).into_owned();
            }
            at = end;
        }
        names.push((ssrc, cname));
        // One to four zero bytes, up to the next word.
        at = at / 4 * 4 + 4;
    }
    Description { names }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*word))
}

fn bounded(reports: &[ReportBlock]) -> &[ReportBlock] {
    reports.get(..MAX_COUNT).unwrap_or(reports)
}

/// `len`: bytes of the packet, a multiple of 4.
fn put_header(out: &mut BytesMut, count: usize, packet_type: u8, len: usize) {
    out.put_u8(0x80 | (count & 0x1f) as u8);
    out.put_u8(packet_type);
    out.put_u16((len / 4 - 1) as u16);
}

fn put_description(ssrc: u32, cname: &str, out: &mut BytesMut) {
    let mut end = cname.len().min(MAX_TEXT_LEN);
    while !cname.is_char_boundary(end) {
        end -= 1;
    }
    let text = &cname.as_bytes()[..end];
    // At least one zero byte ends the items.
    let len = (RECEIVER_LEN + 2 + text.len() + 1).next_multiple_of(4);
    put_header(out, 1, DESCRIPTION, len);
    out.put_u32(ssrc);
    out.put_u8(CNAME);
    out.put_u8(text.len() as u8);
    out.put_slice(text);
    out.put_bytes(0, len - (RECEIVER_LEN + 2 + text.len()));
}

// Packet types and the one item of a description that is needed (RFC 3550, section 12).
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const CNAME: u8 = 1;

// Bytes of header, sender report without blocks, receiver report without blocks, and block.
const HEADER_LEN: usize = 4;
const SENDER_LEN: usize = 28;
const RECEIVER_LEN: usize = 8;
const BLOCK_LEN: usize = 24;

/// An item's length has one byte.
const MAX_TEXT_LEN: usize = 255;

const MIN_CUMULATIVE_LOST: i32 = -0x80_0000;
const MAX_CUMULATIVE_LOST: i32 = 0x7f_ffff;

/// Seconds from 1900 to 1970.
const UNIX_EPOCH: i128 = 2_208_988_800;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block() -> impl Strategy<Value = ReportBlock> {
        let lost = MIN_CUMULATIVE_LOST..=MAX_CUMULATIVE_LOST;
        (any::<[u32; 5]>(), any::<u8>(), lost).prop_map(|(words, fraction_lost, cumulative_lost)| {
            ReportBlock {
                ssrc: words[0],
                fraction_lost,
                cumulative_lost,
                highest_sequence: words[1],
                jitter: words[2],
                last_sr: words[3],
                delay_since_last_sr: words[4],
            }
        })
    }

    fn all(bytes: &[u8]) -> Result<Vec<Rtcp>, Error> {
        Rtcp::parse(bytes).collect()
    }

    fn name(ssrc: u32, cname: &str) -> Rtcp {
        let names = vec![(ssrc, cname.to_owned())];
        Rtcp::Description(Description { names })
    }

    proptest! {
        #[test]
        fn a_sender_report_is_read_as_written(
            ssrc: u32, ntp: u64, rtp: u32, packets: u32, octets: u32, cname in "\\PC{0,40}",
            reports in prop::collection::vec(block(), 0..=MAX_COUNT),
        ) {
            let report = SenderReport { ssrc, ntp: NtpTime(ntp), rtp, packets, octets, reports };
            let mut out = BytesMut::new();
            report.write(&cname, &mut out);
            prop_assert_eq!(all(&out), Ok(vec![Rtcp::SenderReport(report), name(ssrc, &cname)]));
        }

        #[test]
        fn a_receiver_report_is_read_as_written(
            ssrc: u32, cname in "[a-z@.]{0,300}", reports in prop::collection::vec(block(), 0..=MAX_COUNT),
        ) {
            let report = ReceiverReport { ssrc, reports };
            let mut out = BytesMut::new();
            report.write(&cname, &mut out);
            let kept = &cname[..cname.len().min(255)];
            prop_assert_eq!(all(&out), Ok(vec![Rtcp::ReceiverReport(report), name(ssrc, kept)]));
        }

        #[test]
        fn no_bytes_break_it(mut bytes in prop::collection::vec(any::<u8>(), 0..200), first in 0x80u8..0xa0, kind in 199u8..205) {
            Rtcp::parse(&bytes).for_each(drop);
            if let [a, b, ..] = &mut bytes[..] {
                (*a, *b) = (first, kind);
            }
            prop_assert!(Rtcp::parse(&bytes).count() <= bytes.len() / 4 + 1);
        }

        #[test]
        fn microseconds_survive(micros in 0i64..4_000_000_000_000_000, span in -1_000_000_000_000i64..1_000_000_000_000) {
            let time = NtpTime::from_unix_micros(micros);
            prop_assert_eq!(time.to_unix_micros(), micros);
            prop_assert_eq!(time.plus_micros(span).micros_since(time), span);
        }
    }

    #[test]
    fn a_goodbye_is_a_compound() {
        let mut out = BytesMut::new();
        write_bye(7, "a@b", &mut out);
        let empty = Rtcp::ReceiverReport(ReceiverReport {
            ssrc: 7,
            reports: vec![],
        });
        let expected = vec![empty, name(7, "a@b"), Rtcp::Bye { ssrcs: vec![7] }];
        assert_eq!(all(&out), Ok(expected));
    }

    #[test]
    fn more_blocks_than_fit_are_left_out() {
        let report = ReceiverReport {
            ssrc: 1,
            reports: vec![ReportBlock::default(); 40],
        };
        let mut out = BytesMut::new();
        report.write("", &mut out);
        let Some(Ok(Rtcp::ReceiverReport(read))) = Rtcp::parse(&out).next() else {
            panic!("no receiver report")
        };
        assert_eq!(read.reports.len(), MAX_COUNT);
    }

    #[test]
    fn loss_is_written_within_24_bits() {
        for (lost, expected) in [(i32::MAX, 0x7f_ffff), (i32::MIN, -0x80_0000), (-1, -1), (5, 5)] {
            let block = ReportBlock {
                cumulative_lost: lost,
                ..ReportBlock::default()
            };
            let mut out = BytesMut::new();
            block.write(&mut out);
            let read = ReportBlock::read(out[..].first_chunk().unwrap());
            assert_eq!(read.cumulative_lost, expected);
        }
    }

    #[test]
    fn reports_with_wrong_lengths_are_still_reports() {
        let report = SenderReport {
            ssrc: 1,
            ntp: NtpTime(5 << 32),
            rtp: 9,
            ..SenderReport::default()
        };
        let mut out = BytesMut::new();
        report.write("", &mut out);
        let alone = out[..SENDER_LEN].to_vec();
        let expected = Ok(vec![Rtcp::SenderReport(report)]);
        assert_eq!(all(&alone), expected);
        // Length in bytes, not in words less one.
        let mut long = alone.clone();
        long[3] = SENDER_LEN as u8;
        assert_eq!(all(&long), expected);
        // A block that is counted, but not there.
        let mut counted = alone.clone();
        counted[0] |= 1;
        assert_eq!(all(&counted), expected);
        // Something behind the report.
        for rest in [&[0][..], &[0; 8], &[0xff; 3]] {
            assert_eq!(all(&[&alone, rest].concat()), expected);
        }
    }

    #[test]
    fn descriptions_are_read_as_far_as_they_are_whole() {
        // A note before the name of one source, no item of another, and a name that is cut off.
        let bytes = [
            &[0x83, 202, 0, 7][..],
            &[0, 0, 0, 1, 7, 2, b'h', b'i', 1, 1, b'a', 0],
            &[0, 0, 0, 2, 0, 0, 0, 0],
            &[0, 0, 0, 3, 1, 9, b'b', b'c'],
        ]
        .concat();
        let names = vec![(1, "a".to_owned()), (2, String::new()), (3, String::new())];
        assert_eq!(all(&bytes), Ok(vec![Rtcp::Description(Description { names })]));
    }

    #[test]
    fn what_precedes_a_fault_is_used() {
        // Feedback in reduced size, then a receiver report without its source.
        let bytes = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0x80, 201, 0, 0];
        let mut packets = Rtcp::parse(&bytes);
        assert_eq!(packets.next(), Some(Ok(Rtcp::Other { packet_type: 206 })));
        let error = packets.next().unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "an RTCP packet at byte 12 of 4 bytes: a receiver report needs 8"
        );
        assert_eq!(packets.next(), None);
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(all(bytes).unwrap_err().to_string(), expected);
        check(
            &[0x80, 200, 0],
            "an RTCP packet at byte 0 of 3 bytes: the header needs 4",
        );
        check(
            &[0x40, 200, 0, 0],
            "RTCP version 1: must be 2 (RFC 3550, section 6.4.1)",
        );
        check(
            &[0x80, 200, 0, 6, 0, 0, 0, 1],
            "an RTCP packet at byte 0 of 8 bytes: a sender report needs 28",
        );
    }

    #[test]
    fn known_times() {
        // RFC 3550, figure 2: the middle of 0xb44db705:20000000.
        assert_eq!(NtpTime(0xb44d_b705_2000_0000).middle(), 0xb705_2000);
        assert_eq!(NtpTime::from_unix_micros(0), NtpTime(2_208_988_800 << 32));
        // 2036-02-07 06:28:16 UTC is 0 again.
        let turn = NtpTime::from_unix(Duration::from_secs(2_085_978_496));
        assert_eq!(turn, NtpTime(0));
        let before = turn.plus_micros(-1_500_000);
        assert_eq!(turn.micros_since(before), 1_500_000);
        assert_eq!(before.to_unix_micros(), 2_085_978_494_500_000);
    }
}
