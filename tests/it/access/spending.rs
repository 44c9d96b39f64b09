//! Tokens per day, from the provider's own account of a reply to the refusal of the next message, on every database.

use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    Builder, Client, DEFAULT_KEY, EventStream, SOON, Server, eventually,
    postgres::{self, TestDatabase},
    upstream::Upstream,
};

/// Where a service of this test keeps what it remembers.
enum Place {
    File(Arc<TempDir>),
    Server(Arc<TempDir>, TestDatabase),
}

impl Place {
    /// One for each database that there is here.
    async fn all() -> Vec<Self> {
        let home = || Arc::new(tempfile::tempdir().expect("a directory"));
        let mut places = vec![Self::File(home())];
        if let Some(cluster) = postgres::shared().await {
            places.push(Self::Server(home(), cluster.database().await));
        }
        places
    }

    /// A service here, whose keys have this many tokens in a day.
    fn builder(&self, tokens: &str) -> Builder {
        let builder = match self {
            Self::File(home) => Server::builder_over(home),
            Self::Server(home, database) => Server::builder_over(home).on(database.url()),
        };
        builder.env("KEY_TOKENS_PER_DAY", tokens).env("API_KEY", KEY)
    }

    /// What is remembered to have been spent.
    async fn spent(&self) -> i64 {
        const SUM: &str = "SELECT coalesce(sum(tokens), 0) FROM key_usage";
        match self {
            Self::File(home) => {
                let db = rusqlite::Connection::open(home.path().join("engagement.db")).expect("a database");
                db.query_row(SUM, (), |row| row.get(0)).expect("a sum")
            }
            Self::Server(_, database) => {
                let client = database.client().await;
                let sum = format!("SELECT ({SUM})::bigint");
                client.query_one(&sum, &[]).await.expect("a sum").get(0)
            }
        }
    }
}

const KEY: &str = "a-key-that-has-so-many-tokens-in-a-day";

fn with(provider: &Upstream, builder: Builder) -> Builder {
    let url = provider.openai_url();
    let table = format!("[providers.upstream]\nbase_url = '{url}'\nmodels = ['m']\n");
    builder.file("engagement.toml", &table)
}

fn client_of(server: &Server) -> Client {
    assert_ne!(KEY, DEFAULT_KEY);
    server.client().with_key(KEY)
}

/// The status of one more message.
async fn one_more(client: &Client, conversation: &str) -> u16 {
    let path = format!("/conversations/{conversation}/messages/create");
    let message = json!({ "role": "user", "text": "more" });
    client.post_json(&path, &message).await.status
}

#[tokio::test]
async fn what_a_reply_has_cost_counts_against_its_key() {
    for place in Place::all().await {
        let provider = Upstream::start().await;
        let server = with(&provider, place.builder("20")).start().await;
        let client = client_of(&server);
        let conversation = client.conversation("spent").await;

        let message = client.message(&conversation, "user", "stream:30 please").await;
        client.finished_reply(&conversation, &message).await;

        eventually("the next message is refused", 3 * SOON, async || {
            (one_more(&client, &conversation).await == 429).then_some(())
        })
        .await;
        eventually("it is remembered", 3 * SOON, async || {
            (place.spent().await > 30).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_reply_that_is_cancelled_while_it_is_written_has_cost_what_was_heard_of_it() {
    for place in Place::all().await {
        let provider = Upstream::start().await;
        let server = with(&provider, place.builder("5")).start().await;
        let client = client_of(&server);
        let conversation = client.conversation("spent").await;
        let message = client
            .message(&conversation, "user", "stream:1000@50 please")
            .await;
        let reply = format!("/conversations/{conversation}/messages/{message}/reply");
        let watched = format!("{reply}?stream=true");
        let mut events = EventStream::open(server.address(), &watched, &[]).await;
        events.until("reply.delta").await;

        let cancelled = client.post_json(&format!("{reply}/cancel"), &json!({})).await;

        assert_eq!(cancelled.expect(200)["status"], "cancelled");
        // Not asked by sending another message, as that would cost something, too.
        eventually("it is remembered", 3 * SOON, async || {
            (place.spent().await > 5).then_some(())
        })
        .await;
        eventually("the next message is refused", 3 * SOON, async || {
            (one_more(&client, &conversation).await == 429).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_without_a_word_costs_what_the_provider_says() {
    for place in Place::all().await {
        let provider = Upstream::start().await;
        let server = with(&provider, place.builder("1000000")).start().await;
        let client = client_of(&server);
        let conversation = client.conversation("spent").await;
        let message = client
            .message(&conversation, "user", "fault:empty_completion please")
            .await;
        let reply = client.finished_reply(&conversation, &message).await;
        assert_eq!(reply["error"]["code"], "empty_reply");

        eventually("it is remembered", 3 * SOON, async || {
            (place.spent().await > 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn control_a_key_that_has_more_tokens_goes_on() {
    for place in Place::all().await {
        let provider = Upstream::start().await;
        let server = with(&provider, place.builder("1000000")).start().await;
        let client = client_of(&server);
        let conversation = client.conversation("spent").await;
        let message = client.message(&conversation, "user", "stream:30 please").await;
        client.finished_reply(&conversation, &message).await;

        eventually("it is remembered", 3 * SOON, async || {
            (place.spent().await > 30).then_some(())
        })
        .await;
        assert_eq!(one_more(&client, &conversation).await, 201);
    }
}

#[tokio::test]
async fn what_a_reply_costs_that_ends_while_the_service_stops_counts_after_the_next_start() {
    for place in Place::all().await {
        let provider = Upstream::start().await;
        let mut server = with(&provider, place.builder("20")).start().await;
        let client = client_of(&server);
        let conversation = client.conversation("spent").await;
        client.message(&conversation, "user", "stream:40@40 please").await;
        eventually("the provider writes", SOON, async || {
            (provider.open() == 1).then_some(())
        })
        .await;
        assert_eq!(place.spent().await, 0);

        server.terminate();
        assert_eq!(server.wait_exit(3 * SOON).await.code(), Some(0));
        assert!(place.spent().await > 40, "what it read and what it wrote");

        // Rules cost nothing, so what is refused now is refused for what was spent before.
        let server = place.builder("20").file("engagement.toml", "").start().await;
        let client = client_of(&server);
        eventually("a message is refused", 3 * SOON, async || {
            (one_more(&client, &conversation).await == 429).then_some(())
        })
        .await;
    }
}
