//! The Transport header (RFC 2326, section 12.39).

use std::fmt;

/// One way to carry a track: an offer of the client, or what the server made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// `RTP/AVP`, `RTP/AVPF`, `RTP/SAVP` and so on, in capitals. Others than RTP are kept too, for the caller to refuse.
    pub profile: String,
    /// What carries the packets.
    pub lower: Lower,
    /// `multicast` was said. Neither word counts as unicast: RFC 2326 says the contrary, but that is what cameras and
    /// clients that leave it out mean (Luckfox `rkipc`).
    pub multicast: bool,
    /// `interleaved`: channels of RTP and RTCP.
    pub interleaved: Option<(u8, u8)>,
    /// `client_port`: ports of RTP and RTCP at the client.
    pub client_port: Option<(u16, u16)>,
    /// `server_port`: ports of RTP and RTCP at the server.
    pub server_port: Option<(u16, u16)>,
    /// `port`: ports of RTP and RTCP of a multicast group.
    pub port: Option<(u16, u16)>,
    /// `destination`: address the packets go to.
    pub destination: Option<String>,
    /// `source`: address the packets come from.
    pub source: Option<String>,
    /// `ttl` of multicast.
    pub ttl: Option<u8>,
    /// `ssrc` of who sends.
    pub ssrc: Option<u32>,
    /// `mode`. Absent means play.
    pub mode: Option<Mode>,
    /// Parameters of other names, in order, with what stands behind `=`.
    pub others: Vec<(String, Option<String>)>,
}

/// What carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lower {
    /// Interleaved in the RTSP connection.
    Tcp,
    /// Datagrams. The default of the header.
    Udp,
}

/// Which way the packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// From the server.
    Play,
    /// To the server. `receive`, an older word for it, is read as this.
    Record,
}

impl Transport {
    /// `RTP/AVP` over `lower`, unicast, without parameters.
    pub fn new(lower: Lower) -> Self {
        Self {
            profile: "RTP/AVP".to_owned(),
            lower,
            multicast: false,
            interleaved: None,
            client_port: None,
            server_port: None,
            port: None,
            destination: None,
            source: None,
            ttl: None,
            ssrc: None,
            mode: None,
            others: Vec::new(),
        }
    }

    fn parse_one(text: &str) -> Option<Self> {
        let mut parts = split(text, ';').map(str::trim);
        let specifier = parts.next()?.to_ascii_uppercase();
        let (profile, lower) = match specifier.rsplit_once('/') {
            Some((profile, "TCP")) => (profile, Lower::Tcp),
            Some((profile, "UDP")) => (profile, Lower::Udp),
            Some(_) => (specifier.as_str(), Lower::Udp),
            None => return None,
        };
        let mut transport = Self::new(lower);
        transport.profile = profile.to_owned();
        for part in parts.filter(|part| !part.is_empty()).take(MAX_PARAMETERS) {
            let (name, value) = match part.split_once('=') {
                // Hikvision sends `mode="play"`, RFC 2326 has it too; some send the other values in quotes.
                Some((name, value)) => (name.trim_end(), Some(value.trim().trim_matches('"').trim())),
                None => (part, None),
            };
            transport.set(&name.to_ascii_lowercase(), value);
        }
        Some(transport)
    }

    /// Takes a parameter over. A value that cannot be used counts as not sent.
    fn set(&mut self, name: &str, value: Option<&str>) {
        match (name, value) {
            ("unicast", None) => self.multicast = false,
            ("multicast", None) => self.multicast = true,
            ("interleaved", Some(value)) => {
                self.interleaved = pair(value, |first: u8| first.checked_add(1));
            }
            ("client_port", Some(value)) => self.client_port = ports(value),
            ("server_port", Some(value)) => self.server_port = ports(value),
            ("port", Some(value)) => self.port = ports(value),
            ("destination", Some(value)) if !value.is_empty() => self.destination = Some(value.to_owned()),
            ("source", Some(value)) if !value.is_empty() => self.source = Some(value.to_owned()),
            ("ttl", Some(value)) => self.ttl = value.parse().ok(),
            // Hikvision fills a short one with spaces: `ssrc= d6d6627`.
            ("ssrc", Some(value)) => self.ssrc = u32::from_str_radix(value, 16).ok(),
            ("mode", Some(value)) => {
                let first = value.split(',').next().unwrap_or_default();
                self.mode = match first.trim().to_ascii_lowercase().as_str() {
                    "play" => Some(Mode::Play),
                    "record" | "receive" => Some(Mode::Record),
                    _ => None,
                };
            }
            _ => self.others.push((name.to_owned(), value.map(str::to_owned))),
        }
    }
}

/// Reads a header: transports in order of preference, at most 16, each with at most 32 parameters. What cannot be read is
/// left out, so the list may be empty.
pub fn parse(header: &str) -> Vec<Transport> {
    split(header, ',')
        .filter_map(Transport::parse_one)
        .take(MAX_TRANSPORTS)
        .collect()
}

/// As it is written in a header. UDP is left out of the specifier, since it is the default and known to all.
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.profile)?;
        if self.lower == Lower::Tcp {
            f.write_str("/TCP")?;
        }
        f.write_str(match self.multicast {
            true => ";multicast",
            false => ";unicast",
        })?;
        if let Some(destination) = &self.destination {
            write!(f, ";destination={destination}")?;
        }
        if let Some(source) = &self.source {
            write!(f, ";source={source}")?;
        }
        if let Some((rtp, rtcp)) = self.interleaved {
            write!(f, ";interleaved={rtp}-{rtcp}")?;
        }
        let ports = [
            ("port", self.port),
            ("client_port", self.client_port),
            ("server_port", self.server_port),
        ];
        for (name, ports) in ports {
            if let Some((rtp, rtcp)) = ports {
                write!(f, ";{name}={rtp}-{rtcp}")?;
            }
        }
        if let Some(ttl) = self.ttl {
            write!(f, ";ttl={ttl}")?;
        }
        if let Some(ssrc) = self.ssrc {
            write!(f, ";ssrc={ssrc:08X}")?;
        }
        // Without quotes, as ffmpeg and ZLM write it: some servers compare the bare word.
        match self.mode {
            Some(Mode::Play) => f.write_str(";mode=play")?,
            Some(Mode::Record) => f.write_str(";mode=record")?,
            None => {}
        }
        for (name, value) in &self.others {
            match value {
                Some(value) => write!(f, ";{name}={value}")?,
                None => write!(f, ";{name}")?,
            }
        }
        Ok(())
    }
}

/// Splits at a separator that stands outside of quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

fn ports(text: &str) -> Option<(u16, u16)> {
    pair(text, |first: u16| first.checked_add(1))
}

/// `a-b`, or `a` alone, which some clients send for `a-(a+1)`.
fn pair<T: std::str::FromStr + Copy>(text: &str, next: impl Fn(T) -> Option<T>) -> Option<(T, T)> {
    match text.split_once('-') {
        Some((first, second)) => Some((first.trim().parse().ok()?, second.trim().parse().ok()?)),
        None => {
            let first = text.parse().ok()?;
            Some((first, next(first)?))
        }
    }
}

/// Transports of one header. Clients offer two or three.
const MAX_TRANSPORTS: usize = 16;

/// Parameters of one transport. RFC 2326 knows 14.
const MAX_PARAMETERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(header: &str) -> Transport {
        let mut all = parse(header);
        assert_eq!(all.len(), 1, "{header:?} gives {all:?}");
        all.remove(0)
    }

    #[test]
    fn offers_are_read_in_their_order() {
        // RFC 2326, section 12.39.
        let all = parse(
            "RTP/AVP;multicast;ttl=127;mode=\"PLAY\", RTP/AVP;unicast;client_port=3456-3457;mode=\"PLAY,RECORD\"",
        );
        assert_eq!(all.len(), 2);
        assert!(all[0].multicast);
        assert_eq!(all[0].ttl, Some(127));
        assert_eq!(all[1].client_port, Some((3456, 3457)));
        assert_eq!(all[1].mode, Some(Mode::Play));
    }

    #[test]
    fn transports_of_real_senders() {
        // Hikvision: a space in the ssrc, quotes.
        let got = one("RTP/AVP/TCP;unicast;interleaved=0-1;ssrc= d6d6627;mode=\"play\"");
        assert_eq!((got.lower, got.interleaved), (Lower::Tcp, Some((0, 1))));
        assert_eq!((got.ssrc, got.mode), (Some(0x0d6d_6627), Some(Mode::Play)));
        // Luckfox: no unicast.
        let got = one("RTP/AVP/TCP;ssrc=22345684;interleaved=0-1");
        assert!(!got.multicast);
        // ffmpeg: the lower transport is named; publishing.
        let got = one("RTP/AVP/UDP;unicast;client_port=6170-6171;mode=record");
        assert_eq!((got.profile.as_str(), got.lower), ("RTP/AVP", Lower::Udp));
        assert_eq!(got.mode, Some(Mode::Record));
        assert_eq!(one("RTP/AVP;unicast;mode=receive").mode, Some(Mode::Record));
        // One port, spaces, lower case, an unknown parameter.
        let got = one(" rtp/avp ; UNICAST ; client_port = 5000 ; x-dynamic-rate=1;append");
        assert_eq!(
            (got.profile.as_str(), got.client_port),
            ("RTP/AVP", Some((5000, 5001)))
        );
        assert_eq!(
            got.others,
            [
                ("x-dynamic-rate".to_owned(), Some("1".to_owned())),
                ("append".to_owned(), None)
            ]
        );
    }

    #[test]
    fn what_cannot_be_used_counts_as_not_sent() {
        let got = one("RTP/AVP/TCP;interleaved=255;client_port=70000-70001;ssrc=xyz;ttl=300;source=");
        assert_eq!(got.interleaved, None);
        assert_eq!(got.client_port, None);
        assert_eq!(got.ssrc, None);
        assert_eq!(got.ttl, None);
        assert_eq!(got.source, None);
        assert!(parse("nonsense, ,;;").is_empty());
        assert_eq!(one("RAW/RAW/UDP;unicast").profile, "RAW/RAW");
    }

    #[test]
    fn the_answer_to_setup_is_written_as_zlm_writes_it() {
        let mut transport = Transport::new(Lower::Tcp);
        transport.interleaved = Some((0, 1));
        transport.ssrc = Some(2);
        assert_eq!(
            transport.to_string(),
            "RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=00000002"
        );
        let mut transport = Transport::new(Lower::Udp);
        transport.client_port = Some((5000, 5001));
        transport.mode = Some(Mode::Record);
        assert_eq!(
            transport.to_string(),
            "RTP/AVP;unicast;client_port=5000-5001;mode=record"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            tcp in any::<bool>(),
            multicast in any::<bool>(),
            interleaved in any::<Option<(u8, u8)>>(),
            client_port in any::<Option<(u16, u16)>>(),
            server_port in any::<Option<(u16, u16)>>(),
            port in any::<Option<(u16, u16)>>(),
            addresses in any::<Option<(std::net::Ipv4Addr, std::net::Ipv6Addr)>>(),
            ttl in any::<Option<u8>>(),
            ssrc in any::<Option<u32>>(),
            mode in proptest::option::of(prop_oneof![Just(Mode::Play), Just(Mode::Record)]),
        ) {
            let mut transport = Transport::new(if tcp { Lower::Tcp } else { Lower::Udp });
            transport.multicast = multicast;
            (transport.interleaved, transport.client_port) = (interleaved, client_port);
            (transport.server_port, transport.port) = (server_port, port);
            transport.source = addresses.map(|(source, _)| source.to_string());
            transport.destination = addresses.map(|(_, destination)| destination.to_string());
            (transport.ttl, transport.ssrc, transport.mode) = (ttl, ssrc, mode);
            prop_assert_eq!(parse(&transport.to_string()), [transport]);
        }

        #[test]
        fn hostile_text_does_no_harm(text in ".{0,200}", more in "[RTP/AVUDC,;=\"0-9 -]{0,300}") {
            for header in [text, more] {
                prop_assert!(parse(&header).len() <= MAX_TRANSPORTS);
            }
        }
    }
}
