//! S: the fields, their order and their formats.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Database, Rows, assert_error, not_found};
use crate::support::{Answer, texts};

fn text<'value>(value: &'value Value, field: &str) -> &'value str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} is no string in {value}"))
}

/// `2026-01-19T12:00:00.000000Z` and nothing else.
fn is_date(date: &str) -> bool {
    let pattern = "dddd-dd-ddTdd:dd:dd.ddddddZ";
    date.len() == pattern.len()
        && date
            .chars()
            .zip(pattern.chars())
            .all(|(c, p)| if p == 'd' { c.is_ascii_digit() } else { c == p })
}

/// S1, S5, S6: five fields, in order, dates equal
pub(super) async fn a_conversation_has_its_five_fields_in_order(on: Database) {
    let service = on.service().await;
    for title in [json!(null), json!("First")] {
        let body = json!({ "title": title, "description": "First steps" });
        let answer = service.post_json("/conversations/", &body).await;
        let made = answer.expect(201);
        let (id, date) = (text(&made, "conversation_id"), text(&made, "date_created"));

        let expected = format!(
            r#"{{"conversation_id":"{id}","title":{title},"description":"First steps","date_created":"{date}","date_updated":"{date}"}}"#
        );
        assert_eq!(answer.text(), expected);
        assert!(is_date(date), "{date}");
    }
}

/// S2, S5, S6: six fields, in order, dates equal
pub(super) async fn a_message_has_its_six_fields_in_order(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("shapes").await;
    for role in ["user", "assistant"] {
        let body = json!({ "role": role, "text": "Hello!" });
        let answer = service
            .post_json(&format!("/conversations/{conversation}/messages/create"), &body)
            .await;
        let made = answer.expect(201);
        let (id, date) = (text(&made, "message_id"), text(&made, "date_created"));

        let expected = format!(
            r#"{{"message_id":"{id}","conversation":"{conversation}","role":"{role}","text":"Hello!","date_created":"{date}","date_updated":"{date}"}}"#
        );
        assert_eq!(answer.text(), expected);
        assert!(is_date(date), "{date}");
    }
}

/// S3, S5: eight fields, in order
pub(super) async fn a_reply_has_its_fields_in_order(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("shapes").await;
    let message = service.message(&conversation, "user", "hello").await;

    let path = format!("/conversations/{conversation}/messages/{message}/reply");
    let reply = service.finished_reply(&conversation, &message).await;

    let (answer, created) = (text(&reply, "assistant_message_id"), text(&reply, "date_created"));
    let (started, finished) = (text(&reply, "date_started"), text(&reply, "date_finished"));
    let expected = format!(
        r#"{{"message_id":"{message}","status":"succeeded","attempts":1,"assistant_message_id":"{answer}","error":null,"date_created":"{created}","date_started":"{started}","date_finished":"{finished}"}}"#
    );
    assert_eq!(service.get(&path).await.text(), expected);
    assert!(
        [created, started, finished].into_iter().all(is_date),
        "{expected}"
    );
    assert!(created <= started && started <= finished, "{expected}");
}

/// S4: an assistant message has no reply
pub(super) async fn an_assistant_message_has_no_reply(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("shapes").await;
    let posted = service.message(&conversation, "assistant", "hello").await;
    let asked = service.message(&conversation, "user", "hello").await;
    let reply = service.finished_reply(&conversation, &asked).await;

    for message in [posted.as_str(), text(&reply, "assistant_message_id")] {
        let path = format!("/conversations/{conversation}/messages/{message}");
        service.get(&path).await.expect(200);
        assert_error(&service.get(&format!("{path}/reply")).await, 404, &not_found());
    }
}

/// S6: a message that comes or goes moves the conversation's date
pub(super) async fn adding_and_deleting_a_message_moves_the_date_of_the_conversation(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("dates").await;
    let path = format!("/conversations/{conversation}");
    let fresh = service.get(&path).await.expect(200);

    let message = service.message(&conversation, "assistant", "x").await;
    let added = service.get(&path).await.expect(200);
    service.delete(&format!("{path}/messages/{message}")).await;
    let deleted = service.get(&path).await.expect(200);

    let updated = [&fresh, &added, &deleted].map(|state| text(state, "date_updated"));
    assert!(updated[0] < updated[1] && updated[1] < updated[2], "{updated:?}");
    for state in [&added, &deleted] {
        assert_eq!(state["date_created"], fresh["date_created"]);
    }
}

/// S7: ids that tell nothing, and ids that tell an order
pub(super) async fn ids_are_lower_case_uuids_of_their_versions(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("ids").await;
    let message = service.message(&conversation, "user", "hello").await;
    let reply = service.finished_reply(&conversation, &message).await;

    let mut rows = Rows::default();
    for (id, version) in [
        (conversation.as_str(), 4),
        (message.as_str(), 7),
        (text(&reply, "assistant_message_id"), 7),
    ] {
        let uuid = Uuid::parse_str(id).expect("a UUID");
        rows.equal(id, uuid.get_version_num(), version);
        rows.equal(id, uuid.hyphenated().to_string(), id);
    }
}

/// S8: the database's order, and dates that never run backwards along it
pub(super) async fn messages_are_in_the_order_in_which_they_were_stored(on: Database) {
    let service = on.service().await;
    let sent: Vec<String> = (1..=50).map(|number| format!("number {number}")).collect();
    let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
    let conversation = service.conversation_of(&sent).await;

    let page = service
        .get(&format!("/conversations/{conversation}/messages?page_size=100"))
        .await
        .expect(200);

    assert_eq!(texts(&page), sent);
    let messages = page["results"].as_array().expect("a page");
    assert!(
        messages.is_sorted_by_key(|message| text(message, "date_created")),
        "{page}"
    );
}

/// S9: what was answered at creation is what is read later
pub(super) async fn reading_gives_the_bytes_that_creating_gave(on: Database) {
    let service = on.service().await;
    let body = json!({ "title": "Straße 🎉", "description": "a\"b\\c\u{7f}\u{2028}" });
    let made = service.post_json("/conversations/", &body).await;
    let read = service.get(made.header("location")).await;
    assert_eq!([made.text(), read.text()], [made.text(), made.text()]);

    let path = format!("{}/messages/create", made.header("location"));
    let body = json!({ "role": "assistant", "text": "tab\tand é" });
    let made = service.post_json(&path, &body).await;
    let read: Answer = service.get(made.header("location")).await;
    assert_eq!(read.text(), made.text());
}

/// S2, S10: four fields, in order, around messages as they are
pub(super) async fn a_page_has_its_four_fields_in_order(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("page").await;
    let path = format!("/conversations/{conversation}/messages");
    let empty = service.get(&path).await;
    assert_eq!(
        empty.text(),
        r#"{"count":0,"next":null,"previous":null,"results":[]}"#
    );

    let body = json!({ "role": "assistant", "text": "one" });
    let message = service.post_json(&format!("{path}/create"), &body).await.text();

    let page = service.get(&path).await;
    assert_eq!(
        page.text(),
        format!(r#"{{"count":1,"next":null,"previous":null,"results":[{message}]}}"#)
    );
}
