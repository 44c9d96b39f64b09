//! What every store promises (`src/store/mod.rs`), put to every database there is.
//!
//! A test is written once, against the trait; [`conformance!`] stamps it for each database. Each run
//! gets a database of its own. What only one database has is tested in a module of its own.

mod claimants;
mod conversations;
mod messages;
mod pages;
pub(crate) mod postgres;
mod replies;
mod sqlite;

use std::{sync::Arc, time::Duration};

use engagement::{
    ids::IdSource,
    model::{
        Conversation, ConversationId, Description, Message, MessageFilter, MessageId, MessagePage,
        MessageQuery, MessageText, NewConversation, NewMessage, PageNumber, PageSize, Role, Timestamp, Title,
    },
    store::{
        PageAnswer, Store,
        postgres::{LeaseClock, Options, PostgresStore},
    },
};

use crate::support::{self, postgres::TestDatabase};

/// A database for one test, gone when dropped.
pub(crate) struct Database {
    pub(crate) store: Arc<dyn Store>,
    ids: IdSource,
    place: Place,
}

/// Where a test's database is.
enum Place {
    Directory(tempfile::TempDir),
    Server(TestDatabase),
}

/// Stamps tests for every database: `conformance! { module: test, …; … }`.
macro_rules! conformance {
    ($($module:ident: $($test:ident),+;)+) => {
        mod on_sqlite {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    $crate::store::$module::$test($crate::store::Database::sqlite()).await;
                })+
            })+
        }

        mod on_postgres {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    // Without a server, the fixture has said so.
                    if let Some(db) = $crate::store::Database::postgres().await {
                        $crate::store::$module::$test(db).await;
                    }
                })+
            })+
        }
    };
}

conformance! {
    conversations: what_is_created_can_be_read, a_taken_id_is_a_conflict, what_is_not_there_is_none,
        a_deleted_conversation_takes_everything_along, one_failing_write_takes_no_neighbour_along;
    messages: messages_keep_the_order_of_their_appends, dates_never_step_back_within_a_conversation,
        appending_moves_the_conversations_date, nothing_is_appended_to_what_is_not_there,
        a_message_belongs_to_one_conversation, a_deleted_user_message_takes_its_reply_along,
        a_deleted_answer_leaves_the_reply, concurrent_appends_all_get_a_place;
    pages: pages_join_to_the_whole_list, search_folds_case_and_knows_no_wildcards, pages_end_where_the_list_ends,
        a_role_that_nobody_has_finds_nothing;
    replies: a_user_message_is_stored_with_its_queued_reply, claims_give_the_longest_due_first,
        two_claims_never_give_the_same_reply, an_answer_is_stored_with_the_replys_end,
        an_older_holder_changes_nothing, a_deleted_message_takes_the_lease_along, a_retry_waits_for_its_time,
        a_released_reply_is_due_at_once, expired_leases_are_taken_back, a_reply_that_loses_too_many_leases_fails,
        a_renewed_lease_lasts, a_clock_set_back_hides_no_retry, a_restart_reclaims_everything,
        an_append_wakes_the_workers;
    claimants: a_claimant_is_not_needed_where_there_is_no_conversation,
        a_claimant_begins_once_the_message_is_stored_or_leaves_the_reply_to_the_queue;
}

pub(crate) fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

pub(crate) const LEASE: Duration = Duration::from_micros(100);

impl Database {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = engagement::store::sqlite::Options::new(directory.path().join("test.db"));
        let store = engagement::store::sqlite::SqliteStore::open(&options).unwrap();
        Self {
            store: Arc::new(store),
            ids: IdSource::counting(),
            place: Place::Directory(directory),
        }
    }

    /// `None` where there is no server.
    pub(crate) async fn postgres() -> Option<Self> {
        let database = support::postgres::shared().await?.database().await;
        let mut options = Options::new(database.url());
        // The tests show literal times.
        options.lease_clock = LeaseClock::Caller;
        Some(Self {
            store: Arc::new(PostgresStore::open(&options).await.unwrap()),
            ids: IdSource::counting(),
            place: Place::Server(database),
        })
    }

    /// The file, for looking at it from beside.
    fn path(&self) -> std::path::PathBuf {
        match &self.place {
            Place::Directory(directory) => directory.path().join("test.db"),
            Place::Server(database) => panic!("{} is no file", database.name()),
        }
    }

    pub(crate) async fn conversation(&self) -> Conversation {
        let new = NewConversation {
            id: self.ids.conversation(),
            title: Some(Title::parse("A title").unwrap()),
            description: Description::parse("A description").unwrap(),
            now: at(1_000),
        };
        self.store.create_conversation(new).await.unwrap()
    }

    pub(crate) async fn append(&self, to: ConversationId, role: Role, text: &str, now: i64) -> Message {
        self.try_append(to, role, text, now)
            .await
            .expect("the conversation exists")
    }

    pub(crate) async fn try_append(
        &self,
        to: ConversationId,
        role: Role,
        text: &str,
        now: i64,
    ) -> Option<Message> {
        let text = MessageText::parse(text).unwrap();
        let new = NewMessage {
            id: self.ids.message(at(now)),
            conversation: to,
            role,
            text,
            now: at(now),
        };
        self.store.append_message(new).await.unwrap()
    }

    pub(crate) async fn page(
        &self,
        of: ConversationId,
        filter: MessageFilter,
        number: PageNumber,
        size: u64,
    ) -> PageAnswer {
        let size = PageSize::clamped(size).unwrap();
        self.store
            .messages(MessageQuery {
                conversation: of,
                filter,
                number,
                size,
            })
            .await
            .unwrap()
    }

    /// When the next reply is due.
    pub(crate) async fn due(&self) -> Option<Timestamp> {
        let until = self.store.until_due(at(0)).await.unwrap();
        until.map(|until| at(0).after(until))
    }

    /// The first page, which these tests keep everything on.
    pub(crate) async fn all(&self, of: ConversationId) -> Vec<Message> {
        let filter = MessageFilter::default();
        page(
            self.page(of, filter, PageNumber::Nth(std::num::NonZeroU64::MIN), 100)
                .await,
        )
        .messages
    }
}

fn page(answer: PageAnswer) -> MessagePage {
    match answer {
        PageAnswer::Page(page) => page,
        other => panic!("no page: {other:?}"),
    }
}

fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.text.as_str()).collect()
}

/// An id that nothing has.
fn nobody() -> ConversationId {
    ConversationId::from([0xff; 16])
}

fn nothing() -> MessageId {
    MessageId::from([0xff; 16])
}
