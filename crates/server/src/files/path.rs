//! From the path of a URL to a folder and a name below it.

use config::Http;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::path::{Component, Path, PathBuf};

/// Everything that is not unreserved (RFC 3986, section 2.3), so that a name can stand in a link, a header and a cookie.
const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A name as a part of a URL.
pub fn encoded(name: &str) -> impl std::fmt::Display {
    utf8_percent_encode(name, NAME)
}

/// What a URL names: decoded once, without empty parts, `.` and `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    names: Vec<String>,
    /// The URL ends like that of a folder.
    pub folder: bool,
}

impl Target {
    /// The target of a path. `..` ends at the root (urls.md, section 12); a backslash separates, as in ZLM (read in source).
    /// `None` for what is never served: no UTF-8 (overlong forms included), NUL, names that begin with a dot.
    pub fn of(path: &str) -> Option<Self> {
        let path = percent_decode_str(path).decode_utf8().ok()?;
        if path.contains('\0') {
            return None;
        }
        let (names, folder) = names(&path);
        if names.iter().any(|name| hidden(name)) {
            return None;
        }
        Some(Self {
            names: names.into_iter().map(str::to_owned).collect(),
            folder,
        })
    }

    /// The file at a path below a folder. `None` for names that are no UTF-8 or begin with a dot, and for no name at all.
    pub fn below(path: &Path) -> Option<Self> {
        let names: Option<Vec<String>> = path
            .components()
            .map(|part| match part {
                Component::Normal(name) => name.to_str().filter(|name| !hidden(name)).map(str::to_owned),
                _ => None,
            })
            .collect();
        let names =
            names.filter(|names| !names.is_empty() && !names.iter().any(|name| name.contains('\0')))?;
        Some(Self { names, folder: false })
    }

    /// A name in this folder.
    pub fn child(&self, name: &str) -> Self {
        let mut names = self.names.clone();
        names.push(name.to_owned());
        Self { names, folder: false }
    }

    /// The path, decoded; with a `/` at the end for a folder.
    pub fn path(&self) -> String {
        let end = if self.folder && !self.names.is_empty() {
            "/"
        } else {
            ""
        };
        format!("/{}{end}", self.names.join("/"))
    }

    /// The path of the folder itself as it may stand in a header, always with a `/` at the end.
    pub fn folder_url(&self) -> String {
        let names: String = self
            .names
            .iter()
            .map(|name| format!("{}/", encoded(name)))
            .collect();
        format!("/{names}")
    }

    /// The last name; empty for the root.
    pub fn name(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }
}

/// Whether a file is one that nobody may see: ZLM's recordings in progress, and what people hide.
pub fn hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// The parts of a decoded path that are names, and whether its end is that of a folder.
fn names(path: &str) -> (Vec<&str>, bool) {
    let mut names = Vec::new();
    let mut folder = true;
    for part in path.split(['/', '\\']) {
        folder = matches!(part, "" | "." | "..");
        match part {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    (names, folder)
}

/// A set of paths: one and everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Box<str>);

impl Scope {
    /// The scope that a text names, decoded.
    pub fn new(path: &str) -> Self {
        Self(format!("/{}", names(path).0.join("/")).into())
    }

    /// The folder that a target is in; a folder is in itself.
    pub fn around(target: &Target, is_folder: bool) -> Self {
        let last = target.names.len().saturating_sub(usize::from(!is_folder));
        Self(format!("/{}", target.names[..last].join("/")).into())
    }

    /// Whether a target is in it. `/sub` holds `/sub` and `/sub/a`, but not `/subway`.
    pub fn holds(&self, target: &Target) -> bool {
        let path = format!("/{}", target.names.join("/"));
        match path.strip_prefix(&*self.0) {
            Some(rest) => self.0.len() == 1 || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// Longer ones are narrower, among those that hold the same target.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// As the `Path` of a cookie, which means the same set (RFC 6265, section 5.1.4).
    pub fn url(&self) -> String {
        let names: Vec<String> = names(&self.0)
            .0
            .into_iter()
            .map(|name| encoded(name).to_string())
            .collect();
        format!("/{}", names.join("/"))
    }
}

/// Where a target is in the file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The folder that nothing may leave.
    pub root: PathBuf,
    /// The folder of a virtual host in it, which nothing may leave either.
    pub vhost: Option<String>,
    /// The names below.
    pub below: PathBuf,
}

impl Place {
    /// The place of a target (urls.md, sections 6 and 12): `http.virtualPath` by the first name, else `http.rootPath`, and in
    /// both the folder of the virtual host, if there are such. `None`: no folder can have the name of this host.
    pub fn of(http: &Http, target: &Target, vhost: Option<&str>) -> Option<Self> {
        let vhost = match vhost {
            Some(name) if name.is_empty() || hidden(name) || name.contains(['/', '\\', '\0']) => return None,
            other => other.map(str::to_owned),
        };
        let first = target.names.first();
        let further = http.virtual_paths.iter().find(|(name, _)| Some(name) == first);
        let (root, names) = match further {
            Some((_, folder)) => (folder, &target.names[1..]),
            None => (&http.root_path, &target.names[..]),
        };
        Some(Self {
            root: root.clone(),
            vhost,
            below: names.iter().collect(),
        })
    }

    /// The whole path, absolute, for the hook service. Links are not followed.
    pub fn absolute(&self, is_folder: bool) -> String {
        let root = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
        let mut path: PathBuf = root
            .iter()
            .chain(self.vhost.as_ref().map(std::ffi::OsStr::new))
            .chain(&self.below)
            .collect();
        if is_folder {
            path.push("");
        }
        path.to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<&str>) {
        assert_eq!(
            Target::of(path).map(|target| target.path()).as_deref(),
            expected,
            "{path}"
        );
    }

    #[test]
    fn paths_are_decoded_once_and_end_at_the_root() {
        for (path, expected) in [
            ("/", "/"),
            ("", "/"),
            ("/a/b.ts", "/a/b.ts"),
            ("/a//b/./c/", "/a/b/c/"),
            ("/a/b/..", "/a/"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("/%2e%2e/%2E%2E%2fetc%2fpasswd", "/etc/passwd"),
            ("/a%5c..%5c..%5cetc%5cpasswd", "/etc/passwd"),
            ("/a\\..\\b", "/b"),
            ("/%252e%252e/etc", "/%2e%2e/etc"),
            ("/a%20b+c/%e4%bd%a0.mp4", "/a b+c/你.mp4"),
            ("/a%0d%0ab", "/a\r\nb"),
            ("/a/%zz", "/a/%zz"),
        ] {
            check(path, Some(expected));
        }
    }

    #[test]
    fn what_is_never_served_has_no_target() {
        for path in [
            "/a%00.txt",
            "/%c0%ae%c0%ae/etc/passwd",
            "/%c0%af",
            "/%ff",
            "/.hidden",
            "/a/.b/c",
            "/a/..b",
            "/%2egit/config",
            "/.../a",
            "/...%2f",
        ] {
            check(path, None);
        }
        // Gone before it counts.
        check("/.a/../b", Some("/b"));
    }

    #[test]
    fn a_path_below_a_folder_is_a_target_unless_it_is_hidden() {
        let below = |path: &str| Target::below(Path::new(path)).map(|target| target.path());
        assert_eq!(below("a/b%20.mp4").as_deref(), Some("/a/b%20.mp4"));
        for path in ["", ".a", "a/.b", "a/../b", "/a", "a\0b"] {
            assert_eq!(below(path), None, "{path:?}");
        }
    }

    #[test]
    fn scopes_hold_whole_names() {
        let holds = |scope: &str, path: &str| Scope::new(scope).holds(&Target::of(path).expect("a target"));
        for scope in ["/sub/", "/sub", "sub", "//sub/x/../"] {
            assert!(holds(scope, "/sub/deep/b.txt"), "{scope}");
            assert!(holds(scope, "/sub/") && holds(scope, "/sub"), "{scope}");
            assert!(!holds(scope, "/subway/a") && !holds(scope, "/c.txt"), "{scope}");
            assert!(!holds(scope, "/sub/../c.txt"), "{scope}");
        }
        assert!(holds("/", "/a") && holds("", "/") && holds("/../..", "/a/b"));
        let around = |path: &str, folder| Scope::around(&Target::of(path).expect("a target"), folder).url();
        assert_eq!(around("/a/b c/d.ts", false), "/a/b%20c");
        assert_eq!(around("/a/b/", true), "/a/b");
        assert_eq!(around("/d.ts", false), "/");
        assert_eq!(around("/", true), "/");
        assert_eq!(Scope::new("/a;b\r\nc").url(), "/a%3Bb%0D%0Ac");
    }

    #[test]
    fn places_follow_virtual_paths_and_hosts() {
        let http = Http {
            root_path: "/srv/www".into(),
            virtual_paths: vec![("vod".into(), "/media/vod".into())],
            ..Http::default()
        };
        let place = |path: &str, vhost: Option<&str>| {
            let target = Target::of(path).expect("a target");
            Place::of(&http, &target, vhost).map(|place| place.absolute(target.folder))
        };
        assert_eq!(place("/a/b.ts", None).as_deref(), Some("/srv/www/a/b.ts"));
        assert_eq!(place("/vod/b.ts", None).as_deref(), Some("/media/vod/b.ts"));
        assert_eq!(place("/vod/../b.ts", None).as_deref(), Some("/srv/www/b.ts"));
        assert_eq!(place("/vodka/b.ts", None).as_deref(), Some("/srv/www/vodka/b.ts"));
        assert_eq!(place("/", None).as_deref(), Some("/srv/www/"));
        assert_eq!(
            place("/a/", Some("h.example")).as_deref(),
            Some("/srv/www/h.example/a/")
        );
        for bad in ["..", "", "a/b", "a\\b", ".git", "a\0"] {
            assert_eq!(place("/a", Some(bad)), None, "{bad:?}");
        }
    }
}
