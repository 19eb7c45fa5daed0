//! The values as text, with where each came from. Typed values are made from it; `getServerConfig` and the file see it.

use crate::error::Origin;
use crate::keys;
use std::collections::{BTreeMap, BTreeSet};

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub text: String,
    pub origin: Origin,
}

/// The layers of one key above the built-in value.
#[derive(Clone, Debug, Default)]
struct Layers {
    /// What the file holds, or shall hold after the next write.
    kept: Option<Text>,
    /// From the environment or the command line; never written to the file.
    over: Option<Text>,
    /// `kept` differs from what the file held.
    dirty: bool,
}

/// All values that are not built in.
#[derive(Clone, Default)]
pub(crate) struct Store {
    layers: BTreeMap<String, Layers>,
}

/// Values can be secrets, so only their number is shown.
impl std::fmt::Debug for Store {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Store({} keys)", self.layers.len())
    }
}

impl Store {
    /// Takes a line of the file. Returns the one that it replaces.
    pub fn read(&mut self, name: &str, text: Text) -> Option<Text> {
        self.layers.entry(name.to_owned()).or_default().kept.replace(text)
    }

    /// Puts a value of the environment or the command line above the file.
    pub fn lay_over(&mut self, name: &str, text: Text) {
        self.layers.entry(name.to_owned()).or_default().over = Some(text);
    }

    /// Changes a value for good: it is in force at once, and goes to the file with the next write.
    pub fn change(&mut self, name: &str, text: Text) {
        *self.layers.entry(name.to_owned()).or_default() = Layers {
            kept: Some(text),
            over: None,
            dirty: true,
        };
    }

    /// The value in force. `None`: nobody knows the key.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.layered(name) {
            Some(text) => Some(&text.text),
            None => built_in(name),
        }
    }

    /// Where the value in force came from.
    pub fn origin(&self, name: &str) -> Origin {
        self.layered(name)
            .map_or(Origin::Default, |text| text.origin.clone())
    }

    fn layered(&self, name: &str) -> Option<&Text> {
        let layers = self.layers.get(name)?;
        layers.over.as_ref().or(layers.kept.as_ref())
    }

    /// What the file shall hold for a key; `None`: it need not have it.
    pub fn for_file(&self, name: &str) -> Option<&str> {
        match self.layers.get(name) {
            Some(Layers { kept: Some(text), .. }) => Some(&text.text),
            // The environment decides about it; freezing the built-in value beside would only mislead.
            Some(Layers { over: Some(_), .. }) => None,
            Some(_) | None => built_in(name),
        }
    }

    /// Whether the file holds another value than it shall.
    pub fn is_dirty(&self, name: &str) -> bool {
        self.layers.get(name).is_some_and(|layers| layers.dirty)
    }

    /// All names: those of the table and those that only the file or the environment has, in byte order.
    pub fn names(&self) -> BTreeSet<&str> {
        keys::all()
            .map(|key| key.name)
            .chain(self.layers.keys().map(String::as_str))
            .collect()
    }
}

fn built_in(name: &str) -> Option<&'static str> {
    keys::all().find(|key| key.name == name).map(|key| key.default)
}
