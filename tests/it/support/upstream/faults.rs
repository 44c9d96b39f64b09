//! What can go wrong with a provider, by name.

mod streamed;
mod whole;

use std::future::pending;
use std::io::Result;
use std::time::Duration;

use tokio::time::sleep;

use super::dialect::{Dialect, Finish, Kind};
use super::literal;
use super::wire::Out;

/// Every fault. A failure of TLS is an `https` URL of the same port; one of DNS is a name that ends in `.invalid`.
pub(crate) const FAULTS: &[&str] = &[
    // 200 with what is no answer.
    "html",
    "empty_body",
    "empty_object",
    "wrong_shape",
    "truncated_json",
    "no_terminal",
    "no_reason",
    "dropped",
    // 200 with letters that are none.
    "cut_utf8",
    "invalid_utf8",
    "nul",
    "lone_surrogates",
    // 200 with less or more than an answer.
    "empty_completion",
    "only_tool_calls",
    "error_event",
    "another_id",
    "two_terminals",
    "tiny_chunks",
    "five_megabytes",
    "length",
    // Refusals.
    "retry_after",
    "retry_after_year",
    "retry_after_negative",
    "retry_after_date",
    "spent",
    "quota",
    "status_400",
    "status_401",
    "status_404",
    "status_500",
    "status_503",
    "status_529",
    "too_long",
    "redirect",
    "no_stream_options",
    "ignores_stream",
    "no_content_type",
    // The transport.
    "endless_body",
    "endless_stream",
    "drip",
    "gzip_bomb",
    "long_header",
    "wrong_length",
    "reset_before",
    "reset_during",
    "reset_after",
    "silent",
    "stalled",
];

/// What an answer begins with where it breaks off later.
const BEGINNING: &str = "Once upon a ti";

const JSON: &str = "application/json";

pub(super) async fn answer(name: &str, dialect: &Dialect, streams: bool, out: &mut Out) -> Result<()> {
    match name {
        "html" => {
            out.whole(
                200,
                "text/html",
                "",
                b"<html><body>Welcome to nginx!</body></html>",
            )
            .await
        }
        "empty_body" => out.whole(200, kind(streams), "", b"").await,
        "empty_object" => document(streams, "{}", out).await,
        "wrong_shape" => {
            document(
                streams,
                r#"{"choices":"none","content":7,"output":{},"type":[]}"#,
                out,
            )
            .await
        }
        "truncated_json" => {
            let whole = dialect.whole(&literal("cut"), Finish::Stop, 1);
            document(streams, &whole[..whole.len() / 2], out).await
        }
        "gzip_bomb" => {
            out.whole(
                200,
                kind(streams),
                "content-encoding: gzip\r\n",
                &vec![0; 1024 * 1024],
            )
            .await
        }
        "long_header" => {
            let line = format!("x-long: {}\r\n", "a".repeat(1024 * 1024));
            out.whole(200, kind(streams), &line, b"{}").await
        }
        "wrong_length" => {
            let text = body(&literal("cut off"), Finish::Stop, dialect, streams);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {}\r\ncontent-length: 1000000\r\n\r\n",
                kind(streams)
            );
            out.raw(&[head.as_bytes(), &text.as_bytes()[..text.len() / 2]].concat())
                .await?;
            out.close().await
        }
        "no_content_type" => {
            let text = body(&literal(BEGINNING), Finish::Stop, dialect, streams);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
            out.raw(&[head.as_bytes(), text.as_bytes()].concat()).await
        }
        "ignores_stream" => {
            let body = dialect.whole(&literal(BEGINNING), Finish::Stop, 1);
            out.whole(200, JSON, "", body.as_bytes()).await
        }
        "reset_before" => out.reset(),
        "silent" => pending().await,
        _ => refusals(name, dialect, streams, out).await,
    }
}

/// Faults that a status tells.
async fn refusals(name: &str, dialect: &Dialect, streams: bool, out: &mut Out) -> Result<()> {
    match name {
        "retry_after" => {
            refuse(
                429,
                "retry-after: 1\r\n",
                "rate_limit_error",
                "rate_limit_exceeded",
                dialect,
                out,
            )
            .await
        }
        "retry_after_year" => {
            refuse(
                429,
                "retry-after: 31536000\r\n",
                "rate_limit_error",
                "",
                dialect,
                out,
            )
            .await
        }
        "retry_after_negative" => {
            refuse(429, "retry-after: -5\r\n", "rate_limit_error", "", dialect, out).await
        }
        "retry_after_date" => {
            let date = "retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
            refuse(429, date, "rate_limit_error", "", dialect, out).await
        }
        "spent" => refuse(429, "", "rate_limit_error", "", dialect, out).await,
        "quota" => {
            refuse(
                429,
                "retry-after: 1\r\n",
                "insufficient_quota",
                "insufficient_quota",
                dialect,
                out,
            )
            .await
        }
        "status_400" => refuse(400, "", "invalid_request_error", "", dialect, out).await,
        "status_401" => refuse(401, "", "authentication_error", "invalid_api_key", dialect, out).await,
        "status_404" => refuse(404, "", "not_found_error", "model_not_found", dialect, out).await,
        "status_500" => refuse(500, "", "api_error", "", dialect, out).await,
        "status_503" => refuse(503, "", "api_error", "", dialect, out).await,
        "status_529" => refuse(529, "", "overloaded_error", "", dialect, out).await,
        "too_long" => {
            let body = match dialect.kind() {
                Kind::Chat | Kind::Responses => dialect.refusal("invalid_request_error", "context_length_exceeded"),
                Kind::Messages => r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#.to_owned(),
            };
            out.whole(400, JSON, "", body.as_bytes()).await
        }
        // What servers do that do not know them.
        "no_stream_options" if dialect.wants_usage() => {
            refuse(400, "", "invalid_request_error", "", dialect, out).await
        }
        "redirect" => {
            out.whole(
                302,
                JSON,
                "location: http://10.0.0.1/v1/chat/completions\r\n",
                b"{}",
            )
            .await
        }
        _ => letters(name, dialect, streams, out).await,
    }
}

/// Faults of what the answer says.
async fn letters(name: &str, dialect: &Dialect, streams: bool, out: &mut Out) -> Result<()> {
    let say = |text: &str| body(text, Finish::Stop, dialect, streams);
    let broken = |with: &[u8]| {
        let whole = say("\"caf@@ noir\"");
        let (before, after) = whole.split_once("@@").unwrap_or_default();
        [before.as_bytes(), with, after.as_bytes()].concat()
    };
    match name {
        "cut_utf8" => {
            // The first byte of two, and then the end.
            let bytes = broken(b"\xc3");
            let cut = bytes.iter().position(|byte| *byte == 0xc3).unwrap_or_default() + 1;
            send(streams, &bytes[..cut], out).await
        }
        "invalid_utf8" => send(streams, &broken(b"\xff\xfe"), out).await,
        "nul" => send(streams, say(r#""caf\u0000é""#).as_bytes(), out).await,
        "lone_surrogates" => send(streams, say(r#""caf\ud83d \uDE00 \ud83d\ude00""#).as_bytes(), out).await,
        "no_stream_options" => send(streams, say(&literal(BEGINNING)).as_bytes(), out).await,
        "empty_completion" => send(streams, say("\"\"").as_bytes(), out).await,
        "five_megabytes" => {
            let text = "five megabytes. ".repeat(5 * 1024 * 1024 / 16);
            if !streams {
                return send(streams, say(&literal(&text)).as_bytes(), out).await;
            }
            out.begin_stream().await?;
            out.chunk(dialect.opening().as_bytes()).await?;
            for at in (0..text.len()).step_by(1024) {
                out.chunk(dialect.delta(&literal(&text[at..at + 1024])).as_bytes())
                    .await?;
            }
            out.chunk(dialect.closing(Finish::Stop, 1).as_bytes()).await?;
            out.end().await
        }
        "length" => {
            send(
                streams,
                body(&literal("and so on"), Finish::Length, dialect, streams).as_bytes(),
                out,
            )
            .await
        }
        _ if streams => streamed::answer(name, dialect, out).await,
        _ => whole::answer(name, dialect, out).await,
    }
}

/// A reset throws away what its receiver has not read yet.
async fn settle() {
    sleep(Duration::from_millis(50)).await;
}

/// Letters without an end, and without a line's end.
async fn endless(out: &mut Out) -> Result<()> {
    let part = vec![b'a'; 64 * 1024];
    loop {
        out.chunk(&part).await?;
    }
}

async fn refuse(
    status: u16,
    headers: &str,
    kind: &str,
    code: &str,
    dialect: &Dialect,
    out: &mut Out,
) -> Result<()> {
    out.whole(status, JSON, headers, dialect.refusal(kind, code).as_bytes())
        .await
}

/// The whole answer in the manner that was asked for.
fn body(text: &str, finish: Finish, dialect: &Dialect, streams: bool) -> String {
    if streams {
        dialect.opening() + &dialect.delta(text) + &dialect.closing(finish, 1)
    } else {
        dialect.whole(text, finish, 1)
    }
}

/// A document where an answer should be.
async fn document(streams: bool, json: &str, out: &mut Out) -> Result<()> {
    if streams {
        send(true, format!("data: {json}\n\n").as_bytes(), out).await
    } else {
        send(false, json.as_bytes(), out).await
    }
}

async fn send(streams: bool, bytes: &[u8], out: &mut Out) -> Result<()> {
    if !streams {
        return out.whole(200, JSON, "", bytes).await;
    }
    out.begin_stream().await?;
    out.chunk(bytes).await?;
    out.end().await
}

fn kind(streams: bool) -> &'static str {
    if streams { "text/event-stream" } else { JSON }
}
