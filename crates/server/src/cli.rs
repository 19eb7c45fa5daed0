//! The command line.

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The environment variable that sets `--log`. It is no configuration key.
pub const LOG_VARIABLE: &str = "TIDEGATE_LOG";

/// A live media server whose streams open on demand.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; without it the server runs.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How the server runs.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Other things than running.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a configuration and explain where each value comes from.
    Check(CheckArgs),
    /// A tour: a synthetic camera, an on-demand rule, and the hooks that are called, printed as they come.
    Demo(DemoArgs),
    /// A hook service that follows a rules file: who may publish and play, where missing streams come from, when they end. For
    /// Tidegate, ZLMediaKit, and any server that speaks its contract.
    HookServer(HookServerArgs),
}

/// Arguments of a run.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// Configuration: ZLMediaKit's config.ini, or TOML if it ends in .toml. Created with all defaults if it does not exist.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one key above file and environment, such as `--set http.port=9080`. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Log level: error, warn, info, debug, trace, or filters such as `info,tidegate=debug`.
    #[arg(
        short,
        long,
        value_name = "LEVEL",
        env = LOG_VARIABLE,
        default_value = "info"
    )]
    pub log: String,
    /// Write process id, ports and API secret to this file as JSON when all ports are open.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Open any free port instead of each configured one. For tests, together with `--ready-file`.
    #[arg(long)]
    pub free_ports: bool,
}

/// Arguments of a check.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration to check.
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Set one key above file and environment.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of the demo.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// HTTP port of the demo.
    #[arg(long, default_value_t = 8080)]
    pub http_port: u16,
    /// RTMP port of the demo.
    #[arg(long, default_value_t = 1935)]
    pub rtmp_port: u16,
    /// Write ports and API secret to this file as JSON when the demo is ready.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Open any free port instead of those above.
    #[arg(long)]
    pub free_ports: bool,
}

/// Arguments of the hook service.
#[derive(Debug, Args)]
pub struct HookServerArgs {
    /// The rules file. It is read again when it changes.
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Receive hooks here instead of at the address in the rules file, such as `0.0.0.0:9000`. Port 0 is any free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Check the rules file and say what it holds.
    #[arg(long)]
    pub check: bool,
    /// Log level or filters.
    #[arg(
        short,
        long,
        value_name = "LEVEL",
        env = LOG_VARIABLE,
        default_value = "info"
    )]
    pub log: String,
    /// Most calls that are answered at once; further ones get status 503.
    #[arg(long, value_name = "COUNT", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_calls: u32,
    /// Most connections; further ones are closed.
    #[arg(long, value_name = "COUNT", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
    /// For load tests: hold each answer back for so long.
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pub answer_delay_ms: u64,
    /// For load tests: read all calls and answer none.
    #[arg(long)]
    pub black_hole: bool,
}

impl RunArgs {
    /// The keys set on the command line.
    ///
    /// # Errors
    ///
    /// One is not of the form `section.key=value`.
    pub fn overrides(&self) -> anyhow::Result<Vec<(String, String)>> {
        pairs(&self.set)
    }
}

impl CheckArgs {
    /// The keys set on the command line.
    ///
    /// # Errors
    ///
    /// One is not of the form `section.key=value`.
    pub fn overrides(&self) -> anyhow::Result<Vec<(String, String)>> {
        pairs(&self.set)
    }
}

fn pairs(set: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let pair = |text: &String| {
        let (key, value) = text
            .split_once('=')
            .with_context(|| format!("--set {text}: must be KEY=VALUE"))?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    };
    set.iter().map(pair).collect()
}
