//! `on_shell_login`: may this user use the telnet console? There is none here, so it is never asked; the body is that of the
//! contract all the same, for receivers that are tested against it.

use super::ClientBlock;
use lifecycle::Client;
use serde::Serialize;

/// The body.
#[derive(Serialize)]
pub struct ShellLogin<'a> {
    #[serde(flatten)]
    client: ClientBlock<'a>,
    user_name: &'a str,
    /// In the clear.
    passwd: &'a str,
}

impl<'a> ShellLogin<'a> {
    /// For a client with what it typed.
    pub fn new(client: &'a Client, user_name: &'a str, passwd: &'a str) -> Self {
        Self {
            client: ClientBlock::of(client),
            user_name,
            passwd,
        }
    }
}
