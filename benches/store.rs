//! What the store costs without HTTP: durable appends, alone and together, and reads.
//!
//! `cargo bench --bench store`. On a real disk: `TMPDIR=/path/on/disk`.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{num::NonZeroU64, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engagement::{
    ids::IdSource,
    model::{
        Conversation, Description, MessageFilter, MessageQuery, MessageText, Needle, NewConversation,
        NewMessage, NewReply, Owner, PageNumber, PageSize, ReplyOptions, Role, RoleFilter, Timestamp,
    },
    store::{
        ConversationStore,
        sqlite::{Options, SqliteStore},
    },
};
use futures_util::future::join_all;

const TEXT: &str = "What is the weather like in the mountains today, and should I take a coat with me or not? Tell me please.";

struct Fixture {
    store: SqliteStore,
    ids: IdSource,
    conversation: Conversation,
    _directory: tempfile::TempDir,
}

impl Fixture {
    async fn new(messages: usize) -> Arc<Self> {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&Options::new(directory.path().join("bench.db"))).unwrap();
        let ids = IdSource::random();
        let description = Description::parse("A conversation").unwrap();
        let new = NewConversation {
            id: ids.conversation(),
            title: None,
            description,
            now: now(),
            options: ReplyOptions::default(),
            owner: Owner::OPERATOR,
        };
        let conversation = store.create_conversation(new, None).await.unwrap();
        let fixture = Arc::new(Self {
            store,
            ids,
            conversation,
            _directory: directory,
        });
        for _ in 0..messages.div_ceil(100) {
            join_all((0..messages.min(100)).map(|_| fixture.append(Role::Assistant))).await;
        }
        fixture
    }

    async fn append(&self, role: Role) {
        let text = MessageText::parse(TEXT).unwrap();
        let (id, conversation) = (self.ids.message(now()), self.conversation.id);
        self.store
            .append_message(
                NewMessage {
                    id,
                    conversation,
                    role,
                    text,
                    now: now(),
                    reply: NewReply::default(),
                },
                None,
            )
            .await
            .unwrap();
    }

    async fn page(&self, needle: Option<Needle>) {
        let number = PageNumber::Nth(NonZeroU64::MIN);
        let filter = MessageFilter {
            role: RoleFilter::Any,
            needle,
        };
        let query = MessageQuery {
            conversation: self.conversation.id,
            filter,
            number,
            size: PageSize::default(),
        };
        self.store.messages(query).await.unwrap();
    }
}

fn now() -> Timestamp {
    Timestamp::from_micros(1_795_356_930_414_806)
}

fn store(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let fixture = runtime.block_on(Fixture::new(30));

    let mut appends = criterion.benchmark_group("append, durable");
    for callers in [1, 8, 64] {
        appends.throughput(Throughput::Elements(callers));
        appends.bench_function(format!("{callers} at once"), |bencher| {
            bencher
                .to_async(&runtime)
                .iter(|| join_all((0..callers).map(|_| fixture.append(Role::User))));
        });
    }
    appends.finish();

    let id = fixture.conversation.id;
    criterion.bench_function("read a conversation", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(|| async { fixture.store.conversation(id).await.unwrap() });
    });
    criterion.bench_function("read a page of 10", |bencher| {
        bencher.to_async(&runtime).iter(|| fixture.page(None));
    });

    let large = runtime.block_on(Fixture::new(10_000));
    criterion.bench_function("search 10,000 messages", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(|| large.page(Needle::new("a rare needle")));
    });
}

criterion_group!(benches, store);
criterion_main!(benches);
