//! Pulling FLV over HTTP and HTTPS.

use super::Attempt;
use crate::dial::{Dialed, dial};
use crate::maybe::at;
use crate::session::ingest::flv::Ingest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use container::flv::Reader;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, AUTHORIZATION, COOKIE, HOST, HeaderName, HeaderValue, LOCATION, PROXY_AUTHORIZATION, USER_AGENT,
};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use std::time::Instant;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Most redirects that are followed; a source behind two load balancers needs two.
const MAX_REDIRECTS: usize = 5;

/// Largest tag of a source. 16 MiB is the format's own limit.
const MAX_TAG: usize = 16 << 20;

pub(super) async fn run(mut attempt: Attempt) -> String {
    match pull(&mut attempt).await {
        Ok(never) => match never {},
        Err(reason) => reason,
    }
}

async fn pull(attempt: &mut Attempt) -> Result<std::convert::Infallible, String> {
    let began = Instant::now();
    let mut driver = JoinSet::new();
    let open = open(attempt, &mut driver);
    let response = attempt.within(began, "http-flv", open).await?;
    let mut body = response.into_body();
    let mut ingest = attempt.opened().await?;
    let measured = attempt.app.measure(attempt.job);
    let mut reader = Reader::with_max_body(MAX_TAG);
    loop {
        let deadline = ingest.deadline();
        let frame = tokio::select! {
            biased;
            frame = timeout(attempt.media_timeout, body.frame()) => frame.map_err(|_| "receive http-flv media timeout")?,
            () = at(deadline) => {
                ingest.poll(Instant::now()).map_err(|closed| closed.to_string())?;
                continue;
            }
        };
        let frame = frame.ok_or("end of file")?.map_err(|error| error.to_string())?;
        let Ok(data) = frame.into_data() else { continue };
        measured.meter.add(data.len() as u64);
        feed(&mut reader, &mut ingest, data)?;
    }
}

fn feed(reader: &mut Reader, ingest: &mut Ingest, data: Bytes) -> Result<(), String> {
    reader.push(data);
    while let Some(tag) = reader.next().map_err(|error| error.to_string())? {
        ingest
            .tag(Instant::now(), tag)
            .map_err(|closed| closed.to_string())?;
    }
    Ok(())
}

/// Sends the request, following redirects, until an answer of 200 has begun. The connection's own work is done in `driver`,
/// which ends with the pull.
async fn open(attempt: &Attempt, driver: &mut JoinSet<()>) -> Result<Response<Incoming>, String> {
    let mut url: Uri = attempt
        .spec
        .url
        .parse()
        .map_err(|error| format!("the URL is not valid: {error}"))?;
    let source = url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let headers = custom_headers(attempt).filter(|(name, _)| may_go(name, &source, &url));
        let response = request(attempt, &url, headers, driver).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if !status.is_redirection() {
            return Err(format!("bad http status code:{}", status.as_u16()));
        }
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .ok_or("redirect without Location")?;
        url = follow(&url, location)?;
    }
    Err(format!("more than {MAX_REDIRECTS} redirects"))
}

async fn request(
    attempt: &Attempt,
    url: &Uri,
    custom: impl Iterator<Item = (HeaderName, HeaderValue)>,
    driver: &mut JoinSet<()>,
) -> Result<Response<Incoming>, String> {
    let tls = match url.scheme_str() {
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
        _ => return Err("the URL must begin with http:// or https://".to_owned()),
    };
    let host = url.host().ok_or("the URL has no host")?.trim_matches(['[', ']']);
    let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let config = attempt.app.config();
    let Dialed { io, sock } = dial(&config, attempt.job, host, port, tls)
        .await
        .map_err(|error| error.to_string())?;
    *attempt.sock.lock() = Some(sock);
    let (mut sender, connection) = http1::handshake(TokioIo::new(io))
        .await
        .map_err(|error| error.to_string())?;
    driver.spawn(async move {
        // Its error reaches the body as well.
        let _ = connection.await;
    });
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::get(path)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    let authority = url
        .authority()
        .map(|authority| authority.as_str())
        .unwrap_or_default();
    let (user, host_port) = authority
        .rsplit_once('@')
        .map_or((None, authority), |(user, host)| (Some(user), host));
    headers.insert(
        HOST,
        HeaderValue::from_str(host_port).map_err(|error| error.to_string())?,
    );
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(crate::session::http::SERVER_NAME),
    );
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if let Some(user) = user {
        let plain = percent_decode_str(user).decode_utf8_lossy();
        let value = format!("Basic {}", STANDARD.encode(plain.as_bytes()));
        let mut value = HeaderValue::from_str(&value).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    headers.extend(custom);
    sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())
}

/// The headers of the request. What is none is left out.
fn custom_headers(attempt: &Attempt) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let header = |(name, value): (String, String)| Some((name.parse().ok()?, value.parse().ok()?));
    attempt.custom_headers().into_iter().filter_map(header)
}

/// Whether a header that was meant for `source` may be sent to `url`: credentials stay with the server that they are for, as
/// with curl, and are not sent in the clear if they were meant for TLS.
fn may_go(name: &HeaderName, source: &Uri, url: &Uri) -> bool {
    let is_credential = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name);
    let server = |url: &Uri| {
        (
            url.scheme().cloned(),
            url.host().map(str::to_owned),
            url.port_u16(),
        )
    };
    !is_credential || server(source) == server(url)
}

/// The target of a redirect: absolute, or a path on the same server. Credentials are not carried to another server.
fn follow(from: &Uri, location: &str) -> Result<Uri, String> {
    if location.contains("://") {
        return location
            .parse()
            .map_err(|error| format!("redirect to an invalid URL: {error}"));
    }
    let mut parts = from.clone().into_parts();
    let path = if location.starts_with('/') {
        location.to_owned()
    } else {
        let base = from.path().rsplit_once('/').map_or("", |(base, _)| base);
        format!("{base}/{location}")
    };
    parts.path_and_query = Some(
        path.parse()
            .map_err(|error| format!("redirect to an invalid URL: {error}"))?,
    );
    Uri::from_parts(parts).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_may_be_absolute_or_relative() {
        let from: Uri = "http://u:p@a.example:81/live/cam.flv?x=1".parse().expect("a URL");
        let to = |location: &str| follow(&from, location).map(|uri| uri.to_string());
        assert_eq!(
            to("https://b.example/y.flv"),
            Ok("https://b.example/y.flv".into())
        );
        assert_eq!(to("/z.flv?k=v"), Ok("http://u:p@a.example:81/z.flv?k=v".into()));
        assert_eq!(to("z.flv"), Ok("http://u:p@a.example:81/live/z.flv".into()));
    }

    #[test]
    fn credentials_stay_with_their_server() {
        let source: Uri = "https://a.example/live/cam.flv".parse().expect("a URL");
        let goes = |name: HeaderName, to: &str| may_go(&name, &source, &to.parse().expect("a URL"));
        for elsewhere in [
            "https://b.example/x",
            "http://a.example/x",
            "https://a.example:444/x",
        ] {
            for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
                assert!(!goes(name.clone(), elsewhere), "{name} to {elsewhere}");
            }
            assert!(goes(ACCEPT, elsewhere));
        }
        assert!(goes(AUTHORIZATION, "https://a.example/other.flv"));
    }
}
