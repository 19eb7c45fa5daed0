//! MPEG-TS with real players and senders, and back and forth.

mod players;
mod round_trip;
mod senders;

use bytes::Bytes;
use container::flv;
use media::{Frame, Track};
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::fixture::Fixture;
use testkit::tool::Tool;

const SOON: Duration = Duration::from_secs(60);

/// The frames of a fixture, by way of FLV, which this crate reads.
async fn frames_of(fixture: Fixture, folder: &Path) -> (PathBuf, Vec<Track>, Vec<Frame>) {
    let flv = folder.join("in.flv");
    let tool = Tool::ffmpeg_new().unwrap().args(["-v", "error", "-i"]);
    let tool = tool
        .arg(fixture.path().await.unwrap())
        .args(["-c", "copy"])
        .arg(&flv);
    tool.run(SOON).await.unwrap();
    let (mut reader, mut demuxer, mut frames) = (flv::Reader::new(), flv::Demuxer::new(), Vec::new());
    reader.push(Bytes::from(std::fs::read(&flv).unwrap()));
    while let Some(tag) = reader.next().unwrap() {
        demuxer.tag(tag.tag_type, tag.timestamp_ms, tag.body).unwrap();
        while let Some(event) = demuxer.poll() {
            if let flv::Event::Frame(frame) = event {
                frames.push(frame);
            }
        }
    }
    let tracks = demuxer.tracks().cloned().collect();
    (flv, tracks, frames)
}
