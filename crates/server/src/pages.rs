//! The few pages that are built in.

use crate::app::App;
use std::collections::BTreeMap;

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Contents.
    pub body: &'static [u8],
}

/// Pages by path.
pub type Pages = BTreeMap<&'static str, Page>;

impl App {
    /// The page at a path, if there is one.
    pub fn page(&self, path: &str) -> Option<Page> {
        self.pages.get()?.get(path).cloned()
    }
}
