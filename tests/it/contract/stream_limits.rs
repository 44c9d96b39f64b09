//! V11 to V15: how many streams there are, and when they end.

use std::time::Duration;

use serde_json::json;

use super::{Database, Rows, Service, assert_error};
use crate::support::{Came, EventStream, SOON, eventually};

fn events(conversation: &str) -> String {
    format!("/conversations/{conversation}/events")
}

fn throttled() -> serde_json::Value {
    json!({ "detail": ["Request was throttled. Expected available in 5 seconds."] })
}

/// Opens a stream as soon as there is a place for it.
async fn place(service: &Service, conversation: &str) -> EventStream {
    let path = events(conversation);
    eventually("there is a place", SOON, async || {
        (service.ask(reqwest::Method::HEAD, &path).await.status == 200).then_some(())
    })
    .await;
    service.watch(&path).await
}

/// V11, V13, E9: a stream outlives the time of a request, and leaves the only place to others
pub(super) async fn silence_is_filled_with_comments_and_takes_no_place(on: Database) {
    let settings = [("MAX_IN_FLIGHT", "1"), ("HANDLER_TIMEOUT_S", "1")];
    let Some(service) = on.service_with(&settings).await else {
        return;
    };
    let conversation = service.conversation("silence").await;
    let mut stream = service.watch(&events(&conversation)).await;
    let mut another = service.watch(&events(&conversation)).await;

    let came = tokio::time::timeout(Duration::from_secs(20), stream.came()).await;

    assert_eq!(came, Ok(Came::Heartbeat));
    let message = service.message(&conversation, "assistant", "still here").await;
    for stream in [&mut stream, &mut another] {
        let event = stream.next().await.expect("an event");
        assert_eq!(event.data["message"]["message_id"], message);
    }
}

/// V13: for everybody together
pub(super) async fn there_are_so_many_streams_in_all(on: Database) {
    let Some(service) = on.service_with(&[("MAX_STREAMS", "2")]).await else {
        return;
    };
    let first = service.conversation("one").await;
    let second = service.conversation("another").await;
    let streams = [
        service.watch(&events(&first)).await,
        service.watch(&events(&second)).await,
    ];

    let refused = service.get(&events(&first)).await;

    assert_error(
        &refused,
        503,
        &json!({ "detail": ["There are too many streams."] }),
    );
    assert_eq!(refused.header("retry-after"), "1");
    drop(streams);
    place(&service, &first).await;
}

/// V13: and others go on
pub(super) async fn there_are_so_many_streams_of_a_conversation(on: Database) {
    let Some(service) = on.service_with(&[("MAX_STREAMS_PER_CONVERSATION", "2")]).await else {
        return;
    };
    let full = service.conversation("full").await;
    let other = service.conversation("another").await;
    let question = service.message(&full, "user", "hello").await;
    let reply = format!("/conversations/{full}/messages/{question}/reply?stream=true");
    let streams = [
        service.watch(&events(&full)).await,
        service.watch(&events(&full)).await,
    ];

    let mut rows = Rows::default();
    for path in [events(&full), reply] {
        let refused = service.get(&path).await;
        rows.error(&path, &refused, 429, &throttled());
        rows.equal(&path, refused.header("retry-after"), "5");
    }
    service.watch(&events(&other)).await;
    drop(streams);
    place(&service, &full).await;
}

/// V13: if the operator says so
pub(super) async fn there_are_so_many_streams_to_an_address(on: Database) {
    let Some(service) = on.service_with(&[("MAX_STREAMS_PER_ADDRESS", "2")]).await else {
        return;
    };
    let mut streams = Vec::new();
    for name in ["one", "another"] {
        let conversation = service.conversation(name).await;
        streams.push(service.watch(&events(&conversation)).await);
    }
    let third = service.conversation("a third").await;

    assert_error(&service.get(&events(&third)).await, 429, &throttled());

    drop(streams);
    place(&service, &third).await;
}

/// V12, O2: without an event, and in time
pub(super) async fn a_stop_ends_streams_at_once(on: Database) {
    let Some(mut service) = on.service_with(&[("DRAIN_TIMEOUT_S", "60")]).await else {
        return;
    };
    let conversation = service.conversation("stop").await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(service.watch(&events(&conversation)).await);
    }

    service.server().terminate();

    for stream in &mut streams {
        let came = tokio::time::timeout(SOON, stream.came()).await;
        assert_eq!(came, Ok(Came::End));
    }
    let mut server = service.server.take().expect("a server of our own");
    assert_eq!(server.wait_exit(Duration::from_secs(5)).await.code(), Some(0));
}

/// V12, O2: there is nobody to wait for
pub(super) async fn a_stop_does_not_wait_for_who_does_not_read(on: Database) {
    let Some(mut service) = on.service_with(&[("DRAIN_TIMEOUT_S", "60")]).await else {
        return;
    };
    let conversation = service.conversation("stop").await;
    let _stalled = service.watch(&events(&conversation)).await;
    // More than the network can hold on the way.
    let text = "€".repeat(90_000);
    for _ in 0..80 {
        service.message(&conversation, "assistant", &text).await;
    }

    service.server().terminate();

    let mut server = service.server.take().expect("a server of our own");
    assert_eq!(server.wait_exit(Duration::from_secs(5)).await.code(), Some(0));
}

/// V15, D7: whoever could still read, too
pub(super) async fn a_client_that_closes_its_side_ends_its_stream(on: Database) {
    let Some(service) = on.service_with(&[("MAX_STREAMS", "1")]).await else {
        return;
    };
    let conversation = service.conversation("leaving").await;
    let mut stream = service.watch(&events(&conversation)).await;
    assert_eq!(service.get(&events(&conversation)).await.status, 503);

    stream.raw().finish().await.expect("half a close");

    let ended = tokio::time::timeout(SOON, stream.raw().drained()).await;
    assert_eq!(ended, Ok(()));
    place(&service, &conversation).await;
}

/// The memory that a process has to itself, in MiB.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.expect("a number") / 1024
}

/// V14: large events, which all come in the end and cost no memory until then
pub(super) async fn who_does_not_read_misses_nothing(on: Database) {
    // Few and large: whoever reads nothing for half a minute is closed, and all has to happen before that.
    const MESSAGES: usize = 80;
    let Some(service) = on.service_with(&[]).await else {
        return;
    };
    let conversation = service.conversation("slow").await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(service.watch(&events(&conversation)).await);
    }
    let process = service.server().pid();
    let before = memory(process);
    let body = json!({ "role": "assistant", "text": "€".repeat(90_000) });
    let create = format!("/conversations/{conversation}/messages/create");

    for _ in 0..MESSAGES / 20 {
        let together = (0..20).map(|_| service.post_json(&create, &body));
        for made in futures_util::future::join_all(together).await {
            made.expect(201);
        }
    }

    let grown = memory(process).saturating_sub(before);
    assert!(
        grown < 110,
        "{grown} MiB more, where all of it for all of them is 160 MiB"
    );
    let read = slow.iter_mut().map(|stream| stream.take(MESSAGES));
    let read = futures_util::future::join_all(read).await;
    assert!(
        read[0].is_sorted_by(|one, next| one.id < next.id),
        "all of it, once, in its order"
    );
    assert!(
        read.iter().all(|frames| *frames == read[0]),
        "and the same for everybody"
    );
}
