//! The bare program on `PostgreSQL`: what the service asks the server for, with nothing around it. No HTTP, no JSON, no log,
//! no replies: callers in a closed loop, the same statements, the same number of connections.

use crate::client::sentence;
use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

/// The service's own statement.
const APPEND: &str = include_str!("../../src/store/postgres/append.sql");
const CONVERSATION: &str =
    "SELECT title, description, created_at, updated_at FROM conversations WHERE id = $1";
const PAGE: &str = "
    SELECT id, role, text, created_at, updated_at, user_count + assistant_count,
           user_count + assistant_count = last_seq
    FROM (SELECT user_count, assistant_count, last_seq FROM conversations WHERE id = $1) AS conversation
         LEFT JOIN LATERAL (SELECT id, role, text, created_at, updated_at, seq FROM messages
                            WHERE conversation_id = $1 AND seq > 0 ORDER BY seq LIMIT 10) AS page ON true
    ORDER BY seq";

/// As in the service, so that both get the same plans.
const SETUP: &str =
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off;
    SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";

/// The most messages in one statement, as in the service.
const GROUP: usize = 256;

/// Which read.
#[derive(Clone, Copy)]
pub enum Read {
    /// One conversation.
    Conversation,
    /// A page of ten messages.
    Page,
}

/// How much, on how many connections.
#[derive(Clone, Copy)]
pub struct Size {
    /// Callers, each asking again when it was answered.
    pub callers: usize,
    /// Connections that they share.
    pub connections: usize,
    /// Time before counting starts.
    pub warmup: Duration,
    /// Time that is counted.
    pub time: Duration,
}

/// Appends user messages; says how many a second.
pub fn appends(url: &str, conversations: &[Uuid], size: Size) -> Result<f64> {
    runtime()?.block_on(async {
        let (queue, waiting) = mpsc::channel(1024);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..size.connections {
            let client = connect(url).await?;
            let append = client.prepare(APPEND).await?;
            tokio::spawn(write(client, append, Arc::clone(&waiting)));
        }
        let conversations: Arc<[Uuid]> = conversations.into();
        closed_loop(size, move |at| {
            let queue = queue.clone();
            let conversation = conversations[at % conversations.len()];
            async move {
                let (answer, answered) = oneshot::channel();
                queue.send((conversation, answer)).await.ok()?;
                answered.await.ok()
            }
        })
        .await
    })
}

/// Reads; says how many a second.
pub fn reads(url: &str, read: Read, conversation: Uuid, size: Size) -> Result<f64> {
    runtime()?.block_on(async {
        let mut connections = Vec::new();
        for _ in 0..size.connections {
            let client = connect(url).await?;
            let statement = match read {
                Read::Conversation => CONVERSATION,
                Read::Page => PAGE,
            };
            let statement = client.prepare(statement).await?;
            connections.push(Arc::new((client, statement)));
        }
        closed_loop(size, move |at| {
            let connection = Arc::clone(&connections[at % connections.len()]);
            async move {
                let (client, statement) = &*connection;
                let rows = client.query(statement, &[&conversation]).await.ok()?;
                (!rows.is_empty()).then_some(())
            }
        })
        .await
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(SETUP).await?;
    Ok(client)
}

type Waiting = mpsc::Receiver<(Uuid, oneshot::Sender<()>)>;

async fn write(client: Client, append: Statement, waiting: Arc<Mutex<Waiting>>) -> Result<()> {
    let mut group = Vec::with_capacity(GROUP);
    let mut count = 0;
    loop {
        waiting.lock().await.recv_many(&mut group, GROUP).await;
        if group.is_empty() {
            return Ok(());
        }
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
        let ids: Vec<_> = group.iter().map(|_| Uuid::now_v7()).collect();
        let conversations: Vec<_> = group.iter().map(|(conversation, _)| *conversation).collect();
        let texts: Vec<_> = group
            .iter()
            .map(|_| {
                count += 1;
                sentence(count)
            })
            .collect();
        let folded: Vec<_> = texts.iter().map(|text| Some(text.to_lowercase())).collect();
        let (roles, dates) = (vec!["user"; group.len()], vec![now; group.len()]);
        let (answered, none) = (vec![None::<Uuid>; group.len()], vec![None::<i64>; group.len()]);
        let placed = client
            .query(
                &append,
                &[
                    &ids,
                    &conversations,
                    &roles,
                    &dates,
                    &texts,
                    &folded,
                    &answered,
                    &none,
                    &false,
                    &none,
                ],
            )
            .await?;
        if placed.len() == group.len() {
            for (_, answer) in group.drain(..) {
                answer.send(()).ok();
            }
        }
        group.clear();
    }
}

/// Runs callers that ask again as soon as they were answered; successes a second.
async fn closed_loop<F>(size: Size, ask: impl Fn(usize) -> F + Clone + Send + 'static) -> Result<f64>
where
    F: Future<Output = Option<()>> + Send,
{
    let start = Instant::now() + size.warmup;
    let end = start + size.time;
    let done = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..size.callers)
        .map(|caller| {
            let (ask, done) = (ask.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut at = caller;
                while Instant::now() < end {
                    ask(at).await.context("no answer")?;
                    at += size.callers;
                    let now = Instant::now();
                    if now >= start && now < end {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / size.time.as_secs_f64())
}
