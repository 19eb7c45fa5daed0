//! The rules that hold for every endpoint (api.md, chapter 1).

use crate::fake::{Client, Fake, OTHERWISE, SECRET};
use crate::golden::log_in;
use api::describe::Returns;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use md5::Digest;
use serde_json::json;

const VERSION: &str = "/index/api/version";

fn client() -> Client {
    Client::new(Fake::default())
}

fn with_secret(target: &str) -> String {
    format!("{target}?secret={SECRET}")
}

// 1.1 Routing

#[tokio::test]
async fn paths_are_decoded_and_have_no_case() {
    let client = client();
    for path in [
        "/index/api/version",
        "/INDEX/api/VERSION",
        "/index/api/ver%73ion",
        "/%69ndex/api/version",
    ] {
        let response = client.get(&with_secret(path)).await;
        assert_eq!(
            (response.status, &response.json()["code"]),
            (StatusCode::OK, &json!(0)),
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_is_no_endpoint_goes_on_when_it_is_read_and_is_404_when_it_is_written() {
    let client = client();
    for path in ["/index/api/version/", "/index/api/none", "/index/none"] {
        assert_eq!(client.get(&with_secret(path)).await.body, OTHERWISE, "{path}");
        for method in ["POST", "PUT", "DELETE"] {
            let response = client.send(method, &with_secret(path), &[], "").await;
            assert_eq!(
                (response.status, response.body.as_str()),
                (StatusCode::NOT_FOUND, ""),
                "{method} {path}"
            );
        }
    }
    for method in ["GET", "POST", "HEAD", "OPTIONS", "PATCH"] {
        let response = client.send(method, "/live/test.live.flv", &[], "").await;
        assert_eq!(
            response.status,
            StatusCode::IM_A_TEAPOT,
            "{method} is not for the API"
        );
    }
}

// 1.2 Methods

#[tokio::test]
async fn four_methods_reach_an_endpoint_and_head_executes_nothing() {
    let client = client();
    for method in ["GET", "POST", "PUT", "DELETE"] {
        client
            .send(method, &with_secret("/index/api/restartServer"), &[], "")
            .await;
    }
    let restarts = || client.server.restarts.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(restarts(), 4);
    for method in ["HEAD", "OPTIONS"] {
        let response = client
            .send(method, &with_secret("/index/api/restartServer"), &[], "")
            .await;
        assert_eq!(
            (response.status, response.body.as_str()),
            (StatusCode::OK, ""),
            "{method}"
        );
    }
    for method in ["PATCH", "TRACE", "PROPFIND"] {
        let response = client
            .send(method, &with_secret("/index/api/restartServer"), &[], "")
            .await;
        assert_eq!(
            (response.status, response.body.as_str()),
            (StatusCode::METHOD_NOT_ALLOWED, ""),
            "{method}"
        );
        assert_eq!(response.headers["connection"], "close");
    }
    assert_eq!(restarts(), 4);
}

// 1.3 Parameters: the rest is tested where they are read.

#[tokio::test]
async fn the_secret_may_come_in_any_way_a_parameter_can() {
    let client = client();
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let json = [("content-type", "application/json")];
    let replies = [
        client
            .send("POST", VERSION, &form, &format!("SECRET={SECRET}"))
            .await,
        client
            .send("PUT", VERSION, &json, &format!("{{\"secret\":\"{SECRET}\"}}"))
            .await,
        client.send("GET", VERSION, &[("Secret", SECRET)], "").await,
        client
            .send("GET", &format!("{VERSION}?secret=nope&secret={SECRET}"), &[], "")
            .await,
        client
            .send("GET", &format!("{VERSION}?secret="), &[("secret", SECRET)], "")
            .await,
    ];
    for (index, reply) in replies.iter().enumerate() {
        assert_eq!(reply.json()["code"], 0, "{index}");
    }
    let ignored = client
        .send(
            "POST",
            VERSION,
            &[("content-type", "text/plain")],
            &format!("secret={SECRET}"),
        )
        .await;
    assert_eq!(ignored.json()["code"], -100);
}

// 1.4 Authentication

#[tokio::test]
async fn the_address_is_checked_before_the_secret_and_loopback_is_not_exempt() {
    let mut client = client();
    let refused = json!({"code": -100, "msg": "Your ip is not allowed to access the service."});
    assert_eq!(
        client.get(VERSION).await.json()["msg"],
        "Please login first",
        "loopback needs the secret"
    );
    client.peer.peer = "8.8.8.8:1234".parse().expect("address");
    let forged = [("x-real-ip", "127.0.0.1"), ("x-forwarded-for", "127.0.0.1")];
    client.server.set("http.forwarded_ip_header", "X-Real-IP");
    for target in [VERSION.to_owned(), with_secret(VERSION)] {
        let response = client.send("GET", &target, &forged, "").await;
        assert_eq!((response.json(), response.cookies().len()), (refused.clone(), 0));
    }
    for open in ["/index/api/logout", "/index/api/login"] {
        assert_ne!(
            client.get(open).await.json(),
            refused,
            "{open} is open to every address"
        );
    }
    client.server.set("http.allow_ip_range", "8.8.8.0-8.8.8.255");
    assert_eq!(client.get(&with_secret(VERSION)).await.json()["code"], 0);
    client.peer.peer = "[::ffff:8.8.8.8]:1234".parse().expect("address");
    assert_eq!(client.get(&with_secret(VERSION)).await.json()["code"], 0);
    client.server.set("http.allow_ip_range", "");
    client.peer.peer = "[2001:db8::1]:1".parse().expect("address");
    assert_eq!(
        client.get(&with_secret(VERSION)).await.json()["code"],
        0,
        "no range is every address"
    );
}

#[tokio::test]
async fn the_secret_is_checked_before_the_parameters() {
    let client = client();
    for secret in ["", "a", "a-secret-for-testS", "a-secret-for-tests "] {
        let reply = client
            .get(&format!(
                "/index/api/kick_session?secret={}",
                secret.replace(' ', "+")
            ))
            .await;
        assert_eq!(reply.json()["msg"], "Please login first", "{secret:?}");
    }
    let reply = client.call("kick_session", "").await;
    assert_eq!(
        reply,
        json!({"code": -300, "msg": "Required parameter missed: \"id\""})
    );
}

#[tokio::test]
async fn an_empty_secret_in_the_configuration_lets_nobody_in() {
    let client = client();
    *client.server.config.lock() = std::sync::Arc::default();
    assert!(client.server.config.lock().api.secret.is_empty());
    assert_eq!(
        client.get(&format!("{VERSION}?secret=")).await.json()["code"],
        -100
    );
    let refused = client.get(VERSION).await;
    let cookie = refused.cookie("ZLM_UNLOGIN").to_owned();
    let digest = md5::Md5::digest(format!("zlmediakit::{cookie}"));
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let header = format!("ZLM_UNLOGIN={cookie}");
    let target = format!("/index/api/login?digest={digest}");
    assert_eq!(
        client
            .send("GET", &target, &[("cookie", &header)], "")
            .await
            .json()["code"],
        -100
    );
}

// 1.5 Login

#[tokio::test]
async fn a_login_serves_until_it_is_revoked() {
    let client = client();
    let cookie = format!("ZLM_LOGINED={}", log_in(&client).await);
    let code = async || {
        client
            .send("GET", VERSION, &[("cookie", &cookie)], "")
            .await
            .json()["code"]
            .clone()
    };
    assert_eq!(code().await, 0);
    let out = client
        .send("GET", "/index/api/logout", &[("cookie", &cookie)], "")
        .await;
    assert_eq!(out.json()["msg"], json!(null));
    assert_eq!(code().await, -100);
}

#[tokio::test]
async fn a_wrong_digest_revokes_a_login_and_a_new_secret_ends_it() {
    let client = client();
    let cookie = format!("ZLM_LOGINED={}", log_in(&client).await);
    let wrong = client
        .send("GET", "/index/api/login?digest=1", &[("cookie", &cookie)], "")
        .await;
    assert_eq!(wrong.json()["msg"], "Digest does not match, incorrect secret?");
    assert_eq!(
        client
            .send("GET", VERSION, &[("cookie", &cookie)], "")
            .await
            .json()["code"],
        -100
    );
    let cookie = format!("ZLM_LOGINED={}", log_in(&client).await);
    client.server.set("api.secret", "another");
    assert_eq!(
        client
            .send("GET", VERSION, &[("cookie", &cookie)], "")
            .await
            .json()["code"],
        -100
    );
}

// 1.6 Envelope

#[tokio::test]
async fn replies_are_json_with_the_configured_charset_and_tabs() {
    let client = client();
    client.server.set("http.charSet", "gbk");
    let response = client.get(&with_secret("/index/api/getMediaList")).await;
    assert_eq!(response.headers["content-type"], "application/json; charset=gbk");
    assert_eq!(response.body, "{\n\t\"code\": 0\n}");
}

// 1.9 CORS

#[tokio::test]
async fn an_origin_is_echoed_only_when_there_is_one_and_it_is_allowed() {
    let client = client();
    let origin = [("origin", "http://example.com")];
    for target in [with_secret(VERSION), VERSION.to_owned()] {
        let response = client.send("GET", &target, &origin, "").await;
        assert_eq!(
            response.headers["access-control-allow-origin"],
            "http://example.com"
        );
        assert_eq!(response.headers["access-control-allow-credentials"], "true");
        assert_eq!(response.headers["vary"], "origin");
    }
    assert!(
        !client
            .get(VERSION)
            .await
            .headers
            .contains_key("access-control-allow-origin")
    );
    client.server.set("http.allow_cross_domains", "0");
    let response = client.send("GET", VERSION, &origin, "").await;
    assert!(!response.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_preflight_is_answered_with_what_the_browser_asked_for() {
    let client = client();
    let asked = [
        ("origin", "http://example.com"),
        ("access-control-request-headers", "x-token, content-type"),
    ];
    let response = client.send("OPTIONS", VERSION, &asked, "").await;
    assert_eq!(
        response.headers["access-control-allow-origin"],
        "http://example.com"
    );
    assert_eq!(
        response.headers["access-control-allow-headers"],
        "x-token, content-type"
    );
    let response = client.send("OPTIONS", "/index/api/none", &[], "").await;
    assert_eq!(response.headers["access-control-allow-origin"], "*");
    assert_eq!(response.headers["access-control-allow-headers"], "*");
    client.server.set("http.allow_cross_domains", "0");
    let response = client.send("OPTIONS", VERSION, &asked, "").await;
    for header in [
        "access-control-allow-origin",
        "access-control-allow-headers",
        "access-control-allow-methods",
    ] {
        assert!(!response.headers.contains_key(header), "{header}");
    }
    assert_eq!(response.headers["access-control-allow-credentials"], "true");
    assert_eq!(response.headers["allow"], "GET, POST, PUT, HEAD, OPTIONS, DELETE");
}

// 1.10 Limits

#[tokio::test]
async fn an_oversized_body_is_413_and_post_without_length_is_411() {
    let client = client();
    client.server.set("http.maxReqSize", "64");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = format!("secret={SECRET}&x=");
    let fits = format!("{body}{}", "1".repeat(64 - body.len()));
    assert_eq!(client.send("POST", VERSION, &form, &fits).await.json()["code"], 0);
    let response = client.send("POST", VERSION, &form, &format!("{fits}1")).await;
    assert_eq!(
        (response.status, response.body.as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "")
    );
    let no_length = Request::post(with_secret(VERSION))
        .body(Body::empty())
        .expect("request");
    assert_eq!(
        client.send_raw(no_length).await.status,
        StatusCode::LENGTH_REQUIRED
    );
    let chunked = Request::post(VERSION)
        .header("transfer-encoding", "chunked")
        .header(form[0].0, form[0].1);
    let chunked = chunked.body(Body::from(body)).expect("request");
    assert_eq!(client.send_raw(chunked).await.json()["code"], 0);
}

// 1.12 Virtual hosts: the rest is in the captured cases.

#[tokio::test]
async fn no_hostile_input_panics() {
    let client = client();
    let targets = [
        "/index/api/%ff%fe",
        "/index/api/%",
        "/index/%00",
        "/i%6Edex/api/kick_session?id=%ff&secret=%00",
    ];
    for target in targets {
        for method in ["GET", "POST", "DELETE"] {
            client
                .send(
                    method,
                    target,
                    &[("cookie", "ZLM_LOGINED==;;=ZLM_UNLOGIN")],
                    "\u{0}\u{ffff}",
                )
                .await;
        }
    }
    for route in api::routes::ROUTES {
        for value in [
            "",
            "%00",
            "-1",
            "99999999999999999999",
            "1e999",
            "%ff%fe",
            "://",
            "rtmp://",
            "true",
            "%0d%0a",
        ] {
            let query: String = route
                .about
                .required()
                .map(|name| format!("&{name}={value}"))
                .collect();
            let optional =
                "force retry_count timeout_sec local_port peer_ip key max_track enable_mp4 http.port";
            let optional: String = optional
                .split(' ')
                .map(|name| format!("&{name}={value}"))
                .collect();
            let target = format!("/index/api/{}?secret={SECRET}&{query}{optional}", route.name);
            let reply = client.get(&target).await;
            if matches!(route.about.returns, Returns::Members(_)) {
                assert!(reply.json()["code"].is_i64(), "{} {value}", route.name);
            }
        }
    }
}
