//! Every statement finds its rows by an index, however large the tables are and whether or not anybody has analysed
//! them. The plans are the server's own words: `auto_explain` writes down what it does for the program.

use std::{collections::BTreeSet, fs, path::Path};

use engagement::{
    model::{ConversationId, Failure, MessageFilter, MessageId, Outcome, PageNumber, Progress, Role},
    store::{
        ConversationStore, Error, ReplyStore, Store,
        postgres::{self, Options},
    },
};
use serde_json::Value;

use super::{
    Node,
    exercise::{LEASE, exercise, exercise_once, exercise_turns, fill, finish},
};
use crate::support::{
    SOON, eventually,
    postgres::{Durability, PrivateCluster, TestDatabase, private},
    proxy::{Cut, Proxy, Upstream},
};

/// The most rows of one table that a statement looks at, except for those that say otherwise. The fixture has
/// 100,000 messages and 1,500 replies that are running or queued.
const MOST_ROWS: f64 = 600.0;

/// Statements that look at a whole conversation, or at a portion of one that is larger.
const LARGE: [(&str, f64); 3] = [
    (
        "pending_replies: by the index of each state, which is as small as the work that is left.",
        2_500.0,
    ),
    ("messages: those that hold a text", 60_000.0),
    ("purge: a user message takes its reply with it", 1_500.0),
];

/// What a statement must find its rows by.
const INDEXES: [(&str, &str); 24] = [
    (
        "pending_replies: by the index of each state, which is as small as the work that is left.",
        "replies_due",
    ),
    (
        "pending_replies: by the index of each state, which is as small as the work that is left.",
        "replies_leased",
    ),
    ("keys_changed", "api_keys_changed"),
    ("revoke_key, rotate_key: the key", "api_keys_pkey"),
    (
        "touch_keys: in the order of their ids, so that no two nodes wait for each other",
        "api_keys_pkey",
    ),
    ("audit", "key_audit_at"),
    ("create_key, revoke_key, rotate_key, note", "key_audit_at"),
    ("spent", "key_usage_by_day"),
    ("remembered", "idempotency_pkey"),
    (
        "append_message, retry_reply, rotate_key: carried out before",
        "idempotency_pkey",
    ),
    (
        "forget_requests: what another node is just forgetting, or remembering anew, is left alone",
        "idempotency_created_at",
    ),
    (
        "claim_replies: what another node is just claiming is passed over, not waited for.",
        "replies_due",
    ),
    ("until_due", "replies_due"),
    (
        "sweep_replies: retries that a clock set back has put out of reach",
        "replies_due",
    ),
    ("sweep_replies, reclaim_replies: put back", "replies_leased"),
    ("sweep_replies, reclaim_replies: to be given up", "replies_leased"),
    ("sweep_replies: where somebody waits for a turn", "replies_turns"),
    (
        "turns: who is next where nobody is due. A conversation that has moved on since is to be looked at again.",
        "replies_turns",
    ),
    (
        "prune_deltas: what somebody else is just changing is left to the next look",
        "replies_streamed",
    ),
    (
        "events: each conversation's in order, until those in front of one are enough",
        "events_pkey",
    ),
    (
        "messages: pages by their places, each in order; a page's own order is that of `seq`",
        "messages_by_conversation",
    ),
    ("messages: by place", "messages_by_conversation"),
    ("messages: those that hold a text", "messages_by_conversation"),
    ("append_message, finish_reply: answered", "conversations_pkey"),
];

/// What is said only when the server holds on to a session that was lost. It goes by the primary key of what it names.
const RARE: &str = "tell: the reply is begun anew";

/// One execution of a statement.
struct Plan {
    /// The comment that it begins with.
    name: String,
    /// The nodes of its plan, flat.
    nodes: Vec<Value>,
}

impl Plan {
    fn of(explained: &Value) -> Option<Self> {
        let name = explained["Query Text"]
            .as_str()?
            .trim_start()
            .strip_prefix("-- ")?;
        let mut nodes = Vec::new();
        flatten(&explained["Plan"], &mut nodes);
        Some(Self {
            name: name.lines().next()?.to_owned(),
            nodes,
        })
    }

    /// What is wrong with it.
    fn complaints(&self) -> Vec<String> {
        let most = LARGE
            .iter()
            .find(|(name, _)| *name == self.name)
            .map_or(MOST_ROWS, |(_, most)| *most);
        let mut wrong = Vec::new();
        for node in &self.nodes {
            let kind = node["Node Type"].as_str().unwrap_or_default();
            let table = node["Relation Name"].as_str().unwrap_or_default();
            if kind == "Seq Scan" {
                wrong.push(format!("{}: reads all of {table}", self.name));
            }
            let number = |field: &str| node[field].as_f64().unwrap_or(0.0);
            let looked_at = [
                "Actual Rows",
                "Rows Removed by Filter",
                "Rows Removed by Join Filter",
            ]
            .iter()
            .map(|field| number(field))
            .sum::<f64>();
            let looked_at = looked_at * number("Actual Loops").max(1.0);
            if looked_at > most {
                wrong.push(format!("{}: {kind} {table} looks at {looked_at} rows", self.name));
            }
        }
        let wanted = INDEXES.iter().filter(|(name, _)| *name == self.name);
        for (_, index) in wanted {
            if !self.nodes.iter().any(|node| node["Index Name"] == **index) {
                wrong.push(format!("{}: does not use {index}", self.name));
            }
        }
        wrong
    }
}

fn flatten(node: &Value, nodes: &mut Vec<Value>) {
    nodes.push(node.clone());
    for child in node["Plans"].as_array().into_iter().flatten() {
        flatten(child, nodes);
    }
}

/// Makes the server write down every plan in this database, from the next session on.
async fn explain(cluster: &PrivateCluster, database: &TestDatabase) {
    let server = cluster.client().await;
    for (setting, value) in [
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_format", "json"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_timing", "off"),
    ] {
        let set = format!("ALTER DATABASE {} SET {setting} = '{value}'", database.name());
        server.batch_execute(&set).await.unwrap();
    }
}

/// The plans that the log tells of from this place on.
fn plans(log: &str, database: &TestDatabase) -> Vec<Plan> {
    let mut lines = log.lines().peekable();
    let mut plans = Vec::new();
    while let Some(line) = lines.next() {
        if !(line.contains(database.name()) && line.ends_with("plan:")) {
            continue;
        }
        let mut json = String::new();
        while let Some(more) = lines.next_if(|line| line.starts_with('\t')) {
            json.push_str(more);
        }
        let explained = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error} in {json}"));
        plans.extend(Plan::of(&explained));
    }
    plans
}

/// The comments of all statements in the adapter, apart from the schema's own and those of a copy, which reads all there is.
fn statements() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres");
    let mut found = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        // What is given away is read as a whole, too, and what is taken in is looked for by its ids.
        if path.ends_with("copy.rs") || path.ends_with("transfer.rs") {
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        // A statement is a text in the source, or a file.
        let texts = source
            .strip_prefix("-- ")
            .into_iter()
            .chain(source.split("\"-- ").skip(1));
        let comments = texts.filter_map(|rest| rest.lines().next());
        // Copying reads everything; that is what it is for.
        let judged = comments.filter(|name| !name.starts_with("copy"));
        found.extend(judged.map(str::to_owned));
    }
    found
}

/// Exercises the store over this conversation or a new one, deletes that, and judges every plan.
async fn judge(cluster: &PrivateCluster, database: &TestDatabase, conversation: Option<ConversationId>) {
    let seen = cluster.log().len();
    let proxy = Proxy::start(Upstream::Tcp(cluster.tcp())).await;
    let node = Node::open(&database.url_through(proxy.address())).await;
    proxy.cut_when(b"-- create_conversation", Cut::AfterSending);
    let unknown = node.try_conversation().await;
    assert!(matches!(unknown, Err(Error::Unavailable(_))), "{unknown:?}");
    let conversation = match conversation {
        Some(conversation) => conversation,
        None => node.conversation().await,
    };

    exercise(&node, conversation).await;
    exercise_turns(&node, conversation).await;
    exercise_once(&node, conversation).await;
    let told = node.ask(conversation, "in doubt").await;
    let lease = loop {
        if let Some(claimed) = node
            .claim(100)
            .await
            .iter()
            .find(|claimed| claimed.lease.message == told)
        {
            break claimed.lease;
        }
    };
    let beside = Node::open(&database.url_through(proxy.address())).await;
    proxy.cut_when(b"-- tell", Cut::AfterSending);
    let begun = vec![Progress::Started { attempt: 1 }];
    beside.store.tell(lease, begun, node.clock.now()).await.unwrap();
    finish(&node, lease, Outcome::Failed(Failure::new("code", "sentence"))).await;
    proxy.cut_when(b"finish_reply: answered", Cut::AfterSending);
    let unknown = beside.try_say(conversation, Role::User, "perhaps").await;
    assert!(matches!(unknown, Err(Error::Unavailable(_))), "{unknown:?}");
    beside.store.close().await;
    // In a small conversation: a queue that is as long as the fixture's is not deleted in one request.
    let small = node.conversation().await;
    node.say(small, Role::User, "deleted").await;
    assert!(node.store.delete_conversation(small).await.unwrap());
    let beside = database.client().await;
    eventually("its messages are removed", SOON, async || {
        (super::number(&beside, "SELECT count(*) FROM purges", &[]).await == 0).then_some(())
    })
    .await;
    node.store.close().await;

    let plans = plans(&cluster.log()[seen..], database);
    let complaints: BTreeSet<_> = plans.iter().flat_map(Plan::complaints).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let seen: BTreeSet<_> = plans.iter().map(|plan| plan.name.clone()).collect();
    let mut wanted = statements();
    assert!(wanted.remove(RARE), "it is said no more");
    assert_eq!(seen, wanted, "every statement is judged");
}

#[tokio::test]
async fn every_statement_has_its_index_in_a_fresh_database_and_in_a_full_one() {
    let Some(cluster) = private(Durability::Fast).await else {
        return;
    };
    let server = cluster.client().await;
    server
        .batch_execute("ALTER SYSTEM SET autovacuum = off")
        .await
        .unwrap();
    server.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let database = cluster.database().await;
    postgres::migrate(&Options::new(database.url())).await.unwrap();
    explain(&cluster, &database).await;

    judge(&cluster, &database, None).await;

    let beside = database.client().await;
    let long = fill(&beside).await;
    judge(&cluster, &database, Some(long)).await;

    beside.batch_execute("ANALYZE").await.unwrap();
    judge(&cluster, &database, Some(long)).await;
}

#[tokio::test]
async fn control_plans_without_an_index_are_seen() {
    let Some(cluster) = private(Durability::Fast).await else {
        return;
    };
    let database = cluster.database().await;
    explain(&cluster, &database).await;
    let node = Node::open(database.url()).await;
    let beside = database.client().await;
    let long = fill(&beside).await;
    let drop = "DROP INDEX replies_due; ALTER TABLE messages DROP CONSTRAINT messages_by_conversation";
    beside.batch_execute(drop).await.unwrap();

    node.store
        .claim_replies(4, Vec::new(), node.clock.now(), LEASE)
        .await
        .unwrap();
    node.page(long, MessageFilter::default(), PageNumber::Last)
        .await
        .unwrap();
    let absent = MessageId::from([0xff; 16]);
    node.store.message(long, absent).await.unwrap();

    let complaints: Vec<_> = plans(&cluster.log(), &database)
        .iter()
        .flat_map(Plan::complaints)
        .collect();
    for wanted in [
        "passed over, not waited for.: does not use replies_due",
        "passed over, not waited for.: reads all of replies",
        "messages: by place: reads all of messages",
        "rows",
    ] {
        assert!(
            complaints.iter().any(|complaint| complaint.ends_with(wanted)),
            "{wanted}: {complaints:#?}"
        );
    }
}
