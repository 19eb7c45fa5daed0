//! "Did you mean": the known name that is nearest to a mistyped one.

use crate::keys;

/// The name of the key that `name` was probably meant to be.
pub(crate) fn key(name: &str) -> Option<&'static str> {
    let names = || keys::all().map(|key| key.name);
    // The right key in the wrong section, if only one section has it.
    let short = name.rsplit('.').next().unwrap_or(name);
    let mut same = keys::all().filter(|key| key.short_name().eq_ignore_ascii_case(short));
    if let (Some(only), None) = (same.next(), same.next()) {
        return Some(only.name);
    }
    among(name, names())
}

/// The candidate that is nearest to `name` without regard to case, if it is near enough to have been meant.
pub(crate) fn among<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > MAX_LEN {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let distance = |candidate: &str| strsim::osa_distance(&name, &candidate.to_ascii_lowercase());
    let (distance, nearest) = candidates
        .map(|candidate| (distance(candidate), candidate))
        .min()?;
    // A third of the name may be wrong; beyond that the proposal confuses more than it helps.
    (distance <= (name.chars().count() / 3).clamp(1, 6)).then_some(nearest)
}

/// Longer names are not compared: the cost grows with the product of the lengths.
const MAX_LEN: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_names_are_recognised() {
        for (name, nearest) in [
            ("hook.on_steam_not_found", Some("hook.on_stream_not_found")),
            ("hook.Enable", Some("hook.enable")),
            ("http.prot", Some("http.port")),
            (
                "general.streamNoneReaderDelay",
                Some("general.streamNoneReaderDelayMS"),
            ),
            ("http.secret", Some("api.secret")),
            ("secret", Some("api.secret")),
            ("transcoding.quality_of_everything", None),
            ("", None),
        ] {
            assert_eq!(key(name), nearest, "{name}");
        }
        assert_eq!(key(&"x".repeat(100_000)), None);
    }
}
