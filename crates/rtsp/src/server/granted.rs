//! A stream that a client may play or publish.

use super::{Allowed, Ways};
use crate::transport::{self, Lower, Transport};
use crate::url;
use std::collections::VecDeque;

/// The URLs by which a client knows a stream.
#[derive(Clone, Debug)]
pub(super) struct Urls {
    /// Of the stream: without query, and without the `.sdp` of a publisher.
    pub(super) base: String,
    /// As the client wrote it: what it makes the URLs of its tracks of, unless it keeps to the Content-Base.
    pub(super) asked: String,
}

/// What was granted, and how far the client got with it.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) urls: Urls,
    pub(super) controls: Vec<String>,
    /// How each track travels, once it is set up. As long as `controls`.
    pub(super) ways: Vec<Option<Ways>>,
    pub(super) publishes: bool,
    pub(super) flow: Flow,
}

/// Whether media flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Before `PLAY` or `RECORD`.
    Stopped,
    Running,
    Paused,
}

impl Granted {
    pub(super) fn new(urls: Urls, controls: Vec<String>, publishes: bool) -> Self {
        Self {
            urls,
            ways: vec![None; controls.len()],
            controls,
            publishes,
            flow: Flow::Stopped,
        }
    }

    /// The track that a SETUP's URL names.
    pub(super) fn track_of(&self, uri: &str) -> Option<usize> {
        let base = self.urls.asked.as_str();
        let asked = url::track(base, uri)?;
        // A publisher's control may be an absolute URL, or a path.
        let means = |control: &String| {
            let relative = control.trim_start_matches('/');
            !relative.is_empty() && (relative == asked || url::track(base, control) == Some(asked))
        };
        if let Some(track) = self.controls.iter().position(means) {
            return Some(track);
        }
        // A single track may be set up by the stream's own URL (RFC 2326, appendix C.3).
        (self.controls.len() == 1 && asked.is_empty()).then_some(0)
    }

    /// How `track` may travel, of what the client offers in `Transport`, in its order.
    pub(super) fn ways_of(&self, track: usize, header: &str, allowed: Allowed) -> VecDeque<Ways> {
        // All tracks of a session travel alike, except that each has its own ports. With a track that is set up again a client
        // falls back to another way, for all of them.
        let again = self.ways.get(track).is_some_and(Option::is_some);
        let settled = self.ways.iter().find_map(|way| *way).filter(|_| !again);
        transport::parse(header)
            .iter()
            .filter_map(|offer| way_of(offer, allowed, self.publishes))
            .filter(|way| settled.is_none_or(|settled| settled.is_like(*way)))
            .collect()
    }

    pub(super) fn is_set_up(&self) -> bool {
        self.ways.iter().any(Option::is_some)
    }

    pub(super) fn over_tcp(&self) -> bool {
        self.ways.iter().flatten().all(|way| *way == Ways::Tcp)
    }
}

fn way_of(offer: &Transport, allowed: Allowed, publishes: bool) -> Option<Ways> {
    // SRTP has keys that nobody gave us, and what is no RTP is none.
    if !PROFILES.contains(&offer.profile.as_str()) {
        return None;
    }
    let way = match offer.lower {
        Lower::Tcp => Ways::Tcp,
        Lower::Udp if offer.multicast => Ways::Multicast,
        Lower::Udp => {
            let (rtp, rtcp) = offer.client_port.filter(|&(rtp, rtcp)| rtp != 0 && rtcp != 0)?;
            Ways::Udp(rtp, rtcp)
        }
    };
    let fits = match (way, allowed) {
        (Ways::Multicast, _) if publishes => false,
        (_, Allowed::Any)
        | (Ways::Tcp, Allowed::Tcp)
        | (Ways::Udp(..), Allowed::Udp)
        | (Ways::Multicast, Allowed::Multicast) => true,
        (Ways::Tcp | Ways::Udp(..) | Ways::Multicast, Allowed::Tcp | Allowed::Udp | Allowed::Multicast) => {
            false
        }
    };
    fits.then_some(way)
}

/// RFC 3551 and RFC 4585.
const PROFILES: [&str; 2] = ["RTP/AVP", "RTP/AVPF"];
