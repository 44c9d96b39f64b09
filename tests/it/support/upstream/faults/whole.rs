//! Faults of an answer in one piece.

use std::future::pending;
use std::io::Result;
use std::time::Duration;

use tokio::time::sleep;

use super::{BEGINNING, Dialect, Finish, JSON, Out, endless, literal, settle};

pub(super) async fn answer(name: &str, dialect: &Dialect, out: &mut Out) -> Result<()> {
    let text = dialect.whole(&literal(BEGINNING), Finish::Stop, 1);
    let (half, _) = text.as_bytes().split_at(text.len() / 2);
    match name {
        "no_reason" => out.whole(200, JSON, "", text.as_bytes()).await,
        "no_terminal" | "dropped" => {
            out.begin(JSON).await?;
            out.chunk(half).await?;
            out.close().await
        }
        "only_tool_calls" => {
            out.whole(
                200,
                JSON,
                "",
                dialect.whole("\"\"", Finish::ToolCalls, 1).as_bytes(),
            )
            .await
        }
        "error_event" => {
            out.whole(200, JSON, "", dialect.refusal("overloaded_error", "").as_bytes())
                .await
        }
        "another_id" => {
            let other = dialect.with_id("answer-of-somebody-else");
            out.whole(
                200,
                JSON,
                "",
                other.whole(&literal(BEGINNING), Finish::Stop, 1).as_bytes(),
            )
            .await
        }
        "two_terminals" => out.whole(200, JSON, "", text.repeat(2).as_bytes()).await,
        "tiny_chunks" => {
            let text = dialect.whole(&literal(&"x".repeat(100_000)), Finish::Stop, 100_000);
            out.begin(JSON).await?;
            for byte in text.as_bytes() {
                out.raw(&[b"1\r\n", &[*byte][..], b"\r\n"].concat()).await?;
            }
            out.end().await
        }
        "endless_body" => {
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-type: {JSON}\r\ncontent-length: 10737418240\r\n\r\n");
            out.raw(head.as_bytes()).await?;
            out.raw(half).await?;
            endless(out).await
        }
        "endless_stream" => {
            out.begin(JSON).await?;
            out.chunk(half).await?;
            endless(out).await
        }
        "drip" => {
            out.begin(JSON).await?;
            for byte in text.as_bytes() {
                out.chunk(&[*byte]).await?;
                sleep(Duration::from_secs(1)).await;
            }
            out.end().await
        }
        "reset_during" | "reset_after" => {
            out.begin(JSON).await?;
            out.chunk(half).await?;
            settle().await;
            out.reset()
        }
        "stalled" => {
            out.begin(JSON).await?;
            out.chunk(half).await?;
            pending().await
        }
        _ => panic!("there is no fault {name}"),
    }
}
