//! Verdicts that are kept for a while: a bounded table from what was asked to what was said. Pure.

use crate::failure::Failure;
use crate::files::Decision;
use crate::hook::Hook;
use lifecycle::hook::PublishAnswer;
use media::StreamKey;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Bounds of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Most verdicts.
    pub entries: usize,
    /// Most bytes of all verdicts with their questions, about.
    pub bytes: usize,
    /// Most bytes of one; what is larger is not kept.
    pub entry_bytes: usize,
}

impl Bounds {
    /// Entries of some 600 bytes fill both bounds.
    pub(crate) const DEFAULT: Self = Self {
        entries: 100_000,
        bytes: 64 * 1024 * 1024,
        entry_bytes: 16 * 1024,
    };
}

/// What a receiver was asked, as far as its verdict may depend on it. Two questions that differ in anything here have verdicts of
/// their own; in particular a token that was spent by one client says nothing about another one that shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub hook: Hook,
    /// The stream; `None` for a file.
    pub stream: Option<StreamKey>,
    /// Schema, protocol, parameters and the like, see [`join`].
    pub details: Box<str>,
    /// The client's address, without its port, which is another one each time it comes.
    pub address: Option<IpAddr>,
}

/// Texts as one, so that no two lists of texts give the same.
pub(crate) fn join<'a>(parts: impl IntoIterator<Item = &'a str>) -> Box<str> {
    let mut joined = String::new();
    for part in parts {
        joined.push_str(&part.len().to_string());
        joined.push(':');
        joined.push_str(part);
    }
    joined.into_boxed_str()
}

/// What a receiver said about a client. Never a failure: [`Verdict::Denied`] holds a refusal ([`crate::failure::Class::Denied`]).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It may play.
    Play,
    /// It may publish, with these options.
    Publish(Box<PublishAnswer>),
    /// What it may read.
    Files(Decision),
    /// It may not.
    Denied(Failure),
}

impl Verdict {
    /// Whether the client was refused.
    pub(crate) const fn is_denial(&self) -> bool {
        match self {
            Self::Play | Self::Publish(_) => false,
            Self::Files(decision) => decision.denied.is_some(),
            Self::Denied(_) => true,
        }
    }

    /// The same for this request only: nobody shall keep it on.
    pub(crate) fn for_once(self) -> Self {
        match self {
            Self::Files(decision) => Self::Files(Decision {
                remember: Duration::ZERO,
                ..decision
            }),
            Self::Play | Self::Publish(_) | Self::Denied(_) => self,
        }
    }

    /// Bytes on the heap, about.
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Play => 0,
            Self::Publish(answer) => {
                let renamed = answer.options.stream_replace.as_ref().map_or(0, String::len);
                let paths = [&answer.options.mp4_save_path, &answer.options.hls_save_path];
                let paths: usize = paths.iter().map(|path| path.as_os_str().len()).sum();
                size_of::<PublishAnswer>() + renamed + paths
            }
            Self::Files(decision) => decision.scope.len() + decision.denied.as_ref().map_or(0, String::len),
            Self::Denied(failure) => failure.text.len() + failure.detail.len(),
        }
    }
}

/// When an entry ends, and a number that tells it from others that end then.
type Place = (Instant, u64);

#[derive(Debug)]
struct Kept {
    verdict: Verdict,
    place: Place,
    bytes: usize,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Verdicts {
    bounds: Bounds,
    by_question: HashMap<Arc<Question>, Kept>,
    by_end: BTreeMap<Place, Arc<Question>>,
    bytes: usize,
    last_number: u64,
    /// Grows when entries are withdrawn.
    generation: u64,
    evicted: u64,
}

impl Verdicts {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            by_question: HashMap::new(),
            by_end: BTreeMap::new(),
            bytes: 0,
            last_number: 0,
            generation: 0,
            evicted: 0,
        }
    }

    /// To be asked for before a question goes out, for [`Verdicts::keep`].
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// What was said and still holds.
    pub(crate) fn find(&mut self, now: Instant, question: &Question) -> Option<&Verdict> {
        self.expire(now);
        self.by_question.get(question).map(|kept| &kept.verdict)
    }

    /// Keeps what was said for a time; the newest word counts, so a time of zero only removes an older one. `generation` is that of when the
    /// question went out: what was asked before entries were withdrawn is not kept. At a bound the entry that would end first goes.
    pub(crate) fn keep(
        &mut self,
        now: Instant,
        generation: u64,
        question: Question,
        verdict: Verdict,
        time: Duration,
    ) {
        self.expire(now);
        if generation != self.generation {
            return;
        }
        self.remove(&question);
        let bytes = weight(&question, &verdict);
        let end = now.checked_add(time);
        let (Some(end), true) = (end, !time.is_zero() && bytes <= self.bounds.entry_bytes) else {
            return;
        };
        while self.by_question.len() >= self.bounds.entries || self.bytes + bytes > self.bounds.bytes {
            let Some((_, first)) = self.by_end.first_key_value() else {
                return;
            };
            let first = first.clone();
            self.remove(&first);
            self.evicted += 1;
        }
        self.last_number += 1;
        let place = (end, self.last_number);
        let question = Arc::new(question);
        self.bytes += bytes;
        self.by_end.insert(place, question.clone());
        let kept = Kept {
            verdict,
            place,
            bytes,
        };
        self.by_question.insert(question, kept);
    }

    /// Withdraws verdicts, and those of questions that are under way; returns how many were kept.
    pub(crate) fn withdraw(&mut self, concerned: impl Fn(&Question) -> bool) -> usize {
        self.generation += 1;
        let withdrawn: Vec<_> = self
            .by_end
            .values()
            .filter(|question| concerned(question))
            .cloned()
            .collect();
        for question in &withdrawn {
            self.remove(question);
        }
        withdrawn.len()
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.by_question.len()
    }

    /// How many went before their time because of a bound.
    pub(crate) const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn expire(&mut self, now: Instant) {
        while let Some((&(end, _), question)) = self.by_end.first_key_value()
            && end <= now
        {
            let question = question.clone();
            self.remove(&question);
        }
    }

    fn remove(&mut self, question: &Question) {
        if let Some(kept) = self.by_question.remove(question) {
            self.by_end.remove(&kept.place);
            self.bytes -= kept.bytes;
        }
    }
}

/// Bytes that an entry takes, about.
fn weight(question: &Question, verdict: &Verdict) -> usize {
    let names = question
        .stream
        .as_ref()
        .map_or(0, |key| key.vhost().len() + key.app().len() + key.stream().len());
    size_of::<Question>() + size_of::<Kept>() + 64 + names + question.details.len() + verdict.heap_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Class;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn question(stream: &str, params: &str, address: u8) -> Question {
        Question {
            hook: Hook::Play,
            stream: Some(StreamKey::on_default_vhost("live", stream)),
            details: join(["rtmp", "rtmp", params]),
            address: Some([192, 0, 2, address].into()),
        }
    }

    fn denied(text: &str) -> Verdict {
        Verdict::Denied(Failure::new(Class::Denied, text.to_owned(), String::new()))
    }

    fn small(entries: usize) -> Verdicts {
        Verdicts::new(Bounds {
            entries,
            ..Bounds::DEFAULT
        })
    }

    fn keep(verdicts: &mut Verdicts, now: Instant, question: &Question, verdict: Verdict, time: Duration) {
        let generation = verdicts.generation();
        verdicts.keep(now, generation, question.clone(), verdict, time);
    }

    #[test]
    fn a_verdict_holds_for_its_time_and_for_its_question_only() {
        let (mut verdicts, now) = (small(10), Instant::now());
        let asked = question("cam", "token=a", 1);
        keep(&mut verdicts, now, &asked, Verdict::Play, SECOND);
        let almost = now + Duration::from_millis(999);
        assert_eq!(verdicts.find(almost, &asked), Some(&Verdict::Play));
        for other in [
            question("cam2", "token=a", 1),
            question("cam", "token=b", 1),
            question("cam", "token=a", 2),
            Question {
                hook: Hook::Publish,
                ..asked.clone()
            },
            Question {
                address: None,
                ..asked.clone()
            },
        ] {
            assert_eq!(verdicts.find(now, &other), None, "{other:?}");
        }
        assert_eq!(verdicts.find(now + SECOND, &asked), None);
        assert_eq!((verdicts.len(), verdicts.bytes), (0, 0), "ended ones leave");
    }

    #[test]
    fn the_newest_word_counts() {
        let (mut verdicts, now) = (small(10), Instant::now());
        let asked = question("cam", "", 1);
        keep(&mut verdicts, now, &asked, Verdict::Play, SECOND);
        keep(&mut verdicts, now, &asked, denied("no"), SECOND);
        assert_eq!(verdicts.find(now, &asked), Some(&denied("no")));
        keep(&mut verdicts, now, &asked, Verdict::Play, Duration::ZERO);
        assert_eq!(verdicts.find(now, &asked), None);
    }

    #[test]
    fn at_the_bound_what_would_end_first_goes_and_is_counted() {
        let (mut verdicts, now) = (small(2), Instant::now());
        let asked: Vec<_> = (0..3).map(|nth| question("cam", "", nth)).collect();
        keep(&mut verdicts, now, &asked[0], Verdict::Play, SECOND * 2);
        keep(&mut verdicts, now, &asked[1], Verdict::Play, SECOND);
        keep(&mut verdicts, now, &asked[2], Verdict::Play, SECOND * 3);
        assert_eq!(verdicts.find(now, &asked[1]), None);
        assert!(verdicts.find(now, &asked[0]).is_some() && verdicts.find(now, &asked[2]).is_some());
        assert_eq!((verdicts.len(), verdicts.evicted()), (2, 1));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let now = Instant::now();
        let large = question("cam", &"x".repeat(1000), 1);
        let bytes = weight(&large, &Verdict::Play);
        let mut verdicts = Verdicts::new(Bounds {
            entries: 100,
            bytes: 3 * bytes,
            entry_bytes: bytes,
        });
        for nth in 0..10 {
            let asked = question("cam", &"x".repeat(1000), nth);
            keep(&mut verdicts, now, &asked, Verdict::Play, SECOND);
        }
        assert_eq!((verdicts.len(), verdicts.evicted()), (3, 7));
        let larger = question("cam", &"x".repeat(1001), 1);
        keep(&mut verdicts, now, &larger, Verdict::Play, SECOND);
        assert_eq!(verdicts.find(now, &larger), None, "too large to be kept");
        assert_eq!(verdicts.len(), 3, "and nothing had to go for it");
    }

    #[test]
    fn an_answer_to_a_question_from_before_the_withdrawal_is_not_kept() {
        let (mut verdicts, now) = (small(10), Instant::now());
        let (cam, other) = (question("cam", "", 1), question("other", "", 1));
        let before = verdicts.generation();
        keep(&mut verdicts, now, &cam, Verdict::Play, SECOND);
        keep(&mut verdicts, now, &other, Verdict::Play, SECOND);
        assert_eq!(verdicts.withdraw(|asked| asked.stream == cam.stream), 1);
        verdicts.keep(now, before, cam.clone(), Verdict::Play, SECOND);
        assert_eq!(verdicts.find(now, &cam), None);
        assert!(verdicts.find(now, &other).is_some());
        keep(&mut verdicts, now, &cam, Verdict::Play, SECOND);
        assert!(verdicts.find(now, &cam).is_some());
    }

    #[test]
    fn lists_of_texts_are_told_apart() {
        assert_ne!(join(["a", "bc"]), join(["ab", "c"]));
        assert_ne!(join(["1:a"]), join(["", "a"]));
        assert_ne!(join([""]), join(["", ""]));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Keep { who: u8, deny: bool, millis: u16 },
        Find { who: u8 },
        Withdraw { who: u8 },
        Wait { millis: u16 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let who = || 0..12_u8;
        prop_oneof![
            4 => (who(), any::<bool>(), 0..50_u16).prop_map(|(who, deny, millis)| Step::Keep { who, deny, millis }),
            3 => who().prop_map(|who| Step::Find { who }),
            1 => who().prop_map(|who| Step::Withdraw { who }),
            2 => (0..20_u16).prop_map(|millis| Step::Wait { millis }),
        ]
    }

    proptest! {
        /// Against a plain list: nothing ended, withdrawn or said to somebody else is ever served, and the bounds hold.
        #[test]
        fn it_behaves_like_a_list(steps in prop::collection::vec(step(), 1..200)) {
            const MOST: usize = 5;
            let mut verdicts = small(MOST);
            let mut now = Instant::now();
            let mut model: Vec<(u8, Verdict, Instant)> = Vec::new();
            let asked = |who| question("cam", "token=a", who);
            for step in steps {
                match step {
                    Step::Keep { who, deny, millis } => {
                        let verdict = if deny { denied(&format!("no {who}")) } else { Verdict::Play };
                        let time = Duration::from_millis(millis.into());
                        keep(&mut verdicts, now, &asked(who), verdict.clone(), time);
                        model.retain(|(other, _, end)| *other != who && *end > now);
                        if millis > 0 {
                            if model.len() == MOST {
                                // Of several that end at once the one that was kept first.
                                let first = model.iter().enumerate().min_by_key(|(_, (.., end))| *end);
                                let first = first.map(|(place, _)| place).expect("it is full");
                                model.remove(first);
                            }
                            model.push((who, verdict, now + time));
                        }
                    }
                    Step::Find { who } => {
                        let expected = model.iter().find(|(other, _, end)| *other == who && *end > now);
                        prop_assert_eq!(verdicts.find(now, &asked(who)), expected.map(|(_, verdict, _)| verdict));
                    }
                    Step::Withdraw { who } => {
                        let gone = asked(who);
                        verdicts.withdraw(|question| *question == gone);
                        model.retain(|(other, ..)| *other != who);
                    }
                    Step::Wait { millis } => now += Duration::from_millis(millis.into()),
                }
                prop_assert!(verdicts.len() <= MOST);
                prop_assert_eq!(verdicts.by_end.len(), verdicts.by_question.len());
                let bytes: usize = verdicts.by_question.values().map(|kept| kept.bytes).sum();
                prop_assert_eq!(verdicts.bytes, bytes);
            }
        }
    }
}
