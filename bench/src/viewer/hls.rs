//! A viewer of HLS: loads the playlist when it may have changed, and fetches each new segment once (RFC 8216, section 6.3).

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{Target, Watcher};
use crate::check::{Seen, Ts};
use crate::http;

/// Most master playlists on the way to a media playlist.
const MAX_MASTERS: u32 = 3;
/// How long a playlist may name nothing new.
const SILENCE: Duration = Duration::from_secs(30);

/// Follows the playlist from its newest segment on.
pub async fn watch(mut io: TcpStream, target: &Target, watcher: &mut impl Watcher) -> Result<()> {
    let (mut buffer, mut path) = (BytesMut::new(), target.path.clone());
    let (mut next, mut masters, mut changed) = (None, 0, Instant::now());
    let mut frames = Frames::default();
    loop {
        let asked = Instant::now();
        let text = http::get(&mut io, &mut buffer, &path).await?;
        watcher.received(text.len());
        let playlist = Playlist::parse(std::str::from_utf8(&text).context("the playlist")?)?;
        if let Some(variant) = playlist.variant {
            masters += 1;
            ensure!(masters <= MAX_MASTERS, "{path} leads to master playlists only");
            path = resolve(&path, &variant)?;
            continue;
        }
        let end = playlist.first + playlist.segments.len() as u64;
        let wanted = *next.get_or_insert(end.saturating_sub(1));
        ensure!(
            wanted <= end,
            "the playlist goes back from segment {wanted} to {end}"
        );
        if wanted < playlist.first {
            watcher.missing(playlist.first - wanted);
            frames = Frames::default();
        }
        let from = wanted.saturating_sub(playlist.first) as usize;
        for uri in playlist.segments.get(from..).unwrap_or_default() {
            let segment = http::get(&mut io, &mut buffer, &resolve(&path, uri)?).await?;
            watcher.received(segment.len());
            if watcher.checks() && frames.segment(segment, watcher)?.is_break() {
                return Ok(());
            }
        }
        let wait = if wanted < end || next.is_none() {
            changed = Instant::now();
            playlist.last_duration
        } else {
            ensure!(
                changed.elapsed() < SILENCE,
                "the playlist names nothing new for {SILENCE:?}"
            );
            playlist.target / 2
        };
        next = Some(end);
        sleep((asked + wait).saturating_duration_since(Instant::now())).await;
    }
}

/// The frames of segments, one after the other.
#[derive(Default)]
struct Frames {
    ts: Ts,
    known: u64,
}

impl Frames {
    fn segment(&mut self, mut segment: BytesMut, watcher: &mut impl Watcher) -> Result<ControlFlow<()>> {
        let mut seen: Vec<Seen> = Vec::new();
        self.ts.push(Instant::now(), &mut segment, &mut seen)?;
        ensure!(
            segment.is_empty(),
            "a segment ends with {} bytes of a packet",
            segment.len()
        );
        // A segment holds whole frames.
        seen.extend(self.ts.finish());
        watcher.missing(self.ts.missing() - std::mem::replace(&mut self.known, self.ts.missing()));
        ensure!(
            seen.first().is_some_and(|first| first.key),
            "a segment does not begin with a key frame"
        );
        for seen in &seen {
            if watcher.frame(seen).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// What a viewer has to know.
#[derive(Debug, Default, PartialEq)]
struct Playlist {
    /// The first variant of a master playlist.
    variant: Option<String>,
    /// Number of the first segment.
    first: u64,
    segments: Vec<String>,
    target: Duration,
    /// Of the last segment.
    last_duration: Duration,
}

impl Playlist {
    fn parse(text: &str) -> Result<Self> {
        let mut playlist = Self::default();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        ensure!(
            lines.next() == Some("#EXTM3U"),
            "a playlist that does not begin with #EXTM3U"
        );
        let mut in_master = false;
        for line in lines {
            let number = |text: &str| {
                text.parse::<f64>()
                    .ok()
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                    .with_context(|| format!("a number in {line:?}"))
            };
            match line.split_once(':') {
                Some(("#EXT-X-STREAM-INF", _)) => in_master = true,
                Some(("#EXT-X-MEDIA-SEQUENCE", rest)) => {
                    playlist.first = rest.parse().context("the sequence number")?
                }
                Some(("#EXT-X-TARGETDURATION", rest)) => playlist.target = number(rest)?,
                Some(("#EXTINF", rest)) => {
                    playlist.last_duration = number(rest.split(',').next().unwrap_or_default())?;
                }
                _ if line == "#EXT-X-ENDLIST" => bail!("the stream has ended"),
                _ if line.starts_with('#') => {}
                _ if in_master => {
                    playlist.variant = Some(line.to_owned());
                    return Ok(playlist);
                }
                _ => playlist.segments.push(line.to_owned()),
            }
        }
        ensure!(!playlist.target.is_zero(), "a playlist without a target duration");
        Ok(playlist)
    }
}

/// The path that a reference in the resource at `base` means (RFC 3986, section 5.2), on the same server.
fn resolve(base: &str, reference: &str) -> Result<String> {
    if let Some((_, rest)) = reference.split_once("://") {
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        return Ok(path.to_owned());
    }
    if reference.starts_with('/') {
        return Ok(reference.to_owned());
    }
    let base = base.split('?').next().unwrap_or_default();
    let (mut folder, _) = base
        .rsplit_once('/')
        .with_context(|| format!("a path without a slash: {base:?}"))?;
    let mut reference = reference;
    while let Some(rest) = reference.strip_prefix("../") {
        folder = folder.rsplit_once('/').map_or("", |(folder, _)| folder);
        reference = rest;
    }
    let reference = reference.strip_prefix("./").unwrap_or(reference);
    Ok(format!("{folder}/{reference}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_relative_to_the_playlist() {
        for (base, reference, expected) in [
            ("/live/a/hls.m3u8?x=/y", "1.ts", "/live/a/1.ts"),
            ("/live/a/hls.m3u8", "s-1/hls.m3u8", "/live/a/s-1/hls.m3u8"),
            ("/live/a/s-1/hls.m3u8", "../1.ts?t=2", "/live/a/1.ts?t=2"),
            ("/live/a.m3u8", "/b/1.ts", "/b/1.ts"),
            ("/live/a.m3u8", "http://127.0.0.1:80/b/1.ts", "/b/1.ts"),
            ("/a.m3u8", "./b.ts", "/b.ts"),
        ] {
            assert_eq!(
                resolve(base, reference).expect("valid"),
                expected,
                "{base} {reference}"
            );
        }
    }

    #[test]
    fn a_media_playlist_has_numbered_segments() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:2.000,\na.ts\r\n#EXTINF:2.5,x\nb.ts\n";
        let playlist = Playlist::parse(text).expect("valid");
        assert_eq!(
            playlist,
            Playlist {
                variant: None,
                first: 7,
                segments: vec!["a.ts".to_owned(), "b.ts".to_owned()],
                target: Duration::from_secs(3),
                last_duration: Duration::from_millis(2500),
            }
        );
    }

    #[test]
    fn a_master_playlist_leads_to_its_first_variant() {
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nw.m3u8\n";
        assert_eq!(
            Playlist::parse(text).expect("valid").variant.as_deref(),
            Some("v.m3u8")
        );
    }

    #[test]
    fn what_cannot_be_followed_is_an_error() {
        for text in [
            "",
            "<html>",
            "#EXTM3U\n#EXTINF:2,\na.ts\n",
            "#EXTM3U\n#EXT-X-TARGETDURATION:x\n",
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-ENDLIST\n",
        ] {
            assert!(Playlist::parse(text).is_err(), "{text:?}");
        }
    }
}
