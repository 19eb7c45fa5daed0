//! What comes out is what went in: every frame's bytes and times.

use super::*;
use std::time::Duration;
use testkit::fixture::Fixture;
use testkit::framehash::{self, Frame, Kind, assert_run, assert_shown};
use testkit::websocket;
use tokio::task::JoinHandle;

/// Milliseconds of RTMP and ticks of MPEG-TS, RTP and MP4: each may round by one.
const ROUNDING: Duration = Duration::from_micros(2_500);

/// Everything stays in the window, so that a slow test misses nothing.
const ALL: &str = "[hls]\nsegNum=100\nsegDur=1\n[protocol]\nenable_hls_fmp4=1\nadd_mute_audio=0\n";

/// Who publishes, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Rtmp,
    /// Enhanced RTMP, by a recent ffmpeg.
    RtmpEnhanced,
    Rtsp,
}

/// How the stream is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    HttpTs,
    HttpFmp4,
    WsTs,
    WsFmp4,
    Hls(Form),
}

impl By {
    const ALL: [Self; 6] = [
        Self::HttpTs,
        Self::HttpFmp4,
        Self::WsTs,
        Self::WsFmp4,
        Self::Hls(Form::Ts),
        Self::Hls(Form::Fmp4),
    ];

    const fn ts(self) -> bool {
        matches!(self, Self::HttpTs | Self::WsTs | Self::Hls(Form::Ts))
    }

    /// Plays to the end of the stream.
    fn start(self, server: &TestServer) -> JoinHandle<Result<Vec<u8>>> {
        let address = server.address("http");
        let suffix = if self.ts() { "ts" } else { "mp4" };
        let path = format!("/live/cam.live.{suffix}");
        tokio::spawn(async move {
            match self {
                Self::HttpTs | Self::HttpFmp4 => {
                    let answer = client::get(address, &path, &[]).await?;
                    assert_eq!(answer.status, 200, "{path}");
                    Ok(answer.body)
                }
                Self::WsTs | Self::WsFmp4 => {
                    let url = format!("ws://{address}{path}");
                    let client = websocket::Client::connect(&url, None, SOON).await?;
                    client.read_to_end(SOON).await
                }
                Self::Hls(form) => {
                    let player = Player::open_at(address, &form.path("live/cam")).await?;
                    player.play_to_end().await
                }
            }
        })
    }
}

/// Brings frames of different containers into one form: without parameter sets, SEI and delimiters, which may stand in the stream
/// or in the header, with start codes, without ADTS headers.
fn filter(fixture: Fixture, kind: Kind, ts: bool) -> &'static str {
    match (fixture, kind, ts) {
        (Fixture::H265Aac, Kind::Video, true) => "filter_units=remove_types=32-35|39-40",
        (Fixture::H265Aac, Kind::Video, false) => "hevc_mp4toannexb,filter_units=remove_types=32-35|39-40",
        (Fixture::Av1Opus, Kind::Video, _) => "filter_units=remove_types=1-2|15",
        (Fixture::Av1Opus, Kind::Audio, _) | (_, Kind::Audio, false) => "null",
        (_, Kind::Audio, true) => "aac_adtstoasc",
        (_, Kind::Video, true) => "filter_units=remove_types=6-9",
        (_, Kind::Video, false) => "h264_mp4toannexb,filter_units=remove_types=6-9",
    }
}

/// Distances of the sound from the picture, which a player hears: the time of the first frame of either kind.
fn first_shown(frames: &[Frame]) -> i64 {
    frames
        .iter()
        .map(|frame| frame.dts_us + frame.pts_offset_us)
        .min()
        .unwrap_or_default()
}

async fn through(fixture: Fixture, from: From, players: &[By], kinds: &[Kind]) -> Result<()> {
    let server = serve(ALL).await?;
    let source = fixture.path().await?;
    let running: Vec<_> = players.iter().map(|by| (*by, by.start(&server))).collect();
    waiting(&server, "live/cam", players.len() as u64).await;
    let (tool, format, url): (_, &[&str], _) = match from {
        From::Rtmp => (Tool::ffmpeg(), &["-f", "flv"], server.url_rtmp("live/cam")),
        From::RtmpEnhanced => (Tool::ffmpeg_new()?, &["-f", "flv"], server.url_rtmp("live/cam")),
        From::Rtsp => (
            Tool::ffmpeg_new()?,
            &["-f", "rtsp", "-rtsp_transport", "tcp"],
            server.url_rtsp("live/cam"),
        ),
    };
    publish_once(tool, &source, format, &url).await?;
    for (by, running) in running {
        let suffix = if by.ts() { "ts" } else { "mp4" };
        let file = server
            .folder()
            .join(format!("{by:?}.{suffix}").replace(['(', ')'], "-"));
        std::fs::write(&file, running.await??)?;
        compare(fixture, from, by, &source, &file, kinds)
            .await
            .map_err(|error| error.context(format!("{by:?}")))?;
    }
    Ok(())
}

async fn compare(
    fixture: Fixture,
    from: From,
    by: By,
    source: &Path,
    played: &Path,
    kinds: &[Kind],
) -> Result<()> {
    let mut offsets = Vec::new();
    for kind in kinds {
        if fixture == Fixture::Av1Opus && *kind == Kind::Video && by.ts() {
            continue; // ffmpeg does not read AV1 out of MPEG-TS
        }
        let before = framehash::of_filtered_file(source, *kind, filter(fixture, *kind, false)).await?;
        let after = framehash::of_filtered_file(played, *kind, filter(fixture, *kind, by.ts())).await?;
        println!("{by:?} {kind:?}: {} of {} frames", after.len(), before.len());
        // The last frames of a file may leave ffmpeg after its goodbye. RTP has presentation times only, and its readers guess
        // when frames are to be decoded.
        let start = match from {
            From::Rtmp | From::RtmpEnhanced => assert_run(&before, &after, before.len() - 5, ROUNDING),
            From::Rtsp => assert_shown(&before, &after, before.len() - 30, ROUNDING),
        };
        let late = if from == From::Rtsp { 20 } else { 1 };
        assert!(start <= late, "{by:?} {kind:?} starts at frame {start}");
        offsets.push(first_shown(&after) - first_shown(&before[start..start + after.len()]));
    }
    if let [video, audio] = offsets[..] {
        let apart = (video - audio).abs();
        // ffmpeg publishes by RTSP with the clocks of its tracks told apart by sender reports, in whole milliseconds.
        let limit = if from == From::Rtsp { 30_000 } else { 2_500 };
        assert!(apart <= limit, "{by:?}: sound and picture are {apart} us apart");
    }
    Ok(())
}

const AV: &[Kind] = &[Kind::Video, Kind::Audio];

#[tokio::test]
async fn h264_with_b_frames_and_aac_from_rtmp() -> Result<()> {
    through(Fixture::H264Aac, From::Rtmp, &By::ALL, AV).await
}

#[tokio::test]
async fn h264_with_b_frames_and_aac_from_rtsp() -> Result<()> {
    through(Fixture::H264Aac, From::Rtsp, &By::ALL, AV).await
}

#[tokio::test]
async fn h265_and_aac_from_rtmp() -> Result<()> {
    through(Fixture::H265Aac, From::RtmpEnhanced, &By::ALL, AV).await
}

#[tokio::test]
async fn h265_and_aac_from_rtsp() -> Result<()> {
    through(Fixture::H265Aac, From::Rtsp, &By::ALL, AV).await
}

#[tokio::test]
async fn av1_and_opus_from_rtmp() -> Result<()> {
    through(Fixture::Av1Opus, From::RtmpEnhanced, &By::ALL, AV).await
}

#[tokio::test]
async fn av1_and_opus_from_rtsp() -> Result<()> {
    through(Fixture::Av1Opus, From::Rtsp, &By::ALL, AV).await
}

#[tokio::test]
async fn video_only() -> Result<()> {
    through(Fixture::H264, From::Rtmp, &By::ALL, &[Kind::Video]).await?;
    through(Fixture::H264, From::Rtsp, &By::ALL, &[Kind::Video]).await
}

#[tokio::test]
async fn audio_only() -> Result<()> {
    through(Fixture::Aac, From::Rtmp, &By::ALL, &[Kind::Audio]).await?;
    through(Fixture::Aac, From::Rtsp, &By::ALL, &[Kind::Audio]).await
}
