//! The RTMP handshake (RTMP 1.0, section 5.2) in its simple form and in the digest form that Flash Player 9 introduced.
//!
//! ```text
//! C0 S0   1 byte     version 3
//! C1 S1   1536 bytes simple: time(4) zero(4) random(1528)
//!                    digest: time(4) version(4) and two blocks of 764 bytes, one with a digest, one with a key
//! C2 S2   1536 bytes simple: the peer's block echoed
//!                    digest: random(1504) and a signature(32) over it, keyed by the peer's digest
//! ```
//!
//! Both ends accept both forms: the server answers the form and scheme that the client used, the client offers a digest
//! and falls back to an echo. RTMPE (version 6 and 8) is refused.

mod client;
mod digest;
mod random;
mod server;

pub use client::Client;
pub use digest::Scheme;
pub use server::Server;

/// Length of C1, S1, C2 and S2 in bytes (RTMP 1.0, section 5.2.3).
pub const BLOCK_LEN: usize = 1536;

/// The version of RTMP in clear (RTMP 1.0, section 5.2.2).
pub const VERSION: u8 = 3;

/// From this value on, a first byte belongs to a text protocol (RTMP 1.0, section 5.2.2).
const FIRST_TEXT_VERSION: u8 = 32;

/// Why a handshake cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The peer wants encrypted RTMP.
    #[error(
        "version {got} at byte 0 is RTMPE (encrypted RTMP), which is not supported; use RTMPS instead (RTMP 1.0, section 5.2.2)"
    )]
    Encrypted {
        /// The version byte.
        got: u8,
    },
    /// The peer does not speak RTMP.
    #[error("byte 0 is {got:#04x}: this is not RTMP, a version of 3 was expected (RTMP 1.0, section 5.2.2)")]
    NotRtmp {
        /// The first byte.
        got: u8,
    },
}

/// Checks C0 or S0. Versions below 32 that nobody assigned to encryption are answered with 3, as section 5.2.2 asks.
const fn check_version(got: u8) -> Result<(), Error> {
    match got {
        6 | 8 | 9 => Err(Error::Encrypted { got }),
        FIRST_TEXT_VERSION.. => Err(Error::NotRtmp { got }),
        _ => Ok(()),
    }
}
