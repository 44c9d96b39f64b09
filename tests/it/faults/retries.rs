//! Clients that ask again and again because the network takes their answers away, all under one `Idempotency-Key` each.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::postgres::node::{Duty, Node};
use super::{Dice, Proof, database, ensure, fails, holds, new_home, number_from_env};
use crate::support::postgres::{TestDatabase, shared};
use crate::support::proxy::{Proxy, Upstream, Verdict};
use crate::support::{Answer, Client, Server};

/// How often each is asked for at once.
const AT_ONCE: usize = 20;

/// How many keys are asked for at once.
const KEYS_AT_ONCE: usize = 6;

/// Enough for a control.
const FEW: usize = 30;

/// Of so many requests, one gets no answer.
const CUT_ONE_IN: usize = 3;

fn keys() -> usize {
    number_from_env("ENGAGEMENT_TEST_RETRIED_KEYS", 1_000)
}

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    requests: usize,
    cuts: usize,
    messages: u64,
}

/// What one key came to.
struct Told {
    requests: usize,
    /// Every body that came with 201. There should be one.
    bodies: HashSet<String>,
}

/// Has one message created under one key by many at once, each of whom asks until it is told.
async fn ask(clients: &[Client], path: &str, key: usize) -> Told {
    let requests = Arc::new(AtomicUsize::new(0));
    let mut asking = JoinSet::new();
    for at in 0..AT_ONCE {
        let (client, path) = (clients[at % clients.len()].clone(), path.to_owned());
        let requests = Arc::clone(&requests);
        asking.spawn(async move {
            loop {
                requests.fetch_add(1, Ordering::Relaxed);
                let request = client
                    .request(reqwest::Method::POST, &path)
                    .header("content-type", "application/json")
                    .header("idempotency-key", format!("key-{key}"))
                    .body(format!(r#"{{"role": "user", "text": "number {key}"}}"#));
                match Answer::try_of(request).await {
                    Ok(answer) if answer.status == 201 => return answer.text(),
                    // Cut off, or somebody else is at it.
                    Ok(answer) if matches!(answer.status, 409 | 503) => tokio::task::yield_now().await,
                    Ok(answer) => panic!("{answer:?}"),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
    }
    let bodies = asking.join_all().await.into_iter().collect();
    Told {
        requests: requests.load(Ordering::Relaxed),
        bodies,
    }
}

/// Asks for everything through a network that takes answers away, and counts what came of it.
async fn prove(direct: &Client, servers: &[&Server], keys: usize) -> Proof<Report> {
    let mut dice = Dice::roll("retries");
    let mut proxies = Vec::new();
    let mut clients = Vec::new();
    for server in servers {
        let proxy = Proxy::start(Upstream::Tcp(server.address())).await;
        let mut dice = Dice::of(dice.next());
        proxy.judge(move |bytes| {
            if bytes.starts_with(b"POST") && dice.below(CUT_ONE_IN) == 0 {
                Verdict::ForwardThenReset
            } else {
                Verdict::Pass
            }
        });
        clients.push(Client::new(&format!("http://{}", proxy.address()), direct.key()));
        proxies.push(proxy);
    }
    let conversation = direct.conversation("asked again").await;
    let path = format!("/conversations/{conversation}/messages/create");
    let (clients, places) = (Arc::new(clients), Arc::new(Semaphore::new(KEYS_AT_ONCE)));
    let mut keys_asked = JoinSet::new();
    for key in 0..keys {
        let (clients, places, path) = (Arc::clone(&clients), Arc::clone(&places), path.clone());
        keys_asked.spawn(async move {
            let _place = places.acquire().await.expect("a place");
            ask(&clients, &path, key).await
        });
    }
    let told = keys_asked.join_all().await;

    let cuts = proxies.iter().map(Proxy::cuts).sum();
    ensure(cuts > keys, || format!("only {cuts} answers were lost"))?;
    let page = direct
        .get(&format!(
            "/conversations/{conversation}/messages?role=user&page_size=1"
        ))
        .await
        .expect(200);
    let messages = page["count"].as_u64().expect("a count");
    ensure(messages == keys as u64, || {
        format!("{keys} keys made {messages} messages")
    })?;
    let disagreeing = told.iter().filter(|told| told.bodies.len() != 1).count();
    ensure(disagreeing == 0, || {
        format!("under {disagreeing} keys, answers differ")
    })?;
    Ok(Report {
        requests: told.iter().map(|told| told.requests).sum(),
        cuts,
        messages,
    })
}

async fn on_sqlite(home: &Arc<TempDir>, keys: usize, tamper: &str) -> Proof<Report> {
    let server = Server::builder_over(home).start().await;
    database(home.path()).execute_batch(tamper).expect("a change");
    prove(&server.client(), &[&server], keys).await
}

async fn on_postgres(home: &Arc<TempDir>, data: &TestDatabase, keys: usize, tamper: &str) -> Proof<Report> {
    let one = Node::start(home, data.url(), "one", Duty::Serve).await;
    let other = Node::start(home, data.url(), "other", Duty::Serve).await;
    data.client().await.batch_execute(tamper).await.expect("a change");
    prove(&one.client(), &[&one, &other], keys).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_again_and_again_is_done_once() {
    let home = new_home();
    holds(on_sqlite(&home, keys(), "").await, &home);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_again_at_several_nodes_is_done_once() {
    let Some(cluster) = shared().await else { return };
    let home = new_home();
    holds(
        on_postgres(&home, &cluster.database().await, keys(), "").await,
        &home,
    );
}

/// What would be, were requests remembered in a transaction of their own that a crash can come before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_requests_that_are_forgotten_are_seen() {
    let forget = "CREATE TRIGGER forget AFTER INSERT ON idempotency
                  BEGIN DELETE FROM idempotency WHERE id = NEW.id; END";
    fails(on_sqlite(&new_home(), FEW, forget).await, "keys made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_requests_that_nodes_forget_are_seen() {
    let Some(cluster) = shared().await else { return };
    let forget = "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS
                  $$ BEGIN DELETE FROM idempotency WHERE id = NEW.id; RETURN NULL; END $$;
                  CREATE TRIGGER forget AFTER INSERT ON idempotency FOR EACH ROW EXECUTE FUNCTION forget()";
    let proof = on_postgres(&new_home(), &cluster.database().await, FEW, forget).await;
    fails(proof, "keys made");
}
