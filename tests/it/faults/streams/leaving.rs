//! Whoever leaves takes nothing along: a reply that nobody waits for any more is written to its end.

use serde_json::json;

use super::judge::{Stored, told_to_a_latecomer};
use super::stage::{Stage, ask};
use crate::faults::{Proof, ensure, fails, holds};
use crate::support::sse::{Ended, Reader};
use crate::support::{Client, DEFAULT_KEY, Raw, SOON, eventually};

/// Takes about a second.
const LONG: &str = "stream:100@100";

/// For the control, which has to come before the end.
const LONGER: &str = "stream:1000@100";

const ROUNDS: usize = 10;

/// Posts a message, and is gone before it can be answered.
async fn post_and_leave(address: std::net::SocketAddr, conversation: &str, text: &str) {
    let body = json!({ "role": "user", "text": text, "model": "p/m" }).to_string();
    let mut raw = Raw::connect(address).await;
    raw.send(format!(
        "POST /conversations/{conversation}/messages/create HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {DEFAULT_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await
    .expect("a request");
}

/// The first message of a conversation, once it is there.
async fn first_message(client: &Client, conversation: &str) -> String {
    let path = format!("/conversations/{conversation}/messages");
    eventually("the message is there", SOON, async || {
        let page = client.get(&path).await.expect(200);
        Some(page["results"].get(0)?["message_id"].as_str()?.to_owned())
    })
    .await
}

/// In each conversation the one who asked leaves, and everybody who watches; then comes `meddle` with the message.
async fn prove(stage: &Stage, text: &str, meddle: impl AsyncFn(&Client, &str, &str)) -> Proof<usize> {
    let server = stage.start().await;
    let client = server.client();
    let mut asked = Vec::new();
    for round in 0..ROUNDS {
        let conversation = client.conversation("left alone").await;
        let message = if round % 2 == 0 {
            post_and_leave(server.address(), &conversation, text).await;
            first_message(&client, &conversation).await
        } else {
            ask(&client, &conversation, text, "p/m").await
        };
        for mut reader in [
            Reader::of_conversation(server.address(), &conversation),
            Reader::of_reply(server.address(), &conversation, &message),
        ] {
            // Having found what it wants, it closes its connection in mid-stream.
            let found = reader.read(|event| event.is("reply.delta", &message)).await;
            ensure(found == Ended::Found, || {
                format!("nothing was written: {found:?}")
            })?;
        }
        meddle(&client, &conversation, &message).await;
        asked.push((conversation, message));
    }
    for (conversation, message) in &asked {
        let reply = client.finished_reply(conversation, message).await;
        ensure(reply["status"] == "succeeded", || format!("given up: {reply}"))?;
        let stored = Stored::read(&client, conversation).await;
        let reader = Reader::of_conversation(server.address(), conversation);
        stored.agrees_with(&told_to_a_latecomer(&reader, message).await)?;
    }
    ensure(stage.upstream.dropped() == 0, || {
        format!("given up: {} calls were dropped", stage.upstream.dropped())
    })?;
    Ok(asked.len())
}

#[tokio::test]
async fn a_reply_that_nobody_waits_for_is_written_to_its_end() {
    let stage = Stage::new(None).await;
    holds(prove(&stage, LONG, async |_, _, _| {}).await, &stage.home);
}

#[tokio::test]
async fn control_a_reply_that_ends_with_its_readers_is_seen() {
    let cancel = async |client: &Client, conversation: &str, message: &str| {
        let path = format!("/conversations/{conversation}/messages/{message}/reply/cancel");
        client.post_json(&path, &json!({})).await.expect(200);
    };
    fails(prove(&Stage::new(None).await, LONGER, cancel).await, "given up");
}
