//! `on_record_ts`: an HLS segment is complete.

use media::StreamKey;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// A file of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedFile {
    /// Its path below `folder`, with `/` in it.
    pub name: String,
    /// The folder of the stream, absolute.
    pub folder: PathBuf,
    /// Bytes.
    pub size: u64,
    /// When its contents began, as time since 1970.
    pub start: Duration,
    /// How long they last.
    pub length: Duration,
}

/// The body.
#[derive(Debug, Serialize)]
pub struct RecordTs<'a> {
    vhost: &'a str,
    app: &'a str,
    stream: &'a str,
    params: &'a str,
    /// Unix time, whole seconds.
    start_time: u64,
    /// Seconds, with the precision of the reference.
    time_len: f64,
    file_size: u64,
    file_name: &'a str,
    file_path: String,
    folder: String,
    /// `app/stream/file_name`, wherever the folder is.
    url: String,
}

impl<'a> RecordTs<'a> {
    /// For a file of a stream; `params` are those of its publisher.
    pub fn new(key: &'a StreamKey, params: &'a str, file: &'a RecordedFile) -> Self {
        Self {
            vhost: key.vhost(),
            app: key.app(),
            stream: key.stream(),
            params,
            start_time: file.start.as_secs(),
            time_len: f64::from(file.length.as_secs_f32()),
            file_size: file.size,
            file_name: &file.name,
            file_path: file.folder.join(&file.name).to_string_lossy().into_owned(),
            folder: file.folder.to_string_lossy().into_owned(),
            url: format!("{}/{}/{}", key.app(), key.stream(), file.name),
        }
    }
}
