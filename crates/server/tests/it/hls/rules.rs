//! A running server's playlists, held to the rules for as long as a stream of a minute lasts.

use super::*;
use anyhow::{Context, ensure};
use std::time::Duration;
use testkit::hls::{Growth, Media};
use testkit::tool::Running;

/// Seconds of stream. `TIDEGATE_HLS_SECONDS` makes it a longer run by hand.
fn seconds() -> u64 {
    let named = std::env::var("TIDEGATE_HLS_SECONDS").ok();
    named.and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// How a test picture is encoded.
struct Picture {
    name: &'static str,
    rate: &'static str,
    /// ffmpeg's options for key frames.
    keys: &'static [&'static str],
    growth: Growth,
}

const PICTURES: [Picture; 3] = [
    Picture {
        name: "film",
        rate: "24000/1001",
        keys: &["-g", "48", "-keyint_min", "48"],
        growth: Growth::Never,
    },
    Picture {
        name: "thirty",
        rate: "30",
        keys: &["-g", "60", "-keyint_min", "60"],
        growth: Growth::Never,
    },
    // Key frames are between 0.5 s and 3.4 s apart.
    Picture {
        name: "irregular",
        rate: "25",
        keys: &[
            "-g",
            "500",
            "-force_key_frames",
            "expr:gte(t,n_forced*1.7+0.6*mod(n_forced*7,3))",
        ],
        growth: Growth::Allowed,
    },
];

/// Four times as fast as real time.
const SPEED: u64 = 4;

async fn publish_picture(picture: &Picture, url: &str) -> Result<Running> {
    let source = format!("testsrc=size=192x108:rate={}", picture.rate);
    let speed = SPEED.to_string();
    let length = seconds().to_string();
    Tool::ffmpeg()
        .args(["-v", "error", "-readrate", &speed, "-f", "lavfi", "-i", &source])
        .args([
            "-readrate",
            &speed,
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:sample_rate=44100",
        ])
        .args([
            "-t",
            &length,
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-tune",
            "zerolatency",
        ])
        .args(["-pix_fmt", "yuv420p", "-sc_threshold", "0", "-threads", "1"])
        .args(picture.keys)
        .args(["-c:a", "aac", "-f", "flv", url])
        .spawn()
}

#[track_caller]
fn keeps(what: &str, media: &Media, previous: Option<&Media>, growth: Growth) {
    let mut problems = media.check();
    if let Some(previous) = previous {
        problems.extend(media.check_after(previous, growth));
    }
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{what}: {told:#?}\n{media:#?}");
}

/// What a player has fetched: everything in a row, and where in it segments and independent parts begin.
#[derive(Default)]
struct Fetched {
    bytes: Vec<u8>,
    /// Offsets, and what begins there.
    begins: Vec<(usize, String)>,
    /// Every segment was listed as independent.
    independent: bool,
}

/// Follows a playlist of MPEG-TS to its end, looking at it more often than it changes.
async fn follow_ts(player: Player, growth: Growth, name: &str) -> Result<Fetched> {
    let mut fetched = Fetched {
        independent: true,
        ..Fetched::default()
    };
    let mut previous: Option<Media> = None;
    let mut tick = tokio::time::interval(Duration::from_millis(150));
    let mut next = 0;
    loop {
        tick.tick().await;
        let media = player.playlist("").await?;
        keeps(name, &media, previous.as_ref(), growth);
        fetched.independent &= media.independent;
        for segment in &media.segments {
            if segment.sequence < next {
                continue;
            }
            ensure!(
                next == 0 || segment.sequence == next,
                "{name}: segment {next} was missed"
            );
            next = segment.sequence + 1;
            fetched.begins.push((fetched.bytes.len(), segment.uri.clone()));
            fetched.bytes.extend(player.fetch(&segment.uri).await?);
        }
        if media.ended {
            return Ok(fetched);
        }
        previous = Some(media);
    }
}

/// Follows a low-latency playlist as a player does: asks for the part that comes next, and for the part that was announced.
async fn follow_parts(player: Player, growth: Growth, name: &str) -> Result<Fetched> {
    let mut fetched = Fetched {
        independent: true,
        ..Fetched::default()
    };
    let mut media = player.playlist("").await?;
    keeps(name, &media, None, growth);
    let map = media.segments[0].map.clone().context("a map")?;
    fetched.bytes = player.fetch(&map).await?;
    // Parts of the segment that is being made.
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let (mut polls, mut deltas, mut next) = (0_u32, 0, media.next_sequence());
    while !media.ended {
        let (sequence, part) = media.next_part();
        for index in parts.len()..part {
            let part = &media.open.parts[index];
            parts.push(player.fetch(&part.uri).await?);
        }
        let query = format!("_HLS_msn={sequence}&_HLS_part={part}");
        let hint = media.hint.clone().context("a hint")?;
        let (announced, newer) = tokio::join!(player.ask_for(&hint), player.playlist(&query));
        let (announced, newer) = (announced?, newer?);
        keeps(name, &newer, Some(&media), growth);
        fetched.independent &= newer.independent;
        let came = newer.part(sequence, part).or_else(|| newer.part(sequence + 1, 0));
        ensure!(
            newer.ended || came.is_some(),
            "{name}: answered before part {part} of {sequence}"
        );
        match announced.status {
            200 => parts.push(announced.body),
            // The segment ended before it.
            404 => ensure!(
                newer.part(sequence, part).is_none(),
                "{name}: {hint} is listed and missing"
            ),
            status => anyhow::bail!("{name}: {hint}: status {status}"),
        }
        for segment in &newer.segments {
            if segment.sequence < next {
                continue;
            }
            ensure!(segment.sequence == next, "{name}: segment {next} was missed");
            next += 1;
            for part in segment.parts.iter().skip(parts.len()) {
                parts.push(player.fetch(&part.uri).await?);
            }
            let whole = player.fetch(&segment.uri).await?;
            ensure!(
                parts.concat() == whole,
                "{name}: {} is not its parts",
                segment.uri
            );
            let mut at = fetched.bytes.len();
            fetched.begins.push((at, segment.uri.clone()));
            for (part, bytes) in segment.parts.iter().zip(&parts) {
                if part.independent {
                    fetched.begins.push((at, part.uri.clone()));
                }
                at += bytes.len();
            }
            fetched.bytes.extend(whole);
            parts.clear();
        }
        polls += 1;
        if polls.is_multiple_of(8) && !newer.ended {
            deltas += u32::from(delta(&player, &media, name).await?);
        }
        media = newer;
    }
    ensure!(deltas > 0, "{name}: no delta update could be compared");
    Ok(fetched)
}

/// Compares a delta update with the whole playlist, and a compressed one with a plain one, if nothing new comes in between.
async fn delta(player: &Player, known: &Media, name: &str) -> Result<bool> {
    let before = player.ask("", &[]).await?;
    let update = player.playlist("_HLS_skip=YES").await?;
    let packed = player.ask("", &[("Accept-Encoding", "gzip")]).await?;
    let after = player.ask("", &[]).await?;
    if before.body != after.body || update.skipped == 0 {
        return Ok(false);
    }
    ensure!(
        packed.headers.get("content-encoding") == Some("gzip"),
        "{name}: not compressed"
    );
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed.body[..]), &mut unpacked)?;
    ensure!(
        unpacked == before.body,
        "{name}: the compressed playlist is another one"
    );
    let mut whole = Media::parse(&before.text())?;
    let mut merged = known.merge(&update)?;
    merged.version = whole.version;
    // Parts of what is skipped are not listed any more.
    let old = usize::try_from(update.skipped)?;
    for media in [&mut whole, &mut merged] {
        media
            .segments
            .iter_mut()
            .take(old)
            .for_each(|segment| segment.parts.clear());
    }
    assert_eq!(merged, whole, "{name}: a delta update says something else");
    Ok(true)
}

/// Everything that ought to begin with a key frame does: the first picture behind each beginning is one.
async fn begins_with_key_frames(server: &TestServer, fetched: &Fetched, file: &str) -> Result<()> {
    ensure!(fetched.independent, "{file}: not listed as independent");
    let path = server.folder().join(file);
    std::fs::write(&path, &fetched.bytes)?;
    let output = Tool::ffprobe()
        .args([
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            "packet=pos,flags",
            "-of",
            "csv=p=0",
        ])
        .arg(&path)
        .run(SOON)
        .await?;
    let text = output.stdout_text();
    let packets: Vec<(usize, bool)> = text
        .lines()
        .filter_map(|line| {
            let (pos, flags) = line.split_once(',')?;
            Some((pos.parse().ok()?, flags.starts_with('K')))
        })
        .collect();
    ensure!(packets.len() > 100, "{file}: {} pictures", packets.len());
    for (offset, what) in &fetched.begins {
        let first = packets.iter().find(|(pos, _)| pos >= offset);
        let (_, key) = first.with_context(|| format!("{file}: no picture in {what}"))?;
        ensure!(key, "{file}: {what} does not begin with a key frame");
    }
    Ok(())
}

#[tokio::test]
async fn playlists_keep_the_rules_for_a_minute() -> Result<()> {
    let server = serve(&format!("{BOTH}[hls]\nsegNum=12\n")).await?;
    let http = server.address("http");
    let mut watching = Vec::new();
    let mut publishers = Vec::new();
    for picture in &PICTURES {
        let stream = format!("live/{}", picture.name);
        publishers.push(publish_picture(picture, &server.url_rtmp(&stream)).await?);
        watching.push(async {
            let stream = format!("live/{}", picture.name);
            let (ts, parts) = (Form::Ts.path(&stream), Form::Fmp4.path(&stream));
            let ts = async {
                let player = Player::open_at(http, &ts).await?;
                follow_ts(player, picture.growth, picture.name).await
            };
            let parts = async {
                let player = Player::open_at(http, &parts).await?;
                follow_parts(player, picture.growth, picture.name).await
            };
            let (ts, parts) = tokio::try_join!(ts, parts)?;
            begins_with_key_frames(&server, &ts, &format!("{}.ts", picture.name)).await?;
            begins_with_key_frames(&server, &parts, &format!("{}.mp4", picture.name)).await?;
            println!(
                "{}: {} and {} beginnings",
                picture.name,
                ts.begins.len(),
                parts.begins.len()
            );
            anyhow::Ok((ts.begins.len(), parts.begins.len()))
        });
    }
    let watched = futures_util::future::try_join_all(watching).await?;
    let least = usize::try_from(seconds())? / 4;
    for (picture, (ts, parts)) in PICTURES.iter().zip(watched) {
        // Segments of 2 s, up to 4 s if key frames are irregular.
        assert!(ts >= least && parts >= least, "{}: {ts}, {parts}", picture.name);
    }
    for publisher in publishers {
        let ended = publisher.wait(SOON).await?;
        assert!(ended.status.success(), "{ended:?}");
    }
    Ok(())
}

#[tokio::test]
async fn delivery_directives_that_make_no_sense_are_refused() -> Result<()> {
    let server = serve(BOTH).await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let player = Player::open(&server, "live/cam", Form::Fmp4).await?;
    let media = player.playlist("").await?;
    let far = format!("_HLS_msn={}", media.next_sequence() + 20);
    for query in [
        far.as_str(),
        "_HLS_part=1",
        "_HLS_msn=x",
        "_HLS_msn=-1",
        "_HLS_skip=NO",
    ] {
        let answer = player.ask(query, &[]).await?;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert!(answer.text().contains("_HLS_"), "{}", answer.text());
    }
    Ok(())
}
