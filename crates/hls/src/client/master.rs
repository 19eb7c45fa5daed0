//! Which variant of a master playlist is played (RFC 8216bis, sections 4.4.6 and 6.3.1).

use super::Error;
use super::playlist::{AudioRendition, Master, Variant};

/// What is played of a master playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The variant.
    pub variant: &'a Variant,
    /// The URI of the playlist with its sound, if that is a playlist of its own.
    pub audio: Option<&'a str>,
}

impl Master {
    /// The variant with the highest bandwidth whose codecs are all known. Of several qualities a server that passes a stream on wants
    /// the best; whoever wants another one pulls that variant's playlist. If each variant has a codec that is not known, those with at
    /// least one that is come second: the rest of it is left out.
    ///
    /// # Errors
    ///
    /// No variant has a codec that is known.
    pub fn choose(&self) -> Result<Choice<'_>, Error> {
        let best = |fits: fn(&Variant) -> bool| {
            let variants = self.variants.iter().filter(|variant| fits(variant));
            // The first of equals, as the author has ordered them.
            variants.rev().max_by_key(|variant| variant.bandwidth)
        };
        let variant = best(Variant::is_known).or_else(|| best(Variant::is_known_in_part));
        let variant = variant.ok_or_else(|| Error::NoVariant {
            codecs: self.codecs(),
        })?;
        let group = self
            .audio
            .iter()
            .filter(|rendition| variant.audio.as_ref() == Some(&rendition.group));
        Ok(Choice {
            variant,
            audio: preferred(group).and_then(|rendition| rendition.uri.as_deref()),
        })
    }

    fn codecs(&self) -> String {
        let codecs = self
            .variants
            .iter()
            .filter_map(|variant| variant.codecs.as_deref());
        let mut text = codecs.collect::<Vec<_>>().join("; ");
        // It is for a log line.
        let end = (0..=text.len().min(MAX_SHOWN))
            .rev()
            .find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text
    }
}

/// Longest list of codecs in an error.
const MAX_SHOWN: usize = 300;

impl Variant {
    fn is_known(&self) -> bool {
        self.codecs
            .as_deref()
            .is_none_or(|codecs| codecs.split(',').all(is_known))
    }

    fn is_known_in_part(&self) -> bool {
        self.codecs
            .as_deref()
            .is_none_or(|codecs| codecs.split(',').any(is_known))
    }
}

/// Whether a codec string (RFC 6381) names something that Tidegate carries.
fn is_known(codec: &str) -> bool {
    const KNOWN: [&str; 14] = [
        "avc1", "avc3", "hvc1", "hev1", "av01", "vp09", "vp08", "mp4a.40", "mp4a.67", "mp4a.69", "mp4a.6b",
        "mp3", "opus", // An empty list names none that is not known.
        "",
    ];
    let codec = codec.trim().to_ascii_lowercase();
    KNOWN.iter().any(|known| {
        codec
            .strip_prefix(known)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// The rendition that is played when nobody chooses: the default one, else one that may be chosen by itself, else the first.
fn preferred<'a>(group: impl Iterator<Item = &'a AudioRendition> + Clone) -> Option<&'a AudioRendition> {
    let default = group.clone().find(|rendition| rendition.default);
    let auto = || group.clone().find(|rendition| rendition.autoselect);
    default.or_else(auto).or_else(|| group.clone().next())
}

#[cfg(test)]
mod tests {
    use super::super::playlist::{Playlist, parse};
    use super::*;

    /// The URIs chosen from a master playlist.
    fn choice(text: &str) -> Result<(String, Option<String>), Error> {
        let Playlist::Master(master) = parse(text.as_bytes())? else {
            panic!("not a master playlist: {text}")
        };
        let choice = master.choose()?;
        Ok((choice.variant.uri.clone(), choice.audio.map(str::to_owned)))
    }

    fn variant(attributes: &str, uri: &str) -> String {
        format!("#EXT-X-STREAM-INF:{attributes}\n{uri}\n")
    }

    #[test]
    fn the_highest_bandwidth_with_known_codecs_is_chosen() {
        let text = format!(
            "#EXTM3U\n{}{}{}{}",
            variant(r#"BANDWIDTH=900000,CODECS="avc1.4d401e,mp4a.40.2""#, "low"),
            variant(r#"BANDWIDTH=5000000,CODECS="hvc1.2.4.L123,ec-3""#, "dolby"),
            variant(r#"BANDWIDTH=3000000,CODECS="HEV1.1.6,mp4a.40.5""#, "high"),
            variant(r#"BANDWIDTH=3000000,CODECS="avc1.640028""#, "same"),
        );
        assert_eq!(choice(&text), Ok(("high".into(), None)));
    }

    #[test]
    fn codecs_known_in_part_are_better_than_none() {
        let text = format!(
            "#EXTM3U\n{}{}",
            variant(r#"BANDWIDTH=1,CODECS="avc1.4d401e,ac-3""#, "a"),
            variant(r#"BANDWIDTH=2,CODECS="dvh1.05,ac-4""#, "b"),
        );
        assert_eq!(choice(&text), Ok(("a".into(), None)));
        let text = format!("#EXTM3U\n{}", variant(r#"BANDWIDTH=2,CODECS="mp4v.20.9""#, "b"));
        assert_eq!(
            choice(&text),
            Err(Error::NoVariant {
                codecs: "mp4v.20.9".into()
            })
        );
        assert_eq!(
            choice(&format!("#EXTM3U\n{}", variant("BANDWIDTH=2", "c"))),
            Ok(("c".into(), None)),
            "not told"
        );
    }

    #[test]
    fn sound_in_a_playlist_of_its_own_is_found() {
        let text = format!(
            "#EXTM3U\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"en\",URI=\"en.m3u8\",AUTOSELECT=YES\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"de\",URI=\"de.m3u8\",DEFAULT=YES,AUTOSELECT=YES\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"b\",NAME=\"in it\",DEFAULT=YES\n\
            #EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"a\",NAME=\"text\",URI=\"t.m3u8\",DEFAULT=YES\n{}{}{}",
            variant(r#"BANDWIDTH=3,AUDIO="a""#, "v3"),
            variant(r#"BANDWIDTH=2,AUDIO="b""#, "v2"),
            variant(r#"BANDWIDTH=1,AUDIO="none""#, "v1"),
        );
        assert_eq!(choice(&text), Ok(("v3".into(), Some("de.m3u8".into()))));
        let text = text.replace("BANDWIDTH=3", "BANDWIDTH=0");
        assert_eq!(choice(&text), Ok(("v2".into(), None)), "muxed with the picture");
        let text = text.replace("BANDWIDTH=2", "BANDWIDTH=0");
        assert_eq!(
            choice(&text),
            Ok(("v1".into(), None)),
            "a group that is not there"
        );
    }
}
