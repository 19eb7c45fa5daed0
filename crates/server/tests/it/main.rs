//! The whole server over loopback, with real clients.

mod clients;
mod ffmpeg_source;
mod integrity;
mod on_demand;
mod publish_play;
