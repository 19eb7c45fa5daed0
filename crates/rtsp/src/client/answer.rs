//! What the header fields of answers say.

use super::{Carrier, Failure, Multicast, Path, RtpInfo};
use crate::message::Response;
use crate::transport::{self, Lower, Transport};
use crate::url::{RtspUrl, join};
use std::time::Duration;

/// `Session`: id and timeout (RFC 2326, section 12.37). Cameras put spaces around both.
pub(super) fn session(response: &Response) -> Option<(String, Duration)> {
    let value = response.headers.get("Session")?;
    let mut parts = value.split(';').map(str::trim);
    let id = parts
        .next()
        .filter(|id| !id.is_empty() && id.len() <= MAX_SESSION_ID)?;
    let timeout = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim_end().eq_ignore_ascii_case("timeout"))
        .and_then(|(_, seconds)| seconds.trim().parse::<u32>().ok())
        // A server that says 0 means no limit, or nothing.
        .filter(|&seconds| seconds > 0)
        .map_or(DEFAULT_SESSION_TIMEOUT, |seconds| {
            Duration::from_secs(u64::from(seconds))
        });
    Some((id.to_owned(), timeout))
}

/// What the controls of a description are relative to: Content-Base, Content-Location, or the URL of the request
/// (RFC 2326, section C.1.1).
pub(super) fn base(response: &Response, url: &RtspUrl) -> String {
    let request = url.without_credentials();
    let scheme = if url.tls { "rtsps" } else { "rtsp" };
    ["Content-Base", "Content-Location"]
        .iter()
        .filter_map(|name| response.headers.get(name))
        .map(str::trim)
        .find(|value| !value.is_empty())
        .map_or_else(
            || request.clone(),
            |value| {
                if value.contains("://") {
                    value.to_owned()
                } else if value.starts_with('/') {
                    let root = request.len() - url.path_and_query.len();
                    format!("{}{value}", request.get(..root).unwrap_or_default())
                } else {
                    // Anjvision cameras leave the scheme out (retina's changelog, after 0.4.19).
                    format!("{scheme}://{value}")
                }
            },
        )
}

/// What was asked for a track.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) carrier: Carrier,
    pub(super) channels: (u8, u8),
    pub(super) publish: bool,
}

/// How the packets of a track travel, and the SSRC of who sends. `taken`: channels that belong to other tracks.
pub(super) fn path(
    response: &Response,
    asked: Asked,
    taken: impl Fn(u8) -> bool,
) -> Result<(Path, Option<u32>), Failure> {
    let header = response.headers.get("Transport").unwrap_or_default();
    let answer = transport::parse(header).into_iter().next();
    let ssrc = answer.as_ref().and_then(|answer| answer.ssrc);
    let refused = || Failure::Transport(header.chars().take(200).collect());
    let (rtp, rtcp) = asked.channels;
    let as_asked = Path::Interleaved { rtp, rtcp };
    let path = match (answer, asked.carrier) {
        // Some servers answer without Transport, or without channels: those that were asked for then.
        (None, Carrier::Tcp) => as_asked,
        (Some(answer), carrier) if answer.lower == Lower::Tcp => match answer.interleaved {
            // Channels of another track cannot be meant: those that were asked for then.
            Some((rtp, rtcp)) if !taken(rtp) && !taken(rtcp) => Path::Interleaved { rtp, rtcp },
            _ if carrier == Carrier::Tcp => as_asked,
            _ => return Err(refused()),
        },
        (Some(answer), Carrier::Multicast) => Path::Multicast(group(&answer).ok_or_else(refused)?),
        (Some(answer), Carrier::Udp) if !answer.multicast => Path::Unicast {
            server: match answer.server_port {
                None if asked.publish => return Err(refused()),
                server => server,
            },
            source: address(answer.source.as_deref()),
        },
        (None, Carrier::Udp) if !asked.publish => Path::Unicast {
            server: None,
            source: None,
        },
        (Some(answer), Carrier::Tcp) if answer.interleaved.is_some() => as_asked,
        _ => return Err(refused()),
    };
    Ok((path, ssrc))
}

/// The group that a server answers with. The ports belong into `port`; some have them in `client_port` or `server_port`.
fn group(answer: &Transport) -> Option<Multicast> {
    let (rtp, rtcp) = answer.port.or(answer.client_port).or(answer.server_port)?;
    Some(Multicast {
        group: address(answer.destination.as_deref()).filter(|group| group.is_multicast())?,
        rtp,
        rtcp,
        ttl: answer.ttl,
        source: address(answer.source.as_deref()),
    })
}

fn address(text: Option<&str>) -> Option<std::net::IpAddr> {
    text?
        .parse()
        .ok()
        .filter(|address: &std::net::IpAddr| !address.is_unspecified())
}

/// Whether `Public` names a method.
pub(super) fn offers(response: &Response, method: &str) -> bool {
    response
        .headers
        .get_all("Public")
        .flat_map(|value| value.split(','))
        .any(|offered| offered.trim() == method)
}

/// `RTP-Info`. `tracks`: index and URL of each track that is set up. What cannot be read or assigned is left out.
pub(super) fn rtp_info(response: &Response, base: &str, tracks: &[(usize, &str)]) -> Vec<RtpInfo> {
    let header = response.headers.get("RTP-Info").unwrap_or_default();
    // URLs may hold commas, so entries begin at `url=`.
    let mut entries: Vec<String> = Vec::new();
    for part in header.split(',').take(MAX_INFO_PARTS) {
        match (starts_with_url(part), entries.last_mut()) {
            (false, Some(entry)) => {
                entry.push(',');
                entry.push_str(part);
            }
            _ => entries.push(part.to_owned()),
        }
    }
    let mut infos: Vec<RtpInfo> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let mut params = entry.trim().split(';').map(str::trim);
        let url = match params.clone().next() {
            Some(first) if starts_with_url(first) => {
                params.next();
                &first["url=".len()..]
            }
            // Without a URL the place of the entry tells the track.
            _ => "",
        };
        let Some(track) = track_of(url, at, entries.len(), base, tracks) else {
            continue;
        };
        if infos.iter().any(|info| info.track == track) {
            continue;
        }
        let mut info = RtpInfo {
            track,
            seq: None,
            rtptime: None,
        };
        for (name, value) in params.filter_map(|param| param.split_once('=')) {
            match name.trim_end().to_ascii_lowercase().as_str() {
                "seq" => info.seq = value.trim().parse().ok().filter(|&seq| seq > 1),
                // OMNY M5S2A sends -1 (retina, 0.3.10).
                "rtptime" => info.rtptime = value.trim().parse().ok(),
                _ => {}
            }
        }
        infos.push(info);
    }
    infos
}

fn starts_with_url(part: &str) -> bool {
    part.trim_start()
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("url="))
}

/// Which track an entry of RTP-Info means.
fn track_of(url: &str, at: usize, entries: usize, base: &str, tracks: &[(usize, &str)]) -> Option<usize> {
    let url = url.trim().trim_matches('"');
    // GW4089IP names another URL than that of its only track (retina).
    if let &[(only, _)] = tracks {
        return Some(only);
    }
    let joined = join(base, url);
    let last = url.rsplit('/').next().unwrap_or_default();
    let exact = tracks.iter().find(|(_, own)| *own == url || *own == joined);
    // Other host, other path: the last segment tells the tracks apart.
    let similar = || {
        tracks
            .iter()
            .find(|(_, own)| !last.is_empty() && own.rsplit('/').next() == Some(last))
    };
    let in_order = || tracks.get(at).filter(|_| entries == tracks.len());
    exact.or_else(similar).or_else(in_order).map(|(index, _)| *index)
}

/// RFC 2326, section 12.37.
pub(super) const DEFAULT_SESSION_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest session id, bytes. Real ones have 8 to 32.
const MAX_SESSION_ID: usize = 256;

/// Commas that RTP-Info is split at. One for each track, and those in URLs.
const MAX_INFO_PARTS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(name: &str, value: &str) -> Response {
        Response::new(200, "OK").with(name, value)
    }

    #[test]
    fn sessions_of_cameras() {
        let check = |value: &str, id: &str, seconds: u64| {
            let expected = (id.to_owned(), Duration::from_secs(seconds));
            assert_eq!(session(&with("Session", value)), Some(expected), "{value:?}");
        };
        check("708345999;timeout=60", "708345999", 60);
        check("9a90de54; timeout=120", "9a90de54", 120);
        check("12345678", "12345678", 60);
        check("a ; Timeout = 30 ", "a", 30);
        check("a;timeout=0", "a", 60);
        check("a;timeout=soon", "a", 60);
        assert_eq!(session(&with("Session", "")), None);
    }

    #[test]
    fn bases_of_cameras() {
        let url = crate::url::parse("rtsp://u:p@cam:5540/live?x=y").unwrap();
        let check = |name: &str, value: &str, expected: &str| {
            assert_eq!(base(&with(name, value), &url), expected);
        };
        check("Content-Base", "rtsp://10.0.0.9/a/", "rtsp://10.0.0.9/a/");
        check("Content-Location", "rtsp://10.0.0.9/a", "rtsp://10.0.0.9/a");
        check(
            "Content-Base",
            "10.0.0.9:554/stream0/",
            "rtsp://10.0.0.9:554/stream0/",
        );
        check("Content-Base", "/stream0/", "rtsp://cam:5540/stream0/");
        check("Content-Base", " ", "rtsp://cam:5540/live?x=y");
        check("X", "", "rtsp://cam:5540/live?x=y");
    }

    #[test]
    fn paths_of_answers() {
        let check = |carrier: Carrier, publish: bool, value: &str| {
            let response = match value {
                "" => Response::new(200, "OK"),
                value => with("Transport", value),
            };
            let asked = Asked {
                carrier,
                channels: (2, 3),
                publish,
            };
            path(&response, asked, |channel| channel < 2).map(|(path, _)| path)
        };
        let channels = |rtp, rtcp| Ok(Path::Interleaved { rtp, rtcp });
        let tcp = |value| check(Carrier::Tcp, false, value);
        assert_eq!(tcp("RTP/AVP/TCP;interleaved=4-5"), channels(4, 5));
        assert_eq!(tcp(""), channels(2, 3));
        assert_eq!(tcp("RTP/AVP/TCP;unicast"), channels(2, 3));
        assert_eq!(tcp("RTP/AVP;interleaved=2-3"), channels(2, 3));
        // Taken by another track.
        assert_eq!(tcp("RTP/AVP/TCP;interleaved=0-1"), channels(2, 3));
        assert!(tcp("RTP/AVP;unicast;server_port=1-2").is_err());
        let udp = |publish, value| check(Carrier::Udp, publish, value);
        assert_eq!(
            udp(
                false,
                "RTP/AVP;client_port=6000-6001;server_port=7000-7001;source=10.0.0.9"
            ),
            Ok(Path::Unicast {
                server: Some((7000, 7001)),
                source: Some([10, 0, 0, 9].into())
            })
        );
        let nothing = Ok(Path::Unicast {
            server: None,
            source: None,
        });
        assert_eq!(udp(false, "RTP/AVP;source=cam"), nothing);
        assert_eq!(udp(false, ""), nothing);
        assert!(udp(true, "RTP/AVP").is_err(), "nowhere to send to");
        assert_eq!(udp(false, "RTP/AVP/TCP;interleaved=8-9"), channels(8, 9));
        let multicast = |value| check(Carrier::Multicast, false, value);
        assert_eq!(
            multicast("RTP/AVP;multicast;destination=239.1.1.1;port=8000-8001;ttl=16"),
            Ok(Path::Multicast(Multicast {
                group: [239, 1, 1, 1].into(),
                rtp: 8000,
                rtcp: 8001,
                ttl: Some(16),
                source: None
            }))
        );
        assert!(multicast("RTP/AVP;multicast;destination=10.0.0.1;port=8000").is_err());
        assert!(multicast("RTP/AVP;multicast;destination=239.1.1.1").is_err());
    }

    #[test]
    fn rtp_info_of_cameras() {
        let both = [(0, "rtsp://cam/live/trackID=1"), (2, "rtsp://cam/live/trackID=2")];
        let check =
            |tracks: &[(usize, &str)], value: &str, expected: &[(usize, Option<u16>, Option<u32>)]| {
                let got: Vec<_> = rtp_info(&with("RTP-Info", value), "rtsp://cam/live/", tracks)
                    .iter()
                    .map(|info| (info.track, info.seq, info.rtptime))
                    .collect();
                assert_eq!(got, expected, "{value:?}");
            };
        let full = [(0, Some(16852), Some(1_070_938_629)), (2, Some(39409), Some(7))];
        // Relative, as Reolink; with another host; garbled but in order.
        for (first, second) in [
            ("trackID=1", "trackID=2"),
            ("rtsp://cam/live/trackID=1", "rtsp://cam/live/trackID=2"),
            ("rtsp://10.0.0.9/trackID=1", "rtsp://10.0.0.9/trackID=2"),
            ("rtsp://cam/a,b/x", "rtsp://cam/a,b/y"),
        ] {
            let value = format!(
                "url={first};seq=16852;rtptime=1070938629;ssrc=dcc4a0d8, url={second};seq=39409;rtptime=7"
            );
            check(&both, &value, &full);
        }
        check(&both, "url=trackID=2;seq=1;rtptime=-1", &[(2, None, None)]);
        check(&both, "url=trackID=9;seq=5", &[]);
        check(&both, "", &[]);
        check(
            &both[..1],
            "url=rtsp://x/H264/video;seq=271;rtptime=9;",
            &[(0, Some(271), Some(9))],
        );
        check(&both[..1], "seq=271", &[(0, Some(271), None)]);
    }

    proptest! {
        #[test]
        fn hostile_text_does_no_harm(text in ".{0,100}", list in "(url=|,|;|=|seq=|/|[0-9]|[a-z]){0,60}") {
            let url = crate::url::parse("rtsp://cam/live").unwrap();
            for value in [text, list] {
                for name in ["Session", "Content-Base", "Transport", "RTP-Info"] {
                    let response = with(name, &value);
                    session(&response);
                    base(&response, &url);
                    for carrier in [Carrier::Tcp, Carrier::Udp, Carrier::Multicast] {
                        let asked = Asked { carrier, channels: (0, 1), publish: false };
                        let _ = path(&response, asked, |_| false);
                    }
                    let infos = rtp_info(&response, "rtsp://cam/", &[(0, "a"), (1, "b")]);
                    prop_assert!(infos.len() <= 2);
                }
            }
        }
    }
}
