//! Session descriptions (RFC 8866), as far as RTSP needs them.
//!
//! Reading takes what cameras and encoders send. Only a description that is no description, or a flood, is refused; a line that
//! makes no sense costs nothing but itself. Tolerated, each with a test: missing, repeated and misplaced `v=`, `o=`, `s=`, `t=`;
//! origins with too many fields (TP-Link); blanks, tabs and zero bytes at the ends of lines (VStarcam, H264DVR); any line end;
//! text that is not UTF-8; attributes of a media section before its `m=`; `fmtp` without parameters (Ubiquiti).
//!
//! Writing is strict: lines in the order of the grammar, `rtpmap` before `fmtp`, and no value can end its line.

// Not the crate sdp-types (0.3.1 tried): one odd line of a TP-Link camera, a name in Latin-1 or a zero byte makes it refuse the
// whole description, and it has no bounds. What would have to be mended before it is most of a reader.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr};

/// Longest description in bytes. What cameras send has 1 to 3 KiB.
pub const MAX_LEN: usize = 64 << 10;

/// Most lines that are not empty.
pub const MAX_LINES: usize = 1000;

/// Most media sections. A panorama camera with metadata has fewer than ten.
pub const MAX_MEDIA: usize = 32;

/// Why a text is not taken as a session description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too long.
    #[error("a session description of {got} bytes: at most {MAX_LEN} are read")]
    Len {
        /// Bytes.
        got: usize,
    },
    /// Too many lines.
    #[error("a session description with more than {MAX_LINES} lines")]
    Lines,
    /// Too many media sections.
    #[error("line {line}: more than {MAX_MEDIA} media sections in a session description")]
    Sections {
        /// Number of the line, from 1, empty ones not counted.
        line: usize,
    },
    /// A version that does not exist.
    #[error("line {line}: version {got:?} of a session description, must be 0 (RFC 8866, section 5.1)")]
    Version {
        /// Number of the line, from 1, empty ones not counted.
        line: usize,
        /// What stands there, at most 16 characters of it.
        got: String,
    },
    /// Neither a version nor a media section.
    #[error("a text of {got} bytes without v= and m= is not a session description (RFC 8866, section 5)")]
    Nothing {
        /// Bytes.
        got: usize,
    },
    /// A section was asked for, and there is not exactly one.
    #[error("{got} media sections where one was expected")]
    NotOneSection {
        /// So many.
        got: usize,
    },
}

/// A session description.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// `s=`; empty if there is none.
    pub name: String,
    /// `a=control` of the session: what the URLs of its sections are relative to, and what PLAY is sent to (RFC 2326, C.1.1).
    pub control: Option<String>,
    /// `a=range` of the session, as `npt=0-` (RFC 2326, C.1.5).
    pub range: Option<String>,
    /// `c=` of the session.
    pub connection: Option<Connection>,
    /// Media sections in order.
    pub media: Vec<Media>,
}

impl Session {
    /// Reads a description. `Ok` may have no media sections.
    ///
    /// # Errors
    ///
    /// It is no description, or too big.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        if text.len() > MAX_LEN {
            return Err(Error::Len { got: text.len() });
        }
        let text = String::from_utf8_lossy(text);
        let mut session = Self::default();
        let mut before_media = Vec::new();
        let mut versioned = false;
        for (number, line) in lines(&text).enumerate() {
            if number == MAX_LINES {
                return Err(Error::Lines);
            }
            // Anything without `=` is not a line of a description.
            let Some((kind, value)) = line.split_once('=') else {
                continue;
            };
            let value = value.trim_matches(blank);
            let sections = session.media.len();
            match (kind.trim_matches(blank), session.media.last_mut()) {
                ("v", None) if !versioned => {
                    versioned = true;
                    if value != "0" {
                        return Err(Error::Version {
                            line: number + 1,
                            got: value.chars().take(16).collect(),
                        });
                    }
                }
                ("m", _) if sections == MAX_MEDIA => {
                    return Err(Error::Sections { line: number + 1 });
                }
                ("m", _) => session.media.push(Media::of_line(value)),
                ("s", None) if session.name.is_empty() => value.clone_into(&mut session.name),
                ("c", None) => session.connection = session.connection.or_else(|| Connection::parse(value)),
                ("c", Some(media)) => {
                    media.connection = media.connection.or_else(|| Connection::parse(value))
                }
                ("b", Some(media)) => media.set_bandwidth(value),
                ("a", None) => before_media.extend(attribute(value)),
                ("a", Some(media)) => media.attributes.extend(attribute(value)),
                _ => {}
            }
        }
        if !versioned && session.media.is_empty() {
            return Err(Error::Nothing { got: text.len() });
        }
        session.control = find(&before_media, "control").map(str::to_owned);
        session.range = find(&before_media, "range").map(str::to_owned);
        for media in &mut session.media {
            media.inherit(&before_media);
        }
        Ok(session)
    }

    /// What the server called `server` sends for a live stream; `media` as [`crate::format::Format::media`] makes it.
    pub fn live(server: &str, media: Vec<Media>) -> Self {
        Self {
            name: format!("Streamed by {server}"),
            control: Some("*".to_owned()),
            range: Some("npt=now-".to_owned()),
            connection: None,
            media,
        }
    }
}

/// The description as text. Without a connection it says 0.0.0.0: that SETUP will tell (RFC 2326, C.1.7).
impl Display for Session {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = clean(&self.name);
        let name = name.trim();
        // A name has to be there (RFC 8866, section 5.3).
        let name = if name.is_empty() { "-" } else { name };
        let connection = self.connection.unwrap_or(Connection::UNSPECIFIED);
        write!(
            f,
            "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns={name}\r\n{connection}t=0 0\r\n"
        )?;
        if let Some(range) = &self.range {
            write!(f, "a=range:{}\r\n", clean(range))?;
        }
        if let Some(control) = &self.control {
            write!(f, "a=control:{}\r\n", clean(control))?;
        }
        self.media.iter().try_for_each(|media| media.fmt(f))
    }
}

/// Where media is sent (RFC 8866, section 5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Address of the receiver or group; unspecified where SETUP tells.
    pub address: IpAddr,
    /// Time to live of an IPv4 group.
    pub ttl: Option<u8>,
}

impl Connection {
    const UNSPECIFIED: Self = Self {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ttl: None,
    };

    /// Reads the value of a `c=` line. `None` also for host names.
    fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split_ascii_whitespace().nth(2)?.split('/');
        let address: IpAddr = parts.next()?.parse().ok()?;
        let second = parts.next().and_then(|ttl| ttl.parse().ok());
        Some(Self {
            // For IPv6 a second part counts addresses.
            ttl: second.filter(|_| address.is_ipv4()),
            address,
        })
    }
}

impl Display for Connection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let version = if self.address.is_ipv4() { 4 } else { 6 };
        write!(f, "c=IN IP{version} {}", self.address)?;
        if let Some(ttl) = self.ttl {
            write!(f, "/{ttl}")?;
        }
        f.write_str("\r\n")
    }
}

/// What a media section is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `video`.
    Video,
    /// `audio`.
    Audio,
    /// `application`: metadata, back channels of makers. Also names that begin so (`application/TP-LINK`).
    Application,
    /// Anything else.
    Other,
}

impl Kind {
    fn of_name(name: &str) -> Self {
        let name = name.split('/').next().unwrap_or_default();
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match () {
            () if is("video") => Self::Video,
            () if is("audio") => Self::Audio,
            () if is("application") => Self::Application,
            () => Self::Other,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Application => "application",
            Self::Other => "other",
        }
    }
}

/// Who sends, seen from whom the description is by (RFC 8866, section 6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both, also if nothing is said.
    #[default]
    SendRecv,
    /// The describer.
    SendOnly,
    /// The other side. Cameras say this of what they send.
    RecvOnly,
    /// Nobody.
    Inactive,
}

/// What a payload type means, by an `rtpmap` (RFC 8866, section 6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpMap<'a> {
    /// Name of the payload format, in the case the sender uses; compare without case.
    pub encoding: &'a str,
    /// Ticks of the RTP timestamp per second; 0 if not said or not a number.
    pub clock_rate: u32,
    /// Channels, if said and 1..=255.
    pub channels: Option<u8>,
}

/// A media section (RFC 8866, section 5.14). [`Display`] writes it whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// Its kind.
    pub kind: Kind,
    /// UDP port; 0 where SETUP tells.
    pub port: u16,
    /// Transport, as `RTP/AVP`; that too if it is missing.
    pub protocol: String,
    /// Formats that are RTP payload types, each 0..=127 and once, in order of preference.
    pub payload_types: Vec<u8>,
    /// `c=` of the section.
    pub connection: Option<Connection>,
    /// `b=AS`, else `b=TIAS`, in kbit/s; at least 1.
    pub bandwidth_kbps: Option<u32>,
    /// Attributes in order: name, and value behind the first colon.
    pub attributes: Vec<(String, Option<String>)>,
}

impl Media {
    /// Reads what [`Self::section`] wrote.
    ///
    /// # Errors
    ///
    /// It is not one section.
    pub fn parse_section(text: &str) -> Result<Self, Error> {
        let mut media = Session::parse(text.as_bytes())?.media;
        match (media.pop(), media.len()) {
            (Some(media), 0) => Ok(media),
            (last, before) => Err(Error::NotOneSection {
                got: before + usize::from(last.is_some()),
            }),
        }
    }

    /// The lines of the section for [`media::Track::wire`]: everything but where and how its sender transports it. Order and
    /// values of the attributes are kept.
    pub fn section(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_head(0, &mut text);
        let _ = self.write_bandwidth(&mut text);
        for (name, value) in &self.attributes {
            if !TRANSPORT
                .iter()
                .any(|transport| name.eq_ignore_ascii_case(transport))
            {
                let _ = write_attribute(name, value.as_deref(), &mut text);
            }
        }
        text
    }

    /// Value of the first attribute of that name that has one.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        find(&self.attributes, name)
    }

    /// What `payload_type` means.
    pub fn rtpmap(&self, payload_type: u8) -> Option<RtpMap<'_>> {
        let value = for_payload_type(&self.attributes, "rtpmap", payload_type).next()?;
        let mut parts = value.split('/').map(|part| part.trim_matches(blank));
        Some(RtpMap {
            encoding: parts.next().filter(|encoding| !encoding.is_empty())?,
            clock_rate: parts.next().and_then(|rate| rate.parse().ok()).unwrap_or(0),
            channels: parts.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0),
        })
    }

    /// Format parameters of `payload_type` (RFC 8866, section 6.15), without the number.
    pub fn fmtp(&self, payload_type: u8) -> Option<&str> {
        for_payload_type(&self.attributes, "fmtp", payload_type).next()
    }

    /// URL of the section, absolute or to be appended to the session's (RFC 2326, C.1.1).
    pub fn control(&self) -> Option<&str> {
        self.attribute("control")
    }

    /// Who sends; a session may say it for all its sections.
    pub fn direction(&self) -> Direction {
        let mut said = self.attributes.iter().filter_map(|(name, _)| direction(name));
        said.next().unwrap_or_default()
    }

    /// Frames per second, if that makes sense: above 0, at most 1000. H264DVR sends `0S` first, and the true one later.
    pub fn framerate(&self) -> Option<f32> {
        let named = |name: &str| {
            ["framerate", "x-framerate"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
        };
        let values = self.attributes.iter().filter(|(name, _)| named(name));
        values
            .filter_map(|(_, value)| value.as_deref()?.parse().ok())
            .find(|rate| *rate > 0.0 && *rate <= 1000.0)
    }

    /// Reads the value of an `m=` line. What is missing or odd does not matter before the section is used.
    fn of_line(value: &str) -> Self {
        let mut parts = value.split_ascii_whitespace();
        let kind = Kind::of_name(parts.next().unwrap_or_default());
        let port = parts.next().and_then(|port| port.split('/').next()?.parse().ok());
        let protocol = parts.next().unwrap_or("RTP/AVP").to_owned();
        let mut payload_types = Vec::new();
        for payload_type in parts.filter_map(|format| format.parse().ok()) {
            if payload_type <= 127 && !payload_types.contains(&payload_type) {
                payload_types.push(payload_type);
            }
        }
        Self {
            kind,
            port: port.unwrap_or(0),
            protocol,
            payload_types,
            connection: None,
            bandwidth_kbps: None,
            attributes: Vec::new(),
        }
    }

    /// Takes the value of a `b=` line (RFC 8866, section 5.8; RFC 3890).
    fn set_bandwidth(&mut self, value: &str) {
        let Some((kind, number)) = value.split_once(':') else {
            return;
        };
        // Behind the digits may be a fraction or a unit.
        let number = number.trim_matches(blank);
        let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        let Some(number) = number[..digits].parse().ok().filter(|n: &u32| *n > 0) else {
            return;
        };
        if kind.eq_ignore_ascii_case("AS") {
            self.bandwidth_kbps = Some(number);
        } else if kind.eq_ignore_ascii_case("TIAS") {
            self.bandwidth_kbps = self.bandwidth_kbps.or(Some(number.div_ceil(1000)));
        }
    }

    /// Takes over what stands before the first section and is said of this one: the direction of all sections (RFC 8866,
    /// section 6.7), and what belongs to a payload type that the section itself does not explain.
    fn inherit(&mut self, before_media: &[(String, Option<String>)]) {
        let mut inherited = Vec::new();
        let says_direction = |attributes: &[(String, Option<String>)]| {
            attributes.iter().any(|(name, _)| direction(name).is_some())
        };
        for attribute in before_media {
            let (name, value) = attribute;
            let explains = ["rtpmap", "fmtp"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known));
            let wanted = match value.as_deref().and_then(payload_type_and_rest) {
                Some((payload_type, _)) if explains => {
                    self.payload_types.contains(&payload_type)
                        && for_payload_type(&self.attributes, name, payload_type)
                            .next()
                            .is_none()
                }
                _ => {
                    direction(name).is_some()
                        && !says_direction(&self.attributes)
                        && !says_direction(&inherited)
                }
            };
            if wanted {
                inherited.push(attribute.clone());
            }
        }
        self.attributes.append(&mut inherited);
    }

    fn write_head(&self, port: u16, out: &mut impl fmt::Write) -> fmt::Result {
        write!(out, "m={} {port} {}", self.kind.name(), clean(&self.protocol))?;
        for payload_type in &self.payload_types {
            write!(out, " {payload_type}")?;
        }
        if self.payload_types.is_empty() {
            // The grammar wants a format.
            out.write_str(" *")?;
        }
        out.write_str("\r\n")
    }

    fn write_bandwidth(&self, out: &mut impl fmt::Write) -> fmt::Result {
        self.bandwidth_kbps
            .map_or(Ok(()), |kbps| write!(out, "b=AS:{kbps}\r\n"))
    }
}

impl Display for Media {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_head(self.port, f)?;
        if let Some(connection) = &self.connection {
            connection.fmt(f)?;
        }
        self.write_bandwidth(f)?;
        self.attributes
            .iter()
            .try_for_each(|(name, value)| write_attribute(name, value.as_deref(), f))
    }
}

fn write_attribute(name: &str, value: Option<&str>, out: &mut impl fmt::Write) -> fmt::Result {
    write!(out, "a={}", clean(name))?;
    if let Some(value) = value {
        write!(out, ":{}", clean(value))?;
    }
    out.write_str("\r\n")
}

/// The parameters in each attribute `name` that is about `payload_type`.
pub(crate) fn for_payload_type<'a>(
    attributes: &'a [(String, Option<String>)],
    name: &str,
    payload_type: u8,
) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
        .filter_map(|(_, value)| payload_type_and_rest(value.as_deref()?))
        .filter(move |(other, rest)| *other == payload_type && !rest.is_empty())
        .map(|(_, rest)| rest)
}

fn payload_type_and_rest(value: &str) -> Option<(u8, &str)> {
    let (number, rest) = value.split_once(blank).unwrap_or((value, ""));
    Some((number.parse().ok()?, rest.trim_matches(blank)))
}

fn find<'a>(attributes: &'a [(String, Option<String>)], name: &str) -> Option<&'a str> {
    attributes
        .iter()
        .filter(|(other, _)| other.eq_ignore_ascii_case(name))
        .find_map(|(_, value)| value.as_deref())
}

/// Reads the value of an `a=` line. A value that is empty is none.
fn attribute(value: &str) -> Option<(String, Option<String>)> {
    let (name, value) = value.split_once(':').unwrap_or((value, ""));
    let (name, value) = (name.trim_matches(blank), value.trim_matches(blank));
    let value = (!value.is_empty()).then(|| value.to_owned());
    (!name.is_empty()).then(|| (name.to_owned(), value))
}

fn direction(name: &str) -> Option<Direction> {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    match () {
        () if is("sendrecv") => Some(Direction::SendRecv),
        () if is("sendonly") => Some(Direction::SendOnly),
        () if is("recvonly") => Some(Direction::RecvOnly),
        () if is("inactive") => Some(Direction::Inactive),
        () => None,
    }
}

/// Lines that are not empty. `\r\n`, `\n` and `\r` end a line.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\r', '\n'])
        .map(|line| line.trim_matches(blank))
        .filter(|line| !line.is_empty())
}

/// What is no part of a value at its ends.
fn blank(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// Without control characters, which could end the line.
fn clean(value: &str) -> Cow<'_, str> {
    if value.contains(char::is_control) {
        value.replace(char::is_control, " ").into()
    } else {
        value.into()
    }
}

/// Attributes about the transport between a sender and its receiver: addresses, keys, multiplexing (RFC 3605, RFC 4567, RFC 4568,
/// RFC 4570, RFC 4145, RFC 5761, RFC 8122, RFC 8839). They say nothing to anyone else, and some are not meant for anyone else.
const TRANSPORT: [&str; 12] = [
    "candidate",
    "connection",
    "crypto",
    "end-of-candidates",
    "fingerprint",
    "ice-pwd",
    "ice-ufrag",
    "key-mgmt",
    "rtcp",
    "rtcp-mux",
    "setup",
    "source-filter",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Session {
        Session::parse(text.as_bytes()).unwrap()
    }

    fn only(text: &str) -> Media {
        Media::parse_section(text).unwrap()
    }

    #[test]
    fn a_session_of_a_camera_is_read() {
        let session = parse(
            "v=0\r\no=- 38990265062388 38990265062388 IN IP4 192.0.2.7\r\ns=RTSP Session\r\n\
             c=IN IP4 239.1.2.3/64\r\nt=0 0\r\na=control:*\r\na=range:npt=0-\r\n\
             m=video 6970 RTP/AVP 96 97\r\nc=IN IP6 2001:db8::1\r\nb=AS:5000\r\na=rtpmap:96 H264/90000 \r\na=framerate:0S\r\n\
             a=fmtp:96 packetization-mode=1\r\na=framerate:25\r\na=control:trackID=3\r\na=sendonly\r\n\
             m=audio 0/2 RTP/AVP 8\t \r\na=control:trackID=4\r\n",
        );
        assert_eq!(session.name, "RTSP Session");
        assert_eq!(session.control.as_deref(), Some("*"));
        assert_eq!(session.range.as_deref(), Some("npt=0-"));
        let group = Connection {
            address: [239, 1, 2, 3].into(),
            ttl: Some(64),
        };
        assert_eq!(session.connection, Some(group));
        let [video, audio] = &session.media[..] else {
            panic!("{session:?}");
        };
        assert_eq!(
            (video.kind, video.port, &*video.protocol),
            (Kind::Video, 6970, "RTP/AVP")
        );
        assert_eq!(video.payload_types, [96, 97]);
        assert_eq!(
            video.connection.unwrap().address,
            "2001:db8::1".parse::<IpAddr>().unwrap()
        );
        assert_eq!(video.bandwidth_kbps, Some(5000));
        let map = RtpMap {
            encoding: "H264",
            clock_rate: 90_000,
            channels: None,
        };
        assert_eq!(video.rtpmap(96), Some(map));
        assert_eq!(video.rtpmap(97), None);
        assert_eq!(video.fmtp(96), Some("packetization-mode=1"));
        assert_eq!(video.framerate(), Some(25.0));
        assert_eq!(video.control(), Some("trackID=3"));
        assert_eq!(video.direction(), Direction::SendOnly);
        assert_eq!((audio.kind, audio.port), (Kind::Audio, 0));
        assert_eq!(audio.payload_types, [8]);
        assert_eq!(audio.control(), Some("trackID=4"));
        assert_eq!(audio.direction(), Direction::SendRecv);
    }

    #[test]
    fn odd_lines_cost_only_themselves() {
        // Too many fields in the origin, and a section that is not RTP.
        let tp_link = parse(
            "v=0\r\no=- 14665860 31787219 1 IN IP4 192.0.2.29\r\ns=Session streamed by \"TP-LINK RTSP Server\"\r\n\
             m=application/TP-LINK 0 RTP/AVP smart/1/90000\r\na=rtpmap:95 TP-LINK/90000\r\n",
        );
        assert_eq!(tp_link.media[0].kind, Kind::Application);
        assert!(tp_link.media[0].payload_types.is_empty());
        // No version, origin or time; lines in any order, line feeds only, zero bytes at the end.
        let bare =
            parse("a=control:*\nm=video 0 RTP/AVP 96\na=control:1\nc=IN IP4 camera.example\ns=late\n\0\0");
        assert_eq!((&*bare.name, bare.control.as_deref()), ("", Some("*")));
        assert_eq!(
            (bare.media[0].control(), bare.media[0].connection),
            (Some("1"), None)
        );
        // Blank lines, blanks before lines, repeated names and versions, carriage returns, no number where one belongs.
        let odd = parse(
            "\r\n v=0 \r\rs=a\rs=b\rv=0\rnonsense\r=\rt=0\rm=video  x \rm=audio 70000 RTP/AVP 0 0 8 128 300 -1\rb=AS:64.5\ra=\ra=:x\r",
        );
        assert_eq!(odd.name, "a");
        assert_eq!((&*odd.media[0].protocol, odd.media[0].port), ("RTP/AVP", 0));
        assert_eq!(odd.media[1].payload_types, [0, 8]);
        assert_eq!(odd.media[1].bandwidth_kbps, Some(64));
        assert!(odd.media[1].attributes.is_empty());
        // Latin-1.
        let session = Session::parse(b"v=0\r\ns=Entr\xe9e\r\n").unwrap();
        assert_eq!(session.name, "Entr\u{fffd}e");
        // Parameters missing; the second line has them.
        let media = only(
            "m=audio 0 RTP/AVP 96\r\na=fmtp:96\r\na=rtpmap:96\r\na=rtpmap: 96  opus / 48000 / 2\r\na=fmtp:96 a=b\r\n",
        );
        assert_eq!(media.fmtp(96), Some("a=b"));
        assert_eq!(
            media.rtpmap(96).map(|map| (map.encoding, map.channels)),
            Some(("opus", Some(2)))
        );
        let media =
            only("m=video 0 RTP/AVP 96\r\nb=TIAS:1500500\r\na=rtpmap:96 H264\r\na=x-framerate: 12\r\n");
        assert_eq!(
            (media.bandwidth_kbps, media.framerate()),
            (Some(1501), Some(12.0))
        );
        assert_eq!(media.rtpmap(96).unwrap().clock_rate, 0);
    }

    #[test]
    fn what_stands_before_the_first_section_counts_for_those_it_fits() {
        let session = parse(
            "v=0\r\na=recvonly\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=rtpmap:97 opus/48000/2\r\n\
             m=video 0 RTP/AVP 96\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 L16/8000\r\na=sendonly\r\n",
        );
        let [video, audio] = &session.media[..] else {
            panic!("{session:?}");
        };
        assert_eq!(video.rtpmap(96).unwrap().encoding, "H264");
        assert_eq!(video.fmtp(96), Some("packetization-mode=1"));
        assert_eq!(video.direction(), Direction::RecvOnly);
        assert_eq!(video.rtpmap(97), None);
        assert_eq!(audio.rtpmap(97).unwrap().encoding, "L16");
        assert_eq!(audio.attributes.len(), 2);
    }

    #[test]
    fn a_section_is_kept_without_its_transport() {
        let media = only(
            "v=0\r\nm=video 5004 RTP/AVP 96\r\nc=IN IP4 192.0.2.1\r\nb=AS:500\r\na=fmtp:96 z=1; a=2\r\na=rtpmap:96 H264/90000\r\n\
             a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\na=rtcp:5005\r\na=recvonly\r\na=control:streamid=0\r\n",
        );
        let section = media.section();
        assert_eq!(
            section,
            "m=video 0 RTP/AVP 96\r\nb=AS:500\r\na=fmtp:96 z=1; a=2\r\na=rtpmap:96 H264/90000\r\na=recvonly\r\n\
             a=control:streamid=0\r\n"
        );
        assert_eq!(only(&section).section(), section);
        assert_eq!(Media::parse_section(""), Err(Error::Nothing { got: 0 }));
        assert_eq!(Media::parse_section("v=0"), Err(Error::NotOneSection { got: 0 }));
        let two = format!("{section}{section}");
        assert_eq!(Media::parse_section(&two), Err(Error::NotOneSection { got: 2 }));
    }

    #[test]
    fn a_session_is_written_in_the_order_of_the_grammar() {
        let media = only("m=audio 0 RTP/AVP 8\r\nb=AS:64\r\na=rtpmap:8 PCMA/8000\r\na=control:trackID=0\r\n");
        let session = Session::live("Tidegate", vec![media]);
        assert_eq!(
            session.to_string(),
            "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=Streamed by Tidegate\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=range:npt=now-\r\n\
             a=control:*\r\nm=audio 0 RTP/AVP 8\r\nb=AS:64\r\na=rtpmap:8 PCMA/8000\r\na=control:trackID=0\r\n"
        );
    }

    #[test]
    fn no_value_ends_its_line() {
        let mut media = only("m=video 0 RTP/AVP 96\r\n");
        media.protocol = "RTP/AVP\r\nc=x".to_owned();
        media.attributes = vec![("a\nm=b".to_owned(), Some("c\r\nm=d\0".to_owned()))];
        let mut session = Session::live("x\r\nm=audio 0 RTP/AVP 0\r\na=y", vec![media]);
        session.range = Some("npt=0-\rm=e".to_owned());
        session.control = Some("*\nm=f".to_owned());
        let text = session.to_string();
        assert_eq!(text.matches("\nm=").count(), 1);
        assert_eq!(text.lines().count(), 9);
        assert!(!text.replace("\r\n", "").contains(char::is_control));
        session.name.clear();
        assert!(session.to_string().contains("\r\ns=-\r\n"));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Session::parse(text.as_bytes()).unwrap_err().to_string(), expected);
        };
        check(
            "RTSP/1.0 200 OK\r\n",
            "a text of 17 bytes without v= and m= is not a session description (RFC 8866, section 5)",
        );
        check(
            "\r\nv=1\r\n",
            "line 1: version \"1\" of a session description, must be 0 (RFC 8866, section 5.1)",
        );
        check(
            &" ".repeat(MAX_LEN + 1),
            "a session description of 65537 bytes: at most 65536 are read",
        );
        check(
            &"a=x\n".repeat(1001),
            "a session description with more than 1000 lines",
        );
        check(
            &"m=audio 0 RTP/AVP 0\n".repeat(33),
            "line 33: more than 32 media sections in a session description",
        );
        assert!(Session::parse("m=audio 0 RTP/AVP 0\n".repeat(32).as_bytes()).is_ok());
        assert!(Session::parse(format!("v=0{}", "\na=x".repeat(999)).as_bytes()).is_ok());
    }

    /// Mostly lines of descriptions, some of them broken.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            4 => "(a=(rtpmap|fmtp|control|framerate|range|recvonly|source-filter|[a-z]{0,4})[: ]?[0-9]{0,4}[ ;:=/]?[ -~]{0,12}|\
                m=(video|audio|x)? ?[0-9]{0,6}(/1)? ?(RTP/AVP)?( [0-9]{0,3}){0,4}|[bcmsotv]=[ -~]{0,16}|v=0|c=IN IP[46] [0-9.:/]{0,12})",
            1 => "\\PC{0,16}",
            1 => any::<String>(),
        ];
        let end = prop_oneof!["\r\n", "\n", "\r"];
        prop::collection::vec((line, end), 0..24).prop_map(|lines| {
            lines
                .into_iter()
                .flat_map(|(line, end)| (line + &end).into_bytes())
                .collect()
        })
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = Session::parse(&bytes);
        }

        #[test]
        fn what_was_read_is_written_so_that_it_is_read_again(text in hostile()) {
            if let Ok(session) = Session::parse(&text) {
                let written = session.to_string();
                // What `o=`, `s=`, `c=` and `t=` add, and a replacement character of 3 bytes for each bad one.
                prop_assert!(written.len() <= 100 + text.len() * 8);
                let mut again = Session::parse(written.as_bytes()).unwrap();
                if session.connection.is_none() {
                    again.connection = None;
                }
                if session.name.is_empty() {
                    again.name.clear();
                }
                prop_assert_eq!(&again, &session);
                for media in &session.media {
                    let section = media.section();
                    prop_assert_eq!(Media::parse_section(&section).unwrap().section(), section);
                }
            }
        }
    }
}
