//! The rules of `ARCHITECTURE.md` that a program can check, so that the one test command is the one gate.

mod dependencies;
mod manual;
mod source;
mod tree;
