//! Section `http`.

use super::YEAR_S;
use crate::address::IpRanges;
use crate::key::{
    Key, Kind,
    Reload::{Hot, New, Start},
};
use std::path::PathBuf;
use std::time::Duration;

/// HTTP and HTTPS: API, live streams, files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Http {
    /// Port of HTTP and WebSocket; 0 is off.
    pub port: u16,
    /// Port of HTTPS and secure WebSocket; 0 is off.
    pub ssl_port: u16,
    /// Charset named in `Content-Type`.
    pub char_set: String,
    /// Limit for idle connections.
    pub keep_alive: Duration,
    /// Largest body of a request in bytes.
    pub max_req_size: u64,
    /// Root of the file server.
    pub root_path: PathBuf,
    /// Further folders of the file server, by the first part of the path.
    pub virtual_paths: Vec<(String, PathBuf)>,
    /// Body of a 404 answer.
    pub not_found: String,
    /// List folders.
    pub dir_menu: bool,
    /// Name of the header that carries the real address of the client; empty for none.
    pub forwarded_ip_header: String,
    /// Send CORS headers.
    pub allow_cross_domains: bool,
    /// Who may use the API and read files.
    pub allow_ip_range: IpRanges,
    /// Certificate chain for HTTPS, WSS and RTMPS, in PEM.
    pub cert_file: Option<PathBuf>,
    /// Private key of the certificate, in PEM.
    pub key_file: Option<PathBuf>,
    /// What the page at `/` offers.
    pub player_page: PlayerPage,
}

/// What the page at `/` offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlayerPage {
    /// There is no page.
    Off,
    /// It plays what is typed, and lists the streams for those who signed in.
    #[default]
    SignIn,
    /// It lists the streams for everybody.
    Open,
}

pub(super) const KEYS: &[Key] = &[
    Key::zlm(
        "http.port",
        "8080",
        Start,
        Kind::Port(Some(|c| &mut c.http.port)),
        "Port of HTTP and WebSocket: API, live streams, console, metrics. 0 is off.",
    ),
    Key::zlm(
        "http.sslport",
        "8443",
        Start,
        Kind::Port(Some(|c| &mut c.http.ssl_port)),
        "Port of HTTPS and secure WebSocket. 0 is off. It stays closed as long as `http.cert_file` is empty.",
    ),
    Key::own(
        "http.cert_file",
        "",
        Hot,
        Kind::OptionalPath(Some(|c| &mut c.http.cert_file)),
        "Certificate chain for HTTPS, WSS and RTMPS: a PEM file, the server's own certificate first. Empty: the TLS ports, `http.sslport` and `rtmp.sslport`, stay closed. The files are read again on reload.",
    ),
    Key::own(
        "http.key_file",
        "",
        Hot,
        Kind::OptionalPath(Some(|c| &mut c.http.key_file)),
        "Private key of `http.cert_file`: a PEM file (PKCS#8, PKCS#1 or SEC1); it may be the same file. Needed together with `http.cert_file`; without the two, `http.sslport` and `rtmp.sslport` stay closed.",
    ),
    Key::zlm(
        "http.allow_ip_range",
        "::1,127.0.0.1,172.16.0.0-172.31.255.255,192.168.0.0-192.168.255.255,10.0.0.0-10.255.255.255",
        Hot,
        Kind::IpRanges(Some(|c| &mut c.http.allow_ip_range)),
        "Addresses that may use the API and read files (files only while `hook.on_http_access` is off): single ones, `min-max`, or networks such as `10.0.0.0/8`, with `,` between them. Empty lets everybody in. Changing it through the API to ranges without the caller locks the caller out.",
    ),
    Key::zlm(
        "http.allow_cross_domains",
        "1",
        Hot,
        Kind::Bool(Some(|c| &mut c.http.allow_cross_domains)),
        "Send the CORS headers that let web pages of other origins use the API and play streams.",
    ),
    Key::zlm(
        "http.keepAliveSecond",
        "30",
        New,
        Kind::Seconds {
            min: 1.0,
            max: YEAR_S,
            place: Some(|c| &mut c.http.keep_alive),
        },
        "An idle HTTP connection is closed after this many seconds.",
    ),
    Key::zlm(
        "http.maxReqSize",
        "40960",
        New,
        Kind::Bytes {
            unit: 1,
            min: 1,
            max: 1 << 30,
            place: Some(|c| &mut c.http.max_req_size),
        },
        "Largest body of a request, in bytes; a larger one is answered with 413.",
    ),
    Key::zlm(
        "http.charSet",
        "utf-8",
        Hot,
        Kind::Text(Some(|c| &mut c.http.char_set)),
        "Charset that `Content-Type` names. Tidegate always sends UTF-8.",
    ),
    Key::zlm(
        "http.forwarded_ip_header",
        "",
        Hot,
        Kind::Text(Some(|c| &mut c.http.forwarded_ip_header)),
        "Name of the header in which a proxy in front of the server sends the real address of the client. It is used in the hooks of HTTP players and for access to files. Empty: none is trusted.",
    ),
    Key::zlm(
        "http.notFound",
        "<html><head><title>404 Not Found</title></head><body><h1>404 Not Found</h1><p>There is nothing at this address.</p><hr><p>Tidegate</p></body></html>",
        Hot,
        Kind::Text(Some(|c| &mut c.http.not_found)),
        "Body of the answer to a request for something that does not exist, in HTML.",
    ),
    Key::own(
        "http.playerPage",
        "1",
        Hot,
        Kind::Choice(&[
            ("0", |c| c.http.player_page = PlayerPage::Off),
            ("1", |c| c.http.player_page = PlayerPage::SignIn),
            ("2", |c| c.http.player_page = PlayerPage::Open),
        ]),
        "The page at `/` that plays streams in a browser. `0`: there is none. `1`: it plays a stream whose name is typed, and lists the streams for those who sign in with the API secret. `2`: it lists the streams for everybody, which suits a laboratory. In each case only addresses in `http.allow_ip_range` get it, and `on_play` is asked about each viewer.",
    ),
    Key::zlm(
        "http.rootPath",
        "./www",
        Hot,
        Kind::Path(Some(|c| &mut c.http.root_path)),
        "Root folder of the file server. Nothing outside of it is served, also not through symbolic links; names that begin with a dot are not served either. With `general.enableVhost=1` the files of a virtual host are in the folder of its name.",
    ),
    Key::zlm(
        "http.virtualPath",
        "",
        Hot,
        Kind::Folders(Some(|c| &mut c.http.virtual_paths)),
        "Further folders of the file server, as `name,folder` pairs with `;` between them: `/name/..` is served from that folder instead of the root.",
    ),
    Key::zlm(
        "http.dirMenu",
        "1",
        Hot,
        Kind::Bool(Some(|c| &mut c.http.dir_menu)),
        "The file server lists the contents of folders that have no `index.html` or `index.htm`. 0: such a folder is answered with 404.",
    ),
    Key::stored(
        "http.maxUploadSize",
        "1073741824",
        Hot,
        Kind::Bytes {
            unit: 1,
            min: 0,
            max: 1 << 50,
            place: None,
        },
        "Limit for uploads in ZLMediaKit, in bytes; nothing in the API uploads.",
    ),
    Key::stored(
        "http.forbidCacheSuffix",
        "",
        Hot,
        Kind::List {
            separator: ',',
            place: None,
        },
        "Suffixes of files that ZLMediaKit does not serve from memory maps, with `,` between them.",
    ),
    Key::stored(
        "http.sendBufSize",
        "65536",
        Hot,
        Kind::Bytes {
            unit: 1,
            min: 0,
            max: 1 << 30,
            place: None,
        },
        "Read buffer of ZLMediaKit for files, in bytes.",
    ),
];
