//! The key table: every key of the configuration, one file per section, each beside the typed section that it fills.
//! Parser, defaults, `getServerConfig`, `setServerConfig`, the sample files and the manual all come from here.

mod api;
mod cluster;
mod ffmpeg;
mod general;
mod hls;
mod hook;
mod http;
mod metrics;
mod multicast;
mod other;
mod protocol;
mod proxy;
mod record;
mod rtc;
mod rtmp;
mod rtp;
mod rtp_proxy;
mod rtsp;
mod srt;

pub use api::Api;
pub use cluster::Cluster;
pub use ffmpeg::Ffmpeg;
pub use general::{DuplicatePublish, General, LogFormat, TsG711};
pub use hls::Hls;
pub use hook::Hook;
pub use http::{Http, PlayerPage};
pub use metrics::Metrics;
pub use multicast::Multicast;
pub use protocol::Protocol;
pub use proxy::Proxy;
pub use record::Record;
pub use rtc::Rtc;
pub use rtmp::Rtmp;
pub use rtp::Rtp;
pub use rtp_proxy::RtpProxy;
pub use rtsp::{Rtsp, RtspTransport};
pub use srt::Srt;

use crate::key::Key;
pub(crate) use ffmpeg::{CMD, CMD_PREFIX};

/// The table in the order of the manual and of the sample files.
const SECTIONS: [&[Key]; 19] = [
    api::KEYS,
    general::KEYS,
    http::KEYS,
    rtmp::KEYS,
    hook::KEYS,
    protocol::KEYS,
    ffmpeg::KEYS,
    proxy::KEYS,
    metrics::KEYS,
    cluster::KEYS,
    hls::KEYS,
    record::KEYS,
    rtsp::KEYS,
    rtp::KEYS,
    rtp_proxy::KEYS,
    rtc::KEYS,
    srt::KEYS,
    multicast::KEYS,
    other::KEYS,
];

/// Every key, section by section.
pub fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.into_iter().flatten()
}

/// The row that describes `name`. The templates `ffmpeg.cmd_ANY` share one row, whose own name is `ffmpeg.cmd`.
pub fn find(name: &str) -> Option<&'static Key> {
    let name = if name.starts_with(CMD_PREFIX) { CMD } else { name };
    all().find(|key| key.name == name)
}

/// Longest time in milliseconds that a key may hold, about 49 days. Who writes more means "never".
pub(crate) const ANY_MS: u32 = u32::MAX;

/// Longest time in seconds that a key may hold: a year.
pub(crate) const YEAR_S: f64 = 31_536_000.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_also_without_case_and_have_one_section() {
        let mut seen = BTreeSet::new();
        for key in all() {
            assert!(
                seen.insert(key.name.to_ascii_lowercase()),
                "{} stands twice",
                key.name
            );
            assert_eq!(key.name.matches('.').count(), 1, "{}", key.name);
            // TIDEGATE_SECTION__KEY is split at the first double underscore.
            assert!(!key.name.contains("__"), "{}", key.name);
        }
    }

    #[test]
    fn every_default_is_allowed() {
        for key in all() {
            let applied = key.apply(key.default, &mut Config::blank());
            assert_eq!(applied, Ok(()), "{}", key.name);
        }
    }

    #[test]
    fn every_key_is_explained_in_one_paragraph() {
        for key in all() {
            assert!(
                key.doc.len() > 20 && key.doc.ends_with('.'),
                "{}: {:?}",
                key.name,
                key.doc
            );
            assert!(
                !key.doc.contains('\n') && !key.doc.contains("  "),
                "{}: {:?}",
                key.name,
                key.doc
            );
        }
    }

    #[test]
    fn an_effective_key_has_a_typed_place() {
        for key in all().filter(|key| key.effective && key.kind_name() != "text") {
            // A value that differs from the default must change something.
            let others = [
                "0",
                "1",
                "2",
                "7",
                "4096",
                "65536",
                "20-90",
                "/x",
                "http://x/",
                "10.0.0.1",
                "224.1.2.3",
                "x",
                "x,/y",
                "1111111111111111111111111111111111111111111111111111111111111111",
            ];
            let words = [
                "%s a %s %s",
                "reject",
                "takeover",
                "registered",
                "omit",
                "json",
                "on_play",
            ];
            let mut base = Config::blank();
            key.apply(key.default, &mut base).unwrap();
            let changed = others.into_iter().chain(words).any(|text| {
                let mut config = base.clone();
                key.apply(text, &mut config).is_ok() && format!("{config:?}") != format!("{base:?}")
            });
            assert!(changed, "{} changes nothing", key.name);
        }
    }

    #[test]
    fn numbers_are_bounded_and_say_so() {
        for key in
            all().filter(|key| key.kind_name().starts_with("int") || key.kind_name().starts_with("float"))
        {
            for wrong in [
                "",
                "x",
                "12abc",
                "-1",
                "nan",
                "inf",
                "1e3",
                "99999999999999999999999",
                "0x10",
                "1,5",
            ] {
                let mut config = Config::blank();
                let refused = key.apply(wrong, &mut config).expect_err(key.name);
                assert!(refused.0.contains("number"), "{}: {}", key.name, refused.0);
            }
        }
    }

    #[test]
    fn templates_of_any_name_share_the_row_of_the_template() {
        assert_eq!(find("ffmpeg.cmd_h265").map(|key| key.name), Some("ffmpeg.cmd"));
        assert_eq!(find("ffmpeg.cmd2").map(|key| key.name), None);
        assert_eq!(find("hook.enable").map(|key| key.name), Some("hook.enable"));
        assert!(find("hook.Enable").is_none(), "case matters");
    }
}
