//! Keys, texts and ids stay out of the logs, out of traces, out of what errors and commands tell, and secrets out of the database: at the
//! most talkative level, whatever is done right and wrong.

mod keys;
mod planted;
mod requests;
mod upstream;

use serde_json::json;

use self::planted::{Home, KEY, Report, Told, judge};
use super::{Proof, fails, holds, new_home};
use crate::support::{Answer, Builder, Server};

/// Does everything there is to do, right and wrong, then looks for what was planted.
async fn prove(format: &str, ids: &str) -> Proof<Report> {
    let home = Home::new().await;
    let mut told = home.told();
    let from_outside = keys::made_on_the_command_line(&home, &mut told).await;
    let server = home
        .builder()
        .env("LOG_LEVEL", "trace")
        .env("LOG_FORMAT", format)
        .env("LOG_IDS", ids)
        .env("BODY_TIMEOUT_S", "1")
        .env("TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    let client = server.client().with_key(KEY);

    requests::everything(&server, &client, &mut told).await;
    requests::again_and_again(&client, &mut told).await;
    upstream::that_repeats_everything(&home, &client, &mut told).await;
    keys::shown_in_every_way(&client, &from_outside, &mut told).await;
    keys::looked_at(&home, &mut told).await;
    judge(server, told).await
}

#[tokio::test]
async fn neither_logs_nor_errors_tell_secrets_texts_or_ids() {
    for format in ["text", "json"] {
        holds(prove(format, "hashed").await, &new_home());
    }
}

#[tokio::test]
async fn control_ids_in_the_clear_are_seen() {
    for format in ["text", "json"] {
        fails(prove(format, "plain").await, "the log tells");
    }
}

/// A service with this one message, which is replied to.
async fn with_a_message(home: &Home, text: &str) -> (Server, String, String) {
    let server = home.builder().start().await;
    let client = server.client().with_key(KEY);
    let conversation = client.conversation("quiet").await;
    let message = client.message(&conversation, "user", text).await;
    client.finished_reply(&conversation, &message).await;
    (server, conversation, message)
}

#[tokio::test]
async fn control_an_error_that_repeats_the_key_is_seen() {
    let home = Home::new().await;
    let (server, _, _) = with_a_message(&home, "quiet").await;
    let client = server.client().with_key(KEY);
    let wrong = json!({ "description": 1, KEY: 1, "title": KEY.repeat(9) });
    let answer = client.post_json("/conversations/", &wrong).await;
    let mut told = Told::default();
    told.error(Answer {
        body: format!("{} {KEY}", answer.text()).into_bytes(),
        status: 400,
        ..answer
    });
    fails(judge(server, told).await, "an error tells");
}

/// The provider's key reaches the provider, and would be found where it does not belong.
#[tokio::test]
async fn control_an_answer_with_the_providers_key_is_seen() {
    let home = Home::new().await;
    let (server, conversation, _) = with_a_message(&home, "repeats:key please").await;
    let page = server
        .client()
        .get(&format!("/conversations/{conversation}/messages"))
        .await;
    let mut told = Told::default();
    told.error(Answer { status: 500, ..page });
    fails(judge(server, told).await, "an error tells canary-provider-key");
}

#[tokio::test]
async fn control_a_secret_in_the_database_is_seen() {
    let home = Home::new().await;
    let (server, _, _) = with_a_message(&home, KEY).await;
    fails(judge(server, Told::default()).await, "the database holds");
}

#[tokio::test]
async fn control_a_trace_that_tells_an_id_is_seen() {
    let home = Home::new().await;
    let (server, conversation, _) = with_a_message(&home, "quiet").await;
    let mut told = home.told();
    told.id(&conversation);
    // What a client calls its request is its own affair, and told.
    let client = server.client().with_key(KEY);
    let read = client.request(reqwest::Method::GET, &format!("/conversations/{conversation}"));
    let named = read.header("x-request-id", conversation.replace('-', "")).send();
    assert_eq!(named.await.expect("an answer").status(), 200);
    fails(judge(server, told).await, "the traces tell");
}

#[tokio::test]
async fn control_a_command_that_tells_a_key_is_seen() {
    let home = Home::new().await;
    let (server, _, _) = with_a_message(&home, "quiet").await;
    let mut told = Told::default();
    let run = home.run(&["keys", "create", "shown once"]).await;
    told.secret_of(run.stdout.trim_end());
    told.command("keys create", &run);
    fails(judge(server, told).await, "`keys create` tells");
}

/// P23 holds for people who look at their configuration, too.
#[tokio::test]
async fn a_refused_start_does_not_tell_the_key() {
    let provider = "[providers.p]\nbase_url = 'http://127.0.0.1:1/v1'\nmodels = ['m']\n";
    let key_file = format!("{provider}api_key_file = 'provider.key'\n");
    let key = format!("{provider}api_key = 'canary-in-the-open'\n");
    let rows: [(&[(&str, &str)], &str); 6] = [
        (&[("API_KEY", "canary key with spaces")], ""),
        (&[("API_KEY_FILE", "/nonexistent")], ""),
        (&[("API_KEY", "canary-short"), ("PRODUCTION", "1")], ""),
        (&[("API_KEY", KEY), ("API_KEY_FILE", "provider.key")], ""),
        (&[], &key_file),
        (&[], &key),
    ];
    for (settings, file) in rows {
        let home = new_home();
        std::fs::write(home.path().join("engagement.toml"), file).expect("a file");
        std::fs::write(home.path().join("provider.key"), "canary key\nwith lines\n").expect("a file");
        let builder = settings
            .iter()
            .fold(Server::builder_over(&home), |builder, (name, value)| {
                Builder::env(builder, name, value)
            });
        let run = builder.run().await;
        assert_eq!(run.code, Some(78), "{settings:?} {file:?}: {run:?}");
        assert!(
            !run.stderr.contains("canary") && !run.stdout.contains("canary"),
            "{run:?}"
        );
    }
}
