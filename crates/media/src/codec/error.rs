//! What can be wrong with a bit stream.

/// Bytes that a codec's standard does not allow, or more of something than a stream can need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end inside a structure.
    #[error("{what}: {need} bytes needed at byte {at}, {got} there")]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Byte offset in what was parsed.
        at: usize,
        /// Bytes needed there.
        need: usize,
        /// Bytes that are left.
        got: usize,
    },
    /// A field has a value that the standard does not define or that makes no sense.
    #[error("{what} is {got}: {allowed}")]
    Value {
        /// The field.
        what: &'static str,
        /// Its value.
        got: u64,
        /// The rule.
        allowed: &'static str,
    },
    /// Something that has to be there is missing.
    #[error("{what} is missing")]
    Missing {
        /// What.
        what: &'static str,
    },
}
