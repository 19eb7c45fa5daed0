//! A stream that is live on one server is asked for at another, which fetches it because a rule says so.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::sleep;

use super::Figures;
use super::stage::Stage;
use crate::clip::Clip;
use crate::plan::Plan;
use crate::product::{Product, STREAM, Server, Settings};
use crate::stats::Times;
use crate::targets::Goal;
use crate::viewer::{Protocol, join};

/// Between two rounds. No divisor of the two seconds of a group of pictures.
const PAUSE: Duration = Duration::from_millis(90);

/// The figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OnDemand {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, Serialize)]
struct Row {
    /// How the stream is fetched, and played.
    protocol: Protocol,
    /// From before the viewer's TCP connection to the last byte of the first key frame.
    first_key_frame: Times,
}

/// Measures so many streams that are asked for, one after the other, over RTMP and RTSP.
pub async fn measure(plan: &Plan, clip: &Arc<Clip>, count: u32) -> Result<OnDemand> {
    let mut origin = Stage::start(plan, clip, Product::Tidegate, &Settings::default()).await?;
    origin.server.settle().await?;
    let settings = Settings {
        toml: Some(rules(&origin.server)),
        ..Settings::default()
    };
    let mut edge = Server::start(plan, Product::Tidegate, &settings).await?;
    let mut ondemand = OnDemand::default();
    for protocol in [Protocol::Rtmp, Protocol::Rtsp] {
        let mut times = Vec::new();
        for number in 1..=count {
            // A name that was never asked for.
            let stream = format!("{}/r{number}", app(protocol));
            let joined = join(plan, &edge.target(protocol, &stream)?).await;
            times.push(
                joined
                    .with_context(|| format!("{stream}, from {protocol}"))?
                    .key_frame,
            );
            sleep(PAUSE).await;
        }
        ondemand.rows.push(Row {
            protocol,
            first_key_frame: Times::of(times)?,
        });
    }
    edge.check()?;
    origin.check().await?;
    edge.stop().await?;
    origin.stop().await?;
    Ok(ondemand)
}

fn app(protocol: Protocol) -> &'static str {
    if protocol == Protocol::Rtsp {
        "from-rtsp"
    } else {
        "from-rtmp"
    }
}

fn rules(origin: &Server) -> String {
    let (rtmp, rtsp) = (origin.rtmp(), origin.rtsp());
    format!(
        "[[source]]
pattern = 'from-rtmp/.+'
url = \"rtmp://{rtmp}/{STREAM}\"
close_after = \"1s\"

[[source]]
pattern = 'from-rtsp/.+'
url = \"rtsp://{rtsp}/{STREAM}\"
transport = \"tcp\"
close_after = \"1s\"
"
    )
}

impl Figures for OnDemand {
    fn table(&self) -> String {
        let mut text = String::from("source and player  streams  p50 / p99 to the first key frame\n");
        for row in &self.rows {
            let times = &row.first_key_frame;
            let _ = writeln!(text, "{:<18} {:>7}  {}", row.protocol, times.count, times.short());
        }
        text
    }

    fn reached(&self) -> Vec<(Goal, String)> {
        let figure = |row: &Row| {
            (
                Goal::OnDemand,
                format!("{} {}", row.protocol, row.first_key_frame.short()),
            )
        };
        self.rows.iter().map(figure).collect()
    }
}
