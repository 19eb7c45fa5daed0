//! Who may depend on whom.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::tree::{assert_none, root};

/// Which of our crates each may use. A crate that is missing here must first find its place in `ARCHITECTURE.md`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("media", &[]),
    ("container", &["media"]),
    ("rtmp", &["container", "media"]),
    ("rtp", &["media"]),
    ("rtsp", &["rtp", "media"]),
    ("hls", &["container", "media"]),
    ("hub", &["media"]),
    ("egress", &["hub", "media"]),
    ("lifecycle", &["media"]),
    ("process", &[]),
    ("testpicture", &[]),
    ("config", &["media"]),
    ("hooks", &["lifecycle", "config", "media"]),
    ("api", &["lifecycle", "hub", "config", "hooks", "media"]),
    ("hook-server", &["config", "hooks"]),
    (
        "server",
        &[
            "media",
            "container",
            "rtmp",
            "rtp",
            "rtsp",
            "hls",
            "hub",
            "egress",
            "lifecycle",
            "process",
            "testpicture",
            "config",
            "hooks",
            "api",
            "hook-server",
        ],
    ),
    ("testkit", &["media"]),
];

/// Bytes and `now` in, decisions out.
pub(super) const PURE: &[&str] = &[
    "media",
    "container",
    "rtmp",
    "rtp",
    "rtsp",
    "hls",
    "lifecycle",
    "testpicture",
];

/// Wakes tasks, but runs on none of its own.
const WITHOUT_RUNTIME: &[&str] = &["hub", "egress"];

/// What would bring sockets, timers or tasks into a crate, at any distance.
const RUNTIME: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "hyper",
    "reqwest",
    "axum",
    "async-std",
    "smol",
];

/// Names of the folders below `crates/` that hold a crate.
pub(super) fn crate_folders() -> Vec<String> {
    members().keys().map(|name| folder(name).to_owned()).collect()
}

#[test]
fn our_crates_use_each_other_as_drawn() {
    let table: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut breaches = Vec::new();
    for (package, description) in members() {
        let name = folder(package);
        let Some(allowed) = table.get(name) else {
            breaches.push(format!("{name} is not in the table"));
            continue;
        };
        for dependency in description["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            if !members().contains_key(used) {
                continue;
            }
            let used = folder(used);
            // A test may look at more than the product does, but nothing may hang on the server.
            let fine = match dependency["kind"].as_str() {
                Some("dev") => used != "server",
                Some(_) | None => allowed.contains(&used),
            };
            if !fine {
                breaches.push(format!("{name} uses {used}"));
            }
        }
    }
    assert_none("dependencies that ARCHITECTURE.md does not allow", &breaches);
}

#[test]
fn pure_crates_know_no_runtime() {
    let mut breaches = Vec::new();
    for package in members().keys() {
        let name = folder(package);
        if PURE.contains(&name) || WITHOUT_RUNTIME.contains(&name) {
            let names = reached(package);
            let found = RUNTIME.iter().filter(|bad| names.contains(*bad));
            breaches.extend(found.map(|bad| format!("{name} reaches {bad}")));
        }
    }
    assert_none("crates that must know no runtime", &breaches);
}

#[test]
fn what_is_reached_through_others_is_seen() {
    // This crate names tokio, and only tokio names mio.
    let names = reached("tidegate-testkit");
    assert!(names.contains("tokio") && names.contains("mio"), "{names:?}");
    assert!(!names.contains("axum"), "{names:?}");
}

#[test]
fn our_crates_are_named_alike_and_take_the_shared_lints() {
    let mut breaches = Vec::new();
    for (package, description) in members() {
        let manifest = description["manifest_path"].as_str().unwrap_or_default();
        if !manifest.ends_with(&format!("/crates/{}/Cargo.toml", folder(package))) {
            breaches.push(format!("{package} is not in a folder of its name: {manifest}"));
        }
        if description["publish"]
            .as_array()
            .is_none_or(|registries| !registries.is_empty())
        {
            breaches.push(format!("{package} could be published"));
        }
        let text = std::fs::read_to_string(manifest).expect("cargo has just read it");
        if !text.contains("[lints]\nworkspace = true") {
            breaches.push(format!("{package} does not take the workspace's lints"));
        }
    }
    assert_none("crates", &breaches);
}

/// `tidegate-media` is the crate `media`.
fn folder(package: &str) -> &str {
    package.strip_prefix("tidegate-").unwrap_or(package)
}

/// What cargo knows of the workspace, for Linux, without asking the registry.
fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--offline"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .current_dir(root())
            .output()
            .expect("cargo, which built this test, can be started");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
    })
}

/// Our packages by name.
fn members() -> BTreeMap<&'static str, &'static Value> {
    let ids: Vec<_> = metadata()["workspace_members"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let packages = metadata()["packages"].as_array().into_iter().flatten();
    let ours = packages.filter(|package| ids.contains(&&package["id"]));
    let members: BTreeMap<_, _> = ours
        .map(|package| (package["name"].as_str().unwrap_or_default(), package))
        .collect();
    assert!(members.len() >= 10, "cargo shows {} crates", members.len());
    members
}

/// Names of all packages that a package's product code is built with, at any distance.
fn reached(package: &str) -> BTreeSet<&'static str> {
    let graph = normal_dependencies();
    let mut ids = BTreeSet::new();
    let mut open = vec![members()[package]["id"].as_str().unwrap_or_default()];
    while let Some(id) = open.pop() {
        if ids.insert(id) {
            open.extend(graph.get(id).into_iter().flatten());
        }
    }
    let packages = metadata()["packages"].as_array().into_iter().flatten();
    packages
        .filter(|package| ids.contains(package["id"].as_str().unwrap_or_default()))
        .filter_map(|package| package["name"].as_str())
        .collect()
}

/// For each package the ones that its product code is built with; neither build scripts' nor tests'.
fn normal_dependencies() -> BTreeMap<&'static str, Vec<&'static str>> {
    let nodes = metadata()["resolve"]["nodes"].as_array().into_iter().flatten();
    nodes
        .map(|node| {
            let dependencies = node["deps"].as_array().into_iter().flatten();
            let normal = dependencies.filter(|dependency| {
                dependency["dep_kinds"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|kind| kind["kind"].is_null())
            });
            let ids = normal
                .filter_map(|dependency| dependency["pkg"].as_str())
                .collect();
            (node["id"].as_str().unwrap_or_default(), ids)
        })
        .collect()
}
