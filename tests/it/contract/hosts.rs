//! H3, H4: what the service is called, and what it calls itself.

use serde_json::Value;

use super::{Database, Rows, Service};
use crate::support::Answer;

/// GET with exactly these `Host` lines.
async fn get(service: &Service, path: &str, lines: &[&str]) -> Answer {
    service
        .exchange(&[&[format!("GET {path} HTTP/1.1").as_str()], lines].concat(), "")
        .await
}

/// Status 400 in the envelope, whatever its sentence is.
fn refused(rows: &mut Rows, row: &str, answer: &Answer) {
    rows.equal(row, answer.status, 400);
    if answer.status == 400 {
        let said = answer.json()["details"]["detail"].clone();
        rows.error(row, answer, 400, &serde_json::json!({ "detail": said }));
        rows.equal(row, said[0].is_string(), true);
    }
}

/// H3: names, addresses, ports
pub(super) async fn a_host_is_a_name_or_an_address_perhaps_with_a_port(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("hosts").await;
    let path = format!("/conversations/{conversation}");
    let mut rows = Rows::default();
    for host in [
        "localhost",
        "localhost:8000",
        "chat.example.com",
        "CHAT.example.com:443",
        "a-1.example",
        "xn--bcher-kva.example",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:8000",
        "[2001:db8::1]:8000",
    ] {
        rows.equal(
            host,
            get(&service, &path, &[&format!("Host: {host}")]).await.status,
            200,
        );
    }
    for host in [
        "",
        "a b",
        "a_b",
        "<x>",
        "a/b",
        "a\\b",
        "a?b",
        "a#b",
        "user@host",
        "host:port",
        "host:123456",
        ":8000",
        "::1",
        "[::1",
        "[::1]x",
        "[nope]",
        "a\"b",
        "a,b",
        "b\u{fc}cher",
        "%61",
    ] {
        refused(
            &mut rows,
            &format!("{host:?}"),
            &get(&service, &path, &[&format!("Host: {host}")]).await,
        );
    }
}

/// H3: one, not none, not two
pub(super) async fn there_is_exactly_one_host(on: Database) {
    let service = on.service().await;
    let path = format!("/conversations/{}", service.conversation("hosts").await);
    let mut rows = Rows::default();
    refused(&mut rows, "none", &get(&service, &path, &["A: b"]).await);
    refused(
        &mut rows,
        "two",
        &get(&service, &path, &["Host: a.example", "Host: b.example"]).await,
    );
    refused(
        &mut rows,
        "twice the same",
        &get(&service, &path, &["Host: a.example", "Host: a.example"]).await,
    );
    let old = service.exchange(&[&format!("GET {path} HTTP/1.0")], "").await;
    rows.equal("none in HTTP/1.0", old.status, 200);
    let absolute = format!("http://a.example{path}");
    rows.equal(
        "the same",
        get(&service, &absolute, &["Host: a.example"]).await.status,
        200,
    );
    refused(
        &mut rows,
        "another",
        &get(&service, &absolute, &["Host: b.example"]).await,
    );
    for (scheme, status) in [("HTTP", 200), ("https", 200), ("ftp", 400), ("", 400)] {
        let target = format!("{scheme}://a.example{path}");
        rows.equal(
            &target,
            get(&service, &target, &["Host: a.example"]).await.status,
            status,
        );
    }
}

/// H3: the operator's list
pub(super) async fn allowed_hosts_are_the_only_ones(on: Database) {
    let Some(service) = on
        .service_with(&[("ALLOWED_HOSTS", "127.0.0.1,chat.example")])
        .await
    else {
        return;
    };
    let path = format!("/conversations/{}", service.conversation("hosts").await);
    let mut rows = Rows::default();
    for host in [
        "chat.example",
        "CHAT.EXAMPLE",
        "chat.example:8000",
        "127.0.0.1",
        service.authority(),
    ] {
        rows.equal(
            host,
            get(&service, &path, &[&format!("Host: {host}")]).await.status,
            200,
        );
    }
    for host in [
        "localhost",
        "evil.example",
        "x.chat.example",
        "chat.example.evil",
        "127.0.0.2",
    ] {
        refused(
            &mut rows,
            host,
            &get(&service, &path, &[&format!("Host: {host}")]).await,
        );
    }
    let none = service.exchange(&[&format!("GET {path} HTTP/1.0")], "").await;
    rows.equal("none in HTTP/1.0", none.status, 200);
    for (host, status) in [("chat.example", 200), ("evil.example", 400)] {
        let line = format!("GET http://{host}{path} HTTP/1.0");
        let named = service.exchange(&[&line], "").await;
        rows.equal(&line, named.status, status);
    }
}

/// A list of two pages.
async fn two_pages(service: &Service) -> String {
    let conversation = service.conversation_of(&["1", "2"]).await;
    format!("/conversations/{conversation}/messages?page_size=1")
}

fn base_of(page: &Value) -> String {
    let next = page["next"].as_str().expect("a second page");
    next.split("/conversations").next().unwrap_or_default().to_owned()
}

/// H4: the name that the client used, and no name that a stranger added
pub(super) async fn links_begin_with_the_host_of_the_request(on: Database) {
    let service = on.service().await;
    let path = two_pages(&service).await;
    let mut rows = Rows::default();
    for host in ["chat.example", "chat.example:8080", "127.0.0.1:1", "[::1]:8000"] {
        let page = get(&service, &path, &[&format!("Host: {host}")])
            .await
            .expect(200);
        rows.equal(host, base_of(&page), format!("http://{host}"));
    }
    for forged in [
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Port: 1",
        "X-Forwarded-Prefix: /evil",
        "Forwarded: host=evil.example;proto=https",
    ] {
        let page = get(&service, &path, &["Host: chat.example", forged])
            .await
            .expect(200);
        rows.equal(forged, base_of(&page), "http://chat.example");
    }
}

/// H4: no name at all, as HTTP/1.0 allows
pub(super) async fn links_begin_with_the_address_where_no_host_was_sent(on: Database) {
    let Some(service) = on.service_with(&[]).await else {
        return;
    };
    let path = two_pages(&service).await;
    let page = service
        .exchange(&[&format!("GET {path} HTTP/1.0")], "")
        .await
        .expect(200);
    assert_eq!(base_of(&page), service.base_url());
}

/// H4: the name that the operator chose
pub(super) async fn links_begin_with_the_public_url(on: Database) {
    for (public, base) in [
        ("https://chat.example", "https://chat.example"),
        ("https://chat.example/", "https://chat.example"),
        ("https://chat.example:8443/base", "https://chat.example:8443/base"),
    ] {
        let Some(service) = on.service_with(&[("PUBLIC_URL", public)]).await else {
            return;
        };
        let path = two_pages(&service).await;
        let page = get(&service, &path, &["Host: other.example"]).await.expect(200);
        assert_eq!(base_of(&page), base);
    }
}
