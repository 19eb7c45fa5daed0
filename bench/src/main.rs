//! What a viewer costs, as ratios that one run gives on any machine: Tidegate beside the floor, which is a program that does
//! nothing but write the same frames at the same pace to as many sockets. `docs/performance.md` says how to read it.

mod child;
mod clip;
mod floor;
mod hooks;
mod joins;
mod machine;
mod report;
mod rows;
mod server;
mod viewer;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

use crate::machine::Cores;
use crate::report::Report;
use crate::rows::{Plan, Subject};

/// Measures the server's processor time and memory per viewer, and how soon a viewer sees a picture.
#[derive(Debug, Parser)]
#[command(name = "tidegate-bench", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

/// What the benchmark starts itself for; not for people.
#[derive(Debug, Subcommand)]
enum Command {
    /// Become another program, on given cores, that dies with whoever started it.
    #[command(hide = true)]
    Become(child::BecomeArgs),
    /// Be the floor.
    #[command(hide = true)]
    Floor(floor::FloorArgs),
}

/// Arguments of a run.
#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Numbers of viewers, one row of the table for each.
    #[arg(long, value_delimiter = ',', default_value = "100,500", value_parser = clap::value_parser!(u32).range(1..=MAX_VIEWERS))]
    viewers: Vec<u32>,
    /// How long each row is measured, seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How often each row is measured. Others on the machine only ever add time, so the cheapest of a row's rounds counts.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// HTTP-FLV viewers that join one after the other; 0 for none.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(..=10_000))]
    joins: u32,
    /// Only what web hooks cost.
    #[arg(long)]
    hooks_only: bool,
    /// Folder for the result.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    results: PathBuf,
}

/// Below the ports that one address of the loopback interface has for connections to one port.
const MAX_VIEWERS: i64 = 20_000;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Become(args)) => child::become_program(&args).map(|never| match never {}),
        Some(Command::Floor(args)) => floor::run(&args),
        None => bench(&cli.run),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(args: &RunArgs) -> Result<()> {
    let binary = server_binary()?;
    let cores = Cores::split()?;
    machine::allow_files(args.viewers.iter().copied().max().unwrap_or(0))?;
    // Before the runtime starts: its threads inherit the choice.
    machine::pin_this_thread(&cores.load)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.load.len())
        .enable_all()
        .build()
        .context("start the runtime")?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = measure(args, &binary, cores) => report,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    });
    // A task that hangs must not keep the program.
    runtime.shutdown_timeout(Duration::from_secs(1));
    let report = report?;
    print!("{}", report.table());
    let file = report.write(&args.results)?;
    println!("\nwritten to {}", file.display());
    Ok(())
}

async fn measure(args: &RunArgs, binary: &Path, cores: Cores) -> Result<Report> {
    let clip = clip::ready().await?;
    let plan = Plan {
        binary: binary.to_owned(),
        cores,
        seconds: Duration::from_secs(args.seconds),
    };
    let mut report = Report::new(&plan, &clip)?;
    if args.hooks_only {
        report.set_hooks(hooks::measure(&plan, &clip).await?);
        return Ok(report);
    }
    for round in 1..=args.rounds {
        for &viewers in &args.viewers {
            // Side by side in time, so that a change in the machine's mood meets all.
            for subject in [Subject::Floor, Subject::HttpFlv, Subject::Rtmp, Subject::Rtsp] {
                eprintln!(
                    "round {round} of {}: {viewers} viewers, {subject} ...",
                    args.rounds
                );
                report.add_row(rows::measure(&plan, &clip, subject, viewers).await?);
            }
        }
    }
    report.sum_up();
    if args.joins > 0 {
        eprintln!("{} joins, one after the other ...", args.joins);
        report.set_joins(joins::measure(&plan, &clip, args.joins).await?);
    }
    Ok(report)
}

fn server_binary() -> Result<PathBuf> {
    let path = match std::env::var_os("TIDEGATE_BIN") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/tidegate"),
    };
    path.canonicalize().with_context(|| {
        let shown = path.display();
        format!(
            "no server at {shown}: build it (cargo build --release --bin tidegate) or name it in TIDEGATE_BIN"
        )
    })
}
