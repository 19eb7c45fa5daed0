//! Reading and writing the configuration file. The only part of the crate that touches the file system.

use crate::config::Config;
use crate::error::{Error, Errors};
use crate::load::{Format, Loaded, parse};
use crate::manual;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Largest configuration file in bytes: 10,000 rules of 400 bytes.
const MAX_FILE: u64 = 4 << 20;

/// Loads the configuration; see [`parse`] for the parameters. Without a path there is no file layer. A file that does not
/// exist is an error for which [`Errors::is_missing_file`] holds; the caller may then use [`create_default`], as ZLM does.
pub fn load(
    path: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    overrides: &[(String, String)],
    random: &mut dyn FnMut(usize) -> String,
) -> Result<Loaded, Errors> {
    let Some(path) = path else {
        return parse("", Format::Ini, "no file", env, overrides, random);
    };
    let text = read(path)?;
    let name = path.display().to_string();
    let mut loaded = parse(&text, Format::of(path), &name, env, overrides, random)?;
    loaded.path = Some(path.to_owned());
    Ok(loaded)
}

/// Writes the values that `config` changed into the file, see [`Config::set`] and [`Loaded::secret_replaced`]. Comments,
/// order and unknown keys stay. An INI file then holds every key, as with ZLM.
pub fn write_back(path: &Path, config: &Config) -> Result<(), Error> {
    let text = read(path)?;
    let text = match Format::of(path) {
        Format::Ini => crate::ini::rewrite(&text, config),
        Format::Toml => crate::toml::rewrite(&text, config).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
            Error::Syntax {
                file: path.display().to_string().into(),
                line,
                reason: error.message().to_owned(),
            }
        })?,
    };
    replace(path, text.as_bytes()).map_err(|source| Error::Write {
        file: path.to_owned(),
        source,
    })
}

/// Creates the file with all built-in values, explained by comments, a secret and a server id of its own. Fails if it
/// exists. It holds a secret, so only its owner may read it.
pub fn create_default(path: &Path, random: &mut dyn FnMut(usize) -> String) -> Result<(), Error> {
    let mut write = || -> io::Result<()> {
        let format = Format::of(path);
        let config = parse("", Format::Ini, "", [], &[], random)
            .map_or_else(|_| Config::default(), |loaded| loaded.config);
        let text = match format {
            Format::Ini => manual::ini(&config).replace('\n', "\r\n"),
            Format::Toml => manual::toml(&config),
        };
        private(OpenOptions::new().write(true).create_new(true))
            .open(path)?
            .write_all(text.as_bytes())
    };
    write().map_err(|source| Error::Write {
        file: path.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<String, Error> {
    let file = || path.to_owned();
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { file: file() },
        _ => Error::Read { file: file(), source },
    };
    let mut bytes = Vec::new();
    let opened = fs::File::open(path).map_err(failed)?;
    io::Read::read_to_end(&mut io::Read::take(opened, MAX_FILE + 1), &mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Error::TooLarge {
            file: file(),
            max: MAX_FILE,
        });
    }
    String::from_utf8(bytes).map_err(|error| Error::NotUtf8 {
        file: file(),
        at: error.utf8_error().valid_up_to(),
    })
}

/// Replaces a file as a whole: a crash leaves the old or the new one. Where the folder or the mount does not allow that (a
/// single file mounted into a container), it is written in place.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    // The target of a link is replaced, not the link.
    let path = fs::canonicalize(path)?;
    let draft = draft_name(&path);
    let drafted = || -> io::Result<()> {
        let mut file = private(OpenOptions::new().write(true).create(true).truncate(true)).open(&draft)?;
        file.write_all(text)?;
        file.set_permissions(fs::metadata(&path)?.permissions())?;
        file.sync_all()?;
        fs::rename(&draft, &path)
    };
    if drafted().is_ok() {
        return Ok(());
    }
    // Nothing useful can be done about a draft that cannot be removed; it holds nothing that the file does not.
    drop(fs::remove_file(&draft));
    fs::write(&path, text)
}

fn draft_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}
