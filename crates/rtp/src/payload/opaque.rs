//! Codecs whose packets are passed on unread: a unit is the packets of one time, and has no data of its own.

use super::{Error, Input, Unit};
use bytes::Bytes;
use media::MediaKind;

/// Finds where units end.
#[derive(Debug)]
pub struct Unpacker {
    kind: MediaKind,
    /// Time of the unit that is open.
    open: Option<i64>,
}

impl Unpacker {
    /// For pictures a unit ends with the marker or a new timestamp; for sound each packet is one.
    pub fn new(kind: MediaKind) -> Self {
        Self { kind, open: None }
    }

    /// Takes the next packet.
    ///
    /// # Errors
    ///
    /// None: nothing is read.
    pub fn push(&mut self, input: Input<'_>, out: &mut Vec<Unit>) -> Result<(), Error> {
        if let Some(timestamp) = self.open
            && timestamp != input.timestamp
        {
            self.flush(out);
        }
        self.open = Some(input.timestamp);
        if input.marker || self.kind == MediaKind::Audio {
            self.flush(out);
        }
        Ok(())
    }

    /// Ends the unit that is open.
    pub fn flush(&mut self, out: &mut Vec<Unit>) {
        if let Some(timestamp) = self.open.take() {
            out.push(Unit {
                timestamp,
                data: Bytes::new(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(kind: MediaKind, packets: &[(i64, bool)]) -> Vec<i64> {
        let (mut unpacker, mut out, payload) = (Unpacker::new(kind), Vec::new(), Bytes::from_static(b"x"));
        for &(timestamp, marker) in packets {
            let input = Input {
                payload: &payload,
                marker,
                timestamp,
                gap: false,
            };
            unpacker.push(input, &mut out).expect("nothing is read");
        }
        out.iter().map(|unit| unit.timestamp).collect()
    }

    #[test]
    fn pictures_end_at_the_marker_or_at_a_new_time() {
        let packets = [(0, false), (0, true), (3000, false), (6000, false), (6000, true)];
        assert_eq!(times(MediaKind::Video, &packets), [0, 3000, 6000]);
    }

    #[test]
    fn each_packet_of_sound_is_a_unit() {
        assert_eq!(times(MediaKind::Audio, &[(0, false), (160, false)]), [0, 160]);
    }
}
