//! Login and logout of browser consoles (api.md, section 1.5).

use crate::describe::Shape::Text;
use crate::describe::fixed;
use crate::describe::{About, Kind, Member, Parameter, Returns};
use crate::dispatch::Call;
use crate::login;
use crate::reply::{Answer, Failure, Reply};
use serde::Serialize;
use std::time::Instant;

pub const LOGIN: About = About::new(
    "Logs a browser in; the reply sets the cookie `ZLM_LOGINED`, which stands for the secret for 24 h.",
    Returns::Members(fixed![]),
)
.takes(fixed![Parameter::new(
    "digest",
    Kind::Text(64),
    "MD5 of `zlmediakit:SECRET:COOKIE` in hexadecimal. COOKIE is the `cookie` of a refused call, less than 60 s old and sent along \
     as the cookie `ZLM_UNLOGIN`. It serves for one attempt.",
)
.required()]);

pub async fn login(call: Call) -> Answer {
    let (now, secret) = (Instant::now(), call.secret());
    let pending = login::cookie(&call.request.headers, login::PENDING);
    let cookie = pending.filter(|_| !secret.is_empty()).and_then(|pending| {
        call.logins
            .lock()
            .log_in(now, secret, pending, &call.args.text("digest"))
    });
    if let Some(cookie) = cookie {
        return Ok(Reply::success()
            .cookie(login::set_logged_in(&cookie, call.peer.tls))
            .cookie(login::clear_pending()));
    }
    if let Some(cookie) = login::cookie(&call.request.headers, login::LOGGED_IN) {
        call.logins.lock().log_out(now, cookie);
    }
    Err(Failure::WrongDigest {
        cookie: call.invite(),
    })
}

pub const LOGOUT: About = About::new(
    "Ends the login of this browser.",
    Returns::Members(fixed![
        Member::new("cookie", Text, "For the digest of the next login."),
        Member::new(
            "msg",
            Text,
            "`You are not logined` if there was no login, else absent."
        )
        .optional(),
    ]),
);

#[derive(Serialize)]
struct LoggedOut<'a> {
    cookie: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<&'static str>,
}

pub async fn logout(call: Call) -> Answer {
    let known = login::cookie(&call.request.headers, login::LOGGED_IN)
        .is_some_and(|cookie| call.logins.lock().log_out(Instant::now(), cookie));
    let cookie = call.invite();
    let msg = (!known).then_some("You are not logined");
    Ok(Reply::new(&LoggedOut { cookie: &cookie, msg }).cookie(login::set_pending(&cookie)))
}
