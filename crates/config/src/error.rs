//! What can be wrong with a configuration, in words that say where, what and what is allowed.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The key table.
    Default,
    /// A line of the configuration file.
    File {
        /// The file as it was named.
        file: Arc<str>,
        /// Line number, from 1.
        line: usize,
    },
    /// An environment variable.
    Env {
        /// Its name.
        variable: String,
    },
    /// An option of the command line.
    CommandLine,
    /// `setServerConfig`.
    Api,
    /// Made at start, because there was no usable value.
    Random,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => out.write_str("built-in"),
            Origin::File { file, line } => write!(out, "{file}:{line}"),
            Origin::Env { variable } => write!(out, "environment variable {variable}"),
            Origin::CommandLine => out.write_str("command line"),
            Origin::Api => out.write_str("setServerConfig"),
            Origin::Random => out.write_str("made at start"),
        }
    }
}

/// One thing that is wrong. Secrets and credentials in values are hidden.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value is not one of the allowed ones.
    #[error("{origin}: {key} = `{value}` is not allowed; it must be {allowed}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// `section.key`.
        key: String,
        /// The value as it may be shown.
        value: String,
        /// What would be allowed.
        allowed: String,
    },
    /// The command line names a key that does not exist.
    #[error("{origin}: there is no key `{key}`{}", did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The name as it was given.
        key: String,
        /// The known name that is nearest.
        nearest: Option<String>,
    },
    /// The file is not TOML.
    #[error("{file}:{line}: this is not TOML: {reason}")]
    Syntax {
        /// The file as it was named.
        file: Arc<str>,
        /// Line number, from 1.
        line: usize,
        /// The words of the TOML parser.
        reason: String,
    },
    /// A value has a type that no key can have.
    #[error(
        "{origin}: {key} is {found}; it must be a boolean, a number, a string, or a list of them where the key is a list"
    )]
    Type {
        /// Where it stands.
        origin: Origin,
        /// `section.key`.
        key: String,
        /// The type in words.
        found: &'static str,
    },
    /// Something is wrong with a `[[source]]` rule.
    #[error("{origin}: source rule {number}, {field}: {problem}")]
    Rule {
        /// Where it stands.
        origin: Origin,
        /// Number of the rule in the file, from 1.
        number: usize,
        /// The field, or `source` for the rule as a whole.
        field: String,
        /// What is wrong.
        problem: crate::source::Problem,
    },
    /// More rules than a server should search.
    #[error("{file}: {got} source rules; at most {max} are allowed. Patterns with captures need fewer")]
    TooManyRules {
        /// The file as it was named.
        file: Arc<str>,
        /// Rules in the file.
        got: usize,
        /// Most that are allowed.
        max: usize,
    },
    /// Something is wrong with a `[[hook_endpoint]]` table.
    #[error("{origin}: hook endpoint {number}, {field}: {problem}")]
    Endpoint {
        /// Where it stands.
        origin: Origin,
        /// Number of the table in the file, from 1.
        number: usize,
        /// The field.
        field: String,
        /// What is wrong.
        problem: crate::source::Problem,
    },
    /// More endpoints than a server should tell everything.
    #[error("{file}: {got} hook endpoints; at most {max} are allowed")]
    TooManyEndpoints {
        /// The file as it was named.
        file: Arc<str>,
        /// Endpoints in the file.
        got: usize,
        /// Most that are allowed.
        max: usize,
    },
    /// Two keys only make sense together.
    #[error("{origin}: {key} is set, but {missing} is empty; a certificate and its key are needed together")]
    Half {
        /// Where the one that is set stands.
        origin: Origin,
        /// The one that is set.
        key: &'static str,
        /// The other one.
        missing: &'static str,
    },
    /// Two listeners on one port.
    #[error("{first} ({first_origin}) and {second} ({second_origin}) both name TCP port {port}")]
    PortTwice {
        /// The port.
        port: u16,
        /// The one key.
        first: &'static str,
        /// Where its value stands.
        first_origin: Origin,
        /// The other key.
        second: &'static str,
        /// Where its value stands.
        second_origin: Origin,
    },
    /// A range of addresses that ends before it begins.
    #[error("{first_key} = {first} ({first_origin}) is above {last_key} = {last} ({last_origin})")]
    Backwards {
        /// The key of the first address.
        first_key: &'static str,
        /// Its value.
        first: Ipv4Addr,
        /// Where it stands.
        first_origin: Origin,
        /// The key of the last address.
        last_key: &'static str,
        /// Its value.
        last: Ipv4Addr,
        /// Where it stands.
        last_origin: Origin,
    },
    /// The file does not exist.
    #[error("{}: there is no such file", file.display())]
    Missing {
        /// The file as it was named.
        file: PathBuf,
    },
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Read {
        /// The file as it was named.
        file: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is too large to be a configuration.
    #[error("{}: the file is larger than {max} bytes", file.display())]
    TooLarge {
        /// The file as it was named.
        file: PathBuf,
        /// Most bytes that are read.
        max: u64,
    },
    /// The file is not text.
    #[error("{}: byte {at} is not UTF-8 text", file.display())]
    NotUtf8 {
        /// The file as it was named.
        file: PathBuf,
        /// Position of the first wrong byte, from 0.
        at: usize,
    },
    /// The file cannot be written.
    #[error("{}: cannot be written: {source}", file.display())]
    Write {
        /// The file as it was named.
        file: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Everything that is wrong, not only the first thing.
#[derive(Debug, thiserror::Error)]
pub struct Errors {
    /// At least one.
    pub errors: Vec<Error>,
    /// What was noticed beside.
    pub warnings: Vec<Warning>,
}

impl Errors {
    /// Whether the only trouble is that the file does not exist, so that the caller may create it.
    pub fn is_missing_file(&self) -> bool {
        matches!(self.errors[..], [Error::Missing { .. }])
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self {
            errors: vec![error],
            warnings: Vec::new(),
        }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors.len();
        if count > 1 {
            writeln!(out, "{count} errors in the configuration:")?;
        }
        for (at, error) in self.errors.iter().enumerate() {
            write!(out, "{}{error}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Something that is probably not what was meant. The server starts all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A key that Tidegate does not know. It is kept and reported.
    #[error("{origin}: unknown key `{key}`{}", did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// `section.key` as it stands there.
        key: String,
        /// The known name that is nearest.
        nearest: Option<String>,
    },
    /// A key that ZLMediaKit had in older releases. It is kept and reported.
    #[error("{origin}: `{key}` is a key of older ZLMediaKit releases and has no effect")]
    Retired {
        /// Where it stands.
        origin: Origin,
        /// `section.key`.
        key: String,
    },
    /// A key stands in the file twice.
    #[error("{origin}: `{key}` stands in line {first} too; the last one counts")]
    Twice {
        /// Where the one that counts stands.
        origin: Origin,
        /// `section.key`.
        key: String,
        /// Line of the one that does not count.
        first: usize,
    },
    /// An environment variable that looks like a key, but is none.
    #[error("environment variable {variable} names no key{}", did_you_mean(nearest.as_deref()))]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// The variable that is nearest.
        nearest: Option<String>,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"))
}
