//! Clients that write as fast as they are answered, over connections that they keep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use super::Dice;
use super::ledger::Ledger;
use crate::support::{Answer, Client, SOON};

/// How many write at once.
pub(super) const WRITERS: usize = 8;

/// Several conversations to write into.
pub(super) async fn conversations(client: &Client) -> Vec<String> {
    let mut conversations = Vec::new();
    for _ in 0..WRITERS {
        conversations.push(client.conversation("under load").await);
    }
    conversations
}

/// Writers at work.
pub(super) struct Load {
    enough: Arc<AtomicBool>,
    writers: JoinSet<()>,
}

impl Load {
    /// Starts the writers. Each ends when told to, or when the server is gone.
    pub(super) fn start(client: &Client, ledger: &Ledger, conversations: &[String], dice: &mut Dice) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (client, ledger, conversations) = (client.clone(), ledger.clone(), conversations.to_vec());
            let (enough, mut dice) = (Arc::clone(&enough), Dice::of(dice.next()));
            writers.spawn(async move {
                while !enough.load(Ordering::Relaxed) {
                    let conversation = &conversations[dice.below(conversations.len())];
                    let text = text(dice.next(), "");
                    if post(&client, &ledger, writer, conversation, &text)
                        .await
                        .is_none()
                    {
                        return;
                    }
                }
            });
        }
        Self { enough, writers }
    }

    /// Waits for the writers to end by themselves.
    pub(super) async fn ended(mut self) {
        while let Some(ended) = self.writers.join_next().await {
            ended.expect("a writer that ends");
        }
    }

    /// Lets the writers read their last answers.
    pub(super) async fn finish(self) {
        self.enough.store(true, Ordering::Relaxed);
        self.ended().await;
    }
}

/// Nobody sends the same text twice; which answer it gets is known.
pub(super) fn text(token: u64, padding: &str) -> String {
    match token % 3 {
        0 => format!("hello {token:016x}{padding}"),
        1 => format!("{token:016x}{padding}?"),
        _ => format!("{token:016x}{padding}"),
    }
}

/// Posts one user message and notes what came of it. `None` when the server is gone.
pub(super) async fn post(
    client: &Client,
    ledger: &Ledger,
    writer: usize,
    conversation: &str,
    text: &str,
) -> Option<Answer> {
    let path = format!("/conversations/{conversation}/messages/create");
    let request = client
        .request(Method::POST, &path)
        .json(&json!({ "text": text, "role": "user" }));
    let note = ledger.sent(writer, conversation, text);
    let answer = Answer::try_of(request.timeout(6 * SOON)).await.ok()?;
    ledger.answered(note, &answer);
    Some(answer)
}
