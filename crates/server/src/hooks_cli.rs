//! `tidegate hooks`: what operators do with receivers of hooks, over the API of a running server.

use crate::cli::{HooksArgs, HooksCommand, Letters};
use crate::store;
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

/// Longest time for an answer: a test waits for its receiver.
const PATIENCE: Duration = Duration::from_secs(60);

/// Largest answer that is read: a thousand dead letters.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// Does what the command line asks for.
///
/// # Errors
///
/// The server cannot be reached, or refused; the text says what to do.
pub async fn run(args: &HooksArgs) -> anyhow::Result<()> {
    if let HooksCommand::Secret = args.command {
        println!("{}", hooks::sign::new_secret().expose());
        return Ok(());
    }
    let api = Api::of(args)?;
    let (endpoint, parameters) = call(&args.command)?;
    let answer = api.call(endpoint, &parameters).await?;
    if args.json {
        println!("{answer:#}");
    } else {
        print!("{}", shown(&args.command, &answer));
    }
    let failed = matches!(args.command, HooksCommand::Test { .. }) && answer["data"]["result"] != "ok";
    ensure!(!failed, "the endpoint did not take it");
    Ok(())
}

type Parameters = Vec<(&'static str, String)>;

/// The endpoint of the API and its parameters.
fn call(command: &HooksCommand) -> anyhow::Result<(&'static str, Parameters)> {
    let named = |name: &String| vec![("name", name.clone())];
    Ok(match command {
        HooksCommand::List => ("listHookEndpoints", Vec::new()),
        HooksCommand::Add { name, url, set } => {
            let mut parameters = fields(set)?;
            parameters.extend([("name", name.clone()), ("url", url.clone())]);
            ("addHookEndpoint", parameters)
        }
        HooksCommand::Set { name, set } => {
            let mut parameters = fields(set)?;
            parameters.push(("name", name.clone()));
            ("setHookEndpoint", parameters)
        }
        HooksCommand::Remove { name } => ("delHookEndpoint", named(name)),
        HooksCommand::Rotate { name } => ("rotateHookSecret", named(name)),
        HooksCommand::Enable { name } => ("enableHookEndpoint", named(name)),
        HooksCommand::Test { name, event } => {
            let mut parameters = named(name);
            parameters.push(("event", event.clone()));
            ("testHookEndpoint", parameters)
        }
        HooksCommand::Log {
            name,
            event,
            result,
            count,
        } => {
            let mut parameters = named(name);
            parameters.push(("count", count.to_string()));
            parameters.extend(event.clone().map(|event| ("event", event)));
            parameters.extend(result.clone().map(|result| ("result", result)));
            ("getHookDeliveries", parameters)
        }
        HooksCommand::Dead { letters, count } => {
            let mut parameters = filters(letters);
            parameters.push(("count", count.to_string()));
            ("listDeadLetters", parameters)
        }
        HooksCommand::Replay { letters, ids } => {
            let mut parameters = filters(letters);
            parameters.push(("ids", ids.join(",")));
            ("replayDeadLetters", parameters)
        }
        HooksCommand::Purge { letters } => ("purgeDeadLetters", filters(letters)),
        HooksCommand::Secret => bail!("needs no server"),
    })
}

/// The fields of an endpoint by the names that the API has for them.
fn fields(set: &[String]) -> anyhow::Result<Parameters> {
    let pair = |text: &String| {
        let (name, value) = text
            .split_once('=')
            .with_context(|| format!("{text}: must be FIELD=VALUE"))?;
        let known = api::HOOK_ENDPOINT_FIELDS.map(|(parameter, _)| parameter);
        let found = known.into_iter().find(|known| *known == name);
        let found =
            found.with_context(|| format!("there is no field {name}; there are: {}", known.join(", ")))?;
        Ok((found, value.to_owned()))
    };
    set.iter().map(pair).collect()
}

fn filters(letters: &Letters) -> Parameters {
    let mut parameters = vec![("name", letters.name.clone())];
    parameters.extend(letters.event.clone().map(|event| ("event", event)));
    let times = [("from_unix_ms", letters.from), ("until_unix_ms", letters.until)];
    parameters.extend(
        times
            .into_iter()
            .filter_map(|(name, time)| Some((name, time?.to_string()))),
    );
    parameters
}

/// The API of a server.
struct Api {
    host: String,
    port: u16,
    secret: String,
}

impl Api {
    fn of(args: &HooksArgs) -> anyhow::Result<Self> {
        let mut secret = args.secret.clone();
        let mut port = 8080;
        if let Some(file) = &args.config {
            ensure!(file.exists(), "{} does not exist", file.display());
            let loaded = store::load(Some(file), &[]).map_err(|errors| anyhow::anyhow!("{errors}"))?;
            port = loaded.config.http.port;
            secret = secret.or_else(|| Some(loaded.config.api.secret.expose().to_owned()));
        }
        let secret = secret.context(
            "the server's API secret is needed: --secret, the variable TIDEGATE_API__SECRET, or -c with its configuration",
        )?;
        let Some(url) = &args.url else {
            let host = "127.0.0.1".to_owned();
            return Ok(Self { host, port, secret });
        };
        let parsed = Url::parse(url).with_context(|| format!("--url {url}"))?;
        ensure!(
            parsed.scheme() == "http",
            "--url {url}: must begin with http://; for a server elsewhere use a tunnel, since the secret goes along"
        );
        let host = parsed.host_str().context("--url: the host is missing")?;
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: parsed.port().unwrap_or(80),
            secret,
        })
    }

    /// The answer, if its `code` is 0.
    async fn call(&self, endpoint: &str, parameters: &Parameters) -> anyhow::Result<Value> {
        let reached = format!("the server at {}:{}", self.host, self.port);
        let answer = timeout(PATIENCE, self.exchange(endpoint, parameters)).await;
        let answer = answer
            .with_context(|| format!("{reached} did not answer within {PATIENCE:?}"))?
            .with_context(|| {
                format!("{reached} cannot be asked; is it running, and is this its HTTP port?")
            })?;
        let answer: Value = serde_json::from_slice(&answer)
            .with_context(|| format!("{reached} does not answer as a Tidegate server does"))?;
        if answer["code"] != 0 {
            bail!("{}", answer["msg"].as_str().unwrap_or("refused without a reason"));
        }
        Ok(answer)
    }

    async fn exchange(&self, endpoint: &str, parameters: &Parameters) -> anyhow::Result<Bytes> {
        let tcp = TcpStream::connect((&*self.host, self.port)).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
        let mut body = format!("secret={}", encoded(&self.secret));
        for (name, value) in parameters {
            write!(body, "&{name}={}", encoded(value))?;
        }
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/index/api/{endpoint}"))
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(body)))?;
        let answered = async {
            let response = sender.send_request(request).await?;
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("{error}"))?;
            anyhow::Ok(body.to_bytes())
        };
        tokio::pin!(answered);
        tokio::select! {
            answer = &mut answered => answer,
            ended = connection => {
                ended?;
                answered.await
            }
        }
    }
}

fn encoded(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

/// An answer for people.
fn shown(command: &HooksCommand, answer: &Value) -> String {
    let data = &answer["data"];
    let rows = || data.as_array().into_iter().flatten();
    match command {
        HooksCommand::List => table(
            &[
                "NAME",
                "FROM",
                "STATE",
                "WAITING",
                "OLDEST",
                "LAST SUCCESS",
                "URL OR HOOKS",
                "LAST FAILURE",
            ],
            rows().map(|row| {
                vec![
                    text(&row["name"]),
                    text(&row["origin"]),
                    state(row),
                    text(&row["waiting"]),
                    seconds(&row["oldest_ms"]),
                    time(&row["last_success_unix_ms"]),
                    match row["hooks"].as_array() {
                        Some(hooks) => hooks.iter().map(text).collect::<Vec<_>>().join(","),
                        None => text(&row["url"]),
                    },
                    text(&row["last_failure"]),
                ]
            }),
        ),
        HooksCommand::Log { .. } => table(&ATTEMPT, rows().map(attempt)),
        HooksCommand::Test { .. } => exchange(data) + &table(&ATTEMPT, std::iter::once(attempt(data))),
        HooksCommand::Dead { .. } => table(
            &[
                "GIVEN UP",
                "EVENT",
                "STREAM",
                "ATTEMPTS",
                "LAST FAILURE",
                "ID",
                "DETAIL",
            ],
            rows().map(|row| {
                vec![
                    time(&row["failed_unix_ms"]),
                    text(&row["event"]),
                    text(&row["stream"]),
                    text(&row["attempts"]),
                    text(&row["class"]),
                    text(&row["id"]),
                    text(&row["detail"]),
                ]
            }),
        ),
        HooksCommand::Replay { .. } => format!("{} will be sent again\n", answer["count_replayed"]),
        HooksCommand::Purge { .. } => format!("{} deleted\n", answer["count_purged"]),
        HooksCommand::Add { .. } | HooksCommand::Rotate { .. } => match data["signing_secret"].as_str() {
            Some(secret) => format!("secret, shown this once: {secret}\n"),
            None => "added\n".to_owned(),
        },
        HooksCommand::Set { .. }
        | HooksCommand::Remove { .. }
        | HooksCommand::Enable { .. }
        | HooksCommand::Secret => "done\n".to_owned(),
    }
}

fn state(row: &Value) -> String {
    let disabled = text(&row["disabled"]);
    if row["enabled"] != true {
        "off".to_owned()
    } else if !disabled.is_empty() {
        format!("switched off: {disabled}")
    } else {
        match row["breaker"].as_str() {
            Some("open") => "failing".to_owned(),
            Some("half_open") => "being tried".to_owned(),
            Some(_) | None if row["durable"] == true => "on, durable".to_owned(),
            Some(_) | None => "on".to_owned(),
        }
    }
}

/// What was sent and what came back.
fn exchange(tested: &Value) -> String {
    let (request, answer) = (&tested["request"], text(&tested["answer"]));
    let mut out = String::new();
    if request.is_object() {
        let words = ["method", "url", "version"].map(|member| text(&request[member]));
        out += words.join(" ").trim_end();
        for header in request["headers"].as_array().into_iter().flatten() {
            out += &format!("\n{}: {}", text(&header["name"]), text(&header["value"]));
        }
        out += &format!("\n\n{}\n\n", text(&request["body"]));
    }
    if tested["status"] != 0 {
        out += &format!("{}\n{answer}\n\n", text(&tested["status"]));
    }
    out
}

/// The columns of [`attempt`].
const ATTEMPT: [&str; 9] = [
    "TIME", "EVENT", "STREAM", "ATTEMPT", "RESULT", "STATUS", "MS", "ID", "DETAIL",
];

fn attempt(row: &Value) -> Vec<String> {
    vec![
        time(&row["started_unix_ms"]),
        text(&row["event"]),
        text(&row["stream"]),
        text(&row["attempt"]),
        text(&row["result"]),
        text(&row["status"]),
        text(&row["took_ms"]),
        text(&row["id"]),
        text(&row["detail"]),
    ]
}

/// Control characters of a receiver's answer must not reach the terminal.
fn text(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    text.chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

fn seconds(value: &Value) -> String {
    match value.as_u64() {
        Some(0) | None => "-".to_owned(),
        Some(ms) => format!("{:.1} s", ms as f64 / 1000.0),
    }
}

fn time(value: &Value) -> String {
    let ms = value.as_u64().filter(|ms| *ms > 0);
    let stamp = ms.and_then(|ms| jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok());
    stamp.map_or_else(
        || "-".to_owned(),
        |stamp| stamp.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

/// Columns as wide as their widest entry; the last one as it comes.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let columns = rows[0].len();
    let width = |column: usize| {
        let widths = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_is_a_table_and_shows_no_control_characters() {
        let answer = json!({"data": [
            {"name": "zlm", "origin": "keys", "enabled": true, "disabled": "", "durable": false, "breaker": "closed",
             "waiting": 0, "oldest_ms": 0, "last_success_unix_ms": 1_796_000_000_000_u64, "hooks": ["on_play"],
             "last_failure": ""},
            {"name": "billing", "origin": "api", "enabled": true, "disabled": "", "durable": true, "breaker": "open",
             "waiting": 12, "oldest_ms": 61_500, "last_success_unix_ms": 0, "url": "https://h/x",
             "last_failure": "status: \u{1b}[31mred"},
        ]});
        let text = shown(&HooksCommand::List, &answer);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines[1].contains("2026-11-30") && lines[1].ends_with("on_play"),
            "{text}"
        );
        assert!(
            lines[2].contains("failing") && lines[2].contains("61.5 s"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn a_try_shows_what_was_sent_and_what_came_back() {
        let command = HooksCommand::Test {
            name: "a".to_owned(),
            event: "stream.online".to_owned(),
        };
        let mut answer = json!({"data": {
            "event": "stream.online", "status": 503, "result": "status", "answer": "not\u{1b}[31m now",
            "request": {"method": "POST", "url": "http://h/p?***", "version": "HTTP/1.1",
                "headers": [{"name": "Host", "value": "h"}, {"name": "X-Token", "value": "***"}], "body": "{}"},
        }});
        let text = shown(&command, &answer);
        let start = "POST http://h/p?*** HTTP/1.1\nHost: h\nX-Token: ***\n\n{}\n\n503\nnot [31m now\n\nTIME";
        assert!(text.starts_with(start), "{text}");
        // Nobody was asked.
        answer["data"] = json!({"event": "stream.online", "status": 0, "result": "bad_url"});
        assert!(shown(&command, &answer).starts_with("TIME"));
    }

    #[test]
    fn fields_have_the_names_of_the_api() {
        let set = |text: &str| fields(&[text.to_owned()]);
        assert_eq!(set("durable=1").unwrap(), [("durable", "1".to_owned())]);
        assert!(set("durabel=1").unwrap_err().to_string().contains("durable"));
        assert!(set("durable").is_err());
    }
}
