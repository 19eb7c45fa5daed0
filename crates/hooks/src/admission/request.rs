//! What clients ask for: to publish, to play, to read a file.

use crate::body;
use crate::body::http_access::HttpAccess;
use crate::body::play::Play;
use crate::body::publish::Publish;
use crate::event::Outgoing;
use crate::failure::Failure;
use crate::files::{self, Visit};
use crate::hook::Hook;
use crate::reply::{Answer, overrides};
use crate::settings::Settings;
use crate::verdicts::{Question, Verdict, join};
use lifecycle::Access;
use media::info::OriginType;
use std::net::IpAddr;

/// Headers of a request for a file that differ from request to request of one client and say nothing about who it is. All others
/// are part of the question.
const NO_CREDENTIALS: [&str; 12] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "pragma",
    "range",
];

/// A client's request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request<'a> {
    /// To publish.
    Publish { access: &'a Access, origin: OriginType },
    /// To play.
    Play { access: &'a Access },
    /// To read a file or a folder.
    Files(&'a Visit<'a>),
}

impl Request<'_> {
    pub(crate) const fn hook(&self) -> Hook {
        match self {
            Self::Publish { .. } => Hook::Publish,
            Self::Play { .. } => Hook::Play,
            Self::Files(_) => Hook::HttpAccess,
        }
    }

    /// The client's address.
    pub(crate) const fn address(&self) -> IpAddr {
        match self {
            Self::Publish { access, .. } | Self::Play { access } => access.client.addr.ip(),
            Self::Files(visit) => visit.client.addr.ip(),
        }
    }

    /// The request without what differs each time the same client comes with the same request: port and session.
    pub(crate) fn question(&self, by_address: bool) -> Question {
        let (stream, details) = match self {
            Self::Publish { access, .. } | Self::Play { access } => {
                let details = [access.schema.as_str(), access.protocol.as_str(), &access.params];
                (Some(access.key.clone()), join(details))
            }
            Self::Files(visit) => {
                let is_dir = if visit.is_dir { "folder" } else { "file" };
                let told = visit.headers.iter().filter(|(name, _)| {
                    !NO_CREDENTIALS
                        .iter()
                        .any(|known| name.eq_ignore_ascii_case(known))
                });
                let headers = told.flat_map(|(name, value)| [*name, *value]);
                let details = [visit.path, visit.file_path, is_dir, visit.params];
                (None, join(details.into_iter().chain(headers)))
            }
        };
        Question {
            hook: self.hook(),
            stream,
            details,
            address: by_address.then(|| self.address()),
        }
    }

    pub(crate) fn outgoing(&self) -> Outgoing {
        let (key, body) = match self {
            Self::Publish { access, origin } => (&access.key, body::encode(&Publish::new(access, *origin))),
            Self::Play { access } => (&access.key, body::encode(&Play::new(access))),
            Self::Files(visit) => {
                return Outgoing::new(self.hook(), "", body::encode(&HttpAccess::new(visit)));
            }
        };
        Outgoing::new(self.hook(), key.vhost(), body).of(key)
    }

    /// Reads an answer whose `code` is 0.
    pub(crate) fn read(&self, answer: &Answer, settings: &Settings) -> Result<Verdict, Failure> {
        match self {
            Self::Publish { .. } => {
                let (publish, ignored) = overrides::publish(answer, &settings.publish_defaults);
                if !ignored.is_empty() {
                    tracing::warn!(members = ?ignored, "on_publish answered values that these options cannot have");
                }
                Ok(Verdict::Publish(Box::new(publish)))
            }
            Self::Play { .. } => Ok(Verdict::Play),
            Self::Files(_) => files::read(answer).map(Verdict::Files),
        }
    }
}
