//! What a child prints: cut into lines, cleaned, masked, kept in the log and (the end of it) in memory.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::log::Rotating;
use crate::mask;

/// Longest line, in bytes; the rest of it is dropped. ffmpeg's longest are filter graphs and URLs, about 1000.
const MAX_LINE: usize = 4096;

/// How much of the end is kept in memory, in bytes: some 40 lines, enough to see why ffmpeg ended.
pub(crate) const MAX_TAIL: usize = 4096;

/// ffmpeg rewrites its progress line twice a second: 30 MB a day. So seldom one of them goes to the log.
const STATUS_EVERY: Duration = Duration::from_secs(60);

/// The receiving end of a child's stdout and stderr.
#[derive(Debug, Default)]
pub(crate) struct Output {
    line: Vec<u8>,
    cut: bool,
    tail: VecDeque<String>,
    tail_bytes: usize,
    /// The newest progress line (ended by a carriage return), not yet overtaken by another line.
    status: Option<String>,
    status_logged: Option<Instant>,
    log: Option<Rotating>,
}

impl Output {
    pub(crate) fn new(log: Option<Rotating>) -> Self {
        Self {
            log,
            ..Self::default()
        }
    }

    pub(crate) fn log(&self) -> Option<&Rotating> {
        self.log.as_ref()
    }

    /// Takes what was read from the pipe.
    pub(crate) fn read(&mut self, bytes: &[u8], now: Instant) {
        for byte in bytes {
            match byte {
                b'\n' | b'\r' => self.end_line(*byte == b'\r', now),
                _ if self.line.len() < MAX_LINE => self.line.push(*byte),
                _ => self.cut = true,
            }
        }
    }

    /// A line of our own, for the log only.
    pub(crate) fn note(&mut self, text: &str) {
        self.write_log(text);
    }

    /// Ends the last line, and the whole: nothing follows.
    pub(crate) fn finish(&mut self, now: Instant) {
        self.end_line(false, now);
        if let Some(status) = self.status.take() {
            self.write_log(&status);
        }
    }

    /// The last lines, oldest first, without progress lines.
    pub(crate) fn tail(&self) -> String {
        self.tail
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn end_line(&mut self, status: bool, now: Instant) {
        let line = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.cut);
        let text = String::from_utf8_lossy(&line);
        // Escape sequences and the like would garble a terminal that shows the log.
        let text: String = text.chars().filter(|c| *c == '\t' || !c.is_control()).collect();
        let text = text.trim_end();
        if text.is_empty() {
            return;
        }
        let mut text = mask::mask(text).into_owned();
        if cut {
            text.push_str(" ...");
        }
        if status {
            if self
                .status_logged
                .is_none_or(|at| now.duration_since(at) >= STATUS_EVERY)
            {
                self.status_logged = Some(now);
                self.write_log(&text);
                self.status = None;
            } else {
                self.status = Some(text);
            }
            return;
        }
        self.write_log(&text);
        self.tail_bytes += text.len() + 1;
        self.tail.push_back(text);
        while self.tail_bytes > MAX_TAIL && self.tail.len() > 1 {
            self.tail_bytes -= self.tail.pop_front().map_or(0, |line| line.len() + 1);
        }
    }

    fn write_log(&mut self, text: &str) {
        if let Some(log) = &mut self.log
            && let Err(error) = log.write_line(text)
        {
            tracing::warn!(path = %log.path().display(), %error, "cannot write the ffmpeg log any more (key ffmpeg.log)");
            self.log = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(pieces: &[&str]) -> Output {
        let mut output = Output::default();
        for piece in pieces {
            output.read(piece.as_bytes(), Instant::now());
        }
        output.finish(Instant::now());
        output
    }

    #[test]
    fn lines_are_cut_cleaned_and_masked() {
        let got = output(&[
            "first\nsec",
            "ond rtmp://u:p",
            "@h/x\n\n\u{1b}[31mred\tx\u{1b}[0m\nlast",
        ]);
        assert_eq!(got.tail(), "first\nsecond rtmp://***@h/x\n[31mred\tx[0m\nlast");
    }

    #[test]
    fn progress_lines_stay_out_of_the_tail() {
        let got = output(&["one\n", "frame= 1\rframe= 2\rframe= 3\r", "two\r\n"]);
        assert_eq!(got.tail(), "one");
        let got = output(&["frame= 1\rframe= 2\rframe= 3\nConversion failed!\n"]);
        assert_eq!(got.tail(), "frame= 3\nConversion failed!");
    }

    #[test]
    fn memory_is_bounded() {
        let got = output(&[&"x".repeat(100_000), "\nafter\n"]);
        assert_eq!(got.tail(), "after");
        let mut many = Output::default();
        for n in 0..10_000 {
            many.read(format!("line {n}\n").as_bytes(), Instant::now());
        }
        assert!(many.tail().len() <= MAX_TAIL);
        assert!(many.tail().ends_with("line 9998\nline 9999"));
    }

    #[test]
    fn log_has_few_progress_lines_but_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut output = Output::new(Some(Rotating::open(path.clone(), 1 << 20).unwrap()));
        let start = Instant::now();
        for n in 0..240 {
            output.read(
                format!("frame={n}\r").as_bytes(),
                start + Duration::from_millis(500 * n),
            );
        }
        output.finish(start);
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            "frame=0\nframe=120\nframe=239\n"
        );
    }
}
