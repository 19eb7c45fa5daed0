//! The client's end: playing (pull) and publishing (push).
