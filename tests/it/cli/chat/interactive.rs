//! Somebody at a terminal.

use rustix::process::Signal;
use serde_json::json;

use super::terminal::Terminal;
use super::{CONVERSATION, Fake, MESSAGE, Step, cancelled, chat, delta, failed, reply, started, succeeded};

const CTRL_D: &str = "\u{4}";

fn sit_down(fake: &Fake, arguments: &[&str]) -> Terminal {
    Terminal::start(chat(&fake.url, arguments))
}

#[tokio::test]
async fn a_reply_is_shown_while_it_is_written() {
    let stream = vec![
        started(3, 1),
        delta(4, "Hel"),
        Step::UntilCancelled,
        delta(5, "lo"),
        cancelled(6),
    ];
    let fake = Fake::start([stream]).await;
    let mut terminal = sit_down(&fake, &[]);
    terminal.prompts(1).await;

    terminal.press("Hi\n");

    // The rest comes only after somebody has read the beginning, and asked for no more.
    terminal.shows("Hel").await;
    terminal.program.signal(Signal::INT);
    terminal.shows("Hel\nlo\n").await;
    terminal.tells("the reply was cancelled; /retry").await;
    terminal.prompts(2).await;
    terminal.press(CTRL_D);
    assert_eq!(terminal.exit_code().await, Some(0));
    let told = terminal.told();
    assert!(told.contains("a new conversation"), "{told}");
    let how = format!("[to continue: engagement chat {CONVERSATION} --url {}]", fake.url);
    assert!(told.contains(&how), "{told}");
}

#[tokio::test]
async fn commands_are_obeyed_and_not_sent() {
    let fake = Fake::start([reply("One."), reply("Two.")]).await;
    let mut terminal = sit_down(&fake, &[]);
    terminal.prompts(1).await;

    terminal.press("/help\n/dance\n/retry\n");
    terminal.prompts(4).await;
    let told = terminal.told();
    for says in ["/new", "there is no command /dance", "there is no reply yet"] {
        assert!(told.contains(says), "{told}");
    }

    terminal.press("//etc is a path\n");
    terminal.shows("One.\n").await;
    terminal.prompts(5).await;
    terminal.press("/new\n");
    terminal.prompts(6).await;
    terminal.press("/quit\n");

    assert_eq!(terminal.exit_code().await, Some(0));
    let said = fake.asked("/messages/create");
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].json()["text"], "/etc is a path");
    assert_eq!(fake.asked("POST /conversations/ ").len(), 2);
}

#[tokio::test]
async fn retry_asks_for_the_last_reply_again_and_shows_what_is_new() {
    let first = vec![started(3, 1), delta(4, "Half of"), failed(5)];
    let second = vec![started(7, 2), delta(8, "All of it."), succeeded(9)];
    let fake = Fake::start([first, second]).await;
    let mut terminal = sit_down(&fake, &[]);
    terminal.prompts(1).await;
    terminal.press("Hi\n");
    terminal
        .tells("the reply failed: the model is away (provider_error); /retry")
        .await;

    terminal.press("/retry\n");

    terminal.shows("All of it.\n").await;
    assert_eq!(fake.asked("/reply/retry").len(), 1);
    assert_eq!(fake.asked("stream=true")[1].header("last-event-id"), "5");
}

#[tokio::test]
async fn a_reply_that_begins_anew_is_said_to() {
    let stream = vec![
        started(3, 1),
        delta(4, "Half of"),
        started(5, 2),
        delta(6, "All of it."),
        succeeded(7),
    ];
    let fake = Fake::start([stream]).await;
    let mut terminal = sit_down(&fake, &[]);
    terminal.prompts(1).await;

    terminal.press("Hi\n");

    terminal.shows("Half of\nAll of it.\n").await;
    terminal.tells("written anew").await;
}

#[tokio::test]
async fn what_a_terminal_would_obey_never_reaches_it() {
    let sly = "\u{1b}[2J\u{1b}]0;sly\u{7}\u{9b}31mred\u{9d}\u{8}\r";
    let fake = Fake::that_answers(
        [(
            "/messages?",
            200,
            json!({ "count": 1, "results": [{ "message_id": MESSAGE, "role": "assistant", "text": sly }] }),
        )],
        [vec![
            started(3, 1),
            delta(4, sly),
            delta(5, "\tend"),
            Step::Event(
                6,
                "reply.failed",
                json!({ "message_id": MESSAGE, "error": { "code": sly, "message": sly } }),
            ),
        ]],
    )
    .await;
    let mut terminal = sit_down(&fake, &[CONVERSATION]);
    terminal.prompts(1).await;
    terminal.press("Hi\n");
    terminal.tells("/retry asks").await;
    terminal.shows("[2J]0;sly31mred").await;
    terminal.press(CTRL_D);
    terminal.exit_code().await;

    // The terminal itself echoes Ctrl-D as two ordinary characters, or not at all.
    let all = terminal.screen() + &terminal.told();
    let obeyed = all.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    assert_eq!(obeyed, None, "{all:?}");
}

#[tokio::test]
async fn going_on_shows_the_last_messages_and_a_reply_that_is_on_its_way() {
    let said = |n: u32, role: &str, text: &str| json!({ "message_id": format!("0199c0de-0000-7000-8000-{n:012}"), "role": role, "text": text });
    let page = |results: Vec<serde_json::Value>| json!({ "count": 11, "results": results });
    let earlier = (0..10).map(|n| said(n + 100, "assistant", &format!("message {n}")));
    let fake = Fake::that_answers(
        [
            (
                "page_size=10&page=last",
                200,
                page(vec![said(1, "user", "When does the train leave?")]),
            ),
            ("page_size=10&page=1", 200, page(earlier.collect())),
        ],
        [vec![started(3, 1), delta(4, "At nine."), succeeded(5)]],
    )
    .await;

    let terminal = sit_down(&fake, &[CONVERSATION]);

    terminal.shows("At nine.\n").await;
    terminal.prompts(2).await;
    let told = terminal.told();
    assert!(
        told.contains("message 5\nmessage 6\nmessage 7\nmessage 8\nmessage 9\n> When does"),
        "{told}"
    );
    assert!(!told.contains("message 4"), "{told}");
}

#[tokio::test]
async fn what_goes_wrong_is_said_and_the_chat_goes_on() {
    let refused = super::error(400, &json!({ "text": ["Too long."] }));
    let fake = Fake::that_answers([("/messages/create", 400, refused)], []).await;
    let mut terminal = sit_down(&fake, &[]);
    terminal.prompts(1).await;

    terminal.press("Hi\n");

    terminal.tells("text: Too long.").await;
    terminal.prompts(2).await;
    terminal.press("/quit\n");
    assert_eq!(terminal.exit_code().await, Some(0));
}

#[tokio::test]
async fn ctrl_c_at_the_prompt_warns_once_and_then_leaves() {
    let fake = Fake::start([]).await;
    let mut terminal = sit_down(&fake, &[]);
    terminal.prompts(1).await;

    terminal.program.signal(Signal::INT);
    terminal.tells("Ctrl-C again leaves").await;
    terminal.prompts(2).await;
    terminal.program.signal(Signal::INT);

    assert_eq!(terminal.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_service_that_dies_in_mid_reply_and_comes_back_is_found_again() {
    let first = vec![started(3, 1), delta(4, "Once upon"), Step::Silence];
    let mut fake = Fake::start([first, vec![delta(5, " a time."), succeeded(6)]]).await;
    let mut terminal = sit_down(&fake, &[]);
    terminal.prompts(1).await;
    terminal.press("Hi\n");
    terminal.shows("Once upon").await;

    fake.die().await;
    terminal
        .tells("the connection is lost (Connection refused (os error 111))")
        .await;
    fake.come_back().await;

    terminal.shows("Once upon\n a time.\n").await;
    terminal.tells("connected again").await;
    assert_eq!(fake.asked("stream=true")[1].header("last-event-id"), "4");
}

#[tokio::test]
async fn a_message_that_is_gone_cannot_be_retried() {
    let gone = super::error(404, &json!({ "detail": ["Not found."] }));
    let fake = Fake::that_answers([("/reply/retry", 404, gone)], [reply("Hello!")]).await;
    let mut terminal = sit_down(&fake, &[]);
    terminal.prompts(1).await;

    terminal.press("Hi\n/retry\n");

    terminal
        .tells("the message was deleted, or its conversation; /new")
        .await;
}

#[tokio::test]
async fn ctrl_d_leaves_a_reply_that_goes_on() {
    let fake = Fake::start([vec![started(3, 1), delta(4, "Once upon"), Step::Silence]]).await;
    let mut terminal = sit_down(&fake, &[]);
    terminal.prompts(1).await;
    terminal.press("Hi\n");
    terminal.shows("Once upon").await;

    terminal.press(CTRL_D);

    assert_eq!(terminal.exit_code().await, Some(0));
    fake.was_left().await;
    assert!(fake.asked("/reply/cancel").is_empty());
}

#[tokio::test]
async fn a_line_that_is_typed_during_a_reply_is_the_next_message() {
    let first = vec![started(3, 1), delta(4, "One"), Step::UntilCancelled, cancelled(5)];
    let fake = Fake::start([first, reply("Two.")]).await;
    let mut terminal = sit_down(&fake, &[]);
    terminal.prompts(1).await;
    terminal.press("Hi\n");
    terminal.shows("One").await;

    terminal.press("And then?\n");
    terminal.shows("And then?").await;
    terminal.program.signal(Signal::INT);

    terminal.shows("Two.\n").await;
    assert_eq!(fake.asked("/messages/create")[1].json()["text"], "And then?");
}
