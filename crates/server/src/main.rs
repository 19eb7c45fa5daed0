//! Tidegate: a live media server whose streams open when the first viewer asks and close when the last one leaves.
//!
//! This crate does everything that touches the world: sockets, files, processes and tasks. What to do is decided by the
//! crates it joins; `ARCHITECTURE.md` has the map.

mod app;
mod cli;
mod containers;
mod control;
mod demo;
mod dial;
mod egress;
mod ffmpeg;
mod files;
mod hls;
mod hook_server;
mod hooks_cli;
mod link;
mod listen;
mod local_time;
mod log;
mod maybe;
mod meter;
mod metrics;
mod operator;
mod player;
mod probe;
mod pull;
mod push;
mod rules;
mod run;
mod session;
mod sessions;
mod store;
mod tls;
mod udp;
mod web;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

/// Media servers allocate from many threads and keep some allocations for long; mimalloc does both better than glibc. Without huge pages
/// (the feature `no_thp`), which made an idle server 12 MiB larger and served nobody faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == process::GUARD_ARGUMENT)
    {
        process::run_guard();
    }
    let cli = Cli::parse();
    let result = match cli.command {
        None => serve(&cli.run),
        Some(Command::Check(args)) => return check(&args),
        Some(Command::Demo(args)) => demo(&args),
        Some(Command::Hooks(args)) => block_on(hooks_cli::run(&args)),
        Some(Command::HookServer(args)) => serve_hooks(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &cli::RunArgs) -> anyhow::Result<()> {
    let loaded = run::load(args)?;
    log::init(&args.log, loaded.config.general.log_format)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    block_on(run::run(args, loaded))
}

fn check(args: &cli::CheckArgs) -> ExitCode {
    let loaded = args.overrides().and_then(|overrides| {
        // A check changes nothing, so a missing file is not created.
        anyhow::ensure!(args.config.exists(), "{} does not exist", args.config.display());
        store::load(Some(&args.config), &overrides).map_err(|errors| anyhow::anyhow!("{errors}"))
    });
    match loaded {
        Ok(loaded) => {
            print!("{}", config::explain(&loaded));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(args: &cli::DemoArgs) -> anyhow::Result<()> {
    log::init("warn", config::LogFormat::Text)?;
    block_on(demo::run(args))
}

fn serve_hooks(args: &cli::HookServerArgs) -> anyhow::Result<()> {
    if args.check {
        println!("{}", hook_server::check(&args.config)?);
        return Ok(());
    }
    log::init(&args.log, config::LogFormat::Text)?;
    block_on(hook_server::run(args))
}

fn block_on(everything: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let result = runtime.block_on(everything);
    // What had its time has ended. A write to a disk that does not answer cannot be ended, and must not keep the process.
    runtime.shutdown_background();
    result
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("tidegate")
        .build()?)
}
