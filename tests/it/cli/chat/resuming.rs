//! Streams that break, and services that are away for a while: the text is the same.

use super::{Fake, MESSAGE, Step, assert_refused, assert_replied, delta, reply, run, started, succeeded};

/// What each stream was asked to go on behind.
fn resumed(fake: &Fake) -> Vec<String> {
    let asked = fake.asked("stream=true");
    asked
        .iter()
        .map(|asked| asked.header("last-event-id").to_owned())
        .collect()
}

#[tokio::test]
async fn a_stream_that_is_cut_goes_on_behind_the_last_whole_event() {
    let cut = Step::Bytes(format!(
        "id: 5\nevent: reply.delta\ndata: {{\"message_id\":\"{MESSAGE}\",\"text\":\"World\"}}\n"
    ));
    let fake = Fake::start([
        vec![started(3, 1), delta(4, "Hello, "), cut],
        vec![Step::Bytes(": still here\n\n".to_owned())],
        vec![delta(5, "World"), delta(6, "!")],
        vec![succeeded(7)],
    ])
    .await;

    let run = run(&fake, &[], "Hi").await;

    assert_replied(&run, "Hello, World!\n");
    assert_eq!(resumed(&fake), ["", "4", "4", "6"]);
}

#[tokio::test]
async fn a_service_that_is_away_is_asked_again_and_that_is_said() {
    let away = || vec![Step::Answer(503, "{}".to_owned())];
    let fake = Fake::start([
        vec![started(3, 1), delta(4, "Hello")],
        away(),
        away(),
        vec![delta(5, "!"), succeeded(6)],
    ])
    .await;

    let run = run(&fake, &[], "Hi").await;

    assert_replied(&run, "Hello!\n");
    assert_eq!(resumed(&fake), ["", "4", "4", "4"]);
    for says in ["the connection is lost", "trying again in", "connected again"] {
        assert!(run.stderr.contains(says), "{says}: {run:?}");
    }
}

#[tokio::test]
async fn a_single_break_is_not_worth_a_word() {
    let fake = Fake::start([
        vec![started(3, 1), delta(4, "Hello")],
        vec![delta(5, "!"), succeeded(6)],
    ])
    .await;

    let run = run(&fake, &[], "Hi").await;

    assert_replied(&run, "Hello!\n");
    assert!(!run.stderr.contains("lost"), "{run:?}");
}

#[tokio::test]
async fn a_reply_that_begins_anew_is_printed_once() {
    let fake = Fake::start([
        vec![started(3, 1), delta(4, "A first try, cut off by a cra")],
        vec![started(9, 2), delta(10, "A second try."), succeeded(11)],
    ])
    .await;

    let run = run(&fake, &[], "Hi").await;

    assert_replied(&run, "A second try.\n");
}

/// A database that was restored, for instance, does not know the last event.
#[tokio::test]
async fn a_service_that_cannot_go_on_is_asked_for_the_whole_reply() {
    for answer in [
        Step::Answer(204, String::new()),
        Step::Answer(400, "{}".to_owned()),
    ] {
        let fake = Fake::start([
            vec![started(3, 1), delta(4, "Hello")],
            vec![answer],
            reply("Hello again!"),
        ])
        .await;

        let run = run(&fake, &[], "Hi").await;

        assert_replied(&run, "Hello again!\n");
        assert_eq!(resumed(&fake), ["", "4", ""]);
    }
}

#[tokio::test]
async fn garbage_in_a_stream_is_asked_for_again() {
    for garbage in [
        "id: 5\nevent: reply.delta\ndata: <html>\n\n".to_owned(),
        "id: 5\nevent: reply.delta\ndata: []\n\n".to_owned(),
        format!("id: 5\nevent: reply.delta\ndata: {{\"message_id\":\"{MESSAGE}\"}}\n\n"),
        "\u{0}\u{fffd}<html>\n\n\n".to_owned(),
    ] {
        let fake = Fake::start([
            vec![started(3, 1), delta(4, "Hello"), Step::Bytes(garbage)],
            vec![delta(5, "!"), succeeded(6)],
        ])
        .await;

        let run = run(&fake, &[], "Hi").await;

        assert_replied(&run, "Hello!\n");
        assert_eq!(resumed(&fake), ["", "4"]);
    }
}

#[tokio::test]
async fn events_that_are_unknown_or_about_others_are_passed_over() {
    let other = "0199c0de-0000-7000-8000-000000000002";
    let about_another = |id, name| {
        Step::Event(
            id,
            name,
            serde_json::json!({ "message_id": other, "text": "not ours" }),
        )
    };
    let mut stream = vec![
        Step::Event(1, "reply.thought", serde_json::json!("hm")),
        about_another(2, "reply.delta"),
        about_another(3, "message.deleted"),
        about_another(4, "reply.failed"),
    ];
    stream.extend([started(5, 1), delta(6, "ours"), succeeded(7)]);
    let fake = Fake::start([stream]).await;

    let run = run(&fake, &[], "Hi").await;

    assert_replied(&run, "ours\n");
}

#[tokio::test]
async fn a_service_without_streams_is_said_to_be_another_version() {
    let fake = Fake::start([vec![Step::Answer(200, "{\"status\":\"queued\"}".to_owned())]]).await;

    let run = run(&fake, &[], "Hi").await;

    assert_refused(&run, 1, &["another version", "no streams"]);
}

#[tokio::test]
async fn a_long_reply_in_many_pieces_arrives_whole() {
    let pieces: Vec<String> = (0..2_000).map(|n| format!("piece {n} ü€🦀 ")).collect();
    // Every hundredth event is the last of its connection.
    let mut streams = vec![vec![started(3, 1)]];
    for (n, piece) in (10..).zip(&pieces) {
        if n % 100 == 0 {
            streams.push(Vec::new());
        }
        streams.last_mut().expect("a stream").push(delta(n, piece));
    }
    streams.push(vec![succeeded(9_000)]);
    let fake = Fake::start(streams).await;

    let run = run(&fake, &[], "Hi").await;

    assert_replied(&run, &format!("{}\n", pieces.concat()));
}

/// The control: a stream that never brings the end is followed, not taken for a reply.
#[tokio::test]
async fn control_a_reply_without_an_end_is_not_printed() {
    let fake = Fake::start([
        vec![started(3, 1), delta(4, "Hello"), Step::Silence],
        reply("never"),
    ])
    .await;
    let mut program = super::chat_of(&fake.url, &[], "Hi").launch();
    fake.was_asked("stream=true", 1).await;

    let ended = tokio::time::timeout(
        std::time::Duration::from_millis(500),
        program.wait_exit(crate::support::SOON),
    )
    .await;

    assert!(ended.is_err(), "{}", program.stderr());
}
