//! RTSP inside HTTP: two connections, one for each direction, the client's in base64.
