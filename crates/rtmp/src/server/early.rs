//! What an impatient publisher sends before it was accepted.

use container::flv::{Tag, TagType};

/// Longest body that is kept. Decoder configurations have tens to hundreds of bytes, metadata a few thousand.
const MAX_KEPT_LEN: usize = 64 << 10;

/// The newest metadata and decoder configurations: some encoders send them right behind `publish` and never again. Everything
/// else that comes before the verdict is dropped. At most three bodies of [`MAX_KEPT_LEN`] bytes.
#[derive(Debug, Default)]
pub(super) struct Early {
    metadata: Option<Tag>,
    video: Option<Tag>,
    audio: Option<Tag>,
}

impl Early {
    /// Whether the tag was kept.
    pub(super) fn keep(&mut self, tag: Tag) -> bool {
        if tag.body.len() > MAX_KEPT_LEN || !is_configuration(&tag) {
            return false;
        }
        let place = match tag.tag_type {
            TagType::Script => &mut self.metadata,
            TagType::Video => &mut self.video,
            TagType::Audio => &mut self.audio,
        };
        *place = Some(tag);
        true
    }

    /// Metadata first, then the configurations.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Tag> + use<> {
        let Self {
            metadata,
            video,
            audio,
        } = std::mem::take(self);
        [metadata, video, audio].into_iter().flatten()
    }
}

/// Metadata, or a sequence header in its classic or enhanced form (FLV 10.1, annex E.4.2 and E.4.3; Enhanced RTMP,
/// "Extended video tag" and "Extended audio tag").
fn is_configuration(tag: &Tag) -> bool {
    match (tag.tag_type, &tag.body[..]) {
        (TagType::Script, _) => true,
        (TagType::Video, [first, ..]) if first & 0x80 != 0 => first & 0x0F == 0,
        // AVC and the domestic ids of H.265 and AV1.
        (TagType::Video, [first, 0, ..]) => matches!(first & 0x0F, 7 | 12 | 13),
        (TagType::Audio, [first, ..]) if first >> 4 == 9 => first & 0x0F == 0,
        (TagType::Audio, [first, 0, ..]) => first >> 4 == 10,
        (TagType::Video | TagType::Audio, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn tag(tag_type: TagType, body: &'static [u8]) -> Tag {
        Tag {
            tag_type,
            timestamp_ms: 0,
            body: Bytes::from_static(body),
        }
    }

    #[test]
    fn only_configurations_are_kept_the_newest_of_each_kind() {
        let mut early = Early::default();
        for kept in [
            tag(TagType::Audio, &[0xaf, 0, 0x12, 0x08]),
            tag(TagType::Video, &[0x17, 0, 0, 0, 0, 1]),
            tag(TagType::Script, b"old"),
            tag(TagType::Script, b"new"),
            tag(TagType::Video, b"\x90hvc1"),
        ] {
            assert!(early.keep(kept.clone()), "{kept:?}");
        }
        for dropped in [
            tag(TagType::Audio, &[0xaf, 1, 0x12]),
            tag(TagType::Audio, &[0x72, 0, 0]),
            tag(TagType::Video, &[0x17, 1, 0, 0, 0, 1]),
            tag(TagType::Video, b"\x91hvc1"),
            tag(TagType::Video, b""),
            Tag {
                body: vec![0; MAX_KEPT_LEN + 1].into(),
                ..tag(TagType::Script, b"")
            },
        ] {
            assert!(!early.keep(dropped.clone()), "{:?}", dropped.tag_type);
        }
        let kept: Vec<_> = early.take().map(|tag| tag.body).collect();
        assert_eq!(kept, [&b"new"[..], b"\x90hvc1", &[0xaf, 0, 0x12, 0x08]]);
        assert_eq!(early.take().count(), 0);
    }
}
