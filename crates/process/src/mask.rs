//! Takes secrets out of text that is logged or shown: user and password in URLs, values of parameters with telling names,
//! and `Authorization` headers. It rather hides too much than too little.
//!
//! A secret that is a plain part of a path (`rtmp://host/live/STREAM-KEY`) cannot be told from a stream name and stays.

use std::borrow::Cow;

/// What stands in the place of a secret.
pub const MASKED: &str = "***";

/// True for names such as `token`, `api_key`, `Sign`, `wsSecret` or `password`.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let inside = [
        "token",
        "secret",
        "sign",
        "passw",
        "passphrase",
        "pwd",
        "auth",
        "credential",
    ];
    let at_end = ["key", "sig", "pass"];
    inside.iter().any(|part| name.contains(part)) || at_end.iter().any(|part| name.ends_with(part))
}

/// Masks one line of text.
pub fn mask(text: &str) -> Cow<'_, str> {
    let mut spans = Vec::new();
    userinfo_spans(text, &mut spans);
    parameter_spans(text, &mut spans);
    authorization_spans(text, &mut spans);
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    spans.sort_unstable();
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (from, to) in spans {
        if from > done || out.is_empty() {
            out.push_str(&text[done..from]);
            out.push_str(MASKED);
        }
        done = done.max(to);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || c == '"' || c == '\''
}

/// `scheme://user:password@host`: everything before the last `@` of the authority.
fn userinfo_spans(text: &str, spans: &mut Vec<(usize, usize)>) {
    for (at, _) in text.match_indices("://") {
        let from = at + 3;
        let word = &text[from..];
        let word = &word[..word.find(ends_word).unwrap_or(word.len())];
        let authority = &word[..word.find(['/', '?', '#']).unwrap_or(word.len())];
        if let Some(end) = authority.rfind('@') {
            spans.push((from, from + end));
        } else if let Some((_, port)) = authority.rsplit_once(':')
            && !port.is_empty()
            && !port.bytes().all(|b| b.is_ascii_digit())
            && !authority.ends_with(']')
            && let Some(end) = word.rfind('@').or_else(|| text[from..].find('@'))
        {
            // A password with an unescaped `/`, `?`, `#`, quote or blank: no valid URL, but people write it, and it would be
            // shown.
            spans.push((from, from + end));
        }
    }
}

/// `name=value` and, inside an escaped URL, `name%3Dvalue`.
fn parameter_spans(text: &str, spans: &mut Vec<(usize, usize)>) {
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        let value_at = match bytes[at] {
            b'=' => at + 1,
            b'%' if bytes[at..].len() >= 3 && bytes[at + 1..at + 3].eq_ignore_ascii_case(b"3d") => at + 3,
            _ => continue,
        };
        let name_len = bytes[..at]
            .iter()
            .rev()
            .take_while(|b| b.is_ascii_alphanumeric() || b"_-.".contains(b))
            .count();
        if name_len == 0 || !is_secret_name(&text[at - name_len..at]) {
            continue;
        }
        let value = &text[value_at..];
        let value = &value[..value.find(|c| c == '&' || ends_word(c)).unwrap_or(value.len())];
        // "URL: what is wrong with it"
        let len = value.strip_suffix(':').unwrap_or(value).len();
        if len > 0 {
            spans.push((value_at, value_at + len));
        }
    }
}

/// `Authorization: anything to the end of the line`.
fn authorization_spans(text: &str, spans: &mut Vec<(usize, usize)>) {
    let lower = text.to_ascii_lowercase();
    for (at, name) in lower.match_indices("authorization:") {
        let from = at + name.len();
        let blanks = text[from..].len() - text[from..].trim_start().len();
        if from + blanks < text.len() {
            spans.push((from + blanks, text.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(mask(text), expected, "for {text}");
    }

    #[test]
    fn user_and_password() {
        check(
            "open rtsp://admin:12345@10.0.0.1:554/ch1",
            "open rtsp://***@10.0.0.1:554/ch1",
        );
        check("rtsp://admin:p@ss@cam/1", "rtsp://***@cam/1");
        check("rtsp://admin:p#1/x@cam/1", "rtsp://***@cam/1");
        check("rtsp://admin:it's me@cam/1: 401", "rtsp://***@cam/1: 401");
        check(
            "'rtmp://a:b@x/y': Input/output error",
            "'rtmp://***@x/y': Input/output error",
        );
        check(
            "tee rtmp://a:b@x/1|rtmp://c:d@y/2",
            "tee rtmp://***@x/1|rtmp://***@y/2",
        );
        check("rtsp://[fe80::1]/stream@2", "rtsp://[fe80::1]/stream@2");
        check("http://host:8080/a@b", "http://host:8080/a@b");
    }

    #[test]
    fn parameters() {
        check("rtmp://x/y?token=abc&user=1", "rtmp://x/y?token=***&user=1");
        check(
            "http://x/?a=1&apiKey=k&Sign=s",
            "http://x/?a=1&apiKey=***&Sign=***",
        );
        check(
            "srt://x:9000?streamid=#!::r=live/a,m=publish,token=abc",
            "srt://x:9000?streamid=#!::r=live/a,m=publish,token=***",
        );
        check(
            "srt://x?streamid=r%3Dlive%2Ctoken%3Dabc&latency=1",
            "srt://x?streamid=r%3Dlive%2Ctoken%3D***&latency=1",
        );
        check("?passphrase=x y", "?passphrase=*** y");
        check(
            "frame=  100 fps= 25 q=-1.0 keyframes=3",
            "frame=  100 fps= 25 q=-1.0 keyframes=3",
        );
        check("?token=", "?token=");
    }

    #[test]
    fn authorization() {
        check(
            "-headers 'Authorization: Bearer abc def'",
            "-headers 'Authorization: ***",
        );
    }

    proptest! {
        #[test]
        fn secrets_never_remain(user in "[a-z]{1,8}", pass in "Q[A-Z0-9@:!*+]{8,20}", key in "(token|secret|sign|key|password)") {
            let text = format!("x rtsp://{user}:{pass}@host/a?{key}={pass}&b=1 y");
            let masked = mask(&text);
            prop_assert!(!masked.contains(&pass), "{}", masked);
            prop_assert!(masked.contains("host/a") && masked.contains("&b=1 y"), "{}", masked);
        }

        #[test]
        fn text_without_secrets_is_not_touched(text in "(://|token|key|:|/|é|[ -$&-;?-~&&[^@]]){0,30}") {
            prop_assert!(matches!(mask(&text), Cow::Borrowed(same) if same == text));
        }

        #[test]
        fn any_text_is_taken(text in "(://|@|=|token|%3D|é|[ -~]){0,30}") {
            // Nothing is made up: what remains stood there before, in this order.
            let masked = mask(&text).into_owned();
            let mut rest = text.as_str();
            for piece in masked.split(MASKED) {
                let at = rest.find(piece);
                prop_assert!(at.is_some(), "{} in {}", piece, masked);
                rest = &rest[at.unwrap() + piece.len()..];
            }
        }
    }
}
