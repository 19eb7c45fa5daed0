//! The text of a playlist (RFC 8216bis, section 4).
//!
//! A parser of our own: `m3u8-rs` 6 refuses a byte order mark, takes the rest of a fractional target duration for a segment, reads a
//! wrong duration as 0, and of two keys in a row it keeps the last, so DRM beside AES-128 hides it.

use super::Error;
use super::attributes::Attributes;
use std::sync::Arc;
use std::time::Duration;

/// Longest playlist in bytes.
pub const MAX_PLAYLIST: usize = 1 << 20;

/// Most segments in a playlist: a day with segments of less than five seconds.
pub const MAX_SEGMENTS: usize = 20_000;

/// Most variants and most renditions of a master playlist, and most keys that apply at once.
pub(super) const MAX_LIST: usize = 256;

/// Longest URI in bytes.
pub(super) const MAX_URI: usize = 8192;

/// Longest duration of one segment and longest target duration. It keeps sums of them far from overflow.
const MAX_DURATION: f64 = 86_400.0;

/// A playlist of either sort.
#[derive(Clone, Debug, PartialEq)]
pub enum Playlist {
    /// A list of playlists.
    Master(Master),
    /// A list of segments.
    Media(Media),
}

/// A master ("multivariant") playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Master {
    /// In the order of the text.
    pub variants: Vec<Variant>,
    /// Renditions of sound, in the order of the text.
    pub audio: Vec<AudioRendition>,
}

/// `EXT-X-STREAM-INF`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Its playlist, as written.
    pub uri: String,
    /// `BANDWIDTH` in bits per second; 0 if it is missing.
    pub bandwidth: u64,
    /// `CODECS`, as written.
    pub codecs: Option<String>,
    /// `AUDIO`: its group of renditions.
    pub audio: Option<String>,
}

/// `EXT-X-MEDIA` with `TYPE=AUDIO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioRendition {
    /// `GROUP-ID`.
    pub group: String,
    /// `URI`: its playlist. Without one the sound is in the variant's segments.
    pub uri: Option<String>,
    /// `DEFAULT=YES`.
    pub default: bool,
    /// `AUTOSELECT=YES`.
    pub autoselect: bool,
}

/// A media playlist.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// `EXT-X-TARGETDURATION`.
    pub target: Duration,
    /// `EXT-X-MEDIA-SEQUENCE`: the number of the first segment.
    pub sequence: u64,
    /// `EXT-X-DISCONTINUITY-SEQUENCE`, if it is there.
    pub discontinuity_sequence: Option<u64>,
    /// `EXT-X-PLAYLIST-TYPE`.
    pub kind: Option<Kind>,
    /// `EXT-X-ENDLIST`: no segment will be added.
    pub ended: bool,
    /// `TIME-OFFSET` of `EXT-X-START` in seconds; negative from the end.
    pub start: Option<f64>,
    /// `HOLD-BACK` of `EXT-X-SERVER-CONTROL`: how far from the end a live player begins.
    pub hold_back: Option<Duration>,
    /// In order; at most [`MAX_SEGMENTS`].
    pub segments: Vec<MediaSegment>,
}

/// What may change in a playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Segments are added, none removed.
    Event,
    /// Nothing.
    Vod,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaSegment {
    /// As written.
    pub uri: String,
    /// `EXTINF`.
    pub duration: Duration,
    /// The part of the resource that it is; the whole one if there is none.
    pub range: Option<ByteRange>,
    /// `EXT-X-DISCONTINUITY` stands before it.
    pub discontinuity: bool,
    /// `EXT-X-GAP`: it is missing.
    pub gap: bool,
    /// How it is encrypted.
    pub encryption: Arc<Encryption>,
    /// The initialization section that it needs.
    pub map: Option<Arc<Map>>,
}

/// A part of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub offset: u64,
    /// Bytes, at least 1. `offset + length` does not overflow.
    pub length: u64,
}

impl ByteRange {
    /// One behind the last byte.
    pub const fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// `EXT-X-MAP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// As written.
    pub uri: String,
    /// The part of the resource that it is.
    pub range: Option<ByteRange>,
    /// How it is encrypted.
    pub encryption: Arc<Encryption>,
}

/// What `EXT-X-KEY` says about the segments behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Nothing is encrypted.
    None,
    /// The whole resource, with AES-128 in CBC mode and PKCS7 padding.
    Aes128 {
        /// The key, as written.
        uri: String,
        /// The initialization vector. Without one it is the number of the segment.
        iv: Option<[u8; 16]>,
    },
    /// Something else: the method, and the key format if it is not the usual one.
    Unsupported(String),
}

/// Reads a playlist. Tags that are not known are passed over.
///
/// # Errors
///
/// It is none, a bound is exceeded, or a line that matters cannot be understood.
pub fn parse(bytes: &[u8]) -> Result<Playlist, Error> {
    if bytes.len() > MAX_PLAYLIST {
        return Err(Error::TooLong { got: bytes.len() });
    }
    // Titles in other encodings do no harm. The byte order mark is not allowed (section 4), and Windows editors write it.
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut lines = text.lines().map(str::trim).enumerate();
    let is_first = lines
        .by_ref()
        .map(|(_, line)| line)
        .find(|line| !line.is_empty())
        .is_some_and(|line| line == "#EXTM3U" || line.starts_with("#EXTM3U "));
    if !is_first {
        return Err(Error::NotAPlaylist);
    }
    let mut parser = Parser::new();
    for (at, line) in lines {
        parser.line = at.saturating_add(1);
        match line.strip_prefix('#') {
            Some(tag) => parser.tag(tag)?,
            None if line.is_empty() => {}
            None => parser.uri(line)?,
        }
    }
    parser.finish()
}

struct Parser {
    line: usize,
    master: Master,
    is_master: bool,
    target: Option<Duration>,
    media: Media,
    /// Of the variant whose URI comes next.
    variant: Option<Variant>,
    /// What applies to the segment whose URI comes next.
    duration: Option<Duration>,
    range: Option<(u64, Option<u64>)>,
    discontinuity: bool,
    gap: bool,
    keys: Vec<Key>,
    encryption: Arc<Encryption>,
    map: Option<Arc<Map>>,
}

/// An `EXT-X-KEY` that applies.
struct Key {
    format: String,
    encryption: Encryption,
}

impl Parser {
    fn new() -> Self {
        Self {
            line: 0,
            master: Master::default(),
            is_master: false,
            target: None,
            media: Media {
                target: Duration::ZERO,
                sequence: 0,
                discontinuity_sequence: None,
                kind: None,
                ended: false,
                start: None,
                hold_back: None,
                segments: Vec::new(),
            },
            variant: None,
            duration: None,
            range: None,
            discontinuity: false,
            gap: false,
            keys: Vec::new(),
            encryption: Arc::new(Encryption::None),
            map: None,
        }
    }

    fn tag(&mut self, tag: &str) -> Result<(), Error> {
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "EXTINF" => {
                let number = value.split(',').next().unwrap_or_default();
                self.duration = Some(self.seconds("EXTINF", number)?);
            }
            "EXT-X-BYTERANGE" => self.range = Some(self.range("EXT-X-BYTERANGE", value)?),
            "EXT-X-DISCONTINUITY" => self.discontinuity = true,
            "EXT-X-GAP" => self.gap = true,
            "EXT-X-KEY" => self.key(value)?,
            "EXT-X-MAP" => self.map = Some(Arc::new(self.map(value)?)),
            "EXT-X-TARGETDURATION" => self.target = Some(self.seconds("EXT-X-TARGETDURATION", value)?),
            "EXT-X-MEDIA-SEQUENCE" => self.media.sequence = self.sequence("EXT-X-MEDIA-SEQUENCE", value)?,
            "EXT-X-DISCONTINUITY-SEQUENCE" => {
                let number = self.sequence("EXT-X-DISCONTINUITY-SEQUENCE", value)?;
                self.media.discontinuity_sequence = Some(number);
            }
            "EXT-X-PLAYLIST-TYPE" => {
                self.media.kind = match value {
                    "EVENT" => Some(Kind::Event),
                    "VOD" => Some(Kind::Vod),
                    _ => None,
                }
            }
            "EXT-X-ENDLIST" => self.media.ended = true,
            "EXT-X-START" => {
                let offset =
                    Attributes::get(value, "TIME-OFFSET").and_then(|offset| offset.parse::<f64>().ok());
                self.media.start = offset.filter(|offset| offset.abs() <= MAX_DURATION);
            }
            "EXT-X-SERVER-CONTROL" => {
                let hold_back = Attributes::get(value, "HOLD-BACK").and_then(duration);
                self.media.hold_back = hold_back;
            }
            "EXT-X-STREAM-INF" => {
                self.is_master = true;
                let attribute = |name| Attributes::get(value, name);
                self.variant = Some(Variant {
                    uri: String::new(),
                    bandwidth: attribute("BANDWIDTH")
                        .and_then(|text| text.parse().ok())
                        .unwrap_or(0),
                    codecs: attribute("CODECS").map(str::to_owned),
                    audio: attribute("AUDIO").map(str::to_owned),
                });
            }
            "EXT-X-MEDIA" => {
                self.is_master = true;
                self.rendition(value)?;
            }
            "EXT-X-DEFINE" => {
                let what = "variables in playlists (EXT-X-DEFINE)".to_owned();
                return Err(Error::Unsupported { what });
            }
            _ => {}
        }
        Ok(())
    }

    fn uri(&mut self, line: &str) -> Result<(), Error> {
        let uri = self.checked_uri(line)?;
        if let Some(variant) = self.variant.take() {
            if self.master.variants.len() == MAX_LIST {
                return Err(Error::TooMany { what: "variants" });
            }
            self.master.variants.push(Variant { uri, ..variant });
            return Ok(());
        }
        let Some(duration) = self.duration.take() else {
            return Err(self.error("URI", "stands behind neither EXTINF nor EXT-X-STREAM-INF"));
        };
        if self.media.segments.len() == MAX_SEGMENTS {
            return Err(Error::TooMany { what: "segments" });
        }
        let range = match self.range.take() {
            None => None,
            Some((length, Some(offset))) => Some(ByteRange { offset, length }),
            Some((length, None)) => Some(self.next_range(&uri, length)?),
        };
        self.media.segments.push(MediaSegment {
            uri,
            duration,
            range,
            discontinuity: std::mem::take(&mut self.discontinuity),
            gap: std::mem::take(&mut self.gap),
            encryption: self.encryption.clone(),
            map: self.map.clone(),
        });
        Ok(())
    }

    fn finish(mut self) -> Result<Playlist, Error> {
        if self.is_master {
            return Ok(Playlist::Master(self.master));
        }
        self.media.target = self.target.ok_or(Error::NoTargetDuration)?;
        Ok(Playlist::Media(self.media))
    }

    /// A range that begins where the one before it has ended (section 4.4.4.2).
    fn next_range(&self, uri: &str, length: u64) -> Result<ByteRange, Error> {
        let before = self.media.segments.last().filter(|segment| segment.uri == uri);
        let before = before.and_then(|segment| segment.range);
        let Some(before) = before else {
            return Err(self.error(
                "EXT-X-BYTERANGE",
                "has no offset, and the segment before is of another resource",
            ));
        };
        let range = ByteRange {
            offset: before.end(),
            length,
        };
        if range.offset.checked_add(length).is_none() {
            return Err(self.error("EXT-X-BYTERANGE", OUT_OF_RANGE));
        }
        Ok(range)
    }

    fn rendition(&mut self, value: &str) -> Result<(), Error> {
        let attribute = |name| Attributes::get(value, name);
        if attribute("TYPE") != Some("AUDIO") {
            return Ok(());
        }
        if self.master.audio.len() == MAX_LIST {
            return Err(Error::TooMany { what: "renditions" });
        }
        let uri = attribute("URI").map(|uri| self.checked_uri(uri)).transpose()?;
        self.master.audio.push(AudioRendition {
            group: attribute("GROUP-ID").unwrap_or_default().to_owned(),
            uri,
            default: attribute("DEFAULT") == Some("YES"),
            autoselect: attribute("AUTOSELECT") == Some("YES"),
        });
        Ok(())
    }

    /// A key applies until the next one of its format (section 4.4.4.4).
    fn key(&mut self, value: &str) -> Result<(), Error> {
        let attribute = |name| Attributes::get(value, name);
        let method = attribute("METHOD").ok_or_else(|| self.error("EXT-X-KEY", "has no METHOD"))?;
        let format = attribute("KEYFORMAT").unwrap_or(IDENTITY);
        let encryption = match method {
            "NONE" => Encryption::None,
            "AES-128" if format == IDENTITY => {
                let uri = attribute("URI").ok_or_else(|| self.error("EXT-X-KEY", "has no URI"))?;
                let iv = attribute("IV").map(|iv| self.iv(iv)).transpose()?;
                Encryption::Aes128 {
                    uri: self.checked_uri(uri)?,
                    iv,
                }
            }
            _ if format == IDENTITY => Encryption::Unsupported(shortened(method)),
            _ => Encryption::Unsupported(format!(
                "{} with keys of {}",
                shortened(method),
                shortened(format)
            )),
        };
        if encryption == Encryption::None {
            self.keys.clear();
        } else {
            self.keys.retain(|key| key.format != format);
            if self.keys.len() == MAX_LIST {
                return Err(Error::TooMany { what: "keys" });
            }
            self.keys.push(Key {
                format: format.to_owned(),
                encryption,
            });
        }
        // One key is offered in several formats: the one that can be used counts.
        let usable = |key: &&Key| matches!(key.encryption, Encryption::Aes128 { .. });
        let key = self.keys.iter().find(usable).or_else(|| self.keys.first());
        let encryption = key.map_or(Encryption::None, |key| key.encryption.clone());
        self.encryption = Arc::new(encryption);
        Ok(())
    }

    fn map(&self, value: &str) -> Result<Map, Error> {
        let uri = Attributes::get(value, "URI").ok_or_else(|| self.error("EXT-X-MAP", "has no URI"))?;
        let range = match Attributes::get(value, "BYTERANGE") {
            Some(text) => {
                let (length, offset) = self.range("EXT-X-MAP", text)?;
                Some(ByteRange {
                    offset: offset.unwrap_or(0),
                    length,
                })
            }
            None => None,
        };
        Ok(Map {
            uri: self.checked_uri(uri)?,
            range,
            encryption: self.encryption.clone(),
        })
    }

    /// `length[@offset]`.
    fn range(&self, tag: &'static str, text: &str) -> Result<(u64, Option<u64>), Error> {
        let (length, offset) = match text.split_once('@') {
            Some((length, offset)) => (length, Some(offset)),
            None => (text, None),
        };
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let range = match (number(length), offset.map(number)) {
            (Some(length), None) => Some((length, None)),
            (Some(length), Some(Some(offset))) => Some((length, Some(offset))),
            _ => None,
        };
        let (length, offset) = range.ok_or_else(|| self.error(tag, "has no range of bytes like 100@0"))?;
        if length == 0 || length.checked_add(offset.unwrap_or(0)).is_none() {
            return Err(self.error(tag, OUT_OF_RANGE));
        }
        Ok((length, offset))
    }

    /// `0x` and up to 32 hexadecimal digits (section 4.4.4.4).
    fn iv(&self, text: &str) -> Result<[u8; 16], Error> {
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let number = digits
            .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| u128::from_str_radix(digits, 16).ok());
        match number {
            Some(number) => Ok(number.to_be_bytes()),
            None => Err(self.error(
                "EXT-X-KEY",
                "has an IV that is not 0x and up to 32 hexadecimal digits",
            )),
        }
    }

    fn seconds(&self, tag: &'static str, text: &str) -> Result<Duration, Error> {
        duration(text).ok_or_else(|| self.error(tag, "has no duration from 0 to 86400 seconds"))
    }

    /// A number with room for all that are counted on from it.
    fn sequence(&self, tag: &'static str, text: &str) -> Result<u64, Error> {
        let number = text.trim().parse().ok();
        number
            .filter(|number| *number <= MAX_SEQUENCE)
            .ok_or_else(|| self.error(tag, "has no number up to 2^62"))
    }

    fn checked_uri(&self, uri: &str) -> Result<String, Error> {
        if uri.is_empty() || uri.len() > MAX_URI {
            return Err(Error::LongUri {
                line: self.line,
                got: uri.len(),
            });
        }
        Ok(uri.to_owned())
    }

    fn error(&self, tag: &'static str, problem: &'static str) -> Error {
        Error::Line {
            line: self.line,
            tag,
            problem,
        }
    }
}

const OUT_OF_RANGE: &str = "has a range of bytes that is empty or too large";

/// The key format of keys that are just their bytes.
const IDENTITY: &str = "identity";

/// Largest number of a segment that is taken. Milliseconds since 1970, which some packagers count in, are far below.
const MAX_SEQUENCE: u64 = 1 << 62;

fn duration(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    // Not true for what is no number, either.
    (0.0..=MAX_DURATION)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

/// For an error.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests;
