//! AV1 (AV1 RTP payload specification).
