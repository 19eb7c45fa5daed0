//! What kind of content a file has, by the end of its name.

/// The media type of a file and whether a copy of it may be used without asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Media type, without parameters.
    pub media_type: &'static str,
    /// The name stays while the content changes: playlists, pages.
    pub changes: bool,
}

/// The kind of a file.
pub fn of(name: &str) -> Kind {
    let end = name
        .rsplit_once('.')
        .map_or("", |(_, end)| end)
        .to_ascii_lowercase();
    let media_type = match end.as_str() {
        "m3u8" | "m3u" => "application/vnd.apple.mpegurl",
        "mpd" => "application/dash+xml",
        "ts" | "mts" | "m2ts" => "video/mp2t",
        "mp4" | "m4v" | "m4s" | "cmfv" => "video/mp4",
        "m4a" | "cmfa" => "audio/mp4",
        "mov" => "video/quicktime",
        "flv" => "video/x-flv",
        "webm" => "video/webm",
        "mkv" => "video/x-matroska",
        "avi" => "video/x-msvideo",
        "3gp" => "video/3gpp",
        "mpg" | "mpeg" => "video/mpeg",
        "aac" => "audio/aac",
        "mp3" => "audio/mpeg",
        "ogg" | "opus" => "audio/ogg",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "vtt" => "text/vtt",
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "js" | "mjs" => "text/javascript",
        "json" | "map" => "application/json",
        "xml" => "application/xml",
        "txt" | "log" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "wasm" => "application/wasm",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "svg" => "image/svg+xml",
        "ico" => "image/x-icon",
        "bmp" => "image/bmp",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        // ZLM says text/plain; browsers may make anything of that.
        _ => "application/octet-stream",
    };
    let changes = matches!(
        media_type,
        "application/vnd.apple.mpegurl" | "application/dash+xml" | "text/html"
    );
    Kind { media_type, changes }
}

impl Kind {
    /// The header `Content-Type` (urls.md, section 12: the charset is always added).
    pub fn content_type(self, charset: &str) -> String {
        // Browsers take WebAssembly only without parameters (WebAssembly Web API, section 4).
        if self.media_type == "application/wasm" || charset.is_empty() {
            return self.media_type.to_owned();
        }
        format!("{}; charset={charset}", self.media_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_the_end_of_the_name() {
        let kind = |name| of(name).content_type("utf-8");
        assert_eq!(kind("hls.m3u8"), "application/vnd.apple.mpegurl; charset=utf-8");
        assert_eq!(kind("37-55_0.TS"), "video/mp2t; charset=utf-8");
        assert_eq!(kind("a.b.mp4"), "video/mp4; charset=utf-8");
        assert_eq!(kind("x.wasm"), "application/wasm");
        assert_eq!(kind("README"), "application/octet-stream; charset=utf-8");
        assert_eq!(of("a.js").content_type(""), "text/javascript");
        assert!(of("a.m3u8").changes && of("index.html").changes && !of("a.ts").changes);
    }
}
