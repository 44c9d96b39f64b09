//! What is wrong with a line is said by its number and the field's name, and nothing of it is stored.

use serde_json::{Value, json};

use super::{exported, imported, run, told, write};
use crate::copy::{Place, home};

const ONE: &str = "550e8400-e29b-41d4-a716-446655440001";
const OTHER: &str = "550e8400-e29b-41d4-a716-446655440002";

/// A conversation of a question and its answer.
fn line(id: &str) -> Value {
    let message = |number: u8| format!("{}{number:02}{}", &id[..32], &id[34..]);
    let date = "2026-01-02T03:04:05.000000Z";
    json!({
        "format": "engagement.conversation/1",
        "conversation_id": id,
        "description": "d",
        "date_created": date,
        "date_updated": date,
        "messages": [
            {
                "message_id": message(11), "role": "user", "text": "a question", "date_created": date,
                "reply": {
                    "status": "succeeded", "assistant_message_id": message(12), "attempts": 1, "date_created": date,
                    "date_finished": date,
                },
            },
            { "message_id": message(12), "role": "assistant", "text": "an answer", "date_created": date },
        ],
    })
}

/// The line with a value put at this path.
fn with(path: &str, value: Value) -> Value {
    let mut line = line(ONE);
    let (parent, field) = path.rsplit_once('/').expect("a path");
    line.pointer_mut(parent).expect("a parent")[field] = value;
    line
}

fn without(path: &str) -> Value {
    let mut line = line(ONE);
    let (parent, field) = path.rsplit_once('/').expect("a path");
    line.pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .expect("a parent")
        .remove(field);
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "a row for each thing that can be wrong")]
async fn what_is_wrong_is_named_and_everything_else_is_stored() {
    let too_long = json!("x".repeat(100_001));
    let cases = [
        ("{".to_owned(), "EOF"),
        ("[]".to_owned(), "invalid length 0"),
        (
            with("/format", json!("engagement.conversation/2")).to_string(),
            "format: is not engagement.conversation/1",
        ),
        (without("/format").to_string(), "missing field `format`"),
        (
            with("/conversation_id", json!("1")).to_string(),
            "conversation_id: is no UUID",
        ),
        (
            with("/titel", json!("t")).to_string(),
            "titel: unknown field `titel`",
        ),
        (without("/description").to_string(), "description: is missing"),
        (
            with("/description", json!(" ")).to_string(),
            "description: is blank",
        ),
        (
            with("/date_created", json!("yesterday")).to_string(),
            "date_created: is no date of RFC 3339",
        ),
        (
            with("/settings", json!({ "top_p": 2 })).to_string(),
            "settings.top_p: is out of range",
        ),
        (
            with("/owner", json!("me")).to_string(),
            "owner: is no id of a key",
        ),
        (without("/messages").to_string(), "missing field `messages`"),
        (
            with("/messages/1/role", json!("system")).to_string(),
            "messages[1].role: is neither user nor assistant",
        ),
        (
            with("/messages/0/text", json!("")).to_string(),
            "messages[0].text: is blank",
        ),
        (
            with("/messages/0/text", too_long).to_string(),
            "messages[0].text: has more than 100000 characters",
        ),
        (
            with("/messages/0/text", json!("a\0b")).to_string(),
            "messages[0].text: holds U+0000",
        ),
        (
            with("/messages/0/text", json!(7)).to_string(),
            "messages[0].text: invalid type: integer `7`",
        ),
        (
            without("/messages/1/date_created").to_string(),
            "messages[1]: missing field `date_created`",
        ),
        (
            with("/messages/1/date_created", json!("2026-01-02T03:04:04Z")).to_string(),
            "messages[1].date_created: lies before that of the message in front of it",
        ),
        (
            with("/messages/0/reply/status", json!("queued")).to_string(),
            "messages[0].reply.status: unknown variant `queued`",
        ),
        (
            with("/messages/0/reply/status", json!("failed")).to_string(),
            "messages[0].reply.error: is missing",
        ),
        (
            with("/messages/0/reply/assistant_message_id", json!(OTHER)).to_string(),
            "messages[0].reply.assistant_message_id: there is no such message behind it",
        ),
        (
            with("/messages/1/role", json!("user")).to_string(),
            "messages[1].role: an earlier message says that this is its answer",
        ),
        (
            with("/part", json!(2)).to_string(),
            "part: the part in front of it is missing",
        ),
        (
            with(
                "/messages/1/message_id",
                line(ONE)["messages"][0]["message_id"].clone(),
            )
            .to_string(),
            "messages[0].reply.assistant_message_id: there is no such message behind it",
        ),
    ];
    let home = home();
    // Each is line 2 of 3, and the two around it are right.
    for (at, (wrong, says)) in cases.iter().enumerate() {
        let name = format!("case-{at}.db");
        let target = Place::file(&home, &name);
        let content = format!(
            "{}\n{wrong}\n\n{}\n",
            line(OTHER),
            line("550e8400-e29b-41d4-a716-446655440103")
        );
        write(&home, "lines.jsonl", &content);
        let refused = run(
            &home,
            &["import", "jsonl", "lines.jsonl", "--database-url", &target.url()],
        )
        .await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let says = format!("refused: line 2: {says}");
        assert!(refused.stderr.contains(&says), "no {says:?} in {refused:?}");
        assert!(
            told(&refused).contains("imported 2 conversations, 4 messages; there already: 0; refused: 1"),
            "{refused:?}"
        );
        let export = exported(&home, &target).await;
        assert_eq!(
            (export.lines().count(), export.contains(ONE)),
            (2, false),
            "{says}"
        );
        assert_eq!(target.messages().await, 4);
        if at >= 2 {
            continue;
        }
        // Nothing of it stands in the way of the line as it should be.
        write(&home, "lines.jsonl", &line(ONE).to_string());
        imported(&home, &["jsonl", "lines.jsonl"], &target).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_conversation_under_the_same_id_is_an_error_that_names_it() {
    let home = home();
    let mut targets = vec![Place::file(&home, "one.db")];
    targets.extend(Place::server().await);
    for target in targets {
        write(&home, "lines.jsonl", &line(ONE).to_string());
        imported(&home, &["jsonl", "lines.jsonl"], &target).await;
        let before = exported(&home, &target).await;

        let longer = {
            let mut longer = line(ONE);
            let mut more = longer["messages"][1].clone();
            more["message_id"] = json!(OTHER);
            longer["messages"].as_array_mut().expect("messages").push(more);
            longer
        };
        // The same message in another conversation.
        let stolen = {
            let mut stolen = line(OTHER);
            stolen["messages"] = json!([line(ONE)["messages"][1]]);
            stolen
        };
        for (wrong, says) in [
            (
                with("/messages/1/text", json!("another answer")),
                format!("messages[1]: under the id {ONE} is something else"),
            ),
            (
                longer,
                format!("messages[2]: what is under the id {ONE} ends before it"),
            ),
            (
                stolen,
                format!("conversation {OTHER}: an identifier of one of its messages is taken"),
            ),
        ] {
            write(&home, "lines.jsonl", &format!("{wrong}\n"));
            let refused = run(
                &home,
                &["import", "jsonl", "lines.jsonl", "--database-url", &target.url()],
            )
            .await;
            assert_eq!(refused.code, Some(1), "{refused:?}");
            assert!(refused.stderr.contains(&format!("line 1: {says}")), "{refused:?}");
            assert_eq!(exported(&home, &target).await, before);
        }
        // One that was changed since it came is the same one still.
        target
            .execute("UPDATE conversations SET title = 'called otherwise'")
            .await;
        write(&home, "lines.jsonl", &format!("{}\n{}\n", line(ONE), line(ONE)));
        let again = imported(&home, &["jsonl", "lines.jsonl"], &target).await;
        assert!(
            again.contains("imported 0 conversations, 0 messages; there already: 2"),
            "{again}"
        );
    }
}

#[tokio::test]
async fn a_file_with_the_same_conversation_twice_has_it_once() {
    let home = home();
    let target = Place::file(&home, "one.db");
    write(&home, "lines.jsonl", &format!("{}\n{}\n", line(ONE), line(ONE)));
    let told = imported(&home, &["jsonl", "lines.jsonl"], &target).await;
    assert!(
        told.contains("imported 1 conversations, 2 messages; there already: 1"),
        "{told}"
    );
}
