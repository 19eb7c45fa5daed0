//! When the tracks of a publisher are known well enough to offer the stream.

use media::MediaKind;
use std::time::{Duration, Instant};

/// How long to wait for tracks (lifecycle.md, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateLimits {
    /// `general.wait_track_ready_ms`: from the first track or declaration on; tracks not ready by then are not waited for.
    pub track_ready: Duration,
    /// `general.wait_add_track_ms`: with tracks of one kind only and no declaration, how long another may take.
    pub add_track: Duration,
    /// `general.wait_audio_track_data_ms`: how long declared audio may send nothing.
    pub audio_data: Duration,
    /// `general.unready_frame_cache`: frames kept per track until the stream is ready.
    pub cached_frames: usize,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            track_ready: Duration::from_secs(10),
            add_track: Duration::from_secs(3),
            audio_data: Duration::from_secs(1),
            cached_frames: 100,
        }
    }
}

/// What the gate looks at in a track.
#[derive(Clone, Copy)]
pub(crate) struct Candidate {
    pub kind: MediaKind,
    pub ready: bool,
    /// A frame of it was seen.
    pub data: bool,
    pub added: Instant,
}

/// What the publisher said it would send.
#[derive(Clone, Copy)]
pub(crate) struct Declared {
    pub video: bool,
    pub audio: bool,
    pub at: Instant,
}

/// The rules, over a snapshot of what is known.
pub(crate) struct Gate<'a> {
    pub limits: GateLimits,
    pub declared: Option<Declared>,
    /// Time of the first track or declaration.
    pub opened: Instant,
    pub tracks: &'a [Candidate],
    /// No further track would be accepted.
    pub full: bool,
    /// Audio is carried (`protocol.enable_audio`).
    pub audio: bool,
}

/// What is to be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Nothing.
    Over,
    /// Something that may come until then; the stream is ready without it at that time.
    Until(Instant),
    /// The first track that can be played, however long it takes. (Whoever owns the publisher has its own patience.)
    FirstTrack,
}

impl Gate<'_> {
    pub fn wait(&self) -> Wait {
        if !self.tracks.iter().any(|track| track.ready) {
            return Wait::FirstTrack;
        }
        let limit = self.opened + self.limits.track_ready;
        let has = |kind| self.tracks.iter().any(|track| track.kind == kind);
        let (video, audio) = (has(MediaKind::Video), has(MediaKind::Audio));
        let mut until: Option<Instant> = None;
        let mut wait = |time: Instant| until = until.max(Some(time.min(limit)));
        for track in self.tracks.iter().filter(|track| !track.ready) {
            match track.kind {
                MediaKind::Audio if !track.data => wait(track.added + self.limits.audio_data),
                MediaKind::Audio | MediaKind::Video => wait(limit),
            }
        }
        match self.declared {
            Some(declared) => {
                if declared.video && !video {
                    wait(limit);
                }
                if declared.audio && self.audio && !audio {
                    wait(declared.at + self.limits.audio_data);
                }
            }
            None => {
                let complete = video && (audio || !self.audio);
                if !complete && !self.full {
                    wait(self.opened + self.limits.add_track);
                }
            }
        }
        until.map_or(Wait::Over, Wait::Until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MediaKind::{Audio, Video};

    /// Times in milliseconds after the opening.
    struct Case {
        declared: Option<(bool, bool, u64)>,
        tracks: &'static [(MediaKind, bool, bool, u64)],
        full: bool,
        audio: bool,
    }

    const OPEN: Case = Case {
        declared: None,
        tracks: &[],
        full: false,
        audio: true,
    };

    /// `Some(0)`: ready at once; `None`: waits for a first track.
    fn check(case: Case, expected: Option<u64>) {
        let opened = Instant::now();
        let at = |millis| opened + Duration::from_millis(millis);
        let tracks: Vec<_> = case
            .tracks
            .iter()
            .map(|&(kind, ready, data, added)| Candidate {
                kind,
                ready,
                data,
                added: at(added),
            })
            .collect();
        let declared = case.declared.map(|(video, audio, time)| Declared {
            video,
            audio,
            at: at(time),
        });
        let limits = GateLimits::default();
        let wait = Gate {
            limits,
            declared,
            opened,
            tracks: &tracks,
            full: case.full,
            audio: case.audio,
        }
        .wait();
        let expected = match expected {
            None => Wait::FirstTrack,
            Some(0) => Wait::Over,
            Some(millis) => Wait::Until(at(millis)),
        };
        assert_eq!(wait, expected);
    }

    #[test]
    fn nothing_can_be_played_without_a_ready_track() {
        check(OPEN, None);
        check(
            Case {
                tracks: &[(Video, false, true, 0)],
                ..OPEN
            },
            None,
        );
        check(
            Case {
                declared: Some((true, true, 0)),
                ..OPEN
            },
            None,
        );
    }

    #[test]
    fn all_that_was_declared_is_enough() {
        const BOTH: &[(MediaKind, bool, bool, u64)] = &[(Video, true, false, 0), (Audio, true, false, 0)];
        check(
            Case {
                declared: Some((true, true, 0)),
                tracks: BOTH,
                ..OPEN
            },
            Some(0),
        );
        check(
            Case {
                declared: Some((true, false, 0)),
                tracks: &[(Video, true, false, 0)],
                ..OPEN
            },
            Some(0),
        );
        check(
            Case {
                declared: Some((false, true, 0)),
                tracks: &[(Audio, true, false, 0)],
                ..OPEN
            },
            Some(0),
        );
    }

    #[test]
    fn undeclared_one_kind_waits_for_the_other_three_seconds() {
        check(
            Case {
                tracks: &[(Video, true, true, 0)],
                ..OPEN
            },
            Some(3_000),
        );
        check(
            Case {
                tracks: &[(Audio, true, true, 0)],
                ..OPEN
            },
            Some(3_000),
        );
        check(
            Case {
                tracks: &[(Video, true, true, 0), (Audio, true, true, 0)],
                ..OPEN
            },
            Some(0),
        );
        check(
            Case {
                tracks: &[(Video, true, true, 0)],
                full: true,
                ..OPEN
            },
            Some(0),
        );
        check(
            Case {
                tracks: &[(Video, true, true, 0)],
                audio: false,
                ..OPEN
            },
            Some(0),
        );
    }

    #[test]
    fn declared_audio_without_data_is_dropped_after_a_second() {
        check(
            Case {
                declared: Some((true, true, 500)),
                tracks: &[(Video, true, true, 0)],
                ..OPEN
            },
            Some(1_500),
        );
        const SILENT: &[(MediaKind, bool, bool, u64)] = &[(Video, true, true, 0), (Audio, false, false, 200)];
        check(
            Case {
                declared: Some((true, true, 0)),
                tracks: SILENT,
                ..OPEN
            },
            Some(1_200),
        );
        check(
            Case {
                declared: Some((true, true, 0)),
                tracks: &[(Video, true, true, 0)],
                audio: false,
                ..OPEN
            },
            Some(0),
        );
    }

    #[test]
    fn unready_or_missing_tracks_are_dropped_after_ten_seconds() {
        const NO_SPS: &[(MediaKind, bool, bool, u64)] = &[(Audio, true, true, 0), (Video, false, true, 0)];
        check(
            Case {
                tracks: NO_SPS,
                ..OPEN
            },
            Some(10_000),
        );
        check(
            Case {
                declared: Some((true, true, 0)),
                tracks: &[(Audio, true, true, 0)],
                ..OPEN
            },
            Some(10_000),
        );
        const NO_CONFIG: &[(MediaKind, bool, bool, u64)] = &[(Video, true, true, 0), (Audio, false, true, 0)];
        check(
            Case {
                tracks: NO_CONFIG,
                ..OPEN
            },
            Some(10_000),
        );
    }

    #[test]
    fn no_wait_is_longer_than_the_limit_for_all() {
        check(
            Case {
                declared: Some((true, true, 9_500)),
                tracks: &[(Video, true, true, 0)],
                ..OPEN
            },
            Some(10_000),
        );
    }
}
