//! L6 to L9: who asks too often. Clients come through a trusted proxy, since loopback itself has no limits.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Database, NOBODY, Rows, Service, assert_error, fault, head};
use crate::support::{Answer, SOON, eventually};

const ONE: &str = "X-Forwarded-For: 203.0.113.7";
const OTHER: &str = "X-Forwarded-For: 203.0.113.8";

async fn limited(on: Database, limits: &[(&str, &str)]) -> Option<Service> {
    let proxies = [("TRUSTED_PROXIES", "127.0.0.1")];
    on.service_with(&[proxies.as_slice(), limits].concat()).await
}

async fn ask(service: &Service, line: &str, lines: &[&str]) -> Answer {
    let first = [line, "Host: localhost"];
    service.exchange(&[first.as_slice(), lines].concat(), "").await
}

async fn get(service: &Service, path: &str, lines: &[&str]) -> Answer {
    ask(service, &format!("GET {path} HTTP/1.1"), lines).await
}

/// What is wrong with a refusal for this limit.
fn misread(answer: &Answer, limit: &str, policy: &str) -> Option<String> {
    let wait = answer.header("retry-after").parse::<u64>().unwrap_or_default();
    let sentence = format!("Request was throttled. Expected available in {wait} seconds.");
    let expected = [
        ("ratelimit-policy", format!("\"{limit}\";{policy}")),
        ("ratelimit", format!("\"{limit}\";r=0;t={wait}")),
    ];
    let headers = expected
        .into_iter()
        .find(|(name, value)| answer.header(name) != value);
    fault(answer, 429, &json!({ "detail": [sentence] }))
        .or_else(|| (wait == 0).then(|| "no time to wait".to_owned()))
        .or_else(|| {
            headers.map(|(name, value)| format!("{name}: {} instead of {value}", answer.header(name)))
        })
}

/// Asks so often that the limit is met, however long one answer takes; gives the refusal.
async fn until_refused(service: &Service, path: &str, line: &str) -> Answer {
    eventually("the limit is met", SOON, async || {
        let answer = get(service, path, &[line]).await;
        (answer.status == 429).then_some(answer)
    })
    .await
}

/// L6, L8, E4: one address, all of its reads, and nobody else's
pub(super) async fn an_address_reads_so_often_in_a_second(on: Database) {
    let Some(service) = limited(on, &[("ADDRESS_READS_PER_S", "5")]).await else {
        return;
    };
    let path = format!("/conversations/{}", service.conversation("read often").await);
    let mut rows = Rows::default();
    let began = Instant::now();
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(get(&service, &path, &[ONE]).await.status);
    }
    let passed = statuses.iter().filter(|status| **status == 200).count();
    let at_most = 5 + began.elapsed().as_millis() / 200 + 1;
    rows.equal("a second's worth", &statuses[..5], [200; 5]);
    rows.equal("not more than its share", passed as u128 <= at_most, true);

    let refused = until_refused(&service, &path, ONE).await;
    rows.equal("the refusal", misread(&refused, "reads", "q=5;w=1"), None);
    let same_network = ["X-Forwarded-For: 2001:db8::1", "X-Forwarded-For: 2001:db8::2"];
    until_refused(&service, &path, same_network[0]).await;
    until_refused(&service, &path, same_network[1]).await;
    rows.equal(
        "another address",
        get(&service, &path, &[OTHER]).await.status,
        200,
    );
    rows.equal("a probe", get(&service, "/livez", &[ONE]).await.status, 200);

    eventually("it may again", SOON, async || {
        (get(&service, &path, &[ONE]).await.status == 200).then_some(())
    })
    .await;
}

/// L6: but a wrong key is none
pub(super) async fn who_has_a_key_or_is_on_this_machine_reads_on(on: Database) {
    let Some(service) = limited(on, &[("ADDRESS_READS_PER_S", "1")]).await else {
        return;
    };
    let path = format!("/conversations/{}", service.conversation("read often").await);
    let key = service.key_line();
    let mut rows = Rows::default();
    until_refused(&service, &path, ONE).await;
    for _ in 0..20 {
        rows.equal(
            "with the key",
            get(&service, &path, &[ONE, &key]).await.status,
            200,
        );
        rows.equal("from here", get(&service, &path, &[]).await.status, 200);
        let written = service
            .exchange(
                &[
                    "POST /conversations/ HTTP/1.1",
                    "Host: a",
                    ONE,
                    &key,
                    "Content-Length: 2",
                ],
                "{}",
            )
            .await;
        rows.equal("a write", written.status, 415);
    }
    let refused = eventually("a wrong key helps nobody", SOON, async || {
        let answer = get(&service, &path, &[ONE, "X-API-Key: wrong"]).await;
        (answer.status == 429).then_some(answer)
    });
    refused.await;
}

/// L7, L8: not even with the key
pub(super) async fn an_address_that_gets_too_many_401s_is_not_heard(on: Database) {
    let Some(service) = limited(on, &[("ADDRESS_401S_PER_MIN", "3")]).await else {
        return;
    };
    let path = format!("/conversations/{}", service.conversation("guessed").await);
    let delete = format!("DELETE {path}/delete HTTP/1.1");
    let mut rows = Rows::default();
    for _ in 0..3 {
        rows.equal(
            "a guess",
            ask(&service, &delete, &[ONE, "X-API-Key: x"]).await.status,
            401,
        );
    }
    let key = service.key_line();
    let refused = ask(&service, &delete, &[ONE, &key]).await;
    rows.equal(
        "the right one",
        misread(&refused, "unauthorized", "q=3;w=60"),
        None,
    );
    rows.equal("a read", get(&service, &path, &[ONE]).await.status, 429);
    eventually("the operator is told", SOON, async || {
        service.server().log().contains("limit.reached").then_some(())
    })
    .await;
    rows.equal("a probe", get(&service, "/readyz", &[ONE]).await.status, 200);
    rows.equal(
        "another address",
        ask(&service, &delete, &[OTHER, &key]).await.status,
        200,
    );
}

/// L7, L8: of things and of paths
pub(super) async fn an_address_that_gets_too_many_404s_is_not_heard(on: Database) {
    let Some(service) = limited(on, &[("ADDRESS_404S_PER_MIN", "4")]).await else {
        return;
    };
    let path = format!("/conversations/{}", service.conversation("guessed").await);
    let nobody = format!("/conversations/{NOBODY}");
    let mut rows = Rows::default();
    for guess in [&nobody, "/nowhere", &format!("{nobody}/messages"), "/.env"] {
        rows.equal(guess, get(&service, guess, &[ONE]).await.status, 404);
    }
    let refused = get(&service, &path, &[ONE]).await;
    rows.equal("what is there", misread(&refused, "not-found", "q=4;w=60"), None);
    rows.equal(
        "another address",
        get(&service, &path, &[OTHER]).await.status,
        200,
    );
    rows.equal("this machine", get(&service, &path, &[]).await.status, 200);
}

/// L6, L7: control: switched off, the same never ends
pub(super) async fn a_limit_of_zero_is_none(on: Database) {
    let off = ["READS_PER_S", "401S_PER_MIN", "404S_PER_MIN"].map(|name| format!("ADDRESS_{name}"));
    let off = off.each_ref().map(|name| (name.as_str(), "0"));
    let Some(service) = limited(on, &off).await else {
        return;
    };
    let path = format!("/conversations/{}", service.conversation("any number").await);
    let mut rows = Rows::default();
    for _ in 0..700 {
        rows.equal("a 404", get(&service, "/nowhere", &[ONE]).await.status, 404);
    }
    let post = "POST /conversations/ HTTP/1.1";
    for _ in 0..130 {
        rows.equal("a 401", ask(&service, post, &[ONE]).await.status, 401);
    }
    let answer = get(&service, &path, &[ONE]).await;
    rows.equal("a read", (answer.status, answer.header("ratelimit")), (200, ""));
}

/// L7, E5, H8: on the word of the head alone
pub(super) async fn a_refusal_comes_before_the_body(on: Database) {
    let Some(service) = limited(on, &[("ADDRESS_401S_PER_MIN", "1")]).await else {
        return;
    };
    let post = "POST /conversations/ HTTP/1.1";
    assert_eq!(ask(&service, post, &[ONE]).await.status, 401);
    let key = service.key_line();
    for expect in ["Expect: 100-continue", "A: b"] {
        let lines = [
            post,
            "Host: localhost",
            "Content-Type: application/json",
            "Content-Length: 2000000",
            ONE,
            &key,
            expect,
        ];
        let mut raw = service.connect().await;
        raw.send(head(&lines)).await.expect("a head to send");
        let answer = tokio::time::timeout(Duration::from_secs(5), raw.answer()).await;
        let answer = answer.expect("no waiting for the body").expect("an answer");
        assert_eq!(answer.status, 429, "{expect}");
    }
}

/// L8: while there is something left
pub(super) async fn each_answer_tells_what_is_left(on: Database) {
    let Some(service) = limited(on, &[("ADDRESS_READS_PER_S", "1000")]).await else {
        return;
    };
    let path = format!("/conversations/{}", service.conversation("left").await);
    let mut rows = Rows::default();
    for path in [path.as_str(), "/nowhere"] {
        let answer = get(&service, path, &[ONE]).await;
        rows.equal(path, answer.header("ratelimit-policy"), "\"reads\";q=1000;w=1");
        let left = answer.header("ratelimit");
        rows.equal(
            format!("{path}: {left}"),
            ["\"reads\";r=999;t=1", "\"reads\";r=998;t=1"].contains(&left),
            true,
        );
    }
    for lines in [[].as_slice(), &[ONE, &service.key_line()]] {
        let answer = get(&service, &path, lines).await;
        rows.equal(
            format!("nobody whom it holds for: {lines:?}"),
            (answer.header("ratelimit-policy"), answer.header("ratelimit")),
            ("", ""),
        );
    }
    let probe = get(&service, "/livez", &[ONE]).await;
    rows.equal("a probe", probe.header("ratelimit"), "");
    assert_error(
        &get(&service, "/nowhere", &[]).await,
        404,
        &json!({ "detail": ["Not found."] }),
    );
}

/// L9, L8: whatever it asks, from wherever
pub(super) async fn a_key_asks_so_often_in_a_second(on: Database) {
    let Some(service) = limited(on, &[("KEY_REQUESTS_PER_S", "3")]).await else {
        return;
    };
    let key = service.key_line();
    let conversation = eventually("the first may pass", SOON, async || {
        let made = service
            .post_json("/conversations/", &json!({ "description": "d" }))
            .await;
        (made.status == 201).then(|| made.json()["conversation_id"].as_str().map(str::to_owned))
    });
    let path = format!("/conversations/{}", conversation.await.expect("an id"));
    let mut rows = Rows::default();
    for (from, line) in [("here", "A: b"), ("elsewhere", ONE)] {
        let refused = eventually("the limit is met", SOON, async || {
            let answer = get(&service, &path, &[line, &key]).await;
            (answer.status == 429).then_some(answer)
        })
        .await;
        rows.equal(from, misread(&refused, "requests", "q=3;w=1"), None);
    }
    rows.equal("without the key", get(&service, &path, &[]).await.status, 200);
    rows.equal("a probe", get(&service, "/readyz", &[&key]).await.status, 200);
    let told = eventually("it may again", SOON, async || {
        let answer = get(&service, &path, &[&key]).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    rows.equal(
        "what is left",
        told.header("ratelimit-policy"),
        "\"requests\";q=3;w=1",
    );
}

/// L9, L8, E5: before the body, and nothing but messages
pub(super) async fn a_key_creates_so_many_messages_in_a_minute(on: Database) {
    let Some(service) = limited(
        on,
        &[("KEY_MESSAGES_PER_MIN", "3"), ("KEY_REQUESTS_PER_S", "500")],
    )
    .await
    else {
        return;
    };
    let conversation = service.conversation("talkative").await;
    let create = format!("/api/v1/conversations/{conversation}/messages/create/");
    let body = json!({ "role": "assistant", "text": "x" });
    let mut rows = Rows::default();
    for left in [
        "\"messages\";r=2;t=",
        "\"messages\";r=1;t=",
        "\"messages\";r=0;t=",
    ] {
        let made = service.post_json(&create, &body).await;
        rows.equal(left, made.status, 201);
        let told: Vec<_> = made.headers.get_all("ratelimit").iter().collect();
        // The next one is there a third of a minute after the first, of which some seconds may be over.
        let seconds = told
            .first()
            .and_then(|first| first.to_str().ok()?.strip_prefix(left)?.parse().ok());
        let fits = seconds.is_some_and(|seconds: u32| (15..=20).contains(&seconds));
        rows.equal(left, fits, true);
        rows.equal("both limits are told", told.len(), 2);
    }
    let key = service.key_line();
    let lines = [
        &format!("POST {create} HTTP/1.1"),
        "Host: localhost",
        "Content-Type: application/json",
        "Content-Length: 1000000",
        &key,
    ];
    let refused = service.exchange(&lines, "").await;
    rows.equal("another", misread(&refused, "messages", "q=3;w=60"), None);
    let list = service
        .get(&format!("/conversations/{conversation}/messages"))
        .await;
    rows.equal("no more than three", list.expect(200)["count"].as_u64(), Some(3));
    rows.equal(
        "something else",
        service.conversation("quiet").await.is_empty(),
        false,
    );
}

/// L9: and a key that takes another's place goes on where that one was
pub(super) async fn a_key_has_limits_of_its_own_and_hands_them_on(on: Database) {
    let operator = "the-operators-key-of-this-test";
    let settings = [("API_KEY", operator), ("KEY_MESSAGES_PER_MIN", "3")];
    let Some(service) = limited(on, &settings).await else {
        return;
    };
    let client = service.client.with_key(operator);
    let key_of = |made: Answer| {
        let of = |field: &str| made.json()[field].as_str().expect("a text").to_owned();
        (of("key_id"), of("key"))
    };
    let make = async |body: serde_json::Value| key_of(client.post_json("/api/v1/keys", &body).await);
    let usual = json!(["messages:write"]);
    let limits = json!({ "messages_per_min": 1 });
    let (id, narrow) = make(json!({ "name": "narrow", "scopes": usual, "limits": limits })).await;
    let (_, plain) = make(json!({ "name": "plain", "scopes": usual })).await;
    let rotated = client
        .post_json(&format!("/api/v1/keys/{id}/rotate"), &json!({}))
        .await;
    let (_, successor) = key_of(rotated);
    let conversation = client.conversation("keys").await;
    let path = format!("/conversations/{conversation}/messages/create");
    let body = json!({ "role": "assistant", "text": "x" });
    let create = async |key: &str| client.with_key(key).post_json(&path, &body).await;

    let mut rows = Rows::default();
    rows.equal("the first of a narrow key", create(&narrow).await.status, 201);
    for key in [&narrow, &successor] {
        rows.equal(
            "another",
            misread(&create(key).await, "messages", "q=1;w=60"),
            None,
        );
    }
    for left in 0..3 {
        rows.equal(format!("{left} of a plain key"), create(&plain).await.status, 201);
    }
    rows.equal(
        "another",
        misread(&create(&plain).await, "messages", "q=3;w=60"),
        None,
    );
    rows.equal("the operator's", create(operator).await.status, 201);
}
