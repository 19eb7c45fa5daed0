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
    /// Receivers of hooks of a running server: list, test, look at deliveries, send again.
    Hooks(HooksArgs),
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

/// Arguments for the receivers of hooks.
#[derive(Debug, Args)]
pub struct HooksArgs {
    /// The server's configuration: tells its HTTP port and API secret.
    #[arg(short, long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The server, instead of http://127.0.0.1 with the port of the configuration, or 8080.
    // A global option and an argument of a subcommand with the same id would be one value: `add` has its own `url`.
    #[arg(id = "server", long = "url", value_name = "URL", global = true)]
    pub url: Option<String>,
    /// Its API secret.
    #[arg(
        long,
        value_name = "SECRET",
        env = "TIDEGATE_API__SECRET",
        hide_env_values = true,
        global = true
    )]
    pub secret: Option<String>,
    /// Print the answer as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: HooksCommand,
}

/// What to do with receivers of hooks.
#[derive(Debug, Subcommand)]
pub enum HooksCommand {
    /// List them and how they are doing.
    List,
    /// Show the last attempts.
    Log {
        /// The endpoint; `zlm` is the receiver of the keys hook.on_*.
        #[arg(default_value = "zlm")]
        name: String,
        /// Only this event.
        #[arg(long)]
        event: Option<String>,
        /// Only this result: ok, failed, or a kind of failure.
        #[arg(long)]
        result: Option<String>,
        /// Most lines.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        count: u16,
    },
    /// Send an example of an event, once.
    Test {
        /// The endpoint.
        name: String,
        /// The event, such as on_play or stream.online.
        event: String,
    },
    /// List dead letters: notifications that were given up.
    Dead {
        /// Which.
        #[command(flatten)]
        letters: Letters,
        /// Most lines.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        count: u16,
    },
    /// Send dead letters again.
    Replay {
        /// Which.
        #[command(flatten)]
        letters: Letters,
        /// Only those with these ids.
        #[arg(long = "id", value_name = "ID")]
        ids: Vec<String>,
    },
    /// Delete dead letters.
    Purge {
        /// Which.
        #[command(flatten)]
        letters: Letters,
    },
    /// Add an endpoint; prints the secret that is made for it.
    Add {
        /// Its name.
        name: String,
        /// Where it is.
        url: String,
        /// Further fields, such as `events=stream.*` or `durable=1`.
        #[arg(value_name = "FIELD=VALUE")]
        set: Vec<String>,
    },
    /// Change fields of an endpoint that was added.
    Set {
        /// Its name.
        name: String,
        /// The fields.
        #[arg(value_name = "FIELD=VALUE", required = true)]
        set: Vec<String>,
    },
    /// Remove an endpoint that was added.
    Remove {
        /// Its name.
        name: String,
    },
    /// Give an endpoint a new secret; the old one is good for 24 hours more.
    Rotate {
        /// Its name.
        name: String,
    },
    /// Switch an endpoint on again that was switched off because of its failures.
    Enable {
        /// Its name.
        name: String,
    },
    /// Make a secret, for hook.signing_secret or an endpoint. Needs no server.
    Secret,
}

/// Which dead letters.
#[derive(Debug, Args)]
pub struct Letters {
    /// The endpoint; `zlm` is the receiver of the keys hook.on_*.
    #[arg(default_value = "zlm")]
    pub name: String,
    /// Only this event.
    #[arg(long)]
    pub event: Option<String>,
    /// Only what was given up at this time or later, in milliseconds since 1970.
    #[arg(long, value_name = "UNIX_MS")]
    pub from: Option<u64>,
    /// Only what was given up before this time, in milliseconds since 1970.
    #[arg(long, value_name = "UNIX_MS")]
    pub until: Option<u64>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_receiver_is_not_taken_for_the_server() {
        for (options, server) in [
            (&[] as &[&str], None),
            (&["--url", "http://127.0.0.1:9"], Some("http://127.0.0.1:9")),
        ] {
            let add = ["tidegate", "hooks", "add", "billing", "http://receiver/x"];
            let cli = Cli::try_parse_from(add.iter().chain(options)).expect("valid");
            let Some(Command::Hooks(args)) = cli.command else {
                panic!("{:?}", cli.command)
            };
            assert_eq!(args.url.as_deref(), server);
            assert!(matches!(args.command, HooksCommand::Add { url, .. } if url == "http://receiver/x"));
        }
    }
}
