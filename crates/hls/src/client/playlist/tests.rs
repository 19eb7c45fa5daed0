use super::*;

fn media(text: &str) -> Media {
    match parse(text.as_bytes()) {
        Ok(Playlist::Media(media)) => media,
        other => panic!("{other:?}"),
    }
}

fn problem(body: &str) -> Error {
    parse(format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n{body}").as_bytes()).expect_err(body)
}

#[test]
fn a_live_playlist_of_ffmpeg() {
    let list = media(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:17\n\
        #EXTINF:2.000000,\nout17.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1.960000,a title, with a comma\nout18.ts\n",
    );
    assert_eq!(
        (list.target, list.sequence, list.ended),
        (Duration::from_secs(2), 17, false)
    );
    assert_eq!(list.discontinuity_sequence, None);
    let uris: Vec<_> = list.segments.iter().map(|segment| segment.uri.as_str()).collect();
    assert_eq!(uris, ["out17.ts", "out18.ts"]);
    assert_eq!(list.segments[1].duration, Duration::from_millis(1960));
    assert_eq!(
        list.segments
            .iter()
            .map(|segment| segment.discontinuity)
            .collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn line_ends_marks_and_unknown_tags_do_not_disturb() {
    let list = media(
        "\u{feff}#EXTM3U\r\n\r\n## a comment\r\n#EXT-X-TARGETDURATION:2.4\r\n#EXT-X-FUTURE:A=\"1,2\"\r\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.0,HOLD-BACK=9\r\n\
        #EXT-X-PART:DURATION=0.33,URI=\"p,1.mp4\",INDEPENDENT=YES\r\n#EXTINF:2 ,\r\n a.ts \r\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p2.mp4\"\r\n",
    );
    assert_eq!(list.target, Duration::from_millis(2400));
    assert_eq!(list.hold_back, Some(Duration::from_secs(9)));
    assert_eq!(list.segments.len(), 1);
    assert_eq!(list.segments[0].uri, "a.ts");
    let latin1 = parse(b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\xe9t\xe9\na.ts");
    assert!(matches!(latin1, Ok(Playlist::Media(list)) if list.segments.len() == 1));
}

#[test]
fn ranges_go_on_where_the_last_one_ended() {
    let list = media(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI=\"a.mp4\",BYTERANGE=\"720@0\"\n\
        #EXTINF:2,\n#EXT-X-BYTERANGE:100@720\na.mp4\n#EXT-X-BYTERANGE:50\n#EXTINF:2,\na.mp4\n",
    );
    let ranges: Vec<_> = list.segments.iter().map(|segment| segment.range).collect();
    assert_eq!(
        ranges[0],
        Some(ByteRange {
            offset: 720,
            length: 100
        })
    );
    assert_eq!(
        ranges[1],
        Some(ByteRange {
            offset: 820,
            length: 50
        })
    );
    let map = list.segments[1].map.as_ref().expect("a map");
    assert_eq!(
        map.range,
        Some(ByteRange {
            offset: 0,
            length: 720
        })
    );
}

#[test]
fn keys_apply_until_the_next_one_of_their_format() {
    let list = media(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n0\n\
        #EXT-X-KEY:METHOD=AES-128,URI=\"k?a,b\",IV=0x000102030405060708090a0b0c0d0e0F\n#EXTINF:2,\n1\n\
        #EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://x\",KEYFORMAT=\"com.apple.streamingkeydelivery\"\n#EXTINF:2,\n2\n\
        #EXT-X-KEY:METHOD=NONE\n#EXTINF:2,\n3\n\
        #EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\"\n#EXTINF:2,\n4\n\
        #EXT-X-KEY:METHOD=AES-128,URI=\"k2\"\n#EXTINF:2,\n5\n",
    );
    let encryption: Vec<_> = list
        .segments
        .iter()
        .map(|segment| (*segment.encryption).clone())
        .collect();
    let first = Encryption::Aes128 {
        uri: "k?a,b".into(),
        iv: Some(std::array::from_fn(|at| at as u8)),
    };
    let last = Encryption::Aes128 {
        uri: "k2".into(),
        iv: None,
    };
    assert_eq!(
        encryption,
        [
            Encryption::None,
            first.clone(),
            first,
            Encryption::None,
            Encryption::Unsupported("SAMPLE-AES".into()),
            last
        ]
    );
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_line() {
    let line = |tag, problem| Error::Line {
        line: 3,
        tag,
        problem,
    };
    for duration in ["-1 tvg-id=\"x\"", "NaN", "inf", "1e9", "", "abc"] {
        assert_eq!(
            problem(&format!("#EXTINF:{duration},\na.ts\n")),
            line("EXTINF", "has no duration from 0 to 86400 seconds"),
            "{duration}"
        );
    }
    for range in ["", "x", "5@", "5@x", "-1@0"] {
        assert_eq!(
            problem(&format!("#EXT-X-BYTERANGE:{range}\n")),
            line("EXT-X-BYTERANGE", "has no range of bytes like 100@0"),
            "{range}"
        );
    }
    for range in ["0@5", "18446744073709551615@1"] {
        assert_eq!(
            problem(&format!("#EXT-X-BYTERANGE:{range}\n")),
            line("EXT-X-BYTERANGE", OUT_OF_RANGE)
        );
    }
    for sequence in ["-1", "x", "9223372036854775807"] {
        let tag = "EXT-X-MEDIA-SEQUENCE";
        assert_eq!(
            problem(&format!("#{tag}:{sequence}\n")),
            line(tag, "has no number up to 2^62")
        );
    }
    for iv in ["1", "0x", "0xg", "0x+1", "0x123456789012345678901234567890123"] {
        let got = problem(&format!("#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV={iv}\n"));
        assert!(matches!(got, Error::Line { tag: "EXT-X-KEY", .. }), "{iv}: {got}");
    }
    assert_eq!(
        problem("a.ts\n"),
        line("URI", "stands behind neither EXTINF nor EXT-X-STREAM-INF")
    );
    assert_eq!(
        problem("#EXT-X-MAP:BYTERANGE=\"1@0\"\n"),
        line("EXT-X-MAP", "has no URI")
    );
    assert_eq!(
        problem("#EXT-X-KEY:URI=\"k\"\n"),
        line("EXT-X-KEY", "has no METHOD")
    );
    let no_offset = problem("#EXTINF:2,\n#EXT-X-BYTERANGE:5\na.ts\n");
    assert!(
        matches!(
            no_offset,
            Error::Line {
                line: 5,
                tag: "EXT-X-BYTERANGE",
                ..
            }
        ),
        "{no_offset}"
    );
    assert!(matches!(
        problem("#EXT-X-DEFINE:NAME=\"a\",VALUE=\"b\"\n"),
        Error::Unsupported { .. }
    ));
}

#[test]
fn what_is_no_playlist_is_refused() {
    for text in ["", "\n\n", "<html>", "#EXTM3U8", "#EXTINF:2,\na.ts\n#EXTM3U\n"] {
        assert_eq!(parse(text.as_bytes()), Err(Error::NotAPlaylist), "{text}");
    }
    assert_eq!(
        parse(b"#EXTM3U\n#EXTINF:2,\na.ts\n"),
        Err(Error::NoTargetDuration)
    );
}

#[test]
fn lists_have_bounds() {
    let long = vec![b'#'; MAX_PLAYLIST + 1];
    assert_eq!(
        parse(&long),
        Err(Error::TooLong {
            got: MAX_PLAYLIST + 1
        })
    );
    assert_eq!(
        problem(&"#EXTINF:2,\na.ts\n".repeat(MAX_SEGMENTS + 1)),
        Error::TooMany { what: "segments" }
    );
    assert_eq!(
        problem(&"#EXT-X-STREAM-INF:BANDWIDTH=1\na\n".repeat(MAX_LIST + 1)),
        Error::TooMany { what: "variants" }
    );
    assert_eq!(
        problem(&"#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\"\n".repeat(MAX_LIST + 1)),
        Error::TooMany { what: "renditions" }
    );
    let long = "u".repeat(MAX_URI + 1);
    assert_eq!(
        problem(&format!("#EXTINF:2,\n{long}\n")),
        Error::LongUri {
            line: 4,
            got: MAX_URI + 1
        }
    );
    let text = Error::TooMany { what: "segments" }.to_string();
    assert_eq!(text, "more segments in a playlist than allowed (20000)");
}
