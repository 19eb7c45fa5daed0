//! Basic and Digest authentication (RFC 7617, RFC 7616, RFC 2069), both sides.

mod client;
mod digest;
mod server;
mod syntax;

pub use client::Authenticator;
pub use server::{Challenge, Credentials, Secret};

/// How a client proves that it knows the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// User and password, readable by anyone on the way.
    Basic,
    /// A hash over password, nonce, method and URI.
    Digest,
}

/// What is wrong with a header of authentication, or with what it wants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The header begins with neither scheme.
    #[error("authorization scheme {0:?}: Basic and Digest are known")]
    Scheme(String),
    /// User and password of Basic are not base64 or have no colon.
    #[error("the credentials of Basic are not user:password in base64 (RFC 7617, section 2)")]
    Basic,
    /// Digest without a parameter that it needs.
    #[error("Digest without {0} (RFC 7616, section 3.4)")]
    Missing(&'static str),
    /// An algorithm that is not known, or a quality of protection other than `auth`.
    #[error("Digest with {name}={got:?}: allowed are {allowed}")]
    Unknown {
        /// The parameter.
        name: &'static str,
        /// Its value, at most 40 characters.
        got: String,
        /// What is known.
        allowed: &'static str,
    },
    /// The server offered nothing that can be answered.
    #[error(
        "no challenge that can be answered among {0:?}: Basic, and Digest with MD5 or SHA-256, are known"
    )]
    NoChallenge(String),
    /// The server refused what user and password gave.
    #[error("user or password refused")]
    Refused,
}
