//! H11: what proxies say of clients.

use serde_json::json;

use super::{Database, Rows, Service, assert_error};
use crate::support::{Answer, SOON, eventually};

/// A list of two pages.
async fn two_pages(service: &Service) -> String {
    let conversation = service.conversation_of(&["1", "2"]).await;
    format!("/conversations/{conversation}/messages?page_size=1")
}

async fn get(service: &Service, path: &str, lines: &[&str]) -> Answer {
    let get = format!("GET {path} HTTP/1.1");
    service
        .exchange(&[&[get.as_str(), "Host: inside:8000"], lines].concat(), "")
        .await
}

fn base_of(answer: &Answer) -> String {
    let page = answer.expect(200);
    let next = page["next"].as_str().expect("a second page");
    next.split("/conversations").next().unwrap_or_default().to_owned()
}

/// H11: control: the same words from elsewhere
pub(super) async fn strangers_are_not_believed(on: Database) {
    let settings = [
        ("TRUSTED_PROXIES", "192.0.2.1,2001:db8::/32"),
        ("PROXY_HEADERS", "x-forwarded"),
    ];
    let Some(service) = on.service_with(&settings).await else {
        return;
    };
    let path = two_pages(&service).await;
    let lines = [
        "X-Forwarded-For: 203.0.113.7",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Proto: https",
        "Forwarded: for=203.0.113.7;host=evil.example;proto=https",
    ];
    assert_eq!(base_of(&get(&service, &path, &lines).await), "http://inside:8000");
}

/// H4, H11: host and scheme
pub(super) async fn a_trusted_proxy_says_how_the_service_is_called(on: Database) {
    let x_forwarded = [
        ("X-Forwarded-Host: chat.example", "http://chat.example"),
        ("X-Forwarded-Proto: https", "https://inside:8000"),
        (
            "X-Forwarded-Host: chat.example\r\nX-Forwarded-Proto: https",
            "https://chat.example",
        ),
        (
            "X-Forwarded-Host: evil.example, chat.example:8443",
            "http://chat.example:8443",
        ),
        (
            "Forwarded: for=203.0.113.7;host=evil.example;proto=https",
            "http://inside:8000",
        ),
    ];
    let forwarded = [
        (
            "Forwarded: for=203.0.113.7;host=chat.example;proto=https",
            "https://chat.example",
        ),
        (
            "Forwarded: for=\"evil, for=203.0.113.7;host=\"chat.example:8443\";proto=https, for=127.0.0.1;host=inner",
            "https://chat.example:8443",
        ),
        (
            "X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https",
            "http://inside:8000",
        ),
    ];
    let mut rows = Rows::default();
    for (which, cases) in [("x-forwarded", x_forwarded.as_slice()), ("forwarded", &forwarded)] {
        let settings = [
            ("TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.1"),
            ("PROXY_HEADERS", which),
        ];
        let Some(service) = on.service_with(&settings).await else {
            return;
        };
        let path = two_pages(&service).await;
        for (lines, base) in cases {
            rows.equal(*lines, base_of(&get(&service, &path, &[lines]).await), *base);
        }
    }
    let settings = [
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("PUBLIC_URL", "https://chat.example"),
    ];
    let Some(service) = on.service_with(&settings).await else {
        return;
    };
    let path = two_pages(&service).await;
    let answer = get(&service, &path, &["X-Forwarded-Host: other.example"]).await;
    rows.equal("the public URL wins", base_of(&answer), "https://chat.example");
}

/// H3, H11: the host that counts is the one outside
pub(super) async fn allowed_hosts_judge_what_the_client_asked_for(on: Database) {
    let settings = [
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("ALLOWED_HOSTS", "chat.example"),
    ];
    let Some(service) = on.service_with(&settings).await else {
        return;
    };
    let mut rows = Rows::default();
    for (line, status) in [
        ("X-Forwarded-Host: chat.example", 200),
        ("X-Forwarded-Host: CHAT.example:8443", 200),
        ("X-Forwarded-Host: evil.example", 400),
        ("X-Forwarded-Host: chat.example, evil.example", 400),
        ("A: b", 400),
    ] {
        rows.equal(line, get(&service, "/livez", &[line]).await.status, status);
        // Not sending a host of one's own is no way round it.
        let old = service.exchange(&["GET /livez HTTP/1.0", line], "").await;
        let status = if line.starts_with("X-") { status } else { 200 };
        rows.equal(format!("{line} in HTTP/1.0"), old.status, status);
    }
}

/// H11: then everything is as without it
pub(super) async fn what_a_proxy_garbles_is_not_believed(on: Database) {
    let settings = [("TRUSTED_PROXIES", "127.0.0.1")];
    let Some(service) = on.service_with(&settings).await else {
        return;
    };
    let path = two_pages(&service).await;
    let mut rows = Rows::default();
    for line in [
        "X-Forwarded-Host: a b",
        "X-Forwarded-Host: ",
        "X-Forwarded-Proto: ftp",
        "X-Forwarded-For: nobody",
    ] {
        let answer = get(&service, &path, &[line]).await;
        rows.equal(line, base_of(&answer), "http://inside:8000");
    }
}

/// L6, H11: no client can write itself out of the limits, whatever bytes it sends
pub(super) async fn who_cannot_be_told_counts_as_the_proxy_and_not_as_this_machine(on: Database) {
    let cases = [
        (
            "x-forwarded",
            [
                "X-Forwarded-For: \u{ff}, 203.0.113.7",
                "X-Forwarded-For: nobody",
                "X-Forwarded-For: 203.0.113.7, 300.0.0.1",
                "X-Forwarded-For: 203.0.113.7, fe80::1%eth0",
                "X-Forwarded-For: \u{ff}",
                "X-Forwarded-For: ",
            ]
            .as_slice(),
        ),
        (
            "forwarded",
            &[
                "Forwarded: for=\"\u{ff}, for=203.0.113.7",
                "Forwarded: for=_hidden",
                "Forwarded: for=203.0.113.7, \u{ff}",
            ],
        ),
    ];
    for (which, lines) in cases {
        let settings = [
            ("TRUSTED_PROXIES", "127.0.0.1"),
            ("PROXY_HEADERS", which),
            ("ADDRESS_READS_PER_S", "1"),
        ];
        let Some(service) = on.service_with(&settings).await else {
            return;
        };
        let path = two_pages(&service).await;
        let mut rows = Rows::default();
        for line in lines {
            let refused = eventually(line, SOON, async || {
                let answer = get(&service, &path, &[line]).await;
                (answer.status == 429).then_some(answer)
            });
            rows.equal(
                line,
                refused.await.header("ratelimit-policy"),
                "\"reads\";q=1;w=1",
            );
        }
        for _ in 0..10 {
            let answer = get(&service, &path, &[]).await;
            rows.equal("control: the machine itself", answer.status, 200);
        }
    }
}

/// V13, H11: a proxy's clients do not share one cap
pub(super) async fn streams_are_counted_for_the_client_behind_the_proxy(on: Database) {
    let settings = [("TRUSTED_PROXIES", "127.0.0.1"), ("MAX_STREAMS_PER_ADDRESS", "1")];
    let Some(service) = on.service_with(&settings).await else {
        return;
    };
    let path = format!("/conversations/{}/events", service.conversation("streams").await);
    let one = "X-Forwarded-For: 203.0.113.7";
    let _first = service.watch_with(&path, &[one]).await;
    let _of_another = service.watch_with(&path, &["X-Forwarded-For: 203.0.113.8"]).await;

    let refused = get(&service, &path, &[one]).await;

    let said = json!({ "detail": ["Request was throttled. Expected available in 5 seconds."] });
    assert_error(&refused, 429, &said);
}
