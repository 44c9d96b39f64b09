use super::events::{self, after_header};
use crate::http::{
    api::shapes,
    openapi::{
        Described, Example, REPLIES,
        schemas::{one_of, string},
    },
};

const REPLY: &str = r#"{"message_id":"0199c0de-0000-7000-8000-000000000001","status":"succeeded","attempts":1,"assistant_message_id":"0199c0de-0000-7000-8000-000000000002","error":null,"date_created":"2026-01-19T12:00:00.000000Z","date_started":"2026-01-19T12:00:00.000000Z","date_finished":"2026-01-19T12:00:01.000000Z"}"#;

const CANCELLED: &str = r#"{"message_id":"0199c0de-0000-7000-8000-000000000001","status":"cancelled","attempts":1,"assistant_message_id":null,"error":null,"date_created":"2026-01-19T12:00:00.000000Z","date_started":null,"date_finished":"2026-01-19T12:00:01.000000Z"}"#;

const QUEUED: &str = r#"{"message_id":"0199c0de-0000-7000-8000-000000000001","status":"queued","attempts":1,"assistant_message_id":"0199c0de-0000-7000-8000-000000000002","error":null,"date_created":"2026-01-19T12:00:02.000000Z","date_started":null,"date_finished":null}"#;

pub(in crate::http::api) fn read() -> Described {
    let described = Described::new("readReply", REPLIES, "Read or watch the reply to a user message")
        .saying(
            "Of an assistant message there is none: 404. With `stream=true`, or with `Accept: text/event-stream` where `stream` is not \
             given, the answer is a stream of this reply's events: from its latest try on, or after the event that is named, and over \
             once the reply is.",
        )
        .query(
            "stream",
            "Whether to answer with a stream.",
            one_of(["true", "false", "1", "0", ""]),
        );
    let described = after_header(described.query(
        "after",
        "Of a stream: the number of the last event that was seen, in digits.",
        string().examples(["0"]),
    ));
    let described = described
        .answers::<shapes::Reply<'_>>(200, "The reply.", Example::new(REPLY))
        .answers_nothing(
            204,
            "Of a stream: the reply is final and its last event was seen. There is no need to come back.",
        );
    events::streaming(described, "Or its events, as they happen.")
}

pub(in crate::http::api) fn cancel() -> Described {
    Described::new("cancelReply", REPLIES, "Cancel a reply")
        .saying(
            "Ends a reply that is not final, wherever it is being written. What was written by then is kept as an assistant message, \
             which the reply names. A final reply stays as it is. A body is ignored.",
        )
        .answers::<shapes::Reply<'_>>(200, "The reply, which is final now.", Example::new(CANCELLED))
}

pub(in crate::http::api) fn retry() -> Described {
    Described::new("retryReply", REPLIES, "Have a reply written again")
        .saying(
            "Takes a final reply; one that is not is 409. An answer that is there stays until there is a new one, which then takes its \
             place in the order with an id of its own. A body is ignored.",
        )
        .answers::<shapes::Reply<'_>>(202, "The reply, which is to be written.", Example::new(QUEUED))
}

pub(in crate::http::api) fn attempts() -> Described {
    Described::new("listAttempts", REPLIES, "List the earlier tries of a reply")
        .saying("Those before the latest one, oldest first. Their answers can be read here for good.")
        .answers::<shapes::Attempts<'_>>(
            200,
            "The tries.",
            Example::new(
                r#"{"results":[{"number":1,"status":"succeeded","assistant_message_id":"0199c0de-0000-7000-8000-000000000002","text":"Hello!","error":null,"date_started":"2026-01-19T12:00:00.000000Z","date_finished":"2026-01-19T12:00:01.000000Z"}]}"#,
            ),
        )
}
