//! Decisions of `on_http_access` that are kept for clients which show the cookie of one (hooks.md, section 6).

use super::path::{Scope, Target};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Name of the cookie. Another one than HLS viewers have, `ZLM_HTTP_COOKIE`: for the folder of a stream each would replace the other.
pub const COOKIE: &str = "ZLM_HTTP_ACCESS";

/// Most decisions that are kept. One takes some 300 bytes, with a long text of a refusal 1.5 KB.
const MAX_KEPT: usize = 50_000;

/// Most cookies of one request that are looked up: one for each folder above the file.
const MAX_SHOWN: usize = 16;

/// What was decided for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may read what is in the scope.
    Allowed,
    /// It may not, with the text for it. Holds for the same query only: another may carry a better token.
    Denied(String),
}

/// The store.
#[derive(Debug)]
pub struct Decisions {
    kept: Mutex<Kept>,
    max: usize,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Kept {
    by_token: HashMap<u128, Decision>,
    by_end: BTreeSet<(Instant, u128)>,
    evicted: u64,
}

#[derive(Debug)]
struct Decision {
    vhost: Box<str>,
    scope: Scope,
    until: Instant,
    /// The text of a refusal, and the hash of the query that it is for.
    denied: Option<(Box<str>, u64)>,
}

/// A request, as far as decisions depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Virtual host.
    pub vhost: &'a str,
    /// What it is for.
    pub target: &'a Target,
    /// Raw query.
    pub query: &'a str,
}

impl Default for Decisions {
    fn default() -> Self {
        Self::new(MAX_KEPT)
    }
}

impl Decisions {
    fn new(max: usize) -> Self {
        Self {
            kept: Mutex::default(),
            max,
            hasher: RandomState::new(),
        }
    }

    /// Keeps a decision about a request and everything else in `scope`, and returns the token that its client is to show. At the bound
    /// the decision that would end first goes, and its client's next request is asked about again.
    pub fn keep(
        &self,
        now: Instant,
        asked: Asked<'_>,
        scope: Scope,
        verdict: Verdict,
        time: Duration,
    ) -> u128 {
        let token = rand::random();
        let denied = match verdict {
            Verdict::Allowed => None,
            Verdict::Denied(text) => Some((text.into(), self.hasher.hash_one(asked.query))),
        };
        let decision = Decision {
            vhost: asked.vhost.into(),
            scope,
            until: now + time,
            denied,
        };
        let mut kept = self.kept.lock();
        while let Some(&(end, first)) = kept.by_end.first()
            && (end <= now || kept.by_token.len() >= self.max)
        {
            kept.evicted += u64::from(end > now);
            kept.by_end.pop_first();
            kept.by_token.remove(&first);
        }
        kept.by_end.insert((decision.until, token));
        kept.by_token.insert(token, decision);
        token
    }

    /// What was decided for a client that shows these cookies; of several the narrowest. `None`: it must be asked.
    pub fn find<'a>(
        &self,
        now: Instant,
        asked: Asked<'_>,
        cookies: impl Iterator<Item = &'a str>,
    ) -> Option<Verdict> {
        let tokens: Vec<u128> = cookies.flat_map(tokens).take(MAX_SHOWN).collect();
        if tokens.is_empty() {
            return None;
        }
        let query = self.hasher.hash_one(asked.query);
        let kept = self.kept.lock();
        tokens
            .iter()
            .filter_map(|token| kept.by_token.get(token))
            .filter(|decision| decision.until > now && *decision.vhost == *asked.vhost)
            .filter(|decision| decision.scope.holds(asked.target))
            .filter(|decision| decision.denied.as_ref().is_none_or(|(_, of)| *of == query))
            .max_by_key(|decision| decision.scope.len())
            .map(|decision| match &decision.denied {
                None => Verdict::Allowed,
                Some((text, _)) => Verdict::Denied(text.to_string()),
            })
    }

    /// How many are kept, ended ones that nobody removed yet included; and how many went before their time.
    pub fn counts(&self) -> (usize, u64) {
        let kept = self.kept.lock();
        (kept.by_token.len(), kept.evicted)
    }
}

/// The header `Set-Cookie` that makes a client show a token.
pub fn set_cookie(token: u128, scope: &Scope, time: Duration, tls: bool) -> String {
    let secure = if tls { "; Secure" } else { "" };
    format!(
        "{COOKIE}={token:032x}; Path={}; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
        scope.url(),
        time.as_secs()
    )
}

/// The tokens in a header `Cookie`.
fn tokens(cookies: &str) -> impl Iterator<Item = u128> {
    cookies.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim();
        let valid =
            name.trim() == COOKIE && value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| u128::from_str_radix(value, 16).ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    struct Client<'a> {
        decisions: &'a Decisions,
        now: Instant,
        cookies: String,
        vhost: &'static str,
    }

    impl Client<'_> {
        fn told(&mut self, path: &str, query: &str, scope: &str, verdict: Verdict) -> u128 {
            let target = Target::of(path).expect("a target");
            let asked = Asked {
                vhost: self.vhost,
                target: &target,
                query,
            };
            let token = self
                .decisions
                .keep(self.now, asked, Scope::new(scope), verdict, MINUTE);
            self.cookies += &format!("; {COOKIE}={token:032x}");
            token
        }

        fn ask(&self, path: &str, query: &str, after: Duration) -> Option<Verdict> {
            let target = Target::of(path).expect("a target");
            let asked = Asked {
                vhost: self.vhost,
                target: &target,
                query,
            };
            self.decisions
                .find(self.now + after, asked, [self.cookies.as_str()].into_iter())
        }
    }

    fn client(decisions: &Decisions) -> Client<'_> {
        Client {
            decisions,
            now: Instant::now(),
            cookies: "a=b".to_owned(),
            vhost: "",
        }
    }

    fn no(text: &str) -> Verdict {
        Verdict::Denied(text.to_owned())
    }

    #[test]
    fn a_permission_holds_in_its_scope_until_its_end() {
        let decisions = Decisions::default();
        let mut client = client(&decisions);
        assert_eq!(client.ask("/sub/a", "", Duration::ZERO), None);
        client.told("/sub/a", "", "/sub/", Verdict::Allowed);
        assert_eq!(
            client.ask("/sub/deep/b.txt", "x=y", MINUTE / 2),
            Some(Verdict::Allowed)
        );
        assert_eq!(client.ask("/c.txt", "", Duration::ZERO), None);
        assert_eq!(client.ask("/subway", "", Duration::ZERO), None);
        assert_eq!(client.ask("/sub/a", "", MINUTE), None);
        client.vhost = "other.example";
        assert_eq!(client.ask("/sub/a", "", Duration::ZERO), None);
    }

    #[test]
    fn a_refusal_holds_until_the_query_changes() {
        let decisions = Decisions::default();
        let mut client = client(&decisions);
        client.told("/sub/a", "token=1", "/sub", no("pay"));
        assert_eq!(client.ask("/sub/b", "token=1", Duration::ZERO), Some(no("pay")));
        assert_eq!(client.ask("/sub/b", "token=2", Duration::ZERO), None);
        assert_eq!(client.ask("/sub/b", "", Duration::ZERO), None);
    }

    #[test]
    fn the_narrowest_decision_counts() {
        let decisions = Decisions::default();
        let mut client = client(&decisions);
        client.told("/a", "", "/", Verdict::Allowed);
        client.told("/a/b", "", "/a", no("not this"));
        assert_eq!(client.ask("/a/c", "", Duration::ZERO), Some(no("not this")));
        assert_eq!(client.ask("/b", "", Duration::ZERO), Some(Verdict::Allowed));
        // The refusal is for another query, but the permission for everything.
        assert_eq!(client.ask("/a/c", "x", Duration::ZERO), Some(Verdict::Allowed));
    }

    #[test]
    fn the_store_has_a_bound_and_counts_what_it_loses() {
        let decisions = Decisions::new(3);
        let mut client = client(&decisions);
        for _ in 0..5 {
            client.told("/a", "", "/", Verdict::Allowed);
            client.now += Duration::from_secs(1);
        }
        assert_eq!(decisions.counts(), (3, 2));
        client.now += MINUTE;
        client.told("/a", "", "/", Verdict::Allowed);
        assert_eq!(decisions.counts(), (1, 2), "ended ones are no loss");
    }

    #[test]
    fn only_whole_tokens_are_looked_up() {
        let token = "0123456789abcdef0123456789ABCDEF";
        let found = |text: &str| tokens(text).collect::<Vec<_>>();
        assert_eq!(
            found(&format!("a=b; {COOKIE}={token};{COOKIE} = {token}")).len(),
            2
        );
        for bad in [
            format!("{COOKIE}={}", &token[1..]),
            format!("{COOKIE}=+{}", &token[1..]),
            format!("{COOKIE}={token}0"),
            format!("X{COOKIE}={token}"),
            COOKIE.to_owned(),
        ] {
            assert!(found(&bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn cookies_are_as_narrow_as_browsers_can_make_them() {
        let scope = Scope::new("/a b/");
        assert_eq!(
            set_cookie(255, &scope, MINUTE, true),
            "ZLM_HTTP_ACCESS=000000000000000000000000000000ff; Path=/a%20b; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
        );
        assert!(!set_cookie(1, &scope, MINUTE, false).contains("Secure"));
    }
}
