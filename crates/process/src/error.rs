use std::io;
use std::path::PathBuf;

/// Why a child could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bound on concurrent children is reached.
    #[error("{running} processes are running and ffmpeg.max_processes is {max}: nothing was started")]
    MaxProcesses {
        /// Children that run now, including those that are being stopped.
        running: usize,
        /// The bound.
        max: usize,
    },
    /// A child with this id still runs (or is still being stopped).
    #[error("a process for {id} is still running: stop it, and wait for its end, before starting it again")]
    AlreadyRunning {
        /// The id of the job.
        id: String,
    },
    /// The program, or the interpreter named in its first line, does not exist.
    #[error("cannot run {}: no such file; set ffmpeg.bin to the path of ffmpeg (if the file exists, the interpreter in its first line does not)", program.display())]
    NotFound {
        /// As configured.
        program: PathBuf,
    },
    /// The program exists and may not be executed.
    #[error("cannot run {}: permission denied; ffmpeg.bin must name an executable file", program.display())]
    NotExecutable {
        /// As configured.
        program: PathBuf,
    },
    /// The operating system refused for another reason.
    #[error("cannot run {} (key ffmpeg.bin): {source}", program.display())]
    Spawn {
        /// As configured.
        program: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The supervisor is shutting down, or its thread has died.
    #[error("the server is stopping: no process is started any more")]
    Closed,
    /// The supervisor's own thread or pipe could not be made.
    #[error("cannot set up the supervision of ffmpeg: {0}")]
    Setup(#[source] io::Error),
}
