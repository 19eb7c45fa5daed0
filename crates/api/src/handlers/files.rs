//! Files of the folders that `api.downloadRoot` names.

use crate::auth;
use crate::describe::fixed;
use crate::describe::{About, Kind, Parameter, Returns};
use crate::dispatch::Call;
use crate::outside::Download;
use crate::reply::{Answer, Reply};

/// Longest path of a file (`PATH_MAX` of Linux), in bytes.
const MAX_PATH_LEN: usize = 4096;

/// Longest file name (`NAME_MAX` of Linux), in bytes.
const MAX_FILE_NAME_LEN: usize = 255;

pub const DOWNLOAD: About = About::new(
    "Sends a file of a folder that `api.downloadRoot` names. Without secret and login the hook `on_http_access` decides, or the \
     address if there is no such hook: the same rule as for other files.",
    Returns::File("The file, or the part of it that `Range` asks for."),
)
.takes(fixed![
    Parameter::new("file_path", Kind::Text(MAX_PATH_LEN), "Absolute path of the file, without `..`.").required(),
    Parameter::new(
        "save_name",
        Kind::Text(MAX_FILE_NAME_LEN),
        "The name under which a browser is to save it.",
    ),
]);

pub async fn download(call: Call) -> Answer {
    super::check_bytes(&call, "file_path", MAX_PATH_LEN)?;
    super::check_bytes(&call, "save_name", MAX_FILE_NAME_LEN)?;
    let (file_path, save_name) = (call.args.text("file_path"), call.args.get("save_name"));
    let download = Download {
        request: &call.request,
        file_path: &file_path,
        save_name: save_name.as_deref(),
        permitted: auth::is_permitted(&call),
    };
    Ok(Reply::response(call.server.download(download).await))
}
