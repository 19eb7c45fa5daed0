//! Receivers of hooks: signatures that others verify, secrets that stay secret, and the command line for operators.

use crate::clients::*;
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;
use testkit::fixture::Fixture;
use testkit::hook::{Answer, HookServer, Request};
use testkit::server::TestServer;
use testkit::tool::{Output, Tool};

/// A secret for signatures: `whsec_` and 32 bytes in base64.
fn secret(byte: u8) -> String {
    format!("whsec_{}", BASE64_STANDARD.encode([byte; 32]))
}

/// A call as a verifier gets it, and the secret that it knows.
#[derive(Clone, Debug, Serialize)]
struct Case {
    secret: String,
    headers: [(&'static str, String); 3],
    /// The bytes as they came, in base64.
    body: String,
}

impl Case {
    fn new(call: &Request, secret: &str) -> Result<Self> {
        let header = |name| {
            let value = call.headers.get(name);
            Ok::<_, anyhow::Error>((
                name,
                value.with_context(|| format!("{name}: {call:?}"))?.to_owned(),
            ))
        };
        Ok(Self {
            secret: secret.to_owned(),
            headers: [
                header("webhook-id")?,
                header("webhook-timestamp")?,
                header("webhook-signature")?,
            ],
            body: BASE64_STANDARD.encode(&call.raw),
        })
    }

    fn with_header(&self, at: usize, value: String) -> Self {
        let mut other = self.clone();
        other.headers[at].1 = value;
        other
    }

    fn with_body(&self, change: impl FnOnce(&mut Vec<u8>)) -> Result<Self> {
        let mut body = BASE64_STANDARD.decode(&self.body)?;
        change(&mut body);
        Ok(Self {
            body: BASE64_STANDARD.encode(body),
            ..self.clone()
        })
    }

    /// The same with one thing changed, each of which must not pass.
    fn forged(&self) -> Result<Vec<Self>> {
        let [(_, id), (_, time), _] = &self.headers;
        let second: u64 = time.parse()?;
        // Still JSON with the same meaning: the bytes count.
        let spaced = self.with_body(|body| body.push(b' '))?;
        let changed = self.with_body(|body| {
            // A letter of ASCII, so that the text stays UTF-8.
            if let Some(byte) = body.iter_mut().rfind(|byte| byte.is_ascii_alphanumeric()) {
                *byte = if *byte == b'0' { b'1' } else { b'0' };
            }
        })?;
        Ok(vec![
            spaced,
            changed,
            self.with_header(0, format!("{id}0")),
            self.with_header(1, (second - 1).to_string()),
        ])
    }
}

/// Both print a list with `ok`, or what was wrong, for each case of the file that is named.
const PYTHON: &str = "
import base64, json, sys
from standardwebhooks.webhooks import Webhook
def verdict(case):
    try:
        Webhook(case['secret']).verify(base64.b64decode(case['body']), dict(case['headers']))
        return 'ok'
    except Exception as error:
        return str(error)
print(json.dumps([verdict(case) for case in json.load(open(sys.argv[1]))]))
";
const NODE: &str = "
const { Webhook } = require('standardwebhooks');
const verdict = (case_) => {
    try {
        new Webhook(case_.secret).verify(Buffer.from(case_.body, 'base64'), Object.fromEntries(case_.headers));
        return 'ok';
    } catch (error) {
        return error.message;
    }
};
console.log(JSON.stringify(JSON.parse(require('fs').readFileSync(process.argv[1])).map(verdict)));
";

/// What the libraries of the Standard Webhooks project say about each case; they must agree.
async fn verdicts(cases: &[Case]) -> Result<Vec<String>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("cases.json");
    std::fs::write(&file, serde_json::to_vec(cases)?)?;
    let python = Tool::python("standardwebhooks", PYTHON)?
        .arg(&file)
        .run(SOON)
        .await?;
    let node = Tool::node("standardwebhooks", NODE)?.arg(&file).run(SOON).await?;
    let python: Vec<String> = serde_json::from_slice(&python.stdout)?;
    let node: Vec<String> = serde_json::from_slice(&node.stdout)?;
    assert_eq!(python, node, "{cases:?}");
    assert_eq!(python.len(), cases.len());
    Ok(python)
}

const NO_MATCH: &str = "No matching signature found";

/// Each call is signed by each of its secrets, by no other one, and says nothing else by the same signature.
async fn assert_signed(calls: &[(Request, Vec<String>)]) -> Result<()> {
    let mut cases = Vec::new();
    for (call, secrets) in calls {
        for secret in secrets {
            let case = Case::new(call, secret)?;
            cases.extend(case.forged()?.into_iter().map(|forged| (forged, NO_MATCH)));
            cases.push((case, "ok"));
        }
        let count = call
            .headers
            .get("webhook-signature")
            .map_or(0, |all| all.split(' ').count());
        assert_eq!(count, secrets.len(), "{call:?}");
        cases.push((Case::new(call, &secret(b'?'))?, NO_MATCH));
    }
    let (cases, wanted): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let said = verdicts(&cases).await?;
    for ((case, wanted), said) in cases.iter().zip(wanted).zip(said) {
        assert_eq!(said, wanted, "{case:?}");
    }
    Ok(())
}

#[tokio::test]
async fn calls_are_signed_as_the_libraries_of_the_standard_verify() -> Result<()> {
    let hooks = HookServer::start(|call| match call.headers.get("Tidegate-Attempt") {
        // Every attempt has a time and a body of its own.
        Some("1") if call.hook == "on_stream_changed" => Answer::Status(500),
        _ => Answer::ok(),
    })
    .await?;
    let (new, old, own, former) = (secret(b'n'), secret(b'o'), secret(b'e'), secret(b'f'));
    let keys: String = ["on_publish", "on_play", "on_stream_changed"]
        .iter()
        .map(|hook| format!("{hook} = \"{}\"\n", hooks.url(hook)))
        .collect();
    let server = tidegate()
        .toml(format!(
            "[general]\nflowThreshold = 0\nmaxStreamWaitMS = 100\n[hook]\nenable = true\nretry_delay = 0.1\nsigning_secret = \"{new},{old}\"\n{keys}\
             [[hook_endpoint]]\nname = \"both\"\nurl = \"{}\"\nsecret = [\"{own}\", \"{former}\"]\n\
             events = [\"stream.online\", \"session.ended\"]\n\
             [[hook_endpoint]]\nname = \"one\"\nurl = \"{}\"\nsecret = \"{own},{former}\"\n\
             old_secrets_until = 1700000000\nevents = [\"session.ended\"]\n\
             [[hook_endpoint]]\nname = \"none\"\nurl = \"{}\"\nevents = [\"stream.online\"]\n",
            hooks.url("both"),
            hooks.url("one"),
            hooks.url("none"),
        ))
        .start()
        .await?;
    // More than ASCII in the bodies: bytes are signed, not characters.
    let url = server.url_rtmp("live/cam?who=Zo\u{eb}-\u{95e8}");
    let publisher = publish(Fixture::H264Aac, &url).await?;
    online(&server, "live", "cam").await;
    let mut viewer = FlvViewer::open(&server, "live/cam?token=t").await?;
    viewer.picture().await?;
    publisher.terminate(SOON).await?;

    let of_type = |call: &Request, name: &str| call.body["type"] == name;
    let mut calls = Vec::new();
    let both = vec![new.clone(), old.clone()];
    for hook in ["on_publish", "on_play"] {
        calls.push((hooks.wait_for_call(hook, |_| true, SOON).await, both.clone()));
    }
    let first = hooks.wait_for_call("on_stream_changed", |_| true, SOON).await;
    let id = first.headers.get("webhook-id").map(str::to_owned);
    let again = |call: &Request| {
        call.headers.get("webhook-id") == id.as_deref() && call.headers.get("Tidegate-Attempt") == Some("2")
    };
    let second = hooks.wait_for_call("on_stream_changed", again, SOON).await;
    assert_ne!(first.raw, second.raw, "each attempt has a hook_index of its own");
    calls.extend([first, second].map(|call| (call, both.clone())));
    for event in ["stream.online", "session.ended"] {
        let call = hooks
            .wait_for_call("both", |call| of_type(call, event), SOON)
            .await;
        calls.push((call, vec![own.clone(), former.clone()]));
    }
    let ended = hooks.wait_for_call("one", |_| true, SOON).await;
    calls.push((ended, vec![own]));
    assert!(
        calls.iter().any(|(call, _)| !call.raw.is_ascii()),
        "the test should reach beyond ASCII"
    );
    let unsigned = hooks.wait_for_call("none", |_| true, SOON).await;
    assert_eq!(unsigned.headers.get("webhook-signature"), None);

    // The end of the rotation.
    let set = server
        .api("setServerConfig", &[("hook.signing_secret", &new)])
        .await;
    assert_eq!(set["changed"], 1, "{set}");
    FlvViewer::open(&server, "live/other?token=last").await?;
    let last = |call: &Request| call.body["params"] == "token=last";
    let last = hooks.wait_for_call("on_play", last, SOON).await;
    calls.push((last, vec![new]));
    assert_signed(&calls).await
}

#[tokio::test]
async fn secrets_for_signatures_are_told_to_nobody_but_holders_of_the_api_secret() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let (new, old, own) = (secret(b'n'), secret(b'o'), secret(b'e'));
    let keys: String = ["on_server_started", "on_play"]
        .iter()
        .map(|hook| format!("{hook} = \"{}\"\n", hooks.url(hook)))
        .collect();
    let config = format!(
        "[general]\nmaxStreamWaitMS = 100\n[hook]\nenable = true\nsigning_secret = \"{new},{old}\"\n{keys}\
         [[hook_endpoint]]\nname = \"own\"\nurl = \"{}\"\nsecret = \"{own}\"\n",
        hooks.url("own"),
    );
    let mut server = tidegate()
        .toml(&config)
        .env("TIDEGATE_LOG", "trace")
        .start()
        .await?;
    // Whatever tells a secret tells its bytes.
    let hidden: Vec<String> = [b'n', b'o', b'e', b'w', b'x', b'y']
        .iter()
        .map(|byte| secret(*byte)["whsec_".len()..].to_owned())
        .collect();
    let shows = |text: &str| hidden.iter().any(|secret| text.contains(&**secret));

    let started = hooks.wait_for_call("on_server_started", |_| true, SOON).await;
    assert!(!shows(&String::from_utf8_lossy(&started.raw)), "{started:?}");
    assert_eq!(started.body.get("hook.signing_secret"), None);
    assert_eq!(started.body["api.secret"], server.secret(), "as in ZLM");
    hooks
        .wait_for_call("own", |call| call.body["type"] == "server.started", SOON)
        .await;

    // The API: whoever may use it may change the secret, so may see it.
    let told = server.api("getServerConfig", &[]).await;
    assert_eq!(
        told["data"][0]["hook.signing_secret"],
        format!("{new},{old}"),
        "{told}"
    );
    for target in [
        "getServerConfig",
        "getServerConfig?secret=wrong",
        "listHookEndpoints",
    ] {
        let answer = server.get(&format!("/index/api/{target}")).await?;
        assert_eq!(answer.json()?["code"], -100, "{target}");
        assert!(!shows(&answer.text()), "{target}: {}", answer.text());
    }
    let listed = server.api("listHookEndpoints", &[]).await;
    assert_eq!(
        (&listed["data"][0]["secrets"], &listed["data"][1]["secrets"]),
        (&json!(2), &json!(1)),
        "{listed}"
    );
    assert!(!shows(&listed.to_string()), "{listed}");

    // Changes, good and bad, and what they are answered.
    let changed = secret(b'w');
    let set = server
        .api("setServerConfig", &[("hook.signing_secret", &changed)])
        .await;
    assert_eq!(set["changed"], 1, "{set}");
    // A list with one that is no secret at its end.
    let bad = format!("{},whsec_short", secret(b'x'));
    let set = server
        .api("setServerConfig", &[("hook.signing_secret", &bad)])
        .await;
    assert!(set["changed"] != 1 && !shows(&set.to_string()), "{set}");
    let added = server
        .api(
            "addHookEndpoint",
            &[
                ("name", "added"),
                ("url", &hooks.url("added")),
                ("signing_secret", &bad),
            ],
        )
        .await;
    assert_ne!(added["code"], 0, "{added}");
    assert!(!shows(&added.to_string()), "{added}");
    let bad_file = format!(
        "[hook]\nsigning_secret = \"{bad}\"\n[[hook_endpoint]]\nname = \"own\"\nsecret = \"{bad}\"\n"
    );
    std::fs::write(server.config_file(), bad_file)?;
    server.reload()?;
    server.wait_for_log("was not reloaded", SOON).await;
    // One that is not even TOML, in the line of the secret.
    std::fs::write(
        server.config_file(),
        format!("[hook]\nsigning_secret = {}\n", secret(b'y')),
    )?;
    server.reload()?;
    server.wait_for_log("not TOML", SOON).await;

    FlvViewer::open(&server, "live/missing").await?;
    hooks.wait_for_call("on_play", |_| true, SOON).await;
    let metrics = server.get("/metrics").await?.text();
    assert!(!shows(&metrics), "{metrics}");
    server.stop(SOON).await?;
    let log = server.log();
    assert!(
        log.iter().any(|line| line.contains("hook.signing_secret")),
        "a change is logged by its name"
    );
    let lines: Vec<_> = log.iter().filter(|line| shows(line)).collect();
    assert!(lines.is_empty(), "{lines:#?}");
    Ok(())
}

/// `tidegate hooks` for a running server.
struct Operator<'a>(&'a TestServer);

impl Operator<'_> {
    async fn try_run(&self, arguments: &[&str]) -> Result<Output> {
        Tool::new(env!("CARGO_BIN_EXE_tidegate"))
            .arg("hooks")
            .args(arguments)
            .args(["--url", &self.0.url_http("")])
            // Not on the command line, where other users of the machine see it.
            .env("TIDEGATE_API__SECRET", self.0.secret())
            .spawn()?
            .wait(SOON)
            .await
    }

    /// What it prints.
    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.try_run(arguments).await?;
        ensure!(output.status.success(), "{output:?}\n{}", output.stdout_text());
        Ok(output.stdout_text())
    }

    /// What it prints with `--json`.
    async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(&[arguments, &["--json"]].concat()).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Its words when it fails.
    async fn refused(&self, arguments: &[&str]) -> Result<String> {
        let output = self.try_run(arguments).await?;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        Ok(output.stderr.join("\n"))
    }

    /// The line of a table that has all of these in it.
    async fn line(&self, arguments: &[&str], has: &[&str]) -> Result<String> {
        let text = self.run(arguments).await?;
        let mut lines = text.lines();
        let line = lines.find(|line| has.iter().all(|part| line.contains(part)));
        Ok(line.with_context(|| format!("{has:?}: {text}"))?.to_owned())
    }
}

fn printed_secret(text: &str) -> Result<String> {
    let secret = text.trim_end().rsplit(' ').next().unwrap_or_default();
    ensure!(secret.starts_with("whsec_"), "{text}");
    Ok(secret.to_owned())
}

async fn serve_durable(hooks: &HookServer, names: &[&str], folder: &Path) -> Result<TestServer> {
    serve(&format!(
        "{}retry=0\nstream_changed_schemas=rtmp\nstore_dir={}\n",
        hooks.ini(names),
        folder.display()
    ))
    .await
}

/// An answer is what the served OpenAPI document says. For what schemathesis does not call, because it would connect to made-up hosts.
async fn as_described(server: &TestServer, endpoint: &str, answer: &Value) -> Result<()> {
    let mut document: Value = server.get("/index/api/openapi.json").await?.json()?;
    let place =
        format!("/paths/~1index~1api~1{endpoint}/post/responses/200/content/application~1json/schema");
    ensure!(document.pointer(&place).is_some(), "{place} in {document}");
    document["$ref"] = format!("#{place}").into();
    let validator = jsonschema::validator_for(&document)?;
    let errors: Vec<_> = validator
        .iter_errors(answer)
        .map(|error| error.to_string())
        .collect();
    ensure!(errors.is_empty(), "{errors:#?}");
    // And it is not so because anything would do.
    ensure!(!validator.is_valid(&json!({"code": 0, "data": {"request": 1}})));
    Ok(())
}

/// What a try shows is what the receiver got, but for secrets.
async fn shows_the_request(operator: &Operator<'_>, hooks: &HookServer) -> Result<()> {
    let url = hooks.url("shown").replace("http://", "http://user:hidden@") + "?token=hidden";
    let add = ["add", "shown", &url, "headers=X-Token: hidden"];
    operator.run(&add).await?;
    let text = operator.run(&["test", "shown", "stream.online"]).await?;
    let call = hooks.wait_for_count("shown", 1, SOON).await.remove(0);
    let line = format!("POST {}?*** HTTP/1.1\n", hooks.url("shown"));
    assert!(text.starts_with(&line), "{text}");
    let signature = call.headers.get("webhook-signature").context("a signature")?;
    for part in [
        &format!("\nWebhook-Signature: {signature}\n"),
        &format!("\n\n{}\n\n200\n", String::from_utf8(call.raw.clone())?),
        "\nAuthorization: ***\n",
        "\nX-Token: ***\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let json = operator.json(&["test", "shown", "stream.offline"]).await?;
    let call = hooks.wait_for_count("shown", 2, SOON).await.remove(1);
    let request = &json["data"]["request"];
    for header in request["headers"].as_array().context("headers")? {
        let name = header["name"].as_str().context("a name")?;
        let sent = call.headers.get(name).context("a header that was not sent")?;
        let hidden = ["Authorization", "X-Token"].contains(&name);
        assert_eq!(header["value"], if hidden { "***" } else { sent }, "{name}");
    }
    assert_eq!(request["body"].as_str().context("a body")?.as_bytes(), call.raw);
    for shown in [&text, &json.to_string()] {
        assert!(!shown.contains("hidden"), "{shown}");
    }
    as_described(operator.0, "testHookEndpoint", &json).await?;
    let log = operator.json(&["log", "shown"]).await?;
    assert_eq!(log["data"].as_array().map(Vec::len), Some(2));
    as_described(operator.0, "getHookDeliveries", &log).await?;
    operator.run(&["remove", "shown"]).await?;
    Ok(())
}

#[tokio::test]
async fn an_operator_adds_an_endpoint_tries_it_and_takes_it_away() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let folder = tempfile::tempdir()?;
    let server = serve_durable(&hooks, &["on_play"], folder.path()).await?;
    let operator = Operator(&server);
    let text = operator
        .run(&[
            "add",
            "billing",
            &hooks.url("billing"),
            "durable=1",
            "events=stream.*",
        ])
        .await?;
    let first = printed_secret(&text)?;
    operator
        .line(
            &["list"],
            &["billing", "api", "on, durable", &hooks.url("billing")],
        )
        .await?;
    operator.line(&["list"], &["zlm", "keys", "on_play"]).await?;

    operator
        .line(
            &["test", "billing", "stream.online"],
            &["stream.online", "ok", "200"],
        )
        .await?;
    let tested = hooks.wait_for_count("billing", 1, SOON).await.remove(0);
    assert_eq!(tested.body["data"]["stream"], "example");
    shows_the_request(&operator, &hooks).await?;
    operator
        .line(&["test", "zlm", "on_play"], &["on_play", "ok", "200"])
        .await?;
    let second = printed_secret(&operator.run(&["rotate", "billing"]).await?)?;
    operator.run(&["test", "billing", "stream.offline"]).await?;
    let rotated = hooks.wait_for_count("billing", 2, SOON).await.remove(1);
    assert_signed(&[
        (tested, vec![first.clone()]),
        (rotated.clone(), vec![second.clone(), first.clone()]),
    ])
    .await?;
    let tried = rotated.headers.get("webhook-id").unwrap_or_default();
    operator
        .line(&["log", "billing", "--event", "stream.offline"], &[tried, "ok"])
        .await?;

    // A receiver that is gone is switched off, keeps its events, and gets them when it is on again.
    hooks.set_script(|_| Answer::Status(410));
    let publisher = publish_live(&server, "live/cam").await?;
    server
        .poll("the endpoint is switched off", SOON, async |server| {
            let listed = server.api("listHookEndpoints", &[]).await;
            (listed["data"][1]["disabled"] != "").then_some(())
        })
        .await;
    operator
        .line(&["list"], &["billing", "switched off", "410"])
        .await?;
    operator
        .line(
            &["log", "billing", "--result", "failed"],
            &["stream.online", "410"],
        )
        .await?;
    hooks.set_script(|_| Answer::ok());
    operator.run(&["enable", "billing"]).await?;
    let calls = hooks.wait_for_count("billing", 4, SOON).await;
    let id = |call: &Request| call.headers.get("webhook-id").map(str::to_owned);
    assert_eq!(calls[3].body["data"]["stream"], "cam");
    assert_eq!(id(&calls[3]), id(&calls[2]), "the event that it refused");
    publisher.terminate(SOON).await?;

    operator.run(&["set", "billing", "enabled=0"]).await?;
    operator.line(&["list"], &["billing", " off "]).await?;
    let off = operator.refused(&["test", "billing", "stream.online"]).await?;
    assert!(off.contains("switched off"), "{off}");
    operator
        .run(&[
            "set",
            "billing",
            "enabled=1",
            &format!("url={}", hooks.url("moved")),
        ])
        .await?;
    operator.run(&["test", "billing", "stream.online"]).await?;
    hooks.wait_for_count("moved", 1, SOON).await;

    hooks.set_script(|_| Answer::Status(503));
    let failed = operator.try_run(&["test", "billing", "stream.online"]).await?;
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(
        failed.stdout_text().contains("status 503"),
        "{}",
        failed.stdout_text()
    );

    for (arguments, says) in [
        (&["set", "billing", "url=ftp://h"] as &[_], "url"),
        (&["set", "billing", "durabel=1"], "there is no field durabel"),
        (&["set", "zlm", "enabled=0"], "configuration"),
        (&["add", "billing", "http://127.0.0.1/"], "already"),
        (&["add", "Billing", "http://127.0.0.1/"], "a-z"),
        (&["test", "billing", "stream.onlin"], "stream.onlin"),
        (&["enable", "biling"], "there are: zlm, billing"),
    ] {
        let text = operator.refused(arguments).await?;
        assert!(text.contains(says), "{arguments:?}: {text}");
    }
    operator.run(&["remove", "billing"]).await?;
    assert!(!operator.run(&["list"]).await?.contains("billing"));
    let gone = operator.refused(&["log", "billing"]).await?;
    assert!(gone.contains("billing"), "{gone}");

    let wrong = operator.refused(&["list", "--secret", "wrong"]).await?;
    assert!(!wrong.is_empty() && !wrong.contains(server.secret()), "{wrong}");
    let whole = Tool::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["hooks", "secret"])
        .run(SOON)
        .await?;
    let made = BASE64_STANDARD.decode(printed_secret(&whole.stdout_text())?.trim_start_matches("whsec_"))?;
    assert_eq!(made.len(), 32);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_changed() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let folder = tempfile::tempdir()?;
    let server = serve_durable(&hooks, &[], folder.path()).await?;
    let operator = Operator(&server);
    let first = printed_secret(&operator.run(&["add", "kept", &hooks.url("kept")]).await?)?;
    // In the way of the new file, for root too.
    let obstacle = folder.path().join("endpoints.new");
    std::fs::create_dir(&obstacle)?;
    for arguments in [
        &["add", "more", &hooks.url("more")] as &[_],
        &["rotate", "kept"],
        &["set", "kept", "enabled=0"],
        &["remove", "kept"],
    ] {
        let text = operator.refused(arguments).await?;
        assert!(text.contains("endpoints.toml"), "{arguments:?}: {text}");
    }
    // Whatever is in memory comes into force with the next change.
    std::fs::remove_dir(&obstacle)?;
    let set = server.api("setServerConfig", &[("hook.timeoutSec", "7")]).await;
    assert_eq!(set["changed"], 1, "{set}");
    assert!(!operator.run(&["list"]).await?.contains("more"));
    operator.run(&["test", "kept", "stream.online"]).await?;
    let call = hooks.wait_for_count("kept", 1, SOON).await.remove(0);
    assert_signed(&[(call, vec![first])]).await
}

#[tokio::test]
async fn an_operator_sends_dead_letters_again() -> Result<()> {
    let hooks = HookServer::start(|_| Answer::Status(500)).await?;
    let folder = tempfile::tempdir()?;
    let server = serve_durable(&hooks, &["on_stream_changed"], folder.path()).await?;
    let operator = Operator(&server);
    let publisher = publish_live(&server, "live/cam").await?;
    publisher.terminate(SOON).await?;
    let dead = server
        .poll("two dead letters", SOON, async |server| {
            let dead = server.api("listDeadLetters", &[]).await;
            dead["data"].as_array().filter(|dead| dead.len() == 2).cloned()
        })
        .await;
    let calls = hooks.received("on_stream_changed");
    assert_eq!(calls.len(), 2, "one attempt each");
    let id = |call: &Request| call.headers.get("webhook-id").unwrap_or_default().to_owned();
    let (began, ended) = (id(&calls[0]), id(&calls[1]));
    assert_eq!((&dead[0]["id"], &dead[1]["id"]), (&json!(began), &json!(ended)));
    operator
        .line(&["dead"], &["on_stream_changed", "live/cam", "status", &began])
        .await?;
    operator.line(&["dead"], &[&ended]).await?;
    assert_eq!(
        operator
            .run(&["dead", "zlm", "--event", "on_play"])
            .await?
            .lines()
            .count(),
        1
    );

    // A receiver that still fails gets them back among the dead.
    assert_eq!(
        operator.run(&["replay", "--id", &began]).await?,
        "1 will be sent again\n"
    );
    hooks.wait_for_count("on_stream_changed", 3, SOON).await;
    server
        .poll("two dead letters again", SOON, async |server| {
            let dead = server.api("listDeadLetters", &[]).await;
            dead["data"].as_array().filter(|dead| dead.len() == 2).map(drop)
        })
        .await;

    hooks.set_script(|_| Answer::ok());
    assert_eq!(
        operator.json(&["replay", "--id", &began]).await?["count_replayed"],
        1
    );
    let calls = hooks.wait_for_count("on_stream_changed", 4, SOON).await;
    for replayed in &calls[2..] {
        assert_eq!(replayed.headers.get("tidegate-replay"), Some("1"));
        assert_eq!(id(replayed), began);
        let content = |call: &Request| {
            let mut body = call.body.clone();
            body["hook_index"].take();
            body
        };
        assert_eq!(content(replayed), content(&calls[0]));
    }
    assert_eq!(calls[0].headers.get("tidegate-replay"), None);
    // The receiver knows of the call before its answer is noted here.
    server
        .poll("the delivery is noted", SOON, async |server| {
            let noted = server.api("getHookDeliveries", &[("result", "ok")]).await;
            (noted["data"] != json!([])).then_some(())
        })
        .await;
    operator
        .line(&["log", "--result", "ok"], &[&began, "200"])
        .await?;
    let left = operator.run(&["dead"]).await?;
    assert!(!left.contains(&began) && left.contains(&ended), "{left}");
    assert_eq!(operator.run(&["purge"]).await?, "1 deleted\n");
    assert_eq!(operator.run(&["dead"]).await?.lines().count(), 1);
    assert_eq!(operator.run(&["replay"]).await?, "0 will be sent again\n");
    assert_eq!(hooks.received("on_stream_changed").len(), 4);
    Ok(())
}
