//! Sections of ZLMediaKit that belong to things Tidegate does not offer. Their keys are accepted, kept and reported.

use crate::key::{
    Key, Kind,
    Reload::{First, Hot, Start},
};

pub(super) const KEYS: &[Key] = &[
    Key::stored(
        "shell.port",
        "0",
        Start,
        Kind::Port(None),
        "Port of the telnet console of ZLMediaKit. Tidegate has none.",
    ),
    Key::stored(
        "shell.maxReqSize",
        "1024",
        Hot,
        Kind::Bytes {
            unit: 1,
            min: 0,
            max: 1 << 30,
            place: None,
        },
        "Longest line of the telnet console, in bytes.",
    ),
    Key::stored(
        "onvif.port",
        "3702",
        First,
        Kind::Port(None),
        "Port of the ONVIF discovery of ZLMediaKit.",
    ),
    Key::stored(
        "python.plugin",
        "",
        Start,
        Kind::Text(None),
        "Module of the Python builds of ZLMediaKit.",
    ),
];
