//! A fresh server with one publisher: where most parts begin.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::clip::Clip;
use crate::plan::Plan;
use crate::product::{Product, STREAM, Server, Settings};
use crate::publisher::Publisher;

/// Ends with the value.
pub struct Stage {
    /// The server.
    pub server: Server,
    /// Its publisher; the floor has none.
    pub publisher: Option<Publisher>,
}

impl Stage {
    /// Starts both. [`Server::settle`] waits until the memory does.
    pub async fn start(plan: &Plan, clip: &Arc<Clip>, product: Product, settings: &Settings) -> Result<Self> {
        let server = Server::start(plan, product, settings).await?;
        let publisher = match product {
            Product::Floor => None,
            _ => Some(Publisher::start(plan, clip, server.rtmp(), STREAM, Duration::ZERO).await?),
        };
        Ok(Self { server, publisher })
    }

    /// An error if one of them has ended.
    pub async fn check(&mut self) -> Result<()> {
        self.server.check()?;
        match &mut self.publisher {
            Some(publisher) => publisher.check().await,
            None => Ok(()),
        }
    }

    /// Ends both.
    pub async fn stop(self) -> Result<()> {
        drop(self.publisher);
        self.server.stop().await
    }
}
