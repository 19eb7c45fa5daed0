//! G.711: a byte is a sample, so there is nothing to parse.

use crate::track::AudioParams;

/// What telephony uses and FLV implies: 8000 Hz, mono, 16 bits after decoding.
pub const PARAMS: AudioParams = AudioParams {
    sample_rate: 8000,
    channels: 1,
    sample_bits: 16,
};
