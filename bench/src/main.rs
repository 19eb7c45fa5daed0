//! What a media server costs, as ratios that one run gives on any machine: Tidegate beside the floor, which is a program that does
//! nothing but write the same frames at the same pace to as many sockets, and beside other servers that are found.
//! `docs/performance.md` says how to read it.

mod check;
mod child;
mod clip;
mod http;
mod machine;
mod parts;
mod plan;
mod product;
mod publisher;
mod report;
mod stats;
mod targets;
mod viewer;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};

use crate::clip::Clip;
use crate::machine::Cores;
use crate::parts::fanout::{Choice, Subject};
use crate::parts::{Part, churn, fanout, growth, hooks, joins, latency, ondemand, publishers, slow, start};
use crate::plan::Plan;
use crate::product::{Product, floor};
use crate::report::Report;
use crate::viewer::Protocol;

/// Measures a media server: processor time and memory per viewer and per stream, latency, and how soon a picture comes.
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
    /// What to measure.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "start,joins,ondemand,hooks,latency,fanout,publishers"
    )]
    parts: Vec<Part>,
    /// Servers: floor, tidegate, and those of the peers that are found.
    #[arg(long, value_delimiter = ',')]
    products: Vec<Product>,
    /// Fan-out: protocols.
    #[arg(long, value_delimiter = ',', default_values_t = Protocol::PLAYED.to_vec(), value_enum)]
    protocols: Vec<Protocol>,
    /// Fan-out: numbers of viewers.
    #[arg(long, value_delimiter = ',', default_value = "100,500,1000", value_parser = viewers())]
    viewers: Vec<u32>,
    /// Fan-out: how often each row is measured. Others on the machine only ever add time, so the cheapest of a row's rounds counts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Fan-out: the floor writes frames of so many milliseconds with one call.
    #[arg(long, value_delimiter = ',', default_value = "0,40,300", value_parser = clap::value_parser!(u64).range(..=10_000))]
    floor_ms: Vec<u64>,
    /// How long each row is measured, seconds.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// One viewer in so many is checked frame by frame; of the others bytes are counted.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    check_every: u32,
    /// Set a key of each Tidegate, such as `--set general.mergeWriteMS=0`. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    keys: Vec<String>,
    /// Joins in each protocol, and streams that are asked for on demand.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    joins: u32,
    /// Starts of each server.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    starts: u32,
    /// Numbers of publishers that nobody watches.
    #[arg(long, value_delimiter = ',', default_value = "1,50,200", value_parser = clap::value_parser!(u32).range(1..=2000))]
    publishers: Vec<u32>,
    /// Latency: numbers of viewers beside those whose times are noted.
    #[arg(long, value_delimiter = ',', default_value = "50,200,500,1000,2000", value_parser = viewers())]
    latency_viewers: Vec<u32>,
    /// Slow: viewers that keep up.
    #[arg(long, default_value_t = 500, value_parser = viewers())]
    slow_viewers: u32,
    /// Growth: numbers of viewers.
    #[arg(long, value_delimiter = ',', default_value = "100,200,500,1000,2000", value_parser = viewers())]
    growth_viewers: Vec<u32>,
    /// Growth: numbers of streams.
    #[arg(long, value_delimiter = ',', default_value = "1,10,50,200,500", value_parser = clap::value_parser!(u32).range(1..=2000))]
    growth_streams: Vec<u32>,
    /// Churn: how long, seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    churn_seconds: u64,
    /// Churn: how many come in each second.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    churn_rate: u32,
    /// Folder for the result.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    results: PathBuf,
}

/// Below the ports that one address of the loopback interface has for connections to one port.
fn viewers() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=20_000)
}

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
    machine::allow_files(args.most_connections())?;
    // Before the runtimes start: their threads inherit the choice.
    machine::pin_this_thread(&cores.load)?;
    let plan = Plan {
        binary,
        peers: product::find_peers()?,
        keys: args.keys.clone(),
        precise: plan::precise_runtime(&cores)?,
        cores,
        seconds: Duration::from_secs(args.seconds),
        check_every: args.check_every,
    };
    let runtime = plan::crowd_runtime(&plan.cores)?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = measure(args, &plan) => report,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    });
    // A task that hangs must not keep the program.
    runtime.shutdown_timeout(Duration::from_secs(1));
    let report = report?;
    print!("{}", report.table());
    println!("\nwritten to {}", report.write(&args.results)?.display());
    report.outcome()
}

async fn measure(args: &RunArgs, plan: &Plan) -> Result<Report> {
    let clip = Arc::new(clip::ready().await?);
    let mut report = Report::new(plan, &clip)?;
    for &part in &args.parts {
        eprintln!("== {part}");
        if let Err(error) = args.measure(plan, &clip, part, &mut report).await {
            eprintln!("{part} has failed: {error:#}");
            report.add_failure(part, &error);
        }
        // A run that is interrupted keeps what it has.
        report.write(&args.results)?;
    }
    Ok(report)
}

impl RunArgs {
    async fn measure(&self, plan: &Plan, clip: &Arc<Clip>, part: Part, report: &mut Report) -> Result<()> {
        let servers = self.servers(plan)?;
        match part {
            Part::Fanout => report.add(part, &fanout::measure(plan, clip, &self.choice(plan)?).await?),
            Part::Joins => report.add(part, &joins::measure(plan, clip, &servers, self.joins).await?),
            Part::Publishers => {
                let publishers = publishers::measure(plan, clip, &servers, &self.publishers).await?;
                report.add(part, &publishers)
            }
            Part::Latency => {
                let latency = latency::measure(plan, clip, &servers, &self.latency_viewers).await?;
                report.add(part, &latency)
            }
            Part::OnDemand => report.add(part, &ondemand::measure(plan, clip, self.joins).await?),
            Part::Hooks => report.add(part, &hooks::measure(plan, clip).await?),
            Part::Start => report.add(part, &start::measure(plan, &servers, self.starts).await?),
            Part::Slow => report.add(part, &slow::measure(plan, clip, self.slow_viewers).await?),
            Part::Growth => {
                let growth = growth::measure(plan, clip, &self.growth_viewers, &self.growth_streams).await?;
                report.add(part, &growth)
            }
            Part::Churn => {
                let duration = Duration::from_secs(self.churn_seconds);
                report.add(
                    part,
                    &churn::measure(plan, clip, self.churn_rate, duration).await?,
                )
            }
        }
    }

    /// All that are to be measured, the floor included.
    fn products(&self, plan: &Plan) -> Result<Vec<Product>> {
        let found = [Product::Floor, Product::Tidegate]
            .into_iter()
            .chain(plan.peers.iter().map(|(peer, _)| *peer));
        let chosen: Vec<Product> = found
            .filter(|product| self.products.is_empty() || self.products.contains(product))
            .collect();
        for wanted in &self.products {
            ensure!(
                chosen.contains(wanted),
                "{wanted} was not found; docs/performance.md says where it is looked for"
            );
        }
        Ok(chosen)
    }

    /// Those that take a stream.
    fn servers(&self, plan: &Plan) -> Result<Vec<Product>> {
        let mut products = self.products(plan)?;
        products.retain(|product| *product != Product::Floor);
        Ok(products)
    }

    fn choice(&self, plan: &Plan) -> Result<Choice> {
        let mut subjects = Vec::new();
        for product in self.products(plan)? {
            for protocol in product.protocols() {
                let subject = |merge_ms| Subject {
                    product,
                    protocol,
                    merge_ms,
                };
                if product == Product::Floor {
                    subjects.extend(self.floor_ms.iter().map(|&merge_ms| subject(Some(merge_ms))));
                } else if self.protocols.contains(&protocol) {
                    subjects.push(subject(None));
                }
            }
        }
        ensure!(
            !subjects.is_empty(),
            "no server of these has one of these protocols"
        );
        Ok(Choice {
            subjects,
            viewers: self.viewers.clone(),
            rounds: self.rounds,
        })
    }

    /// Of any part, at the same time, in one process.
    fn most_connections(&self) -> u32 {
        let lists = [
            &self.viewers,
            &self.latency_viewers,
            &self.growth_viewers,
            &self.publishers,
            &self.growth_streams,
        ];
        let most = lists.into_iter().flatten().copied().max().unwrap_or(0);
        // Visits of the churn overlap, and some wait for their end.
        most.max(self.slow_viewers).max(self.churn_rate * 30)
    }
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
