//! From a command template (`ffmpeg.cmd`, `ffmpeg.snap`) to an argument vector.
//!
//! The *template* is split into words, and only then the URLs are put in. So blanks, quotes or dashes in a URL can never
//! become further arguments (contract `api.md`, fault 7.5: the reference splits after filling in).

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use crate::mask;

/// Longest template, in bytes. The reference's whole command line is limited to 2048.
pub const MAX_TEMPLATE: usize = 4096;
/// Longest source or destination URL, in bytes. Signed URLs of cloud stores reach about 2000.
pub const MAX_URL: usize = 4096;
/// Most words in a template. Long filter graphs are one word each, so this is generous.
pub const MAX_WORDS: usize = 256;

/// Why a template and its URLs do not make a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The first word must be `%s`, which stands for `ffmpeg.bin`. The text is the reference's, which clients know.
    #[error("ffmpeg cmd template must start with '%s'")]
    Start,
    /// Template longer than [`MAX_TEMPLATE`].
    #[error("ffmpeg cmd template has {got} bytes, at most {MAX_TEMPLATE} are allowed")]
    TemplateLength {
        /// Bytes.
        got: usize,
    },
    /// More than [`MAX_WORDS`] words.
    #[error("ffmpeg cmd template has more than {MAX_WORDS} words")]
    Words,
    /// A quote that is never closed, or a backslash at the very end.
    #[error("ffmpeg cmd template: the {what} at byte {at} is not closed")]
    Unclosed {
        /// `quote` or `backslash`.
        what: &'static str,
        /// Offset in the template.
        at: usize,
    },
    /// `%` followed by something other than `s` or `%`.
    #[error("ffmpeg cmd template: '%' at byte {at} must be %s, or %% for a percent sign")]
    Directive {
        /// Offset in the template.
        at: usize,
    },
    /// More `%s` than there is to fill in.
    #[error("ffmpeg cmd template has {got} times %s, at most 3 can be filled (program, source, destination)")]
    Placeholders {
        /// How many.
        got: usize,
    },
    /// A NUL or another control character in the template.
    #[error("ffmpeg cmd template: control character at byte {at}")]
    Control {
        /// Offset in the template.
        at: usize,
    },
    /// `src_url` or `dst_url` cannot be an argument.
    #[error("{name}: {fault}")]
    Url {
        /// `src_url` or `dst_url`.
        name: &'static str,
        /// What is wrong with it.
        fault: UrlFault,
    },
}

/// What is wrong with a URL that should become an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// Nothing there.
    #[error("must not be empty")]
    Empty,
    /// Longer than [`MAX_URL`].
    #[error("has {got} bytes, at most {MAX_URL} are allowed")]
    Length {
        /// Bytes.
        got: usize,
    },
    /// ffmpeg would take it for an option.
    #[error("must not begin with '-' (ffmpeg would take it for an option)")]
    Dash,
    /// NUL, line break or another control character.
    #[error("control character at byte {at}")]
    Control {
        /// Offset in the URL.
        at: usize,
    },
}

/// An argument vector: the program and its arguments. Its `Display` quotes words that need it and masks secrets, so it can
/// be logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Argv {
    program: OsString,
    arguments: Vec<OsString>,
}

impl Argv {
    /// A vector made by the caller instead of a template.
    pub fn new(program: impl Into<OsString>, arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().collect(),
        }
    }

    /// The program: a path, or a name to be searched in `PATH`.
    pub fn program(&self) -> &Path {
        Path::new(&self.program)
    }

    /// What follows the program.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }
}

impl fmt::Display for Argv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", quoted(&self.program.to_string_lossy()))?;
        let mut secret_next = false;
        for argument in &self.arguments {
            let text = argument.to_string_lossy();
            if std::mem::take(&mut secret_next) {
                write!(f, " {}", mask::MASKED)?;
                continue;
            }
            // `-decryption_key VALUE`: here the name stands in a word of its own.
            secret_next = text
                .strip_prefix('-')
                .is_some_and(|option| !option.contains('=') && mask::is_secret_name(option));
            write!(f, " {}", quoted(&mask::mask(&text)))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Argv {
    /// As `Display`: a debug print must not show secrets either.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Fills `template` with the program, the source and the destination, in this order, as printf would, but word by word.
///
/// Words are separated by blanks; `'..'`, `".."` and backslashes work as in a shell; nothing is expanded. `%%` is a percent
/// sign. Fewer than three `%s` are allowed, as in the reference (a fixed destination written into the template).
pub fn build(template: &str, bin: &Path, src: &str, dst: &str) -> Result<Argv, Error> {
    if template.len() > MAX_TEMPLATE {
        return Err(Error::TemplateLength { got: template.len() });
    }
    if let Some(at) = template
        .bytes()
        .position(|b| b.is_ascii_control() && !b.is_ascii_whitespace())
    {
        return Err(Error::Control { at });
    }
    let words = split(template)?;
    let placeholders = words
        .iter()
        .flatten()
        .filter(|piece| matches!(piece, Piece::Placeholder))
        .count();
    if words.first().map(Vec::as_slice) != Some(&[Piece::Placeholder]) {
        return Err(Error::Start);
    }
    if placeholders > 3 {
        return Err(Error::Placeholders { got: placeholders });
    }
    check_url("src_url", src)?;
    check_url("dst_url", dst)?;

    let mut urls = [src, dst].into_iter();
    let mut arguments = Vec::with_capacity(words.len() - 1);
    for word in &words[1..] {
        let mut argument = String::new();
        for piece in word {
            match piece {
                Piece::Char(c) => argument.push(*c),
                // Two are left after the program, and the count was checked above.
                Piece::Placeholder => argument.push_str(urls.next().unwrap_or_default()),
            }
        }
        arguments.push(OsString::from(argument));
    }
    Ok(Argv {
        program: bin.as_os_str().to_owned(),
        arguments,
    })
}

fn check_url(name: &'static str, url: &str) -> Result<(), Error> {
    let fault = if url.is_empty() {
        UrlFault::Empty
    } else if url.len() > MAX_URL {
        UrlFault::Length { got: url.len() }
    } else if url.starts_with('-') {
        UrlFault::Dash
    } else if let Some((at, _)) = url.char_indices().find(|(_, c)| c.is_control()) {
        UrlFault::Control { at }
    } else {
        return Ok(());
    };
    Err(Error::Url { name, fault })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Char(char),
    /// `%s`
    Placeholder,
}

/// Splits like a POSIX shell without any expansion, and reads `%s` and `%%` on the way.
fn split(template: &str) -> Result<Vec<Vec<Piece>>, Error> {
    let mut words = Vec::new();
    let mut word: Option<Vec<Piece>> = None;
    let mut quote: Option<(char, usize)> = None;
    let mut chars = template.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            (' ' | '\t' | '\n' | '\r', None) => {
                if let Some(done) = word.take() {
                    if words.len() == MAX_WORDS {
                        return Err(Error::Words);
                    }
                    words.push(done);
                }
            }
            ('\'' | '"', None) => {
                quote = Some((c, at));
                word.get_or_insert_default(); // '' is an empty word
            }
            (c, Some((open, _))) if c == open => quote = None,
            ('\\', None | Some(('"', _))) => {
                let Some((_, escaped)) = chars.next() else {
                    return Err(Error::Unclosed {
                        what: "backslash",
                        at,
                    });
                };
                let word = word.get_or_insert_default();
                // Inside double quotes a backslash only escapes these; elsewhere it stands for itself (POSIX 2.2.3).
                if quote.is_some() && !matches!(escaped, '"' | '\\' | '$' | '`') {
                    word.push(Piece::Char('\\'));
                }
                word.push(Piece::Char(escaped));
            }
            ('%', _) => {
                let piece = match chars.next() {
                    Some((_, 's')) => Piece::Placeholder,
                    Some((_, '%')) => Piece::Char('%'),
                    Some(_) | None => return Err(Error::Directive { at }),
                };
                word.get_or_insert_default().push(piece);
            }
            (c, _) => word.get_or_insert_default().push(Piece::Char(c)),
        }
    }
    if let Some((_, at)) = quote {
        return Err(Error::Unclosed { what: "quote", at });
    }
    if let Some(done) = word {
        if words.len() == MAX_WORDS {
            return Err(Error::Words);
        }
        words.push(done);
    }
    Ok(words)
}

fn quoted(word: &str) -> std::borrow::Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "%+,-./:=@_?&*~#".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''")).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEMPLATE: &str = "%s -re -i %s -c:a aac -strict -2 -ar 44100 -ab 48k -c:v libx264 -f flv %s";

    fn words(template: &str, src: &str, dst: &str) -> Result<Vec<String>, Error> {
        let argv = build(template, Path::new("/usr/bin/ffmpeg"), src, dst)?;
        assert_eq!(argv.program(), Path::new("/usr/bin/ffmpeg"));
        Ok(argv
            .arguments()
            .iter()
            .map(|word| word.to_str().unwrap().to_owned())
            .collect())
    }

    #[test]
    fn default_template() {
        let got = words(TEMPLATE, "rtsp://cam/1", "rtmp://127.0.0.1/live/1").unwrap();
        let expected = "-re -i rtsp://cam/1 -c:a aac -strict -2 -ar 44100 -ab 48k -c:v libx264 -f flv rtmp://127.0.0.1/live/1";
        assert_eq!(got.join(" "), expected);
        assert_eq!(got.len(), 16);
    }

    #[test]
    fn quotes_and_percent_signs() {
        let template =
            r#"%s  -i "%s" -vf 'drawtext=text=100%% a b' -metadata title="a \"b\" \n" x\ y '' in:%s"#;
        let got = words(template, "s", "d").unwrap();
        let expected = [
            "-i",
            "s",
            "-vf",
            "drawtext=text=100% a b",
            "-metadata",
            r#"title=a "b" \n"#,
            "x y",
            "",
            "in:d",
        ];
        assert_eq!(got, expected);
    }

    #[test]
    fn a_fixed_destination_needs_no_placeholder() {
        assert_eq!(
            words("%s -i %s -f flv rtmp://x/y", "s", "d").unwrap(),
            ["-i", "s", "-f", "flv", "rtmp://x/y"]
        );
    }

    #[test]
    fn url_with_blanks_and_options_stays_one_argument() {
        let src = "rtsp://cam/1 -f null - -y '/etc/passwd' \"x\" $(id) `id` %s ; id";
        let got = words("%s -i %s %s", src, "d").unwrap();
        assert_eq!(got, ["-i", src, "d"]);
    }

    #[test]
    fn faults_are_named() {
        let fault = |template: &str, src: &str| words(template, src, "d").unwrap_err().to_string();
        assert_eq!(
            fault("ffmpeg -i %s %s", "s"),
            "ffmpeg cmd template must start with '%s'"
        );
        assert_eq!(
            fault("%sx -i %s %s", "s"),
            "ffmpeg cmd template must start with '%s'"
        );
        assert_eq!(fault("", "s"), "ffmpeg cmd template must start with '%s'");
        assert_eq!(
            fault("%s -i 'x", "s"),
            "ffmpeg cmd template: the quote at byte 6 is not closed"
        );
        assert_eq!(
            fault("%s -i \\", "s"),
            "ffmpeg cmd template: the backslash at byte 6 is not closed"
        );
        assert_eq!(
            fault("%s %d", "s"),
            "ffmpeg cmd template: '%' at byte 3 must be %s, or %% for a percent sign"
        );
        assert_eq!(
            words("%s %s %s %s %s", "s", "d"),
            Err(Error::Placeholders { got: 5 })
        );
        assert_eq!(words("%s a\u{1}b", "s", "d"), Err(Error::Control { at: 4 }));
        assert_eq!(
            words(&format!("%s{}", " x".repeat(MAX_WORDS)), "s", "d"),
            Err(Error::Words)
        );
        assert_eq!(
            words(&" ".repeat(MAX_TEMPLATE + 1), "s", "d"),
            Err(Error::TemplateLength {
                got: MAX_TEMPLATE + 1
            })
        );
        assert_eq!(
            fault(TEMPLATE, "-y"),
            "src_url: must not begin with '-' (ffmpeg would take it for an option)"
        );
        assert_eq!(fault(TEMPLATE, ""), "src_url: must not be empty");
        assert_eq!(fault(TEMPLATE, "a\0b"), "src_url: control character at byte 1");
        assert_eq!(fault(TEMPLATE, "a\nb"), "src_url: control character at byte 1");
        let long = "x".repeat(MAX_URL + 1);
        assert_eq!(
            words(TEMPLATE, "s", &long),
            Err(Error::Url {
                name: "dst_url",
                fault: UrlFault::Length { got: MAX_URL + 1 }
            })
        );
    }

    #[test]
    fn display_quotes_and_masks() {
        let argv = build(
            "%s -decryption_key 00ff -i %s %s",
            Path::new("/opt/my ffmpeg"),
            "rtsp://u:p@cam/a b",
            "x?token=t",
        )
        .unwrap();
        assert_eq!(
            argv.to_string(),
            "'/opt/my ffmpeg' -decryption_key *** -i 'rtsp://***@cam/a b' x?token=***"
        );
        assert_eq!(format!("{argv:?}"), argv.to_string());
    }

    proptest! {
        #[test]
        fn urls_never_add_arguments(src in "[^-\\pC][^\\pC]{0,80}", dst in "[^-\\pC][^\\pC]{0,80}") {
            let got = words(TEMPLATE, &src, &dst).unwrap();
            prop_assert_eq!(got.len(), 16);
            prop_assert_eq!(&got[2], &src);
            prop_assert_eq!(&got[15], &dst);
        }

        #[test]
        fn any_template_gives_an_answer(template in "(%s )?[ a-z%s'\"\\\\]{0,60}") {
            let _answer_or_fault = build(&template, Path::new("x"), "s", "d");
        }
    }
}
