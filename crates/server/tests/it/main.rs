//! The whole server over loopback, with real clients.

mod api_live;
mod browser;
mod browser_api;
mod chromium;
mod clients;
mod decisions;
mod edges;
mod egress;
mod ffmpeg_source;
mod files;
mod hls;
mod hls_disk;
mod hook_endpoints;
mod hook_server;
mod hook_service;
mod hook_store;
mod integrity;
mod on_demand;
mod openapi;
mod process;
mod publish_play;
mod pull_hls;
mod rtsp;
mod tls;
