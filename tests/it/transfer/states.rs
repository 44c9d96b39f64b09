//! A database with conversations in every state.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use crate::copy::Place;
use crate::support::Server;

/// Conversations in every state that there is, in a file with a server of its own that wrote some of it.
pub(super) async fn source(home: &Arc<TempDir>) -> Place {
    let server = Server::builder_over(home).start().await;
    let client = server.client();
    let conversation = client.conversation("über alles ✓").await;
    for text in ["hello GRÜSSE", "thanks", "a question?"] {
        let message = client.message(&conversation, "user", text).await;
        client.finished_reply(&conversation, &message).await;
    }
    client
        .message(&conversation, "assistant", "said by a client")
        .await;
    let patch =
        json!({ "title": "A \"title\"\n", "instructions": "Be brief.", "top_p": 0.5, "busy": "reject" });
    client
        .request(
            reqwest::Method::PATCH,
            &format!("/api/v1/conversations/{conversation}"),
        )
        .json(&patch)
        .send()
        .await
        .expect("an answer");
    client.conversation("nothing was said").await;
    drop(server);
    let place = Place::file(home, "engagement.db");
    place.execute(&states()).await;
    place
}

/// A conversation with replies that the built-in rules do not give.
fn states() -> String {
    const TALK: &str = "X'01000000000040008000000000000001'";
    let id = |number: usize| format!("X'0200000000007000800000000000{number:04x}'");
    let mut sql = "BEGIN;".to_owned();
    let mut say = |line: String| writeln!(sql, "{line};").expect("a string takes it");
    say(format!(
        "INSERT INTO conversations (id, description, created_at, updated_at, last_seq, user_count, assistant_count, owner_id,
                                    last_event)
         VALUES ({TALK}, 'every state', 1000, 9000, 99, 7, 4, X'0000000000000000000000000000beef', 5000000000)"
    ));
    let replies = [
        ("'succeeded'", Some("'length'"), "NULL, NULL", 1),
        ("'cancelled'", None, "NULL, NULL", 1),
        ("'cancelled'", None, "NULL, NULL", 0),
        ("'failed'", None, "'overloaded', 'Too „much“.'", 0),
        ("'failed'", None, "'overloaded', 'Too much.'", 1),
        ("'succeeded'", None, "NULL, NULL", 0),
        ("'succeeded'", None, "NULL, NULL", 1),
    ];
    for (at, (status, finish, error, answers)) in replies.into_iter().enumerate() {
        let (question, answer) = (id(2 * at + 1), id(2 * at + 2));
        // Places with gaps: some were deleted.
        let (seq, answered) = (10 * at + 1, 10 * at + 4);
        let date = 1000 + 100 * at;
        say(format!(
            "INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text)
             VALUES ({question}, {TALK}, {seq}, 'user', {date}, {date}, 'question {at}')"
        ));
        let event = if finish.is_some() { answered << 24 } else { 0 };
        say(format!(
            "INSERT INTO replies (message_id, conversation_id, status, run_after, attempts, error_code, error_message,
                                  created_at, started_at, finished_at, options, account, tries, final_event)
             VALUES ({question}, {TALK}, {status}, 1, {at}, {error}, {date}, {date} + 5, {date} + 10, '{{\"top_p\":0.5}}',
                     '{{\"provider\":\"far\",\"model\":\"m\",\"usage\":{{\"input_tokens\":1,\"output_tokens\":2,\"cached_tokens\":0}}}}',
                     {tries}, {event})",
            tries = if at == 6 { 2 } else { 0 }
        ));
        if answers == 1 {
            say(format!(
                "INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text, reply_to)
                 VALUES ({answer}, {TALK}, {answered}, 'assistant', {date} + 10, {date} + 20, 'answer {at}', {question})"
            ));
        }
        if let Some(finish) = finish {
            say(format!(
                "INSERT INTO events (conversation_id, number, kind, at, reply_id, message_id, finish, truncated)
                 VALUES ({TALK}, {event}, 'succeeded', {date}, {question}, {answer}, {finish}, 1)"
            ));
        }
    }
    // Earlier tries of the last one; and one that is not final, and one that is written anew.
    let last = id(13);
    say(format!(
        "INSERT INTO reply_attempts VALUES ({last}, 1, 'succeeded', {}, 'an earlier answer', NULL, NULL, NULL, 5, 6),
                                           ({last}, 2, 'failed', NULL, NULL, 'broke', 'It broke.', NULL, NULL, 7)",
        id(99)
    ));
    for (number, tries) in [(21, 0), (22, 1)] {
        say(format!(
            "INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text)
             VALUES ({}, {TALK}, {number}00, 'user', 2000, 2000, 'not answered yet')",
            id(number)
        ));
        say(format!(
            "INSERT INTO replies (message_id, conversation_id, status, run_after, created_at, tries)
             VALUES ({}, {TALK}, 'queued', 9000000000000000, 2000, {tries})",
            id(number)
        ));
    }
    say(format!(
        "INSERT INTO reply_attempts VALUES ({}, 1, 'cancelled', NULL, NULL, NULL, NULL, NULL, NULL, 2100)",
        id(22)
    ));
    // A long one, in parts.
    say(
        "INSERT INTO conversations (id, description, created_at, updated_at, last_seq, user_count, assistant_count)
         VALUES (X'01000000000040008000000000000002', 'a lot was said', 1, 4500, 4500, 0, 4500)"
            .to_owned(),
    );
    say(
        "INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text)
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 4500)
         SELECT unhex(printf('04%030x', n * 7919 % 1000003)), X'01000000000040008000000000000002', n, 'assistant', n, n,
                'number ' || n FROM n"
            .to_owned(),
    );
    sql.push_str("COMMIT");
    sql
}
