//! Picture and sound stay together, also when the 32 bits of RTP's clocks run over.

use super::wire::Hand;
use super::*;
use bytes::{Bytes, BytesMut};
use container::flv::{Demuxer, Event, Reader};
use media::{Frame, MediaKind, MediaTime, Track};
use rtp::payload::{Packer, Sink};
use rtp::rtcp::{NtpTime, SenderReport};
use rtp::{Header, mux, sdp};
use rtsp::message::interleave;

/// Loops of the ten seconds of a file.
const LOOPS: usize = 6;

/// How long before the clocks run over the publisher starts: in the middle of the third loop.
const BEFORE_THE_END: MediaTime = MediaTime::from_millis(25_000);

/// One second is sent, then its arrival is waited for: faster than real time, and no faster than the player.
const PORTION: MediaTime = MediaTime::from_millis(1_000);

/// Tracks and frames of a file, in their order.
async fn read(fixture: Fixture, folder: &Path) -> Result<(Vec<Track>, Vec<Frame>)> {
    let flv = folder.join("source.flv");
    let args = ["-v", "error", "-i"];
    let remuxed = Tool::ffmpeg()
        .args(args)
        .arg(fixture.path().await?)
        .args(["-c", "copy"])
        .arg(&flv)
        .run(SOON)
        .await?;
    assert!(remuxed.status.success());
    let (mut reader, mut demuxer) = (Reader::new(), Demuxer::new());
    reader.push(std::fs::read(&flv)?.into());
    let (mut tracks, mut frames): (Vec<Track>, Vec<Frame>) = Default::default();
    while let Some(tag) = reader.next()? {
        demuxer.tag(tag.tag_type, tag.timestamp_ms, tag.body)?;
        while let Some(event) = demuxer.poll() {
            match event {
                Event::Track(track) => {
                    tracks.retain(|known| known.id != track.id);
                    tracks.push(track);
                }
                Event::Frame(frame) => frames.push(frame),
                Event::Metadata(_) | Event::TracksDeclared { .. } | Event::Unsupported(_) => {}
            }
        }
    }
    tracks.sort_by_key(|track| track.id);
    Ok((tracks, frames))
}

/// Makes the packets of one track with a clock of its own.
struct Sender {
    index: u8,
    rate: u32,
    payload_type: u8,
    packer: Packer,
    sequence: u16,
    /// RTP time of media time 0.
    origin: u32,
    out: BytesMut,
    now: u32,
}

impl Sender {
    fn new(index: u8, track: &Track) -> Self {
        let rate = match track.kind() {
            MediaKind::Video => 90_000,
            MediaKind::Audio => track.audio().map_or(0, |audio| audio.sample_rate),
        };
        Self {
            index,
            rate,
            payload_type: 96 + index,
            packer: Packer::new(track, true, 0).expect("a packer"),
            sequence: 65_000,
            origin: 0u32.wrapping_sub(BEFORE_THE_END.as_ticks(rate) as u32),
            out: BytesMut::new(),
            now: 0,
        }
    }

    fn rtp_time(&self, time: MediaTime) -> u32 {
        self.origin.wrapping_add(time.as_ticks(self.rate) as u32)
    }

    /// The wall clock is that of the media, from a day in 2026 on.
    fn report(&mut self, time: MediaTime) {
        let report = SenderReport {
            ssrc: self.ssrc(),
            ntp: NtpTime::from_unix_micros(1_790_000_000_000_000 + time.as_micros()),
            rtp: self.rtp_time(time),
            ..SenderReport::default()
        };
        let mut packet = BytesMut::new();
        report.write("camera", &mut packet);
        let report = packet;
        interleave(self.index * 2 + 1, &report, &mut self.out);
    }

    fn ssrc(&self) -> u32 {
        7 + u32::from(self.index)
    }

    fn frame(&mut self, frame: &Frame) {
        self.now = self.rtp_time(frame.pts);
        let mut packer = std::mem::replace(&mut self.packer, Packer::Aac(rtp::payload::aac::Packer::new()));
        packer.pack(frame, self);
        self.packer = packer;
    }
}

impl Sink for Sender {
    fn max_payload(&self) -> usize {
        1_388
    }

    fn packet(&mut self, marker: bool, offset: u32, parts: &[&[u8]]) {
        let mut packet = BytesMut::new();
        Header {
            marker,
            payload_type: self.payload_type,
            sequence: self.sequence,
            timestamp: self.now.wrapping_add(offset),
            ssrc: self.ssrc(),
        }
        .write(&mut packet);
        for part in parts {
            packet.extend_from_slice(part);
        }
        self.sequence = self.sequence.wrapping_add(1);
        interleave(self.index * 2, &packet, &mut self.out);
    }
}

async fn stays_together(config: &str) -> Result<()> {
    let server = serve(config).await?;
    let (tracks, frames) = read(Fixture::H264AacShortGop, server.folder()).await?;
    let url = server.url_rtsp("live/cam");
    let mut hand = Hand::connect(&server).await?;
    let description = sdp::Session::live("test", mux::describe(&tracks, false)).to_string();
    hand.send("ANNOUNCE", &url, &[], &description).await?;
    assert_eq!(hand.reply().await?.status, 200);
    for track in 0..tracks.len() {
        let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record";
        let reply = hand
            .ask("SETUP", &format!("{url}/trackID={track}"), &[transport])
            .await?;
        assert_eq!(reply.status, 200);
    }
    assert_eq!(hand.ask("RECORD", &url, &[]).await?.status, 200);

    let mut senders: Vec<Sender> = (0u8..)
        .zip(&tracks)
        .map(|(index, track)| Sender::new(index, track))
        .collect();
    let length = frames.iter().map(|frame| frame.dts).max().expect("frames") + MediaTime::from_millis(40);
    let mut viewer = None;
    let mut portion = BytesMut::new();
    let mut newest = MediaTime::ZERO;
    // How far each kind is from where it belongs, over all frames of the player: smallest and largest.
    let mut spread: [Option<(i64, i64)>; 2] = [None, None];
    let mut sent = MediaTime::ZERO;
    let mut wait_until = PORTION;
    let mut expected: std::collections::HashMap<(MediaKind, Bytes), Vec<MediaTime>> = Default::default();
    for turn in 0..LOOPS {
        let shift = MediaTime::from_micros(length.as_micros() * turn as i64);
        for frame in &frames {
            let at = tracks
                .iter()
                .position(|track| track.id == frame.track)
                .expect("a track");
            let moved = Frame {
                dts: frame.dts + shift,
                pts: frame.pts + shift,
                ..frame.clone()
            };
            let kind = tracks[at].kind();
            expected
                .entry((kind, content(kind, &moved.data)))
                .or_default()
                .push(moved.pts);
            if moved.dts == MediaTime::ZERO || moved.dts >= sent + MediaTime::from_millis(5_000) {
                for sender in &mut senders {
                    sender.report(moved.dts);
                    portion.extend_from_slice(&sender.out.split());
                }
                sent = moved.dts;
            }
            senders[at].frame(&moved);
            portion.extend_from_slice(&senders[at].out.split());
            if moved.dts < wait_until {
                continue;
            }
            wait_until = moved.dts + PORTION;
            hand.write(&portion.split()).await?;
            if viewer.is_none() {
                online(&server, "live", "cam").await;
                viewer = Some(FlvViewer::ask(server.address("http"), "live/cam").await?.await?);
            }
            let viewer = viewer.as_mut().expect("a viewer");
            while newest + MediaTime::from_millis(500) < moved.dts {
                let frame = viewer.frame().await?;
                let Some(kind) = viewer.kind(&frame) else { continue };
                newest = newest.max(frame.dts);
                let Some(times) = expected.get(&(kind, content(kind, &frame.data))) else {
                    continue;
                };
                // The same bytes come in each loop; the nearest is meant.
                let off = times
                    .iter()
                    .map(|time| (frame.pts - *time).as_micros())
                    .min_by_key(|off| off.abs())
                    .expect("a time");
                let (low, high) = spread[kind as usize].unwrap_or((off, off));
                spread[kind as usize] = Some((low.min(off), high.max(off)));
            }
        }
    }
    let [Some(video), Some(audio)] = spread else {
        panic!("frames of both kinds: {spread:?}")
    };
    assert!(newest > MediaTime::from_millis(55_000), "{newest:?}");
    let all = (video.0.min(audio.0), video.1.max(audio.1));
    assert!(
        all.1 - all.0 <= 20_000,
        "pictures are off by {video:?} us, sound by {audio:?} us"
    );
    Ok(())
}

/// What identifies a frame: parameter sets may be added on the way, so for pictures it is the last NAL unit.
fn content(kind: MediaKind, data: &Bytes) -> Bytes {
    match kind {
        MediaKind::Audio => data.clone(),
        MediaKind::Video => data.slice(data.len().saturating_sub(64)..),
    }
}

#[tokio::test]
async fn picture_and_sound_stay_together_over_a_minute_and_over_the_end_of_rtps_clocks() -> Result<()> {
    stays_together("[protocol]\nmodify_stamp=2\n").await
}

#[tokio::test]
async fn also_with_the_publishers_own_times() -> Result<()> {
    stays_together("[protocol]\nmodify_stamp=0\n").await
}
