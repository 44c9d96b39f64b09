//! After the move, clients find what they left.

use serde_json::{Value, json};

use super::{Place, copied, home};
use crate::support::{Client, SOON, Server, query};

/// All that a client can see of a conversation, but for the host in its links.
async fn seen(client: &Client, conversation: &str) -> Vec<Value> {
    let mut seen = Vec::new();
    for path in [
        format!("/conversations/{conversation}"),
        format!("/conversations/{conversation}/messages?page_size=3&page=2"),
        format!("/conversations/{conversation}/messages?page=last"),
        format!("/conversations/{conversation}/messages?role=user"),
        format!(
            "/conversations/{conversation}/messages?{}",
            query(&[("q", "STRASSE")])
        ),
    ] {
        let text = String::from_utf8(client.get(&path).await.body).expect("text");
        let text = text.replace(client.base_url(), "");
        seen.push(serde_json::from_str(&text).expect("JSON"));
    }
    seen
}

async fn clients_find_what_they_left_and_go_on(target: Place) {
    let home = home();
    let source = Place::file(&home, "engagement.db");
    let mut server = Server::builder_over(&home).start().await;
    let client = server.client();
    let (moving, owing) = (
        client.conversation("moves house").await,
        client.conversation("is owed").await,
    );
    for text in ["Which Straße?", "How long?", "And then?"] {
        let message = client.message(&moving, "user", text).await;
        client.finished_reply(&moving, &message).await;
    }
    let owed = client.message(&owing, "user", "Are you still there?").await;
    client.finished_reply(&owing, &owed).await;
    let before = seen(&client, &moving).await;
    server.terminate();
    server.wait_exit(SOON).await;
    // As a kill in the middle of the last reply would have left it.
    source
        .execute(
            "UPDATE replies SET status = 'running', lease_until = 1, finished_at = NULL
             WHERE message_id = (SELECT reply_to FROM messages ORDER BY id DESC LIMIT 1);
             DELETE FROM messages WHERE id = (SELECT id FROM messages ORDER BY id DESC LIMIT 1);
             UPDATE conversations SET assistant_count = 0 WHERE last_seq = 2",
        )
        .await;

    copied(&home, &source, &target).await;
    let server = Server::builder_over(&super::home())
        .env("DATABASE_URL", &target.url())
        .start()
        .await;

    let client = server.client();
    assert_eq!(seen(&client, &moving).await, before);
    let reply = client.finished_reply(&owing, &owed).await;
    assert_eq!(
        (&reply["status"], &reply["attempts"]),
        (&json!("succeeded"), &json!(2)),
        "{reply}"
    );
    client.message(&moving, "assistant", "We go on here.").await;
    let texts = client.texts(&moving).await;
    assert_eq!(
        (texts.len(), texts[6].as_str()),
        (7, "We go on here."),
        "{texts:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_find_what_they_left_on_a_server() {
    if let Some(target) = Place::server().await {
        clients_find_what_they_left_and_go_on(target).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_find_what_they_left_in_a_file() {
    let home = home();
    clients_find_what_they_left_and_go_on(Place::file(&home, "target.db")).await;
}
