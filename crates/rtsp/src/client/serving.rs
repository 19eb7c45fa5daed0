//! Requests of the server to us.

use super::{ClientSession, Event};
use crate::message::{Request, Response};

impl ClientSession {
    /// Answers a request, and ends the session if that is what it says.
    pub(super) fn request(&mut self, request: &Request) {
        let method = request.method.as_str();
        let (status, reason) = match SERVED.split(", ").any(|served| served == method) {
            true => (200, "OK"),
            false => (501, "Not Implemented"),
        };
        let mut response = Response::new(status, reason);
        if method == "OPTIONS" {
            response.headers.push("Public", SERVED);
        }
        self.exchange.respond(request, response);
        match method {
            "TEARDOWN" => self.finish(Event::Ended),
            "REDIRECT" => {
                if let Some(location) = request.headers.get("Location") {
                    let location = location.to_owned();
                    self.teardown();
                    self.finish(Event::Redirected(location));
                }
            }
            // Servers of films say so that the film is over (draft-sheedy-mmusic-rtsp-ext); ffmpeg stops at the same notices.
            "ANNOUNCE" if notice(request).is_some_and(|code| END_OF_STREAM.contains(&code)) => {
                self.teardown();
                self.finish(Event::Ended);
            }
            _ => {}
        }
    }
}

/// The code of `Notice` or `X-Notice`: `2101 "End-of-Stream Reached"`.
fn notice(request: &Request) -> Option<u16> {
    ["Notice", "X-Notice"]
        .iter()
        .find_map(|name| request.headers.get(name))?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

/// What is answered with 200; also `Public` for servers that ask.
const SERVED: &str = "OPTIONS, ANNOUNCE, GET_PARAMETER, SET_PARAMETER, TEARDOWN, REDIRECT";

/// End of stream, begin of stream reached while going backwards, end of a continuous feed.
const END_OF_STREAM: [u16; 3] = [2101, 2104, 2306];
