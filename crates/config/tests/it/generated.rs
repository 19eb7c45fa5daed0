//! The files that are made from the key table must be those in the repository.

use config::{Config, keys, manual};
use std::path::PathBuf;

fn check(name: &str, wanted: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "{name} does not fit the key table any more. Make it anew with\n  UPDATE_GENERATED=1 cargo nextest run -p tidegate-config generated"
    );
}

#[test]
fn the_sample_in_ini_is_up_to_date() {
    check("conf/tidegate.ini", &manual::ini(&Config::default()));
}

#[test]
fn the_sample_in_toml_is_up_to_date() {
    check("conf/tidegate.toml", &manual::toml(&Config::default()));
}

#[test]
fn the_manual_is_up_to_date() {
    check("docs/configuration.md", &manual::markdown());
}

#[test]
fn the_samples_are_the_built_in_values() {
    let built_in = crate::ini("").unwrap();
    for loaded in [
        crate::ini(&manual::ini(&Config::default())),
        crate::toml(&manual::toml(&Config::default())),
    ] {
        let loaded = loaded.unwrap();
        assert_eq!(loaded.warnings, []);
        for ((name, wanted), (_, text)) in built_in.config.flat().zip(loaded.config.flat()) {
            let same_number = wanted.parse::<f64>().ok().zip(text.parse::<f64>().ok());
            assert!(
                text == wanted || same_number.is_some_and(|(wanted, text)| wanted == text),
                "{name}: {text}"
            );
        }
    }
}

#[test]
fn the_example_rules_of_the_sample_work() {
    let sample = manual::toml(&Config::default());
    let (_, example) = sample.split_once("#[[source]]").unwrap();
    let rules: String = example
        .lines()
        .map(|line| format!("{}\n", line.trim_start_matches('#')))
        .collect();
    let rules: Vec<_> = rules.lines().filter(|line| !line.starts_with(' ')).collect();
    let config = crate::toml(&format!("[[source]]\n{}", rules.join("\n")))
        .unwrap()
        .config;
    let url = |app, stream| config.source_for(app, stream).map(|source| source.url);
    assert_eq!(
        url("live", "cam7").as_deref(),
        Some("rtsp://viewer:change%20me@cam7.lan/stream1")
    );
    assert_eq!(
        url("origin", "a").as_deref(),
        Some("rtmp://origin.example.com/live/a")
    );
    assert_eq!(
        url("tv", "news").as_deref(),
        Some("https://origin.example.com/live/news.flv")
    );
    assert_eq!(url("live", "cam1234"), None);
}

#[test]
fn every_key_is_in_the_manual() {
    let manual = manual::markdown();
    for key in keys::all() {
        assert!(
            manual.contains(&format!("\n| `{}`", key.short_name())),
            "{}",
            key.name
        );
    }
}
