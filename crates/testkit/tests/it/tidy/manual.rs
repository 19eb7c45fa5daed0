//! Every endpoint and hook has its capture of the reference server and its place in the manual.
//!
//! A check is left out only while the file that it reads has not been written.

use std::collections::BTreeSet;

use super::tree::{assert_none, files, text_if_there};

/// Endpoints of our own, which the reference server does not have.
const OUR_ENDPOINTS: &[&str] = &[
    "getStreamTimeline",
    "openapi.json",
    "listHookEndpoints",
    "addHookEndpoint",
    "setHookEndpoint",
    "delHookEndpoint",
    "rotateHookSecret",
    "enableHookEndpoint",
    "testHookEndpoint",
    "getHookDeliveries",
    "listDeadLetters",
    "replayDeadLetters",
    "purgeDeadLetters",
    "flushHookCache",
];

/// Hooks of our own.
const OUR_HOOKS: &[&str] = &[];

#[test]
fn every_endpoint_has_a_capture_and_a_manual_entry() {
    let Some(routes) = text_if_there("crates/api/src/routes.rs") else {
        return;
    };
    let names = route_names(&routes);
    assert!(
        names.len() >= 30,
        "routes.rs has another form than this test reads: {names:?}"
    );
    let captured = captured("contract/golden/api");
    let manual = text_if_there("docs/api.md");
    let mut breaches = Vec::new();
    for name in names {
        if !captured.contains(name) && !OUR_ENDPOINTS.contains(&name) {
            breaches.push(format!("{name}: no contract/golden/api/{name}.*.json"));
        }
        if manual.as_ref().is_some_and(|manual| !mentions(manual, name)) {
            breaches.push(format!("{name}: not in docs/api.md"));
        }
    }
    assert_none("endpoints", &breaches);
}

#[test]
fn every_hook_has_a_capture_and_a_manual_entry() {
    let Some(keys) = text_if_there("crates/config/src/keys/hook.rs") else {
        return;
    };
    let names = hook_names(&keys);
    assert!(
        names.len() >= 9,
        "keys/hook.rs has another form than this test reads: {names:?}"
    );
    let captured = captured("contract/golden/hooks");
    let manual = text_if_there("docs/hooks.md");
    let mut breaches = Vec::new();
    for name in names {
        if !captured.contains(name) && !OUR_HOOKS.contains(&name) {
            breaches.push(format!("{name}: no contract/golden/hooks/{name}.*.json"));
        }
        if manual.as_ref().is_some_and(|manual| !mentions(manual, name)) {
            breaches.push(format!("{name}: not in docs/hooks.md"));
        }
    }
    assert_none("hooks", &breaches);
}

/// The names before the first dot of the captures in a folder.
fn captured(folder: &str) -> BTreeSet<String> {
    let names = files(folder).into_iter().filter_map(|path| {
        let name = path
            .file_name()?
            .to_str()?
            .strip_suffix(".json")?
            .split('.')
            .next()?
            .to_owned();
        Some(name)
    });
    names.collect()
}

/// First words of the rows `"name", .. => handler;`.
fn route_names(text: &str) -> BTreeSet<&str> {
    let rows = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with('"') && line.contains("=>"));
    rows.filter_map(|line| line.split('"').nth(1)).collect()
}

/// All `on_..` that end a string literal: `"on_play"`, `"hook.on_play"`.
fn hook_names(text: &str) -> BTreeSet<&str> {
    let literals = text.split('"').skip(1).step_by(2);
    let names = literals.map(|literal| literal.strip_prefix("hook.").unwrap_or(literal));
    names
        .filter(|name| {
            name.starts_with("on_") && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
        .collect()
}

/// True where `name` stands by itself, not as a part of a longer one.
fn mentions(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(is_part)
            && !text[at + name.len()..].chars().next().is_some_and(is_part)
    })
}

#[test]
fn rows_and_keys_are_read() {
    let routes =
        "static X: &[Y] = routes! {\n    \"version\",  Secret, [\"a\"] \",\" => server::version;\n};\n";
    assert_eq!(route_names(routes), BTreeSet::from(["version"]));
    assert_eq!(
        hook_names(r#"key("hook.on_play", "x"), key("on_publish", "On_x")"#),
        ["on_play", "on_publish"].into()
    );
    assert!(mentions("| `close_stream` |", "close_stream"));
    assert!(!mentions("| `close_streams` |", "close_stream"));
}
