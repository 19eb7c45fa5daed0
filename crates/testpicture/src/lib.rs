//! A synthetic camera for `tidegate demo`: colour bars, a title, a clock, a frame counter and a bouncing ball as H.264
//! Constrained Baseline, and silent AAC-LC. Pure: frame numbers and the wall clock go in, access units come out.
//!
//! Why not an encoder crate: the pure-Rust one that serves (rusty_h264) is a whole codec with SIMD kernels, and this picture
//! needs almost nothing of H.264. All of it is made of flat 4x4 blocks, so a macroblock is either skipped (unchanged) or an
//! Intra 16x16 one whose only coefficients are the block averages. With the right quantiser (see encoder.rs) this is exact:
//! what a decoder shows equals what was drawn, at some 100 kbit/s and hardly any CPU time.

mod bits;
mod canvas;
mod cavlc;
#[cfg(test)]
mod decoded;
mod encoder;
mod font;
mod scene;
pub mod silence;

use bytes::Bytes;

/// Seconds between two IDR pictures: what a new viewer waits at most, and what cameras usually do.
pub const IDR_SECONDS: u64 = 2;

/// Why there is no such test picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The title needs 320 pixels; more than 1920x1088 would serve no demo.
    #[error("test picture of {width}x{height}: must be even, and 320x240 to 1920x1088")]
    Size {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// Frames per second out of range.
    #[error("test picture with {fps} frames per second: must be 1 to 60")]
    FrameRate {
        /// Frames per second.
        fps: u32,
    },
    /// No AAC-LC with these parameters.
    #[error(
        "silence with {sample_rate} Hz and {channels} channels: must be a rate of ISO/IEC 14496-3 table 1.18, 1 or 2 channels"
    )]
    Audio {
        /// Hz.
        sample_rate: u32,
        /// Channels.
        channels: u8,
    },
}

/// The synthetic camera.
#[derive(Debug)]
pub struct TestPicture {
    scene: scene::Scene,
    encoder: encoder::Encoder,
    fps: u32,
    next: Option<u64>,
}

/// One coded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The access unit: NAL units with 4-byte lengths before them (as in FLV and MP4).
    pub data: Bytes,
    /// True for an IDR picture.
    pub key: bool,
}

impl TestPicture {
    /// A picture of `width` x `height` pixels with `fps` frames per second.
    pub fn new(width: u32, height: u32, fps: u32) -> Result<Self, Error> {
        if !(320..=1920).contains(&width)
            || !(240..=1088).contains(&height)
            || !width.is_multiple_of(2)
            || !height.is_multiple_of(2)
        {
            return Err(Error::Size { width, height });
        }
        if !(1..=60).contains(&fps) {
            return Err(Error::FrameRate { fps });
        }
        let canvas = canvas::Canvas::new(width.div_ceil(16) as usize, height.div_ceil(16) as usize);
        Ok(Self {
            scene: scene::Scene::new(width as usize / 4, height as usize / 4),
            encoder: encoder::Encoder::new(width, height, fps, canvas),
            fps,
            next: None,
        })
    }

    /// The sequence parameter set, as a NAL unit without start code.
    pub fn sps(&self) -> Bytes {
        self.encoder.sps()
    }

    /// The picture parameter set, as a NAL unit without start code.
    pub fn pps(&self) -> Bytes {
        self.encoder.pps()
    }

    /// AVCDecoderConfigurationRecord with both parameter sets (ISO/IEC 14496-15, 5.3.3.1), lengths of 4 bytes.
    pub fn avcc(&self) -> Bytes {
        let (sps, pps) = (self.sps(), self.pps());
        let mut out = vec![1, sps[1], sps[2], sps[3], 0xff, 0xe1];
        out.extend((sps.len() as u16).to_be_bytes());
        out.extend(&sps);
        out.push(1);
        out.extend((pps.len() as u16).to_be_bytes());
        out.extend(&pps);
        out.into()
    }

    /// Frame number `n` (its time is `n / fps` seconds), showing the wall clock `wall_ms`, in milliseconds since 1970 UTC.
    ///
    /// Each [`IDR_SECONDS`] there is an IDR picture, and also whenever `n` is not the successor of the last one.
    pub fn frame(&mut self, n: u64, wall_ms: u64) -> Picture {
        let key = n.is_multiple_of(IDR_SECONDS * u64::from(self.fps)) || self.next != Some(n);
        self.next = n.checked_add(1);
        self.scene.draw(self.encoder.canvas(), n, wall_ms);
        let nal = self.encoder.encode(key);
        let mut data = Vec::with_capacity(nal.len() + 4);
        data.extend((nal.len() as u32).to_be_bytes());
        data.extend(nal);
        Picture {
            data: data.into(),
            key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_come_every_two_seconds_and_after_a_jump() {
        let mut picture = TestPicture::new(640, 360, 25).unwrap();
        let numbers = (0..120).chain(200..260);
        let keys: Vec<u64> = numbers.filter(|n| picture.frame(*n, 40 * *n).key).collect();
        assert_eq!(keys, [0, 50, 100, 200, 250]);
    }

    #[test]
    fn access_unit_is_one_nal_unit_with_its_length() {
        let mut picture = TestPicture::new(640, 360, 25).unwrap();
        for n in 0..60 {
            let coded = picture.frame(n, n * 40);
            let length = u32::from_be_bytes(coded.data[..4].try_into().unwrap()) as usize;
            assert_eq!(length, coded.data.len() - 4);
            assert_eq!(
                coded.data[4] & 0x1f,
                if coded.key { 5 } else { 1 },
                "nal_unit_type of frame {n}"
            );
            assert!(
                !coded.data[4..]
                    .windows(3)
                    .any(|three| three[..2] == [0, 0] && three[2] < 3),
                "start code inside"
            );
        }
    }

    #[test]
    fn bit_rate_is_low() {
        let mut picture = TestPicture::new(640, 360, 25).unwrap();
        let bytes: usize = (0..250).map(|n| picture.frame(n, n * 40).data.len()).sum();
        let kbit_s = bytes * 8 / 10_000;
        assert!((20..1000).contains(&kbit_s), "{kbit_s} kbit/s");
    }

    #[test]
    fn configuration_record() {
        let picture = TestPicture::new(640, 360, 25).unwrap();
        let (record, sps) = (picture.avcc(), picture.sps());
        assert_eq!(record[..6], [1, 66, 0xc0, 30, 0xff, 0xe1]);
        assert_eq!(record[6..8], (sps.len() as u16).to_be_bytes());
        assert_eq!(record[8..8 + sps.len()], sps);
        assert_eq!(record.len(), 6 + 2 + sps.len() + 3 + picture.pps().len());
        assert_eq!((sps[0] & 0x1f, picture.pps()[0] & 0x1f), (7, 8));
    }

    #[test]
    fn impossible_parameters_are_refused() {
        for (width, height, fps) in [
            (318, 240, 25),
            (640, 361, 25),
            (1922, 1080, 25),
            (640, 0, 25),
            (640, 360, 0),
            (640, 360, 61),
        ] {
            assert!(
                TestPicture::new(width, height, fps).is_err(),
                "{width}x{height} {fps}"
            );
        }
        for (width, height) in [(320, 240), (1920, 1080), (1280, 720), (322, 242)] {
            TestPicture::new(width, height, 30)
                .unwrap()
                .frame(u64::MAX, u64::MAX);
        }
    }
}
