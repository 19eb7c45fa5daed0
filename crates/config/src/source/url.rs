//! The few parts of a URL that the configuration must tell apart (RFC 3986, section 3).

/// What stands behind `scheme://` when the scheme, in any case, is one of `schemes`.
pub(crate) fn strip_scheme<'a>(url: &'a str, schemes: &[&str]) -> Option<&'a str> {
    let (scheme, rest) = url.split_once("://")?;
    schemes
        .iter()
        .any(|known| known.eq_ignore_ascii_case(scheme))
        .then_some(rest)
}

/// Where the authority ends in what stands behind `://`.
pub(crate) fn authority_len(rest: &str) -> usize {
    rest.find(['/', '?', '#']).unwrap_or(rest.len())
}

/// The host in what stands behind `://`, without user, password and port.
pub(crate) fn host_of(rest: &str) -> &str {
    let (_, host, _) = split_authority(&rest[..authority_len(rest)]);
    host
}

/// User part with its `@`, host, and port with its colon.
pub(crate) fn split_authority(authority: &str) -> (&str, &str, &str) {
    let (user, rest) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    // A colon inside the brackets belongs to an IPv6 address.
    let port_from = rest.rfind(']').unwrap_or(0);
    let port = rest[port_from..]
        .find(':')
        .map_or(rest.len(), |at| port_from + at);
    (user, &rest[..port], &rest[port..])
}

/// The URL with user and password put before its host. Both are percent-encoded.
pub(super) fn with_credentials(url: &str, user: &str, password: &str) -> String {
    let Some(at) = url.find("://") else {
        return url.to_owned();
    };
    let (scheme, rest) = url.split_at(at + 3);
    format!("{scheme}{}:{}@{rest}", encode(user), encode(password))
}

/// Whether a character means nothing but itself everywhere in a URL (RFC 3986, section 2.3).
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Percent-encodes everything that is not unreserved (RFC 3986, section 2.1).
pub(super) fn encode(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_unreserved(byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes everything");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_taken_apart() {
        for (authority, parts) in [
            ("cam", ("", "cam", "")),
            ("u:p@cam:554", ("u:p@", "cam", ":554")),
            ("u:p@x@[::1]:554", ("u:p@x@", "[::1]", ":554")),
            ("[::1]", ("", "[::1]", "")),
            ("", ("", "", "")),
            (":80", ("", "", ":80")),
        ] {
            assert_eq!(split_authority(authority), parts, "{authority}");
        }
        assert_eq!(host_of("u@h:1/a@b:2"), "h");
    }
}
