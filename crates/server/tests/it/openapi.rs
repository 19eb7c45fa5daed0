//! The served OpenAPI document, and whether the server does what it says: checked by schemathesis, which makes up calls from it.

use crate::clients::*;
use anyhow::{Result, ensure};
use std::time::Duration;
use testkit::server::TestServer;
use testkit::tool::Tool;

/// What is not called, and why.
const LEFT_OUT: [(&str, &str); 9] = [
    ("restartServer", "it would end the test"),
    (
        "setServerConfig",
        "it would change the secret, the ports, and where files go",
    ),
    ("addStreamProxy", "it would connect to made-up hosts"),
    ("addStreamPusherProxy", "it would connect to made-up hosts"),
    (
        "addFFmpegSource",
        "it would start processes that connect to made-up hosts",
    ),
    ("addHookEndpoint", "it would connect to made-up hosts"),
    ("setHookEndpoint", "it would connect to made-up hosts"),
    ("testHookEndpoint", "it would connect to made-up hosts"),
    (
        "kick_sessions",
        "it cuts every connection but its own, those that the tool keeps for later among them",
    ),
];

/// What is checked of each reply. Left out are the checks that ask for other statuses than 200 where a call is wrong
/// (`negative_data_rejection`, `ignored_auth`), or for the refusal of methods (`unsupported_method`): clients of ZLM rely on the
/// opposite.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,positive_data_acceptance";

/// Well above the time that the tool is given.
const DEADLINE: Duration = Duration::from_secs(100);

/// Runs schemathesis on the paths that fit `only`, in the same way each time.
async fn check(server: &TestServer, config: &str, arguments: &[&str]) -> Result<()> {
    // The tool leaves its files where it runs.
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("schemathesis.toml"), config)?;
    let left_out: Vec<&str> = LEFT_OUT.iter().map(|(name, _)| *name).collect();
    let output = Tool::schemathesis()?
        .arg("run")
        .arg(server.url_http("index/api/openapi.json"))
        .args(["--header", &format!("secret: {}", server.secret())])
        .args(["--checks", CHECKS])
        .args(["--exclude-path-regex", &format!("({})$", left_out.join("|"))])
        .args(["--generation-deterministic", "--workers", "1"])
        .args(["--no-color", "--warnings", "off"])
        .args(arguments)
        .current_dir(folder.path())
        .spawn()?
        .wait(DEADLINE)
        .await?;
    ensure!(output.status.success(), "{}", output.stdout_text());
    Ok(())
}

#[tokio::test]
async fn made_up_calls_are_answered_as_the_document_says() -> Result<()> {
    let server = serve("").await?;
    check(
        &server,
        "",
        &[
            "--phases",
            "coverage,fuzzing",
            "--max-examples",
            "5",
            "--max-time",
            "40",
        ],
    )
    .await?;
    // It took no harm.
    let version = server.api("version", &[]).await;
    assert_eq!(version["code"], 0, "{version}");
    Ok(())
}

#[tokio::test]
async fn what_is_told_of_a_live_stream_is_as_the_document_says() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let _viewer = FlvViewer::open(&server, "live/cam").await?;
    let config = "[parameters]\n\"vhost\" = \"__defaultVhost__\"\n\"app\" = \"live\"\n\"stream\" = \"cam\"\n\
                  \"schema\" = \"rtmp\"\n\"probe_ms\" = 50\n\"local_port\" = 0\n";
    check(
        &server,
        config,
        &[
            "--mode",
            "positive",
            "--phases",
            "coverage",
            "--max-time",
            "40",
            "--include-path-regex",
            "/(getMedia|isMedia|getStreamTimeline|broadcast|addProbe|getAllSession)",
        ],
    )
    .await?;
    online(&server, "live", "cam").await;
    Ok(())
}
