//! `on_record_mp4`: an MP4 file is complete.

use super::record_ts::RecordedFile;
use media::StreamKey;
use serde::Serialize;

/// The body.
#[derive(Debug, Serialize)]
pub struct RecordMp4<'a> {
    vhost: &'a str,
    app: &'a str,
    stream: &'a str,
    params: &'a str,
    /// Unix time, whole seconds.
    start_time: u64,
    /// Seconds, with the precision of the reference.
    time_len: f64,
    file_size: u64,
    /// Without the folder of the day.
    file_name: &'a str,
    file_path: String,
    /// Without the folder of the day; ends in `/`, unlike that of `on_record_ts`.
    folder: String,
    url: String,
}

impl<'a> RecordMp4<'a> {
    /// For a file of a stream; `params` are those of its publisher. `below_root` is the folder of the stream below the root of
    /// the recordings, as `record/live/cam1`: the URL is made of it, whatever root a recording has.
    pub fn new(key: &'a StreamKey, params: &'a str, below_root: &str, file: &'a RecordedFile) -> Self {
        let mut folder = file.folder.to_string_lossy().into_owned();
        if !folder.ends_with('/') {
            folder.push('/');
        }
        Self {
            vhost: key.vhost(),
            app: key.app(),
            stream: key.stream(),
            params,
            start_time: file.start.as_secs(),
            time_len: f64::from(file.length.as_secs_f32()),
            file_size: file.size,
            file_name: file.name.rsplit('/').next().unwrap_or(&file.name),
            file_path: format!("{folder}{}", file.name),
            url: format!("{below_root}/{}", file.name),
            folder,
        }
    }
}
