//! Which layer wins, and how wrong values are reported.

use crate::{counting, ini, pairs, toml};
use config::{Config, Error, Errors, Format, Loaded, Origin, Reload, Warning};

fn load(file: &str, env: &[(&str, &str)], line: &[(&str, &str)]) -> Result<Loaded, Errors> {
    config::load::parse(
        file,
        Format::Ini,
        "config.ini",
        pairs(env),
        &pairs(line),
        &mut counting(),
    )
}

#[test]
fn each_layer_wins_over_the_ones_before_it() {
    let file = "[http]\nport=1\n";
    let env = [("TIDEGATE_HTTP__PORT", "2")];
    let line = [("http.port", "3")];
    let port = |file: &str, env: &[_], line: &[_]| load(file, env, line).unwrap().config.http.port;
    assert_eq!(port("", &[], &[]), 8080);
    assert_eq!(port(file, &[], &[]), 1);
    assert_eq!(port(file, &env, &[]), 2);
    assert_eq!(port("", &env, &[]), 2);
    assert_eq!(port(file, &env, &line), 3);
    assert_eq!(port(file, &[], &line), 3);
}

#[test]
fn a_layer_leaves_the_other_keys_alone() {
    let env = [("TIDEGATE_RTMP__PORT", "2")];
    let config = load("[http]\nport=1\n", &env, &[("hook.enable", "1")])
        .unwrap()
        .config;
    assert_eq!(
        (config.http.port, config.rtmp.port, config.hook.enable),
        (1, 2, true)
    );
    assert_eq!(
        config.origin("http.port"),
        Origin::File {
            file: "config.ini".into(),
            line: 2
        }
    );
    assert_eq!(
        config.origin("rtmp.port"),
        Origin::Env {
            variable: "TIDEGATE_RTMP__PORT".to_owned()
        }
    );
    assert_eq!(config.origin("hook.enable"), Origin::CommandLine);
    assert_eq!(config.origin("srt.port"), Origin::Default);
}

#[test]
fn variables_find_their_key_in_any_case() {
    let env = [
        ("TIDEGATE_GENERAL__STREAMNONEREADERDELAYMS", "1"),
        ("tidegate_rtp_proxy__timeoutSec", "7"),
        ("TIDEGATE_FFMPEG__CMD_HD", "%s -i %s -f flv %s"),
        ("TIDEGATE_TRANSCODE__SUFFIX", "hd"),
        ("PATH", "/bin"),
    ];
    let loaded = load("[transcode]\nsuffix=sd\n", &env, &[]).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.text("general.streamNoneReaderDelayMS"), Some("1"));
    assert_eq!(loaded.config.text("rtp_proxy.timeoutSec"), Some("7"));
    assert_eq!(loaded.config.text("transcode.suffix"), Some("hd"));
    assert!(loaded.config.ffmpeg.template("ffmpeg.cmd_hd").is_some());
}

#[test]
fn variables_that_name_no_key_are_warned_about() {
    let env = [
        ("TIDEGATE_HTTP_PORT", "1"),
        ("TIDEGATE_HTTP__PROT", "1"),
        ("TIDEGATE_WHATEVER", "1"),
        // What Kubernetes puts into containers beside a service called tidegate.
        ("TIDEGATE_SERVICE_HOST", "10.0.0.1"),
        ("TIDEGATE_SERVICE_PORT", "1935"),
        ("TIDEGATE_SERVICE_PORT_RTMP", "1935"),
        ("TIDEGATE_PORT", "tcp://10.0.0.1:1935"),
        ("TIDEGATE_PORT_1935_TCP", "tcp://10.0.0.1:1935"),
        ("TIDEGATE_PORT_1935_TCP_ADDR", "10.0.0.1"),
        ("TIDEGATE_RTMP_PORT_1935_TCP_PROTO", "tcp"),
    ];
    let texts: Vec<_> = load("", &env, &[])
        .unwrap()
        .warnings
        .iter()
        .map(Warning::to_string)
        .collect();
    assert_eq!(
        texts,
        [
            "environment variable TIDEGATE_HTTP_PORT names no key; did you mean `TIDEGATE_HTTP__PORT`?",
            "environment variable TIDEGATE_HTTP__PROT names no key; did you mean `TIDEGATE_HTTP__PORT`?",
            "environment variable TIDEGATE_WHATEVER names no key",
        ]
    );
}

#[test]
fn all_wrong_values_are_reported_at_once_with_place_and_remedy() {
    let file =
        "[http]\nport=80x\nallow_ip_range=10.0.0\n[hook]\non_play=ftp://u:secret@x/\n[ffmpeg]\ncmd_a=ls\n";
    let env = [("TIDEGATE_RTMP__PORT", "70000")];
    let errors = load(file, &env, &[("hook.retry", "many"), ("hook.rety", "1")]).unwrap_err();
    let texts: Vec<_> = errors.errors.iter().map(Error::to_string).collect();
    assert_eq!(
        texts,
        [
            "command line: there is no key `hook.rety`; did you mean `hook.retry`?",
            "config.ini:7: ffmpeg.cmd_a = `ls` is not allowed; it must be a command line that starts with %s and holds %s three times: program, source, destination",
            "config.ini:5: hook.on_play = `ftp://***@x/` is not allowed; it must be an http:// or https:// URL, or empty for off",
            "command line: hook.retry = `many` is not allowed; it must be a whole number from 0 to 100",
            "config.ini:3: http.allow_ip_range = `10.0.0` is not allowed; it must be IPv4 and IPv6 addresses, each alone, as network/bits, or as min-max of one kind, with commas between, or empty for all; `10.0.0` is not an address",
            "config.ini:2: http.port = `80x` is not allowed; it must be a port number from 1 to 65535, or 0 for off",
            "environment variable TIDEGATE_RTMP__PORT: rtmp.port = `70000` is not allowed; it must be a port number from 1 to 65535, or 0 for off",
        ]
    );
    assert!(
        errors
            .to_string()
            .starts_with("7 errors in the configuration:\ncommand line: "),
        "{errors}"
    );
}

#[test]
fn values_that_do_not_fit_together_are_refused() {
    let errors = ini("[http]\nport=1935\nkey_file=/k\n").unwrap_err();
    assert_eq!(
        errors.errors.iter().map(Error::to_string).collect::<Vec<_>>(),
        [
            "config.ini:3: http.key_file is set, but http.cert_file is empty; a certificate and its key are needed together",
            "http.port (config.ini:2) and rtmp.port (built-in) both name TCP port 1935",
        ]
    );
    assert!(
        ini("[http]\nport=0\nsslport=0\n[rtmp]\nport=0\n").is_ok(),
        "off is no port"
    );
}

#[test]
fn multicast_groups_are_a_range_of_multicast_addresses() {
    let multicast = |text: &str| ini(&format!("[multicast]\n{text}"));
    let config = multicast("addrMin=239.1.0.0\naddrMax=239.1.0.0\nudpTTL=1\n")
        .unwrap()
        .config;
    let one = "239.1.0.0".parse().unwrap();
    assert_eq!(
        (
            config.multicast.first,
            config.multicast.last,
            config.multicast.ttl
        ),
        (one, one, 1)
    );
    let backwards = multicast("addrMin=239.1.0.1\naddrMax=239.1.0.0\n").unwrap_err();
    assert_eq!(
        backwards.to_string(),
        "multicast.addrMin = 239.1.0.1 (config.ini:2) is above multicast.addrMax = 239.1.0.0 (config.ini:3)"
    );
    for other in ["10.0.0.1", "240.0.0.1", "ff02::1", "", "x"] {
        let errors = multicast(&format!("addrMax={other}\n")).unwrap_err().to_string();
        assert!(errors.contains("must be an IPv4 multicast address"), "{errors}");
    }
    // The API cannot make a range that would not be loaded again.
    let change = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let refused = Config::default().set(&[change("multicast.addrMax", "238.0.0.0")]);
    assert_eq!((refused.changed, refused.rejected.len()), (0, 1));
    let both = [
        change("multicast.addrMin", "238.0.0.0"),
        change("multicast.addrMax", "238.0.0.9"),
    ];
    assert_eq!(Config::default().set(&both).changed, 2);
}

#[test]
fn rtsp_and_rtp_keys_have_typed_values() {
    let config = ini(
        "[rtsp]\ndirectProxy=0\nlowLatency=1\n[rtp]\nvideoMtuSize=1200\naudioMtuSize=700\nrtpMaxSize=20\nlowLatency=1\nh264_stap_a=0\n[rtp_proxy]\nport_range=40000-40100\ntimeoutSec=2.5\nudp_recv_socket_buffer=1000\n",
    )
    .unwrap()
    .config;
    assert!(!config.rtsp.direct_proxy);
    assert_eq!((config.rtp.video_mtu, config.rtp.audio_mtu), (1200, 700));
    assert_eq!(config.rtp.max_bytes, 20 * 1024);
    assert!(!config.rtp.h264_stap_a);
    let ports = config.rtp_proxy.port_range;
    assert_eq!(
        (ports.first, ports.last, ports.pairs().len()),
        (40_000, 40_100, 50)
    );
    assert_eq!(config.rtp_proxy.timeout, std::time::Duration::from_millis(2500));
    assert_eq!(config.rtp_proxy.udp_recv_buffer, 1000);
    for text in [
        "[rtp]\nvideoMtuSize=199\n",
        "[rtp]\naudioMtuSize=65001\n",
        "[rtp]\nrtpMaxSize=0\n",
        "[rtp_proxy]\nport_range=40000-40034\n",
    ] {
        assert!(ini(text).is_err(), "{text}");
    }
}

#[test]
fn rtsp_listens_on_a_port_of_its_own() {
    let errors = ini("[rtsp]\nport=1935\n").unwrap_err();
    assert_eq!(
        errors.to_string(),
        "rtmp.port (built-in) and rtsp.port (config.ini:2) both name TCP port 1935"
    );
    assert!(
        ini("[rtsp]\nport=0\nsslport=8080\n").is_ok(),
        "closed without a certificate"
    );
}

#[test]
fn a_usable_secret_stays_and_any_other_is_replaced() {
    for text in [
        "",
        "[api]\nsecret=\n",
        "[api]\nsecret\n",
        "[api]\nsecret=035c73f7-bb6b-4889-a715-d9eb2d1925cc\n",
    ] {
        let loaded = ini(text).unwrap();
        assert!(loaded.secret_replaced, "{text:?}");
        assert_eq!(loaded.config.text("api.secret"), Some("a".repeat(32).as_str()));
        assert_eq!(loaded.config.api.secret.expose(), "a".repeat(32));
    }
    let loaded = ini("[api]\nsecret=mine\n").unwrap();
    assert!(!loaded.secret_replaced);
    assert_eq!(loaded.config.api.secret.expose(), "mine");
    assert_eq!(loaded.config.general.media_server_id, "a".repeat(16));
    assert_eq!(
        loaded.config.text("general.mediaServerId"),
        Some("a".repeat(16).as_str())
    );
}

#[test]
fn a_variable_without_a_usable_secret_does_not_hide_the_one_of_the_file() {
    for value in ["", " ", config::PUBLISHED_SECRET] {
        let env = [("TIDEGATE_API__SECRET", value)];
        let loaded = load("[api]\nsecret=mine\n", &env, &[]).unwrap();
        assert!(!loaded.secret_replaced, "{value:?}");
        assert_eq!(loaded.config.api.secret.expose(), "mine");
        assert!(load("", &env, &[]).unwrap().secret_replaced, "{value:?}");
    }
    let loaded = load("[api]\nsecret=mine\n", &[("TIDEGATE_API__SECRET", "theirs")], &[]).unwrap();
    assert_eq!(loaded.config.api.secret.expose(), "theirs");
}

#[test]
fn a_reload_keeps_what_was_made_up_at_the_start_and_follows_the_file() {
    let old = ini("").unwrap().config;
    let mut other = ('k'..='z').map(String::from);
    let mut again = |text| {
        let mut random = |len| other.next().unwrap().repeat(len);
        let loaded = config::load::parse(text, Format::Ini, "config.ini", [], &[], &mut random);
        let mut new = loaded.unwrap().config;
        new.keep_made_up(&old);
        new
    };
    let new = again("");
    assert_eq!(Config::diff(&old, &new), []);
    assert_eq!(new.general.media_server_id, old.general.media_server_id);
    assert_eq!(new.api.secret, old.api.secret);

    let new = again("[api]\nsecret=mine\n[general]\nmediaServerId=me\n");
    assert_eq!(new.api.secret.expose(), "mine");
    assert_eq!(new.general.media_server_id, "me");
}

#[test]
fn tls_ports_that_stay_closed_are_in_nobodys_way() {
    let ports = "[http]\nport=19350\n";
    assert!(ini(ports).is_ok());
    let errors = ini(&format!("{ports}cert_file=/c\nkey_file=/k\n")).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "http.port (config.ini:2) and rtmp.sslport (built-in) both name TCP port 19350"
    );
}

#[test]
fn toml_says_the_same_as_ini() {
    let text = "[http]\nport = 81\nallow_ip_range = [\"::1\", \"10.0.0.0-10.0.0.9\"]\n[hook]\nenable = true\nretry_delay = 1.5\nretry = \"2\"\n[protocol]\nadd_mute_audio = false\n[transcode]\nsuffix = \"hd\"\n";
    let same = "[http]\nport=81\nallow_ip_range=::1,10.0.0.0-10.0.0.9\n[hook]\nenable=1\nretry_delay=1.5\nretry=2\n[protocol]\nadd_mute_audio=0\n[transcode]\nsuffix=hd\n";
    let (toml, ini) = (toml(text).unwrap(), ini(same).unwrap());
    assert_eq!(Config::diff(&toml.config, &ini.config), []);
    assert_eq!(toml.config.hook, ini.config.hook);
    assert_eq!(
        toml.config.origin("protocol.add_mute_audio").to_string(),
        "tidegate.toml:9"
    );
}

#[test]
fn toml_that_cannot_be_meant_is_refused_with_its_line() {
    for (text, error) in [
        ("[http]\nport = \n", "tidegate.toml:2: this is not TOML: "),
        (
            "[http]\n\nport = [1]\n",
            "tidegate.toml:3: http.port is a list; it must be ",
        ),
        (
            "[hook]\nretry = 1979-05-27\n",
            "tidegate.toml:2: hook.retry is a date; ",
        ),
        (
            "[hook]\nretry = nan\n",
            "tidegate.toml:2: hook.retry is a number that is not finite; ",
        ),
        (
            "[source]\nurl = \"x\"\n",
            "tidegate.toml:1: source is not a list of rules, ",
        ),
        (
            "[http]\nport = \"x\"\n",
            "tidegate.toml:2: http.port = `x` is not allowed; ",
        ),
    ] {
        let errors = toml(text).unwrap_err();
        assert!(errors.to_string().starts_with(error), "{errors}");
        assert_eq!(errors.errors.len(), 1, "{errors}");
    }
}

#[test]
fn a_difference_names_the_keys_and_when_they_take_effect() {
    let old = ini("[http]\nport=1\n[zzz]\na=1\n").unwrap().config;
    let new = ini("[http]\nport=2\n[rtp_proxy]\nport_range=20000-21000\n[general]\nmaxStreamWaitMS=1\n")
        .unwrap()
        .config;
    let changed = Config::diff(&old, &new);
    let changed: Vec<_> = changed
        .iter()
        .map(|key| (key.name.as_str(), key.reload))
        .collect();
    assert_eq!(
        changed,
        [
            ("general.maxStreamWaitMS", Reload::Hot),
            ("http.port", Reload::Start),
            ("rtp_proxy.port_range", Reload::New),
            ("zzz.a", Reload::Hot),
        ]
    );
    assert!(Reload::Start.needs_restart() && Reload::First.needs_restart() && !Reload::New.needs_restart());
    let rules = toml("[[source]]\npattern='a/b'\nurl='rtmp://x/y'\n")
        .unwrap()
        .config;
    assert!(
        Config::diff(&ini("").unwrap().config, &rules)
            .iter()
            .any(|key| key.name == "source")
    );
}

#[test]
fn an_explanation_tells_where_values_came_from_and_hides_secrets() {
    let file = "[http]\nport=81\nprot=1\n[api]\nsecret=hunter2\n[srt]\ntimeoutSec=4\n[hook]\non_play=http://u:p@h/\n[rtmp]\nport=1935\n";
    let text = config::explain(&load(file, &[("TIDEGATE_HOOK__ENABLE", "1")], &[]).unwrap());
    for line in [
        "  http.port = 81    (config.ini:2; built-in: 8080)",
        "  http.prot = 1    (config.ini:3; unknown, kept and reported only)",
        "  api.secret = ***    (config.ini:5)",
        "  srt.timeoutSec = 4    (config.ini:7; built-in: 5; no effect in this version)",
        "  hook.on_play = http://***@h/    (config.ini:9)",
        "  hook.enable = 1    (environment variable TIDEGATE_HOOK__ENABLE; built-in: 0)",
        "Warning: config.ini:3: unknown key `http.prot`; did you mean `http.port`?",
    ] {
        assert!(text.lines().any(|got| got == line), "{line}\n\n{text}");
    }
    assert!(!text.contains("hunter2") && !text.contains("rtmp.port"), "{text}");
}
