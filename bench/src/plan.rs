//! What holds for the whole run.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::Handle;

use crate::machine::{self, Cores};
use crate::product::Product;

/// What is measured with, and on.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Tidegate's program.
    pub binary: PathBuf,
    /// Other servers that were found, and what starts them.
    pub peers: Vec<(Product, PathBuf)>,
    /// Keys set in each Tidegate, `KEY=VALUE`.
    pub keys: Vec<String>,
    /// Who runs where.
    pub cores: Cores,
    /// How long each row is measured.
    pub seconds: Duration,
    /// One viewer in so many is checked frame by frame, the others' bytes are counted.
    pub check_every: u32,
    /// Runs publishers, and viewers whose times are noted.
    pub precise: Handle,
}

impl Plan {
    /// Program of a product; `None` if it was not found.
    pub fn program(&self, product: Product) -> Option<PathBuf> {
        match product {
            Product::Tidegate => Some(self.binary.clone()),
            Product::Floor => std::env::current_exe().ok(),
            peer => self
                .peers
                .iter()
                .find(|(known, _)| *known == peer)
                .map(|(_, file)| file.clone()),
        }
    }
}

/// How much less urgent viewers are than what is timed.
const CROWD_NICE: i32 = 5;

/// One thread on the load's cores for what must be done at once. It lives as long as the program.
pub fn precise_runtime(cores: &Cores) -> Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime of what is timed")?;
    let handle = runtime.handle().clone();
    let load = cores.load.clone();
    std::thread::Builder::new()
        .name("precise".to_owned())
        .spawn(move || {
            // The driver is pinned already, and with it this thread; said again so that it does not depend on the order.
            let _ = machine::pin_this_thread(&load);
            runtime.block_on(std::future::pending::<()>());
        })
        .context("start the thread of what is timed")?;
    Ok(handle)
}

/// The runtime of the driver and of the many viewers. Their threads give way to that of [`precise_runtime`], so that what is timed
/// does not wait behind viewers that nobody looks at.
pub fn crowd_runtime(cores: &Cores) -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.load.len())
        .enable_all()
        .on_thread_start(|| {
            // Linux takes it for the thread alone. Without it the times are a little worse.
            let _ = rustix::process::nice(CROWD_NICE);
        })
        .build()
        .context("start the runtime")
}
