//! What the picture shows. All positions and sizes count blocks of 4x4 pixels.

use crate::canvas::{Canvas, Colour};
use crate::font;

const BACKGROUND: Colour = Colour::rgb(0.10, 0.10, 0.10);
const LANE: Colour = Colour::rgb(0.02, 0.02, 0.02);
const TEXT: Colour = Colour::rgb(0.95, 0.95, 0.95);
const DIM_TEXT: Colour = Colour::rgb(0.6, 0.6, 0.6);
const BALL: Colour = Colour::rgb(0.95, 0.75, 0.1);

/// 75 % bars in the usual order (white, yellow, cyan, green, magenta, red, blue, black).
const BARS: [Colour; 8] = [
    Colour::rgb(0.75, 0.75, 0.75),
    Colour::rgb(0.75, 0.75, 0.0),
    Colour::rgb(0.0, 0.75, 0.75),
    Colour::rgb(0.0, 0.75, 0.0),
    Colour::rgb(0.75, 0.0, 0.75),
    Colour::rgb(0.75, 0.0, 0.0),
    Colour::rgb(0.0, 0.0, 0.75),
    Colour::rgb(0.0, 0.0, 0.0),
];

const TITLE: &str = "TIDEGATE DEMO";

/// The ball: half its width in each of its 8 rows.
const BALL_ROWS: [usize; 8] = [2, 3, 4, 4, 4, 4, 3, 2];
const BALL_SIZE: usize = 8;

/// Where things stand; fixed by the size of the picture.
#[derive(Debug)]
pub(crate) struct Scene {
    width: usize,
    height: usize,
    bars: usize,
    title: Line,
    clock: Line,
    counter: Line,
    /// Top of the ball's lane; a multiple of 4, so that the ball touches few macroblocks.
    lane: usize,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    y: usize,
    /// Blocks per dot.
    scale: usize,
}

impl Scene {
    pub(crate) fn new(width: usize, height: usize) -> Self {
        let fit =
            |characters: usize, share: usize| (width * share / 100 / (characters * font::ADVANCE)).max(1);
        let bars = height / 4 / 4 * 4;
        let title = Line {
            y: bars + height / 30,
            scale: fit(TITLE.len(), 60),
        };
        let clock = Line {
            y: title.y + (title.scale * font::HEIGHT) + height / 15,
            scale: fit(10, 80),
        };
        let lane = (height * 17 / 20 / 4 * 4).saturating_sub(BALL_SIZE);
        let counter = Line {
            y: height - font::HEIGHT - 2,
            scale: 1,
        };
        Self {
            width,
            height,
            bars,
            title,
            clock,
            counter,
            lane,
        }
    }

    /// Draws frame `n` with the clock at `wall_ms` (milliseconds since 1970 UTC).
    pub(crate) fn draw(&self, canvas: &mut Canvas, n: u64, wall_ms: u64) {
        let bottom = canvas.rows * 4;
        canvas.fill(0, 0, canvas.columns * 4, bottom, BACKGROUND);
        for (i, colour) in BARS.into_iter().enumerate() {
            // Even positions, as chroma is twice as coarse.
            let edge = |i: usize| self.width * i / 8 / 2 * 2;
            let right = if i == 7 { canvas.columns * 4 } else { edge(i + 1) };
            canvas.fill(edge(i), 0, right - edge(i), self.bars, colour);
        }
        self.text(canvas, self.title, TITLE, TEXT);
        let seconds = wall_ms / 1000 % 86_400;
        let tenth = wall_ms % 1000 / 100;
        let clock = format!(
            "{:02}:{:02}:{:02}.{tenth}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        );
        self.text(canvas, self.clock, &clock, TEXT);
        let mut counter = format!("UTC FRAME {:06}", n % 1_000_000);
        if counter.len() * font::ADVANCE > self.width {
            counter = counter.replace("RAME", "");
        }
        self.text(canvas, self.counter, &counter, DIM_TEXT);
        canvas.fill(0, self.lane, canvas.columns * 4, BALL_SIZE, LANE);
        self.ball(canvas, n);
    }

    /// To and fro, two blocks (8 pixels) per frame.
    fn ball(&self, canvas: &mut Canvas, n: u64) {
        let steps = ((self.width - BALL_SIZE) / 2) as u64;
        let phase = n % (2 * steps);
        let x = 2 * phase.min(2 * steps - phase) as usize;
        for (row, half) in BALL_ROWS.into_iter().enumerate() {
            canvas.fill(x + BALL_SIZE / 2 - half, self.lane + row, 2 * half, 1, BALL);
        }
    }

    fn text(&self, canvas: &mut Canvas, line: Line, text: &str, colour: Colour) {
        let width = (text.len() * font::ADVANCE - 1) * line.scale;
        let mut x = self.width.saturating_sub(width) / 2;
        for c in text.chars() {
            for (row, dots) in font::glyph(c).into_iter().enumerate() {
                for dot in (0..font::WIDTH).filter(|dot| dots >> (font::WIDTH - 1 - dot) & 1 == 1) {
                    let y = line.y + row * line.scale;
                    if y + line.scale <= self.height {
                        canvas.fill(x + dot * line.scale, y, line.scale, line.scale, colour);
                    }
                }
            }
            x += font::ADVANCE * line.scale;
        }
    }
}
