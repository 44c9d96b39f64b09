//! A server that gives a node fewer connections than it wants: those that are left do the work.

use std::collections::HashSet;
use std::time::Instant;

use serde_json::json;

use crate::faults::{Proof, ensure, fails, holds, new_home};
use crate::support::postgres::{Durability, PrivateCluster, private};
use crate::support::{SOON, Server, eventually};

/// Takes all connections from a node, of which all but so many may come back, and writes over these.
async fn prove(cluster: &PrivateCluster, missing: usize) -> Proof<usize> {
    let database = cluster.database().await;
    let admin = database.client().await;
    let role = "CREATE ROLE few LOGIN; GRANT ALL ON SCHEMA public TO few";
    admin.batch_execute(role).await.expect("a role");
    let server = Server::builder_over(&new_home())
        // A lone one that cannot be had leaves nobody to write.
        .env("DATABASE_WRITERS", "2")
        .env(
            "DATABASE_URL",
            &database.url().replace("user=postgres", "user=few"),
        )
        .start()
        .await;
    let client = server.client();
    let conversation = client.conversation("over few connections").await;
    let path = format!("/conversations/{conversation}/messages/create");
    let message = json!({ "text": "over few connections", "role": "assistant" });
    let write = async || client.post_json(&path, &message).await;
    let pids = async |sql: &str| -> HashSet<i32> {
        let rows = admin.query(sql, &[]).await.expect("connections");
        rows.iter().map(|row| row.get(0)).collect()
    };

    let all = pids("SELECT pid FROM pg_stat_activity WHERE usename = 'few'")
        .await
        .len();
    let left = all - missing.min(all);
    let limit = format!("ALTER ROLE few CONNECTION LIMIT {left}");
    admin.batch_execute(&limit).await.expect("a limit");
    // Which of them come back is chance: hence again and again.
    for _ in 0..10 {
        let end = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'few'";
        let ended = pids(end).await;
        eventually("as many connections as may be are back", 3 * SOON, async || {
            // One that was ended, or refused, is in the list for a moment; one that is back says something.
            let back = "SELECT pid FROM pg_stat_activity WHERE usename = 'few' AND query <> ''";
            (pids(back).await.difference(&ended).count() == left).then_some(())
        })
        .await;
        // That the node has heard of them shows when it writes.
        let began = Instant::now();
        while write().await.status != 201 {
            ensure(began.elapsed() < SOON / 2, || {
                format!("nothing is written over {left} of {all} connections")
            })?;
        }
        for _ in 0..20 {
            let answer = write().await;
            ensure(answer.status == 201, || {
                format!("over {left} of {all} connections: {}", answer.text())
            })?;
        }
    }
    Ok(left)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_misses_a_connection_that_cannot_be_had() {
    let Some(cluster) = private(Durability::Fast).await else {
        return;
    };
    holds(prove(&cluster, 1).await, &new_home());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_connections_that_are_all_gone_are_missed() {
    let Some(cluster) = private(Durability::Fast).await else {
        return;
    };
    fails(prove(&cluster, usize::MAX).await, "nothing is written over 0 of");
}
