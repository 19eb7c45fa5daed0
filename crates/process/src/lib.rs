//! Child processes of the server: ffmpeg for `addFFmpegSource` and for snapshots.
//!
//! This crate runs **one child once** and tells how it ended. Whether and when it is started again is decided elsewhere.
//!
//! What it promises (contract `lifecycle.md` section 13 lists what the reference did instead):
//!
//! - A command is an argument vector, never shell text ([`command::build`]). A URL is always exactly one argument.
//! - Each child leads its own process group. Every signal goes to the group, so a wrapper script never leaves its real
//!   ffmpeg behind.
//! - A child is always reaped, and no signal is ever sent to a group whose leader was reaped: its number may be reused.
//! - No child outlives the server, however the server ends. The direct child dies by its parent-death signal; the rest of
//!   its group is ended by the [guard](run_guard), a tiny process that sees the end of a pipe when the server is gone.
//! - What a child prints goes to a log of bounded size, and its last lines into [`Exit`], with secrets masked ([`mask`]).
//!
//! One operating-system thread owns all of it ([`Supervisor`]): it forks, reads output, signals and reaps, so these can
//! never race with each other. It has to be one long-lived thread, because Linux binds the parent-death signal to the
//! forking *thread*, and the threads of an async runtime come and go.
//!
//! Linux only: process groups, parent-death signals and pidfds are used directly.

pub mod command;
mod error;
mod guard;
pub mod log;
pub mod mask;
mod output;
mod supervisor;
mod sys;
mod thread;

pub use command::Argv;
pub use error::Error;
pub use guard::{GUARD_ARGUMENT, GuardProgram, run_guard};
pub use supervisor::{Child, Exit, HARD_MAX_PROCESSES, Job, POLITE, Settings, Supervisor};
