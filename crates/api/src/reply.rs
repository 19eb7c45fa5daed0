//! What a call is answered with (api.md, sections 1.6 to 1.8).

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, SET_COOKIE};
use axum::http::{Response, StatusCode};
use lifecycle::OpError;
use serde::Serialize;

/// The result of a handler.
pub type Answer = Result<Reply, Failure>;

/// A body with its cookies. The status is 200, unless it is a response of its own: clients look at `code`.
#[derive(Debug)]
pub struct Reply {
    body: Content,
    cookies: Vec<String>,
}

#[derive(Debug)]
enum Content {
    Json(String),
    Document(&'static str),
    /// Large beside the others.
    Response(Box<Response<Body>>),
}

impl Reply {
    /// `code` 0 beside the members of `members`.
    pub fn new(members: &impl Serialize) -> Self {
        Self::with_code(Code::Success, members)
    }

    /// `code` beside the members of `members`.
    pub fn with_code(code: Code, members: &impl Serialize) -> Self {
        Self {
            body: Content::Json(pretty(&Envelope {
                code: code as i32,
                members,
            })),
            cookies: Vec::new(),
        }
    }

    /// `code` 0 and nothing else.
    pub fn success() -> Self {
        Self::new(&Nothing {})
    }

    /// `code` 0 and `data`.
    pub fn data(data: &impl Serialize) -> Self {
        Self::new(&Data { data })
    }

    /// `code` 0 and `data`, which is left out when the list is empty, as most endpoints of ZLM do (api.md, section 1.6).
    pub fn list<T: Serialize>(data: &[T]) -> Self {
        if data.is_empty() {
            Self::success()
        } else {
            Self::data(&data)
        }
    }

    /// JSON without `code`.
    pub(crate) fn document(json: &'static str) -> Self {
        Self {
            body: Content::Document(json),
            cookies: Vec::new(),
        }
    }

    /// What is no JSON: a file.
    pub(crate) fn response(response: Response<Body>) -> Self {
        Self {
            body: Content::Response(Box::new(response)),
            cookies: Vec::new(),
        }
    }

    /// Adds a `Set-Cookie` header.
    pub fn cookie(mut self, value: String) -> Self {
        self.cookies.push(value);
        self
    }

    /// The reply as HTTP. `charset` is `http.charSet`.
    pub fn into_response(self, charset: &str) -> Response<Body> {
        let body = match self.body {
            Content::Json(json) => Body::from(json),
            Content::Document(json) => Body::from(json),
            Content::Response(response) => return *response,
        };
        let mut response = Response::new(body);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, content_type("application/json", charset));
        for cookie in self.cookies {
            // Cookies are made of hexadecimal digits, dates and our own text.
            if let Ok(value) = HeaderValue::from_str(&cookie) {
                response.headers_mut().append(SET_COOKIE, value);
            }
        }
        response
    }
}

/// The numbers of `code` (api.md, section 1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    /// Done.
    Success = 0,
    /// The operation failed.
    Failed = -1,
    /// Not allowed to call.
    Auth = -100,
    /// A parameter is missing or wrong.
    InvalidArgs = -300,
    /// Anything unexpected.
    Exception = -400,
    /// No such stream, proxy or pusher.
    NotFound = -500,
}

/// Why a call was not carried out. The text is `msg`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The client's address is outside `http.allow_ip_range`.
    #[error("Your ip is not allowed to access the service.")]
    AddressNotAllowed,
    /// No login and no or a wrong secret.
    #[error("Please login first")]
    LoginFirst {
        /// The value for the digest of a login.
        cookie: String,
    },
    /// The digest of a login is wrong, or its cookie is.
    #[error("Digest does not match, incorrect secret?")]
    WrongDigest {
        /// The value for the digest of the next attempt.
        cookie: String,
    },
    /// A required parameter is missing. Lists all that are required, as ZLM does.
    #[error("Required parameter missed: {}", quoted(required, separator))]
    Missing {
        /// The names.
        required: Vec<&'static str>,
        /// What stands between them; differs between endpoints.
        separator: &'static str,
    },
    /// A parameter cannot be used; the text says which, what was given and what is allowed.
    #[error("{0}")]
    InvalidArgs(String),
    /// No such thing.
    #[error("{0}")]
    NotFound(&'static str),
    /// What ZLM throws as an exception.
    #[error("{0}")]
    Exception(String),
    /// The operation failed.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// The number of this kind.
    pub const fn code(&self) -> Code {
        match self {
            Self::AddressNotAllowed | Self::LoginFirst { .. } | Self::WrongDigest { .. } => Code::Auth,
            Self::Missing { .. } | Self::InvalidArgs(_) => Code::InvalidArgs,
            Self::NotFound(_) => Code::NotFound,
            Self::Exception(_) => Code::Exception,
            Self::Failed(_) => Code::Failed,
        }
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        let body = Refused {
            msg: failure.to_string(),
            cookie: None,
        };
        match &failure {
            Failure::LoginFirst { cookie } | Failure::WrongDigest { cookie } => Self::with_code(
                failure.code(),
                &Refused {
                    cookie: Some(cookie),
                    ..body
                },
            )
            .cookie(crate::login::set_pending(cookie)),
            Failure::AddressNotAllowed
            | Failure::Missing { .. }
            | Failure::InvalidArgs(_)
            | Failure::NotFound(_)
            | Failure::Exception(_)
            | Failure::Failed(_) => Self::with_code(failure.code(), &body),
        }
    }
}

/// The engine's refusals, where an endpoint has no words of its own for them.
impl From<OpError> for Failure {
    fn from(error: OpError) -> Self {
        match error {
            OpError::NotFound => Self::NotFound("can not find the stream"),
            OpError::Exists
            | OpError::SourceNotFound
            | OpError::Watched { .. }
            | OpError::TimedOut
            | OpError::Failed(_)
            | OpError::Removed
            | OpError::AtLimit { .. }
            | OpError::Stopping => Self::Failed(error.to_string()),
        }
    }
}

/// The page for what does not exist, `http.notFound`, as the file server and unknown endpoints send it.
pub fn not_found_page(html: &str, charset: &str) -> Response<Body> {
    let mut response = empty(StatusCode::NOT_FOUND);
    *response.body_mut() = Body::from(html.to_owned());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, content_type("text/html", charset));
    response
}

/// A reply without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn content_type(kind: &str, charset: &str) -> HeaderValue {
    // A configured charset that cannot stand in a header is left out.
    HeaderValue::from_str(&format!("{kind}; charset={charset}"))
        .or_else(|_| HeaderValue::from_str(kind))
        .unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

fn quoted(names: &[&str], separator: &str) -> String {
    names
        .iter()
        .map(|name| format!("\"{name}\""))
        .collect::<Vec<_>>()
        .join(separator)
}

/// JSON indented with tabs, as ZLM writes it.
fn pretty(value: &impl Serialize) -> String {
    let mut json = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, indent);
    // Our bodies are plain structs and maps with text keys, and a Vec takes every byte: neither can fail.
    value
        .serialize(&mut serializer)
        .expect("a reply body is plain data");
    String::from_utf8(json).expect("serde_json writes UTF-8")
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    code: i32,
    #[serde(flatten)]
    members: &'a T,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Data<'a, T> {
    data: &'a T,
}

#[derive(Serialize)]
struct Refused<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<&'a str>,
    msg: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_parameter_lists_all_required_ones() {
        let failure = Failure::Missing {
            required: vec!["vhost", "app"],
            separator: ", ",
        };
        assert_eq!(
            failure.to_string(),
            r#"Required parameter missed: "vhost", "app""#
        );
        assert_eq!(failure.code() as i32, -300);
    }

    #[test]
    fn an_empty_list_has_no_data_and_bodies_are_indented_with_tabs() {
        let text = |reply: Reply| match &reply.body {
            Content::Json(json) => json.clone(),
            Content::Document(_) | Content::Response(_) => panic!("{reply:?}"),
        };
        assert_eq!(text(Reply::list::<u8>(&[])), "{\n\t\"code\": 0\n}");
        assert_eq!(
            text(Reply::list(&[1])),
            "{\n\t\"code\": 0,\n\t\"data\": [\n\t\t1\n\t]\n}"
        );
    }

    #[test]
    fn a_charset_that_is_no_header_value_is_left_out() {
        let response = Reply::success().into_response("utf-8\r\nx: y");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    }
}
