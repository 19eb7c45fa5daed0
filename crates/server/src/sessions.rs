//! Every accepted connection: who it is, what it does, and the means to cut it.

use api::{SessionKind, SessionView, Transport};
use lifecycle::SessionId;
use media::info::SockInfo;
use media::{Schema, StreamKey};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

/// The registry of connections. An entry lives as long as its [`Registration`].
#[derive(Debug, Default)]
pub struct Sessions {
    last: AtomicU64,
    entries: Mutex<BTreeMap<SessionId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    sock: SockInfo,
    kind: SessionKind,
    stop: CancellationToken,
    playing: Option<(StreamKey, Schema)>,
    /// The URL that a publisher used.
    url: Option<String>,
}

/// A registered connection; dropping it takes it out of the registry.
#[derive(Debug)]
pub struct Registration {
    sessions: Arc<Sessions>,
    /// Its number.
    pub id: SessionId,
    /// Its addresses and its name for operators.
    pub sock: SockInfo,
    /// Cancelled when the connection is to end: kicked, or the server stops.
    pub stop: CancellationToken,
}

impl Sessions {
    /// Registers a connection. `descriptor` is that of its socket, the second half of the id that operators see.
    pub fn register(
        self: &Arc<Self>,
        kind: SessionKind,
        peer: SocketAddr,
        local: SocketAddr,
        descriptor: i32,
        parent: &CancellationToken,
    ) -> Registration {
        let id = SessionId(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let sock = SockInfo {
            identifier: format!("{id}-{descriptor}"),
            local: plain(local),
            peer: plain(peer),
        };
        let stop = parent.child_token();
        let entry = Entry {
            sock: sock.clone(),
            kind,
            stop: stop.clone(),
            playing: None,
            url: None,
        };
        self.entries.lock().insert(id, entry);
        Registration {
            sessions: self.clone(),
            id,
            sock,
            stop,
        }
    }

    /// Cuts a connection; `false` if there is none of this number.
    pub fn kick(&self, id: SessionId) -> bool {
        let stop = self.entries.lock().get(&id).map(|entry| entry.stop.clone());
        stop.inspect(CancellationToken::cancel).is_some()
    }

    /// All connections.
    pub fn views(&self) -> Vec<SessionView> {
        self.entries
            .lock()
            .iter()
            .map(|(id, entry)| entry.view(*id))
            .collect()
    }

    /// The connections that play one schema of a stream.
    pub fn players(&self, key: &StreamKey, schema: Schema) -> Vec<SessionView> {
        let entries = self.entries.lock();
        let plays = |entry: &&Entry| {
            entry
                .playing
                .as_ref()
                .is_some_and(|playing| playing.0 == *key && playing.1 == schema)
        };
        entries
            .iter()
            .filter(|(_, entry)| plays(entry))
            .map(|(id, entry)| entry.view(*id))
            .collect()
    }

    /// The socket of a connection.
    pub fn sock(&self, id: SessionId) -> Option<SockInfo> {
        self.entries.lock().get(&id).map(|entry| entry.sock.clone())
    }

    /// The URL that a publisher used.
    pub fn url(&self, id: SessionId) -> Option<String> {
        self.entries.lock().get(&id).and_then(|entry| entry.url.clone())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.lock().len()
    }
}

impl Entry {
    fn view(&self, session: SessionId) -> SessionView {
        SessionView {
            session,
            sock: self.sock.clone(),
            kind: self.kind,
            transport: Transport::Tcp,
        }
    }
}

impl Registration {
    /// A further entry with the same addresses, for somebody whose requests come over this connection and others: an HLS viewer.
    pub fn viewer(&self, parent: &CancellationToken) -> Self {
        let descriptor = self.sock.identifier.rsplit('-').next();
        let descriptor = descriptor.and_then(|text| text.parse().ok()).unwrap_or(0);
        let (peer, local) = (self.sock.peer, self.sock.local);
        self.sessions
            .register(SessionKind::Http, peer, local, descriptor, parent)
    }

    /// Says that the connection plays a stream, until it ends or is [idle](Self::idle).
    pub fn plays(&self, key: &StreamKey, schema: Schema) {
        self.update(|entry| entry.playing = Some((key.clone(), schema)));
    }

    /// Says that the connection does not play any more.
    pub fn idle(&self) {
        self.update(|entry| entry.playing = None);
    }

    /// Says which URL a publisher used, and its parameters.
    pub fn comes_from(&self, mut url: String, params: &str) {
        if !params.is_empty() {
            url.extend(["?", params]);
        }
        self.update(|entry| entry.url = Some(url));
    }

    fn update(&self, change: impl FnOnce(&mut Entry)) {
        self.sessions.entries.lock().get_mut(&self.id).map(change);
    }

    /// Gives the connection a new number, for its next request: to the control plane a session asks for one thing in its life.
    /// Its name for operators stays.
    pub fn renew(&mut self) {
        let id = SessionId(self.sessions.last.fetch_add(1, Ordering::Relaxed) + 1);
        let mut entries = self.sessions.entries.lock();
        if let Some(mut entry) = entries.remove(&self.id) {
            (entry.playing, entry.url) = (None, None);
            entries.insert(id, entry);
        }
        self.id = id;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.sessions.entries.lock().remove(&self.id);
    }
}

/// IPv4 addresses in dotted form, also on a dual-stack socket (api.md, section 2.3).
pub fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(v6) => v6
            .to_ipv4_mapped()
            .map_or(address, |v4| SocketAddr::new(IpAddr::V4(v4), address.port())),
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_listed_while_it_lives_and_can_be_cut() {
        let sessions = Arc::new(Sessions::default());
        let parent = CancellationToken::new();
        let peer: SocketAddr = "[::ffff:10.0.0.7]:5000".parse().expect("an address");
        let local: SocketAddr = "[::]:1935".parse().expect("an address");
        let registration = sessions.register(SessionKind::Rtmp, peer, local, 9, &parent);
        let key = StreamKey::on_default_vhost("live", "cam");
        registration.plays(&key, Schema::Rtmp);
        let views = sessions.players(&key, Schema::Rtmp);
        assert_eq!(views[0].sock.identifier, "1-9");
        assert_eq!(views[0].sock.peer.to_string(), "10.0.0.7:5000");
        assert!(sessions.kick(registration.id));
        assert!(registration.stop.is_cancelled());
        assert!(!parent.is_cancelled());
        drop(registration);
        assert_eq!(sessions.len(), 0);
        assert!(!sessions.kick(SessionId(1)));
    }
}
