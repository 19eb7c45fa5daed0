//! A picture made of flat blocks: 4x4 luma pixels share one value, and so do the 4x4 chroma pixels of 8x8 luma pixels.

/// A colour of limited-range BT.709. `y` is a multiple of 8 (see [`crate::encoder`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Colour {
    pub(crate) y: u8,
    pub(crate) cb: u8,
    pub(crate) cr: u8,
}

impl Colour {
    /// From red, green and blue, each 0.0 to 1.0 (ITU-R BT.709, 3.3 and 3.4); luma is rounded to a multiple of 8.
    pub(crate) const fn rgb(r: f64, g: f64, b: f64) -> Self {
        let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        let cb = (b - y) / 1.8556;
        let cr = (r - y) / 1.5748;
        Self {
            y: ((16.0 + 219.0 * y) / 8.0 + 0.5) as u8 * 8,
            cb: (128.5 + 224.0 * cb) as u8,
            cr: (128.5 + 224.0 * cr) as u8,
        }
    }
}

/// Whole macroblocks; cropping hides what is too much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Canvas {
    /// Width in macroblocks.
    pub(crate) columns: usize,
    /// Height in macroblocks.
    pub(crate) rows: usize,
    y: Vec<u8>,
    cb: Vec<u8>,
    cr: Vec<u8>,
}

impl Canvas {
    pub(crate) fn new(columns: usize, rows: usize) -> Self {
        let blocks = columns * rows;
        Self {
            columns,
            rows,
            y: vec![16; blocks * 16],
            cb: vec![128; blocks * 4],
            cr: vec![128; blocks * 4],
        }
    }

    /// Fills a rectangle; all numbers count 4x4 blocks. Chroma is set for each 8x8 block that is touched. What lies outside
    /// is left out.
    pub(crate) fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: Colour) {
        let (right, bottom) = ((x + width).min(self.columns * 4), (y + height).min(self.rows * 4));
        for row in y..bottom {
            for column in x..right {
                self.y[row * self.columns * 4 + column] = colour.y;
                let chroma = row / 2 * self.columns * 2 + column / 2;
                self.cb[chroma] = colour.cb;
                self.cr[chroma] = colour.cr;
            }
        }
    }

    /// Luma of the block at (x, y), counted in 4x4 blocks.
    pub(crate) fn luma(&self, x: usize, y: usize) -> i32 {
        self.y[y * self.columns * 4 + x].into()
    }

    /// Chroma (0 = Cb, 1 = Cr) of the block at (x, y), counted in 4x4 chroma blocks.
    pub(crate) fn chroma(&self, plane: usize, x: usize, y: usize) -> i32 {
        let plane = if plane == 0 { &self.cb } else { &self.cr };
        plane[y * self.columns * 2 + x].into()
    }

    /// True if macroblock (column, row) looks the same in `other`, which has the same size.
    pub(crate) fn same_macroblock(&self, other: &Self, column: usize, row: usize) -> bool {
        let same = |ours: &[u8], theirs: &[u8], per_row: usize| {
            (0..per_row).all(|line| {
                let from = (row * per_row + line) * self.columns * per_row + column * per_row;
                ours[from..from + per_row] == theirs[from..from + per_row]
            })
        };
        same(&self.y, &other.y, 4) && same(&self.cb, &other.cb, 2) && same(&self.cr, &other.cr, 2)
    }
}
