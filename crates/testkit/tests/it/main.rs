//! Checks of the whole repository.

mod tidy;
