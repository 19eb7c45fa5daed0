//! The files of one stream. Everything here blocks; it runs where that is allowed.

use super::Keeping;
use super::list::{ListFile, Listing, replace};
use hls::record::{self, END, Entry, FilePath, Header, LocalTime};
use hls::{Form, Name};
use media::MediaTime;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names that are tried for a segment if files of an earlier recording have the first ones.
const MAX_NAMES: u64 = 1000;

/// Largest `vod.m3u8` that is gone on with after an interruption, in bytes: an hour of the shortest segments is far below.
const MAX_RESUMED: u64 = 16 * 1024 * 1024;

/// What is to be written, and where.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The folder of the stream, absolute.
    pub folder: PathBuf,
    /// The root that the folder is in; it stays when empty folders go.
    pub root: PathBuf,
    /// What is kept.
    pub keeping: Keeping,
    /// In which forms.
    pub forms: Vec<Form>,
    /// Suffix of fMP4 segments.
    pub fmp4_suffix: &'static str,
    /// What is added to the names in playlists that are served live, with its `?`; the name of the virtual host, or nothing.
    pub query: String,
    /// Length that segments aim at.
    pub target: MediaTime,
    /// Local time of a moment since 1970.
    pub local: fn(Duration) -> LocalTime,
}

/// A segment that is on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Below the folder of the stream.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// When it began, as time since 1970.
    pub began: Duration,
    /// Its length.
    pub duration: MediaTime,
}

/// Something that could not be written or removed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct Failed {
    /// What.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

/// A segment as it goes to disk.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The segment.
    pub segment: &'a hls::segment::Segment,
    /// When it began, as time since 1970.
    pub began: Duration,
    /// It does not follow the one that was given before.
    pub gap: bool,
}

/// Writes the files of one recording.
#[derive(Debug)]
pub struct Writer {
    plan: Plan,
    shelves: Vec<Shelf>,
    /// Files that are removed when their segment leaves the retained window. As many as are retained.
    passing: Vec<(u64, PathBuf)>,
}

/// The files of one form.
#[derive(Debug)]
struct Shelf {
    form: Form,
    /// Of the next segment.
    index: u64,
    list: Option<ListFile>,
    /// The hour that `list` is about.
    hour: String,
    /// What the newest segment needed first: which one, and the file, below the folder of the stream.
    init: Option<(Name, PathBuf)>,
    /// The playlist names the file of `init`.
    mapped: bool,
    /// Something is missing before the next entry.
    gap: bool,
}

impl Writer {
    /// Nothing is written yet.
    pub fn new(plan: Plan) -> Self {
        let shelf = |form: &Form| Shelf {
            form: *form,
            index: 0,
            list: None,
            hour: String::new(),
            init: None,
            mapped: false,
            gap: false,
        };
        Self {
            shelves: plan.forms.iter().map(shelf).collect(),
            plan,
            passing: Vec::new(),
        }
    }

    /// Writes a segment in every form and adds it to the playlists. What fails in one form is no hindrance to the other; it is
    /// missing, and the next one does not follow.
    pub fn write(&mut self, incoming: Incoming<'_>) -> Vec<Result<Written, Failed>> {
        let Self {
            plan,
            shelves,
            passing,
        } = self;
        let mut results = Vec::with_capacity(shelves.len());
        for shelf in shelves {
            shelf.gap |= incoming.gap;
            let Some(written) = shelf.write(plan, passing, incoming) else {
                continue;
            };
            shelf.gap = written.is_err();
            results.push(written);
        }
        results
    }

    /// The playlist of everything.
    pub fn listing(&self, form: Form) -> Option<Listing> {
        let shelf = self.shelves.iter().find(|shelf| shelf.form == form)?;
        shelf.list.as_ref().map(ListFile::listing)
    }

    /// Ends the playlists.
    pub fn end(&mut self) -> Vec<Failed> {
        let plan = &self.plan;
        let ended = self.shelves.iter_mut().map(|shelf| shelf.end(plan));
        ended.filter_map(Result::err).collect()
    }

    /// Removes the files of segments before `oldest`.
    pub fn forget_before(&mut self, oldest: u64) {
        let (gone, left) = std::mem::take(&mut self.passing)
            .into_iter()
            .partition::<Vec<_>, _>(|(sequence, _)| *sequence < oldest);
        self.passing = left;
        for (_, path) in gone {
            self.remove(&path);
        }
    }

    /// Removes what is not to be kept.
    pub fn forget(&mut self) {
        for shelf in &mut self.shelves {
            if let Some((_, path)) = shelf.init.take()
                && self.plan.keeping == Keeping::Window
            {
                self.passing.push((0, path));
            }
        }
        self.forget_before(u64::MAX);
    }

    /// Removes a file, and its folders as far as they are empty then.
    fn remove(&self, path: &Path) {
        let path = self.plan.folder.join(path);
        // Whoever was told of it may have taken it away.
        let _ = fs::remove_file(&path);
        let folders = path.ancestors().skip(1);
        for folder in
            folders.take_while(|folder| *folder != self.plan.root && folder.starts_with(&self.plan.root))
        {
            // It fails for a folder that is not empty, as it should.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

impl Shelf {
    /// `None`: this form cannot carry the segment.
    fn write(
        &mut self,
        plan: &Plan,
        passing: &mut Vec<(u64, PathBuf)>,
        incoming: Incoming<'_>,
    ) -> Option<Result<Written, Failed>> {
        let pieces = incoming.segment.bytes(self.form);
        if pieces.is_empty() || (self.form == Form::Fmp4 && incoming.segment.init.bytes().is_none()) {
            return None;
        }
        let suffix = match self.form {
            Form::Ts => hls::name::TS_SUFFIX,
            Form::Fmp4 => plan.fmp4_suffix,
        };
        let time = (plan.local)(incoming.began);
        let mut path = FilePath::segment(time, self.index, suffix);
        for _ in 0..MAX_NAMES {
            if fs::symlink_metadata(plan.folder.join(path.to_string())).is_err() {
                break;
            }
            self.index += 1;
            path = FilePath::segment(time, self.index, suffix);
        }
        let written = self.put(plan, passing, incoming, time, &path, &pieces);
        self.index += 1;
        Some(written)
    }

    fn put(
        &mut self,
        plan: &Plan,
        passing: &mut Vec<(u64, PathBuf)>,
        Incoming { segment, began, .. }: Incoming<'_>,
        time: LocalTime,
        path: &FilePath,
        pieces: &[bytes::Bytes],
    ) -> Result<Written, Failed> {
        // An hour's playlist ends when a segment of another one comes.
        if plan.keeping == Keeping::Hours && self.hour != path.hour {
            let ended = self.end(plan);
            self.list = None;
            self.hour.clone_from(&path.hour);
            // What the players of one hour need is in its folder.
            self.init = None;
            ended?;
        }
        if self.form == Form::Fmp4 {
            self.put_init(plan, passing, segment, time)?;
        }
        let name = path.to_string();
        let whole = plan.folder.join(&name);
        let written = replace(&whole, |file| {
            pieces.iter().try_for_each(|piece| file.write_all(piece))
        });
        written.map_err(failed(&whole))?;
        if plan.keeping == Keeping::Window {
            passing.push((segment.sequence, name.clone().into()));
        } else if let Err(error) = self.list(plan, segment, began, path) {
            // Nobody would find it.
            let _ = fs::remove_file(&whole);
            return Err(error);
        }
        Ok(Written {
            name,
            size: pieces.iter().map(|piece| piece.len() as u64).sum(),
            began,
            duration: segment.duration,
        })
    }

    /// Writes what the segment needs first, unless it is there.
    fn put_init(
        &mut self,
        plan: &Plan,
        passing: &mut Vec<(u64, PathBuf)>,
        segment: &hls::segment::Segment,
        time: LocalTime,
    ) -> Result<(), Failed> {
        let init = &segment.init;
        if self.init.as_ref().is_some_and(|(name, _)| *name == init.name) {
            return Ok(());
        }
        let path: PathBuf = if plan.keeping == Keeping::All && self.init.is_none() {
            record::INIT.into()
        } else {
            FilePath::init(time, self.index).to_string().into()
        };
        let whole = plan.folder.join(&path);
        let bytes = init.bytes().map(|bytes| &bytes[..]).unwrap_or_default();
        replace(&whole, |file| file.write_all(bytes)).map_err(failed(&whole))?;
        let old = self.init.replace((init.name, path));
        self.mapped = false;
        if let Some((_, path)) = old
            && plan.keeping == Keeping::Window
        {
            // Needed as long as the segment before this one.
            passing.push((segment.sequence.saturating_sub(1), path));
        }
        Ok(())
    }

    /// Adds a segment to the playlist.
    fn list(
        &mut self,
        plan: &Plan,
        segment: &hls::segment::Segment,
        began: Duration,
        path: &FilePath,
    ) -> Result<(), Failed> {
        let at = self.list_path(plan);
        let fresh = Header::new(self.form, plan.target);
        let mut resumed = String::new();
        let mut header = match &self.list {
            Some(list) => list.header(),
            None if plan.keeping == Keeping::Hours => match resume(&at, self.form) {
                Some((header, entries)) => {
                    resumed = entries;
                    header.with(plan.target)
                }
                None => fresh,
            },
            None => fresh,
        };
        header = header.with(segment.duration);
        let begins = self.list.is_none() && resumed.is_empty();
        let discontinuity = !begins && (self.gap || segment.discontinuity || self.list.is_none());
        let uri = match plan.keeping {
            Keeping::Hours => path.name.clone(),
            Keeping::All | Keeping::Window => format!("{path}{}", plan.query),
        };
        let map = self.init.as_ref().filter(|_| !self.mapped).map(|(_, init)| {
            let init = match plan.keeping {
                Keeping::Hours => init.file_name().map(Path::new).unwrap_or(init),
                Keeping::All | Keeping::Window => init,
            };
            let query = if plan.keeping == Keeping::Hours {
                ""
            } else {
                &plan.query
            };
            format!("{}{query}", init.display())
        });
        let entry = Entry {
            discontinuity,
            map: map.as_deref(),
            // Once is enough where nothing is missing.
            began: (begins || discontinuity).then_some(began),
            duration: segment.duration,
            uri: &uri,
        };
        match &mut self.list {
            Some(list) => list.push(header, &entry.to_string()).map_err(failed(&at))?,
            None => {
                let created = ListFile::create(at.clone(), header, &format!("{resumed}{entry}"));
                self.list = Some(created.map_err(failed(&at))?);
            }
        }
        self.mapped = true;
        Ok(())
    }

    fn list_path(&self, plan: &Plan) -> PathBuf {
        match (plan.keeping, self.form) {
            (Keeping::Hours, Form::Ts) => plan.folder.join(&self.hour).join("vod.m3u8"),
            (Keeping::Hours, Form::Fmp4) => plan.folder.join(&self.hour).join("vod.fmp4.m3u8"),
            (Keeping::All | Keeping::Window, form) => plan.folder.join(playlist_name(form)),
        }
    }

    /// Ends the playlist.
    fn end(&mut self, plan: &Plan) -> Result<(), Failed> {
        let path = self.list_path(plan);
        match &mut self.list {
            Some(list) => list.push(list.header(), END).map_err(failed(&path)),
            None => Ok(()),
        }
    }
}

/// The playlist of everything, in the folder of a stream.
pub const fn playlist_name(form: Form) -> &'static str {
    match form {
        Form::Ts => "hls.m3u8",
        Form::Fmp4 => "hls.fmp4.m3u8",
    }
}

/// A playlist of the same hour that an earlier recording of the stream left.
fn resume(path: &Path, form: Form) -> Option<(Header, String)> {
    let small = fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_RESUMED);
    let text = small.then(|| fs::read_to_string(path).ok())??;
    let (header, entries) = record::resume(&text, form)?;
    Some((header, entries.to_owned()))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Failed + '_ {
    |error| Failed {
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hls::segment::Segment;
    use hls::{Live, Options, Packager};
    use media::track::{AudioParams, TrackParams};
    use media::{CodecId, Frame, Mux as _, Track, TrackId};
    use std::sync::Arc;
    use tempfile::TempDir;

    /// As at UTC on one day; enough of a calendar for tests.
    fn local(unix: Duration) -> LocalTime {
        let seconds = unix.as_secs();
        LocalTime {
            year: 2026,
            month: 11,
            day: 22,
            hour: u8::try_from(seconds / 3600 % 24).expect("an hour"),
            minute: u8::try_from(seconds / 60 % 60).expect("a minute"),
            second: u8::try_from(seconds % 60).expect("a second"),
        }
    }

    /// Segments of sound, each a second long; after `changed` of them the sound is another one.
    fn segments(count: u64, changed: u64) -> Vec<Arc<Segment>> {
        let second = MediaTime::from_millis(1000);
        let live = Live::new(Options {
            segment: second,
            part: None,
            listed: 100,
            retained: 0,
            delay: 0,
            first_gop: false,
            fmp4_suffix: ".mp4".to_owned(),
            ts: container::ts::Options::default(),
            max_segment_bytes: 1 << 20,
        });
        let mut packager = Packager::new(live.clone(), Box::new(|_| {}));
        let track = |config: [u8; 2]| Track {
            id: TrackId(0),
            codec: CodecId::Aac,
            config: Some(Bytes::copy_from_slice(&config)),
            params: TrackParams::Audio(AudioParams {
                sample_rate: 44_100,
                channels: 2,
                sample_bits: 16,
            }),
            wire: None,
        };
        let mut out = Vec::new();
        packager.set_tracks(&[track([0x12, 0x10])], &mut out);
        for number in 0..i64::try_from(count).expect("few") * 10 {
            if number == i64::try_from(changed).expect("few") * 10 {
                packager.set_tracks(&[track([0x11, 0x90])], &mut out);
            }
            // Segments end a quarter before the full second.
            let time = MediaTime::from_millis(800 + number * 100);
            packager.write(
                &Frame {
                    track: TrackId(0),
                    dts: time,
                    pts: time,
                    key: true,
                    data: Bytes::from(vec![7; 100]),
                    wire: None,
                },
                &mut out,
            );
        }
        drop(packager);
        live.since(0)
    }

    struct Bench {
        root: TempDir,
        writer: Writer,
        segments: Vec<Arc<Segment>>,
    }

    impl Bench {
        fn new(keeping: Keeping) -> Self {
            let root = tempfile::tempdir().expect("a folder");
            let writer = Writer::new(Self::plan(&root, keeping));
            Self {
                root,
                writer,
                segments: segments(6, 3),
            }
        }

        fn plan(root: &TempDir, keeping: Keeping) -> Plan {
            Plan {
                folder: root.path().join("live/cam"),
                root: root.path().to_owned(),
                keeping,
                forms: vec![Form::Ts, Form::Fmp4],
                fmp4_suffix: ".mp4",
                query: String::new(),
                target: MediaTime::from_millis(1000),
                local,
            }
        }

        fn write(&mut self, index: usize, unix: u64, gap: bool) -> Vec<Result<Written, Failed>> {
            self.writer.write(Incoming {
                segment: &self.segments[index],
                began: Duration::from_secs(unix),
                gap,
            })
        }

        /// Writes, and tells the names.
        fn names(&mut self, index: usize, unix: u64) -> Vec<String> {
            let results = self.write(index, unix, false);
            results
                .into_iter()
                .map(|result| result.expect("written").name)
                .collect()
        }

        fn text(&self, path: &str) -> String {
            let path = self.root.path().join("live/cam").join(path);
            // Times are not what these tests are about.
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let lines = text.lines().filter(|line| !line.starts_with("#EXT-X-PROGRAM"));
            lines.map(|line| format!("{line}\n")).collect()
        }

        fn files(&self) -> Vec<String> {
            let mut found = Vec::new();
            let mut folders = vec![self.root.path().to_owned()];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).expect("read") {
                    let path = entry.expect("an entry").path();
                    if path.is_dir() {
                        folders.push(path);
                    } else {
                        let below = path.strip_prefix(self.root.path()).expect("below");
                        found.push(below.display().to_string());
                    }
                }
            }
            found.sort();
            found
        }
    }

    const HOUR: u64 = 3600;

    /// Where there are several hosts, the names that live viewers follow say which one is meant.
    #[test]
    fn names_for_viewers_carry_the_host() {
        let mut bench = Bench::new(Keeping::All);
        let mut plan = Bench::plan(&bench.root, Keeping::All);
        plan.query = "?vhost=a".to_owned();
        bench.writer = Writer::new(plan);
        bench.names(0, 13 * HOUR);
        assert!(
            bench
                .text("hls.m3u8")
                .ends_with("\n2026-11-22/13/00-00_0.ts?vhost=a\n")
        );
        assert!(
            bench
                .text("hls.fmp4.m3u8")
                .contains("#EXT-X-MAP:URI=\"init.mp4?vhost=a\"\n")
        );
    }

    #[test]
    fn a_recording_lists_everything_in_one_playlist() {
        let mut bench = Bench::new(Keeping::All);
        assert_eq!(
            bench.names(0, 13 * HOUR + 3599),
            ["2026-11-22/13/59-59_0.ts", "2026-11-22/13/59-59_0.mp4"]
        );
        let written = bench.write(1, 14 * HOUR, false).swap_remove(0).expect("written");
        let path = bench.root.path().join("live/cam").join(&written.name);
        assert_eq!(fs::metadata(path).expect("there").len(), written.size);
        assert_eq!(written.duration, MediaTime::from_millis(1000));
        assert!(!bench.text("hls.m3u8").contains(END));
        bench.write(2, 14 * HOUR + 1, true);
        bench.write(3, 14 * HOUR + 2, false);
        assert!(bench.writer.end().is_empty());
        let head = "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n";
        assert_eq!(
            bench.text("hls.m3u8"),
            format!(
                "#EXTM3U\n#EXT-X-VERSION:4\n{head}#EXTINF:1.00000,\n2026-11-22/13/59-59_0.ts\n\
                 #EXTINF:1.00000,\n2026-11-22/14/00-00_1.ts\n\
                 #EXT-X-DISCONTINUITY\n#EXTINF:1.00000,\n2026-11-22/14/00-01_2.ts\n\
                 #EXT-X-DISCONTINUITY\n#EXTINF:1.00000,\n2026-11-22/14/00-02_3.ts\n{END}"
            )
        );
        assert_eq!(
            bench.text("hls.fmp4.m3u8"),
            format!(
                "#EXTM3U\n#EXT-X-VERSION:7\n{head}#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:1.00000,\n2026-11-22/13/59-59_0.mp4\n\
                 #EXTINF:1.00000,\n2026-11-22/14/00-00_1.mp4\n\
                 #EXT-X-DISCONTINUITY\n#EXTINF:1.00000,\n2026-11-22/14/00-01_2.mp4\n\
                 #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"2026-11-22/14/init-00-02_3.mp4\"\n#EXTINF:1.00000,\n2026-11-22/14/00-02_3.mp4\n{END}"
            )
        );
        let listing = bench.writer.listing(Form::Ts).expect("listed");
        assert_eq!(listing.length, listing.file.metadata().expect("there").len());
        bench.writer.forget();
        assert_eq!(bench.files().len(), 12, "{:?}", bench.files());
    }

    #[test]
    fn each_hour_has_a_playlist_of_its_own() {
        let mut bench = Bench::new(Keeping::Hours);
        bench.names(0, 13 * HOUR + 3598);
        bench.names(1, 13 * HOUR + 3599);
        assert!(!bench.text("2026-11-22/13/vod.m3u8").contains(END));
        bench.names(2, 14 * HOUR);
        let entry = |name: &str| format!("#EXTINF:1.00000,\n{name}\n");
        let body = |path: &str| {
            let text = bench.text(path);
            text.split_once("SEQUENCE:0\n").expect("a header").1.to_owned()
        };
        assert_eq!(
            body("2026-11-22/13/vod.m3u8"),
            [&entry("59-58_0.ts"), &entry("59-59_1.ts"), END].concat()
        );
        assert_eq!(
            body("2026-11-22/14/vod.fmp4.m3u8"),
            format!("#EXT-X-MAP:URI=\"init-00-00_2.mp4\"\n{}", entry("00-00_2.mp4"))
        );
        assert!(
            bench
                .root
                .path()
                .join("live/cam/2026-11-22/14/init-00-00_2.mp4")
                .exists()
        );
        assert!(bench.writer.end().is_empty());
        assert!(bench.text("2026-11-22/14/vod.m3u8").ends_with(END));
    }

    #[test]
    fn another_life_goes_on_with_the_hour_and_takes_no_name_twice() {
        let mut bench = Bench::new(Keeping::Hours);
        bench.names(0, 13 * HOUR);
        bench.writer.end();
        bench.writer = Writer::new(Bench::plan(&bench.root, Keeping::Hours));
        let names = bench.names(0, 13 * HOUR);
        assert_eq!(names, ["2026-11-22/13/00-00_1.ts", "2026-11-22/13/00-00_1.mp4"]);
        let text = bench.text("2026-11-22/13/vod.m3u8");
        assert!(
            text.ends_with(
                "#EXTINF:1.00000,\n00-00_0.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1.00000,\n00-00_1.ts\n"
            ),
            "{text}"
        );
        let text = bench.text("2026-11-22/13/vod.fmp4.m3u8");
        assert!(
            text.contains("#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init-00-00_1.mp4\"\n"),
            "{text}"
        );
        // What is no playlist of ours is replaced.
        let path = bench.root.path().join("live/cam/2026-11-22/14/vod.m3u8");
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, "#EXTM3U\n#EXT-X-TARGETDURATION:1\ncut of").expect("written");
        bench.names(1, 14 * HOUR);
        assert!(
            bench
                .text("2026-11-22/14/vod.m3u8")
                .ends_with(":0\n#EXTINF:1.00000,\n00-00_2.ts\n")
        );
    }

    #[test]
    fn what_left_the_window_is_removed() {
        let mut bench = Bench::new(Keeping::Window);
        let sequence = |bench: &Bench, index: usize| bench.segments[index].sequence;
        for index in 0..3 {
            bench.names(index, 13 * HOUR + 3598 + index as u64);
        }
        assert_eq!(bench.files().len(), 7, "{:?}", bench.files());
        bench.writer.forget_before(sequence(&bench, 2));
        assert_eq!(
            bench.files(),
            [
                "live/cam/2026-11-22/13/init-59-58_0.mp4",
                "live/cam/2026-11-22/14/00-00_2.mp4",
                "live/cam/2026-11-22/14/00-00_2.ts"
            ]
        );
        // With other tracks the first file is of no use any more.
        bench.names(3, 14 * HOUR + 1);
        bench.writer.forget_before(sequence(&bench, 3));
        assert!(!bench.root.path().join("live/cam/2026-11-22/13").exists());
        assert_eq!(bench.files().len(), 3, "{:?}", bench.files());
        bench.writer.end();
        bench.writer.forget();
        let left = fs::read_dir(bench.root.path()).expect("the root stays").count();
        assert_eq!(left, 0);
    }

    #[test]
    fn what_fails_is_named_and_missing() {
        let mut bench = Bench::new(Keeping::All);
        let folder = bench.root.path().join("live/cam");
        bench.names(0, 13 * HOUR);
        // A file where the folder of the next hour would be.
        fs::write(folder.join("2026-11-22/14"), "").expect("written");
        let failed = bench.write(1, 14 * HOUR, false);
        let failed = failed[0].as_ref().expect_err("no folder");
        assert_eq!(failed.path, folder.join("2026-11-22/14/00-00_1.ts"));
        assert!(failed.to_string().contains("/14/00-00_1.ts: "), "{failed}");
        bench.names(2, 15 * HOUR);
        let text = bench.text("hls.m3u8");
        assert!(
            text.ends_with(
                "13/00-00_0.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1.00000,\n2026-11-22/15/00-00_2.ts\n"
            ),
            "{text}"
        );
    }
}
