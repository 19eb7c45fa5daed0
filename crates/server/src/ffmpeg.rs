//! One run of an ffmpeg source.

use crate::app::App;
use lifecycle::op::FfmpegSpec;
use process::{Exit, Job, POLITE, command, log};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Runs ffmpeg until it ends or is stopped; returns why it ended, for people and for the API.
pub async fn run(app: &App, spec: &FfmpegSpec, stop: CancellationToken) -> String {
    let config = app.config();
    // An unknown key means the default template (api.md, section 3.6).
    let template = config
        .ffmpeg
        .template(&spec.cmd_key)
        .unwrap_or(&config.ffmpeg.cmd);
    let argv = match command::build(template, &config.ffmpeg.bin, &spec.src_url, &spec.dst_url) {
        Ok(argv) => argv,
        Err(error) => return error.to_string(),
    };
    let log = config.ffmpeg.log.as_deref().map(|base| log::Policy {
        max_bytes: config.ffmpeg.log_max_bytes,
        ..log::Policy::new(base)
    });
    drop(config);
    if stop.is_cancelled() {
        return "stopped".to_owned();
    }
    let child = match app
        .processes
        .start(Job {
            id: spec.key.clone(),
            argv,
            log,
        })
        .await
    {
        Ok(child) => child,
        Err(error) => {
            warn!(key = spec.key, %error, "ffmpeg could not be started");
            return error.to_string();
        }
    };
    let exit = tokio::select! {
        biased;
        () = stop.cancelled() => child.stop(POLITE).await,
        exit = child.wait() => exit,
    };
    reason(&exit)
}

/// ZLM's words, which clients show, and what ffmpeg said last.
fn reason(exit: &Exit) -> String {
    let how = match (exit.code, exit.signal) {
        (Some(code), _) => format!("ffmpeg已经退出,exit code = {code}"),
        (None, Some(signal)) => format!("ffmpeg已经退出,signal = {signal}"),
        (None, None) => "ffmpeg已经退出".to_owned(),
    };
    match exit.last_line() {
        "" => how,
        line => format!("{how}: {line}"),
    }
}
