//! Files: reading, creating, writing back.

use crate::{counting, pairs};
use config::{Config, Errors, Loaded, Origin};
use std::fs;
use std::path::Path;

fn load(path: &Path) -> Result<Loaded, Errors> {
    config::load(Some(path), [], &[], &mut counting())
}

#[test]
fn without_a_file_the_built_in_values_are_in_force() {
    let loaded = config::load(None, [], &[], &mut counting()).unwrap();
    assert_eq!(loaded.path, None);
    assert_eq!(loaded.config.http.port, 8080);
}

#[test]
fn a_missing_file_is_an_error_that_says_so_and_can_be_created() {
    for name in ["config.ini", "tidegate.toml"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let errors = load(&path).unwrap_err();
        assert!(errors.is_missing_file());
        assert!(
            errors
                .to_string()
                .ends_with(&format!("{name}: there is no such file")),
            "{errors}"
        );

        config::create_default(&path, &mut counting()).unwrap();
        let loaded = load(&path).unwrap();
        assert_eq!(loaded.warnings, []);
        assert!(!loaded.secret_replaced, "a secret was created with the file");
        assert_eq!(loaded.config.api.secret.expose(), "a".repeat(32));
        assert_eq!(loaded.config.general.media_server_id, "b".repeat(16));
        assert!(
            config::create_default(&path, &mut counting()).is_err(),
            "an existing file is not overwritten"
        );
        let crlf = fs::read_to_string(&path).unwrap().contains("\r\n");
        assert_eq!(crlf, name == "config.ini");
    }
}

#[cfg(unix)]
#[test]
fn a_created_file_is_private_and_a_rewritten_one_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.ini");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    config::create_default(&path, &mut counting()).unwrap();
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    config::write_back(&path, &load(&path).unwrap().config).unwrap();
    assert_eq!(mode(), 0o640);
}

#[test]
fn a_replaced_secret_survives_the_next_start() {
    for (name, text) in [
        ("a.ini", "# mine\n[api]\nsecret=\n"),
        ("a.toml", "# mine\n[api]\nsecret = \"\" # here\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let first = load(&path).unwrap();
        assert!(first.secret_replaced);
        config::write_back(&path, &first.config).unwrap();
        let second = load(&path).unwrap();
        assert!(!second.secret_replaced);
        assert_eq!(Config::diff(&first.config, &second.config), []);
        let written = fs::read_to_string(&path).unwrap();
        assert!(written.starts_with("# mine"), "{written}");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no draft is left behind"
        );
    }
}

#[test]
fn an_ini_file_holds_every_key_after_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.ini");
    fs::write(&path, "[hook]\n; mine\nenable=0\n").unwrap();
    let new = load(&path)
        .unwrap()
        .config
        .set(&pairs(&[("hook.enable", "1")]))
        .config;
    config::write_back(&path, &new).unwrap();
    let again = load(&path).unwrap();
    assert_eq!(Config::diff(&new, &again.config), []);
    assert!(
        again
            .config
            .flat()
            .all(|(name, _)| again.config.origin(name) != Origin::Default)
    );
    assert!(
        fs::read_to_string(&path)
            .unwrap()
            .starts_with("[hook]\r\n; mine\r\nenable=1\r\n")
    );
}

#[test]
fn a_toml_file_changes_only_where_a_value_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidegate.toml");
    let text = "# top\n[hook]\nenable = false # switch\nretry_delay = 1.5\n\n[api]\nsecret = \"s\"\n[general]\nmediaServerId = \"m\"\n\n[[source]]\npattern = 'a/b'\nurl = \"rtmp://x/y\"\n";
    fs::write(&path, text).unwrap();
    let changes = pairs(&[
        ("hook.enable", "1"),
        ("hook.retry_delay", "2"),
        ("rtmp.port", "1936"),
    ]);
    let new = load(&path).unwrap().config.set(&changes).config;
    config::write_back(&path, &new).unwrap();
    let written = fs::read_to_string(&path).unwrap();
    let wanted = text.replace(
        "enable = false # switch\nretry_delay = 1.5",
        "enable = true # switch\nretry_delay = 2",
    );
    let added = written.replace("[rtmp]\nport = 1936\n", "");
    assert_ne!(added, written, "{written}");
    assert_eq!(
        added.split_whitespace().collect::<Vec<_>>(),
        wanted.split_whitespace().collect::<Vec<_>>()
    );
    assert_eq!(Config::diff(&new, &load(&path).unwrap().config), []);
}

#[test]
fn edits_of_the_file_since_it_was_loaded_are_not_undone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.ini");
    fs::write(&path, "[hook]\nenable=0\nretry=1\n").unwrap();
    let new = load(&path)
        .unwrap()
        .config
        .set(&pairs(&[("hook.enable", "1")]))
        .config;
    fs::write(&path, "[hook]\nenable=0\nretry=7\n").unwrap();
    config::write_back(&path, &new).unwrap();
    let again = load(&path).unwrap().config;
    assert_eq!((again.hook.enable, again.hook.retry), (true, 7));
}

#[test]
fn a_file_that_is_no_configuration_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.ini");
    fs::write(&path, b"[http]\nport=\xff\n").unwrap();
    assert!(
        load(&path)
            .unwrap_err()
            .to_string()
            .ends_with("byte 12 is not UTF-8 text")
    );
    fs::write(&path, vec![b'#'; (4 << 20) + 1]).unwrap();
    assert!(
        load(&path)
            .unwrap_err()
            .to_string()
            .ends_with("the file is larger than 4194304 bytes")
    );
    assert!(
        load(folder.path())
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
}
