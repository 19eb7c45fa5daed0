//! What an endpoint takes and returns, in words and types: the source of the OpenAPI document, and of the refusal that lists the
//! required parameters. Each description stands beside its handler.
//!
//! It cannot drift: [`Args`](crate::args::Args) refuses, in builds with debug assertions, to read a parameter that is not
//! described, and the tests hold every reply against its description.

pub mod objects;
pub mod parameters;

/// An endpoint in words and types.
pub struct About {
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Its own parameters. Required ones come in the order in which a refusal lists them.
    pub parameters: &'static [Parameter],
    /// Parameters that it shares with others.
    pub shared: &'static [Shared],
    /// What a call that succeeds is answered with.
    pub returns: Returns,
    /// ZLM has no such endpoint.
    pub own: bool,
}

impl About {
    /// An endpoint without parameters.
    pub const fn new(summary: &'static str, returns: Returns) -> Self {
        Self {
            summary,
            parameters: &[],
            shared: &[],
            returns,
            own: false,
        }
    }

    /// The same, but ZLM has no such endpoint.
    pub const fn own(mut self) -> Self {
        self.own = true;
        self
    }

    /// The same with parameters.
    pub const fn takes(mut self, parameters: &'static [Parameter]) -> Self {
        self.parameters = parameters;
        self
    }

    /// The same with shared parameters, too.
    pub const fn shares(mut self, shared: &'static [Shared]) -> Self {
        self.shared = shared;
        self
    }

    /// Its own parameters, then the shared ones.
    pub fn all_parameters(&self) -> Vec<Parameter> {
        let own = self.parameters.iter().copied();
        let shared = self.shared.iter().flat_map(|shared| shared.parameters());
        own.chain(shared.filter(|one| !self.has_own(one.name))).collect()
    }

    /// The names of the parameters that must be given and not empty.
    pub fn required(&self) -> impl Iterator<Item = &'static str> {
        self.parameters
            .iter()
            .filter(|parameter| parameter.required)
            .map(|parameter| parameter.name)
    }

    /// Whether a parameter of this name, in any case, is described.
    pub fn describes(&self, name: &str) -> bool {
        self.has_own(name)
            || self
                .shared
                .iter()
                .flat_map(|shared| shared.parameters())
                .any(|parameter| parameter.name.eq_ignore_ascii_case(name))
    }

    fn has_own(&self, name: &str) -> bool {
        self.parameters
            .iter()
            .any(|parameter| parameter.name.eq_ignore_ascii_case(name))
    }
}

/// Parameters that several endpoints take alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// Options of the new stream (api.md, section 2.4).
    ProtocolOptions,
    /// Options of the protocol client (api.md, section 2.5).
    ClientOptions,
}

impl Shared {
    /// They.
    pub fn parameters(self) -> Vec<Parameter> {
        match self {
            Self::ProtocolOptions => parameters::protocol_options(),
            Self::ClientOptions => crate::handlers::client_options::PARAMETERS.to_vec(),
        }
    }
}

/// One parameter.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name; case does not matter.
    pub name: &'static str,
    /// Its type with its bounds.
    pub kind: Kind,
    /// It must be given and not be empty.
    pub required: bool,
    /// What holds when it is not given, as it would be given; `None` if the words say it, or nothing holds.
    pub default: Option<&'static str>,
    /// Its meaning and unit.
    pub about: &'static str,
}

impl Parameter {
    /// An optional parameter.
    pub const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self {
            name,
            kind,
            required: false,
            default: None,
            about,
        }
    }

    /// The same, but it must be given.
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same with what holds without it.
    pub const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }
}

/// Types of parameters. Reading is lenient, as ZLM's clients expect: what is no number is 0, what is not on is off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Text of at most so many bytes.
    Text(usize),
    /// One of these words.
    Word(&'static [&'static str]),
    /// `1` and `true` are on, all else is off.
    Switch,
    /// A whole number from the first to the second.
    Int(i64, i64),
    /// A number from the first to the second.
    Number(f64, f64),
    /// Any number of parameters named after configuration keys.
    ConfigKeys,
}

/// What is returned.
#[derive(Clone, Copy, Debug)]
pub enum Returns {
    /// These members beside `code`.
    Members(&'static [Member]),
    /// Another JSON object, as the words say.
    Document(&'static str),
    /// The bytes of a file, as the words say.
    File(&'static str),
}

/// One member of a JSON object.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub shape: Shape,
    /// It can be absent.
    pub optional: bool,
    /// Its meaning, unit, and when it is absent.
    pub about: &'static str,
}

impl Member {
    /// A member that is always there.
    pub const fn new(name: &'static str, shape: Shape, about: &'static str) -> Self {
        Self {
            name,
            shape,
            optional: false,
            about,
        }
    }

    /// The same, but it can be absent.
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

/// The type of a member.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Text.
    Text,
    /// One of these texts.
    Word(&'static [&'static str]),
    /// A whole number.
    Int,
    /// A number, written with its fraction even if that is 0.
    Real,
    /// `true` or `false`.
    Bool,
    /// An array.
    List(&'static Shape),
    /// An object that is described here only.
    Object(&'static [Member]),
    /// An object that is described once.
    Named(&'static Object),
    /// The same, or `null`.
    NamedOrNull(&'static Object),
    /// An object of any names with values of this type.
    Map(&'static Shape),
}

/// An object that stands in several replies.
#[derive(Debug)]
pub struct Object {
    /// Its name in the document.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its members.
    pub members: &'static [Member],
}

/// A list in a description. An array of constants that are made by functions lives long enough only as a constant of its own.
macro_rules! fixed {
    ($($item:expr),* $(,)?) => { const { &[$($item),*] } };
}

/// An array of something, for the same reason.
macro_rules! list {
    ($shape:expr) => {
        $crate::describe::Shape::List(const { &$shape })
    };
}

pub(crate) use {fixed, list};

/// `data` with something.
pub const fn data(shape: Shape, about: &'static str) -> Member {
    Member::new("data", shape, about)
}

#[cfg(test)]
mod tests {
    use crate::routes::ROUTES;
    use std::collections::HashSet;

    #[test]
    fn a_parameter_is_described_once_and_has_a_meaning_and_a_default_of_its_kind() {
        for route in ROUTES {
            let mut names = HashSet::new();
            for parameter in route.about.all_parameters() {
                let name = parameter.name;
                assert!(
                    names.insert(name.to_ascii_lowercase()),
                    "{name} of {}",
                    route.name
                );
                assert!(!parameter.about.is_empty(), "{name} of {}", route.name);
                assert!(!(parameter.required && parameter.default.is_some()), "{name}");
                let Some(default) = parameter.default else {
                    continue;
                };
                let fits = match parameter.kind {
                    super::Kind::Text(max) => default.len() <= max,
                    super::Kind::Word(words) => words.contains(&default),
                    super::Kind::Switch => ["0", "1"].contains(&default),
                    super::Kind::Int(min, max) => {
                        default.parse().is_ok_and(|n: i64| (min..=max).contains(&n))
                    }
                    super::Kind::Number(min, max) => {
                        default.parse().is_ok_and(|n: f64| (min..=max).contains(&n))
                    }
                    super::Kind::ConfigKeys => false,
                };
                assert!(fits, "{name} of {} is {default} by default", route.name);
            }
        }
    }
}
