//! The machine: what it is, and which of its cores do what.

use std::fs;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// Who runs where.
#[derive(Clone, Debug, Serialize)]
pub struct Cores {
    /// The measured process.
    pub server: Vec<usize>,
    /// Viewers and publisher.
    pub load: Vec<usize>,
    /// Whether the two are apart. If not, the load takes time from the server and the figures are worth less.
    pub apart: bool,
}

impl Cores {
    /// The first core that we may use for the server, the others for the load.
    pub fn split() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("which cores may be used")?;
        let all: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|&core| allowed.is_set(core))
            .collect();
        match all.as_slice() {
            [] => bail!("no core may be used"),
            [only] => Ok(Self {
                server: vec![*only],
                load: vec![*only],
                apart: false,
            }),
            [first, others @ ..] => Ok(Self {
                server: vec![*first],
                load: others.to_vec(),
                apart: true,
            }),
        }
    }
}

/// Keeps this thread, and all that it starts, on these cores.
pub fn pin_this_thread(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &core in cores.iter().filter(|&&core| core < CpuSet::MAX_CPU) {
        set.set(core);
    }
    sched_setaffinity(None, &set).with_context(|| format!("stay on cores {cores:?}"))
}

/// Open files beyond one for each viewer: standard streams, the runtime, the publisher, libraries.
const FILES_BESIDES: u64 = 200;

/// Lets this process, and all that it starts, open a socket for each viewer.
pub fn allow_files(viewers: u32) -> Result<()> {
    let needed = u64::from(viewers) + FILES_BESIDES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(maximum) = limit.maximum
        && maximum < needed
    {
        bail!("{viewers} viewers need {needed} open files, the system allows {maximum} (ulimit -Hn)");
    }
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(needed),
            maximum: limit.maximum,
        },
    )
    .with_context(|| format!("allow {needed} open files"))
}

/// What a reader of the figures has to know.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Processor, as the kernel names it.
    pub cpu_model: String,
    /// Cores that are online.
    pub cores: usize,
    /// Kernel and its version.
    pub kernel: String,
    /// Processes that wanted a core before the run: the mean of one, five and fifteen minutes. Well above 0 means noise.
    pub load_before: [f64; 3],
}

impl Machine {
    /// This one.
    pub fn describe() -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .and_then(|rest| rest.split_once(':'))
            .map_or("unknown", |(_, model)| model.trim());
        let load = fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
        let mut load = load.split(' ').map_while(|word| word.parse::<f64>().ok());
        let system = rustix::system::uname();
        Ok(Self {
            cpu_model: model.to_owned(),
            cores: cpuinfo
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            kernel: format!(
                "{} {}",
                system.sysname().to_string_lossy(),
                system.release().to_string_lossy()
            ),
            load_before: std::array::from_fn(|_| load.next().unwrap_or(0.0)),
        })
    }
}
