//! V1 to V6: what happened, told by the rules' replies.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use super::{Database, NOBODY, Rows, Service, not_found};
use crate::support::{Answer, EventStream, Frame, SOON, eventually, names};

const ALL_OF_A_REPLY: [&str; 6] = [
    "message.created",
    "reply.queued",
    "reply.started",
    "reply.delta",
    "message.created",
    "reply.succeeded",
];

fn events(conversation: &str) -> String {
    format!("/conversations/{conversation}/events")
}

/// A conversation with a question that was answered, and the question.
async fn answered(service: &Service, text: &str) -> (String, String) {
    let conversation = service.conversation("events").await;
    let message = service.message(&conversation, "user", text).await;
    service.finished_reply(&conversation, &message).await;
    (conversation, message)
}

/// V1, H1: the head and the first line
pub(super) async fn a_stream_has_its_headers_and_tells_when_to_come_back(on: Database) {
    let service = on.service().await;
    let (conversation, message) = answered(&service, "hello").await;
    let mut rows = Rows::default();
    for path in [
        events(&conversation),
        format!("/conversations/{conversation}/messages/{message}/reply?stream=1"),
    ] {
        let lines = ["Accept-Encoding: gzip, br, zstd, deflate"];
        // That it begins with `retry: 2000` is seen to by whoever opens it.
        let stream = service.watch_with(&path, &lines).await;
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("x-accel-buffering", "no"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("x-robots-tag", "noindex"),
        ] {
            let got = stream.headers.get(name).and_then(|value| value.to_str().ok());
            rows.equal(format!("{name} of {path}"), got, Some(value));
        }
        for absent in ["content-encoding", "content-length"] {
            rows.equal(absent, stream.headers.get(absent), None);
        }
        rows.equal("a request id", stream.headers.contains_key("x-request-id"), true);
    }
}

/// V1, V2, V3: the events of an answer, as they are written
pub(super) async fn an_answer_of_the_rules_is_told_byte_for_byte(on: Database) {
    let service = on.service().await;
    let (c, m) = answered(&service, "hello").await;
    let question = service.get(&format!("/conversations/{c}/messages/{m}")).await;
    let reply = service
        .get(&format!("/conversations/{c}/messages/{m}/reply"))
        .await
        .expect(200);
    let a = reply["assistant_message_id"].as_str().expect("an answer");
    let answer = service.get(&format!("/conversations/{c}/messages/{a}")).await;
    let asked = question.expect(200)["date_created"]
        .as_str()
        .expect("a date")
        .to_owned();
    let ended = answer.expect(200)["date_created"]
        .as_str()
        .expect("a date")
        .to_owned();
    let (question, answer) = (question.text(), answer.text());

    let frames = service.watch(&events(&c)).await.until("reply.succeeded").await;

    let data = |date: &str, rest: &str| format!(r#"{{"conversation_id":"{c}","date":"{date}",{rest}}}"#);
    // The question is at place 1 of its conversation, the answer at place 2.
    let (first, second) = (1 << 24, 2 << 24);
    let of_question = format!(r#""message":{question},"replaces":null"#);
    let of_reply = format!(r#""message_id":"{m}""#);
    let of_answer = format!(r#""message":{answer},"replaces":null"#);
    let started = format!(r#"{of_reply},"attempt":1"#);
    let piece = format!(r#"{of_reply},"text":"Hello! How can I assist you today?""#);
    let end = format!(r#"{of_reply},"assistant_message_id":"{a}","finish_reason":"stop","truncated":false"#);
    let expected = [
        (first, data(&asked, &of_question)),
        (first + 1, data(&asked, &of_reply)),
        (second, data(&ended, &started)),
        (second + 1, data(&ended, &piece)),
        (second + 3, data(&ended, &of_answer)),
        (second + 4, data(&ended, &end)),
    ];
    let expected: Vec<String> = expected
        .iter()
        .zip(ALL_OF_A_REPLY)
        .map(|((id, data), name)| format!("id: {id}\nevent: {name}\ndata: {data}\n\n"))
        .collect();
    let got: Vec<&String> = frames.iter().map(|frame| &frame.bytes).collect();
    assert_eq!(got, expected.iter().collect::<Vec<_>>());
}

/// V4: rising, with gaps, in each for itself
pub(super) async fn numbers_belong_to_their_conversation(on: Database) {
    let service = on.service().await;
    let mut first = Vec::new();
    for _ in 0..2 {
        let (conversation, _) = answered(&service, "hello").await;
        let message = service.message(&conversation, "user", "thanks").await;
        service.finished_reply(&conversation, &message).await;
        let mut stream = service.watch(&events(&conversation)).await;
        let numbers: Vec<u64> = stream
            .take(12)
            .await
            .iter()
            .map(|frame| frame.id.expect("a number"))
            .collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        assert!(
            numbers[11] > 12,
            "there are gaps, or this proves nothing: {numbers:?}"
        );
        first.push(numbers);
    }
    assert_eq!(first[0], first[1], "what happens elsewhere takes no numbers");
}

/// A conversation in which everything has happened that the rules can bring about, and its events.
async fn eventful(service: &Service) -> (String, Vec<Frame>) {
    let (conversation, question) = answered(service, "hello").await;
    service.message(&conversation, "assistant", "by hand").await;
    let retry = format!("/conversations/{conversation}/messages/{question}/reply/retry");
    service.post_json(&retry, &json!({})).await.expect(202);
    service.finished_reply(&conversation, &question).await;
    let last = service.message(&conversation, "user", "thanks").await;
    service.finished_reply(&conversation, &last).await;
    let gone = service.message(&conversation, "assistant", "not for long").await;
    let deleted = service
        .delete(&format!("/conversations/{conversation}/messages/{gone}"))
        .await;
    assert_eq!(deleted.status, 204);
    let mut stream = service.watch(&events(&conversation)).await;
    let mut frames = stream.until("message.deleted").await;
    while frames
        .last()
        .is_some_and(|frame| frame.data["message_id"] != gone)
    {
        frames.extend(stream.until("message.deleted").await);
    }
    (conversation, frames)
}

/// So many events.
async fn rest(mut stream: EventStream, count: usize) -> Vec<String> {
    let frames = stream.take(count).await;
    frames.into_iter().map(|frame| frame.bytes).collect()
}

/// V5, V6: from each number that there is, by parameter and by header
pub(super) async fn after_each_event_comes_exactly_the_rest(on: Database) {
    let service = on.service().await;
    let (conversation, frames) = eventful(&service).await;
    let all: Vec<String> = frames.iter().map(|frame| frame.bytes.clone()).collect();
    let last = frames.last().and_then(|frame| frame.id).expect("a number");
    let path = events(&conversation);
    let mut rows = Rows::default();
    let around = |number: u64| [number - 1, number, number + 1];
    let numbers: BTreeSet<u64> = frames
        .iter()
        .filter_map(|frame| frame.id)
        .flat_map(around)
        .collect();
    for after in numbers.into_iter().chain([0]).filter(|number| *number <= last) {
        let seen = frames.iter().filter(|frame| frame.id <= Some(after)).count();
        let wanted = &all[seen..];
        let header = format!("Last-Event-ID: {after}");
        let by_parameter = service.watch(&format!("{path}?after={after}")).await;
        rows.equal(
            format!("after={after}"),
            rest(by_parameter, wanted.len()).await,
            wanted.to_vec(),
        );
        let by_header = service.watch_with(&path, &[&header]).await;
        rows.equal(&header, rest(by_header, wanted.len()).await, wanted.to_vec());
    }
    let both = service
        .watch_with(&format!("{path}?after={last}"), &["Last-Event-ID: 1"])
        .await;
    let empty = service
        .watch_with(&format!("{path}?after="), &["Last-Event-ID:"])
        .await;
    rows.equal("nothing named", rest(empty, all.len()).await, all);
    let (mut both, one_more) = (
        both,
        service.message(&conversation, "assistant", "one more").await,
    );
    let next = both.next().await.expect("an event");
    rows.equal(
        "the parameter wins",
        next.data["message"]["message_id"].as_str(),
        Some(one_more.as_str()),
    );
}

/// V5, E5: anything else
pub(super) async fn a_cursor_is_a_number_that_the_conversation_has_reached(on: Database) {
    let service = on.service().await;
    let (conversation, message) = answered(&service, "hello").await;
    let reply = format!("/conversations/{conversation}/messages/{message}/reply");
    let mut rows = Rows::default();
    let (no_number, no_event) = ("A valid integer is required.", "There is no such event.");
    for (given, said) in [
        ("x", no_number),
        ("-1", no_number),
        ("1.0", no_number),
        ("1x", no_number),
        ("%2B1", no_number),
        ("%D9%A1", no_number),
        ("50000000", no_event),
        ("99999999999999999999999999", no_event),
    ] {
        for path in [
            format!("{}?after={given}", events(&conversation)),
            format!("{reply}?stream=true&after={given}"),
        ] {
            rows.error(&path, &service.get(&path).await, 400, &json!({ "after": [said] }));
        }
        let request = service.request(Method::GET, &events(&conversation));
        let answer = Answer::of(request.header("last-event-id", given)).await;
        let said = if given.starts_with('%') { no_number } else { said };
        rows.error(
            format!("Last-Event-ID: {given}"),
            &answer,
            400,
            &json!({ "Last-Event-ID": [said] }),
        );
    }
    let unknown = service.get(&format!("{}?after=x", events(NOBODY))).await;
    rows.error("an unknown conversation", &unknown, 404, &not_found());
}

/// V1: what is not there
pub(super) async fn unknown_things_have_no_streams(on: Database) {
    let service = on.service().await;
    let (conversation, _) = answered(&service, "hello").await;
    let by_hand = service.message(&conversation, "assistant", "x").await;
    let mut rows = Rows::default();
    for path in [
        events(NOBODY),
        format!("/conversations/{conversation}/messages/{NOBODY}/reply?stream=true"),
        format!("/conversations/{conversation}/messages/{NOBODY}/reply?stream=what"),
        format!("/conversations/{conversation}/messages/{by_hand}/reply?stream=true"),
    ] {
        rows.error(&path, &service.get(&path).await, 404, &not_found());
    }
}

/// R8, V1: the headers, and the end
pub(super) async fn head_of_a_stream_is_over_at_once(on: Database) {
    let service = on.service().await;
    let (conversation, message) = answered(&service, "hello").await;
    for path in [
        events(&conversation),
        format!("/conversations/{conversation}/messages/{message}/reply?stream=true"),
    ] {
        let head = service.ask(Method::HEAD, &path).await;
        assert_eq!((head.status, head.text()), (200, String::new()));
        let mut headers = head.headers;
        let mut wanted = service.watch(&path).await.headers;
        wanted.remove("transfer-encoding");
        for of_its_own in ["date", "x-request-id"] {
            wanted.remove(of_its_own);
            headers.remove(of_its_own);
        }
        assert_eq!(headers, wanted, "{path}");
    }
    let refused = service
        .ask(Method::HEAD, &format!("{}?after=50000000", events(&conversation)))
        .await;
    assert_eq!(refused.status, 400);
}

/// V6: while it happens
pub(super) async fn two_see_the_same(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("events").await;
    let mut one = service.watch(&events(&conversation)).await;
    let mut other = service.watch(&events(&conversation)).await;
    for text in ["hello", "thanks", "what?"] {
        service.message(&conversation, "user", text).await;
    }
    let [one, other] = [one.take(18).await, other.take(18).await];
    assert_eq!(one, other);
    let again = service.watch(&events(&conversation)).await.take(18).await;
    assert_eq!(one, again, "and whoever comes later");
}

/// V3, V6: nothing but that it is gone
pub(super) async fn what_was_deleted_is_not_told_again(on: Database) {
    let service = on.service().await;
    let (conversation, question) = answered(&service, "hello, says a canary").await;
    let path = format!("/conversations/{conversation}/messages/{question}");
    let mut watching = service.watch(&events(&conversation)).await;
    watching.until("reply.succeeded").await;

    service.delete(&path).await;

    let deleted = watching.next().await.expect("an event");
    assert_eq!(
        (deleted.name.as_str(), &deleted.data["message_id"]),
        ("message.deleted", &json!(question))
    );
    let later = service
        .watch(&events(&conversation))
        .await
        .until("message.deleted")
        .await;
    assert!(
        later.iter().all(|frame| !frame.bytes.contains("canary")),
        "{later:#?}"
    );
    assert_eq!(later.last(), Some(&deleted));
    assert!(!names(&later).contains(&"reply.queued"), "{later:#?}");
}

/// G1, V13: at its end, with the time that it took
pub(super) async fn a_stream_is_one_line_of_the_log(on: Database) {
    let Some(service) = on.service_with(&[]).await else {
        return;
    };
    let (conversation, message) = answered(&service, "hello").await;
    let lines = || -> Vec<String> {
        let log = service.server().stderr();
        let of_streams = log.lines().filter(|line| line.contains("/events\""));
        of_streams.map(str::to_owned).collect()
    };
    let mut stream = service.watch(&events(&conversation)).await;
    stream.until("reply.succeeded").await;
    service
        .get(&format!("/conversations/{conversation}/messages/{message}"))
        .await
        .expect(200);
    assert_eq!(lines(), [""; 0], "not before its end");

    drop(stream);

    let line = eventually("the line is there", SOON, async || lines().pop()).await;
    assert!(
        line.contains(r#"route="/conversations/{conversation_id}/events" status=200 duration_us="#),
        "{line}"
    );
    assert_eq!(lines().len(), 1);
    let log = service.server().stderr();
    assert!(
        !log.contains(&conversation) && !log.contains(&message),
        "and no ids"
    );
}
