//! The configuration through its outermost doors: text and files in, typed values, text and files out.

// The name that the rest of the program gives the crate.
extern crate tidegate_config as config;

mod api;
mod contract;
mod file;
mod generated;
mod layers;
mod rules;

use config::{Errors, Format, Loaded};

/// Text of the given length, another one at each call.
fn counting() -> impl FnMut(usize) -> String {
    let mut letters = ('a'..='z').cycle();
    move |len| letters.next().map(String::from).unwrap_or_default().repeat(len)
}

fn ini(text: &str) -> Result<Loaded, Errors> {
    config::load::parse(text, Format::Ini, "config.ini", [], &[], &mut counting())
}

fn toml(text: &str) -> Result<Loaded, Errors> {
    config::load::parse(text, Format::Toml, "tidegate.toml", [], &[], &mut counting())
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}
