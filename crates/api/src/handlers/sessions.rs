//! Connections: what there is, and cutting them.

use crate::describe::Shape::{Int, Object};
use crate::describe::objects::SESSION_MEMBERS;
use crate::describe::parameters::SESSION_FILTERS;
use crate::describe::{About, Kind, Member, Parameter, Returns, data};
use crate::describe::{fixed, list};
use crate::dispatch::Call;
use crate::outside::SessionView;
use crate::reply::{Answer, Failure, Reply};
use hooks::object;
use lifecycle::{Op, OpError, SessionId};
use serde::Serialize;

/// A player in `getMediaPlayerList`.
#[derive(Serialize)]
pub struct Player<'a> {
    #[serde(flatten)]
    sock: object::Socket<'a>,
    typeid: &'static str,
}

impl<'a> From<&'a SessionView> for Player<'a> {
    fn from(view: &'a SessionView) -> Self {
        Self {
            sock: object::Socket::new(&view.sock),
            typeid: view.kind.type_id(),
        }
    }
}

#[derive(Serialize)]
struct Session<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    transport: &'static str,
    #[serde(flatten)]
    player: Player<'a>,
}

impl<'a> From<&'a SessionView> for Session<'a> {
    fn from(view: &'a SessionView) -> Self {
        Self {
            id: &view.sock.identifier,
            transport: view.transport.as_str(),
            player: Player::from(view),
        }
    }
}

pub const LIST: About = About::new(
    "Lists the connections to the server, the asking one too.",
    Returns::Members(fixed![
        data(list!(Object(SESSION_MEMBERS)), "Absent when nothing matches.").optional()
    ]),
)
.takes(&SESSION_FILTERS);

pub async fn list(call: Call) -> Answer {
    let found = filtered(&call);
    Ok(Reply::list(&found.iter().map(Session::from).collect::<Vec<_>>()))
}

pub const KICK: About = About::new(
    "Cuts a connection. -1 if it is not there.",
    Returns::Members(fixed![]),
)
.takes(fixed![
    Parameter::new(
        "id",
        Kind::Text(256),
        "Id of the session, as `id` or `identifier` of the lists."
    )
    .required(),
]);

pub async fn kick(call: Call) -> Answer {
    let id = call.args.text("id");
    let target = call
        .server
        .sessions()
        .into_iter()
        .find(|view| view.sock.identifier == id);
    let target = target.ok_or_else(|| Failure::Failed("can not find the target".to_owned()))?;
    cut(&call, target.session).await?;
    Ok(Reply::success())
}

pub const KICK_MANY: About = About::new(
    "Cuts all connections that match, except the asking one; without filters, all others.",
    Returns::Members(fixed![Member::new(
        "count_hit",
        Int,
        "Connections that were cut."
    )]),
)
.takes(&SESSION_FILTERS);

#[derive(Serialize)]
struct Kicked {
    count_hit: usize,
}

/// Cuts every connection that fits, but not the one that asks.
pub async fn kick_many(call: Call) -> Answer {
    let mut targets = filtered(&call);
    targets.retain(|view| view.session != call.peer.session);
    for target in &targets {
        cut(&call, target.session).await?;
    }
    Ok(Reply::new(&Kicked {
        count_hit: targets.len(),
    }))
}

/// A connection that ended by itself meanwhile is cut too.
async fn cut(call: &Call, session: SessionId) -> Result<(), Failure> {
    match call.server.operate(Op::Kick(session)).await {
        Ok(_) | Err(OpError::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `local_port` 0 or absent is any; so is an absent `peer_ip`.
fn filtered(call: &Call) -> Vec<SessionView> {
    let local_port = call.args.int("local_port").unwrap_or(0);
    let peer_ip = call.args.get("peer_ip");
    let fits = |view: &SessionView| {
        (local_port == 0 || i64::from(view.sock.local.port()) == local_port)
            && peer_ip
                .as_ref()
                .is_none_or(|wanted| view.sock.peer.ip().to_canonical().to_string() == *wanted)
    };
    let mut sessions = call.server.sessions();
    sessions.retain(fits);
    sessions
}
