//! The chat and the real service, with its built-in rules.

use super::terminal::Terminal;
use super::{UNAVAILABLE, assert_refused, assert_replied, chat, chat_of};
use crate::support::Server;
use crate::support::proxy::{Cut, Proxy, Upstream};

const REPLY: &str = "Hello! How can I assist you today?\n";

/// The conversation that a chat says how to continue.
pub(super) fn conversation(told: &str) -> String {
    let rest = told.split("engagement chat ").nth(1).expect("a way to continue");
    rest.split([' ', ']']).next().expect("an id").to_owned()
}

#[tokio::test]
async fn hello_is_answered() {
    let server = Server::start().await;

    let run = chat_of(&server.base_url(), &[], "Hello\n").run().await;

    assert_replied(&run, REPLY);
    let texts = server.client().texts(&conversation(&run.stderr)).await;
    assert_eq!(texts, ["Hello", REPLY.trim_end()]);
}

#[tokio::test]
async fn a_message_whose_answer_is_lost_is_sent_again_and_stands_once() {
    let server = Server::start().await;
    let proxy = Proxy::start(Upstream::Tcp(server.address())).await;
    proxy.cut_when(br#""text":"Hello""#, Cut::AfterSending);
    let url = format!("http://{}", proxy.address());

    let run = chat_of(&url, &[], "Hello\n").run().await;

    assert_replied(&run, REPLY);
    assert_eq!(proxy.cuts(), 1, "control: the answer was lost");
    assert!(run.stderr.contains("sending it again"), "{run:?}");
    let texts = server.client().texts(&conversation(&run.stderr)).await;
    assert_eq!(texts, ["Hello", REPLY.trim_end()]);
}

#[tokio::test]
async fn a_key_of_ones_own_opens_a_service_whose_reads_are_closed() {
    let key = "0123456789abcdef01234567";
    let server = Server::builder()
        .env("API_KEY", key)
        .env("READS", "key")
        .start()
        .await;

    let run = chat_of(&server.base_url(), &["--key", key], "Hello").run().await;

    assert_replied(&run, REPLY);
    let run = chat_of(&server.base_url(), &[], "Hello").run().await;
    assert_refused(&run, 1, &["does not take the key", "--key"]);
}

#[tokio::test]
async fn a_conversation_goes_on_in_another_chat_after_a_restart() {
    let server = Server::start().await;
    let home = server.home();
    let run = chat_of(&server.base_url(), &["--title", "Trains"], "Hello")
        .run()
        .await;
    let id = conversation(&run.stderr);
    let url = server.base_url();
    server.kill();

    let run = chat_of(&url, &[&id], "Hello").run().await;
    assert_refused(&run, UNAVAILABLE, &["does not answer"]);
    let server = Server::builder_over(&home).start().await;
    let run = chat_of(&server.base_url(), &[&id], "Hello").run().await;

    assert_replied(&run, REPLY);
    assert_eq!(server.client().texts(&id).await.len(), 4);
}

#[tokio::test]
async fn a_reply_that_succeeded_can_be_asked_for_again_by_somebody_who_comes_later() {
    let server = Server::start().await;
    let run = chat_of(&server.base_url(), &[], "Hello").run().await;
    let id = conversation(&run.stderr);
    let mut terminal = Terminal::start(chat(&server.base_url(), &[&id]));
    terminal.tells(&format!("> Hello\n{REPLY}> ")).await;

    terminal.press("/retry\n");

    terminal.shows(REPLY).await;
    terminal.press("/quit\n");
    assert_eq!(terminal.exit_code().await, Some(0));
    assert_eq!(terminal.screen().matches(REPLY).count(), 1);
    assert_eq!(server.client().texts(&id).await.len(), 2);
}

#[tokio::test]
async fn a_conversation_that_is_not_there_is_said_to_be_missing() {
    let server = Server::start().await;

    let run = chat_of(&server.base_url(), &[super::CONVERSATION], "Hello")
        .run()
        .await;

    assert_refused(&run, 1, &["there is no conversation", super::CONVERSATION]);
}
