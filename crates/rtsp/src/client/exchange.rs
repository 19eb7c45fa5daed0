//! Requests on their way: numbering, who waits for which answer, and authentication.

use super::{Config, Login, Output};
use crate::auth::Authenticator;
use crate::message::{Request, Response};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Why a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Options,
    Describe,
    Announce,
    /// Of the track at this place among those to set up.
    Setup(usize),
    /// PLAY or RECORD.
    Start,
    KeepAlive,
    Teardown,
}

/// A request without the fields that every request has.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) request: Request,
    pub(super) purpose: Purpose,
    cseq: u32,
    /// Number of challenges that had been taken when it was sent.
    challenges: u32,
}

/// What an answer means for the one who waits.
pub(super) enum Answered {
    /// It is the answer.
    Final(Waiting),
    /// The request was repeated with credentials, or nobody waits.
    Nothing,
}

/// Both directions of the connection, above bytes.
#[derive(Debug)]
pub(super) struct Exchange {
    outputs: VecDeque<Output>,
    /// Bytes behind the last of `outputs`.
    bytes: BytesMut,
    closed: bool,
    cseq: u32,
    /// Oldest first. At most [`MAX_WAITING`]; the oldest is forgotten beyond.
    waiting: VecDeque<Waiting>,
    auth: Option<Authenticator>,
    challenges: u32,
    user_agent: String,
    headers: Vec<(String, String)>,
    session: Option<String>,
}

impl Exchange {
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        let auth = match (&config.login, &config.url.credentials) {
            (Some(Login::Password { user, password }), _) => {
                Some(Authenticator::new(user.as_str(), password.as_str(), seed))
            }
            (Some(Login::Ha1Md5 { user, ha1 }), _) => {
                Some(Authenticator::with_ha1_md5(user.as_str(), ha1.as_str(), seed))
            }
            (None, Some(login)) => Some(Authenticator::new(
                login.user.as_str(),
                login.password.as_str(),
                seed,
            )),
            (None, None) => None,
        };
        Self {
            outputs: VecDeque::new(),
            bytes: BytesMut::new(),
            closed: false,
            cseq: 0,
            waiting: VecDeque::new(),
            auth,
            challenges: 0,
            user_agent: config.user_agent.clone(),
            headers: config.headers.clone(),
            session: None,
        }
    }

    /// The id that goes into requests from now on.
    pub(super) fn set_session(&mut self, id: String) {
        self.session = Some(id);
    }

    pub(super) fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// Sends `request` with number, session, credentials and what else every request has.
    pub(super) fn send(&mut self, request: Request, purpose: Purpose) {
        if self.closed {
            return;
        }
        self.cseq = self.cseq.wrapping_add(1);
        let mut full = request.clone();
        full.headers = crate::message::Headers::new();
        full.headers.push("CSeq", self.cseq.to_string());
        if let Some(auth) = &mut self.auth
            && let Some(value) = auth.authorize(&request.method, &request.uri)
        {
            full.headers.push("Authorization", value);
        }
        if !self.user_agent.is_empty() {
            full.headers.push("User-Agent", self.user_agent.as_str());
        }
        if let Some(session) = &self.session {
            full.headers.push("Session", session.as_str());
        }
        for (name, value) in request.headers.iter() {
            full.headers.push(name, value);
        }
        for (name, value) in &self.headers {
            full.headers.push(name.as_str(), value.as_str());
        }
        full.write(&mut self.bytes);
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting {
            request,
            purpose,
            cseq: self.cseq,
            challenges: self.challenges,
        });
    }

    /// Answers a request of the server.
    pub(super) fn respond(&mut self, request: &Request, response: Response) {
        let mut full = response;
        if let Some(cseq) = request.headers.get("CSeq") {
            full.headers.push("CSeq", cseq);
        }
        if let Some(session) = &self.session {
            full.headers.push("Session", session.as_str());
        }
        if !self.closed {
            full.write(&mut self.bytes);
        }
    }

    /// Finds out who waits for `response`. A 401 is answered with credentials, if there are any and they were not refused.
    pub(super) fn answered(&mut self, response: &Response) -> Answered {
        let cseq = response
            .headers
            .get("CSeq")
            .and_then(|text| text.trim().parse::<u32>().ok());
        let at = self
            .waiting
            .iter()
            .position(|waiting| Some(waiting.cseq) == cseq)
            // Cameras that answer with another number, or none, answer in order.
            .unwrap_or(0);
        // 100 Continue is no answer (RFC 2326, section 7.1.1).
        if response.status < 200 {
            return Answered::Nothing;
        }
        let Some(waiting) = self.waiting.remove(at) else {
            return Answered::Nothing;
        };
        let Some(auth) = &mut self.auth else {
            return Answered::Final(waiting);
        };
        if response.status != 401 {
            auth.accepted();
            return Answered::Final(waiting);
        }
        if waiting.challenges == self.challenges {
            if auth
                .challenge(response.headers.get_all("WWW-Authenticate"))
                .is_err()
            {
                return Answered::Final(waiting);
            }
            self.challenges = self.challenges.wrapping_add(1);
        }
        self.send(waiting.request, waiting.purpose);
        Answered::Nothing
    }

    /// Bytes to send as they are, behind all that was sent before.
    pub(super) fn bytes(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    pub(super) fn push(&mut self, output: Output) {
        if self.closed {
            return;
        }
        let pending = self.pending();
        self.outputs.extend(pending);
        self.closed = output == Output::Close;
        self.outputs.push_back(output);
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front().or_else(|| self.pending())
    }

    fn pending(&mut self) -> Option<Output> {
        if self.closed {
            self.bytes.clear();
        }
        let bytes: Option<Bytes> = (!self.bytes.is_empty()).then(|| self.bytes.split().freeze());
        bytes.map(Output::Send)
    }
}

/// Requests without an answer. The session sends one at a time, besides keep-alives that some cameras never answer.
const MAX_WAITING: usize = 8;
