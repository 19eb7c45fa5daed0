//! `downloadFile`: a file by its path in the file system.

use super::*;
use serde_json::json;
use testkit::hook::{Answer, HookServer};

const NO_SECRET: &[(&str, &str)] = &[];

/// The target of a call, for a path below the server's folder.
fn target(server: &TestServer, path: &str, more: &str) -> Result<String> {
    let folder = server.folder().canonicalize()?;
    Ok(format!(
        "/index/api/downloadFile?file_path={}{path}{more}",
        folder.display()
    ))
}

async fn site_with_secrets(config: &str) -> Result<TestServer> {
    let files: &[(&str, &[u8])] = &[
        ("logo.png", b"0123456789"),
        (".recording.mp4", b"not yet"),
        ("sub/a b.mp4", b"mp4"),
    ];
    let server = serve_site(files, config).await?;
    std::fs::write(server.folder().join("outside.txt"), "outside")?;
    symlink(
        server.folder().join("outside.txt"),
        server.folder().join("www/link.txt"),
    )?;
    Ok(server)
}

#[tokio::test]
async fn replies_are_those_of_the_reference() -> Result<()> {
    let server = site_with_secrets("").await?;
    let secret = [("secret", server.secret())];
    let golden = |case: &str| testkit::golden::load(&format!("api/downloadFile.{case}.json"));
    for (case, target) in [
        ("ok", target(&server, "/www/logo.png", "")?),
        (
            "save_name",
            target(&server, "/www/logo.png", "&save_name=pic.png")?,
        ),
        ("no_such_file", target(&server, "/www/none.bin", "")?),
        (
            "outside_root",
            "/index/api/downloadFile?file_path=/etc/passwd".to_owned(),
        ),
        ("missing_path", "/index/api/downloadFile".to_owned()),
    ] {
        let golden = golden(case);
        let expected = &golden["response"];
        let response = ask(&server, "GET", &target, &secret).await?;
        assert_eq!(expected["status"], response.status, "{case}");
        for header in ["Content-Type", "Content-Disposition"] {
            let got = response.headers.get(header);
            // ZLM names a character set for pictures, too.
            let wanted = expected["headers"][header]
                .as_str()
                .map(|value| value.replace("image/png; charset=utf-8", "image/png"));
            let got = got.map(|value| value.replace("image/png; charset=utf-8", "image/png"));
            assert_eq!(got, wanted, "{case}: {header}");
        }
        if let Some(text) = expected["body_text"].as_str().filter(|_| case == "outside_root") {
            assert_eq!(response.text(), text, "{case}");
        }
        if expected["json"].is_object() {
            assert_eq!(response.json()?, expected["json"], "{case}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn nothing_outside_of_its_folders_is_sent_and_nothing_hidden() -> Result<()> {
    let server = site_with_secrets("").await?;
    let secret = [("secret", server.secret())];
    for (path, status) in [
        ("/www/../outside.txt", 401),
        ("/www/sub/..", 401),
        ("/outside.txt", 401),
        ("/wwwroot/a", 401),
        ("/www/link.txt", 404),
        ("/www/.recording.mp4", 404),
        ("/www/sub", 404),
        ("/www", 404),
        ("/www/a%00b", 404),
        ("/www/sub/a+b.mp4", 200),
    ] {
        let response = ask(&server, "GET", &target(&server, path, "")?, &secret).await?;
        assert_eq!(response.status, status, "{path}");
    }
    let range = [("secret", server.secret()), ("Range", "bytes=2-4")];
    let part = ask(&server, "GET", &target(&server, "/www/logo.png", "")?, &range).await?;
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(part.headers.get("content-range"), Some("bytes 2-4/10"));
    // A name that would be a header of its own.
    let more = "&save_name=a%22%0d%0aX-Evil:%201";
    let named = ask(&server, "GET", &target(&server, "/www/logo.png", more)?, &secret).await?;
    assert_eq!(named.headers.get("x-evil"), None);
    assert_eq!(
        named.headers.get("content-disposition"),
        Some("attachment;filename=\"a___X-Evil: 1\";filename*=UTF-8''a%22%0D%0AX-Evil%3A%201")
    );
    Ok(())
}

#[tokio::test]
async fn without_a_secret_the_hook_decides_about_each_request_and_without_a_hook_the_address() -> Result<()> {
    let hooks = HookServer::start(|request| {
        let path = request.body["file_path"].as_str().unwrap_or_default();
        let err = if path.ends_with("logo.png") {
            ""
        } else {
            "not this one"
        };
        Answer::Json(json!({"code": 0, "err": err, "second": 600}))
    })
    .await?;
    let server = site_with_secrets(&format!("{}retry=0\n", hooks.ini(&["on_http_access"]))).await?;
    let logo = target(&server, "/www/logo.png", "")?;
    let other = target(&server, "/www/sub/a%20b.mp4", "")?;
    let urllib =
        "Accept-Encoding: identity\r\nHost: h\r\nUser-Agent: Python-urllib/3.11\r\nConnection: close\r\n\r\n";
    let request = format!("GET {logo} HTTP/1.1\r\n{urllib}");
    let answer = raw(server.address("http"), request.as_bytes()).await?;
    assert!(answer.ends_with(b"0123456789"));
    let call = hooks.wait_for_count("on_http_access", 1, SOON).await.remove(0);
    let varying = [
        "hook_index",
        "id",
        "port",
        "mediaServerId",
        "file_path",
        "params",
        "header.Host",
    ];
    call.assert_like_golden("on_http_access.download_file_api", &varying);
    assert_eq!(
        call.body["params"],
        json!(logo.split_once('?').context("a query")?.1)
    );
    // What was decided for one file holds for no other.
    let refused = ask(&server, "GET", &other, NO_SECRET).await?;
    assert_eq!((refused.status, refused.text().as_str()), (401, "not this one"));
    let secret = [("secret", server.secret())];
    assert_eq!(ask(&server, "GET", &other, &secret).await?.text(), "mp4");
    assert_eq!(
        hooks.received("on_http_access").len(),
        2,
        "the secret needs no hook"
    );

    let server = site_with_secrets("").await?;
    let logo = target(&server, "/www/logo.png", "")?;
    assert_eq!(ask(&server, "GET", &logo, NO_SECRET).await?.text(), "0123456789");
    let server = site_with_secrets("[http]\nallow_ip_range=10.0.0.1\n").await?;
    let logo = target(&server, "/www/logo.png", "")?;
    let refused = ask(&server, "GET", &logo, NO_SECRET).await?;
    assert_eq!(
        (refused.status, refused.text().as_str()),
        (401, "Your ip is not allowed to access the service.")
    );
    Ok(())
}
