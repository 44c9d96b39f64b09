//! `engagement chat`: what it asks of the service, what it prints, and what it does when the service is not well.

mod fake;
mod interactive;
mod real;
mod resuming;
mod terminal;
mod written;

use std::io::{Seek, Write};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;
use tempfile::NamedTempFile;

use super::{assert_refused, engagement, home};
use crate::support::{Builder, DEFAULT_KEY, Run, SOON};
use fake::{CONVERSATION, Fake, MESSAGE, Step, cancelled, delta, error, failed, reply, started, succeeded};

const UNAVAILABLE: i32 = 69;

/// A chat with this service, with these arguments.
fn chat(url: &str, arguments: &[&str]) -> Builder {
    engagement(&home(), &[&["chat", "--url", url], arguments].concat())
}

/// ... that is given these lines.
fn chat_of(url: &str, arguments: &[&str], lines: &str) -> Builder {
    let mut file = tempfile::tempfile().expect("a file for stdin");
    file.write_all(lines.as_bytes()).expect("lines");
    file.rewind().expect("the first line");
    chat(url, arguments).stdin(file)
}

async fn run(fake: &Fake, arguments: &[&str], lines: &str) -> Run {
    chat_of(&fake.url, arguments, lines).run().await
}

#[track_caller]
fn assert_replied(run: &Run, stdout: &str) {
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), stdout), "{run:?}");
}

#[tokio::test]
async fn each_line_is_a_message_and_stdout_has_the_replies_only() {
    let fake = Fake::start([reply("Hello!"), reply("Bye.\n")]).await;

    let run = run(&fake, &[], "Hi\n\n  \n/quit, they said\n").await;

    assert_replied(&run, "Hello!\nBye.\n");
    let said: Vec<_> = fake
        .asked("/messages/create")
        .iter()
        .map(fake::Asked::json)
        .collect();
    let by_user = |text: &str| json!({ "role": "user", "text": text });
    assert_eq!(said, [by_user("Hi"), by_user("/quit, they said")]);
    assert!(
        run.stderr.contains(&format!(
            "to continue it later: engagement chat {CONVERSATION} --url {}]",
            fake.url
        )),
        "{run:?}"
    );
    for asked in fake.asked("") {
        assert_eq!(asked.header("x-api-key"), DEFAULT_KEY, "{asked:?}");
    }
}

#[tokio::test]
async fn what_a_conversation_is_to_be_is_said_when_it_is_created() {
    let fake = Fake::start([reply("Hello!")]).await;
    let arguments = [
        "--model",
        "tiny",
        "--title",
        "Trains",
        "--instructions",
        "Be brief.",
    ];

    let run = run(&fake, &arguments, "Hi").await;

    assert_replied(&run, "Hello!\n");
    let created = fake.asked("POST /conversations/ ")[0].json();
    assert_eq!(
        (&created["model"], &created["title"], &created["instructions"]),
        (&json!("tiny"), &json!("Trains"), &json!("Be brief."))
    );
    assert!(created["description"].is_string());
    assert_eq!(fake.asked("/messages/create")[0].json().get("model"), None);
}

#[tokio::test]
async fn a_conversation_that_is_continued_gets_the_model_with_each_message() {
    let fake = Fake::start([reply("Hello!")]).await;

    let run = run(&fake, &[CONVERSATION, "--model", "tiny"], "Hi").await;

    assert_replied(&run, "Hello!\n");
    assert!(fake.asked("POST /conversations/ ").is_empty());
    let said = fake.asked(&format!("POST /conversations/{CONVERSATION}/messages/create "));
    assert_eq!(said[0].json()["model"], "tiny");

    for argument in ["--title", "--instructions"] {
        let run = chat_of(&fake.url, &[CONVERSATION, argument, "x"], "").run().await;
        assert_eq!(run.code, Some(2), "{run:?}");
    }
}

#[tokio::test]
async fn address_and_key_are_those_of_the_settings_unless_given() {
    let fake = Fake::start([reply("Hello!"), reply("Hello again!")]).await;
    let address = fake.url.trim_start_matches("http://");
    let chat = |arguments: &[&str]| {
        let builder = engagement(&home(), &[&["chat"], arguments].concat());
        builder
            .env("LISTEN", address)
            .env("API_KEY", "the-key-of-the-settings")
    };

    let run = chat(&[]).run().await;

    assert_replied(&run, "");
    assert_eq!(
        fake.asked("POST")[0].header("x-api-key"),
        "the-key-of-the-settings"
    );
    let run = chat(&["--key", "another-key"]).run().await;
    assert_replied(&run, "");
    assert_eq!(fake.asked("POST")[1].header("x-api-key"), "another-key");
}

#[tokio::test]
async fn a_service_below_a_path_is_found() {
    let fake = Fake::that_answers(
        [(
            "POST /api/v1/conversations/ ",
            201,
            json!({ "conversation_id": CONVERSATION }),
        )],
        [],
    )
    .await;

    let run = chat_of(&format!("{}/api/v1/", fake.url), &[], "").run().await;

    assert_replied(&run, "");
    assert_eq!(fake.asked("POST /api/v1/conversations/ ").len(), 1);
}

#[tokio::test]
async fn a_service_that_does_not_run_is_named_with_what_to_type() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = gone.local_addr().expect("an address").to_string();
    drop(gone);

    let run = chat_of(&format!("http://{address}"), &[], "Hi").run().await;

    assert_refused(
        &run,
        UNAVAILABLE,
        &[
            &address,
            "does not answer",
            "Connection refused",
            "`engagement serve`",
            "--url",
        ],
    );
}

#[tokio::test]
async fn what_the_service_refuses_is_said_with_what_to_do() {
    let detail = |text: &str| json!({ "detail": [text], "request_id": ["a-1"] });
    let cases = [
        (
            ("POST /conversations/ ", 401, error(401, &detail("Wrong key."))),
            vec![],
            1,
            vec!["does not take the key", "Wrong key.", "--key"],
        ),
        (
            ("/messages?", 404, error(404, &detail("Not found."))),
            vec![CONVERSATION],
            1,
            vec!["there is no conversation", CONVERSATION, "leave the id out"],
        ),
        (
            (
                "/messages/create",
                400,
                error(400, &json!({ "model": ["Not a model."], "text": ["Too long."] })),
            ),
            vec![],
            1,
            vec!["model: Not a model. text: Too long.", "correct"],
        ),
        (
            (
                "/messages/create",
                503,
                error(503, &detail("Try again.\u{1b}[2J")),
            ),
            vec![],
            UNAVAILABLE,
            vec!["cannot do it now", "Try again.[2J", "in a moment"],
        ),
        (
            ("POST /conversations/ ", 200, json!("a page of somebody else's")),
            vec![],
            1,
            vec!["is not this service", "--url"],
        ),
        (
            ("POST /conversations/ ", 404, json!("nothing")),
            vec![],
            1,
            vec!["is not this service", "--url"],
        ),
    ];
    for (answer, arguments, code, says) in cases {
        let fake = Fake::that_answers([answer], []).await;

        let run = run(&fake, &arguments, "Hi").await;

        assert_refused(&run, code, &says);
        assert_eq!(run.stdout, "");
        assert!(
            !run.stderr.contains("a-1") && !run.stderr.contains('\u{1b}'),
            "{run:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_an_id_or_an_address_is_wrong_usage() {
    for (arguments, says) in [
        (["chat", "trains"], "a conversation's id looks like"),
        (
            ["chat", "--url=localhost:8000"],
            "it looks like http://127.0.0.1:8000",
        ),
        (["chat", "--url=here"], "it looks like http://127.0.0.1:8000"),
        (
            ["chat", "--url=http://me:pass@localhost"],
            "it looks like http://127.0.0.1:8000",
        ),
    ] {
        let run = engagement(&home(), &arguments).run().await;
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.contains(says), "{run:?}");
    }
}

#[tokio::test]
async fn a_reply_that_fails_ends_a_script() {
    let half_of_it = vec![started(3, 1), delta(4, "Half of"), failed(5)];
    let fake = Fake::start([reply("Hello!"), half_of_it]).await;

    let run = run(&fake, &[], "Hi\nAnd now?\nNever sent\n").await;

    assert_refused(
        &run,
        1,
        &["the reply failed", "the model is away (provider_error)", "/retry"],
    );
    assert_eq!(run.stdout, "Hello!\n", "a failed reply's text is no reply");
    assert_eq!(fake.asked("/messages/create").len(), 2);
}

#[tokio::test]
async fn a_message_that_is_deleted_meanwhile_ends_a_script() {
    let gone = |name, payload| vec![started(3, 1), delta(4, "Half of"), Step::Event(5, name, payload)];
    for stream in [
        gone("message.deleted", json!({ "message_id": MESSAGE })),
        gone("conversation.deleted", json!({ "conversation_id": CONVERSATION })),
        vec![Step::Answer(404, "{}".to_owned())],
    ] {
        let fake = Fake::start([stream]).await;

        let run = run(&fake, &[], "Hi").await;

        assert_refused(&run, 1, &["was deleted"]);
        assert_eq!(run.stdout, "");
    }
}

#[tokio::test]
async fn a_reply_that_was_cut_is_printed_and_said_to_be_cut() {
    for (finish_reason, truncated, says) in [
        ("length", false, "the model's limit"),
        ("stop", true, "the service's limit"),
        ("content_filter", false, "content filter"),
    ] {
        let payload =
            json!({ "message_id": MESSAGE, "finish_reason": finish_reason, "truncated": truncated });
        let end = Step::Event(5, "reply.succeeded", payload);
        let fake = Fake::start([vec![started(3, 1), delta(4, "Once upon a"), end]]).await;

        let run = run(&fake, &[], "Hi").await;

        assert_replied(&run, "Once upon a\n");
        assert!(run.stderr.contains(says), "{run:?}");
    }
}

#[tokio::test]
async fn ctrl_c_cancels_the_reply_and_what_there_is_of_it_is_printed() {
    let stream = vec![
        started(3, 1),
        delta(4, "Half of"),
        Step::UntilCancelled,
        cancelled(5),
    ];
    let fake = Fake::start([stream]).await;
    let stdout = NamedTempFile::new().expect("a file for stdout");
    let into = Stdio::from(stdout.reopen().expect("the file for stdout"));
    let mut program = chat_of(&fake.url, &[], "Hi\nNever sent").launch_into(into);
    fake.was_asked("stream=true", 1).await;

    program.signal(Signal::INT);

    assert_eq!(program.wait_exit(SOON).await.code(), Some(1));
    let cancel = fake.asked("/reply/cancel");
    assert_eq!(cancel.len(), 1);
    let path = format!("POST /conversations/{CONVERSATION}/messages/{MESSAGE}/reply/cancel ");
    assert!(cancel[0].line.starts_with(&path), "{cancel:?}");
    assert_eq!(cancel[0].header("x-api-key"), DEFAULT_KEY);
    assert!(
        program.stderr().contains("the reply was cancelled"),
        "{}",
        program.stderr()
    );
    assert_eq!(
        std::fs::read_to_string(stdout.path()).expect("stdout"),
        "Half of\n"
    );
    assert_eq!(fake.asked("/messages/create").len(), 1);
}

#[tokio::test]
async fn a_second_ctrl_c_leaves_and_the_reply_goes_on() {
    let fake = Fake::that_answers(
        [("/reply/cancel", 503, error(503, &json!({})))],
        [vec![started(3, 1), Step::Silence]],
    )
    .await;
    let mut program = chat_of(&fake.url, &[], "Hi").launch();
    fake.was_asked("stream=true", 1).await;

    program.signal(Signal::INT);
    // The service cannot do it now, and is asked until it can.
    fake.was_asked("/reply/cancel", 2).await;
    program.signal(Signal::INT);

    assert_eq!(program.wait_exit(SOON).await.code(), Some(1));
    assert!(program.stderr().contains("interrupted"), "{}", program.stderr());
}

#[tokio::test]
async fn nothing_is_cancelled_by_hanging_up() {
    let fake = Fake::start([vec![started(3, 1), Step::Silence]]).await;
    let program = chat_of(&fake.url, &[], "Hi").launch();
    fake.was_asked("stream=true", 1).await;

    program.kill();

    fake.was_left().await;
    assert!(fake.asked("/reply/cancel").is_empty());
}
