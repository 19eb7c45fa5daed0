//! Which streams are online, told from the forms that come and go. Pure.

use media::{Schema, StreamKey};
use std::collections::HashMap;

/// The streams that have a form. As many as there are live streams.
#[derive(Debug, Default)]
pub(super) struct Online(HashMap<StreamKey, Forms>);

#[derive(Debug, Default)]
struct Forms {
    /// One bit for each schema.
    mask: u16,
    /// It was told that the stream is online.
    told: bool,
}

fn bit(schema: Schema) -> u16 {
    let index = Schema::ALL.iter().position(|other| *other == schema);
    index.map_or(0, |index| 1 << index)
}

impl Online {
    /// A form came. Whether that is to be told: it is the first of which something is known.
    pub(super) fn came(&mut self, key: &StreamKey, schema: Schema) -> bool {
        let forms = self.0.entry(key.clone()).or_default();
        forms.mask |= bit(schema);
        !forms.told
    }

    /// Whether it was told that a stream is online.
    pub(super) fn is_told(&self, key: &StreamKey) -> bool {
        self.0.get(key).is_some_and(|forms| forms.told)
    }

    /// It was told.
    pub(super) fn told(&mut self, key: &StreamKey) {
        if let Some(forms) = self.0.get_mut(key) {
            forms.told = true;
        }
    }

    /// A form went. Whether that is to be told: it was the last one, of a stream that was told of.
    pub(super) fn went(&mut self, key: &StreamKey, schema: Schema) -> bool {
        let Some(forms) = self.0.get_mut(key) else {
            return false;
        };
        forms.mask &= !bit(schema);
        if forms.mask != 0 {
            return false;
        }
        self.0.remove(key).is_some_and(|forms| forms.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_online_from_its_first_form_to_its_last() {
        let key = StreamKey::on_default_vhost("live", "cam");
        let mut online = Online::default();
        assert!(online.came(&key, Schema::Rtmp));
        online.told(&key);
        assert!(!online.came(&key, Schema::Hls));
        assert!(!online.went(&key, Schema::Rtmp));
        assert!(online.went(&key, Schema::Hls));
        assert!(online.0.is_empty());
        assert!(!online.went(&key, Schema::Hls));
    }

    #[test]
    fn one_that_went_before_anything_was_known_is_not_told_at_all() {
        let key = StreamKey::on_default_vhost("live", "cam");
        let mut online = Online::default();
        assert!(online.came(&key, Schema::Rtmp));
        assert!(online.came(&key, Schema::Ts), "it is still to be told");
        assert!(!online.went(&key, Schema::Rtmp));
        assert!(!online.went(&key, Schema::Ts));
        assert!(online.0.is_empty());
    }
}
