//! SIGKILL in the middle of an import: what is there is whole, and the next run goes on.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::timeout;

use super::{exported, imported, ran, write};
use crate::copy::{Place, engagement, home};
use crate::support::{SOON, eventually};

/// Many small conversations around a long one in parts, so that a death comes in the middle of either.
fn lines() -> String {
    let mut lines = String::new();
    let mut number = 0_u128;
    let mut messages = |count: usize| -> Vec<_> {
        (0..count)
            .map(|_| {
                number += 1;
                let id = uuid::Uuid::from_u128((2 << 120) + number * 7919 % 1_000_003).to_string();
                json!({ "message_id": id, "role": "assistant", "text": format!("number {number}"),
                        "date_created": "2026-01-02T03:04:05.000000Z" })
            })
            .collect()
    };
    for conversation in 0..600_u128 {
        let id = uuid::Uuid::from_u128((1 << 120) + conversation).to_string();
        let parts: u64 = if conversation == 300 { 5 } else { 1 };
        for part in 1..=parts {
            let mut line = json!({
                "format": "engagement.conversation/1",
                "conversation_id": id,
                "messages": messages(if parts > 1 { 2_000 } else { 10 }),
            });
            if part == 1 {
                line["description"] = json!("d");
                line["date_created"] = json!("2026-01-02T03:04:05.000000Z");
            } else {
                line["part"] = json!(part);
            }
            if part < parts {
                line["more"] = json!(true);
            }
            writeln!(lines, "{line}").expect("a string takes it");
        }
    }
    lines
}

async fn prove(target: Place) {
    let home = home();
    write(&home, "lines.jsonl", &lines());
    let undisturbed = Place::file(&home, "undisturbed.db");
    let began = Instant::now();
    imported(&home, &["jsonl", "lines.jsonl"], &undisturbed).await;
    let took = began.elapsed();
    let all = exported(&home, &undisturbed).await;
    let whole: BTreeSet<&str> = all.lines().collect();

    let arguments = ["import", "jsonl", "lines.jsonl", "--database-url", &target.url()];
    let mut deaths = 0;
    for round in 1..=40_u32 {
        let before = target.messages().await;
        let mut running = engagement(&home, &arguments).launch();
        if deaths == 0 {
            eventually("something has arrived", 3 * SOON, async || {
                (target.messages().await > before).then_some(())
            })
            .await;
        } else if let Ok(status) = timeout(
            took / 40 * (round % 20) + Duration::from_millis(5),
            running.wait_exit(SOON),
        )
        .await
        {
            assert!(status.success(), "{}", running.stderr());
            break;
        }
        running.kill();
        deaths += 1;
        // Whatever is seen is whole.
        for line in exported(&home, &target).await.lines() {
            assert!(whole.contains(line), "a part: {line:.200}");
        }
    }
    assert!(deaths > 1, "it was killed");
    let last = imported(&home, &["jsonl", "lines.jsonl"], &target).await;
    assert!(last.contains("refused: 0"), "{last}");
    assert!(exported(&home, &target).await == all, "the end is the same");
    let check = ran(&home, &["check", "--database-url", &target.url()]).await;
    assert!(check.stdout.contains("database: ok"), "{check:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_into_a_file_that_is_killed_goes_on() {
    let home = home();
    let target = Place::file(&home, "target.db");
    ran(&home, &["migrate", "apply", "--database-url", &target.url()]).await;
    prove(target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_into_a_server_that_is_killed_goes_on() {
    let Some(target) = Place::server().await else {
        return;
    };
    ran(&home(), &["migrate", "apply", "--database-url", &target.url()]).await;
    prove(target).await;
}
