//! The whole server over loopback, with real clients.

mod clients;
mod on_demand;
mod publish_play;
