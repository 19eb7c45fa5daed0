//! Conditional requests and ranges (RFC 9110, sections 13 and 14).

use super::root::Meta;
use axum::http::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file that was changed so recently may be changed again within the same tick of the file system's clock, so its validators are
/// weak (RFC 9110, sections 8.8.1 and 8.8.2.2).
const SETTLED: Duration = Duration::from_secs(2);

/// What a request says about the state of the file that it wants.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    if_match: String,
    if_none_match: String,
    if_modified_since: Option<SystemTime>,
    if_unmodified_since: Option<SystemTime>,
    if_range: String,
    range: String,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole file: 200.
    Whole,
    /// These bytes: 206. `first <= last < length`.
    Range {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// Nothing, the client has it: 304.
    NotModified,
    /// Nothing, it is not what the client thinks: 412.
    Failed,
    /// No such bytes: 416.
    Unsatisfiable,
}

/// By what clients recognise a state of a file.
#[derive(Clone, Debug)]
pub struct Validators {
    /// `ETag`.
    pub tag: String,
    /// `Last-Modified`, in whole seconds.
    pub modified: Option<SystemTime>,
    strong: bool,
}

impl Validators {
    /// Those of a file, as it is `now`.
    pub fn new(meta: &Meta, now: SystemTime) -> Self {
        let time = meta.time();
        let strong = time.is_some_and(|time| now.duration_since(time).is_ok_and(|age| age >= SETTLED));
        let weak = if strong { "" } else { "W/" };
        let (seconds, nanos) = meta.modified;
        Self {
            tag: format!("{weak}\"{:x}-{seconds:x}.{nanos:x}-{:x}\"", meta.len, meta.inode),
            modified: time.map(whole_seconds),
            strong,
        }
    }

    fn opaque(&self) -> &str {
        self.tag.trim_start_matches("W/")
    }

    fn matches(&self, list: &str, strongly: bool) -> bool {
        if list.trim() == "*" {
            return true;
        }
        // Our tags hold no comma, so a tag that does is cut into pieces that are none of ours.
        list.split(',')
            .map(str::trim)
            .any(|tag| match tag.strip_prefix("W/") {
                Some(weak) => !strongly && weak == self.opaque(),
                None => (!strongly || self.strong) && tag == self.opaque(),
            })
    }
}

impl Conditions {
    /// Those of a request.
    pub fn of(headers: &HeaderMap) -> Self {
        let list = |name: HeaderName| {
            let values = headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok());
            values.collect::<Vec<_>>().join(",")
        };
        let date = |name: HeaderName| {
            let text = headers.get(name)?.to_str().ok()?;
            httpdate::parse_http_date(text).ok()
        };
        Self {
            if_match: list(IF_MATCH),
            if_none_match: list(IF_NONE_MATCH),
            if_modified_since: date(IF_MODIFIED_SINCE),
            if_unmodified_since: date(IF_UNMODIFIED_SINCE),
            if_range: list(IF_RANGE),
            range: list(RANGE),
        }
    }

    /// What they mean for a file of `len` bytes, in the order of RFC 9110, section 13.2.2. Ranges are for GET only (section 14.2).
    pub fn judge(&self, validators: &Validators, len: u64, get: bool) -> Part {
        let modified = validators.modified;
        if !self.if_match.is_empty() {
            if !validators.matches(&self.if_match, true) {
                return Part::Failed;
            }
        } else if let (Some(date), Some(modified)) = (self.if_unmodified_since, modified)
            && modified > date
        {
            return Part::Failed;
        }
        if !self.if_none_match.is_empty() {
            if validators.matches(&self.if_none_match, false) {
                return Part::NotModified;
            }
        } else if let (Some(date), Some(modified)) = (self.if_modified_since, modified)
            && modified <= date
        {
            return Part::NotModified;
        }
        if get && !self.range.is_empty() && self.range_applies(validators) {
            range(&self.range, len)
        } else {
            Part::Whole
        }
    }

    /// `If-Range` (section 13.1.5): a strong tag, or exactly the date of a state that lasted.
    fn range_applies(&self, validators: &Validators) -> bool {
        let text = self.if_range.trim();
        if text.is_empty() {
            return true;
        }
        if text.starts_with('"') || text.starts_with("W/") {
            return text != "*" && validators.matches(text, true);
        }
        let date = httpdate::parse_http_date(text).ok();
        validators.strong && date.is_some() && date == validators.modified
    }
}

/// The range of a file that `text` asks for. What is no range of bytes is ignored, and so are several ranges in one request: the
/// whole file is right for both (section 14.2), while many small pieces of it cost more than they bring (section 17.15).
pub fn range(text: &str, len: u64) -> Part {
    let Some((unit, ranges)) = text.split_once('=') else {
        return Part::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return Part::Whole;
    }
    let Some((first, last)) = ranges.trim().split_once('-') else {
        return Part::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    let (first, last) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last),
        (Some(first), None) if last.is_empty() => (first, u64::MAX),
        // The last so many bytes.
        (None, Some(count)) if first.is_empty() => {
            if count == 0 {
                return Part::Unsatisfiable;
            }
            (len.saturating_sub(count), u64::MAX)
        }
        _ => return Part::Whole,
    };
    if first >= len {
        return Part::Unsatisfiable;
    }
    Part::Range {
        first,
        last: last.min(len.saturating_sub(1)),
    }
}

/// Digits; what is beyond 64 bit is beyond every file.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    /// Changed on Sun, 06 Nov 1994 08:49:37.5 GMT.
    const META: Meta = Meta {
        len: 1000,
        modified: (784_111_777, 500_000_000),
        inode: 0x2a,
    };
    const TAG: &str = "\"3e8-2ebc98a1.1dcd6500-2a\"";
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn judge_at(age: Duration, len: u64, headers: &[(&str, &str)]) -> Part {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            map.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let validators = Validators::new(&META, META.time().expect("a date") + age);
        Conditions::of(&map).judge(&validators, len, true)
    }

    fn judge(headers: &[(&str, &str)]) -> Part {
        judge_at(Duration::from_secs(3600), 1000, headers)
    }

    fn part(first: u64, last: u64) -> Part {
        Part::Range { first, last }
    }

    #[test]
    fn ranges_are_those_of_the_standard() {
        for (text, expected) in [
            ("bytes=0-", part(0, 999)),
            ("bytes=0-0", part(0, 0)),
            ("bytes=10-19", part(10, 19)),
            ("Bytes = 10 - 19", part(10, 19)),
            ("bytes=990-5000", part(990, 999)),
            ("bytes=-100", part(900, 999)),
            ("bytes=-5000", part(0, 999)),
            ("bytes=0-99999999999999999999999", part(0, 999)),
            ("bytes=1000-", Part::Unsatisfiable),
            ("bytes=99999999999999999999999-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=10-5", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=--5", Part::Whole),
            ("bytes=0-1,5-6", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("0-1", Part::Whole),
        ] {
            assert_eq!(judge(&[("range", text)]), expected, "{text}");
        }
        let empty = |text| judge_at(Duration::from_secs(3600), 0, &[("range", text)]);
        assert_eq!(empty("bytes=0-"), Part::Unsatisfiable);
        assert_eq!(empty("bytes=-5"), Part::Unsatisfiable);
        // Two headers are two ranges.
        assert_eq!(
            judge(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]),
            Part::Whole
        );
        let validators = Validators::new(&META, SystemTime::now());
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(
            Conditions::of(&headers).judge(&validators, 1000, false),
            Part::Whole
        );
    }

    #[test]
    fn copies_that_are_still_right_are_not_sent_again() {
        let weak = format!("W/{TAG}");
        let list = format!("\"x,y\", {TAG}");
        for (headers, expected) in [
            (vec![("if-none-match", TAG)], Part::NotModified),
            (vec![("if-none-match", weak.as_str())], Part::NotModified),
            (vec![("if-none-match", list.as_str())], Part::NotModified),
            (vec![("if-none-match", "*")], Part::NotModified),
            (vec![("if-none-match", "\"x\"")], Part::Whole),
            (vec![("if-modified-since", DATE)], Part::NotModified),
            (vec![("if-modified-since", LATER)], Part::NotModified),
            (vec![("if-modified-since", EARLIER)], Part::Whole),
            (vec![("if-modified-since", "yesterday")], Part::Whole),
            // The tag decides, the date is for those who do not know tags.
            (
                vec![("if-none-match", "\"x\""), ("if-modified-since", LATER)],
                Part::Whole,
            ),
            (
                vec![("if-none-match", TAG), ("range", "bytes=0-1")],
                Part::NotModified,
            ),
        ] {
            assert_eq!(judge(&headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn requests_for_another_state_fail() {
        let weak = format!("W/{TAG}");
        for (headers, expected) in [
            (vec![("if-match", TAG)], Part::Whole),
            (vec![("if-match", "*")], Part::Whole),
            (vec![("if-match", weak.as_str())], Part::Failed),
            (vec![("if-match", "\"x\""), ("if-none-match", TAG)], Part::Failed),
            (vec![("if-unmodified-since", DATE)], Part::Whole),
            (vec![("if-unmodified-since", EARLIER)], Part::Failed),
            (
                vec![("if-match", TAG), ("if-unmodified-since", EARLIER)],
                Part::Whole,
            ),
        ] {
            assert_eq!(judge(&headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_range_of_another_state_is_the_whole_file() {
        let weak = format!("W/{TAG}");
        for (if_range, expected) in [
            (TAG, part(0, 1)),
            (DATE, part(0, 1)),
            (weak.as_str(), Part::Whole),
            ("\"x\"", Part::Whole),
            (LATER, Part::Whole),
            (EARLIER, Part::Whole),
            ("*", Part::Whole),
        ] {
            let headers = [("range", "bytes=0-1"), ("if-range", if_range)];
            assert_eq!(judge(&headers), expected, "{if_range}");
            if expected != Part::Whole {
                let fresh = judge_at(Duration::from_secs(1), 1000, &headers);
                assert_eq!(fresh, Part::Whole, "{if_range} of a file that is being written");
            }
        }
    }

    #[test]
    fn a_file_that_is_being_written_has_a_weak_tag() {
        let time = META.time().expect("a date");
        assert_eq!(Validators::new(&META, time + SETTLED).tag, TAG);
        assert_eq!(
            Validators::new(&META, time + Duration::from_secs(1)).tag,
            format!("W/{TAG}")
        );
        // A clock that was set back.
        assert_eq!(Validators::new(&META, time - SETTLED).tag, format!("W/{TAG}"));
    }
}
