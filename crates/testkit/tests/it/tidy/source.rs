//! What the source of a crate may say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::dependencies::{PURE, crate_folders};
use super::tree::{assert_none, files, text};

/// Beyond this a file holds more than one idea (the aim is 600).
const MAX_LINES: usize = 900;

/// What reaches outside of a computation. `Instant` itself is welcome: `now` is a parameter.
const OUTSIDE: &[&str] = &[
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::unix::net",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
];

/// Crates that may start tasks and threads: `server` owns them all, `process` owns its children's pipes, and tests may do
/// what they want.
const MAY_SPAWN: &[&str] = &["server", "process", "testkit"];

#[test]
fn pure_crates_reach_nothing_outside() {
    let mut breaches = Vec::new();
    for name in crate_folders()
        .iter()
        .filter(|name| PURE.contains(&name.as_str()))
    {
        breaches.extend(uses(name, OUTSIDE));
    }
    assert_none(
        "pure crates must not reach sockets, files, clocks, threads or the environment",
        &breaches,
    );
}

#[test]
fn only_server_and_process_spawn() {
    let mut breaches = Vec::new();
    for name in crate_folders()
        .iter()
        .filter(|name| !MAY_SPAWN.contains(&name.as_str()))
    {
        breaches.extend(uses(name, &["spawn(", "spawn_blocking(", "spawn_local("]));
    }
    assert_none("only server and process may spawn", &breaches);
}

#[test]
fn no_file_is_a_giant() {
    let mut breaches = Vec::new();
    for name in crate_folders() {
        for path in rust_files(&name) {
            let lines = text(&path).lines().count();
            if lines > MAX_LINES {
                breaches.push(format!("{}: {lines} lines, at most {MAX_LINES}", path.display()));
            }
        }
    }
    assert_none("files that are more than one idea", &breaches);
}

/// Where the product code of a crate (no comments, no tests) has one of these words.
fn uses(name: &str, words: &[&str]) -> Vec<String> {
    let paths = rust_files(name);
    let mut tests_only = BTreeSet::new();
    let mut found = Vec::new();
    for path in &paths {
        tests_only.extend(test_modules(path, &text(path)));
    }
    // What lies below a module of tests is test code as well: `src/tests/mod.rs` and all in `src/tests/`.
    let folders: Vec<PathBuf> = tests_only
        .iter()
        .filter(|path| path.ends_with("mod.rs"))
        .filter_map(|path| path.parent().map(Path::to_owned))
        .collect();
    let is_test =
        |path: &PathBuf| tests_only.contains(path) || folders.iter().any(|folder| path.starts_with(folder));
    for path in paths.iter().filter(|path| !is_test(path)) {
        for (number, line) in product_lines(&text(path)) {
            found.extend(
                words
                    .iter()
                    .filter(|word| has_word(line, word))
                    .map(|word| format!("{}:{number}: {word}", path.display())),
            );
        }
    }
    found
}

fn rust_files(name: &str) -> Vec<PathBuf> {
    let all = files(&format!("crates/{name}/src"));
    all.into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// True where `word` does not merely end a longer name, as in `respawn(`.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The lines that are neither comments nor below `#[cfg(test)]`, numbered from 1. Relies on rustfmt: an item ends with a
/// `;` on its first line or with a closing bracket at its own indentation.
fn product_lines(text: &str) -> Vec<(usize, &str)> {
    let mut kept = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let code = line.trim_start();
        if code.starts_with("#[cfg(test)]") {
            let indentation = &line[..line.len() - code.len()];
            for (_, line) in lines.by_ref() {
                let own = line.strip_prefix(indentation).unwrap_or_default();
                let ends_at_once = !own.starts_with([' ', '#', '/']) && own.ends_with([';', ',']);
                if ends_at_once || own.starts_with('}') {
                    break;
                }
            }
        } else if !code.starts_with("//") {
            kept.push((index + 1, line));
        }
    }
    kept
}

/// The files of modules that are declared for tests only (`#[cfg(test)] mod name;`).
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let stem = path.file_stem().unwrap_or_default();
    let parent = path.parent().unwrap_or(Path::new(""));
    let folder = if stem == "lib" || stem == "main" || stem == "mod" {
        parent.into()
    } else {
        parent.join(stem)
    };
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            continue;
        }
        let declared = lines.next().and_then(|line| line.trim().strip_suffix(';'));
        if let Some(name) = declared
            .and_then(|code| code.rsplit_once("mod "))
            .map(|(_, name)| name)
        {
            found.push(folder.join(format!("{name}.rs")));
            found.push(folder.join(name).join("mod.rs"));
        }
    }
    found
}

#[test]
fn tests_and_comments_are_no_product_code() {
    let text = "use a;\n// spawn(\n#[cfg(test)]\nmod tests {\n    fn b() {\n    }\n}\nfn c() {}\n    #[cfg(test)]\n    \
        pub d: u8,\nfn e() {}\n#[cfg(test)]\nmod ring_tests;\nfn f() {}\n";
    let kept: Vec<_> = product_lines(text).into_iter().map(|(_, line)| line).collect();
    assert_eq!(kept, ["use a;", "fn c() {}", "fn e() {}", "fn f() {}"]);
    let expected = [
        PathBuf::from("src/ring/ring_tests.rs"),
        PathBuf::from("src/ring/ring_tests/mod.rs"),
    ];
    assert_eq!(test_modules(Path::new("src/ring.rs"), text), expected);
}

#[test]
fn a_longer_name_is_another_word() {
    assert!(has_word("tokio::spawn(x)", "spawn("));
    assert!(!has_word("self.respawn(x)", "spawn("));
}
