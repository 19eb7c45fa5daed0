//! What a media section of an SDP means for a track, and back.
