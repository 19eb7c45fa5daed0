//! A player: what it was granted, how its tracks travel, and what is sent to it.

use super::multicast::Group;
use crate::app::App;
use crate::containers::{self, RTSP};
use crate::link::{Granted, Pending};
use crate::udp::{Endpoints, SEND_PATIENCE};
use bytes::{Bytes, BytesMut};
use hub::{Batch, Ended, Reader, ReaderOptions};
use media::Schema;
use rtp::sdp;
use rtsp::message::{data_head, interleave};
use rtsp::server::{Description, PlayAnswer, Refusal, TrackStart, Ways};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use tracing::debug;

/// A player, from its first answer to its end.
pub(super) struct Player {
    pub(super) granted: Granted,
    /// The URL it asked for, without query.
    pub(super) url: String,
    pub(super) paused: bool,
    ways: Vec<Option<Ways>>,
    reader: Option<Reader>,
    group: Option<Arc<Group>>,
    ended: Ended,
    /// The last to go: the session's end is told after its reader has left.
    pub(super) pending: Pending,
}

impl Player {
    pub(super) fn new(granted: Granted, url: String, pending: Pending) -> Self {
        Self {
            ended: granted.stream.ended(),
            granted,
            url,
            paused: false,
            ways: Vec::new(),
            reader: None,
            group: None,
            pending,
        }
    }

    /// Its reader, if it is for others to write all that comes to the connection. What is paused stays.
    pub(super) fn leave(&mut self) -> Option<Reader> {
        if self.paused || !self.takes_all() {
            return None;
        }
        self.reader.take()
    }

    /// Takes the reader back.
    pub(super) fn come_back(&mut self, reader: Reader) {
        self.reader = Some(reader);
    }

    /// What is to be waited for: media, or no more than the stream's end.
    pub(super) fn waits(&mut self) -> (Option<&mut Reader>, Option<&mut Ended>) {
        match &mut self.reader {
            Some(reader) if !self.paused => (Some(reader), None),
            _ => (None, Some(&mut self.ended)),
        }
    }

    /// Describes the stream as it is now. What was set up before counts no more.
    pub(super) fn describe(&mut self, app: &App) -> Result<Description, Refusal> {
        let stream = &self.granted.stream;
        let media = rtp::mux::describe(&stream.tracks(), app.rtp_style(stream).direct);
        if media.is_empty() {
            return Err(Refusal::NotFound);
        }
        (self.reader, self.group) = (None, None);
        self.ways = vec![None; media.len()];
        let controls = media
            .iter()
            .map(|media| media.control().unwrap_or_default().to_owned())
            .collect();
        let name = concat!("Tidegate/", env!("CARGO_PKG_VERSION"));
        let sdp = sdp::Session::live(name, media).to_string();
        Ok(Description { sdp, controls })
    }

    /// The source of a track's packets.
    pub(super) fn ssrc(&self, app: &App, track: usize) -> u32 {
        rtp::mux::ssrc(app.rtp_seed(self.granted.incarnation), track)
    }

    /// The group that the stream is sent to.
    pub(super) fn join(&mut self, app: &App, local: IpAddr) -> Option<Arc<Group>> {
        if self.group.is_none() {
            self.group = app.groups.join(app, &self.granted, local);
        }
        self.reader = None;
        self.group.clone()
    }

    /// Says how a track travels.
    pub(super) fn set_up(&mut self, track: usize, way: Ways) -> &[Option<Ways>] {
        way.choose(track, &mut self.ways);
        if way != Ways::Multicast {
            self.group = None;
        }
        &self.ways
    }

    /// Begins, or goes on. What is cached is fetched into `batch`, to be sent behind the answer: it tells where the tracks start.
    pub(super) fn play(
        &mut self,
        app: &Arc<App>,
        batch: &mut Batch,
        fetch: impl FnOnce(&mut Reader, &mut Batch),
    ) -> Result<PlayAnswer, Refusal> {
        let stream = &self.granted.stream;
        let closed = |error: hub::ReadError| {
            debug!(stream = %stream.key(), %error, "the granted stream cannot be read");
            Refusal::NotFound
        };
        if let Some(group) = &self.group {
            group.start(app, stream).map_err(|error| match error {
                super::multicast::Error::Stream(error) => closed(error),
                super::multicast::Error::Network(error) => {
                    Refusal::Overload(format!("multicast is not possible here: {error}"))
                }
            })?;
            self.paused = false;
            return Ok(PlayAnswer::default());
        }
        if self.reader.is_none() {
            let (style, options) = (app.rtp_style(stream), ReaderOptions::player(Schema::Rtsp));
            let reader = stream.reader(RTSP, options, || containers::rtsp(app, stream, style));
            self.reader = Some(reader.map_err(closed)?);
        }
        self.paused = false;
        if let Some(reader) = &mut self.reader
            && batch.is_empty()
        {
            fetch(reader, batch);
        }
        Ok(PlayAnswer {
            tracks: starts(batch, &self.ways),
        })
    }

    /// Whether all that is sent goes over the connection as it is.
    pub(super) fn takes_all(&self) -> bool {
        self.ways.iter().all(|way| *way == Some(Ways::Tcp))
    }

    /// Sends a batch's packets over UDP where tracks travel so, and returns what is to be written to the connection, and how many
    /// bytes were sent.
    pub(super) async fn pieces(&mut self, batch: &Batch, endpoints: &Endpoints) -> (Vec<Bytes>, u64) {
        let (mut pieces, mut sent) = (Vec::new(), 0);
        let until = Instant::now() + SEND_PATIENCE;
        for part in batch.packets().iter().flat_map(|packet| &packet.parts) {
            for (channel, packet) in rtp::mux::frames(part.clone()) {
                match self.ways.get(usize::from(channel / 2)).copied().flatten() {
                    Some(Ways::Tcp) => {
                        let head = data_head(channel, packet.len() as u16);
                        pieces.extend([Bytes::copy_from_slice(&head), packet]);
                    }
                    Some(Ways::Udp(..)) => sent += endpoints.send(channel, &packet, until).await as u64,
                    Some(Ways::Multicast) | None => {}
                }
            }
        }
        (pieces, sent)
    }

    /// Tells it that nothing more will come (RFC 3550, section 6.6). Returns what is to be written to the connection.
    pub(super) fn goodbye(&self, app: &App, endpoints: &Endpoints) -> Option<Bytes> {
        self.reader.as_ref()?;
        let mut out = BytesMut::new();
        for (track, way) in self.ways.iter().enumerate() {
            let mut bye = BytesMut::new();
            rtp::rtcp::write_bye(self.ssrc(app, track), "tidegate", &mut bye);
            let Ok(channel) = u8::try_from(track * 2 + 1) else {
                continue;
            };
            match way {
                Some(Ways::Tcp) => interleave(channel, &bye, &mut out),
                Some(Ways::Udp(..)) => {
                    endpoints.send_now(channel, &bye);
                }
                Some(Ways::Multicast) | None => {}
            }
        }
        (!out.is_empty()).then(|| out.freeze())
    }
}

/// Where the tracks start, by the sender reports and packets that a player gets first. The reports of one batch are about the
/// same moment, so their times are those of the beginning.
fn starts(batch: &Batch, ways: &[Option<Ways>]) -> Vec<TrackStart> {
    let mut starts: Vec<TrackStart> = Vec::new();
    for part in batch.packets().iter().flat_map(|packet| &packet.parts) {
        for (channel, packet) in rtp::mux::frames(part.clone()) {
            let track = usize::from(channel / 2);
            if ways.get(track).copied().flatten().is_none() {
                continue;
            }
            let known = starts.iter().position(|start| start.track == track);
            if channel % 2 == 1 {
                let report = rtp::rtcp::Rtcp::parse(&packet).find_map(|report| match report {
                    Ok(rtp::rtcp::Rtcp::SenderReport(report)) => Some(report.rtp),
                    Ok(_) | Err(_) => None,
                });
                if let (None, Some(timestamp)) = (known, report) {
                    starts.push(TrackStart {
                        track,
                        sequence: None,
                        timestamp,
                    });
                }
            } else if let (Some(known), Ok(packet)) = (known, rtp::Packet::parse(packet)) {
                starts[known].sequence.get_or_insert(packet.header().sequence);
            }
        }
    }
    starts
}
