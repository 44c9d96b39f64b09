//! Every fault of a provider, in every dialect, streamed and whole: what comes of it, in how much memory.

use std::collections::BTreeSet;

use engagement::model::FinishReason;

use super::{Asked, Dialect, MANNERS, Manner, ask};
use crate::support::upstream::{FAULTS, Upstream};

/// Time limits for faults that are slow: what they are about is that the limits hold.
const IMPATIENT: &str = "first_byte_timeout_s = 1\ngap_timeout_s = 2\ntotal_timeout_s = 3";

/// Fault | streamed | whole. What is in quotes is the text of an answer; codes that hold in one dialect only stand behind its name.
const OUTCOMES: &str = r#"
    html                 | retry provider_garbled | retry provider_garbled
    empty_body           | retry incomplete_answer | retry provider_garbled
    empty_object         | retry incomplete_answer | retry provider_garbled
    wrong_shape          | retry incomplete_answer, Chat: retry provider_garbled | retry provider_garbled
    truncated_json       | retry provider_garbled | retry provider_garbled
    no_terminal          | retry incomplete_answer | retry incomplete_answer
    no_reason            | "Once upon a ti" | "Once upon a ti"
    dropped              | retry incomplete_answer | retry incomplete_answer
    cut_utf8             | retry incomplete_answer | retry provider_garbled
    invalid_utf8         | "caf�� noir" | "caf�� noir"
    nul                  | "café" | "café"
    lone_surrogates      | "caf� � 😀" | "caf� � 😀"
    empty_completion     | "" | ""
    only_tool_calls      | "" | ""
    error_event          | retry provider_failed, Messages: retry provider_overloaded | retry provider_overloaded
    another_id           | retry provider_garbled | "Once upon a ti"
    two_terminals        | "Once upon a ti" | retry provider_garbled
    length               | "and so on" | "and so on"
    retry_after          | retry provider_limited after 1 s | retry provider_limited after 1 s
    retry_after_year     | retry provider_limited after 31536000 s | retry provider_limited after 31536000 s
    retry_after_negative | retry provider_limited after 0 s | retry provider_limited after 0 s
    retry_after_date     | retry provider_limited after 0 s | retry provider_limited after 0 s
    spent                | fail provider_spent | fail provider_spent
    quota                | fail provider_spent | fail provider_spent
    status_400           | fail provider_rejected | fail provider_rejected
    status_401           | fail provider_unauthorized | fail provider_unauthorized
    status_404           | fail unknown_model | fail unknown_model
    status_500           | retry provider_failed | retry provider_failed
    status_503           | retry provider_overloaded | retry provider_overloaded
    status_529           | retry provider_overloaded | retry provider_overloaded
    too_long             | too long context_too_long | too long context_too_long
    redirect             | fail provider_redirected | fail provider_redirected
    no_content_type      | "Once upon a ti" | "Once upon a ti"
    ignores_stream       | "Once upon a ti" | "Once upon a ti"
    no_stream_options    | "Once upon a ti" | "Once upon a ti"
    endless_body         | fail answer_too_large | fail answer_too_large
    endless_stream       | fail answer_too_large | fail answer_too_large
    drip                 | retry provider_timeout | retry provider_timeout
    gzip_bomb            | retry provider_garbled | retry provider_garbled
    long_header          | retry provider_garbled | retry provider_garbled
    wrong_length         | retry incomplete_answer | retry incomplete_answer
    reset_before         | retry provider_unreachable | retry provider_unreachable
    reset_during         | retry incomplete_answer | retry incomplete_answer
    reset_after          | retry incomplete_answer | retry incomplete_answer
    silent               | retry provider_timeout | retry provider_timeout
    stalled              | retry provider_timeout | retry provider_timeout
"#;

/// The largest body that is kept, what may be on its way in sockets, and something to spare.
const MOST_SENT_WHOLE: u64 = 8 * MIB + 16 * MIB;
const MOST_SENT_STREAMED: u64 = 64 * MIB + 16 * MIB;
const MIB: u64 = 1024 * 1024;

fn rows() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    OUTCOMES.lines().filter(|line| !line.is_empty()).map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        (cells[0], cells[1], cells[2])
    })
}

/// What the table says of a manner: its own entry, if there is one, or the first.
fn expected(cell: &'static str, dialect: Dialect) -> &'static str {
    let own = cell.split_once(&format!(", {dialect:?}: "));
    own.map_or_else(|| cell.split(", ").next().unwrap_or_default(), |(_, own)| own)
}

fn shown(asked: &Asked) -> String {
    match &asked.outcome {
        Ok(_) => format!("{:?}", asked.text),
        Err(_) => asked.outcome(),
    }
}

/// Asks for each fault in one manner, each of a provider of its own: they fail for themselves.
async fn complaints(
    manner: Manner,
    rows: impl Iterator<Item = (&'static str, &'static str, &'static str)>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (fault, streamed, whole) in rows {
        let upstream = Upstream::start().await;
        let slow = ["silent", "stalled", "drip"].contains(&fault);
        let providers = manner.at(&upstream, if slow { IMPATIENT } else { "" });
        let asked = ask(&providers, &format!("fault:{fault} please")).await;
        let expected = expected(if manner.streams { streamed } else { whole }, manner.dialect);
        if shown(&asked) != expected {
            wrong.push(format!(
                "{fault}, {manner}: {} instead of {expected}",
                shown(&asked)
            ));
        }
        let most = if manner.streams {
            MOST_SENT_STREAMED
        } else {
            MOST_SENT_WHOLE
        };
        if upstream.sent() > most {
            wrong.push(format!("{fault}, {manner}: took {} bytes", upstream.sent()));
        }
        if asked.longest_piece > 4096 {
            wrong.push(format!(
                "{fault}, {manner}: a piece of {} bytes",
                asked.longest_piece
            ));
        }
        if let Err(refusal) = &asked.outcome
            && format!("{refusal:?}").contains("canary")
        {
            wrong.push(format!(
                "{fault}, {manner}: says what the provider said: {refusal:?}"
            ));
        }
    }
    wrong
}

async fn holds(dialect: Dialect) {
    let manners = MANNERS.into_iter().filter(|manner| manner.dialect == dialect);
    for manner in manners {
        let wrong = complaints(manner, rows()).await;
        assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    }
}

#[tokio::test]
async fn every_fault_of_chat_completions_has_its_outcome() {
    holds(Dialect::Chat).await;
}

#[tokio::test]
async fn every_fault_of_the_responses_api_has_its_outcome() {
    holds(Dialect::Responses).await;
}

#[tokio::test]
async fn every_fault_of_the_messages_api_has_its_outcome() {
    holds(Dialect::Messages).await;
}

#[tokio::test]
async fn control_a_wrong_outcome_is_reported() {
    let wrong = [
        ("status_500", "retry provider_overloaded", "\"\""),
        ("nul", "\"caf\u{0}é\"", "ok"),
    ];
    for manner in MANNERS {
        assert_eq!(
            complaints(manner, wrong.into_iter()).await.len(),
            wrong.len(),
            "{manner}"
        );
    }
}

#[test]
fn every_fault_is_in_the_table_or_has_a_test_of_its_own() {
    let mut tested: BTreeSet<_> = rows().map(|(fault, ..)| fault).collect();
    tested.extend(["tiny_chunks", "five_megabytes"]);
    assert_eq!(tested, FAULTS.iter().copied().collect());
}

#[tokio::test]
async fn a_hundred_thousand_tiny_chunks_are_one_text() {
    for manner in MANNERS {
        let upstream = Upstream::start().await;
        let asked = ask(&manner.at(&upstream, ""), "fault:tiny_chunks please").await;
        assert_eq!(asked.outcome(), "ok", "{manner}");
        assert!(
            asked.text.len() == 100_000 && asked.text.bytes().all(|byte| byte == b'x'),
            "{manner}"
        );
    }
}

#[tokio::test]
async fn five_megabytes_arrive_whole_in_small_pieces() {
    for manner in MANNERS {
        let upstream = Upstream::start().await;
        let asked = ask(&manner.at(&upstream, ""), "fault:five_megabytes please").await;
        assert_eq!(asked.outcome(), "ok", "{manner}");
        assert_eq!(asked.text.len(), 5 * 1024 * 1024, "{manner}");
        assert!(asked.text.starts_with("five megabytes. five"), "{manner}");
        assert!(asked.longest_piece <= 4096, "{manner}: {}", asked.longest_piece);
    }
}

#[tokio::test]
async fn an_answer_that_reached_its_longest_says_so() {
    for manner in MANNERS {
        let upstream = Upstream::start().await;
        let providers = manner.at(&upstream, "");
        let long = ask(&providers, "fault:length please").await;
        assert_eq!(long.finish(), FinishReason::Length, "{manner}");
        let ended = ask(&providers, "fault:two_terminals:0 please").await;
        assert_eq!(ended.finish(), FinishReason::Stop, "{manner}");
    }
}

#[tokio::test]
async fn of_two_ends_the_first_counts() {
    for dialect in [Dialect::Chat, Dialect::Responses, Dialect::Messages] {
        let upstream = Upstream::start().await;
        let asked = ask(
            &Manner::new(dialect, true).at(&upstream, ""),
            "fault:two_terminals please",
        )
        .await;
        assert_eq!(
            (asked.finish(), asked.text.as_str()),
            (FinishReason::Stop, "Once upon a ti"),
            "{dialect:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_asked_again_later() {
    let upstream = Upstream::start().await;
    let address = upstream.address();
    let refused = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let refused = refused.expect("a port where nobody listens");
    for url in [
        format!("http://{refused}/v1"),
        "http://nowhere.invalid/v1".to_owned(),
    ] {
        let providers = super::configured(&format!("base_url = '{url}'\nmodels = ['m']"));
        assert_eq!(
            ask(&providers, "hello").await.outcome(),
            "retry provider_unreachable",
            "{url}"
        );
    }
    assert_eq!(upstream.calls(), 0, "control: {address} is somebody else");
}
