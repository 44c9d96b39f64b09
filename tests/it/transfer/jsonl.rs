//! `engagement export` and `engagement import jsonl`: what goes out comes in as it was.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{exported, imported, ran, states::source, told, write};
use crate::copy::{Place, engagement, home};
use crate::support::{EventStream, Server, names, texts};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_out_comes_in_and_goes_out_the_same() {
    let home = home();
    let source = source(&home).await;
    let export = ran(&home, &["export", "--database-url", &source.url()]).await;
    assert!(
        export
            .stderr
            .contains("1 replies are not final, and were left out"),
        "{}",
        export.stderr
    );
    write(&home, "all.jsonl", &export.stdout);
    let mut targets = vec![Place::file(&home, "other.db")];
    targets.extend(Place::server().await);
    for target in targets {
        let first = imported(&home, &["jsonl", "all.jsonl"], &target).await;
        assert_eq!(
            first,
            "imported 4 conversations, 4520 messages; there already: 0; refused: 0; messages left out: 0"
        );
        let there = exported(&home, &target).await;
        for (out, back) in export.stdout.lines().zip(there.lines()) {
            assert!(out == back, "{out:.2000}\n{back:.2000}");
        }
        assert!(there == export.stdout, "an export is what was imported");
        let again = imported(&home, &["jsonl", "all.jsonl"], &target).await;
        assert_eq!(
            again,
            "imported 0 conversations, 0 messages; there already: 4; refused: 0; messages left out: 0"
        );
        let check = ran(&home, &["check", "--database-url", &target.url()]).await;
        assert!(check.stdout.contains("database: ok"), "{check:?}");
    }
}

#[tokio::test]
async fn lines_are_as_they_are_documented() {
    let home = home();
    let source = source(&home).await;
    let export = exported(&home, &source).await;
    let lines: Vec<Value> = export
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let ids: Vec<_> = lines
        .iter()
        .map(|line| line["conversation_id"].as_str().expect("an id"))
        .collect();
    assert!(ids.is_sorted(), "{ids:?}");
    let [talk, first, second, third] = &lines
        .iter()
        .filter(|line| {
            line["conversation_id"]
                .as_str()
                .is_some_and(|id| id.starts_with("01000000"))
        })
        .collect::<Vec<_>>()[..]
    else {
        panic!("a line, and three parts")
    };
    assert_eq!(talk["format"], "engagement.conversation/1");
    assert_eq!(talk["owner"].as_str().map(str::len), Some(12));
    let message = json!({
        "message_id": "02000000-0000-7000-8000-000000000001",
        "role": "user",
        "text": "question 0",
        "date_created": "1970-01-01T00:00:00.001000Z",
        "reply": {
            "status": "succeeded",
            "assistant_message_id": "02000000-0000-7000-8000-000000000002",
            "attempts": 0,
            "date_created": "1970-01-01T00:00:00.001000Z",
            "date_started": "1970-01-01T00:00:00.001005Z",
            "date_finished": "1970-01-01T00:00:00.001010Z",
            "finish_reason": "length",
            "truncated": true,
            "settings": { "top_p": 0.5 },
            "account": { "provider": "far", "model": "m", "usage": { "input_tokens": 1, "output_tokens": 2, "cached_tokens": 0 } },
        },
    });
    assert_eq!(talk["messages"][0], message);
    assert_eq!(talk["messages"][1]["date_updated"], "1970-01-01T00:00:00.001020Z");
    let counts = [first, second, third].map(|part| part["messages"].as_array().map(Vec::len));
    assert_eq!(counts, [Some(2000), Some(2000), Some(500)]);
    let parts = [first, second, third].map(|part| (part["part"].clone(), part["more"].clone()));
    assert_eq!(
        parts,
        [
            (Value::Null, json!(true)),
            (json!(2), json!(true)),
            (json!(3), Value::Null)
        ]
    );
    assert_eq!(second.get("description"), None);
}

/// Both databases, filled with the source, and a server over each.
async fn servers(home: &Arc<TempDir>) -> Vec<(Server, Place)> {
    let source = source(home).await;
    let export = exported(home, &source).await;
    write(home, "all.jsonl", &export);
    let mut targets = vec![Place::file(home, "other.db")];
    targets.extend(Place::server().await);
    let mut servers = Vec::new();
    for target in targets {
        imported(home, &["jsonl", "all.jsonl"], &target).await;
        let server = Server::builder_over(home).on(&target.url()).start().await;
        // The database goes with its owner.
        servers.push((server, target));
    }
    servers
}

const TALK: &str = "01000000-0000-4000-8000-000000000001";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_imported_conversation_is_like_any_other() {
    let home = home();
    for (server, _database) in servers(&home).await {
        let client = server.client();
        let path = format!("/conversations/{TALK}/messages?page_size=100");
        let page = client.get(&path).await.expect(200);
        assert_eq!((page["count"].as_u64(), texts(&page).len()), (Some(13), 13));
        assert_eq!(texts(&page)[..3], ["question 0", "answer 0", "question 1"]);
        let found = client.get(&format!("{path}&q=ANSWER+4")).await.expect(200);
        assert_eq!(texts(&found), ["answer 4"]);
        let users = client.get(&format!("{path}&role=user")).await.expect(200);
        assert_eq!(users["count"], 9);

        // Nobody answers what was said elsewhere; what is said now is answered.
        let unanswered = format!("/conversations/{TALK}/messages/02000000-0000-7000-8000-000000000015/reply");
        client.get(&unanswered).await.expect(404);
        let failed = format!("/conversations/{TALK}/messages/02000000-0000-7000-8000-000000000007/reply");
        let failed = client.get(&failed).await.expect(200);
        assert_eq!(
            (&failed["status"], &failed["error"]["code"]),
            (&json!("failed"), &json!("overloaded"))
        );
        let message = client.message(TALK, "user", "hello").await;
        let reply = client.finished_reply(TALK, &message).await;
        assert_eq!(reply["status"], "succeeded");
        let count = client.get(&path).await.expect(200);
        assert_eq!(count["count"], 15);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_to_an_imported_conversation_can_be_watched() {
    let home = home();
    for (server, _database) in servers(&home).await {
        let path = format!("/api/v1/conversations/{TALK}/events?after=0");
        let mut stream = EventStream::open(server.address(), &path, &[]).await;
        let expected = [
            // Cut at its length.
            "message.created",
            "reply.queued",
            "reply.started",
            "reply.delta",
            "message.created",
            "reply.succeeded",
            // Called off, with what there was; and without.
            "message.created",
            "reply.queued",
            "reply.started",
            "reply.delta",
            "message.created",
            "reply.cancelled",
            "message.created",
            "reply.queued",
            "reply.cancelled",
            // Failed without an answer, and with that of an earlier try.
            "message.created",
            "reply.queued",
            "reply.failed",
            "message.created",
            "reply.queued",
            "reply.started",
            "reply.delta",
            "message.created",
            "reply.succeeded",
            "reply.failed",
            // Its answer was deleted.
            "message.created",
            "reply.queued",
            "reply.succeeded",
            "message.created",
            "reply.queued",
            "reply.started",
            "reply.delta",
            "message.created",
            "reply.succeeded",
        ];
        let came = stream.take(expected.len()).await;
        assert_eq!(names(&came), expected);
        let numbers: Vec<_> = came.iter().map(|frame| frame.id).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        assert_eq!(came[5].data["finish_reason"], "length");
        // And it goes on behind that.
        let message = server.client().message(TALK, "user", "hello").await;
        let more = stream.until("reply.succeeded").await;
        assert!(more.first().and_then(|frame| frame.id) > numbers.last().copied().flatten());
        assert!(
            more.iter().any(|frame| frame.bytes.contains(&message)),
            "{more:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_running_server_conversations_go_out_and_come_in() {
    let home = home();
    let source = source(&home).await;
    let export = exported(&home, &source).await;
    write(&home, "all.jsonl", &export);
    let mut targets = vec![Place::file(&home, "other.db")];
    targets.extend(Place::server().await);
    for target in targets {
        let server = Server::builder_over(&home).on(&target.url()).start().await;
        let client = server.client();
        let own = client.conversation("made meanwhile").await;
        imported(&home, &["jsonl", "all.jsonl"], &target).await;
        client.get(&format!("/conversations/{TALK}")).await.expect(200);
        let export = exported(&home, &target).await;
        assert!(export.contains(&own) && export.contains(TALK));
    }
}

#[tokio::test]
async fn a_dry_run_stores_nothing_and_an_owner_is_given() {
    let home = home();
    let source = source(&home).await;
    write(&home, "all.jsonl", &exported(&home, &source).await);
    let target = Place::file(&home, "other.db");
    let dry = imported(&home, &["jsonl", "all.jsonl", "--dry-run"], &target).await;
    assert!(
        dry.starts_with("would import 4 conversations, 4520 messages"),
        "{dry}"
    );
    for left in ["other.db", "other.db.lock"] {
        assert!(!home.path().join(left).exists(), "{left}");
    }

    let owner = "0".repeat(11) + "7";
    imported(&home, &["jsonl", "all.jsonl", "--owner", &owner], &target).await;
    let export = exported(&home, &target).await;
    let having_it = export
        .lines()
        .filter(|line| line.contains(&format!("\"owner\":\"{owner}\"")));
    // Each but the later parts of the long one.
    assert_eq!(having_it.count(), 4);

    let before = std::fs::read(home.path().join("other.db")).expect("the database");
    let dry = imported(&home, &["jsonl", "all.jsonl", "--dry-run"], &target).await;
    assert!(dry.contains("there already: 4"), "{dry}");
    let after = std::fs::read(home.path().join("other.db")).expect("the database");
    assert!(before == after, "looking changes nothing");
}

#[tokio::test]
async fn a_source_that_gives_nothing_is_not_said_to_have_given_something() {
    let home = home();
    std::fs::create_dir(home.path().join("directory")).expect("a directory");
    write(&home, "text", "no list at all");
    for (format, file, says) in [
        ("jsonl", "missing", "No such file"),
        ("jsonl", "directory", "is a directory"),
        ("chatgpt", "missing", "No such file"),
        ("chatgpt", "directory", "is a directory"),
        ("chatgpt", "text", "it is no export of ChatGPT"),
    ] {
        let refused = super::run(&home, &["import", format, file]).await;
        crate::copy::assert_refused(&refused, 1, &[says, "nothing was stored"]);
        assert!(!refused.stderr.contains("in front of that"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_file_is_whole_when_it_has_its_name_and_stdin_is_read() {
    let home = home();
    let source = source(&home).await;
    ran(&home, &["export", "out.jsonl", "--database-url", &source.url()]).await;
    let written = std::fs::read_to_string(home.path().join("out.jsonl")).expect("a file");
    assert_eq!(written, exported(&home, &source).await);
    let refused = super::run(&home, &["export", "out.jsonl", "--database-url", &source.url()]).await;
    crate::copy::assert_refused(
        &refused,
        crate::copy::UNAVAILABLE,
        &["exists already", "--replace"],
    );
    ran(
        &home,
        &[
            "export",
            "out.jsonl",
            "--replace",
            "--database-url",
            &source.url(),
        ],
    )
    .await;
    assert!(!home.path().join("out.jsonl.part").exists());

    let stdin = std::fs::File::open(home.path().join("out.jsonl")).expect("a file");
    let target = Place::file(&home, "other.db");
    let arguments = ["import", "jsonl", "-", "--database-url", &target.url()];
    let run = engagement(&home, &arguments).stdin(stdin).run().await;
    assert!(
        told(&run).starts_with("imported 4 conversations, 4520 messages"),
        "{run:?}"
    );
}
