//! Waiting for a deadline that may not be set.

use std::time::Instant;
use tokio::time::sleep_until;

/// Ends at the deadline; never, if there is none. Cancel-safe, for `select!`.
pub async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
