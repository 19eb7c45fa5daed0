//! What Tidegate's tests stand on. Only ever a dev-dependency.
//!
//! - [`golden`]: compares JSON with the captures of the reference server below `contract/golden`.
//! - [`hook`]: a web hook service that answers as the test says.
//! - [`hls`]: a strict reader of HLS playlists and the rules for them.
//! - [`http`]: a tiny HTTP client and the request reader of the hook service.
//! - [`certificate`]: a certificate authority for one test.
//! - [`websocket`]: a WebSocket client.
//! - [`netem`]: a network that loses, delays and reorders what it carries, by a seed.
//! - [`tool`]: real media tools (ffmpeg, ffprobe, curl, ..) that end with the test.
//! - [`fixture`]: small media files, made once per machine.
//! - [`origin`]: an HTTP server with the files of a folder, for sources that are pulled.
//! - [`framehash`]: what frames a file or stream carries, to compare what went in with what came out.
//! - [`server`]: a whole Tidegate, started from its binary.
//! - [`disk`]: a disk for it that is soon full.
//!
//! Nothing here sleeps to let something happen: every wait is for an event, and has a deadline.

pub mod certificate;
pub mod disk;
pub mod fixture;
pub mod framehash;
pub mod golden;
pub mod hls;
pub mod hook;
pub mod http;
pub mod netem;
pub mod origin;
pub mod server;
pub mod tool;
pub mod websocket;

mod inbox;
