//! Programs that the benchmark starts: on cores of our choice, killed with us, their use of the machine read from `/proc`.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use anyhow::{Context, Result};
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::process::{Child, Command};

use crate::machine;

/// Arguments of the step between us and a program.
#[derive(Debug, clap::Args)]
pub struct BecomeArgs {
    /// Cores to stay on.
    #[arg(long, value_delimiter = ',')]
    cores: Vec<usize>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// Takes the place of this process. A step of its own, since nothing safe can run between fork and exec.
pub fn become_program(args: &BecomeArgs) -> Result<Infallible> {
    machine::pin_this_thread(&args.cores)?;
    // Stays across exec: also a benchmark that is killed leaves nothing behind.
    set_parent_process_death_signal(Some(Signal::KILL)).context("ask to die with the parent")?;
    let (program, arguments) = args.program.split_first().context("a program")?;
    let error = std::process::Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("start {}", program.display()))
}

/// A command that runs `program` on these cores, killed when its [`Child`] is dropped. To be spawned on the main thread,
/// because the kernel takes the end of the thread that spawned it for the end of its parent.
pub fn command(cores: &[usize], program: impl AsRef<OsStr>) -> Result<Command> {
    let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
    let mut command = Command::new(std::env::current_exe().context("the benchmark's own program")?);
    command
        .args(["become", "--cores", &cores.join(","), "--"])
        .arg(program)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(command)
}

/// What a process has used of the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Processor time of all its threads in user and kernel mode, seconds.
    pub cpu_seconds: f64,
    /// Resident memory now, bytes. Socket buffers are the kernel's and not in it.
    pub resident_bytes: u64,
    /// Threads now.
    pub threads: u64,
}

impl Usage {
    /// Of a child that runs.
    pub fn of(child: &Child) -> Result<Self> {
        let pid = child.id().context("the process has ended")?;
        Self::of_process(&pid.to_string())
    }

    /// Of ourselves, the load.
    pub fn of_load() -> Result<Self> {
        Self::of_process("self")
    }

    fn of_process(process: &str) -> Result<Self> {
        let read = |name: &str| {
            let file = format!("/proc/{process}/{name}");
            fs::read_to_string(&file).with_context(|| format!("read {file}"))
        };
        let threads = threads(process)?;
        Ok(Self {
            // The kernel's sum has the threads that have ended, but counts in ticks, 10 ms as a rule; the threads' own times are
            // exact. Where all threads still run the latter is the greater one.
            cpu_seconds: cpu_seconds(&read("stat")?)?.max(threads.cpu_seconds),
            // Not the sum in `stat`, which lags behind by some dozens of pages for each core.
            resident_bytes: resident_bytes(&read("smaps_rollup")?)?,
            threads: threads.count,
        })
    }
}

/// The threads of a process.
struct Threads {
    count: u64,
    cpu_seconds: f64,
}

/// From the first field of each thread's schedstat, nanoseconds. Kernels without it leave 0 here.
fn threads(process: &str) -> Result<Threads> {
    let folder = format!("/proc/{process}/task");
    let mut threads = Threads {
        count: 0,
        cpu_seconds: 0.0,
    };
    for thread in fs::read_dir(&folder).with_context(|| format!("read {folder}"))? {
        let file = thread
            .with_context(|| format!("read {folder}"))?
            .path()
            .join("schedstat");
        threads.count += 1;
        // A thread may end in between.
        let text = fs::read_to_string(file).unwrap_or_default();
        let nanoseconds = text.split(' ').next().and_then(|word| word.parse::<u64>().ok());
        threads.cpu_seconds += nanoseconds.unwrap_or(0) as f64 / 1e9;
    }
    Ok(threads)
}

/// Files that a child has open.
pub fn open_files(child: &Child) -> Result<u64> {
    let pid = child.id().context("the process has ended")?;
    let folder = format!("/proc/{pid}/fd");
    Ok(fs::read_dir(&folder)
        .with_context(|| format!("read {folder}"))?
        .count() as u64)
}

/// Fields 14 and 15 of proc_pid_stat(5), ticks.
fn cpu_seconds(stat: &str) -> Result<f64> {
    // The second field is the program's name in parentheses; it may hold spaces and parentheses.
    let (_, fields) = stat
        .rsplit_once(") ")
        .context("no program name in a process's stat")?;
    let mut times = fields.split(' ').skip(14 - 3).map(str::parse::<u64>);
    let mut time = || {
        times
            .next()
            .context("no time in a process's stat")?
            .context("a time in a process's stat")
    };
    let ticks = time()? + time()?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// `Rss` of proc_pid_smaps(5), there in units of 1024 bytes.
fn resident_bytes(smaps: &str) -> Result<u64> {
    let row = smaps
        .lines()
        .find_map(|line| line.strip_prefix("Rss:"))
        .context("no Rss in a process's smaps")?;
    let number = row.trim().strip_suffix(" kB").context("no unit behind Rss")?;
    Ok(number.parse::<u64>().with_context(|| format!("Rss {number:?}"))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194304 442 0 1 0 150 50 7 7 20 0 4 0 592201 1300348928 3";
        let expected = 200.0 / rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(cpu_seconds(stat).expect("valid"), expected);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        let smaps = "5561a-7fff rw-p 00000000 00:00 0 [rollup]\nRss:                4784 kB\nPss:  4000 kB\n";
        assert_eq!(resident_bytes(smaps).expect("valid"), 4784 * 1024);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        assert!(cpu_seconds("42 (a) S 1 2").is_err());
        assert!(cpu_seconds("").is_err());
        assert!(resident_bytes("Pss: 3 kB").is_err());
    }
}
