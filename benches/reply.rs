//! What a reply costs: the rules alone, and a queue drained from claim to stored answer.
//!
//! `cargo bench --bench reply`. On a real disk: `TMPDIR=/path/on/disk`.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use engagement::{
    clock::Clock,
    config::ReplySettings,
    ids::IdSource,
    model::{Description, MessageText, NewConversation, NewMessage, NewReply, Owner, ReplyOptions, Role},
    provider::{routes::Providers, rules},
    reply::{self, Parts},
    shutdown::Shutdown,
    store::{
        ConversationStore, ReplyStore, Store,
        sqlite::{Options, SqliteStore},
    },
};
use futures_util::future::join_all;

const BACKLOG: u64 = 1_000;

fn replies(criterion: &mut Criterion) {
    criterion.bench_function("the rules, a question of 100 bytes", |bencher| {
        let text =
            "Could you tell me what the weather is like in the mountains, and whether I should take a coat?";
        bencher.iter(|| rules::answer(black_box(text)));
    });

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut drain = criterion.benchmark_group("drain the queue, durable");
    drain.throughput(Throughput::Elements(BACKLOG)).sample_size(10);
    drain.bench_function(format!("{BACKLOG} replies"), |bencher| {
        bencher.to_async(&runtime).iter_batched(
            || std::thread::scope(|scope| scope.spawn(|| runtime.block_on(backlog())).join().unwrap()),
            |(store, directory)| async move {
                drained(store).await;
                drop(directory);
            },
            BatchSize::PerIteration,
        );
    });
    drain.finish();
}

/// A store in which this many replies are due.
async fn backlog() -> (Arc<SqliteStore>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&Options::new(directory.path().join("bench.db"))).unwrap();
    let (clock, ids) = (Clock::system(), IdSource::random());
    let description = Description::parse("A conversation").unwrap();
    let conversation = ids.conversation();
    let new = NewConversation {
        id: conversation,
        title: None,
        description,
        now: clock.now(),
        options: ReplyOptions::default(),
        owner: Owner::OPERATOR,
    };
    store.create_conversation(new, None).await.unwrap();
    join_all((0..BACKLOG).map(|_| {
        let now = clock.now();
        let text = MessageText::parse("Hello").unwrap();
        store.append_message(
            NewMessage {
                id: ids.message(now),
                conversation,
                role: Role::User,
                text,
                now,
                reply: NewReply::default(),
            },
            None,
        )
    }))
    .await;
    (Arc::new(store), directory)
}

async fn drained(store: Arc<SqliteStore>) {
    let shutdown = Shutdown::default();
    let parts = Parts::over(store.clone(), Providers::rules());
    let clock = parts.clock.clone();
    reply::start(parts, ReplySettings::default(), &shutdown);
    while store.until_due(Vec::new(), clock.now()).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    shutdown.begin();
    shutdown.finished().await;
    store.close().await;
}

criterion_group!(benches, replies);
criterion_main!(benches);
