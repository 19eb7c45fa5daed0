use super::*;
use crate::sdp::Session;
use media::TrackId;
use media::track::{AudioParams, TrackParams, VideoParams};
use proptest::prelude::*;

const SPS: &str = "Z2QADazZQUH7ARAAAAMAEAAAAwMg8UKZYA==";
const PPS: &str = "aOvjyyLA";

fn sections(text: &str) -> Vec<Media> {
    Session::parse(text.as_bytes()).unwrap().media
}

fn formats(text: &str) -> Vec<Option<Format>> {
    sections(text).iter().map(Format::of).collect()
}

fn only(text: &str) -> Format {
    Format::of(&Media::parse_section(text).unwrap()).unwrap()
}

fn audio(sample_rate: u32, channels: u8) -> TrackParams {
    TrackParams::Audio(AudioParams {
        sample_rate,
        channels,
        sample_bits: 16,
    })
}

fn video(width: u32, height: u32, fps: f32) -> TrackParams {
    TrackParams::Video(VideoParams { width, height, fps })
}

fn no_video() -> TrackParams {
    TrackParams::Video(VideoParams::default())
}

fn track(codec: CodecId, config: Option<Bytes>, params: TrackParams) -> Track {
    Track {
        id: TrackId(0),
        codec,
        config,
        params,
        wire: None,
    }
}

fn initial(text: &str) -> (Option<Bytes>, TrackParams) {
    let initial = only(text).initial();
    assert_eq!(initial.errors, []);
    (initial.config, initial.params)
}

fn avcc() -> Bytes {
    let text =
        format!("m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 sprop-parameter-sets={SPS},{PPS}");
    initial(&text).0.unwrap()
}

const H265: &str = "m=video 9 RTP/AVP 96\na=rtpmap:96 H265/90000\n\
    a=fmtp:96 sprop-vps=QAEMAf//AWAAAAMAkAAAAwAAAwA8lZgJ; \
    sprop-sps=QgEBAWAAAAMAkAAAAwAAAwA8oAoIDxZZWaSTK8BaAgAAAwACAAADADIQ; sprop-pps=RAHBcrRiQA==";

/// Sends a track's description through text.
fn there_and_back(track: &Track, text: &str) -> Initial {
    let format = Format::for_track(track, 96).unwrap();
    let media = format.media("trackID=0", Some(500));
    assert_eq!(media.section(), text.replace('\n', "\r\n"));
    let read = only(&Session::live("x", vec![media]).to_string());
    assert_eq!(read, format);
    assert_eq!(read.codec, track.codec);
    let initial = read.initial();
    assert_eq!(initial.errors, []);
    initial
}

#[test]
fn every_codec_is_described_and_understood_again() {
    let check = |codec, config: Option<Bytes>, params, text: &str| {
        let track = track(codec, config, params);
        let initial = there_and_back(&track, text);
        assert_eq!(
            (initial.config, initial.params),
            (track.config, track.params),
            "{text}"
        );
    };
    check(
        CodecId::H264,
        Some(avcc()),
        video(320, 240, 25.0),
        &format!(
            "m=video 0 RTP/AVP 96\nb=AS:500\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1;\
             profile-level-id=64000D;sprop-parameter-sets={SPS},{PPS}\na=control:trackID=0\n"
        ),
    );
    check(
        CodecId::H265,
        initial(H265).0,
        video(320, 240, 25.0),
        "m=video 0 RTP/AVP 96\nb=AS:500\na=rtpmap:96 H265/90000\na=fmtp:96 level-id=60;profile-id=1;tier-flag=0;\
         sprop-vps=QAEMAf//AWAAAAMAkAAAAwAAAwA8lZgJ;sprop-sps=QgEBAWAAAAMAkAAAAwAAAwA8oAoIDxZZWaSTK8BaAgAAAwACAAADADIQ;\
         sprop-pps=RAHBcrRiQA==\na=control:trackID=0\n",
    );
    check(
        CodecId::Vp8,
        None,
        no_video(),
        "m=video 0 RTP/AVP 96\nb=AS:500\na=rtpmap:96 VP8/90000\na=control:trackID=0\n",
    );
    check(
        CodecId::Vp9,
        None,
        no_video(),
        "m=video 0 RTP/AVP 96\nb=AS:500\na=rtpmap:96 VP9/90000\na=control:trackID=0\n",
    );
    let aac = |config: &'static [u8], params, map: &str| {
        let text = format!(
            "m=audio 0 RTP/AVP 96\nb=AS:500\na=rtpmap:96 mpeg4-generic/{map}\na=fmtp:96 streamtype=5;profile-level-id=1;\
             mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={}\na=control:trackID=0\n",
            upper_hex(config)
        );
        check(CodecId::Aac, Some(Bytes::from_static(config)), params, &text);
    };
    aac(&[0x12, 0x08], audio(44_100, 1), "44100/1");
    // HE-AAC v2, whole: AAC LC at 24000, SBR to 48000, parametric stereo.
    aac(&[0xeb, 0x09, 0x88, 0x00], audio(48_000, 2), "48000/2");
    let opus = |channels, fmtp: &str| {
        let head = opus::Head::new(channels);
        let text =
            format!("m=audio 0 RTP/AVP 96\nb=AS:500\na=rtpmap:96 opus/48000/2\n{fmtp}a=control:trackID=0\n");
        check(CodecId::Opus, Some(head.build()), audio(48_000, channels), &text);
    };
    opus(2, "a=fmtp:96 sprop-stereo=1\n");
    opus(1, "");
    let plain = |codec, rate, channels, payload_type, map: &str| {
        let text = format!(
            "m=audio 0 RTP/AVP {payload_type}\nb=AS:500\na=rtpmap:{payload_type} {map}\na=control:trackID=0\n"
        );
        check(codec, None, audio(rate, channels), &text);
    };
    plain(CodecId::G711A, 8000, 1, 8, "PCMA/8000");
    plain(CodecId::G711U, 8000, 1, 0, "PCMU/8000");
    plain(CodecId::G711U, 16_000, 2, 96, "PCMU/16000/2");
    plain(CodecId::L16, 44_100, 2, 10, "L16/44100/2");
    plain(CodecId::L16, 44_100, 1, 11, "L16/44100");
    plain(CodecId::L16, 48_000, 2, 96, "L16/48000/2");
    // The frames tell what MPA does not.
    plain(CodecId::Mp3, 0, 0, 14, "MPA/90000");
}

#[test]
fn parameters_of_av1_and_vp9_are_for_the_player_only() {
    let av1c = Bytes::from_static(&[0x81, 0x25, 0x8c, 0x00]);
    let initial = there_and_back(
        &track(CodecId::Av1, Some(av1c), no_video()),
        "m=video 0 RTP/AVP 96\nb=AS:500\na=rtpmap:96 AV1/90000\na=fmtp:96 profile=1;level-idx=5;tier=1\na=control:trackID=0\n",
    );
    assert_eq!((initial.config, initial.params), (None, no_video()));
    let vpcc = Bytes::from_static(&[1, 31, 0x84, 2, 2, 2, 0, 0]);
    let initial = there_and_back(
        &track(CodecId::Vp9, Some(vpcc), no_video()),
        "m=video 0 RTP/AVP 96\nb=AS:500\na=rtpmap:96 VP9/90000\na=fmtp:96 profile-id=1\na=control:trackID=0\n",
    );
    assert_eq!(initial.config, None);
}

#[test]
fn what_no_player_could_decode_is_not_offered() {
    let none = |codec, config: Option<Bytes>, params| {
        assert_eq!(Format::for_track(&track(codec, config, params), 96), None);
    };
    none(CodecId::Aac, None, audio(44_100, 2));
    none(CodecId::Jpeg, None, no_video());
    none(CodecId::Other(MediaKind::Video), None, no_video());
    none(CodecId::L16, None, audio(0, 0));
    none(CodecId::Opus, None, audio(48_000, 6));
}

/// What FFmpeg 5.1 writes with `-sdp_file`, one description for each section.
#[test]
fn ffmpeg_is_understood() {
    let h264 = format!(
        "m=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n\
         a=fmtp:96 packetization-mode=1; sprop-parameter-sets={SPS},{PPS}; profile-level-id=64000D"
    );
    let (config, params) = initial(&h264);
    assert_eq!(params, video(320, 240, 25.0));
    let config = h264::Config::parse(&config.unwrap()).unwrap();
    assert_eq!(
        (config.profile, config.level, config.sps.len(), config.pps.len()),
        (100, 13, 1, 1)
    );
    assert_eq!(initial(H265).1, video(320, 240, 25.0));
    assert_eq!(
        only("m=video 9 RTP/AVP 96\na=rtpmap:96 MP4V-ES/90000").codec,
        CodecId::Other(MediaKind::Video)
    );

    let aac = "m=audio 9 RTP/AVP 97\na=rtpmap:97 MPEG4-GENERIC/48000/2\na=fmtp:97 profile-level-id=1;mode=AAC-hbr;\
               sizelength=13;indexlength=3;indexdeltalength=3; config=119056E500";
    let whole = Bytes::from_static(&[0x11, 0x90, 0x56, 0xe5, 0x00]);
    assert_eq!(initial(aac), (Some(whole), audio(48_000, 2)));
    let opus = "m=audio 9 RTP/AVP 97\na=rtpmap:97 opus/48000/2\na=fmtp:97 sprop-stereo=1";
    assert_eq!(initial(opus).1, audio(48_000, 2));
    assert_eq!(initial("m=audio 9 RTP/AVP 8"), (None, audio(8000, 1)));
    assert_eq!(initial("m=audio 9 RTP/AVP 14"), (None, audio(0, 0)));
    assert_eq!(
        initial("m=audio 9 RTP/AVP 97\na=rtpmap:97 L16/48000/2"),
        (None, audio(48_000, 2))
    );
    assert_eq!(
        initial("m=audio 9 RTP/AVP 97\na=rtpmap:97 PCMU/16000/2"),
        (None, audio(16_000, 2))
    );
}

/// As `rtspclientsink` of GStreamer announces it.
#[test]
fn gstreamer_is_understood() {
    let text = format!(
        "v=0\r\no=- 1188340656180883 1 IN IP4 127.0.0.1\r\ns=Session streamed with GStreamer\r\ni=rtsp-server\r\n\
         t=0 0\r\na=tool:GStreamer\r\na=type:broadcast\r\na=control:*\r\na=range:npt=now-\r\n\
         m=video 0 RTP/AVP 96\r\nc=IN IP4 127.0.0.1\r\na=rtpmap:96 H264/90000\r\na=framerate:25\r\n\
         a=fmtp:96 packetization-mode=1;profile-level-id=64000d;sprop-parameter-sets={SPS},{PPS}\r\na=control:stream=0\r\n\
         a=ts-refclk:local\r\na=mediaclk:sender\r\n\
         m=audio 0 RTP/AVP 97\r\na=rtpmap:97 OPUS/48000/2\r\na=fmtp:97 sprop-maxcapturerate=48000;sprop-stereo=0\r\n\
         m=audio 0 RTP/AVP 98\r\na=rtpmap:98 MP4A-LATM/44100/2\r\na=fmtp:98 cpresent=0;config=40002420\r\n"
    );
    let [Some(video), Some(opus), Some(latm)] = &formats(&text)[..] else {
        panic!();
    };
    assert_eq!(video.initial().config, Some(avcc()));
    assert_eq!(
        (opus.codec, opus.initial().params),
        (CodecId::Opus, audio(48_000, 1))
    );
    assert!(latm.is_latm() && latm.codec == CodecId::Aac);
    assert_eq!(latm.initial().config, None);
    assert_eq!(latm.initial().params, audio(44_100, 2));
    assert_eq!(latm.param("CONFIG"), Some("40002420"));
}

#[test]
fn cameras_are_understood() {
    // Anpviz: a static type with another meaning, no mode; the map is wrong about the channels.
    let anpviz = "m=audio 0 RTP/AVP 0\na=rtpmap:0 MPEG4-GENERIC/16000/2\na=fmtp:0 config=1408";
    assert_eq!(
        initial(anpviz),
        (Some(Bytes::from_static(&[0x14, 0x08])), audio(16_000, 1))
    );
    // Ubiquiti: names in another case, a parameter list that ends with a semicolon; then one without parameters.
    let ubiquiti = formats(
        "v=0\na=recvonly\nm=audio 0 RTP/AVP 96\na=rtpmap:96 mpeg4-generic/48000/1\na=fmtp:96 streamtype=5; \
         profile-level-id=15; mode=AAC-hbr; config=1188; SizeLength=13; IndexLength=3; IndexDeltaLength=3;\n\
         m=audio 0 RTP/AVP 96\na=rtpmap:96 opus/48000/2\na=fmtp:96\n",
    );
    assert_eq!(ubiquiti[0].as_ref().unwrap().param("sizelength"), Some("13"));
    assert_eq!(ubiquiti[0].as_ref().unwrap().initial().params, audio(48_000, 1));
    assert_eq!(ubiquiti[1].as_ref().unwrap().codec, CodecId::Opus);
    // GW: a start code behind each parameter set, a profile that is none, PCMU as type 8.
    let gw = "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1;profile-level-id=5046314;\
              sprop-parameter-sets=Z00AKpWoHgCJ+WbgICAgQAAAAAE=,aO48gAAAAAE=";
    let config = h264::Config::parse(&initial(gw).0.unwrap()).unwrap();
    assert_eq!(config.pps[0][..], [0x68, 0xee, 0x3c, 0x80]);
    assert_eq!(config.sps[0].last(), Some(&0x40));
    let gw = only("m=audio 0 RTP/AVP 8\na=rtpmap:8 PCMU/8000/1\na=fmtp:8 vad=no");
    assert_eq!(gw.codec, CodecId::G711U);
    // Dahua: the sets in another order. The decoding order of the record is fixed.
    let dahua = "m=video 0 RTP/AVP 98\na=rtpmap:98 H265/90000\na=fmtp:98 profile-id=1;\
        sprop-sps=QgEBAWAAAAMAsAAAAwAAAwBaoAWCAeFja5JFL83BQYFBAAADAAEAAAMADKE=;sprop-pps=RAHA8saNA7NA;\
        sprop-vps=QAEMAf//AWAAAAMAsAAAAwAAAwBarAwAAAMABAAAAwAyqA==";
    assert_eq!(initial(dahua).1, video(704, 480, 12.0));
    // Reolink: channels not in the map, a parameter behind the configuration.
    let reolink = "m=audio 0 RTP/AVP 97\na=rtpmap:97 MPEG4-GENERIC/16000\na=fmtp:97 mode=AAC-hbr;config=1408; profile=1;";
    assert_eq!(initial(reolink).1, audio(16_000, 1));
    // ZLM's name for MP3.
    assert_eq!(
        initial("m=audio 0 RTP/AVP 97\na=rtpmap:97 MP3/44100/1").1,
        audio(44_100, 1)
    );
    // Metadata is no track; neither is what is not RTP.
    assert_eq!(
        formats("m=application 0 RTP/AVP 107\na=rtpmap:107 vnd.onvif.metadata/90000"),
        [None]
    );
    assert_eq!(formats("m=video 0 udp 96\na=rtpmap:96 H264/90000"), [None]);
}

#[test]
fn the_first_payload_type_that_is_media_counts() {
    let format = only(
        "m=video 0 RTP/SAVPF 97 96 98\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\na=rtpmap:96 hevc/90000\na=rtpmap:98 H264/90000",
    );
    assert_eq!((format.codec, format.payload_type), (CodecId::H265, 96));
    assert_eq!(
        formats("m=audio 0 RTP/AVP 13 101\na=rtpmap:101 telephone-event/8000"),
        [None]
    );
    let check = |section: &str, codec| assert_eq!(only(section).codec, codec, "{section}");
    check("m=video 0 RTP/AVP 26", CodecId::Jpeg);
    check("m=video 0 RTP/AVP 33", CodecId::Other(MediaKind::Video));
    check("m=audio 0 RTP/AVP 9", CodecId::Other(MediaKind::Audio));
    check(
        "m=audio 0 RTP/AVP 96\na=rtpmap:96 mpa-robust/90000",
        CodecId::Other(MediaKind::Audio),
    );
    check(
        "m=audio 0 RTP/AVP 14\na=fmtp:14 layer=2",
        CodecId::Other(MediaKind::Audio),
    );
    check(
        "m=audio 0 RTP/AVP 96\na=rtpmap:96 H264/90000",
        CodecId::Other(MediaKind::Audio),
    );
    let generic = "m=audio 0 RTP/AVP 96\na=rtpmap:96 mpeg4-generic/8000\na=fmtp:96";
    check(
        &format!("{generic} mode=CELP-vbr"),
        CodecId::Other(MediaKind::Audio),
    );
    check(
        &format!("{generic} streamtype=4"),
        CodecId::Other(MediaKind::Audio),
    );
    check(&format!("{generic} mode=AAC-lbr"), CodecId::Aac);
    // Without a map.
    check(
        "m=video 0 RTP/AVP 96\na=fmtp:96 packetization-mode=1",
        CodecId::H264,
    );
    check(
        "m=video 0 RTP/AVP 96\na=fmtp:96 sprop-pps=RAHBcrRiQA==",
        CodecId::H265,
    );
    check("m=video 0 RTP/AVP 96", CodecId::Other(MediaKind::Video));
    assert_eq!(
        formats("m=audio 0 RTP/AVP 96\nm=video 0 RTP/AVP 0\nm=video 0 RTP/AVP 77"),
        [None, None, None]
    );
    // Without a clock.
    assert_eq!(only("m=video 0 RTP/AVP 96\na=rtpmap:96 H264").clock_rate, 90_000);
    assert_eq!(formats("m=audio 0 RTP/AVP 96\na=rtpmap:96 L16"), [None]);
}

#[test]
fn broken_parameters_are_left_out_and_named() {
    let check = |section: &str, config: bool, expected: &[&str]| {
        let initial = only(section).initial();
        assert_eq!(initial.config.is_some(), config, "{section}");
        let errors: Vec<_> = initial.errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors, expected, "{section}");
    };
    let h264 = |fmtp: &str| format!("m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 {fmtp}");
    check(&h264("profile-level-id=42e01f"), false, &[]);
    check(&h264("sprop-parameter-sets="), false, &[]);
    // No padding, a comma at the end, quotes.
    let unpadded = SPS.trim_end_matches('=');
    check(
        &h264(&format!("sprop-parameter-sets=\"{unpadded},{PPS},\"")),
        true,
        &[],
    );
    check(
        &h264(&format!("sprop-parameter-sets={SPS}")),
        false,
        &["fmtp parameter sprop-parameter-sets without an SPS and a PPS: left to the stream"],
    );
    check(
        &h264(&format!("sprop-parameter-sets={SPS},{PPS},???")),
        true,
        &["fmtp parameter sprop-parameter-sets has 3 characters that are not base64 (RFC 4648, section 4)"],
    );
    let short = only(&h264(&format!("sprop-parameter-sets=Z2QA,{PPS}"))).initial();
    assert!(
        matches!(short.errors[..], [Error::Sets { .. } | Error::Content { .. }]),
        "{short:?}"
    );
    assert_eq!((short.config, short.params), (None, no_video()));
    check(
        "m=video 0 RTP/AVP 96\na=rtpmap:96 H265/90000\na=fmtp:96 sprop-pps=RAHBcrRiQA==",
        false,
        &["fmtp parameter sprop-* without a VPS, a PPS and an SPS that can be read: left to the stream"],
    );
    // AAC falls back to what the map says.
    let aac =
        |config: &str| format!("m=audio 0 RTP/AVP 96\na=rtpmap:96 mpeg4-generic/44100/2\na=fmtp:96 {config}");
    check(&aac("mode=AAC-hbr"), true, &[]);
    assert_eq!(
        initial(&aac("mode=AAC-hbr")),
        (Some(Bytes::from_static(&[0x12, 0x10])), audio(44_100, 2))
    );
    check(
        &aac("config=12F"),
        true,
        &["fmtp parameter config has 3 characters: must be pairs of hexadecimal digits"],
    );
    check(
        &aac("config=0000"),
        true,
        &["fmtp parameter config without an audio object type and a sample rate: left to the stream"],
    );
    let cut = only(&aac("config=12")).initial();
    assert!(matches!(cut.errors[..], [Error::Content { name: "config", .. }]));
    assert_eq!(cut.params, audio(44_100, 2));
}

/// Sections with known names and random values.
fn hostile() -> impl Strategy<Value = String> {
    let encoding = prop::sample::select(vec![
        "H264",
        "H265",
        "AV1",
        "VP8",
        "VP9",
        "JPEG",
        "mpeg4-generic",
        "MP4A-LATM",
        "opus",
        "PCMA",
        "L16",
        "MPA",
        "x",
    ]);
    let name = prop::sample::select(vec![
        "sprop-parameter-sets",
        "sprop-vps",
        "sprop-sps",
        "sprop-pps",
        "config",
        "mode",
        "streamtype",
        "layer",
        "samplerate",
        "sprop-stereo",
        "profile-level-id",
        "",
    ]);
    let value = prop_oneof![
        "[A-Za-z0-9+/=,\"]{0,60}",
        "Z[A-Za-z0-9+/]{4,40},aO[A-Za-z0-9+/]{2,8}",
        "[0-9A-F]{0,16}",
        "\\PC{0,8}"
    ];
    let fmtp = prop::collection::vec((name, value), 0..6);
    let kind = prop::sample::select(vec!["video", "audio"]);
    (kind, encoding, any::<u32>(), 0u8..4, fmtp, 0u8..128).prop_map(
        |(kind, encoding, rate, channels, fmtp, pt)| {
            let fmtp: Vec<_> = fmtp
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!(
                "m={kind} 0 RTP/AVP {pt}\na=rtpmap:{pt} {encoding}/{rate}/{channels}\na=fmtp:{pt} {}",
                fmtp.join(";")
            )
        },
    )
}

proptest! {
    #[test]
    fn no_section_breaks_it(text in hostile()) {
        let media = Media::parse_section(&text).unwrap();
        if let Some(format) = Format::of(&media) {
            prop_assert!(format.clock_rate > 0 && format.payload_type < 128);
            let initial = format.initial();
            prop_assert!(initial.errors.len() <= text.len());
            prop_assert!(initial.config.as_ref().is_none_or(|config| config.len() <= 64 + text.len()));
            let again = format.media("trackID=0", None).to_string();
            prop_assert_eq!(Format::of(&Media::parse_section(&again).unwrap()), Some(format.clone()));
            // What it makes of a hostile sender is sound enough to be sent on.
            let track = track(format.codec, initial.config, initial.params);
            if let Some(sent) = Format::for_track(&track, 96) {
                let text = sent.media("trackID=0", None).to_string();
                prop_assert_eq!(Format::of(&Media::parse_section(&text).unwrap()), Some(sent));
            }
        }
    }

    #[test]
    fn no_text_breaks_it(text in "m=(video|audio) 0 RTP/AVP [0-9]{1,3}\n(a=(rtpmap|fmtp):[0-9]{1,3} [ -~]{0,20}\n){0,4}\\PC{0,32}") {
        for media in sections(&text) {
            let _ = Format::of(&media).map(|format| format.initial());
        }
    }
}
