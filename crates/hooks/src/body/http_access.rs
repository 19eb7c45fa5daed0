//! `on_http_access`: may this client read this file or folder?

use super::ClientBlock;
use crate::files::Visit;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// The body. There is no media block, and so no `X-VHOST` (hooks.md, section 1).
#[derive(Debug, Serialize)]
pub struct HttpAccess<'a> {
    #[serde(flatten)]
    client: ClientBlock<'a>,
    path: &'a str,
    file_path: &'a str,
    is_dir: bool,
    params: &'a str,
    #[serde(flatten)]
    headers: Headers<'a>,
}

/// Each header of the request as a member `header.<Name>`, spelled as the client did. Of headers that come twice the last one
/// counts, as it does for readers of JSON.
#[derive(Debug)]
struct Headers<'a>(&'a [(&'a str, &'a str)]);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (at, (name, value)) in self.0.iter().enumerate() {
            if self.0[at + 1..].iter().all(|(later, _)| later != name) {
                map.serialize_entry(&format!("header.{name}"), value)?;
            }
        }
        map.end()
    }
}

impl<'a> HttpAccess<'a> {
    /// For a request for a file or a folder.
    pub fn new(visit: &Visit<'a>) -> Self {
        Self {
            client: ClientBlock::of(visit.client),
            path: visit.path,
            file_path: visit.file_path,
            is_dir: visit.is_dir,
            params: visit.params,
            headers: Headers(visit.headers),
        }
    }
}
