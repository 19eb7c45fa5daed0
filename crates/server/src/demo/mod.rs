//! `tidegate demo`: a tour without a camera, without ffmpeg and without a hook service of one's own.
//!
//! Three parts in one process: the server, with one on-demand rule; a synthetic camera behind a second, internal listener; and
//! a tiny hook service that prints what it is told and opens and closes a second stream by ZLM's means.

mod camera;
mod receiver;

use crate::cli::DemoArgs;
use crate::run::{self, Signals, assemble};
use crate::store::random_text;
use anyhow::Context;
use config::Format;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// How long a demo stream may be unwatched. Short, so that one sees it close.
const CLOSE_AFTER_MS: u64 = 5_000;

/// Runs the demo until it is told to stop.
///
/// # Errors
///
/// A port cannot be opened.
pub async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let signals = Signals::new()?;
    let local = |what| async move { TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context(what) };
    let camera = local("a port for the synthetic camera").await?;
    let hooks = local("a port for the demo's hook service").await?;
    let (camera_port, hook_port) = (camera.local_addr()?.port(), hooks.local_addr()?.port());

    let secret = random_text(32);
    let text = configuration(args, &secret, camera_port, hook_port);
    let loaded = config::load::parse(
        &text,
        Format::Toml,
        "the demo's configuration",
        [],
        &[],
        &mut random_text,
    )
    .map_err(|errors| anyhow::anyhow!("{errors}"))?;
    let assembled = assemble(loaded, Vec::new(), args.free_ports).await?;
    let app = assembled.app.clone();
    app.player.explain(include_str!("../../assets/player/demo.html"));
    let ports = app.ports.get().copied().unwrap_or_default();

    // Both end with the demo, whatever way it ends.
    let _camera = AbortOnDropHandle::new(tokio::spawn(camera::serve(camera)));
    let opener = receiver::Opener {
        link: app.link.clone(),
        camera_port,
        options: app.config().protocol.defaults(),
    };
    let _receiver = AbortOnDropHandle::new(tokio::spawn(receiver::serve(hooks, opener)));
    if let Some(path) = &args.ready_file {
        run::write_ready_file(path, &app)?;
    }
    println!("{}", welcome(ports.http, ports.rtmp, &secret));
    run::drive(assembled, signals).await
}

fn configuration(args: &DemoArgs, secret: &str, camera_port: u16, hook_port: u16) -> String {
    let hooks: String = [
        "on_play",
        "on_publish",
        "on_flow_report",
        "on_stream_changed",
        "on_stream_none_reader",
        "on_stream_not_found",
        "on_server_started",
        "on_server_exited",
    ]
    .iter()
    .map(|hook| format!("{hook} = \"http://127.0.0.1:{hook_port}/{hook}\"\n"))
    .collect();
    format!(
        "[api]\nsecret = \"{secret}\"\n[general]\nstreamNoneReaderDelayMS = {CLOSE_AFTER_MS}\nflowThreshold = 0\n\
         [rtmp]\nport = {}\nsslport = 0\n[http]\nport = {}\nsslport = 0\nplayerPage = \"2\"\n\
         [hook]\nenable = true\n{hooks}\
         [[source]]\npattern = \"demo/rule\"\nurl = \"http://127.0.0.1:{camera_port}/camera.flv\"\nclose_after = \"{}s\"\n",
        args.rtmp_port,
        args.http_port,
        CLOSE_AFTER_MS / 1000,
    )
}

fn welcome(http: u16, rtmp: u16, secret: &str) -> String {
    format!(
        "\nTidegate demo. Nothing streams yet; the synthetic camera is connected when somebody watches,\n\
         and {} s after the last one left it is disconnected.\n\n  \
         browser  http://127.0.0.1:{http}/\n  \
         ffplay   ffplay -fflags nobuffer http://127.0.0.1:{http}/demo/rule.live.flv     opened by a [[source]] rule\n  \
         ffplay   ffplay rtmp://127.0.0.1:{rtmp}/demo/hook                               opened by the hook service\n  \
         VLC      rtmp://127.0.0.1:{rtmp}/demo/rule\n  \
         API      curl 'http://127.0.0.1:{http}/index/api/getMediaList?secret={secret}'\n  \
         why      curl 'http://127.0.0.1:{http}/index/api/getStreamTimeline?secret={secret}&vhost=__defaultVhost__&app=demo&stream=rule'\n  \
         metrics  curl http://127.0.0.1:{http}/metrics\n\nHook calls, as they come (Ctrl-C ends the demo):\n",
        CLOSE_AFTER_MS / 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_configuration_is_valid() {
        let args = DemoArgs {
            http_port: 8080,
            rtmp_port: 1935,
            ready_file: None,
            free_ports: false,
        };
        let text = configuration(&args, "a secret", 1, 2);
        let loaded =
            config::load::parse(&text, Format::Toml, "demo", [], &[], &mut random_text).expect("valid");
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert!(loaded.config.source_for("demo", "rule").is_some());
    }
}
