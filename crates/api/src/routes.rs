//! The whole API on one page.

use crate::describe::About;
use crate::dispatch::Handler;
use crate::handlers::{
    ffmpeg, files, hooks, login, probe, proxies, pushers, server, sessions, streams, timeline,
};

/// Everything under this path belongs to the API.
pub const ROOT: &str = "/index/";

/// Where the endpoints are.
pub const PREFIX: &str = "/index/api/";

/// One endpoint.
pub struct Route {
    /// Its name after [`PREFIX`].
    pub name: &'static str,
    /// What it is about.
    pub group: Group,
    /// Who may call it.
    pub access: Access,
    /// What stands between the names of required parameters in a refusal.
    pub separator: &'static str,
    /// What it takes and returns.
    pub about: About,
    pub(crate) handler: Handler,
}

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Allowed addresses with the secret or a login.
    Secret,
    /// Allowed addresses.
    Address,
    /// Allowed addresses with the secret or a login; whom the hook `on_http_access` allows.
    SecretOrHook,
    /// Everyone.
    Open,
}

/// What an endpoint is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The server itself.
    Server,
    /// Streams.
    Streams,
    /// Connections.
    Sessions,
    /// Streams that are pulled from elsewhere.
    Proxies,
    /// Streams that are sent on to another server.
    Pushers,
    /// Streams that an ffmpeg process feeds.
    Ffmpeg,
    /// Files.
    Files,
    /// The hook service and other endpoints of hooks.
    Hooks,
}

impl Group {
    /// In the order of the document.
    pub const ALL: [Self; 8] = [
        Self::Server,
        Self::Streams,
        Self::Sessions,
        Self::Proxies,
        Self::Pushers,
        Self::Ffmpeg,
        Self::Files,
        Self::Hooks,
    ];

    /// The heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Server => "Server",
            Self::Streams => "Streams",
            Self::Sessions => "Sessions",
            Self::Proxies => "Pull proxies",
            Self::Pushers => "Pushers",
            Self::Ffmpeg => "FFmpeg sources",
            Self::Files => "Files",
            Self::Hooks => "Web hooks",
        }
    }
}

macro_rules! routes {
    ($($name:literal, $group:ident, $access:ident, $separator:literal => $handler:path, $about:path;)*) => {
        &[$(Route {
            name: $name,
            group: Group::$group,
            access: Access::$access,
            separator: $separator,
            about: $about,
            handler: |call| Box::pin($handler(call)),
        }),*]
    };
}

/// Every endpoint. A new one needs a row here, and beside its handler a description ([`About`], with [`About::own`] if ZLM has none
/// such) of its parameters and its reply; the OpenAPI document and the page to try it follow from that, and tests ask for its section
/// in docs/api.md. The separators are ZLM's (observed where api.md marks them).
#[rustfmt::skip]
pub static ROUTES: &[Route] = routes! {
    "getApiList",             Server,   Secret,       "," => server::api_list, server::API_LIST;
    "openapi.json",           Server,   Address,      "," => server::openapi, server::OPENAPI;
    "version",                Server,   Secret,       "," => server::version, server::VERSION;
    "getThreadsLoad",         Server,   Secret,       "," => server::threads_load, server::THREADS_LOAD;
    "getWorkThreadsLoad",     Server,   Secret,       "," => server::work_threads_load, server::WORK_THREADS_LOAD;
    "getStatistic",           Server,   Secret,       "," => server::statistic, server::STATISTIC;
    "getServerConfig",        Server,   Secret,       "," => server::config, server::CONFIG;
    "setServerConfig",        Server,   Secret,       "," => server::set_config, server::SET_CONFIG;
    "restartServer",          Server,   Secret,       "," => server::restart, server::RESTART;
    "login",                  Server,   Open,         "," => login::login, login::LOGIN;
    "logout",                 Server,   Open,         "," => login::logout, login::LOGOUT;

    "getMediaList",           Streams,  Secret,       "," => streams::list, streams::LIST;
    "isMediaOnline",          Streams,  Secret,       "," => streams::is_online, streams::IS_ONLINE;
    "getMediaInfo",           Streams,  Secret,       "," => streams::info, streams::INFO;
    "getMediaPlayerList",     Streams,  Secret,       ", " => streams::players, streams::PLAYERS;
    "close_stream",           Streams,  Secret,       "," => streams::close, streams::CLOSE;
    "close_streams",          Streams,  Secret,       "," => streams::close_many, streams::CLOSE_MANY;
    "broadcastMessage",       Streams,  Secret,       ", " => streams::broadcast, streams::BROADCAST;
    "getStreamTimeline",      Streams,  Secret,       ", " => timeline::of_stream, timeline::OF_STREAM;
    "addProbe",               Streams,  Secret,       ", " => probe::add, probe::ADD;

    "getAllSession",          Sessions, Secret,       "," => sessions::list, sessions::LIST;
    "kick_session",           Sessions, Secret,       "," => sessions::kick, sessions::KICK;
    "kick_sessions",          Sessions, Secret,       "," => sessions::kick_many, sessions::KICK_MANY;

    "addStreamProxy",         Proxies,  Secret,       "," => proxies::add, proxies::ADD;
    "delStreamProxy",         Proxies,  Secret,       "," => proxies::delete, proxies::DELETE;
    "listStreamProxy",        Proxies,  Secret,       "," => proxies::list, proxies::LIST;
    "getProxyInfo",           Proxies,  Secret,       "," => proxies::info, proxies::INFO;

    "addStreamPusherProxy",   Pushers,  Secret,       ", " => pushers::add, pushers::ADD;
    "delStreamPusherProxy",   Pushers,  Secret,       "," => pushers::delete, pushers::DELETE;
    "listStreamPusherProxy",  Pushers,  Secret,       "," => pushers::list, pushers::LIST;
    "getProxyPusherInfo",     Pushers,  Secret,       "," => pushers::info, pushers::INFO;

    "addFFmpegSource",        Ffmpeg,   Secret,       "," => ffmpeg::add, ffmpeg::ADD;
    "delFFmpegSource",        Ffmpeg,   Secret,       "," => ffmpeg::delete, ffmpeg::DELETE;
    "listFFmpegSource",       Ffmpeg,   Secret,       "," => ffmpeg::list, ffmpeg::LIST;

    "downloadFile",           Files,    SecretOrHook, "," => files::download, files::DOWNLOAD;

    "listHookEndpoints",      Hooks,    Secret,       "," => hooks::list, hooks::LIST;
    "addHookEndpoint",        Hooks,    Secret,       "," => hooks::add, hooks::ADD;
    "setHookEndpoint",        Hooks,    Secret,       "," => hooks::set, hooks::SET;
    "delHookEndpoint",        Hooks,    Secret,       "," => hooks::delete, hooks::DELETE;
    "rotateHookSecret",       Hooks,    Secret,       "," => hooks::rotate, hooks::ROTATE;
    "enableHookEndpoint",     Hooks,    Secret,       "," => hooks::enable, hooks::ENABLE;
    "testHookEndpoint",       Hooks,    Secret,       "," => hooks::test, hooks::TEST;
    "getHookDeliveries",      Hooks,    Secret,       "," => hooks::deliveries, hooks::DELIVERIES;
    "listDeadLetters",        Hooks,    Secret,       "," => hooks::dead, hooks::DEAD;
    "replayDeadLetters",      Hooks,    Secret,       "," => hooks::replay, hooks::REPLAY;
    "purgeDeadLetters",       Hooks,    Secret,       "," => hooks::purge, hooks::PURGE;
    "flushHookCache",         Hooks,    Secret,       "," => hooks::flush, hooks::FLUSH;
};

/// The endpoint at a decoded path. Paths have no case; `/index/` alone is `getApiList`; a trailing slash makes another path.
pub(crate) fn find(path: &str) -> Option<&'static Route> {
    if path.eq_ignore_ascii_case(ROOT) {
        return find("/index/api/getApiList");
    }
    let start = path.get(..PREFIX.len())?;
    let name = &path[PREFIX.len()..];
    if !start.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    ROUTES.iter().find(|route| route.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_no_case_and_no_trailing_slash() {
        for path in [
            "/index/api/getApiList",
            "/INDEX/API/GETAPILIST",
            "/index/",
            "/Index/",
        ] {
            assert_eq!(find(path).map(|route| route.name), Some("getApiList"), "{path}");
        }
        for path in [
            "/index",
            "/index/api",
            "/index/api/",
            "/index/api/getApiList/",
            "/index/api/none",
            "/",
            "",
            "/indéx/api/a",
        ] {
            assert!(find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn names_are_unique_without_case() {
        for (index, route) in ROUTES.iter().enumerate() {
            let same = |other: &&Route| other.name.eq_ignore_ascii_case(route.name);
            assert_eq!(
                ROUTES.iter().position(|other| same(&other)),
                Some(index),
                "{}",
                route.name
            );
        }
    }
}
