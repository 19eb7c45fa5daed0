//! Waiting for what may not be there, as branches of `select!`.

use std::time::Instant;
use tokio::time::sleep_until;

/// Ends at the deadline; never, if there is none. Cancel-safe.
pub async fn at(deadline: Option<Instant>) {
    some(deadline.map(|at| sleep_until(at.into()))).await;
}

/// Ends as the future does; never, if there is none. As cancel-safe as that.
pub async fn some<F: Future>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
