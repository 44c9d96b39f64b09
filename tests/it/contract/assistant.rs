//! A: what the assistant answers, and when.

use std::collections::BTreeSet;

use super::{Database, Rows};

const GREETING: &str = "Hello! How can I assist you today?";
const HELP: &str = "I'm here to help! What do you need assistance with?";
const QUESTION: &str = "That's an interesting question. Let me think about that...";
const THANKS: &str = "You're welcome! Is there anything else I can help with?";
const OTHERWISE: &str = "I understand. Can you tell me more about that?";

/// A2, A3, A4: the table of rules, row by row
pub(super) async fn the_first_rule_that_matches_answers(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("rules").await;
    let mut rows = Rows::default();
    for (text, answer) in [
        ("hello", GREETING),
        ("Hi", GREETING),
        ("HEY!", GREETING),
        ("well, hello there", GREETING),
        ("hello,world", GREETING),
        ("«hello»", GREETING),
        ("hi\nthere", GREETING),
        ("Hey👋", GREETING),
        ("Hello?", GREETING),
        ("hi, thanks for the help", GREETING),
        ("help", HELP),
        ("I need SUPPORT.", HELP),
        ("ſupport me", HELP),
        ("thanks, can you help?", HELP),
        ("What time is it?", QUESTION),
        ("?", QUESTION),
        ("thanks?", QUESTION),
        ("thank", THANKS),
        ("Thank you so much", THANKS),
        ("THANKS", THANKS),
        ("than\u{212a}s", THANKS),
        ("This is it", OTHERWISE),
        ("They said so", OTHERWISE),
        ("history", OTHERWISE),
        ("hello_world", GREETING),
        ("hello2", OTHERWISE),
        ("héllo", OTHERWISE),
        ("ｈｅｌｌｏ", OTHERWISE),
        ("helpful", OTHERWISE),
        ("supports", OTHERWISE),
        ("thankful", OTHERWISE),
        ("なぜ？", OTHERWISE),
        ("لماذا؟", OTHERWISE),
        ("ποιος;", OTHERWISE),
        ("¿", OTHERWISE),
        ("123", OTHERWISE),
    ] {
        let message = service.message(&conversation, "user", text).await;
        let reply = service.finished_reply(&conversation, &message).await;
        let id = reply["assistant_message_id"].as_str().unwrap_or("none");
        let said = service
            .get(&format!("/conversations/{conversation}/messages/{id}"))
            .await;
        rows.equal(text, said.json()["text"].as_str(), Some(answer));
    }
}

/// A1: one answer, after its message
pub(super) async fn every_user_message_gets_one_answer_placed_after_it(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("answers").await;
    let mut replies = Vec::new();
    for number in 0..20 {
        let message = service
            .message(&conversation, "user", &format!("number {number}"))
            .await;
        replies.push((message, String::new()));
    }
    for (message, answer) in &mut replies {
        let reply = service.finished_reply(&conversation, message).await;
        assert_eq!(reply["status"], "succeeded", "{reply}");
        answer.push_str(reply["assistant_message_id"].as_str().expect("an answer"));
    }

    let page = service
        .get(&format!("/conversations/{conversation}/messages?page_size=100"))
        .await
        .expect(200);
    let order: Vec<&str> = page["results"]
        .as_array()
        .expect("a page")
        .iter()
        .map(|message| message["message_id"].as_str().expect("an id"))
        .collect();
    assert_eq!(order.len(), 40, "{page}");
    let place = |id: &str| {
        order
            .iter()
            .position(|other| *other == id)
            .expect("a place in the list")
    };
    for (message, answer) in &replies {
        assert!(place(message) < place(answer), "{answer} comes before {message}");
    }
}

/// A5: the assistant does not answer itself
pub(super) async fn an_assistant_message_triggers_nothing(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("monologue").await;
    service.message(&conversation, "assistant", "hello").await;
    // When a later message has its answer, an earlier one would have had its own.
    let last = service.message(&conversation, "user", "so").await;
    service.finished_reply(&conversation, &last).await;

    assert_eq!(service.texts(&conversation).await, ["hello", "so", OTHERWISE]);
}

/// A6: each its own, however many come at once
pub(super) async fn messages_that_arrive_together_get_their_own_answers(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("together").await;
    let texts = [
        ("hello", GREETING),
        ("help", HELP),
        ("why?", QUESTION),
        ("thanks", THANKS),
        ("so", OTHERWISE),
    ];
    let clients: Vec<_> = texts
        .iter()
        .cycle()
        .take(25)
        .map(|&(text, answer)| {
            let (client, conversation) = (service.client.clone(), conversation.clone());
            let posted = tokio::spawn(async move { client.message(&conversation, "user", text).await });
            (posted, answer)
        })
        .collect();
    let mut answers = BTreeSet::new();
    for (posted, answer) in clients {
        let message = posted.await.expect("a message");
        let reply = service.finished_reply(&conversation, &message).await;
        assert_eq!(reply["message_id"], message);
        let id = reply["assistant_message_id"]
            .as_str()
            .expect("an answer")
            .to_owned();
        let said = service
            .get(&format!("/conversations/{conversation}/messages/{id}"))
            .await;
        let said = said.expect(200);
        assert_eq!([&said["role"], &said["text"]], ["assistant", answer]);
        answers.insert(id);
    }
    assert_eq!(answers.len(), 25);
    assert_eq!(service.texts(&conversation).await.len(), 50);
}
