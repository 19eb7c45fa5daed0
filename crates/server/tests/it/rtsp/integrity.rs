//! What comes out is what went in: every frame's bytes and presentation times, over every transport, passed on or repacked.

use super::*;
use std::time::Duration;
use testkit::framehash::{self, Kind, assert_shown};

/// Publishers pace a file so that it is over in a few seconds, and slow enough to be a live stream.
const PACE: &str = "4";

/// RTP counts 90,000 or more ticks per second, the files at the ends milliseconds: each may round by one.
const ROUNDING: Duration = Duration::from_micros(2_500);

/// The bytes and their order are compared, the times are not.
const ANY_TIME: Duration = Duration::from_secs(3600);

const DIRECT: &str = "[rtsp]\ndirectProxy=1\n";
const REPACKED: &str = "[rtsp]\ndirectProxy=0\n";

/// Without what may stand in the stream or in the header only: parameter sets, SEI, delimiters. Files have NAL units with lengths,
/// RTSP players with start codes: `file` brings the first into the form of the second.
fn filter(fixture: Fixture, kind: Kind, file: bool) -> &'static str {
    match (fixture, kind, file) {
        (Fixture::H265Aac, Kind::Video, false) => "filter_units=remove_types=32-35|39-40",
        (Fixture::H265Aac, Kind::Video, true) => "hevc_mp4toannexb,filter_units=remove_types=32-35|39-40",
        (Fixture::Av1Opus, Kind::Video, _) => "filter_units=remove_types=1-2|15",
        (Fixture::Vp9Opus | Fixture::Vp8Opus, Kind::Video, _) | (_, Kind::Audio, _) => "null",
        (_, Kind::Video, false) => "filter_units=remove_types=6-9",
        (_, Kind::Video, true) => "h264_mp4toannexb,filter_units=remove_types=6-9",
    }
}

/// What a player has seen.
struct Played {
    running: Running,
    files: Vec<(Kind, PathBuf)>,
    annex_b: bool,
}

impl Played {
    /// An ffmpeg that notes the frames of a live stream. `annex_b`: it sees H.264 with start codes, as over RTSP.
    fn start(
        ffmpeg: Tool,
        input: &[&str],
        name: &str,
        fixture: Fixture,
        kinds: &[Kind],
        annex_b: bool,
        server: &TestServer,
    ) -> Result<Self> {
        let mut ffmpeg = ffmpeg.args(["-nostdin", "-v", "error"]).args(input);
        let mut files = Vec::new();
        for kind in kinds {
            let file = file(server, &format!("{name}-{kind:?}.txt"));
            // ffmpeg does not see the key frames of VP9 over RTP, and would wait for one.
            ffmpeg = ffmpeg.arg("-copyinkf").args(framehash::filtered_arguments(
                *kind,
                filter(fixture, *kind, !annex_b),
                &file,
            ));
            files.push((*kind, file));
        }
        Ok(Self {
            running: ffmpeg.spawn()?,
            files,
            annex_b,
        })
    }

    /// Waits for the end, and compares with what was published. A player may miss the last frames, which leave a publishing ffmpeg
    /// after its goodbye, and ffmpeg's own start costs the first.
    async fn compare(self, fixture: Fixture, published: &Path) -> Result<()> {
        let output = self.running.wait(SOON).await?;
        assert!(output.status.success(), "{output:?}");
        for (kind, file) in self.files {
            let before = framehash::of_filtered_file(published, kind, filter(fixture, kind, true)).await?;
            let after = framehash::parse(&std::fs::read_to_string(&file)?)?;
            let start = assert_shown(&before, &after, before.len() - 30, ANY_TIME);
            // An RTSP player guesses the times of the first frames, before it has heard of both tracks: so does ffmpeg with what
            // another ffmpeg sends it.
            let guessed = if self.annex_b { 8 } else { 0 };
            assert_shown(&before, &after[guessed..], before.len() - 40, ROUNDING);
            // Sound alone has no key frame that a player could start at: it gets what is there when it has set up its tracks.
            // Over UDP nothing tells which of several packets came first, and this publisher sends faster than it should.
            let late = if kind == Kind::Audio { 20 } else { 2 };
            assert!(start <= late, "{}: starts at frame {start}", file.display());
        }
        Ok(())
    }
}

async fn publish_once(file: &Path, format: &[&str], url: &str) -> Result<()> {
    let ended = Tool::ffmpeg_new()?
        .args(["-nostdin", "-v", "error", "-readrate", PACE, "-i"])
        .arg(file)
        .args(["-map", "0", "-c", "copy", "-strict", "experimental"])
        .args(format)
        .arg(url)
        .run(SOON)
        .await?;
    assert!(ended.status.success(), "{ended:?}");
    Ok(())
}

/// Players wait before the publisher comes, so that they get the stream from its first frame.
async fn waiting(server: &TestServer, count: u64) {
    let parameters = [("vhost", "__defaultVhost__"), ("app", "live"), ("stream", "cam")];
    server
        .poll("all players wait", SOON, async |server| {
            let view = server.api("getStreamTimeline", &parameters).await;
            (view["data"]["waiting"] == count).then_some(())
        })
        .await;
}

async fn through(
    fixture: Fixture,
    config: &str,
    publish: Over,
    players: &[Over],
    kinds: &[Kind],
) -> Result<()> {
    let server = serve(config).await?;
    let source = fixture.path().await?;
    let mut running = Vec::new();
    for over in players {
        let url = over.url(&server, "live/cam");
        let input = ["-rtsp_transport", over.name(), "-i", &url];
        running.push(Played::start(
            Tool::ffmpeg_new()?,
            &input,
            over.name(),
            fixture,
            kinds,
            true,
            &server,
        )?);
    }
    waiting(&server, players.len() as u64).await;
    let format = ["-f", "rtsp", "-rtsp_transport", publish.name()];
    publish_once(&source, &format, &publish.url(&server, "live/cam")).await?;
    for player in running {
        player.compare(fixture, &source).await?;
    }
    Ok(())
}

const BOTH: &[Kind] = &[Kind::Video, Kind::Audio];

#[tokio::test]
async fn h264_with_b_frames_over_tcp_passed_on() -> Result<()> {
    through(
        Fixture::H264Aac,
        DIRECT,
        Over::Tcp,
        &[Over::Tcp, Over::Udp, Over::Http],
        BOTH,
    )
    .await
}

#[tokio::test]
async fn h264_with_b_frames_over_tcp_repacked() -> Result<()> {
    through(
        Fixture::H264Aac,
        REPACKED,
        Over::Tcp,
        &[Over::Tcp, Over::Udp],
        BOTH,
    )
    .await
}

#[tokio::test]
async fn h264_with_b_frames_over_udp() -> Result<()> {
    through(Fixture::H264Aac, DIRECT, Over::Udp, &[Over::Tcp, Over::Udp], BOTH).await?;
    through(Fixture::H264Aac, REPACKED, Over::Udp, &[Over::Tcp], BOTH).await
}

#[tokio::test]
async fn h265_and_aac() -> Result<()> {
    through(Fixture::H265Aac, DIRECT, Over::Tcp, &[Over::Tcp], BOTH).await?;
    through(
        Fixture::H265Aac,
        REPACKED,
        Over::Tcp,
        &[Over::Tcp, Over::Udp],
        BOTH,
    )
    .await
}

#[tokio::test]
async fn h264_and_g711() -> Result<()> {
    through(Fixture::H264Pcma, REPACKED, Over::Tcp, &[Over::Tcp], BOTH).await
}

#[tokio::test]
async fn h264_and_mp3() -> Result<()> {
    through(Fixture::H264Mp3, DIRECT, Over::Tcp, &[Over::Tcp], BOTH).await?;
    through(Fixture::H264Mp3, REPACKED, Over::Tcp, &[Over::Tcp], BOTH).await
}

#[tokio::test]
async fn vp9_and_opus() -> Result<()> {
    through(Fixture::Vp9Opus, DIRECT, Over::Tcp, &[Over::Tcp], BOTH).await?;
    through(Fixture::Vp9Opus, REPACKED, Over::Tcp, &[Over::Tcp], BOTH).await
}

#[tokio::test]
async fn vp8_and_opus() -> Result<()> {
    through(Fixture::Vp8Opus, DIRECT, Over::Tcp, &[Over::Tcp], BOTH).await?;
    through(Fixture::Vp8Opus, REPACKED, Over::Tcp, &[Over::Tcp], BOTH).await
}

#[tokio::test]
async fn av1_and_opus() -> Result<()> {
    through(Fixture::Av1Opus, DIRECT, Over::Tcp, &[Over::Tcp], BOTH).await?;
    through(Fixture::Av1Opus, REPACKED, Over::Tcp, &[Over::Tcp], BOTH).await
}

#[tokio::test]
async fn audio_only() -> Result<()> {
    through(
        Fixture::Aac,
        REPACKED,
        Over::Tcp,
        &[Over::Tcp, Over::Udp],
        &[Kind::Audio],
    )
    .await
}

/// From RTSP to RTMP and HTTP-FLV.
#[tokio::test]
async fn rtsp_to_rtmp_and_flv() -> Result<()> {
    let server = serve("").await?;
    let (fixture, source) = (Fixture::H264Aac, Fixture::H264Aac.path().await?);
    let mut running = Vec::new();
    for (url, name) in [
        (server.url_rtmp("live/cam"), "rtmp"),
        (server.url_flv("live/cam"), "flv"),
    ] {
        running.push(Played::start(
            Tool::ffmpeg(),
            &["-i", &url],
            name,
            fixture,
            BOTH,
            false,
            &server,
        )?);
    }
    waiting(&server, 2).await;
    let format = ["-f", "rtsp", "-rtsp_transport", "tcp"];
    publish_once(&source, &format, &server.url_rtsp("live/cam")).await?;
    for player in running {
        player.compare(fixture, &source).await?;
    }
    Ok(())
}

/// From RTMP to RTSP, played by Debian's ffmpeg.
#[tokio::test]
async fn rtmp_to_rtsp() -> Result<()> {
    let server = serve("").await?;
    let (fixture, source) = (Fixture::H264Aac, Fixture::H264Aac.path().await?);
    let mut running = Vec::new();
    for over in [Over::Tcp, Over::Udp] {
        let url = over.url(&server, "live/cam");
        let input = ["-rtsp_transport", over.name(), "-i", &url];
        running.push(Played::start(
            Tool::ffmpeg(),
            &input,
            over.name(),
            fixture,
            BOTH,
            true,
            &server,
        )?);
    }
    waiting(&server, 2).await;
    publish_once(&source, &["-f", "flv"], &server.url_rtmp("live/cam")).await?;
    for player in running {
        player.compare(fixture, &source).await?;
    }
    Ok(())
}
