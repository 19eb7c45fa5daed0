//! The whole server over loopback, with real clients.

mod clients;
mod integrity;
mod on_demand;
mod publish_play;
