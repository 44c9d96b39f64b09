//! O: how the service is run.

use serde_json::{Value, json};

use super::{Database, Rows, assert_error, head, not_found};
use crate::support::{SOON, Server};

/// O1: the probes and their shape
pub(super) async fn the_probes_answer_at_the_root_without_a_key(on: Database) {
    let service = on.service().await;
    let anyone = service.anonymous();
    let mut rows = Rows::default();
    for probe in ["/livez", "/readyz"] {
        let answer = anyone.get(probe).await;
        let health = answer.expect(200);
        rows.equal(probe, answer.header("content-type"), "application/json");
        rows.equal(probe, &health["status"], "ok");
        rows.equal(
            probe,
            answer.text().starts_with(r#"{"status":"ok","checks":{"#),
            true,
        );
        let checks = health["checks"].as_object().expect("checks");
        rows.equal(probe, checks.values().all(Value::is_string), true);
        rows.error(
            probe,
            &service.get(&format!("/api/v1{probe}")).await,
            404,
            &not_found(),
        );
    }
}

/// O2: the address that it got, on any free port
pub(super) async fn a_server_tells_its_address_once_it_is_ready(on: Database) {
    let builder = Server::builder().arg("serve").arg("--listen=127.0.0.1:0");
    let Some(service) = on.start(builder).await else {
        return;
    };
    assert_ne!(service.address().port(), 0);
    service.get("/readyz").await.expect(200);
}

/// O2: a request under way is finished, then the process ends
pub(super) async fn sigterm_lets_requests_finish_and_exits_with_0(on: Database) {
    let Some(mut service) = on.service_with(&[]).await else {
        return;
    };
    let body = r#"{"description": "last"}"#;
    let lines = [
        "POST /conversations/ HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        "Expect: 100-continue",
        &format!("Content-Length: {}", body.len()),
        &service.key_line(),
    ];
    let mut raw = service.connect().await;
    raw.send(head(&lines)).await.expect("a head to send");
    assert_eq!(
        raw.head().await.expect("an interim answer").0,
        100,
        "the request is under way"
    );

    service.server().terminate();
    raw.send(body).await.expect("a body to send");

    raw.answer().await.expect("an answer").expect(201);
    let server = service.server.as_mut().expect("a server of our own");
    assert_eq!(server.wait_exit(SOON).await.code(), Some(0));
}

/// O3: one file, one server
#[tokio::test]
async fn a_second_server_on_the_same_file_refuses() {
    let Some(service) = Database::Sqlite.service_with(&[]).await else {
        return;
    };
    let Err((status, stderr)) = Server::builder_over(&service.server().home()).try_start().await else {
        panic!("two servers run on one file");
    };
    assert_eq!(status.code(), Some(69), "{stderr}");
    assert!(!stderr.trim().is_empty(), "it says why");

    service
        .post_json("/conversations/", &json!({ "description": "still here" }))
        .await
        .expect(201);
    assert_error(&service.get("/nope").await, 404, &not_found());
}

/// O5: two servers, one service
#[tokio::test]
async fn servers_on_one_postgres_database_show_the_same() {
    let Some(on) = Database::postgres().await else {
        return;
    };
    let one = on.service().await;
    let other = one.another_server().await;
    let conversation = one.conversation("shared").await;
    let path = format!("/conversations/{conversation}");

    let mut rows = Rows::default();
    for (round, (here, there)) in [(&one, &other), (&other, &one)]
        .into_iter()
        .cycle()
        .take(10)
        .enumerate()
    {
        let asked = here.message(&conversation, "user", "hello").await;
        let message = there.get(&format!("{path}/messages/{asked}")).await;
        rows.equal(format!("the message of round {round}"), message.status, 200);
        let reply = there.finished_reply(&conversation, &asked).await;
        rows.equal(
            format!("the reply of round {round}"),
            &reply["status"],
            "succeeded",
        );
        rows.equal(
            format!("the texts of round {round}"),
            there.texts(&conversation).await,
            here.texts(&conversation).await,
        );
        assert_eq!(here.delete(&format!("{path}/messages/{asked}")).await.status, 204);
        let gone = there.get(&format!("{path}/messages/{asked}")).await;
        rows.error(
            format!("what was deleted in round {round}"),
            &gone,
            404,
            &not_found(),
        );
    }
    one.delete(&format!("{path}/delete")).await.expect(200);
    rows.error("the conversation", &other.get(&path).await, 404, &not_found());
}

/// O4, K8: what the way a start ends tells
pub(super) async fn a_start_that_fails_says_why_by_its_exit_code(on: Database) {
    let open = [("LISTEN", "0.0.0.0:0"), ("ALLOW_DEFAULT_KEY", "1")];
    let Some(open) = on.service_with(&open).await else {
        return;
    };
    open.conversation("open to all").await;

    let mut rows = Rows::default();
    for (case, builder, code) in [
        ("an unknown flag", Server::builder().arg("--no-such-flag"), 2),
        ("an unknown command", Server::builder().arg("sevre"), 2),
        (
            "a value that is none",
            Server::builder().env("WORKERS", "many"),
            2,
        ),
        (
            "the well-known key beyond loopback",
            Server::builder().env("LISTEN", "0.0.0.0:0"),
            78,
        ),
        (
            "the well-known key in production",
            Server::builder().env("PRODUCTION", "1"),
            78,
        ),
        (
            "a database that cannot be",
            Server::builder().on(&on.that_cannot_be()),
            69,
        ),
    ] {
        let (status, stderr) = builder.try_start().await.err().expect("a start that fails");
        rows.equal(case, status.code(), Some(code));
        rows.equal(format!("{case} is told"), stderr.trim().is_empty(), false);
    }
}
