//! What `tidegate check` prints: which values differ from the built-in ones, where they came from, and what was noticed.

use crate::config::Config;
use crate::error::Origin;
use crate::keys;
use crate::load::Loaded;
use crate::source::SourceRule;
use std::fmt::Write;

/// Explains a configuration in plain text. Secrets and credentials are hidden.
pub fn explain(loaded: &Loaded) -> String {
    let mut out = String::new();
    let config = &loaded.config;
    match &loaded.path {
        Some(path) => line(&mut out, format_args!("Configuration file: {}", path.display())),
        None => line(
            &mut out,
            format_args!("No configuration file; built-in values are in force."),
        ),
    }

    let changed: Vec<_> = config
        .flat()
        .filter(|(name, text)| is_changed(config, name, text))
        .collect();
    line(&mut out, format_args!(""));
    line(
        &mut out,
        format_args!("Values that differ from the built-in ones ({}):", changed.len()),
    );
    for (name, text) in &changed {
        let key = keys::find(name);
        let shown = key.map_or_else(|| crate::secret::mask_credentials(text), |key| key.shown(text));
        let built_in = key.filter(|key| key.name == *name && !key.default.is_empty());
        let built_in = built_in.map_or_else(String::new, |key| format!("; built-in: {}", key.default));
        let note = match key {
            Some(key) if !key.effective => "; no effect in this version",
            Some(_) => "",
            None => "; unknown, kept and reported only",
        };
        line(
            &mut out,
            format_args!("  {name} = {shown}    ({}{built_in}{note})", config.origin(name)),
        );
    }

    if !config.hook_endpoints.is_empty() {
        line(&mut out, format_args!(""));
        line(
            &mut out,
            format_args!("Hook endpoints ({}):", config.hook_endpoints.len()),
        );
        for endpoint in &*config.hook_endpoints {
            let events = if endpoint.events.is_empty() {
                "all of Tidegate's own events".to_owned()
            } else {
                endpoint.events.join(", ")
            };
            let durable = if endpoint.durable { ", durable" } else { "" };
            let off = if endpoint.enabled { "" } else { ", switched off" };
            line(
                &mut out,
                format_args!(
                    "  {} -> {}: {events}{durable}{off}",
                    endpoint.name,
                    endpoint.shown_url()
                ),
            );
        }
    }

    if !config.sources.is_empty() {
        line(&mut out, format_args!(""));
        line(
            &mut out,
            format_args!(
                "Source rules, the first that matches counts ({}):",
                config.sources.len()
            ),
        );
        for (index, rule) in config.sources.iter().enumerate() {
            line(&mut out, format_args!("  {}. {}", index + 1, summary(rule)));
        }
    }

    line(&mut out, format_args!(""));
    if loaded.secret_replaced {
        let note = "api.secret is missing, empty or published; a random one is made at start and written to the file.";
        line(&mut out, format_args!("Note: {note}"));
    }
    for warning in &loaded.warnings {
        line(&mut out, format_args!("Warning: {warning}"));
    }
    if loaded.warnings.is_empty() {
        line(&mut out, format_args!("No warnings."));
    }
    out
}

fn is_changed(config: &Config, name: &str, text: &str) -> bool {
    config.origin(name) != Origin::Default
        && keys::all().all(|key| key.name != name || !same(key.default, text))
}

fn summary(rule: &SourceRule) -> String {
    let when = if rule.on_demand() { "on demand" } else { "always" };
    format!("{} -> {} ({when})", rule.pattern(), rule.shown_url())
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a String takes everything");
}

/// Whether two texts say the same: `3.0` is `3.000000`, as ZLM writes built-in fractions.
fn same(one: &str, other: &str) -> bool {
    one == other || one.parse::<f64>().is_ok_and(|number| other.parse() == Ok(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_written_otherwise_is_no_difference() {
        assert!(same("3.000000", "3") && same("3.000000", "3.0") && same("x", "x"));
        assert!(!same("3.000000", "3.1") && !same("", "0") && !same("x", "y"));
    }
}
