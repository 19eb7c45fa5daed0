//! Where the files of a stream are.

use media::StreamKey;
use std::io;
use std::path::{Path, PathBuf};

/// Longest element of a path that file systems commonly take, in bytes.
const MAX_ELEMENT: usize = 255;

/// The folder of a stream below `root`, absolute: `[vhost/]app/stream`.
///
/// # Errors
///
/// The name of the stream is no path that surely stays below `root`: streams are named by whoever publishes them.
pub fn folder(root: &Path, key: &StreamKey, with_vhost: bool) -> io::Result<PathBuf> {
    let mut folder = std::path::absolute(root)?;
    let vhost = with_vhost.then(|| key.vhost());
    let elements = vhost
        .into_iter()
        .chain([key.app()])
        .chain(key.stream().split('/'));
    for element in elements {
        if !is_plain(element) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{element:?} cannot be the name of a folder"),
            ));
        }
        folder.push(element);
    }
    Ok(folder)
}

/// One visible element of a path, whatever system reads it.
fn is_plain(element: &str) -> bool {
    let plain = |c: char| !matches!(c, '/' | '\\' | ':') && !c.is_control();
    !element.is_empty()
        && element.len() <= MAX_ELEMENT
        && !element.starts_with('.')
        && element.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vhost: &str, app: &str, stream: &str, with_vhost: bool) -> Option<PathBuf> {
        folder(Path::new("/www"), &StreamKey::new(vhost, app, stream), with_vhost).ok()
    }

    #[test]
    fn the_host_is_part_of_it_if_there_are_several() {
        assert_eq!(of("v", "live", "a/b", false), Some("/www/live/a/b".into()));
        assert_eq!(of("v", "live", "a/b", true), Some("/www/v/live/a/b".into()));
        let relative = folder(Path::new("./www"), &StreamKey::new("v", "live", "cam"), false);
        let here = std::env::current_dir().expect("a folder");
        assert_eq!(relative.expect("plain"), here.join("www/live/cam"));
    }

    #[test]
    fn nothing_leaves_the_root() {
        let long = "x".repeat(256);
        for name in [
            "..", ".", "", "a/../b", "../a", "a//b", "/etc", "a/", ".hidden", "a\0b", "a\\b", "c:", "a\nb",
            &long,
        ] {
            assert_eq!(of("v", "live", name, false), None, "{name:?}");
            if !name.contains('/') {
                assert_eq!(of("v", name, "cam", false), None, "{name:?}");
                assert_eq!(of(name, "live", "cam", true), None, "{name:?}");
            }
        }
        // Without virtual hosts their name is of no interest.
        assert_eq!(of("..", "live", "cam", false), Some("/www/live/cam".into()));
    }
}
