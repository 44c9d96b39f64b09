//! Every statement finds its rows by an index, however large the tables are and whether or not anybody has analysed
//! them. The plans are the server's own words: `auto_explain` writes down what it does for the program.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use engagement::{
    model::{
        ConversationId, Failure, Lease, MessageFilter, MessageId, MessageText, Needle, Outcome, PageNumber,
        Role, RoleFilter,
    },
    store::{
        ConversationStore, Error, ReplyStore, Store,
        postgres::{self, Options},
    },
};
use serde_json::Value;
use tokio_postgres::Client;

use super::Node;
use crate::support::{
    SOON, eventually,
    postgres::{Durability, PrivateCluster, TestDatabase, private},
    proxy::{Cut, Proxy, Upstream},
};

const LEASE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_mins(5);

/// The most rows of one table that a statement looks at, except for those that say otherwise. The fixture has
/// 100,000 messages and 1,500 replies that are running or queued.
const MOST_ROWS: f64 = 600.0;

/// Statements that look at a whole conversation, or at a portion of one that is larger.
const LARGE: [(&str, f64); 2] = [
    ("messages: those that hold a text", 60_000.0),
    ("purge: a user message takes its reply with it", 1_500.0),
];

/// What a statement must find its rows by.
const INDEXES: [(&str, &str); 8] = [
    (
        "claim_replies: what another node is just claiming is passed over, not waited for.",
        "replies_due",
    ),
    ("until_due", "replies_due"),
    (
        "sweep_replies: retries that a clock set back has put out of reach",
        "replies_due",
    ),
    ("sweep_replies, reclaim_replies", "replies_leased"),
    (
        "messages: pages by their places, each in order; a page's own order is that of `seq`",
        "messages_by_conversation",
    ),
    ("messages: by place", "messages_by_conversation"),
    ("messages: those that hold a text", "messages_by_conversation"),
    ("append_message, finish_reply: answered", "conversations_pkey"),
];

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
        if path.ends_with("copy.rs") {
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

/// 100,000 messages: half of them in one conversation, whose id this gives; and a queue.
async fn fill(client: &Client) -> ConversationId {
    client
        .batch_execute(
            "INSERT INTO conversations (id, description, created_at, updated_at, last_seq, user_count, assistant_count)
             SELECT gen_random_uuid(), 'filled', at, 0, messages, messages / 2, messages / 2
             FROM generate_series(0, 500) AS at, LATERAL (SELECT CASE at WHEN 0 THEN 50000 ELSE 100 END) AS size (messages);
             INSERT INTO messages (id, conversation_id, seq, role, text, created_at, updated_at)
             SELECT gen_random_uuid(), id, seq, CASE seq % 2 WHEN 1 THEN 'user' ELSE 'assistant' END, 'filled ' || seq, 0, 0
             FROM conversations, generate_series(1, last_seq) AS seq WHERE description = 'filled';
             INSERT INTO replies (message_id, conversation_id, status, run_after, created_at, started_at, lease_until, finished_at)
             SELECT id, conversation_id, status, 0, 0, 0, CASE status WHEN 'running' THEN 9e15 END,
                    CASE status WHEN 'succeeded' THEN 0 END
             FROM messages, LATERAL (SELECT CASE WHEN seq > 49000 THEN 'queued' WHEN seq > 48000 THEN 'running'
                                                 ELSE 'succeeded' END) AS state (status)
             WHERE role = 'user' AND text LIKE 'filled %'",
        )
        .await
        .unwrap();
    let longest = "SELECT id FROM conversations ORDER BY last_seq DESC LIMIT 1";
    ConversationId::new(client.query_one(longest, &[]).await.unwrap().get(0))
}

async fn finish(node: &Node, lease: Lease, outcome: Outcome) {
    node.store
        .finish_reply(lease, outcome, node.clock.now())
        .await
        .unwrap();
}

/// Makes the store say everything that it can say, on this conversation.
async fn exercise(node: &Node, conversation: ConversationId) {
    let now = node.clock.now();
    for text in ["first", "second", "third", "fourth"] {
        node.say(conversation, Role::User, text).await;
    }
    let message = node.say(conversation, Role::Assistant, "a needle").await;
    let deleted = node.say(conversation, Role::User, "deleted soon").await;
    node.store.conversation(conversation).await.unwrap();
    node.store.message(conversation, message).await.unwrap();
    node.store.reply(conversation, deleted).await.unwrap();

    node.store.until_due(now).await.unwrap();
    let claimed = node
        .store
        .claim_replies(4, node.clock.now(), LEASE)
        .await
        .unwrap();
    let leases: Vec<_> = claimed.iter().map(|claimed| claimed.lease).collect();
    assert_eq!(leases.len(), 4);
    node.store.renew_leases(leases.clone(), now, LEASE).await.unwrap();
    let answer = || Outcome::Answered {
        id: node.ids.message(now),
        text: MessageText::parse("answer").unwrap(),
    };
    finish(node, leases[0], answer()).await;
    finish(node, leases[0], answer()).await; // too late: its lease is gone
    finish(node, leases[1], Outcome::Failed(Failure::new("code", "sentence"))).await;
    finish(node, leases[2], Outcome::Retry { after: LEASE }).await;
    finish(node, leases[3], Outcome::Released).await;
    node.store.sweep_replies(now, 3, PAUSE).await.unwrap();

    let any = MessageFilter::default;
    let role = || MessageFilter {
        role: RoleFilter::Only(Role::User),
        needle: None,
    };
    let second = PageNumber::Nth(std::num::NonZeroU64::new(2).unwrap());
    let first = PageNumber::Nth(std::num::NonZeroU64::MIN);
    node.page(conversation, any(), first).await.unwrap();
    assert!(
        node.store
            .delete_message(conversation, deleted, now)
            .await
            .unwrap()
    );
    for (filter, number) in [
        (any(), first),
        (any(), second),
        (any(), PageNumber::Last),
        (role(), first),
        (role(), PageNumber::Last),
    ] {
        node.page(conversation, filter, number).await.unwrap();
    }
    let needle = MessageFilter {
        role: RoleFilter::Any,
        needle: Needle::new("needle"),
    };
    node.page(conversation, needle, first).await.unwrap();
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
    assert_eq!(seen, statements(), "every statement is judged");
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
        .claim_replies(4, node.clock.now(), LEASE)
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
