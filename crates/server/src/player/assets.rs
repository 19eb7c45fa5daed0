//! The files of the page. Libraries of others are unchanged and stand under `assets/vendor/` with their licences.

/// Where text for a tour goes in the page.
pub const TOUR: &str = "<!-- tour -->";

/// One file.
pub struct Asset {
    /// Its path on the server.
    pub path: &'static str,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Contents.
    pub body: &'static str,
    /// The version is part of the name, so a browser may keep the file for good.
    pub versioned: bool,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const ICON: &str = "image/svg+xml";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! asset {
    ($path:literal, $kind:ident, $versioned:literal, $file:literal) => {
        Asset {
            path: $path,
            content_type: $kind,
            body: include_str!(concat!("../../assets/", $file)),
            versioned: $versioned,
        }
    };
}

/// All of them.
#[rustfmt::skip]
pub static ALL: [Asset; 14] = [
    asset!("/",                                    HTML,   false, "player/index.html"),
    asset!("/tidegate/page.css",                   CSS,    false, "player/page.css"),
    asset!("/tidegate/icon.svg",                   ICON,   false, "player/icon.svg"),
    asset!("/tidegate/page.js",                    SCRIPT, false, "player/page.js"),
    asset!("/tidegate/ways.js",                    SCRIPT, false, "player/ways.js"),
    asset!("/tidegate/play.js",                    SCRIPT, false, "player/play.js"),
    asset!("/tidegate/list.js",                    SCRIPT, false, "player/list.js"),
    asset!("/tidegate/text.js",                    SCRIPT, false, "player/text.js"),
    asset!("/tidegate/md5.js",                     SCRIPT, false, "player/md5.js"),
    asset!("/tidegate/api",                        HTML,   false, "api/index.html"),
    asset!("/tidegate/api.css",                    CSS,    false, "api/api.css"),
    asset!("/tidegate/api.js",                     SCRIPT, false, "api/api.js"),
    asset!("/tidegate/hls.light-1.7.4.min.js",     SCRIPT, true,  "vendor/hls.js/hls.light.min.js"),
    asset!("/tidegate/mpegts-1.8.2.js",            SCRIPT, true,  "vendor/mpegts.js/mpegts.js"),
];

/// The file at a path, with its number in [`ALL`]. `/tidegate/` is the page as well, for those who have an `index.html` of their
/// own at `/`.
pub fn find(path: &str) -> Option<(usize, &'static Asset)> {
    let path = if path == "/tidegate/" { "/" } else { path };
    ALL.iter().enumerate().find(|(_, asset)| asset.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_name_each_other_by_names_that_exist() {
        for asset in ALL.iter().filter(|asset| !asset.versioned) {
            for (at, _) in asset.body.match_indices("\"/tidegate/") {
                let name = asset.body[at + 1..].split('"').next().unwrap_or_default();
                let there = find(name).is_some() || name == super::super::STREAMS;
                assert!(there, "{} names {name}", asset.path);
            }
            for (at, _) in asset.body.match_indices("from \"./") {
                let name = asset.body[at + 8..].split('"').next().unwrap_or_default();
                assert!(
                    find(&format!("/tidegate/{name}")).is_some(),
                    "{} imports {name}",
                    asset.path
                );
            }
        }
    }

    #[test]
    fn libraries_are_what_their_note_says() {
        use sha2::{Digest, Sha256};
        let note = include_str!("../../assets/vendor/README.md");
        for asset in ALL.iter().filter(|asset| asset.versioned) {
            let hash: String = Sha256::digest(asset.body)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let row = note.lines().find(|line| line.contains(&hash));
            let row = row.unwrap_or_else(|| panic!("{} has the hash {hash}", asset.path));
            let version = row.split('|').nth(2).unwrap_or_default().trim();
            assert!(
                asset.path.contains(version),
                "{} is version {version}",
                asset.path
            );
        }
    }

    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        for asset in ALL.iter().filter(|asset| !asset.versioned) {
            // The name of a name space is no address.
            let body = asset.body.replace("http://www.w3.org/2000/svg", "");
            assert!(!body.contains("://"), "{} names another host", asset.path);
            for inline in [
                " style=",
                " onclick=",
                " onload=",
                " onerror=",
                "<style",
                "<script>",
                "innerHTML",
            ] {
                assert!(!asset.body.contains(inline), "{} has {inline}", asset.path);
            }
        }
    }

    #[test]
    fn the_page_has_a_place_for_a_tour() {
        assert!(ALL[0].body.contains(TOUR));
    }
}
