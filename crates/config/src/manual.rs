//! The sample files and the manual, written from the key table. A test compares them with the files in the repository.

use crate::config::{Config, MADE_UP};
use crate::key::Key;
use crate::keys;
use std::fmt::Write;

/// A complete `config.ini` with the values of `config` and an explanation of each key. Lines end in LF.
pub fn ini(config: &Config) -> String {
    let mut out = String::new();
    comment(&mut out, "#", INTRO);
    comment(
        &mut out,
        "#",
        "Switches are 0 or 1. A line that begins with # or ; is a comment.",
    );
    sections(&mut out, |out, key| {
        let text = short(config.text(key.name).unwrap_or(key.default));
        // An empty secret or server id would be replaced at start; the line shows how to set one.
        let mark = if text.is_empty() && MADE_UP.contains(&key.name) {
            "#"
        } else {
            ""
        };
        line(out, format_args!("{mark}{}={text}", key.short_name()));
    });
    out
}

/// The same in TOML, with an example of `[[source]]` rules.
pub fn toml(config: &Config) -> String {
    let mut out = String::new();
    comment(&mut out, "#", INTRO);
    sections(&mut out, |out, key| {
        let text = config.text(key.name).unwrap_or(key.default);
        let mark = if text.is_empty() && MADE_UP.contains(&key.name) {
            "#"
        } else {
            ""
        };
        line(
            out,
            format_args!(
                "{mark}{} = {}",
                key.short_name(),
                crate::toml::value(key.name, text)
            ),
        );
    });
    out.push('\n');
    comment(
        &mut out,
        "#",
        "Where streams come from, without any hook service; see \"Source rules\" in docs/configuration.md.",
    );
    out.push_str(&commented_out(EXAMPLE));
    out
}

/// The manual, in Markdown.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    out.push_str(EXAMPLE);
    out.push_str(RULES);
    out.push_str(ENDPOINTS);
    out.push_str(KEYS);
    let mut section = "";
    for key in keys::all() {
        if key.section() != section {
            section = key.section();
            line(&mut out, format_args!("\n### {section}\n"));
            line(
                &mut out,
                format_args!("| Key | Type | Built-in | Takes effect | Meaning |"),
            );
            line(&mut out, format_args!("|---|---|---|---|---|"));
        }
        let mark = if key.own { " \\*" } else { "" };
        let default = if key.default.is_empty() {
            String::new()
        } else {
            format!("`{}`", cell(short(key.default)))
        };
        let effect = if key.effective {
            ""
        } else {
            "*No effect in this version.* "
        };
        let (name, kind, reload) = (key.short_name(), key.kind_name(), key.reload.describe());
        let bounds = bounds(key);
        line(
            &mut out,
            format_args!(
                "| `{name}`{mark} | {kind} | {default} | {reload} | {effect}{}{bounds} |",
                cell(key.doc)
            ),
        );
    }
    out
}

/// The bounds of a number and the words of a choice. For other kinds the type says it all.
fn bounds(key: &Key) -> String {
    let allowed = key.allowed();
    match allowed.split_once(" from ") {
        Some((_, range)) if key.kind_name() != "port" => format!(" From {range}."),
        Some(_) | None if allowed.starts_with("one of") => {
            format!(" One of `{}`.", allowed[7..].replace(", ", "`, `"))
        }
        Some(_) | None => String::new(),
    }
}

/// Longest line of a comment.
const WIDTH: usize = 110;

fn sections(out: &mut String, mut value: impl FnMut(&mut String, &Key)) {
    let mut section = "";
    for key in keys::all() {
        if key.section() != section {
            section = key.section();
            line(out, format_args!("\n[{section}]"));
        }
        let own = if key.own { "(Tidegate) " } else { "" };
        let effect = if key.effective {
            ""
        } else {
            "(no effect in this version) "
        };
        out.push('\n');
        comment(out, "#", &format!("{own}{effect}{}", key.doc.replace('`', "")));
        value(out, key);
    }
}

/// Lines that can be put into force by removing their `#`. Comments stay as they are.
fn commented_out(text: &str) -> String {
    text.lines()
        .map(|line| format!("{}{line}\n", if line.starts_with('#') { "" } else { "#" }))
        .collect()
}

/// Breaks text into lines of comment.
fn comment(out: &mut String, mark: &str, text: &str) {
    let mut width = 0;
    for word in text.split(' ') {
        if width + word.len() > WIDTH {
            out.push('\n');
            width = 0;
        }
        let before = if width == 0 { mark } else { "" };
        write!(out, "{before} {word}").expect("a String takes everything");
        width += before.len() + 1 + word.len();
    }
    out.push('\n');
}

/// `3.000000`, the form that ZLM gives to its defaults, as people write it.
fn short(text: &str) -> &str {
    match text.split_once('.') {
        Some((whole, "000000")) => &text[..whole.len() + 2],
        Some(_) | None => text,
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a String takes everything");
}

const KEYS: &str = "
## Keys

Keys marked \\* are Tidegate's own; ZLMediaKit keeps them as unknown ones.
";

const INTRO: &str = "Sample configuration of Tidegate: every key with its built-in value. A file needs to hold only what differs. The manual is docs/configuration.md.";

const HEAD: &str = "\
# Configuration

<!-- Made from the key table in crates/config/src/keys: UPDATE_GENERATED=1 cargo nextest run -p tidegate-config generated -->

Tidegate runs without a configuration. What you want to change comes from up to three places; a later one wins:

1. **A file**, `tidegate -c FILE`. ZLMediaKit's `config.ini` works as it is. A file whose name ends in `.toml` is read as
   TOML, with the same sections and keys. A file that does not exist is created with all built-in values.
2. **Environment variables** `TIDEGATE_SECTION__KEY`, in any case: `TIDEGATE_HTTP__PORT=8000` sets `http.port`. Note the
   two underscores.
3. **The command line.**

`tidegate check -c FILE` reads everything as the server would, tells where each value came from, and what is wrong.

**Wrong values are refused** with file, line, key and what is allowed, all of them at once. **Unknown keys** are kept and
reported by `getServerConfig`, as ZLMediaKit does, and warned about with the nearest known name.

**Changing it while the server runs.** Edit the file, send SIGHUP, or call `setServerConfig`. The column \"Takes effect\"
says from when on a change counts. `setServerConfig` writes the file: order, comments and unknown keys stay. An INI file
then holds every key, as with ZLMediaKit; in a TOML file only the changed values are touched. Values of the environment and
of the command line are never written. A value that is not allowed is refused, and the old one stays.

**INI** (ZLMediaKit's dialect): `[section]`, `key=value`, comments begin with `#` or `;`. Blanks around names and values do
not count. A value goes to the end of its line and may hold `=`, `;` and `#`. Names are case-sensitive. A key that stands
twice has its last value. Switches are 0 and 1 (`true` and `false` are understood too).

**TOML**: switches may be `true` and `false`, lists may be arrays. It can also hold source rules and hook endpoints, which INI cannot.

**The API secret.** If `api.secret` is missing, empty or the one that ZLMediaKit publishes in its sample file, Tidegate
makes a random one at start, writes it to the file and prints it once.

## Source rules

In a TOML file, `[[source]]` rules say where absent streams come from, without any hook service. (INI cannot say this.)

```toml
";

const EXAMPLE: &str = r#"# Cameras by number: live/cam7 is pulled from the camera when somebody watches it.
[[source]]
pattern = 'live/cam(?<n>[0-9]{1,3})'
url = "ffmpeg://rtsp://cam${n}.lan/stream1"
username = "viewer"
password = "change me"
close_after = "20s"

# Everything under origin/ comes from another server.
[[source]]
pattern = 'origin/(.+)'
url = "rtmp://origin.example.com/live/$1"

# One stream that is always there.
[[source]]
pattern = 'tv/news'
url = "https://origin.example.com/live/news.flv"
on_demand = false
"#;

const RULES: &str = r#"```

The first rule whose pattern matches counts. A rule comes before `on_stream_not_found`.

| Field | Type | If absent | Meaning |
|---|---|---|---|
| `pattern` | text | needed | Regular expression that must match the whole `app/stream`. Write it in single quotes, so that TOML leaves backslashes alone. A dot that means a dot is `\.` |
| `url` | text | needed | `rtsp(s)://`, `rtmp(s)://`, or `http(s)://` ending in `.m3u8` (HLS), `.ts` (MPEG-TS) or `.flv`: pulled by the server. `ffmpeg://` before any other URL or an absolute path: read by an FFmpeg process |
| `on_demand` | bool | `true` | Opened by the first viewer, closed when nobody watches. `false`: opened at start and kept; the pattern must then be one name without wildcards |
| `close_after` | seconds, or text such as `"20s"`, `"500ms"`, `"2m"` | `general.streamNoneReaderDelayMS` | Closed when nobody has watched for this long |
| `transport` | text | `"any"` | Transport of an RTSP source: `any`, `tcp`, `udp`, `multicast` |
| `username`, `password` | text | none | Put into the URL, percent-encoded. They never appear in logs |
| `timeout_sec` | seconds | as in addStreamProxy | Limit for opening the source |
| `retry_count` | int | -1 | Failures in a row before the source is given up; -1 is never |
| `ffmpeg_cmd_key` | text | `ffmpeg.cmd` | Key of the command line for `ffmpeg://`, for example `ffmpeg.cmd_h265` |

**Captures.** `$1` or `${1}` in the URL is the first group of the pattern, `${name}` is the group `(?<name>...)`, `$0` the
whole name, `$$` a dollar sign. What they hold was typed by a viewer, so it cannot change the meaning of the URL: in path
and query everything but letters, digits and `-._~` is percent-encoded, and names with `..` or control characters match no
rule. In the host a capture may hold letters, digits and `-` only and must stand beside text of the rule. In user, password
and port there can be none.
"#;

const ENDPOINTS: &str = r#"
## Hook endpoints

In a TOML file, `[[hook_endpoint]]` tables name receivers of notifications beside the one of the keys `hook.on_*`, as many as you like (at
most 100). They work whether or not `hook.enable` is 1, and never decide about anything. The API can add more while the server runs.

```toml
[[hook_endpoint]]
name = "billing"
url = "https://billing.example.com/tidegate"
events = ["session.ended", "stream.*"]
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
durable = true
```

| Field | Type | If absent | Meaning |
|---|---|---|---|
| `name` | text | needed | 1 to 64 of `a-z`, `0-9`, `-` and `_`: the name in logs, metrics, the API, and of its folder in `hook.store_dir` |
| `url` | text | needed | `http://` or `https://`. `user:password@` in it becomes an `Authorization` header |
| `events` | list | all of Tidegate's own | What it gets: names, or beginnings of names with `*`. Tidegate's own events (`stream.online`, ...) and ZLMediaKit's notifications (`on_stream_changed`, ...) are listed in [hooks.md](hooks.md) |
| `except` | list | none | What it does not get; a full name in `events` wins |
| `secret` | text or list | none | Signs its calls, as `hook.signing_secret` does |
| `old_secrets_until` | int | never | When all secrets but the first one end, in seconds since 1970 |
| `headers` | list | none | Further headers, each `"Name: value"` |
| `durable` | bool | `false` | Kept on disk until it is delivered or too old; needs `hook.store_dir` |
| `newest_wins` | bool | `false` | What waits about the state of a stream is replaced by what is newer, once the stream's events have been held up for 30 s |
| `timeout_sec` | seconds | `hook.timeoutSec`, at least 15 if durable | Limit of one attempt, 0.05 to 60 |
| `enabled` | bool | `true` | `false`: it gets nothing |
| `ca_file`, `insecure`, `cert_file`, `key_file`, `pin_sha256` | | as the system has it | TLS, as the keys of the same names in section `hook` |
"#;
