//! The configuration in the engine's and the hub's words.

use config::{Config, RtspTransport, Via};
use hub::RingLimits;
use lifecycle::backoff::Backoff;
use lifecycle::op::{FfmpegSpec, PullSpec, RulePolicy, RuleSource};
use lifecycle::settings::DuplicatePublish;
use md5::{Digest, Md5};
use media::key::DEFAULT_VHOST;
use media::{ProtocolOptions, Schema, StreamKey};
use std::time::Duration;

/// Most streams of one server. The hub and the engine keep the same bound.
pub const MAX_STREAMS: usize = 100_000;

/// The schemas that this version makes.
pub const SCHEMAS: &[Schema] = &[
    Schema::Fmp4,
    Schema::Rtsp,
    Schema::Ts,
    Schema::Rtmp,
    Schema::Hls,
    Schema::HlsFmp4,
];

/// How long a source may take to open if nobody says otherwise (api.md, section 3.4).
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The engine's policy.
pub fn settings(config: &Config) -> lifecycle::Settings {
    lifecycle::Settings {
        max_stream_wait: config.general.max_stream_wait,
        none_reader_delay: config.general.none_reader_delay,
        none_reader_retry: config.hook.none_reader_retry(config.general.none_reader_delay),
        not_found_per_player: config.hook.not_found_per_player,
        edge_opens: config.cluster.origin_on_demand,
        reset_when_replay: config.general.reset_when_replay,
        duplicate_publish: match config.general.duplicate_publish {
            config::DuplicatePublish::Reject => DuplicatePublish::Reject,
            config::DuplicatePublish::Takeover => DuplicatePublish::Takeover,
        },
        flow_threshold: config.general.flow_threshold,
        rtmp_direct_proxy: config.rtmp.direct_proxy,
        rtsp_direct_proxy: config.rtsp.direct_proxy,
        schemas: SCHEMAS,
        backoff: Backoff {
            min: config.proxy.retry_min,
            step: config.proxy.retry_step,
            max: config.proxy.retry_max,
            jitter_percent: config.proxy.jitter_percent,
        },
        ffmpeg_restart: config.ffmpeg.restart,
        max_streams: MAX_STREAMS,
        timeline_len: config.general.timeline_len as usize,
        ..lifecycle::Settings::default()
    }
}

/// Bounds of each stream's rings.
pub fn ring_limits(config: &Config) -> RingLimits {
    RingLimits {
        max_bytes: usize::try_from(config.general.ring_max_bytes).unwrap_or(usize::MAX),
        max_duration: config.general.ring_max,
        ..RingLimits::default()
    }
}

/// What the rules make of a missing stream's name. `rtmp_port` is where our own ffmpeg processes publish; `turn` grows with each
/// request, so that origin servers take turns.
pub fn resolve(
    config: &Config,
    key: &StreamKey,
    params: &str,
    rtmp_port: u16,
    turn: usize,
) -> Option<RuleSource> {
    match config.source_for(key.app(), key.stream()) {
        Some(rule) => Some(source(config, key.clone(), rule, rtmp_port)),
        None => from_origins(config, key, params, turn),
    }
}

/// The pull of an edge server (lifecycle.md, section 12): from `cluster.origin_url` in turn, with the viewer's parameters, so
/// that the origin can judge its token. All who wait for the stream share it.
fn from_origins(config: &Config, key: &StreamKey, params: &str, turn: usize) -> Option<RuleSource> {
    let origins = &config.cluster.origin_urls;
    let count = u32::try_from(origins.len()).ok().filter(|count| *count > 0)?;
    let url = |template: &String| {
        let filled = template
            .replacen("%s", key.app(), 1)
            .replacen("%s", key.stream(), 1);
        let separator = if filled.contains('?') { '&' } else { '?' };
        let more = if params.is_empty() {
            String::new()
        } else {
            format!("&{params}")
        };
        format!("{filled}{separator}edge=1&vhost={}{more}", key.vhost())
    };
    let mut urls = origins
        .iter()
        .cycle()
        .skip(turn % origins.len())
        .take(origins.len())
        .map(url);
    Some(RuleSource::Pull(PullSpec {
        key: key.clone(),
        url: urls.next()?,
        alternatives: urls.collect(),
        options: ProtocolOptions {
            // The origin has repaired the times. Kept as they are, all edges have one time line, and their HLS segments one name.
            modify_stamp: 0,
            ..config.protocol.defaults()
        },
        retry_count: Some(config.cluster.retry_count),
        force: false,
        timeout: config.cluster.timeout / count,
        client_options: Vec::new(),
        rule: Some(RulePolicy {
            on_demand: true,
            close_after: config.general.none_reader_delay,
        }),
    }))
}

/// The sources that run without being asked for.
pub fn permanent(config: &Config, rtmp_port: u16) -> Vec<RuleSource> {
    let fixed = config.sources.iter().filter(|rule| !rule.on_demand());
    fixed
        .filter_map(|rule| {
            let (app, stream) = rule.fixed_name()?;
            let key = StreamKey::new(DEFAULT_VHOST, app, stream);
            Some(source(config, key, rule.resolve(app, stream)?, rtmp_port))
        })
        .collect()
}

fn source(config: &Config, key: StreamKey, rule: config::ResolvedSource, rtmp_port: u16) -> RuleSource {
    let close_after = rule.close_after.unwrap_or(config.general.none_reader_delay);
    let policy = Some(RulePolicy {
        on_demand: rule.on_demand,
        close_after,
    });
    let timeout = rule.timeout.unwrap_or(OPEN_TIMEOUT);
    match rule.via {
        Via::Pull => {
            let transport = match rule.transport {
                RtspTransport::Any | RtspTransport::Tcp => "0",
                RtspTransport::Udp => "1",
                RtspTransport::Multicast => "2",
            };
            RuleSource::Pull(PullSpec {
                key,
                url: rule.url,
                alternatives: Vec::new(),
                options: config.protocol.defaults(),
                retry_count: rule.retry_count,
                force: !rule.on_demand,
                timeout,
                client_options: vec![("rtp_type".to_owned(), transport.to_owned())],
                rule: policy,
            })
        }
        Via::Ffmpeg => {
            let dst_url = format!("rtmp://127.0.0.1:{rtmp_port}/{}/{}", key.app(), key.stream());
            RuleSource::Ffmpeg(FfmpegSpec {
                key: md5_hex(&dst_url),
                src_url: rule.url,
                dst_url,
                local: Some(key),
                cmd_key: rule.ffmpeg_cmd_key,
                timeout,
                enable_hls: false,
                enable_mp4: false,
                rule: policy,
            })
        }
    }
}

/// The handle of an ffmpeg source (api.md, section 3.6).
fn md5_hex(text: &str) -> String {
    use std::fmt::Write;
    Md5::digest(text.as_bytes())
        .iter()
        .fold(String::with_capacity(32), |mut out, byte| {
            let _ = write!(out, "{byte:02x}"); // Writing to a String cannot fail.
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_question_about_an_unwatched_stream_waits_for_the_usual_delay() {
        let settings = settings(&Config::default());
        assert_eq!(settings.none_reader_retry, settings.none_reader_delay);
        assert_eq!(settings.none_reader_delay, Duration::from_secs(20));
    }

    #[test]
    fn origins_take_turns_and_get_the_viewers_parameters() {
        let changes = [(
            "cluster.origin_url".to_owned(),
            "rtmp://a/%s/%s;rtmp://b/%s/%s?k=v".to_owned(),
        )];
        let config = Config::default().set(&changes).config;
        let key = StreamKey::on_default_vhost("live", "cam");
        let urls = |turn| match resolve(&config, &key, "token=t", 0, turn) {
            Some(RuleSource::Pull(spec)) => [vec![spec.url], spec.alternatives].concat(),
            Some(RuleSource::Ffmpeg(_)) | None => Vec::new(),
        };
        let a = "rtmp://a/live/cam?edge=1&vhost=__defaultVhost__&token=t".to_owned();
        let b = "rtmp://b/live/cam?k=v&edge=1&vhost=__defaultVhost__&token=t".to_owned();
        assert_eq!(urls(0), [a.clone(), b.clone()]);
        assert_eq!(urls(1), [b, a]);
    }

    #[test]
    fn handles_of_ffmpeg_sources_are_md5_in_hexadecimal() {
        assert_eq!(md5_hex("abc"), "900150983cd24fb0d6963f7d28e17f72");
    }
}
