//! What the rules make of a call.

use crate::api::Api;
use crate::call::{Answer, Call, FileAnswer, Hook, PasswordAnswer};
use crate::journal::Journal;
use crate::open::{Opened, StreamId};
use crate::rules::access::{Asking, Judged, Verb, Verdict};
use crate::rules::stream::Close;
use crate::rules::viewer::Password;
use crate::rules::{Rules, Unknown};
use crate::service::Shared;
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, info, warn};

/// Limit for closing a stream.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Rules, and what they are carried out with.
pub(crate) struct Decider {
    rules: Rules,
    apis: Vec<Arc<Api>>,
    journal: Option<Arc<Journal>>,
    shared: Shared,
}

/// An answer, and what it is counted as.
pub(crate) struct Decision<'a> {
    pub answer: Answer<'a>,
    pub result: &'static str,
    /// How long the media server may remember the answer, in seconds.
    pub cache_sec: u64,
}

impl<'a> Decision<'a> {
    const fn new(answer: Answer<'a>, result: &'static str) -> Self {
        Self {
            answer,
            result,
            cache_sec: 0,
        }
    }
}

impl Decider {
    pub fn new(rules: Rules, shared: Shared) -> Self {
        let apis = rules.servers().iter();
        let apis = apis.map(|server| Arc::new(Api::new(server.clone(), shared.metrics.clone())));
        Self {
            apis: apis.collect(),
            journal: rules.journal.clone().map(Arc::new),
            rules,
            shared,
        }
    }

    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    pub const fn journal(&self) -> Option<&Arc<Journal>> {
        self.journal.as_ref()
    }

    /// Answers a call. `now` in UNIX seconds.
    pub async fn decide<'a>(&'a self, hook: Hook, call: &Call<'_>, now: u64) -> Decision<'a> {
        match hook {
            Hook::Publish => self.access(Verb::Publish, call, now),
            Hook::Play => self.access(Verb::Play, call, now),
            Hook::StreamNotFound => self.open(call).await,
            Hook::StreamNoneReader => self.close(call),
            Hook::HttpAccess => self.file(call),
            Hook::RtspRealm => self.realm(call),
            Hook::RtspAuth => self.password(call),
            Hook::ShellLogin => Decision::new(Answer::refusal("there are no rules for logins"), "deny"),
            Hook::News(_) | Hook::Event => Decision::new(Answer::success(), "ok"),
        }
    }

    fn access(&self, verb: Verb, call: &Call<'_>, now: u64) -> Decision<'_> {
        let name = call.name();
        if verb == Verb::Play && self.shared.closings.len() > 0 {
            self.shared.closings.cancel(&id(call));
        }
        let asking = Asking {
            verb,
            name: &name,
            params: &call.params,
            ip: call.ip(),
            protocol: &call.protocol,
            now,
        };
        let Judged { verdict, cache_sec } = self.rules.judge(&asking);
        let decision = match verdict {
            Verdict::Allow(options) => Decision::new(
                Answer {
                    options: (verb == Verb::Publish).then_some(options),
                    ..Answer::success()
                },
                "allow",
            ),
            Verdict::Deny(why) => {
                if self.shared.denied.passes() {
                    info!(?verb, name, ip = %call.ip, protocol = %call.protocol, "denied: {why}");
                }
                Decision::new(Answer::refusal(why), "deny")
            }
        };
        Decision {
            cache_sec,
            ..decision
        }
    }

    async fn open(&self, call: &Call<'_>) -> Decision<'_> {
        let name = call.name();
        let Some(source) = self.rules.source(&name) else {
            let close = match self.rules.unknown_streams {
                Unknown::Wait => false,
                Unknown::Close => true,
            };
            return Decision::new(
                Answer::closing(close),
                if close { "unknown_closed" } else { "unknown_waits" },
            );
        };
        let failed = |why: &str| {
            debug!(name, "players are sent away: {why}");
            Decision::new(Answer::closing(true), "open_failed")
        };
        let Some(opening) = source.resolve(&name) else {
            return failed("what the name captures may not stand in a URL");
        };
        let Some(api) = self.api(&call.server) else {
            if self.shared.unopened.passes() {
                warn!(server = %call.server, name, "not opened: no [[server]] has this mediaServerId");
            }
            return failed("no server");
        };
        match self.shared.opener.open(api, id(call), opening).await {
            Opened::Yes => Decision::new(Answer::closing(false), "opened"),
            Opened::No(why) => failed(&why),
        }
    }

    fn close(&self, call: &Call<'_>) -> Decision<'_> {
        let (close, result) = match self.rules.close(&call.name()) {
            Close::Now => (true, "close"),
            Close::Never => (false, "keep"),
            // A stream too many is closed at once: it is better than one that is never closed.
            Close::After(after) if self.shared.closings.add(id(call), after) => (false, "close_later"),
            Close::After(_) => (true, "close_overflow"),
        };
        Decision::new(Answer::closing(close), result)
    }

    fn file(&self, call: &Call<'_>) -> Decision<'_> {
        let verdict = self.rules.judge_file(&call.path, &call.params, call.ip());
        Decision::new(
            Answer {
                file: Some(FileAnswer {
                    err: verdict.error,
                    path: verdict.keep_path,
                    second: verdict.keep_sec,
                }),
                ..Answer::success()
            },
            if verdict.error.is_empty() { "allow" } else { "deny" },
        )
    }

    fn realm(&self, call: &Call<'_>) -> Decision<'_> {
        let realm = self
            .rules
            .rtsp(&call.name())
            .map_or("", |rule| rule.realm.as_str());
        Decision::new(
            Answer {
                realm: Some(realm),
                ..Answer::success()
            },
            if realm.is_empty() { "open" } else { "realm" },
        )
    }

    fn password(&self, call: &Call<'_>) -> Decision<'_> {
        let rule = (self.rules.rtsp(&call.name())).filter(|rule| rule.realm == call.realm);
        let (passwd, encrypted) = match rule.and_then(|rule| rule.password(&call.user_name)) {
            Some(Password::Plain(text)) => (text.expose(), false),
            Some(Password::Md5(text)) if !call.must_no_encrypt => (text.expose(), true),
            Some(Password::Md5(_)) | None => {
                if self.shared.denied.passes() {
                    info!(name = call.name(), user = %call.user_name, ip = %call.ip, "no password for this user and realm");
                }
                return Decision::new(Answer::refusal("unknown user"), "deny");
            }
        };
        Decision::new(
            Answer {
                password: Some(PasswordAnswer { encrypted, passwd }),
                ..Answer::success()
            },
            "password",
        )
    }

    /// Closes a stream that was unwatched long enough, unless it is watched again. True if the server has answered, or is no longer
    /// in the rules.
    pub async fn close_unwatched(&self, stream: &StreamId) -> bool {
        let Some(api) = self.api(&stream.server) else {
            warn!(
                server = stream.server,
                stream = stream.stream,
                "not closed: no [[server]] has this mediaServerId"
            );
            return true;
        };
        let params = [
            ("vhost", stream.vhost.as_str()),
            ("app", &stream.app),
            ("stream", &stream.stream),
            ("force", "0"),
        ];
        match api.call("close_streams", &params, CLOSE_TIMEOUT).await {
            Ok(reply) => {
                info!(
                    app = stream.app,
                    stream = stream.stream,
                    code = reply.code,
                    "closed, if nobody watches"
                );
                true
            }
            Err(error) => {
                warn!(app = stream.app, stream = stream.stream, %error, "not closed");
                false
            }
        }
    }

    /// The server of that id, else the one that stands for all others.
    fn api(&self, id: &str) -> Option<&Arc<Api>> {
        let with = |wanted: Option<&str>| self.apis.iter().find(|api| api.server.id.as_deref() == wanted);
        with(Some(id)).or_else(|| with(None))
    }
}

fn id(call: &Call<'_>) -> StreamId {
    StreamId {
        server: call.server.to_string(),
        vhost: call.vhost.to_string(),
        app: call.app.to_string(),
        stream: call.stream.to_string(),
    }
}
