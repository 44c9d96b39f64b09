//! The connection ends in the middle of a write, so that the node cannot know what became of it. What it then tells
//! the client is true all the same.
//!
//! Told 201: it is there, once, under the id in the answer. Told 404: there was nothing to be found. Told 503: it is
//! there at most once; the service does not say what it does not know. Deleted: it is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::json;
use tokio_postgres::Client as Sql;

use super::crowd::judge_put_off;
use super::watch::{Armed, Moment, Watch, Write};
use crate::faults::{Dice, Proof, ensure, fails, holds, new_home, number_from_env};
use crate::support::postgres::{Durability, PrivateCluster, TestDatabase, private};
use crate::support::proxy::{Cut, Proxy, Upstream};
use crate::support::{Answer, Client, SOON, Server, eventually};

const WRITES: [Write; 4] = [
    Write::PostMessage,
    Write::PostConversation,
    Write::DeleteMessage,
    Write::DeleteConversation,
];

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
    watch: Arc<Mutex<Watch>>,
    _proxy: Proxy,
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
        let watch = Arc::new(Mutex::new(Watch::default()));
        let watching = Arc::clone(&watch);
        proxy.judge(move |chunk| watching.lock().expect("the watch").judge(chunk));
        let server = Server::builder_over(&new_home())
            .env("DATABASE_URL", &database.url_through(proxy.address()))
            .start()
            .await;
        Some(Self {
            sql: database.client().await,
            client: server.client(),
            watch,
            _proxy: proxy,
            _server: server,
            _database: database,
            _cluster: cluster,
        })
    }

    /// Arms or disarms the watch; whether it was armed before.
    fn arm(&self, armed: Option<Armed>) -> bool {
        let mut watch = self.watch.lock().expect("the watch");
        std::mem::replace(&mut watch.armed, armed).is_some()
    }

    /// Asks until it is done; the network is in order, but the node may not have noticed yet.
    async fn until_done(&self, ask: impl AsyncFn() -> Answer) -> Answer {
        eventually("the node has its connections back", SOON, async || {
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

/// Cuts one write after another and compares what was told with what is there.
async fn prove(world: &World, rounds: usize, cuts: bool, dice: &mut Dice, tamper: Tamper) -> Proof<Report> {
    let mut report = Report::new();
    let conversation = world.conversation().await;
    let mut open = Vec::new();
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
        let target = Target::new(world, write, &conversation, round).await;
        if cuts {
            world.arm(Some(Armed { write, moment, cut }));
        }
        let answer = target.ask(&world.client).await;
        let was_cut = cuts && !world.arm(None);
        let told = report.entry((write, named)).or_default();
        // Another's chunk may be the one that is counted, or there may be fewer.
        if !was_cut && moment == Moment::Commit {
            told.not_cut += 1;
        }
        if let Some(sql) = tamper(write, &target.id(&answer)) {
            world.sql.batch_execute(&sql).await.expect("tampering");
        }
        if target.judge(world, &answer, told).await? == Known::No {
            open.push((target, (write, named)));
        }
    }
    for (target, kind) in open {
        let told = report.entry(kind).or_default();
        told.put_off_but_done += usize::from(target.was_done(world).await?);
    }
    for ((write, named), told) in &report {
        // A connection that an earlier round has cut by its chunk may not be back: then a write is put off before it.
        ensure(told.not_cut * 4 <= told.done + told.put_off, || {
            format!("nothing was cut: {told:?} for {write:?} {named}")
        })?;
        // What was posted has an id that can be looked up, so that hardly anybody is left in the dark.
        let posts = matches!(write, Write::PostMessage | Write::PostConversation);
        let in_the_dark = told.put_off_but_done;
        ensure(!posts || in_the_dark * 10 <= told.done + told.put_off, || {
            format!("not looked up: {told:?} for {write:?} {named}")
        })?;
    }
    Ok(report)
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
                (format!("/conversations/{id}/delete"), id)
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

    async fn judge(&self, world: &World, answer: &Answer, told: &mut Told) -> Proof<Known> {
        let what = self.shown();
        match answer.status {
            201 if !self.deletes() => {
                let there = self.traces(world).await;
                let named = world.count(self.table().0, "id", &self.id(answer)).await;
                ensure((there, named) == (1, 1), || {
                    format!("told 201, and {there} are there, {named} under its id: {what}")
                })?;
            }
            200 | 204 if self.deletes() => {
                let there = self.traces(world).await;
                ensure(there == 0, || {
                    format!("told that it was deleted, and it is there: {what}")
                })?;
            }
            _ => {
                judge_put_off(&what, answer)?;
                told.put_off += 1;
                return Ok(Known::No);
            }
        }
        told.done += 1;
        Ok(Known::Yes)
    }

    /// What became of one that was put off, once nothing is under way any more. It never happened twice.
    async fn was_done(&self, world: &World) -> Proof<bool> {
        let there = self.traces(world).await;
        ensure(there <= 1, || format!("there {there} times: {}", self.shown()))?;
        Ok((there == 1) != self.deletes())
    }

    async fn traces(&self, world: &World) -> i64 {
        let (table, column) = self.table();
        world.count(table, column, &self.name).await
    }

    fn table(&self) -> (&'static str, &'static str) {
        match self.write {
            Write::PostMessage => ("messages", "text"),
            Write::PostConversation => ("conversations", "description"),
            Write::DeleteMessage => ("messages", "id"),
            Write::DeleteConversation => ("conversations", "id"),
        }
    }

    fn deletes(&self) -> bool {
        matches!(self.write, Write::DeleteMessage | Write::DeleteConversation)
    }

    fn shown(&self) -> String {
        format!("{:?} of {:?}", self.write, self.name)
    }
}

/// Whether a client was told what became of its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Yes,
    No,
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

/// The proof over one write of each kind and moment, or without cuts.
async fn prove_with(cuts: bool, tamper: Tamper) -> Option<Proof<Report>> {
    let world = World::new().await?;
    Some(prove(&world, 2 * WRITES.len(), cuts, &mut Dice::roll("control"), tamper).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_an_acknowledged_message_that_is_not_there_is_seen() {
    let lose: Tamper = |write, id| {
        let gone = format!("DELETE FROM messages WHERE id::text = '{id}'");
        (write == Write::PostMessage).then_some(gone)
    };
    if let Some(proof) = prove_with(true, lose).await {
        fails(proof, "told 201, and 0 are there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_conversation_that_was_made_twice_is_seen() {
    let double: Tamper = |write, id| {
        let twice = format!(
            "INSERT INTO conversations (id, description, created_at, updated_at)
             SELECT gen_random_uuid(), description, 0, 0 FROM conversations WHERE id::text = '{id}'"
        );
        (write == Write::PostConversation).then_some(twice)
    };
    if let Some(proof) = prove_with(true, double).await {
        fails(proof, "told 201, and 2 are there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_what_comes_back_after_its_deletion_is_seen() {
    let revive: Tamper = |write, id| {
        let back = format!(
            "INSERT INTO conversations (id, description, created_at, updated_at) VALUES ('{id}', '', 0, 0)"
        );
        (write == Write::DeleteConversation).then_some(back)
    };
    // Without cuts, because a deletion whose end is unknown may be there.
    if let Some(proof) = prove_with(false, revive).await {
        fails(proof, "told that it was deleted, and it is there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_network_that_cuts_nothing_is_seen() {
    if let Some(proof) = prove_with(false, nothing).await {
        fails(proof, "nothing was cut");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_wrong_404_is_seen() {
    let Some(world) = World::new().await else { return };
    let conversation = world.conversation().await;
    let target = Target::new(&world, Write::PostMessage, &conversation, 0).await;
    let answer = world.client.get("/conversations/none").await;
    fails(
        target.judge(&world, &answer, &mut Told::default()).await,
        "was answered 404",
    );
}
