//! Silence as AAC-LC (ISO/IEC 14496-3), for the demo's audio track and for players that insist on one.

use bytes::Bytes;

use crate::Error;
use crate::bits::Writer;

/// Samples per channel in one frame.
pub const SAMPLES_PER_FRAME: u32 = 1024;

/// Table 1.18: samplingFrequencyIndex.
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
];

/// A silent track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// AudioSpecificConfig (1.6.2.1).
    pub config: Bytes,
    /// One frame without ADTS header (raw_data_block, 4.4.2.1); every frame is this one.
    pub frame: Bytes,
}

/// Silence with `sample_rate` Hz (a standard AAC rate) and 1 or 2 channels.
pub fn aac(sample_rate: u32, channels: u8) -> Result<Silence, Error> {
    let index = RATES.iter().position(|rate| *rate == sample_rate);
    let (Some(index), 1 | 2) = (index, channels) else {
        return Err(Error::Audio {
            sample_rate,
            channels,
        });
    };

    let mut config = Writer::default();
    config.u(5, 2); // audioObjectType: AAC-LC
    config.u(4, index as u32);
    config.u(4, channels.into()); // channelConfiguration
    config.u(3, 0); // frameLengthFlag (1024), dependsOnCoreCoder, extensionFlag

    let mut frame = Writer::default();
    if channels == 1 {
        frame.u(3, 0); // ID_SCE
        frame.u(4, 0); // element_instance_tag
        frame.u(8, 0); // global_gain
        ics_info(&mut frame);
        no_tools(&mut frame);
    } else {
        frame.u(3, 1); // ID_CPE
        frame.u(4, 0); // element_instance_tag
        frame.flag(true); // common_window
        ics_info(&mut frame);
        frame.u(2, 0); // ms_mask_present
        for _ in 0..2 {
            frame.u(8, 0); // global_gain
            no_tools(&mut frame);
        }
    }
    frame.u(3, 7); // ID_END
    Ok(Silence {
        config: config.into_bytes().into(),
        frame: frame.into_bytes().into(),
    })
}

/// ics_info (4.4.2.1): a long window of which no band is coded, so sections, scale factors and spectrum are empty.
fn ics_info(bits: &mut Writer) {
    bits.flag(false); // ics_reserved_bit
    bits.u(2, 0); // window_sequence: ONLY_LONG_SEQUENCE
    bits.flag(false); // window_shape: sine
    bits.u(6, 0); // max_sfb
    bits.flag(false); // predictor_data_present
}

/// pulse_data_present, tns_data_present, gain_control_data_present
fn no_tools(bits: &mut Writer) {
    bits.u(3, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations() {
        let config = |rate, channels| aac(rate, channels).unwrap().config.to_vec();
        assert_eq!(config(44_100, 2), [0x12, 0x10]);
        assert_eq!(config(48_000, 2), [0x11, 0x90]);
        assert_eq!(config(8_000, 1), [0x15, 0x88]);
        for (sample_rate, channels) in [(44_000, 2), (48_000, 0), (48_000, 3)] {
            assert_eq!(
                aac(sample_rate, channels),
                Err(Error::Audio {
                    sample_rate,
                    channels
                })
            );
        }
    }
}
