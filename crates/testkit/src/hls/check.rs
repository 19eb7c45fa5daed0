//! The rules.

use std::fmt;

use super::{Media, Segment};

/// A rule that a playlist breaks, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The section of the rule.
    pub section: &'static str,
    /// What is wrong, with the numbers.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.section)
    }
}

/// Whether the target duration may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// It may not, as the standard says.
    Never,
    /// It may: no server can know how far apart the key frames of a publisher will be one day.
    Allowed,
}

/// Decimals of durations are rounded: this much per duration, in microseconds.
const ROUNDING: i64 = 10;
/// Dates are in milliseconds: they round once each way, in milliseconds.
const DATE_ROUNDING: i64 = 1;

/// Collects what is wrong.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn unless(&mut self, holds: bool, section: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Problem {
                section,
                what: what(),
            });
        }
    }
}

impl Media {
    /// The rules for one playlist by itself; empty if it keeps them all.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        self.check_version(&mut problems);
        for segment in &self.segments {
            let rounded = (segment.duration + 500_000) / 1_000_000;
            problems.unless(rounded <= self.target_s(), "4.4.3.1", || {
                format!(
                    "segment {} lasts {} us, more than the target duration of {} s",
                    segment.sequence, segment.duration, self.target
                )
            });
            problems.unless(segment.duration > 0, "4.4.4.1", || {
                format!("segment {} lasts no time", segment.sequence)
            });
        }
        self.check_names(&mut problems);
        self.check_dates(&mut problems);
        self.check_parts(&mut problems);
        self.check_control(&mut problems);
        problems.0
    }

    fn target_s(&self) -> i64 {
        i64::try_from(self.target).unwrap_or(i64::MAX)
    }

    fn check_version(&self, problems: &mut Problems) {
        let maps = self.segments.iter().any(|segment| segment.map.is_some());
        for (used, needs, what) in [
            (self.fractions, 3, "fractions of seconds"),
            (maps, 6, "EXT-X-MAP"),
            (self.skipped > 0, 9, "EXT-X-SKIP"),
        ] {
            problems.unless(!used || self.version >= needs, "8", || {
                format!("{what} needs version {needs}, and this is {}", self.version)
            });
        }
    }

    /// Names are not used twice, and fMP4 has its initialization.
    fn check_names(&self, problems: &mut Problems) {
        let mut names: Vec<&str> = self.segments.iter().map(|segment| &*segment.uri).collect();
        let parts = self.all().flat_map(|segment| &segment.parts);
        names.extend(parts.map(|part| &*part.uri));
        names.extend(self.hint.as_deref());
        names.sort_unstable();
        for pair in names.windows(2) {
            if let [one, other] = pair {
                problems.unless(one != other, "6.2.1", || format!("{one} stands for two things"));
            }
        }
        for segment in &self.segments {
            let path = segment.uri.split('?').next().unwrap_or_default();
            let needs = !path.ends_with(".ts");
            // That of a skipped segment is not seen.
            problems.unless(
                !needs || segment.map.is_some() || self.skipped > 0,
                "3.1.2",
                || format!("segment {} has no EXT-X-MAP", segment.sequence),
            );
        }
    }

    fn all(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().chain([&self.open])
    }

    /// Dates go on as durations say.
    fn check_dates(&self, problems: &mut Problems) {
        let dated = self.segments.iter().filter(|segment| segment.date.is_some());
        problems.unless(dated.count() == self.segments.len(), "4.4.4.6", || {
            "some segments have a date and some have none".to_owned()
        });
        let all: Vec<&Segment> = self.all().collect();
        for pair in all.windows(2) {
            let [one, next] = pair else { continue };
            let (Some(before), Some(after)) = (one.date, next.date) else {
                continue;
            };
            let expected = before + one.duration / 1000;
            let off = (after - expected).abs();
            problems.unless(next.discontinuity || off <= DATE_ROUNDING + 1, "4.4.4.6", || {
                format!("the date of segment {} is off by {off} ms", next.sequence)
            });
        }
    }

    fn check_parts(&self, problems: &mut Problems) {
        let parts = self.all().flat_map(|segment| &segment.parts).count();
        let Some(target) = self.part_target else {
            problems.unless(parts == 0, "4.4.3.7", || {
                "parts without EXT-X-PART-INF".to_owned()
            });
            problems.unless(self.hint.is_none(), "4.4.5.3", || {
                "a hint of a part without EXT-X-PART-INF".to_owned()
            });
            return;
        };
        for segment in self.all() {
            let last = segment.parts.len().saturating_sub(1);
            for (index, part) in segment.parts.iter().enumerate() {
                let name = &part.uri;
                problems.unless(part.duration <= target, "4.4.4.9", || {
                    format!("part {name} lasts {} us, more than {target} us", part.duration)
                });
                problems.unless(
                    index == last || part.duration * 100 >= target * 85,
                    "4.4.4.9",
                    || {
                        format!(
                            "part {name} lasts {} us, less than 85 % of {target} us",
                            part.duration
                        )
                    },
                );
            }
            let sum: i64 = segment.parts.iter().map(|part| part.duration).sum();
            let complete = segment.sequence != self.next_sequence();
            let rounding = ROUNDING * (segment.parts.len() as i64 + 1);
            problems.unless(
                !complete || segment.parts.is_empty() || (sum - segment.duration).abs() <= rounding,
                "4.4.4.9",
                || {
                    format!(
                        "segment {} lasts {} us, its parts {sum} us",
                        segment.sequence, segment.duration
                    )
                },
            );
        }
        // Players begin up to three target durations before the end, and may switch parts there only.
        let mut after: i64 = self.open.parts.iter().map(|part| part.duration).sum();
        for segment in self.segments.iter().rev() {
            let near = after + segment.duration <= self.target_s() * 1_000_000;
            // The first segment of a stream may be there before anybody knows how long parts will be.
            problems.unless(!near || !segment.parts.is_empty(), "4.4.4.9", || {
                format!("segment {}, next to the end, lists no parts", segment.sequence)
            });
            let far = after > 3 * self.target_s() * 1_000_000;
            problems.unless(!far || segment.parts.is_empty(), "4.4.4.9", || {
                format!("segment {} is far from the end and lists parts", segment.sequence)
            });
            after += segment.duration;
        }
        problems.unless(self.ended || self.hint.is_some(), "B.1", || {
            "a low-latency playlist without EXT-X-PRELOAD-HINT".to_owned()
        });
        problems.unless(
            self.segments.iter().all(|segment| segment.date.is_some()),
            "B.1",
            || "a low-latency playlist without EXT-X-PROGRAM-DATE-TIME".to_owned(),
        );
    }

    fn check_control(&self, problems: &mut Problems) {
        let Some(control) = &self.control else {
            problems.unless(self.part_target.is_none(), "4.4.3.8", || {
                "a low-latency playlist without EXT-X-SERVER-CONTROL".to_owned()
            });
            problems.unless(self.skipped == 0, "4.4.5.2", || {
                "a delta update without CAN-SKIP-UNTIL".to_owned()
            });
            return;
        };
        let target = self.target_s() * 1_000_000;
        if let Some(hold_back) = control.hold_back {
            problems.unless(hold_back >= 3 * target, "4.4.3.8", || {
                format!("HOLD-BACK {hold_back} us is below three target durations")
            });
        }
        if let Some(skip_until) = control.skip_until {
            problems.unless(skip_until >= 6 * target, "4.4.3.8", || {
                format!("CAN-SKIP-UNTIL {skip_until} us is below six target durations")
            });
            if self.skipped > 0 {
                let listed = self.duration();
                problems.unless(listed >= skip_until, "6.2.5.1", || {
                    format!("a delta update lists {listed} us, less than CAN-SKIP-UNTIL {skip_until} us")
                });
            }
        }
        let Some(part_target) = self.part_target else {
            return;
        };
        problems.unless(control.block, "B.1", || {
            "a low-latency playlist without CAN-BLOCK-RELOAD".to_owned()
        });
        // Two part targets are the least that is allowed, three what ought to be.
        let hold_back = control.part_hold_back.unwrap_or(0);
        problems.unless(hold_back >= 3 * part_target, "4.4.3.8", || {
            format!("PART-HOLD-BACK {hold_back} us is below three parts of {part_target} us")
        });
    }

    /// The rules for a whole playlist that was read after `previous`.
    pub fn check_after(&self, previous: &Self, growth: Growth) -> Vec<Problem> {
        let mut problems = Problems::default();
        let grown = growth == Growth::Allowed && self.target > previous.target;
        problems.unless(self.target == previous.target || grown, "6.2.1", || {
            format!(
                "the target duration went from {} to {}",
                previous.target, self.target
            )
        });
        problems.unless(self.part_target == previous.part_target, "4.4.3.7", || {
            format!(
                "PART-TARGET went from {:?} to {:?}",
                previous.part_target, self.part_target
            )
        });
        problems.unless(self.version == previous.version, "4.4.1.2", || {
            format!("the version went from {} to {}", previous.version, self.version)
        });
        problems.unless(self.sequence >= previous.sequence, "6.2.2", || {
            format!(
                "the media sequence went back from {} to {}",
                previous.sequence, self.sequence
            )
        });
        problems.unless(self.next_part() >= previous.next_part(), "6.2.1", || {
            format!(
                "the end went back from {:?} to {:?}",
                previous.next_part(),
                self.next_part()
            )
        });
        problems.unless(!previous.ended || self == previous, "4.4.3.4", || {
            "the playlist changed after EXT-X-ENDLIST".to_owned()
        });
        self.check_removal(previous, &mut problems);
        self.check_same(previous, &mut problems);
        problems.0
    }

    fn check_removal(&self, previous: &Self, problems: &mut Problems) {
        if self.sequence <= previous.sequence {
            problems.unless(
                self.discontinuity_sequence == previous.discontinuity_sequence,
                "6.2.2",
                || "the discontinuity sequence changed although nothing was removed".to_owned(),
            );
            return;
        }
        let least = 3 * previous.target_s() * 1_000_000;
        let listed: i64 = self.segments.iter().map(|segment| segment.duration).sum();
        problems.unless(
            listed >= least - ROUNDING * self.segments.len() as i64,
            "6.2.2",
            || format!("segments were removed, and {listed} us are left: less than three target durations"),
        );
        if self.sequence > previous.next_sequence() {
            return; // what was removed was never seen
        }
        let removed = previous
            .segments
            .iter()
            .filter(|segment| segment.sequence < self.sequence && segment.discontinuity)
            .count() as u64;
        let expected = previous.discontinuity_sequence + removed;
        problems.unless(self.discontinuity_sequence == expected, "6.2.2", || {
            format!(
                "the discontinuity sequence is {}, and it should be {expected}",
                self.discontinuity_sequence
            )
        });
    }

    /// What was listed once is listed again, and is the same.
    fn check_same(&self, previous: &Self, problems: &mut Problems) {
        for old in &previous.segments {
            if old.sequence < self.sequence {
                continue;
            }
            let Some(new) = self
                .segments
                .iter()
                .find(|segment| segment.sequence == old.sequence)
            else {
                problems.unless(false, "6.2.1", || format!("segment {} is gone", old.sequence));
                continue;
            };
            let strip = |segment: &Segment| Segment {
                parts: Vec::new(),
                ..segment.clone()
            };
            problems.unless(strip(new) == strip(old), "6.2.1", || {
                format!("a listed segment changed from {old:?} to {new:?}")
            });
            // Parts go away together.
            problems.unless(new.parts.is_empty() || new.parts == old.parts, "6.2.1", || {
                format!("the parts of segment {} changed", old.sequence)
            });
        }
        // The segment that was being made.
        let open = &previous.open;
        let new = self.all().find(|segment| segment.sequence == open.sequence);
        if let Some(new) = new.filter(|new| !new.parts.is_empty()) {
            problems.unless(new.parts.starts_with(&open.parts), "6.2.1", || {
                format!("the parts of segment {} changed while it was made", open.sequence)
            });
            let hinted = previous.hint.as_deref();
            let came = new.parts.get(open.parts.len());
            if let (Some(hinted), Some(came)) = (hinted, came) {
                problems.unless(hinted == came.uri, "4.4.5.3", || {
                    format!("{hinted} was announced, and {} came", came.uri)
                });
            }
            // A part that was announced need not come if its segment ends, but then it was the last thing of it.
            problems.unless(open.date.is_none() || open.date == new.date, "6.2.1", || {
                format!("the date of segment {} changed while it was made", open.sequence)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TS: &str = "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:5\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:00.000Z\n#EXTINF:2.00000,\n5.ts\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:02.000Z\n#EXTINF:2.00000,\n6.ts\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:04.000Z\n#EXTINF:2.00000,\n7.ts\n";

    /// [`TS`] one segment later.
    const TS_NEXT: &str = "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:6\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:02.000Z\n#EXTINF:2.00000,\n6.ts\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:04.000Z\n#EXTINF:2.00000,\n7.ts\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:06.000Z\n#EXTINF:2.00000,\n8.ts\n";

    const PARTS: &str = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,PART-HOLD-BACK=3.3\n\
        #EXT-X-PART-INF:PART-TARGET=1.1\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"i\"\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:00.000Z\n\
        #EXT-X-PART:DURATION=1.00000,URI=\"a.0\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=1.00000,URI=\"a.1\"\n\
        #EXTINF:2.00000,\na\n#EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:02.000Z\n\
        #EXT-X-PART:DURATION=1.00000,URI=\"b.0\",INDEPENDENT=YES\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"b.1\"\n";

    fn read(text: &str) -> Media {
        Media::parse(text).unwrap()
    }

    #[track_caller]
    fn breaks(problems: &[Problem], section: &str) {
        assert!(
            problems.iter().any(|problem| problem.section == section),
            "{section} among {problems:?}"
        );
    }

    #[test]
    fn what_is_right_has_no_problems() {
        for text in [TS, TS_NEXT, PARTS] {
            assert_eq!(read(text).check(), []);
            assert_eq!(read(text).check_after(&read(text), Growth::Never), []);
        }
        assert_eq!(read(TS_NEXT).check_after(&read(TS), Growth::Never), []);
        let more = PARTS.replace(
            "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"b.1\"",
            "#EXT-X-PART:DURATION=1.00000,URI=\"b.1\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"b.2\"",
        );
        assert_eq!(read(&more).check_after(&read(PARTS), Growth::Never), []);
    }

    #[test]
    fn each_rule_for_one_playlist_finds_its_breach() {
        for (text, wrong, instead, section) in [
            (TS, "VERSION:4", "VERSION:2", "8"),
            (PARTS, "VERSION:7", "VERSION:5", "8"),
            (TS, "#EXTINF:2.00000,\n6", "#EXTINF:2.50000,\n6", "4.4.3.1"),
            (TS, "6.ts", "5.ts", "6.2.1"),
            (TS, "6.ts", "6.mp4", "3.1.2"),
            (TS, "00:00:02.000Z", "00:00:02.003Z", "4.4.4.6"),
            (
                TS,
                "#EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:02.000Z\n",
                "",
                "4.4.4.6",
            ),
            (PARTS, "#EXT-X-PART-INF:PART-TARGET=1.1\n", "", "4.4.3.7"),
            (PARTS, "PART-TARGET=1.1", "PART-TARGET=0.9", "4.4.4.9"),
            (PARTS, "PART-TARGET=1.1", "PART-TARGET=1.2", "4.4.4.9"),
            (PARTS, "PART-TARGET=1.1", "PART-TARGET=1.100001", "4.4.3.8"),
            (
                PARTS,
                "DURATION=1.00000,URI=\"a.1\"",
                "DURATION=0.90000,URI=\"a.1\"",
                "4.4.4.9",
            ),
            (PARTS, "CAN-BLOCK-RELOAD=YES,", "", "B.1"),
            (PARTS, "CAN-SKIP-UNTIL=12.0", "CAN-SKIP-UNTIL=11.9", "4.4.3.8"),
            (PARTS, "CAN-BLOCK", "HOLD-BACK=5.9,CAN-BLOCK", "4.4.3.8"),
            (PARTS, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"b.1\"\n", "", "B.1"),
            (
                PARTS,
                "#EXT-X-MEDIA-SEQUENCE:7\n",
                "#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n",
                "6.2.5.1",
            ),
        ] {
            assert!(text.contains(wrong), "{wrong}");
            breaks(&read(&text.replacen(wrong, instead, 1)).check(), section);
        }
    }

    #[test]
    fn each_rule_for_two_playlists_finds_its_breach() {
        for (before, after, wrong, instead, section) in [
            (TS, TS_NEXT, "TARGETDURATION:2", "TARGETDURATION:3", "6.2.1"),
            (TS, TS_NEXT, "VERSION:4", "VERSION:7", "4.4.1.2"),
            (TS, TS_NEXT, "SEQUENCE:6", "SEQUENCE:7", "6.2.1"),
            (TS, TS_NEXT, "SEQUENCE:6", "SEQUENCE:4", "6.2.2"),
            (TS, TS_NEXT, "7.ts", "other.ts", "6.2.1"),
            (TS, TS_NEXT, "#EXTINF:2.00000,\n7", "#EXTINF:1.90000,\n7", "6.2.1"),
            (TS, TS_NEXT, "00:00:04.000Z", "00:00:04.001Z", "6.2.1"),
            (
                TS,
                TS_NEXT,
                "#EXT-X-MEDIA-",
                "#EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXT-X-MEDIA-",
                "6.2.2",
            ),
            (
                TS,
                TS,
                "#EXT-X-MEDIA-",
                "#EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXT-X-MEDIA-",
                "6.2.2",
            ),
            (TS, TS_NEXT, "#EXTINF:2.00000,\n8", "#EXTINF:1.00000,\n8", "6.2.2"),
            (PARTS, PARTS, "PART-TARGET=1.1", "PART-TARGET=1.05", "4.4.3.7"),
            (PARTS, PARTS, "b.0", "c.0", "6.2.1"),
            (
                PARTS,
                PARTS,
                "#EXT-X-PRELOAD",
                "#EXT-X-PART:DURATION=1.0,URI=\"b.x\"\n#EXT-X-PRELOAD",
                "4.4.5.3",
            ),
        ] {
            assert!(after.contains(wrong), "{wrong}");
            let changed = read(&after.replacen(wrong, instead, 1));
            breaks(&changed.check_after(&read(before), Growth::Never), section);
        }
        let ended = read(&format!("{TS}#EXT-X-ENDLIST\n"));
        breaks(&read(TS).check_after(&ended, Growth::Never), "4.4.3.4");
        let grown = read(&TS_NEXT.replace("TARGETDURATION:2", "TARGETDURATION:3"));
        assert_eq!(grown.check_after(&read(TS), Growth::Allowed), []);
    }
}
