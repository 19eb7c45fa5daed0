//! ZLM's INI dialect (config.md, section 1): reading it, and rewriting a file so that its order, comments and unknown keys
//! stay.

use crate::config::Config;
use std::collections::BTreeMap;

/// One `key=value` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// `section.key`.
    pub name: String,
    pub value: String,
    /// From 1.
    pub line: usize,
}

/// Reads a file. Every text is valid: a line that is neither comment nor section is a key, without `=` one with an empty
/// value. The same key may occur more than once; the last one counts.
pub(crate) fn read(text: &str) -> Vec<Pair> {
    let mut section = "";
    let mut pairs = Vec::new();
    for (at, raw) in lines(text).enumerate() {
        match Line::of(raw) {
            Line::Section(name) => section = name,
            Line::Pair { key, value } => {
                pairs.push(Pair {
                    name: full_name(section, key),
                    value: value.to_owned(),
                    line: at + 1,
                });
            }
            Line::Other => {}
        }
    }
    pairs
}

/// The text of the file after `config` was changed: changed values are replaced in their lines, keys that the file lacks are
/// added to their sections, sorted by name, and everything else stays. Lines end in CR LF, as ZLM writes them.
pub(crate) fn rewrite(text: &str, config: &Config) -> String {
    let mut file: Vec<String> = lines(text).map(str::to_owned).collect();
    let mut present = BTreeMap::new();
    // Where a section's next key belongs: behind its last key, or behind its heading.
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    let mut section = String::new();
    for (at, raw) in file.iter().enumerate() {
        match Line::of(raw) {
            Line::Section(name) => {
                name.clone_into(&mut section);
                ends.insert(section.clone(), at + 1);
            }
            Line::Pair { key, .. } => {
                present.insert(full_name(&section, key), at);
                ends.insert(section.clone(), at + 1);
            }
            Line::Other => {}
        }
    }

    let store = config.store();
    let mut lacking: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for name in store.names() {
        let Some(value) = store.for_file(name) else {
            continue;
        };
        match present.get(name) {
            Some(&at) if store.is_dirty(name) => file[at] = with_value(&file[at], value),
            Some(_) => {}
            None => {
                if let Some((section, key)) = name.split_once('.') {
                    lacking.entry(section).or_default().push(format!("{key}={value}"));
                }
            }
        }
    }

    let mut inserts: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut appendix = Vec::new();
    for (section, new) in lacking {
        match ends.get(section) {
            Some(&at) => inserts.entry(at).or_default().extend(new),
            None => {
                appendix.push(String::new());
                appendix.push(format!("[{section}]"));
                appendix.extend(new);
            }
        }
    }
    if file.is_empty() && !appendix.is_empty() {
        appendix.remove(0);
    }
    let mut out = String::with_capacity(text.len() + 4096);
    let mut write = |line: &str| {
        out.push_str(line);
        out.push_str("\r\n");
    };
    for at in 0..=file.len() {
        inserts
            .get(&at)
            .into_iter()
            .flatten()
            .for_each(|line| write(line));
        if let Some(line) = file.get(at) {
            write(line);
        }
    }
    appendix.iter().for_each(|line| write(line));
    out
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    // Editors on Windows put a byte order mark at the beginning.
    text.strip_prefix('\u{feff}').unwrap_or(text).lines()
}

enum Line<'a> {
    Section(&'a str),
    Pair {
        key: &'a str,
        value: &'a str,
    },
    /// A comment or a blank line.
    Other,
}

impl<'a> Line<'a> {
    fn of(raw: &'a str) -> Self {
        let line = raw.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            return Line::Other;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return Line::Section(name.trim());
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        Line::Pair {
            key: key.trim(),
            value: value.trim(),
        }
    }
}

fn full_name(section: &str, key: &str) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}

/// The line with another value; its spelling of the name and the blanks around `=` stay.
fn with_value(raw: &str, value: &str) -> String {
    let Some(equals) = raw.find('=') else {
        return format!("{}={value}", raw.trim_end());
    };
    let blanks = raw[equals + 1..].len() - raw[equals + 1..].trim_start_matches([' ', '\t']).len();
    format!("{}{value}", &raw[..equals + 1 + blanks])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        read(text)
            .into_iter()
            .map(|pair| (pair.name, pair.value))
            .collect()
    }

    #[test]
    fn the_quirks_of_the_contract_are_kept() {
        let text = "\u{feff}; comment\r\n  # comment=1\r\n[ ffmpeg ]\r\n cmd = %s -i %s a=b;c#d %s \r\nalone\r\n\r\n[http]\nport=80\n[ffmpeg]\nCmd=2\n=3\n[broken\n";
        let wanted = [
            ("ffmpeg.cmd", "%s -i %s a=b;c#d %s"),
            ("ffmpeg.alone", ""),
            ("http.port", "80"),
            ("ffmpeg.Cmd", "2"),
            ("ffmpeg.", "3"),
            ("ffmpeg.[broken", ""),
        ];
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        assert_eq!(pairs(text), wanted);
        assert_eq!(read(text)[0].line, 4);
    }

    #[test]
    fn a_rewritten_file_keeps_order_comments_and_unknown_keys() {
        let text = "# mine\n[http]\nport = 80\n; about mine\nmine=x=y\n\n[zzz]\nb=1\n";
        let config = parse(text)
            .set(&[("http.port".to_owned(), "81".to_owned())])
            .config;
        let written = rewrite(text, &config);
        assert!(
            written.starts_with("# mine\r\n[http]\r\nport = 81\r\n; about mine\r\nmine=x=y\r\n"),
            "{written}"
        );
        assert!(
            written.split("\r\n").all(|line| !line.contains('\n')),
            "every line ends in CR LF"
        );
        assert!(written.contains("\r\n\r\n[zzz]\r\nb=1\r\n"), "{written}");
        assert_eq!(written.matches("[http]").count(), 1);
        let again = parse(&written);
        assert_eq!(
            again.flat().collect::<Vec<_>>(),
            config.flat().collect::<Vec<_>>()
        );
        assert_eq!(
            rewrite(&written, &again),
            written,
            "a second write changes nothing"
        );
    }

    #[test]
    fn lacking_keys_are_added_to_their_section_sorted_by_name() {
        let written = rewrite(
            "[metrics]\n\n[hls]\nsegDur=2\n",
            &parse("[metrics]\n\n[hls]\nsegDur=2\n"),
        );
        let lines: Vec<_> = written.lines().collect();
        assert_eq!(lines[..5], ["[metrics]", "enable=1", "", "[hls]", "segDur=2"]);
        let hls: Vec<_> = lines[5..].iter().take_while(|line| !line.is_empty()).collect();
        assert!(hls.is_sorted(), "{hls:?}");
        assert_eq!(hls.len(), 11);
    }

    #[test]
    fn of_a_key_that_stands_twice_the_one_that_counts_is_replaced() {
        let text = "[http]\nport=80\nport=81\n";
        let config = parse(text)
            .set(&[("http.port".to_owned(), "82".to_owned())])
            .config;
        assert!(rewrite(text, &config).starts_with("[http]\r\nport=80\r\nport=82\r\n"));
    }

    #[test]
    fn values_of_the_environment_do_not_reach_the_file() {
        let env = [("TIDEGATE_HTTP__PORT".to_owned(), "4321".to_owned())];
        let config = crate::load::parse("[http]\n", crate::Format::Ini, "x", env, &[], &mut |_| {
            "id".to_owned()
        });
        let written = rewrite("[http]\n", &config.unwrap().config);
        assert!(
            !written.contains("4321") && !written.contains("\nport=8080"),
            "{written}"
        );
    }

    fn parse(text: &str) -> Config {
        crate::load::parse(text, crate::Format::Ini, "x.ini", [], &[], &mut |len| {
            "r".repeat(len)
        })
        .unwrap()
        .config
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_rewritten_without_loss(text in "([\\[\\]=;# a-c.\r\n\\PC]|\\[http\\]\n|port=1\n){0,40}") {
            let before = read(&text);
            let after = read(&rewrite(&text, &Config::default()));
            let names: Vec<_> = after.iter().map(|pair| (&pair.name, &pair.value)).collect();
            for pair in &before {
                prop_assert!(names.contains(&(&pair.name, &pair.value)), "{:?} in {:?}", pair, text);
            }
        }
    }
}
