//! Segments, parts and playlists as their users see them.

mod bench;
mod cutting;
mod parts;
mod playlists;
mod random;
