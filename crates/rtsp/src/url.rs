//! RTSP URLs.
