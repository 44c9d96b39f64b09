//! Faults of a streamed answer.

use std::future::pending;
use std::io::Result;
use std::time::Duration;

use tokio::time::sleep;

use super::{BEGINNING, Dialect, Finish, Out, endless, literal, settle};

pub(super) async fn answer(name: &str, dialect: &Dialect, out: &mut Out) -> Result<()> {
    let beginning = dialect.opening() + &dialect.delta(&literal(BEGINNING));
    if name == "endless_body" {
        out.begin_stream().await?;
        out.chunk(b"data: ").await?;
        return endless(out).await;
    }
    out.begin_stream().await?;
    match name {
        "no_terminal" => {
            out.chunk(beginning.as_bytes()).await?;
            out.end().await
        }
        // Whoever never says why an answer ends, and whoever drops one, ends it alike: only the connection tells.
        "no_reason" => {
            out.chunk((beginning + &dialect.bare_end()).as_bytes()).await?;
            out.end().await
        }
        "dropped" => {
            out.chunk((beginning + &dialect.bare_end()).as_bytes()).await?;
            out.close().await
        }
        "only_tool_calls" => {
            let events = dialect.opening() + &dialect.tool_call() + &dialect.closing(Finish::ToolCalls, 1);
            out.chunk(events.as_bytes()).await?;
            out.end().await
        }
        "error_event" => {
            out.chunk((beginning + &dialect.error_event()).as_bytes()).await?;
            out.end().await
        }
        "another_id" => {
            let other = dialect.with_id("answer-of-somebody-else");
            let rest = other.opening() + &other.delta(&literal("secret")) + &other.closing(Finish::Stop, 1);
            out.chunk((beginning + &rest).as_bytes()).await?;
            out.end().await
        }
        "two_terminals" => {
            let rest = dialect.closing(Finish::Stop, 1)
                + &dialect.delta(&literal("SECOND"))
                + &dialect.closing(Finish::Length, 2);
            out.chunk((beginning + &rest).as_bytes()).await?;
            out.end().await
        }
        "tiny_chunks" => {
            let mut events = dialect.opening();
            for _ in 0..1_000 {
                for _ in 0..100 {
                    events += &dialect.delta("\"x\"");
                }
                // Every event in a chunk of its own would be 100,000 writes here; half of them are cut in two.
                for half in events.as_bytes().chunks(events.len() / 100) {
                    out.chunk(half).await?;
                }
                events.clear();
            }
            out.chunk(dialect.closing(Finish::Stop, 100_000).as_bytes())
                .await?;
            out.end().await
        }
        "endless_stream" => {
            let events = dialect.delta(&literal(&"on and on ".repeat(10))).repeat(100);
            out.chunk(dialect.opening().as_bytes()).await?;
            loop {
                out.chunk(events.as_bytes()).await?;
            }
        }
        "drip" => loop {
            for byte in beginning.as_bytes() {
                out.chunk(&[*byte]).await?;
                sleep(Duration::from_secs(1)).await;
            }
        },
        "reset_during" => {
            out.chunk(&beginning.as_bytes()[..beginning.len() - 9]).await?;
            settle().await;
            out.reset()
        }
        "reset_after" => {
            out.chunk(beginning.as_bytes()).await?;
            settle().await;
            out.reset()
        }
        "stalled" => {
            out.chunk(beginning.as_bytes()).await?;
            pending().await
        }
        _ => panic!("there is no fault {name}"),
    }
}
