//! Access to files and folders over HTTP (hooks.md, section 6, `on_http_access`).
//!
//! The question touches no stream, so an HTTP session asks it itself. A receiver that fails lets nobody in (hooks.md, section 3).

use crate::admission::{self, Request, Said};
use crate::decide::{self, Decisions};
use crate::failure::{Failure, MAX_TEXT};
use crate::reply::{Answer, BadMember};
use crate::verdicts::Verdict;
use lifecycle::Client;
use std::time::Duration;

/// The longest time that a decision is kept; `second` may ask for more.
pub const MAX_REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Longest `path` of an answer, in bytes: more than the head of a request can hold of a path.
const MAX_SCOPE: usize = 4096;

/// A request for a file or a folder.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// Path of the URL, decoded, without `..`; with a `/` at the end where the client sent one.
    pub path: &'a str,
    /// Where that is in the file system: absolute.
    pub file_path: &'a str,
    /// It is a folder without an index page.
    pub is_dir: bool,
    /// Query of the URL, raw.
    pub params: &'a str,
    /// Headers of the request, names as the client spelled them.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What `on_http_access` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// The hook is off, or stands as if it were by `hook.fail_open`: whoever asks decides by the client's address.
    Unasked,
    /// The receiver decided.
    Decided(Decision),
    /// No usable answer: nobody may, and nothing is kept.
    Failed(Failure),
}

/// A receiver's decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why not, for the client; at most [`MAX_TEXT`] bytes. `None`: it may.
    pub denied: Option<String>,
    /// The path below which the decision holds, as the receiver wrote it; empty stands for the folder of the request.
    pub scope: String,
    /// How long it holds, at most [`MAX_REMEMBERED`]; zero is this request only.
    pub remember: Duration,
}

/// Asks `on_http_access`.
pub(crate) async fn ask(decisions: &Decisions, visit: &Visit<'_>, limit: Option<Duration>) -> Permission {
    let settings = decisions.plane.shared.settings();
    let admission = admission::admit(decisions, &settings, &Request::Files(visit), limit).await;
    match admission.map(|admission| admission.said) {
        None | Some(Said::Default) => Permission::Unasked,
        Some(Said::Verdict(Verdict::Files(decision))) => Permission::Decided(decision),
        Some(Said::Failed(failure) | Said::Verdict(Verdict::Denied(failure))) => Permission::Failed(failure),
        Some(Said::Verdict(Verdict::Play | Verdict::Publish(_))) => {
            Permission::Failed(admission::misplaced())
        }
    }
}

pub(crate) fn read(answer: &Answer) -> Result<Decision, Failure> {
    let bad = |bad| decide::bad_member(&bad);
    let mut denied = answer.text("err").map_err(bad)?;
    let scope = answer.text("path").map_err(bad)?;
    let seconds = answer.integer("second").map_err(bad)?;
    if scope.len() > MAX_SCOPE {
        return Err(decide::bad_member(&BadMember {
            name: "path",
            got: "text of more than 4096 bytes",
            wanted: "the path of a folder",
        }));
    }
    denied.truncate(denied.floor_char_boundary(MAX_TEXT));
    Ok(Decision {
        denied: Some(denied).filter(|text| !text.is_empty()),
        scope,
        // Negative ones ask for nothing that could be done.
        remember: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(MAX_REMEMBERED),
    })
}
