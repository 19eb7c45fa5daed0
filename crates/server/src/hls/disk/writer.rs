//! The files of one stream. Everything here blocks; it runs where that is allowed.

use super::Keeping;
use super::list::{ListFile, Listing, replace};
use hls::record::{self, END, Entry, FilePath, Header, LocalTime};
use hls::{Form, Name};
use media::MediaTime;
use std::collections::VecDeque;
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
    /// Files that are removed when their segment leaves the retained window, the oldest first. As many as are retained.
    passing: VecDeque<(u64, PathBuf)>,
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
            passing: VecDeque::new(),
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
        while let Some((_, path)) = self.passing.pop_front_if(|(sequence, _)| *sequence < oldest) {
            self.remove(&path);
        }
    }

    /// Removes what is not to be kept.
    pub fn forget(&mut self) {
        for shelf in &mut self.shelves {
            if let Some((_, path)) = shelf.init.take()
                && self.plan.keeping == Keeping::Window
            {
                self.passing.push_back((u64::MAX, path));
            }
        }
        while let Some((_, path)) = self.passing.pop_front() {
            self.remove(&path);
        }
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
        passing: &mut VecDeque<(u64, PathBuf)>,
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
        passing: &mut VecDeque<(u64, PathBuf)>,
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
            passing.push_back((segment.sequence, name.clone().into()));
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
        passing: &mut VecDeque<(u64, PathBuf)>,
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
            passing.push_back((segment.sequence.saturating_sub(1), path));
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
