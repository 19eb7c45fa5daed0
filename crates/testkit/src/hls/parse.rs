//! Reading playlists.

use anyhow::{Context, Result, bail, ensure};

use super::{Control, Master, Media, Part, Segment, Variant};

impl Media {
    /// Reads a media playlist.
    ///
    /// # Errors
    ///
    /// The first line that is wrong, unknown, or stands where it may not.
    pub fn parse(text: &str) -> Result<Self> {
        let mut reader = Reader {
            media: Self {
                version: 1,
                ..Self::default()
            },
            seen: Vec::new(),
            next: Segment::default(),
            extinf: false,
            map: None,
        };
        for (number, line) in lines(text)? {
            reader
                .line(line)
                .with_context(|| format!("line {number}: {line:?}"))?;
        }
        reader.end()
    }

    /// What a player makes of a delta update (6.2.5.1), given the playlist that it read before.
    ///
    /// # Errors
    ///
    /// The update leaves out segments that the player does not know.
    pub fn merge(&self, update: &Self) -> Result<Self> {
        let mut whole = update.clone();
        whole.skipped = 0;
        let mut segments = Vec::new();
        for sequence in update.sequence..update.sequence + update.skipped {
            let known = self.segments.iter().find(|segment| segment.sequence == sequence);
            segments.push(
                known
                    .with_context(|| format!("segment {sequence} is skipped and not known"))?
                    .clone(),
            );
        }
        let last_map = segments.last().and_then(|segment| segment.map.clone());
        // A map that applies to skipped segments goes on applying.
        for segment in whole.segments.iter_mut().chain([&mut whole.open]) {
            if segment.map.is_none() {
                segment.map.clone_from(&last_map);
            }
        }
        segments.append(&mut whole.segments);
        whole.segments = segments;
        Ok(whole)
    }
}

struct Reader {
    media: Media,
    /// Tags that may stand once.
    seen: Vec<&'static str>,
    /// The segment whose tags are being read.
    next: Segment,
    extinf: bool,
    map: Option<String>,
}

/// Tags of which a playlist has at most one (4.4.1, 4.4.3).
const ONCE: &[&str] = &[
    "EXT-X-VERSION",
    "EXT-X-TARGETDURATION",
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-INDEPENDENT-SEGMENTS",
    "EXT-X-SERVER-CONTROL",
    "EXT-X-PART-INF",
    "EXT-X-SKIP",
    "EXT-X-ENDLIST",
    "EXT-X-PRELOAD-HINT",
];

/// Those that stand before the first segment, so that its number is known (4.4.3.2, 4.4.3.3).
const BEFORE_SEGMENTS: &[&str] = &[
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-SKIP",
];

impl Reader {
    fn line(&mut self, line: &str) -> Result<()> {
        let Some(tag) = line.strip_prefix('#') else {
            return self.uri(line);
        };
        if !tag.starts_with("EXT") {
            return Ok(()); // a comment
        }
        ensure!(
            !self.media.ended && self.media.hint.is_none(),
            "behind the end of the playlist"
        );
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        if let Some(once) = ONCE.iter().find(|once| **once == name) {
            ensure!(!self.seen.contains(once), "{name} stands twice");
            self.seen.push(once);
        }
        let started = !self.media.segments.is_empty() || self.extinf || !self.next.parts.is_empty();
        ensure!(
            !(started && BEFORE_SEGMENTS.contains(&name)),
            "{name} must stand before the first segment"
        );
        self.tag(name, value)
    }

    fn tag(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "EXT-X-VERSION" => self.media.version = value.parse()?,
            "EXT-X-TARGETDURATION" => self.media.target = value.parse()?,
            "EXT-X-MEDIA-SEQUENCE" => self.media.sequence = value.parse()?,
            "EXT-X-DISCONTINUITY-SEQUENCE" => self.media.discontinuity_sequence = value.parse()?,
            "EXT-X-INDEPENDENT-SEGMENTS" => {
                ensure!(value.is_empty(), "has no value");
                self.media.independent = true;
            }
            "EXT-X-SERVER-CONTROL" => self.media.control = Some(control(value)?),
            "EXT-X-PART-INF" => {
                let attributes = attributes(value)?;
                ensure!(attributes.len() == 1, "has one attribute");
                let target = required(&attributes, "PART-TARGET")?;
                self.media.part_target = Some(self.seconds(target)?);
            }
            "EXT-X-SKIP" => {
                let attributes = attributes(value)?;
                ensure!(attributes.len() == 1, "has one attribute");
                self.media.skipped = required(&attributes, "SKIPPED-SEGMENTS")?.parse()?;
                ensure!(self.media.skipped > 0, "skips nothing");
            }
            "EXT-X-MAP" => {
                let attributes = attributes(value)?;
                ensure!(attributes.len() == 1, "has one attribute");
                ensure!(
                    self.next.parts.is_empty(),
                    "must stand before the parts of its segment"
                );
                self.map = Some(quoted(&attributes, "URI")?);
            }
            "EXT-X-DISCONTINUITY" => {
                ensure!(value.is_empty(), "has no value");
                ensure!(!self.next.discontinuity, "stands twice before one segment");
                ensure!(
                    self.next.parts.is_empty(),
                    "must stand before the parts of its segment"
                );
                self.next.discontinuity = true;
            }
            "EXT-X-PROGRAM-DATE-TIME" => {
                ensure!(self.next.date.is_none(), "stands twice before one segment");
                ensure!(
                    self.next.parts.is_empty(),
                    "must stand before the parts of its segment"
                );
                self.next.date = Some(date(value)?);
            }
            "EXT-X-PART" => self.part(value)?,
            "EXTINF" => {
                ensure!(!self.extinf, "two EXTINF before one URI");
                let (duration, _title) = value.split_once(',').context("no comma behind the duration")?;
                self.next.duration = self.seconds(duration)?;
                self.extinf = true;
            }
            "EXT-X-ENDLIST" => {
                ensure!(value.is_empty(), "has no value");
                self.media.ended = true;
            }
            "EXT-X-PRELOAD-HINT" => {
                let attributes = attributes(value)?;
                ensure!(
                    required(&attributes, "TYPE")? == "PART",
                    "a hint of another type than PART"
                );
                ensure!(attributes.len() == 2, "other attributes than TYPE and URI");
                self.media.hint = Some(quoted(&attributes, "URI")?);
            }
            "EXTM3U" => bail!("stands twice"),
            _ => bail!("a tag that nobody should write"),
        }
        Ok(())
    }

    fn part(&mut self, value: &str) -> Result<()> {
        ensure!(!self.extinf, "must stand before EXTINF of its segment");
        let attributes = attributes(value)?;
        let known = ["DURATION", "URI", "INDEPENDENT"];
        ensure!(
            attributes.iter().all(|(name, _)| known.contains(&name.as_str())),
            "an unknown attribute"
        );
        let independent = match attributes.iter().find(|(name, _)| name == "INDEPENDENT") {
            Some((_, value)) => {
                ensure!(value == "YES", "INDEPENDENT must be YES");
                true
            }
            None => false,
        };
        let part = Part {
            duration: self.seconds(required(&attributes, "DURATION")?)?,
            uri: quoted(&attributes, "URI")?,
            independent,
        };
        ensure!(part.duration > 0, "lasts no time");
        self.next.parts.push(part);
        Ok(())
    }

    fn uri(&mut self, line: &str) -> Result<()> {
        ensure!(self.extinf, "a URI without EXTINF");
        ensure!(!self.media.ended, "a segment behind EXT-X-ENDLIST");
        ensure!(!line.contains(char::is_whitespace), "white space in a URI");
        self.extinf = false;
        let sequence = self.media.next_sequence();
        let segment = Segment {
            sequence,
            uri: line.to_owned(),
            map: self.map.clone(),
            ..std::mem::take(&mut self.next)
        };
        self.media.segments.push(segment);
        Ok(())
    }

    fn end(mut self) -> Result<Media> {
        ensure!(!self.extinf, "the last EXTINF has no URI");
        ensure!(
            self.seen.contains(&"EXT-X-TARGETDURATION"),
            "no EXT-X-TARGETDURATION"
        );
        ensure!(
            self.next.parts.is_empty() || !self.media.ended,
            "parts of a segment that never came stand before EXT-X-ENDLIST"
        );
        self.next.sequence = self.media.next_sequence();
        self.next.map = self.map;
        self.media.open = self.next;
        Ok(self.media)
    }

    /// A decimal number of seconds (4.2), in microseconds.
    fn seconds(&mut self, text: &str) -> Result<i64> {
        self.media.fractions |= text.contains('.');
        micros(text)
    }
}

fn micros(text: &str) -> Result<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    ensure!(
        !whole.is_empty() && digits(whole) && digits(fraction) && fraction.len() <= 6,
        "{text:?} is not a decimal number of seconds with at most six decimals"
    );
    ensure!(
        text.contains('.') != fraction.is_empty(),
        "{text:?} has no digit behind its point"
    );
    let fraction: i64 = format!("{fraction:0<6}").parse()?;
    let whole: i64 = whole.parse()?;
    whole
        .checked_mul(1_000_000)
        .and_then(|micros| micros.checked_add(fraction))
        .context("too long")
}

fn control(value: &str) -> Result<Control> {
    let mut control = Control::default();
    for (name, value) in attributes(value)? {
        match name.as_str() {
            "CAN-BLOCK-RELOAD" => {
                ensure!(value == "YES", "CAN-BLOCK-RELOAD must be YES");
                control.block = true;
            }
            "CAN-SKIP-UNTIL" => control.skip_until = Some(micros(&value)?),
            "HOLD-BACK" => control.hold_back = Some(micros(&value)?),
            "PART-HOLD-BACK" => control.part_hold_back = Some(micros(&value)?),
            _ => bail!("an unknown attribute {name}"),
        }
    }
    Ok(control)
}

/// An attribute list (4.2); quoted values keep their quotes.
fn attributes(text: &str) -> Result<Vec<(String, String)>> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut rest = text;
    loop {
        let (name, behind) = rest.split_once('=').context("an attribute without a value")?;
        let legal = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
        ensure!(
            !name.is_empty() && name.bytes().all(legal),
            "attribute name {name:?}"
        );
        ensure!(
            found.iter().all(|(other, _)| other != name),
            "attribute {name} stands twice"
        );
        let end = match behind.strip_prefix('"') {
            Some(quoted) => quoted.find('"').context("a quote that does not end")? + 2,
            None => behind.find(',').unwrap_or(behind.len()),
        };
        let (value, behind) = behind.split_at(end);
        ensure!(!value.is_empty(), "attribute {name} is empty");
        found.push((name.to_owned(), value.to_owned()));
        match behind.strip_prefix(',') {
            Some(more) => rest = more,
            None if behind.is_empty() => return Ok(found),
            None => bail!("{behind:?} behind attribute {name}"),
        }
    }
}

fn required<'a>(attributes: &'a [(String, String)], name: &str) -> Result<&'a str> {
    let found = attributes.iter().find(|(other, _)| other == name);
    found
        .map(|(_, value)| value.as_str())
        .with_context(|| format!("no attribute {name}"))
}

fn quoted(attributes: &[(String, String)], name: &str) -> Result<String> {
    let value = required(attributes, name)?;
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let inner = inner.with_context(|| format!("{name} must be in quotes"))?;
    ensure!(!inner.is_empty(), "{name} is empty");
    Ok(inner.to_owned())
}

/// `2026-11-24T13:52:55.040Z` in milliseconds since 1970.
fn date(text: &str) -> Result<i64> {
    let shape = "0000-00-00T00:00:00.000Z";
    let fits = text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, like)| {
            if like == b'0' {
                byte.is_ascii_digit()
            } else {
                byte == like
            }
        });
    ensure!(fits, "{text:?} is not a date like {shape}");
    let number = |range: std::ops::Range<usize>| -> Result<i64> { Ok(text[range].parse()?) };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    ensure!(
        (1..=12).contains(&month) && (1..=31).contains(&day),
        "no such day"
    );
    let (hour, minute) = (number(11..13)?, number(14..16)?);
    let (second, milli) = (number(17..19)?, number(20..23)?);
    ensure!(hour < 24 && minute < 60 && second < 61, "no such time");
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let lengths = [
        31,
        28 + i64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let years: i64 = (1970..year).map(|year| 365 + i64::from(leap(year))).sum();
    let months: i64 = (1..month).zip(lengths).map(|(_, length)| length).sum();
    let days = years + months + day - 1;
    Ok((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + milli)
}

/// The lines behind `#EXTM3U`, with their numbers, without empty ones.
fn lines(text: &str) -> Result<impl Iterator<Item = (usize, &str)>> {
    ensure!(!text.starts_with('\u{feff}'), "a byte order mark (4.1)");
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    ensure!(
        lines.next().is_some_and(|(_, line)| line == "#EXTM3U"),
        "the first line must be #EXTM3U (4.4.1.1)"
    );
    ensure!(text.ends_with('\n'), "the last line does not end");
    Ok(lines.filter(|(_, line)| !line.is_empty()))
}

impl Master {
    /// Reads a multivariant playlist.
    ///
    /// # Errors
    ///
    /// The first line that is wrong or unknown.
    pub fn parse(text: &str) -> Result<Self> {
        let mut master = Self {
            version: 1,
            ..Self::default()
        };
        let mut open: Option<Vec<(String, String)>> = None;
        for (number, line) in lines(text)? {
            let told = || format!("line {number}: {line:?}");
            match line.strip_prefix('#') {
                None => {
                    let attributes = open
                        .take()
                        .with_context(told)
                        .context("a URI without a variant")?;
                    master.variants.push(Variant {
                        uri: line.to_owned(),
                        attributes,
                    });
                }
                Some("EXT-X-INDEPENDENT-SEGMENTS") => master.independent = true,
                Some(tag) => match tag.split_once(':') {
                    Some(("EXT-X-VERSION", value)) => master.version = value.parse().with_context(told)?,
                    Some(("EXT-X-STREAM-INF", value)) => {
                        let pairs = attributes(value).with_context(told)?;
                        required(&pairs, "BANDWIDTH")?.parse::<u64>().with_context(told)?;
                        let bare =
                            |(name, value): (String, String)| (name, value.trim_matches('"').to_owned());
                        open = Some(pairs.into_iter().map(bare).collect());
                    }
                    Some(_) | None => bail!("{}: a tag that nobody should write", told()),
                },
            }
        }
        ensure!(open.is_none(), "the last variant has no URI");
        ensure!(!master.variants.is_empty(), "no variants");
        Ok(master)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW_LATENCY: &str = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,PART-HOLD-BACK=3.3\n\
        #EXT-X-PART-INF:PART-TARGET=1.1\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-INDEPENDENT-SEGMENTS\n\
        #EXT-X-MAP:URI=\"init.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2026-11-24T13:52:55.040Z\n\
        #EXT-X-PART:DURATION=1.00000,URI=\"a.0.mp4\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=1.00000,URI=\"a.1.mp4\"\n\
        #EXTINF:2.00000,\na.mp4\n#EXT-X-PROGRAM-DATE-TIME:2026-11-24T13:52:57.040Z\n\
        #EXT-X-PART:DURATION=1.00000,URI=\"b.0.mp4\",INDEPENDENT=YES\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"b.1.mp4\"\n";

    #[test]
    fn a_low_latency_playlist_is_read() {
        let media = Media::parse(LOW_LATENCY).unwrap();
        assert_eq!((media.sequence, media.target, media.next_part()), (7, 2, (8, 1)));
        assert_eq!(media.segments[0].date, Some(1_795_528_375_040));
        assert_eq!(media.segments[0].parts.len(), 2);
        assert_eq!(media.part(8, 0).unwrap().uri, "b.0.mp4");
        assert_eq!(media.open.map.as_deref(), Some("init.mp4"));
        assert_eq!(media.hint.as_deref(), Some("b.1.mp4"));
        assert_eq!(media.duration(), 3_000_000);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (wrong, instead) in [
            ("#EXTM3U\n", "\n#EXTM3U\n"),
            ("#EXT-X-VERSION:7\n", "#EXT-X-VERSION:7\n#EXT-X-VERSION:7\n"),
            ("#EXT-X-VERSION:7\n", "#EXT-X-VERSIONS:7\n"),
            ("#EXT-X-TARGETDURATION:2\n", ""),
            ("#EXT-X-TARGETDURATION:2\n", "#EXT-X-TARGETDURATION:2.0\n"),
            ("PART-TARGET=1.1", "PART-TARGET=1,1"),
            ("CAN-BLOCK-RELOAD=YES", "CAN-BLOCK-RELOAD=NO"),
            ("#EXTINF:2.00000,", "#EXTINF:2.00000"),
            ("#EXTINF:2.00000,", "#EXTINF:2.,"),
            ("URI=\"init.mp4\"", "URI=init.mp4"),
            ("#EXTINF:2.00000,\n", ""),
            ("a.mp4\n", "a.mp4\nb.mp4\n"),
            ("13:52:57.040Z", "13:52:57Z"),
            ("#EXT-X-PRELOAD-HINT:", "#EXT-X-ENDLIST\n#EXT-X-PRELOAD-HINT:"),
            ("b.1.mp4\"\n", "b.1.mp4\""),
        ] {
            assert!(LOW_LATENCY.contains(wrong), "{wrong}");
            let text = LOW_LATENCY.replacen(wrong, instead, 1);
            assert!(Media::parse(&text).is_err(), "{instead}");
        }
    }

    #[test]
    fn a_delta_update_is_merged() {
        let old = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:1\n\
            #EXT-X-MAP:URI=\"i\"\n#EXTINF:2,\na\n#EXTINF:2,\nb\n";
        let delta = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:2\n\
            #EXT-X-SKIP:SKIPPED-SEGMENTS=1\n#EXTINF:2,\nc\n";
        let (old, delta) = (Media::parse(old).unwrap(), Media::parse(delta).unwrap());
        let whole = old.merge(&delta).unwrap();
        let uris: Vec<_> = whole
            .segments
            .iter()
            .map(|segment| (segment.sequence, &*segment.uri, segment.map.as_deref()))
            .collect();
        assert_eq!(uris, [(2, "b", Some("i")), (3, "c", Some("i"))]);
        let stranger = Media::default();
        assert!(stranger.merge(&delta).is_err());
    }

    #[test]
    fn a_master_playlist_is_read() {
        let text = "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-INDEPENDENT-SEGMENTS\n\
            #EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"avc1.4d4028,mp4a.40.2\"\nx/hls.m3u8\n";
        let master = Master::parse(text).unwrap();
        assert_eq!(master.variants[0].get("CODECS"), Some("avc1.4d4028,mp4a.40.2"));
        assert_eq!(master.variants[0].uri, "x/hls.m3u8");
        assert!(Master::parse("#EXTM3U\nx.m3u8\n").is_err());
        assert!(Master::parse("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n").is_err());
    }
}
