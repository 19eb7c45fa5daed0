//! From 32 wrapping bits to 64.

/// Extends the timestamps of one connection. Each is taken as the one nearest to the newest audio or video before it, so that
/// both cross the wrap after 49.7 days together (RTMP 1.0, section 5.3.1.3: serial number arithmetic).
#[derive(Debug, Default)]
pub(super) struct Clock {
    newest: Option<i64>,
}

impl Clock {
    /// Commands and metadata mostly carry 0, whatever the time; only media move the clock.
    pub(super) fn extend(&mut self, wire: u32, is_media: bool) -> i64 {
        let extended = match self.newest {
            None => i64::from(wire),
            // Truncation to 32 bits and the signed reading of the difference are the arithmetic meant above.
            Some(newest) => newest.saturating_add(i64::from(wire.wrapping_sub(newest as u32) as i32)),
        };
        if is_media {
            self.newest = Some(extended);
        }
        extended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_of_both_kinds_cross_the_wrap_together() {
        let mut clock = Clock::default();
        assert_eq!(clock.extend(0xFFFF_FFF0, true), 0xFFFF_FFF0);
        assert_eq!(clock.extend(0x10, true), 0x1_0000_0010);
        assert_eq!(
            clock.extend(0xFFFF_FFFA, true),
            0xFFFF_FFFA,
            "late, from before the wrap"
        );
        assert_eq!(clock.extend(0x20, true), 0x1_0000_0020);
    }

    #[test]
    fn commands_do_not_move_the_clock() {
        let mut clock = Clock::default();
        clock.extend(0, false);
        assert_eq!(clock.extend(0x9000_0000, true), 0x9000_0000);
    }
}
