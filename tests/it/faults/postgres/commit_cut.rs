//! The connection ends in the middle of a write, so that the node cannot know what became of it. What it then tells
//! the client is true all the same.
//!
//! Told 201: it is there, once, under the id in the answer. Told 404: there was nothing to be found. Told 503: it is
//! there at most once; the service does not say what it does not know. Deleted: it is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio_postgres::Client as Sql;

use super::crowd::judge_put_off;
use crate::faults::{Dice, Proof, ensure, fails, holds, new_home, number_from_env};
use crate::support::postgres::{Durability, PrivateCluster, TestDatabase, private};
use crate::support::proxy::{Cut, Proxy, Upstream, Verdict};
use crate::support::{Answer, Client, SOON, Server, eventually};

/// How often clients ask again until the node has its connections back.
const AGAIN_WITHIN: Duration = SOON;

/// The write that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Write {
    PostMessage,
    PostConversation,
    DeleteMessage,
    DeleteConversation,
}

const WRITES: [Write; 4] = [
    Write::PostMessage,
    Write::PostConversation,
    Write::DeleteMessage,
    Write::DeleteConversation,
];

/// Where the connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// At what makes the write last: the statement itself, or the `COMMIT` of its transaction.
    Commit,
    /// At whichever chunk, this many after the request, on whichever connection.
    Chunk(usize),
}

/// What was told, over and over.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    done: usize,
    put_off: usize,
    /// Of those that were put off.
    put_off_but_done: usize,
    not_cut: usize,
}

type Report = HashMap<(Write, &'static str), Told>;

/// A node that reaches its database by a network that fails.
struct World {
    sql: Sql,
    client: Client,
    proxy: Proxy,
    _server: Server,
    _database: TestDatabase,
    _cluster: PrivateCluster,
}

/// What clients did not ask for, and controls do from beside.
type Tamper = fn(Write, id: &str) -> Option<String>;

impl World {
    async fn new() -> Option<Self> {
        let cluster = private(Durability::Durable).await?;
        let database = cluster.database().await;
        let proxy = Proxy::start(Upstream::Tcp(cluster.tcp())).await;
        let server = Server::builder_over(&new_home())
            .env("DATABASE_URL", &database.url_through(proxy.address()))
            .start()
            .await;
        Some(Self {
            sql: database.client().await,
            client: server.client(),
            proxy,
            _server: server,
            _database: database,
            _cluster: cluster,
        })
    }

    /// Asks until it is done; the network is in order, but the node may not have noticed yet.
    async fn until_done(&self, ask: impl AsyncFn() -> Answer) -> Answer {
        eventually("the node has its connections back", AGAIN_WITHIN, async || {
            Some(ask().await).filter(|answer| answer.status != 503)
        })
        .await
    }

    async fn conversation(&self) -> String {
        let ask = async || {
            self.post("/conversations/", "description", "a world of its own")
                .await
        };
        id_in(&self.until_done(ask).await, "conversation_id")
    }

    /// By the assistant, so that no reply is at work beside it.
    async fn message(&self, conversation: &str, text: &str) -> String {
        let path = messages_of(conversation);
        let ask = async || self.post(&path, "text", text).await;
        id_in(&self.until_done(ask).await, "message_id")
    }

    async fn post(&self, path: &str, field: &str, text: &str) -> Answer {
        self.client
            .post_json(path, &json!({ field: text, "role": "assistant" }))
            .await
    }

    /// How many rows there are with this value.
    async fn count(&self, table: &str, column: &str, value: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {table} WHERE {column}::text = $1");
        let row = self.sql.query_one(&count, &[&value]).await;
        row.expect("a count").get(0)
    }
}

fn messages_of(conversation: &str) -> String {
    format!("/conversations/{conversation}/messages/create")
}

fn id_in(answer: &Answer, name: &str) -> String {
    answer.expect(201)[name].as_str().expect("an id").to_owned()
}

/// Whether bytes on their way to the server are what makes a write last. Statements are prepared once and then named.
#[derive(Default)]
struct Watch {
    names: HashMap<Vec<u8>, Write>,
}

impl Watch {
    fn sees(&mut self, chunk: &[u8], write: Write) -> bool {
        let mut rest = chunk;
        let mut seen = false;
        while let [kind, a, b, c, d, ..] = *rest {
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            let Some(body) = rest.get(5..=length) else { break };
            let mut strings = body.split(|byte| *byte == 0);
            let (first, second) = (strings.next(), strings.next());
            match kind {
                b'P' => self.learn(first.unwrap_or_default(), second.unwrap_or_default()),
                b'B' => seen |= second.and_then(|name| self.names.get(name)) == Some(&write),
                b'Q' => {
                    let deletes = matches!(write, Write::DeleteMessage | Write::DeleteConversation);
                    seen |= deletes && first == Some(b"COMMIT");
                }
                _ => {}
            }
            rest = &rest[length + 1..];
        }
        seen
    }

    fn learn(&mut self, name: &[u8], sql: &[u8]) {
        for (start, write) in [
            ("-- append_message, finish_reply: answered\n", Write::PostMessage),
            ("-- create_conversation\n", Write::PostConversation),
        ] {
            if sql.starts_with(start.as_bytes()) {
                self.names.insert(name.to_vec(), write);
            }
        }
    }
}

/// Cuts one write after another and compares what was told with what is there.
async fn prove(world: &World, rounds: usize, cuts: bool, dice: &mut Dice, tamper: Tamper) -> Proof<Report> {
    let mut report = Report::new();
    let watch = Arc::new(Mutex::new(Watch::default()));
    let conversation = world.conversation().await;
    for round in 0..rounds {
        let write = WRITES[round % WRITES.len()];
        let (cut, named) = match round / WRITES.len() % 2 {
            0 => (Cut::AfterSending, "after sending"),
            _ => (Cut::BeforeSending, "before sending"),
        };
        let moment = match round / WRITES.len() % 3 {
            2 => Moment::Chunk(1 + dice.below(4)),
            _ => Moment::Commit,
        };
        let cuts_before = world.proxy.cuts();
        let target = Target::new(world, write, &conversation, round).await;
        if cuts {
            arm(&world.proxy, &watch, write, cut, moment);
        }
        let answer = target.ask(&world.client).await;
        world.proxy.disarm();
        let told = report.entry((write, named)).or_default();
        if world.proxy.cuts() == cuts_before {
            told.not_cut += 1;
        }
        if let Some(sql) = tamper(write, &target.id(&answer)) {
            world.sql.batch_execute(&sql).await.expect("tampering");
        }
        target.judge(world, &answer, told).await?;
    }
    for ((write, named), told) in &report {
        ensure(told.not_cut <= told.done / 2, || {
            format!("nothing was cut: {told:?} for {write:?} {named}")
        })?;
    }
    Ok(report)
}

fn arm(proxy: &Proxy, watch: &Arc<Mutex<Watch>>, write: Write, cut: Cut, moment: Moment) {
    if let Moment::Chunk(nth) = moment {
        return proxy.cut_at_chunk(nth, cut);
    }
    let (watch, mut is_cut) = (Arc::clone(watch), false);
    proxy.judge(move |chunk| {
        let sees = watch.lock().expect("the names").sees(chunk, write);
        if !sees || is_cut {
            return Verdict::Pass;
        }
        is_cut = true;
        match cut {
            Cut::AfterSending => Verdict::ForwardThenReset,
            Cut::BeforeSending => Verdict::ResetBefore,
        }
    });
}

/// One write, and where its traces are.
struct Target {
    write: Write,
    path: String,
    /// What is posted, or the id of what is deleted.
    name: String,
}

impl Target {
    async fn new(world: &World, write: Write, conversation: &str, round: usize) -> Self {
        let text = format!("round {round}");
        let (path, name) = match write {
            Write::PostMessage => (messages_of(conversation), text),
            Write::PostConversation => ("/conversations/".to_owned(), text),
            Write::DeleteMessage => {
                let id = world.message(conversation, &text).await;
                (format!("/conversations/{conversation}/messages/{id}"), id)
            }
            Write::DeleteConversation => {
                let id = world.conversation().await;
                (format!("/conversations/{id}"), id)
            }
        };
        Self { write, path, name }
    }

    async fn ask(&self, client: &Client) -> Answer {
        match self.write {
            Write::DeleteMessage | Write::DeleteConversation => client.ask(Method::DELETE, &self.path).await,
            Write::PostMessage | Write::PostConversation => {
                let body = json!({ "text": self.name, "description": self.name, "role": "assistant" });
                client.post_json(&self.path, &body).await
            }
        }
    }

    /// What was made or deleted, as far as the client knows.
    fn id(&self, answer: &Answer) -> String {
        match (self.write, answer.status) {
            (Write::PostMessage, 201) => id_in(answer, "message_id"),
            (Write::PostConversation, 201) => id_in(answer, "conversation_id"),
            _ => self.name.clone(),
        }
    }

    async fn judge(&self, world: &World, answer: &Answer, told: &mut Told) -> Proof<()> {
        let (table, column) = match self.write {
            Write::PostMessage => ("messages", "text"),
            Write::PostConversation => ("conversations", "description"),
            Write::DeleteMessage => ("messages", "id"),
            Write::DeleteConversation => ("conversations", "id"),
        };
        let deletes = matches!(self.write, Write::DeleteMessage | Write::DeleteConversation);
        let there = world.count(table, column, &self.name).await;
        let what = format!("{:?} of {:?}", self.write, self.name);
        match answer.status {
            201 if !deletes => {
                let named = world.count(table, "id", &self.id(answer)).await;
                ensure((there, named) == (1, 1), || {
                    format!("told 201, and {there} are there, {named} under its id: {what}")
                })?;
                told.done += 1;
            }
            204 if deletes => {
                ensure(there == 0, || {
                    format!("told that it was deleted, and it is there: {what}")
                })?;
                told.done += 1;
            }
            _ => {
                judge_put_off(&what, answer)?;
                // What is under way may still come to its end, but it never happens twice.
                ensure(there <= 1, || format!("there {there} times: {what}"))?;
                told.put_off += 1;
                told.put_off_but_done += usize::from((there == 1) != deletes);
            }
        }
        Ok(())
    }
}

fn nothing(_: Write, _: &str) -> Option<String> {
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_of_a_write_that_was_cut_off_is_true() {
    let Some(world) = World::new().await else { return };
    let rounds = number_from_env("ENGAGEMENT_TEST_CUTS", 240);
    let proof = prove(&world, rounds, true, &mut Dice::roll("cuts"), nothing).await;
    holds(proof, &new_home());
}
