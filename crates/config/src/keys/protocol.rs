//! Section `protocol`: the options of every new stream.

use super::ANY_MS;
use crate::key::{Key, Kind, Place, Reload::New};
use crate::protocol_options::ProtocolOptions;

/// The defaults of the options that a stream can override, see [`crate::protocol_options`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Protocol {
    pub(crate) options: ProtocolOptions,
}

impl Protocol {
    /// The options of a new stream before anybody overrides them.
    pub fn defaults(&self) -> ProtocolOptions {
        self.options.clone()
    }
}

const fn switch(name: &'static str, default: &'static str, place: Place<bool>, doc: &'static str) -> Key {
    Key::zlm(name, default, New, Kind::Bool(place), doc)
}

/// A switch without effect in this version.
const fn later(name: &'static str, default: &'static str, place: Place<bool>, doc: &'static str) -> Key {
    Key::stored(name, default, New, Kind::Bool(place), doc)
}

pub(super) const KEYS: &[Key] = &[
    Key::zlm(
        "protocol.modify_stamp",
        "2",
        New,
        Kind::Small {
            min: 0,
            max: 2,
            place: Some(|c| &mut c.protocol.options.modify_stamp),
        },
        "Repair of timestamps: 0 takes them as they are sent, 1 takes the time of arrival, 2 takes the increments of the source and repairs jumps.",
    ),
    switch(
        "protocol.enable_audio",
        "1",
        Some(|c| &mut c.protocol.options.enable_audio),
        "Carry audio. With 0 players get video only.",
    ),
    switch(
        "protocol.add_mute_audio",
        "1",
        Some(|c| &mut c.protocol.options.add_mute_audio),
        "Give streams without audio a silent AAC track. Without effect when `protocol.enable_audio` is 0.",
    ),
    switch(
        "protocol.auto_close",
        "0",
        Some(|c| &mut c.protocol.options.auto_close),
        "Close a stream that had no player for `general.streamNoneReaderDelayMS` without waiting for the answer of `on_stream_none_reader`.",
    ),
    Key::zlm(
        "protocol.continue_push_ms",
        "15000",
        New,
        Kind::Millis {
            min: 0,
            max: ANY_MS,
            place: Some(|c| &mut c.protocol.options.continue_push),
        },
        "After the connection of a publisher broke, keep the stream and its players this long, in milliseconds, for the publisher to come back. 0 is off. A proper end of publishing closes at once.",
    ),
    Key::stored(
        "protocol.paced_sender_ms",
        "0",
        New,
        Kind::Millis {
            min: 0,
            max: 10_000,
            place: Some(|c| &mut c.protocol.options.paced_sender),
        },
        "Smooth the output with a timer of this period, in milliseconds. 0 is off.",
    ),
    switch(
        "protocol.enable_rtmp",
        "1",
        Some(|c| &mut c.protocol.options.enable_rtmp),
        "Offer RTMP, HTTP-FLV and WebSocket-FLV.",
    ),
    switch(
        "protocol.enable_rtsp",
        "1",
        Some(|c| &mut c.protocol.options.enable_rtsp),
        "Offer RTSP over TCP, UDP and multicast.",
    ),
    switch(
        "protocol.enable_ts",
        "1",
        Some(|c| &mut c.protocol.options.enable_ts),
        "Offer MPEG-TS over HTTP and WebSocket.",
    ),
    switch(
        "protocol.enable_fmp4",
        "1",
        Some(|c| &mut c.protocol.options.enable_fmp4),
        "Offer fragmented MP4 over HTTP and WebSocket.",
    ),
    switch(
        "protocol.enable_hls",
        "1",
        Some(|c| &mut c.protocol.options.enable_hls),
        "Offer HLS with MPEG-TS segments.",
    ),
    switch(
        "protocol.enable_hls_fmp4",
        "0",
        Some(|c| &mut c.protocol.options.enable_hls_fmp4),
        "Offer HLS with fragmented MP4 segments; with `hls.partDur` it is Low-Latency HLS.",
    ),
    later(
        "protocol.enable_mp4",
        "0",
        Some(|c| &mut c.protocol.options.enable_mp4),
        "Record every stream as MP4 from its start.",
    ),
    later(
        "protocol.rtmp_demand",
        "0",
        Some(|c| &mut c.protocol.options.rtmp_demand),
        "RTMP and FLV are always made only while somebody plays them: the first player gets the cached group of pictures at once, as if they had been made all the time.",
    ),
    later(
        "protocol.rtsp_demand",
        "0",
        Some(|c| &mut c.protocol.options.rtsp_demand),
        "RTSP is always made only while somebody plays it, like RTMP.",
    ),
    later(
        "protocol.ts_demand",
        "0",
        Some(|c| &mut c.protocol.options.ts_demand),
        "MPEG-TS is always made only while somebody plays it, like RTMP.",
    ),
    later(
        "protocol.fmp4_demand",
        "0",
        Some(|c| &mut c.protocol.options.fmp4_demand),
        "Fragmented MP4 is always made only while somebody plays it, like RTMP.",
    ),
    switch(
        "protocol.hls_demand",
        "0",
        Some(|c| &mut c.protocol.options.hls_demand),
        "Cut segments only while somebody watches HLS: it saves memory, and the first viewer waits for the first segment. Without effect when `hls.segNum` is 0.",
    ),
    later(
        "protocol.mp4_as_player",
        "0",
        Some(|c| &mut c.protocol.options.mp4_as_player),
        "An MP4 recording counts as a player, so its stream does not count as unwatched.",
    ),
    Key::stored(
        "protocol.mp4_max_second",
        "3600",
        New,
        Kind::Seconds {
            min: 1.0,
            max: super::YEAR_S,
            place: Some(|c| &mut c.protocol.options.mp4_max),
        },
        "Length of one MP4 file, in seconds; then the next one is begun.",
    ),
    Key::stored(
        "protocol.mp4_save_path",
        "./www",
        New,
        Kind::Path(Some(|c| &mut c.protocol.options.mp4_save_path)),
        "Root folder of MP4 recordings and of their playback.",
    ),
    Key::zlm(
        "protocol.hls_save_path",
        "./www",
        New,
        Kind::Path(Some(|c| &mut c.protocol.options.hls_save_path)),
        "Root folder of HLS files, which are in `APP/STREAM` below it, or `VHOST/APP/STREAM` with `general.enableVhost`. They are written with `hls.segNum=0`, `hls.segKeep=1` or `hls.broadcastRecordTs=1`.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::protocol_options::CONFIGURED;

    #[test]
    fn the_table_holds_exactly_the_options_that_a_stream_can_override() {
        let mut names: Vec<_> = KEYS.iter().map(|key| key.short_name()).collect();
        let mut options = CONFIGURED.to_vec();
        names.sort_unstable();
        options.sort_unstable();
        assert_eq!(names, options);
    }

    #[test]
    fn the_defaults_of_the_table_are_those_of_the_type() {
        let mut config = Config::blank();
        config.protocol.options.max_track = 2;
        for key in KEYS {
            key.apply(key.default, &mut config).unwrap();
        }
        assert_eq!(config.protocol.defaults(), ProtocolOptions::default());
    }
}
