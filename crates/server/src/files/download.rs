//! A file by its path in the file system (`downloadFile`, api.md, section 3.8), out of the folders of `api.downloadRoot`.

use super::access::{self, Gate};
use super::conditions::Conditions;
use super::path::{self, Place, Target};
use super::root::Denied;
use super::{Counters, Found, Search, refuse};
use crate::app::App;
use crate::session::http::plain;
use api::Download;
use axum::body::Body;
use axum::http::header::{CONTENT_DISPOSITION, HeaderValue};
use axum::http::{Response, StatusCode};
use std::path::{Component, Path, PathBuf};

/// Answers with the file, or says why not.
pub async fn download(app: &App, download: Download<'_>) -> Response<Body> {
    let config = app.config();
    let path = Path::new(download.file_path);
    if path.components().any(|part| part == Component::ParentDir) {
        Counters::count(&app.files.counters.outside);
        let text = "You can not access parent directory".to_owned();
        return plain(StatusCode::UNAUTHORIZED, text);
    }
    let Some((root, below)) = inside(&config.api.download_roots, path) else {
        Counters::count(&app.files.counters.outside);
        let text = "You can not download files outside the root directory".to_owned();
        return plain(StatusCode::UNAUTHORIZED, text);
    };
    if !download.permitted
        && let Gate::Shut(response) = access::check_download(app, download.request, path).await
    {
        return response;
    }
    let Some(target) = Target::below(below) else {
        Counters::count(&app.files.counters.hidden);
        return app.not_found_page();
    };
    let place = Place {
        root,
        vhost: None,
        below: below.to_owned(),
    };
    let mut response = find(app, &download, target, place).await;
    if response.status().is_success()
        && let Some(name) = download.save_name
        && let Ok(value) = HeaderValue::try_from(disposition(name))
    {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    response
}

async fn find(app: &App, download: &Download<'_>, target: Target, place: Place) -> Response<Body> {
    let files = &app.files;
    let Ok(slot) = files.open.clone().try_acquire_owned() else {
        return refuse(app, Denied::Busy);
    };
    let search = Search {
        target,
        place,
        conditions: Conditions::of(&download.request.headers),
        // The API answers HEAD by itself.
        get: true,
        list: false,
        pages: files.pages.clone(),
        slot,
    };
    match files.turns.run(move || search.run()).await {
        Ok(Ok(Found::File(file))) => {
            Counters::count(&files.counters.served);
            // It depends on who asks.
            file.answer(&app.config().http.char_set, true, files)
        }
        Ok(Ok(Found::NoPage | Found::Elsewhere(_) | Found::Listing(..))) => refuse(app, Denied::Missing),
        Ok(Err(denied)) => refuse(app, denied),
        // A defect; the panic itself was reported where it happened.
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    }
}

/// The folder that a path is in, absolute, and the rest of the path. That no link leads out of the folder is seen to when it is
/// opened.
fn inside<'a>(roots: &[PathBuf], path: &'a Path) -> Option<(PathBuf, &'a Path)> {
    roots.iter().find_map(|root| {
        let root = std::path::absolute(root).ok()?;
        let below = path.strip_prefix(&root).ok()?;
        Some((root, below))
    })
}

/// `Content-Disposition` (RFC 6266). What may not stand in quotes is replaced there, and given whole in the second form.
fn disposition(name: &str) -> String {
    let fits = |char: char| matches!(char, ' '..='~') && !matches!(char, '"' | '\\');
    let plain: String = name
        .chars()
        .map(|char| if fits(char) { char } else { '_' })
        .collect();
    if plain == name {
        format!("attachment;filename=\"{plain}\"")
    } else {
        format!(
            "attachment;filename=\"{plain}\";filename*=UTF-8''{}",
            path::encoded(name)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_inside_of_a_folder_by_whole_names() {
        let roots = ["/srv/www".into(), "/media/vod/".into()];
        let below = |path: &'static str| inside(&roots, Path::new(path)).map(|(_, below)| below);
        assert_eq!(below("/srv/www/a/b.mp4"), Some(Path::new("a/b.mp4")));
        assert_eq!(below("/media/vod/./c.mp4"), Some(Path::new("c.mp4")));
        for outside in ["/srv/wwwroot/a", "/etc/passwd", "srv/www/a", "a", ""] {
            assert_eq!(below(outside), None, "{outside}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_header() {
        assert_eq!(disposition("pic.png"), "attachment;filename=\"pic.png\"");
        assert_eq!(
            disposition("a\"\r\nX: ü"),
            "attachment;filename=\"a___X: _\";filename*=UTF-8''a%22%0D%0AX%3A%20%C3%BC"
        );
    }
}
