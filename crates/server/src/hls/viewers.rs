//! Who watches HLS. A viewer makes a request now and then, on any connection: it is a session by what it shows of itself.
//!
//! - **A token in the path**, `/app/stream/session-<token>/..`: every URL of the playlists that Tidegate leads a viewer to stands
//!   below it, so a viewer that keeps nothing else is known by it.
//! - **A cookie**, `ZLM_HTTP_COOKIE`, of the same token: browsers and most players send it.
//! - **The address**, if there is neither.
//!
//! A token is worth nothing from another address: it has to be let in there by `on_play` like any newcomer.
//!
//! A viewer that makes no request for three target durations has left (ZLM: 60 to 75 s). Players reload the playlist once in a
//! target duration, so that is two requests that did not come.

use super::{Broadcast, Use};
use crate::app::App;
use crate::link::Guard;
use crate::maybe::at;
use crate::sessions::Registration;
use hls::Form;
use hub::Counted;
use media::StreamKey;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Target durations without a request after which a viewer has left.
const PATIENCE: u32 = 3;

/// Players with very short segments reload less often than that.
const LEAST_PATIENCE: Duration = Duration::from_secs(4);

/// A random number that stands for a viewer; who knows it can be that viewer, from the same address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(u128);

impl Token {
    /// A new one.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Reads 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 32
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        hex.then(|| u128::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// It is as good as a password for its time: not for logs.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What a viewer is known by, within its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// Token.
    pub token: Token,
    /// The address it was let in from.
    pub address: IpAddr,
    /// The form it watches.
    pub form: Form,
}

/// All viewers, by `app/stream` on the default virtual host: the names in a playlist do not repeat the `vhost` of its own request, and
/// a token says enough.
#[derive(Debug, Default)]
pub struct Viewers(Mutex<HashMap<StreamKey, Crowd>>);

fn place_of(key: &StreamKey) -> StreamKey {
    StreamKey::on_default_vhost(key.app(), key.stream())
}

/// The viewers of one stream.
#[derive(Debug, Default)]
struct Crowd {
    by_id: HashMap<Id, Arc<Viewer>>,
    /// The last one let in from an address.
    by_address: HashMap<(IpAddr, Form), Token>,
}

/// One viewer.
pub struct Viewer {
    /// What it is known by.
    pub id: Id,
    /// The stream it watches.
    pub key: StreamKey,
    /// What it watches of it.
    pub broadcast: Arc<Broadcast>,
    began: Instant,
    /// Its last request, in milliseconds since `began`.
    last: AtomicU64,
    /// Requests under way.
    busy: AtomicUsize,
    bytes: AtomicU64,
    ended: AtomicBool,
    /// It was cut, by an operator or because the server ends: what it waits for is not for it any more.
    cut: CancellationToken,
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A request under way.
pub struct Busy<'a>(&'a Viewer);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.touch();
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Viewer {
    /// Says that it makes a request, until the returned value is dropped.
    pub fn busy(&self) -> Busy<'_> {
        self.busy.fetch_add(1, Ordering::AcqRel);
        self.touch();
        Busy(self)
    }

    fn touch(&self) {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.fetch_max(passed, Ordering::AcqRel);
    }

    /// Counts what it was sent.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether its stream has ended; what was cut can still be had for a while.
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits until it is cut.
    pub async fn cut(&self) {
        self.cut.cancelled().await;
    }

    /// When it will have left if it makes no further request.
    fn deadline(&self) -> Instant {
        let patience = self.broadcast.live.target_duration() * PATIENCE;
        let last = Duration::from_millis(self.last.load(Ordering::Acquire));
        self.began + last + patience.max(LEAST_PATIENCE)
    }
}

/// What holds a viewer's place, until it leaves.
pub struct Place {
    /// Its entry among the sessions.
    pub registration: Registration,
    /// Reports its end.
    pub guard: Guard,
    /// Counts it as a reader.
    pub counted: Counted,
    /// Keeps its stream cut.
    pub uses: Use,
}

impl Viewers {
    /// The viewer that is known by this.
    pub fn get(&self, key: &StreamKey, id: &Id) -> Option<Arc<Viewer>> {
        self.0.lock().get(&place_of(key))?.by_id.get(id).cloned()
    }

    /// The viewer that was let in last from an address.
    pub fn at_address(&self, key: &StreamKey, address: IpAddr, form: Form) -> Option<Arc<Viewer>> {
        let crowds = self.0.lock();
        let crowd = crowds.get(&place_of(key))?;
        let token = *crowd.by_address.get(&(address, form))?;
        let viewer = crowd.by_id.get(&Id { token, address, form })?;
        (viewer.key == *key).then(|| viewer.clone())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().values().map(|crowd| crowd.by_id.len()).sum()
    }

    /// Takes a viewer in, who was let in. If its double came first (two requests at once), that one is returned, and the place is
    /// given up.
    pub fn admit(&self, app: &Arc<App>, key: &StreamKey, id: Id, place: Place) -> Arc<Viewer> {
        let viewer = Arc::new(Viewer {
            id,
            key: key.clone(),
            broadcast: place.uses.broadcast.clone(),
            began: Instant::now(),
            last: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            cut: CancellationToken::new(),
        });
        let mut crowds = self.0.lock();
        let crowd = crowds.entry(place_of(key)).or_default();
        if let Some(double) = crowd.by_id.get(&id).filter(|double| !double.ended()) {
            let double = double.clone();
            drop(crowds);
            let mut place = place;
            place.guard.ends(true, "the same viewer asked twice at once");
            return double;
        }
        crowd.by_id.insert(id, viewer.clone());
        crowd.by_address.insert((id.address, id.form), id.token);
        drop(crowds);
        app.tasks.spawn(attend(app.clone(), viewer.clone(), place));
        viewer
    }

    fn remove(&self, viewer: &Arc<Viewer>) {
        let place = place_of(&viewer.key);
        let mut crowds = self.0.lock();
        let Some(crowd) = crowds.get_mut(&place) else {
            return;
        };
        let id = &viewer.id;
        // Another one may have taken its place after the end of the stream.
        if crowd
            .by_id
            .get(id)
            .is_some_and(|present| Arc::ptr_eq(present, viewer))
        {
            crowd.by_id.remove(id);
            let address = (id.address, id.form);
            if crowd.by_address.get(&address) == Some(&id.token) {
                crowd.by_address.remove(&address);
            }
        }
        if crowd.by_id.is_empty() {
            crowds.remove(&place);
        }
    }
}

/// A viewer's life: until it makes no request any more, is cut, or its stream ends.
async fn attend(app: Arc<App>, viewer: Arc<Viewer>, place: Place) {
    let Place {
        registration,
        mut guard,
        counted,
        uses,
    } = place;
    let stop = registration.stop.clone();
    let left = async {
        loop {
            let deadline = viewer.deadline();
            at(Some(deadline)).await;
            if viewer.busy.load(Ordering::Acquire) > 0 {
                viewer.touch();
            } else if viewer.deadline() <= Instant::now() {
                return;
            }
        }
    };
    let stream_ended = tokio::select! {
        biased;
        () = stop.cancelled() => {
            viewer.cut.cancel();
            guard.ends(true, "closed by the server");
            false
        }
        () = viewer.broadcast.ended.cancelled() => {
            guard.ends(true, "the stream ended");
            true
        }
        () = left => {
            guard.ends(true, "the viewer left");
            false
        }
    };
    viewer.ended.store(stream_ended, Ordering::Release);
    if !stream_ended {
        app.hls.viewers.remove(&viewer);
    }
    guard.add_bytes(viewer.bytes.load(Ordering::Relaxed));
    drop(counted);
    drop(guard);
    drop(registration);
    drop(uses);
    if stream_ended {
        let delay = app.config().hls.delete_delay;
        tokio::select! {
            () = app.stop.cancelled() => {}
            () = tokio::time::sleep(delay) => {}
        }
        app.hls.viewers.remove(&viewer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_32_hexadecimal_digits() {
        let token = Token::random();
        assert_eq!(Token::parse(&token.to_string()), Some(token));
        for text in [
            "",
            "0",
            &"g".repeat(32),
            &"0".repeat(33),
            &"A".repeat(32),
            &format!("+{}", "0".repeat(31)),
        ] {
            assert_eq!(Token::parse(text), None, "{text}");
        }
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
