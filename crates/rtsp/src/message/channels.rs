//! Sets of interleaved channels.

/// A set of channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Channels([u64; 4]);

impl Channels {
    pub(crate) fn contains(&self, channel: u8) -> bool {
        self.0[usize::from(channel >> 6)] & (1 << (channel & 63)) != 0
    }

    pub(crate) fn insert(&mut self, channel: u8) {
        self.0[usize::from(channel >> 6)] |= 1 << (channel & 63);
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_is_told_from_all_others() {
        for own in [0, 1, 63, 64, 200, 255] {
            let mut channels = Channels::default();
            assert!(channels.is_empty());
            channels.insert(own);
            assert!(!channels.is_empty());
            assert!((0..=255).all(|channel| channels.contains(channel) == (channel == own)));
        }
    }
}
