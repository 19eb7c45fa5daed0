//! VP8: the frame header (RFC 6386, section 9.1).

use crate::track::VideoParams;

/// Whether a frame is a key frame: bit 0 of its first byte is 0.
pub fn is_key(frame: &[u8]) -> bool {
    frame.first().is_some_and(|byte| byte & 1 == 0)
}

/// The picture size, if this is a key frame.
pub fn params(frame: &[u8]) -> Option<VideoParams> {
    let header = frame
        .first_chunk::<10>()
        .filter(|header| is_key(*header) && header[3..6] == START_CODE)?;
    // 14 bits of size under 2 bits of scaling.
    let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    Some(VideoParams {
        width: side(header[6], header[7]),
        height: side(header[8], header[9]),
        fps: 0.0,
    })
}

const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_frame_tells_its_size() {
        let key = [0x50, 0x42, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x40, 0x00];
        assert!(is_key(&key));
        assert_eq!(
            params(&key),
            Some(VideoParams {
                width: 320,
                height: 180,
                fps: 0.0
            })
        );
        let inter = [0x51, 0x42, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x40];
        assert!(!is_key(&inter) && params(&inter).is_none());
        assert!(!is_key(&[]) && params(&key[..9]).is_none());
    }
}
