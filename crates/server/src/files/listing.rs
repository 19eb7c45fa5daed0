//! The page that shows what is in a folder (`http.dirMenu`).

use super::path::encoded;
use super::root::Entry;
use std::fmt::Write;

/// Most entries of a page: an hour of segments of two seconds.
pub const MAX_ENTRIES: usize = 2000;

/// Most bytes of a page, which names of foreign letters reach before [`MAX_ENTRIES`].
const MAX_PAGE: usize = 512 * 1024;

/// The page of a folder: folders first, both by name. `path` is decoded; `more`: there are entries that are not in the list. Links are
/// relative, so the page must be served under a path with `/` at its end.
pub fn page(path: &str, mut entries: Vec<Entry>, mut more: bool) -> String {
    entries.sort_by(|a, b| (!a.folder, &a.name).cmp(&(!b.folder, &b.name)));
    let title = escaped(path);
    let mut page = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>body{{font-family:sans-serif}}td{{padding:0 1em}}td:nth-child(2){{text-align:right}}</style></head>\n\
         <body><h1>{title}</h1>\n<table>\n"
    );
    if path != "/" {
        page.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
    let mut shown = 0;
    for entry in &entries {
        if page.len() > MAX_PAGE {
            more = true;
            break;
        }
        row(&mut page, entry);
        shown += 1;
    }
    page.push_str("</table>\n");
    if more {
        let _ = writeln!(
            page,
            "<p>There are more: only {shown} are shown, in no particular choice.</p>"
        );
    }
    page.push_str("</body></html>\n");
    page
}

fn row(page: &mut String, entry: &Entry) {
    let slash = if entry.folder { "/" } else { "" };
    let size = if entry.folder {
        String::new()
    } else {
        entry.meta.len.to_string()
    };
    let date = entry.meta.time().map(httpdate::fmt_http_date).unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = writeln!(
        page,
        "<tr><td><a href=\"{}{slash}\">{}{slash}</a></td><td>{size}</td><td>{date}</td></tr>",
        encoded(&entry.name),
        escaped(&entry.name),
    );
}

/// A text that is only text in HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter if letter.is_control() => out.push('\u{FFFD}'),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::root::Meta;
    use super::*;

    fn entry(name: &str, folder: bool) -> Entry {
        Entry {
            name: name.to_owned(),
            folder,
            meta: Meta {
                len: 1234,
                modified: (784_111_777, 0),
                inode: 1,
            },
        }
    }

    #[test]
    fn names_are_text_and_links_lead_to_them() {
        let entries = vec![
            entry("b.ts", false),
            entry("<script>alert('x')</script>&\".mp4", false),
            entry("z", true),
            entry("javascript:x", true),
            entry("a?b#c%20 d\n.ts", false),
        ];
        let page = page("/<live>/", entries, false);
        assert!(!page.contains("<script>") && !page.contains("<live>"), "{page}");
        assert!(page.contains("<title>/&lt;live&gt;/</title>"), "{page}");
        let links: Vec<_> = page
            .split("href=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert_eq!(
            links,
            [
                "../",
                "javascript%3Ax/",
                "z/",
                "%3Cscript%3Ealert%28%27x%27%29%3C%2Fscript%3E%26%22.mp4",
                "a%3Fb%23c%2520%20d%0A.ts",
                "b.ts",
            ]
        );
        assert!(
            page.contains(">b.ts</a></td><td>1234</td><td>Sun, 06 Nov 1994 08:49:37 GMT<"),
            "{page}"
        );
        assert!(!page.contains("There are more"), "{page}");
    }

    #[test]
    fn a_page_has_a_bound_and_says_so() {
        let entries = (0..MAX_ENTRIES).map(|n| entry(&format!("{n:04}{}", "你".repeat(80)), false));
        let long = page("/", entries.collect(), false);
        assert!(long.len() < MAX_PAGE + 4096, "{}", long.len());
        assert!(long.contains("There are more: only "));
        assert!(!long.contains("../"));
        assert!(page("/", vec![entry("a", false)], true).contains("only 1 are shown"));
    }
}
