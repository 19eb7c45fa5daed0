//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are made, not written: builds, tools, packages, git's own.
const MADE: &[&str] = &["target", ".git", ".tools", "node_modules"];

/// Larger files are media or builds, not text that someone writes.
const MAX_TEXT: u64 = 4 << 20;

pub(super) fn root() -> PathBuf {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    root.canonicalize()
        .expect("the workspace is where this test was built")
}

/// All files below a folder of the repository, in a stable order; paths are relative to the repository.
pub(super) fn files(below: &str) -> Vec<PathBuf> {
    let root = root();
    let mut found = Vec::new();
    let mut open = vec![root.join(below)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("readable folder").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && !path.is_symlink() {
                // Cargo marks a build folder of any name with a tag file.
                if !MADE.contains(&name.as_str()) && !path.join("CACHEDIR.TAG").exists() {
                    open.push(path);
                }
            } else {
                found.push(path.strip_prefix(&root).expect("below the root").to_path_buf());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no file below {below:?}");
    found
}

pub(super) fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text of a file that need not exist yet.
pub(super) fn text_if_there(path: impl AsRef<Path>) -> Option<String> {
    root().join(&path).exists().then(|| text(path))
}

#[track_caller]
pub(super) fn assert_none(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}:\n  {}\n", breaches.join("\n  "));
}

#[test]
fn what_a_newcomer_looks_for_is_there() {
    let wanted = [
        "README.md",
        "README.zh-CN.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "Makefile",
        ".ci/run",
    ];
    let missing: Vec<_> = wanted
        .iter()
        .filter(|file| !root().join(file).is_file())
        .map(ToString::to_string)
        .collect();
    assert_none("missing files", &missing);
}

#[test]
fn nothing_names_places_of_one_machine() {
    // Put together here, so that this file does not hold them itself.
    let places = [
        ["/wo", "rk/"],
        ["/tmp/ba", "sh_"],
        ["/tmp/", "t/"],
        ["/root/", "."],
    ]
    .map(|parts| parts.concat());
    let mut breaches = Vec::new();
    for path in files("") {
        let full = root().join(&path);
        if full.metadata().is_ok_and(|data| data.len() > MAX_TEXT) {
            continue;
        }
        // What is not text has no lines to read.
        let Ok(text) = fs::read_to_string(&full) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if let Some(place) = places.iter().find(|place| line.contains(place.as_str())) {
                breaches.push(format!("{}:{}: {place}", path.display(), number + 1));
            }
        }
    }
    assert_none("paths that exist on one machine only", &breaches);
}
