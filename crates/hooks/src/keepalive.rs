//! The period of the keep-alive hook: starts, stops and changes with the settings, unlike ZLM's, which is fixed at start.

use crate::settings::Settings;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Ends when a keep-alive is due: one period after `last`, or after the hook was switched on. Waits while it is off; a changed
/// period counts from where the old one did.
pub(crate) async fn due(settings: &mut watch::Receiver<Arc<Settings>>, last: Instant) {
    let mut from = last;
    loop {
        let period = settings.borrow_and_update().keepalive_period();
        let wait = async {
            match period {
                Some(period) => sleep_until(from + period).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => return,
            changed = settings.changed() => {
                if changed.is_err() {
                    // The hooks are gone; nothing is due any more.
                    std::future::pending::<()>().await;
                }
                if period.is_none() {
                    from = Instant::now();
                }
            }
        }
    }
}
