//! The part of H.264 that flat blocks need (ITU-T H.264; clause numbers are of this standard).
//!
//! An unchanged macroblock is P_Skip. All others are Intra_16x16 with DC prediction, of which only the DC coefficients are
//! coded. The deblocking filter is off. Then everything can be exact:
//!
//! - Luma: at QP 22 LevelScale is 256, so `dcY = 32 f` (8.5.10) and the residual is `f / 2` (8.5.12). With `c = H X H / 8` the
//!   decoder gets back X, the difference to the prediction. The division leaves no remainder, as the prediction is one
//!   value for all 16 blocks and drawn luma values are multiples of 8.
//! - Chroma: chroma_qp_index_offset -12 gives QP 10, `dcC = 16 f` (8.5.11.2), residual `f / 4`: `c = H X H` gives back any X.

use std::mem;

use bytes::Bytes;

use crate::bits::Writer;
use crate::canvas::Canvas;
use crate::cavlc::{self, Kind};

const QP: i32 = 22;
const CHROMA_QP_OFFSET: i32 = -12;

/// log2 of the modulus of frame_num; 4 is the least there is.
const FRAME_NUM_BITS: u32 = 4;

/// Zig-zag scan of a 4x4 block (table 8-2, frame): index = row * 4 + column.
const ZIGZAG: [usize; 16] = [0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15];

#[derive(Debug)]
pub(crate) struct Encoder {
    width: u32,
    height: u32,
    fps: u32,
    /// Being drawn; after `encode` what the last picture shows.
    canvas: Canvas,
    /// What the last coded picture shows.
    shown: Canvas,
    frame_num: u32,
    idr_pic_id: u32,
}

impl Encoder {
    pub(crate) fn new(width: u32, height: u32, fps: u32, canvas: Canvas) -> Self {
        Self {
            width,
            height,
            fps,
            shown: canvas.clone(),
            canvas,
            frame_num: 0,
            idr_pic_id: 0,
        }
    }

    /// To draw the next picture on.
    pub(crate) fn canvas(&mut self) -> &mut Canvas {
        &mut self.canvas
    }

    /// 7.3.2.1.1
    pub(crate) fn sps(&self) -> Bytes {
        let mut bits = Writer::default();
        bits.u(8, 66); // profile_idc: Baseline
        bits.u(8, 0b1100_0000); // constraint_set0_flag and 1: Constrained Baseline
        bits.u(8, self.level_idc());
        bits.ue(0); // seq_parameter_set_id
        bits.ue(FRAME_NUM_BITS - 4);
        bits.ue(2); // pic_order_cnt_type: output order is decoding order
        bits.ue(1); // max_num_ref_frames
        bits.flag(false); // gaps_in_frame_num_value_allowed_flag
        bits.ue(self.canvas.columns as u32 - 1);
        bits.ue(self.canvas.rows as u32 - 1);
        bits.flag(true); // frame_mbs_only_flag
        bits.flag(true); // direct_8x8_inference_flag
        let (right, bottom) = (
            self.canvas.columns as u32 * 16 - self.width,
            self.canvas.rows as u32 * 16 - self.height,
        );
        bits.flag(right + bottom > 0); // frame_cropping_flag
        if right + bottom > 0 {
            [0, right / 2, 0, bottom / 2]
                .into_iter()
                .for_each(|crop| bits.ue(crop)); // in units of 2 pixels
        }
        bits.flag(true); // vui_parameters_present_flag
        self.vui(&mut bits);
        bits.into_nal(3, 7).into()
    }

    /// E.1.1
    fn vui(&self, bits: &mut Writer) {
        bits.flag(false); // aspect_ratio_info_present_flag
        bits.flag(false); // overscan_info_present_flag
        bits.flag(true); // video_signal_type_present_flag
        bits.u(3, 5); // video_format: unspecified
        bits.flag(false); // video_full_range_flag
        bits.flag(true); // colour_description_present_flag
        (0..3).for_each(|_| bits.u(8, 1)); // primaries, transfer, matrix: BT.709
        bits.flag(false); // chroma_loc_info_present_flag
        bits.flag(true); // timing_info_present_flag
        bits.u(32, 1); // num_units_in_tick
        bits.u(32, self.fps * 2); // time_scale: two ticks per frame
        bits.flag(true); // fixed_frame_rate_flag
        bits.flag(false); // nal_hrd_parameters_present_flag
        bits.flag(false); // vcl_hrd_parameters_present_flag
        bits.flag(false); // pic_struct_present_flag
        bits.flag(true); // bitstream_restriction_flag
        bits.flag(true); // motion_vectors_over_pic_boundaries_flag
        bits.ue(0); // max_bytes_per_pic_denom: no limit
        bits.ue(0); // max_bits_per_mb_denom: no limit
        bits.ue(0); // log2_max_mv_length_horizontal
        bits.ue(0); // log2_max_mv_length_vertical
        bits.ue(0); // max_num_reorder_frames: a player need not wait
        bits.ue(1); // max_dec_frame_buffering
    }

    /// The least level that fits (table A-1: MaxFS and MaxMBPS; the bit rate never matters here).
    fn level_idc(&self) -> u32 {
        let size = (self.canvas.columns * self.canvas.rows) as u32;
        let rate = size * self.fps;
        let fits = |(_, max_rate, max_size): &&(u32, u32, u32)| size <= *max_size && rate <= *max_rate;
        LEVELS.iter().find(fits).map_or(52, |(level, ..)| *level)
    }

    /// 7.3.2.2
    pub(crate) fn pps(&self) -> Bytes {
        let mut bits = Writer::default();
        bits.ue(0); // pic_parameter_set_id
        bits.ue(0); // seq_parameter_set_id
        bits.flag(false); // entropy_coding_mode_flag: CAVLC
        bits.flag(false); // bottom_field_pic_order_in_frame_present_flag
        bits.ue(0); // num_slice_groups_minus1
        bits.ue(0); // num_ref_idx_l0_default_active_minus1
        bits.ue(0); // num_ref_idx_l1_default_active_minus1
        bits.flag(false); // weighted_pred_flag
        bits.u(2, 0); // weighted_bipred_idc
        bits.se(QP - 26); // pic_init_qp_minus26
        bits.se(0); // pic_init_qs_minus26
        bits.se(CHROMA_QP_OFFSET);
        bits.flag(true); // deblocking_filter_control_present_flag
        bits.flag(false); // constrained_intra_pred_flag
        bits.flag(false); // redundant_pic_cnt_present_flag
        bits.into_nal(3, 8).into()
    }

    /// One picture as one slice: a NAL unit without start code.
    pub(crate) fn encode(&mut self, idr: bool) -> Vec<u8> {
        let mut bits = Writer::default();
        self.slice_header(&mut bits, idr);
        let mut skipped = 0;
        for row in 0..self.canvas.rows {
            for column in 0..self.canvas.columns {
                if !idr && self.canvas.same_macroblock(&self.shown, column, row) {
                    skipped += 1;
                    continue;
                }
                if !idr {
                    bits.ue(mem::take(&mut skipped)); // mb_skip_run
                }
                self.macroblock(&mut bits, idr, column, row);
            }
        }
        if skipped > 0 {
            bits.ue(skipped);
        }
        self.shown.clone_from(&self.canvas);
        bits.into_nal(if idr { 3 } else { 2 }, if idr { 5 } else { 1 })
    }

    /// 7.3.3
    fn slice_header(&mut self, bits: &mut Writer, idr: bool) {
        bits.ue(0); // first_mb_in_slice
        bits.ue(if idr { 7 } else { 5 }); // slice_type: all slices of the picture are I, or P
        bits.ue(0); // pic_parameter_set_id
        self.frame_num = if idr {
            0
        } else {
            (self.frame_num + 1) % (1 << FRAME_NUM_BITS)
        };
        bits.u(FRAME_NUM_BITS, self.frame_num);
        if idr {
            // Two IDR pictures in a row must differ in it (7.4.3).
            self.idr_pic_id ^= 1;
            bits.ue(self.idr_pic_id);
            bits.flag(false); // no_output_of_prior_pics_flag
            bits.flag(false); // long_term_reference_flag
        } else {
            bits.flag(false); // num_ref_idx_active_override_flag
            bits.flag(false); // ref_pic_list_modification_flag_l0
            bits.flag(false); // adaptive_ref_pic_marking_mode_flag
        }
        bits.se(0); // slice_qp_delta
        bits.ue(1); // disable_deblocking_filter_idc: off
    }

    /// 7.3.5, Intra_16x16 with DC prediction
    fn macroblock(&self, bits: &mut Writer, idr: bool, column: usize, row: usize) {
        let chroma = [
            self.chroma_levels(0, column, row),
            self.chroma_levels(1, column, row),
        ];
        let has_chroma = chroma.iter().flatten().any(|level| *level != 0);
        // Table 7-11: I_16x16_2_x_0, where 2 is DC prediction and x tells whether chroma DC is coded; in P slices after 5 others.
        bits.ue(if idr { 0 } else { 5 } + 3 + if has_chroma { 4 } else { 0 });
        bits.ue(0); // intra_chroma_pred_mode: DC
        bits.se(0); // mb_qp_delta
        cavlc::residual_block(bits, Kind::Luma, &self.luma_levels(column, row));
        if has_chroma {
            chroma
                .iter()
                .for_each(|levels| cavlc::residual_block(bits, Kind::ChromaDc, levels));
        }
    }

    fn luma_levels(&self, column: usize, row: usize) -> [i32; 16] {
        let (x, y) = (column * 4, row * 4);
        // 8.3.3.3: the mean of the 16 pixels above and the 16 to the left, which are 4 blocks of 4 equal pixels each.
        let above = (row > 0).then(|| (0..4).map(|i| 4 * self.canvas.luma(x + i, y - 1)).sum::<i32>());
        let left = (column > 0).then(|| (0..4).map(|i| 4 * self.canvas.luma(x - 1, y + i)).sum::<i32>());
        let prediction = match (above, left) {
            (Some(above), Some(left)) => (above + left + 16) >> 5,
            (Some(one), None) | (None, Some(one)) => (one + 8) >> 4,
            (None, None) => 128,
        };
        let mut block = [0; 16];
        for (i, value) in block.iter_mut().enumerate() {
            *value = self.canvas.luma(x + i % 4, y + i / 4) - prediction;
        }
        // H X H, first the rows, then the columns
        (0..4).for_each(|i| hadamard(&mut block, 4 * i, 1));
        (0..4).for_each(|i| hadamard(&mut block, i, 4));
        debug_assert!(
            block.iter().all(|value| value % 8 == 0),
            "drawn luma is not a multiple of 8"
        );
        ZIGZAG.map(|at| block[at] / 8)
    }

    fn chroma_levels(&self, plane: usize, column: usize, row: usize) -> [i32; 4] {
        let (x, y) = (column * 2, row * 2);
        let value = |x, y| self.canvas.chroma(plane, x, y);
        let difference = |i: usize, j: usize| {
            // 8.3.4.3, again with flat blocks, whose sums of 4 pixels are 4 times one.
            let above = (row > 0).then(|| 4 * value(x + i, y - 1));
            let left = (column > 0).then(|| 4 * value(x - 1, y + j));
            // The blocks beside the diagonal look at one side only, if it exists.
            let prediction = match (above, left, (i, j)) {
                (Some(above), _, (1, 0)) => (above + 2) >> 2,
                (_, Some(left), (0, 1)) => (left + 2) >> 2,
                (Some(above), Some(left), _) => (above + left + 4) >> 3,
                (Some(one), None, _) | (None, Some(one), _) => (one + 2) >> 2,
                (None, None, _) => 128,
            };
            value(x + i, y + j) - prediction
        };
        let (a, b, c, d) = (
            difference(0, 0),
            difference(1, 0),
            difference(0, 1),
            difference(1, 1),
        );
        [a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d]
    }
}

/// Four values, `step` apart, times the matrix of 8.5.10.
fn hadamard(block: &mut [i32; 16], at: usize, step: usize) {
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| block[at + i * step]);
    let out = [a + b + c + d, a + b - c - d, a - b - c + d, a - b + c - d];
    for (i, value) in out.into_iter().enumerate() {
        block[at + i * step] = value;
    }
}

/// Table A-1: level_idc, MaxMBPS, MaxFS.
const LEVELS: [(u32, u32, u32); 10] = [
    (20, 11_880, 396),
    (21, 19_800, 792),
    (22, 20_250, 1_620),
    (30, 40_500, 1_620),
    (31, 108_000, 3_600),
    (32, 216_000, 5_120),
    (40, 245_760, 8_192),
    (42, 522_240, 8_704),
    (50, 589_824, 22_080),
    (51, 983_040, 36_864),
];
