//! Codecs whose packets are the payload: Opus (RFC 7587), G.711 and L16 (RFC 3551).
