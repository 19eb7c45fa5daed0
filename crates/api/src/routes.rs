//! The whole API on one page.

use crate::dispatch::Handler;
use crate::handlers::{ffmpeg, login, proxies, pushers, server, sessions, streams, timeline, verdicts};

/// Everything under this path belongs to the API.
pub const ROOT: &str = "/index/";

/// Where the endpoints are.
pub const PREFIX: &str = "/index/api/";

/// One endpoint.
pub struct Route {
    /// Its name after [`PREFIX`].
    pub name: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Parameters that must be given and not empty, in the order in which a refusal lists them.
    pub required: &'static [&'static str],
    /// What stands between their names in a refusal.
    pub separator: &'static str,
    pub(crate) handler: Handler,
}

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Allowed addresses with the secret or a login.
    Secret,
    /// Everyone.
    Open,
}

macro_rules! routes {
    ($($name:literal, $access:ident, [$($required:literal),*] $separator:literal => $handler:path;)*) => {
        &[$(Route {
            name: $name,
            access: Access::$access,
            required: &[$($required),*],
            separator: $separator,
            handler: |call| Box::pin($handler(call)),
        }),*]
    };
}

/// Every endpoint. The separators are ZLM's (observed where api.md marks them).
#[rustfmt::skip]
pub static ROUTES: &[Route] = routes! {
    // Server
    "getApiList",            Secret, [] "," => server::api_list;
    "version",               Secret, [] "," => server::version;
    "getThreadsLoad",        Secret, [] "," => server::threads_load;
    "getWorkThreadsLoad",    Secret, [] "," => server::work_threads_load;
    "getStatistic",          Secret, [] "," => server::statistic;
    "getServerConfig",       Secret, [] "," => server::config;
    "setServerConfig",       Secret, [] "," => server::set_config;
    "restartServer",         Secret, [] "," => server::restart;
    "login",                 Open,   ["digest"] "," => login::login;
    "logout",                Open,   [] "," => login::logout;

    // Streams
    "getMediaList",          Secret, [] "," => streams::list;
    "isMediaOnline",         Secret, ["schema", "vhost", "app", "stream"] "," => streams::is_online;
    "getMediaInfo",          Secret, ["schema", "vhost", "app", "stream"] "," => streams::info;
    "getMediaPlayerList",    Secret, ["schema", "vhost", "app", "stream"] ", " => streams::players;
    "close_stream",          Secret, ["schema", "vhost", "app", "stream"] "," => streams::close;
    "close_streams",         Secret, [] "," => streams::close_many;
    "getStreamTimeline",     Secret, ["vhost", "app", "stream"] ", " => timeline::of_stream;

    // Sessions
    "getAllSession",         Secret, [] "," => sessions::list;
    "kick_session",          Secret, ["id"] "," => sessions::kick;
    "kick_sessions",         Secret, [] "," => sessions::kick_many;

    // Hooks
    "flushHookCache",        Secret, [] "," => verdicts::flush;

    // Sources and pushers
    "addStreamProxy",        Secret, ["vhost", "app", "stream", "url"] "," => proxies::add;
    "delStreamProxy",        Secret, ["key"] "," => proxies::delete;
    "listStreamProxy",       Secret, [] "," => proxies::list;
    "getProxyInfo",          Secret, ["key"] "," => proxies::info;
    "addStreamPusherProxy",  Secret, ["schema", "vhost", "app", "stream", "dst_url"] ", " => pushers::add;
    "delStreamPusherProxy",  Secret, ["key"] "," => pushers::delete;
    "listStreamPusherProxy", Secret, [] "," => pushers::list;
    "getProxyPusherInfo",    Secret, ["key"] "," => pushers::info;
    "addFFmpegSource",       Secret, ["src_url", "dst_url", "timeout_ms"] "," => ffmpeg::add;
    "delFFmpegSource",       Secret, ["key"] "," => ffmpeg::delete;
    "listFFmpegSource",      Secret, [] "," => ffmpeg::list;
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
