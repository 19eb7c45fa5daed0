//! The whole server over loopback, with real clients.

mod api_live;
mod browser;
mod clients;
mod ffmpeg_source;
mod hls;
mod hook_service;
mod integrity;
mod on_demand;
mod process;
mod publish_play;
mod rtsp;
mod tls;
