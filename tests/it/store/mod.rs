//! What every store promises (`src/store/mod.rs`), put to every database there is.
//!
//! A test is written once, against the trait; [`conformance!`] stamps it for each database. Each run
//! gets a database of its own. What only one database has is tested in a module of its own.

mod claimants;
mod context;
mod control;
mod conversations;
mod events;
mod forgetting;
mod keys;
mod messages;
mod once;
mod owner;
mod pages;
pub(crate) mod postgres;
mod replies;
mod sqlite;
mod story;
mod sweeps;
mod together;
mod traces;
mod turns;
mod usage;

pub(crate) use story::LANE;

use std::{sync::Arc, time::Duration};

use engagement::{
    ids::IdSource,
    model::{
        Conversation, ConversationId, Description, Message, MessageFilter, MessageId, MessagePage,
        MessageQuery, MessageText, NewConversation, NewMessage, NewReply, Owner, PageNumber, PageSize,
        ReplyOptions, Role, Timestamp, Title,
    },
    store::{
        KeyStore, PageAnswer, Store,
        postgres::{LeaseClock, Options, PostgresKeys, PostgresStore},
        sqlite::SqliteKeys,
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
    replies: a_user_message_is_stored_with_its_queued_reply,
        claims_give_the_longest_due_first,
        two_claims_never_give_the_same_reply,
        an_answer_is_stored_with_the_replys_end,
        an_older_holder_changes_nothing,
        a_deleted_message_takes_the_lease_along,
        a_retry_waits_for_its_time,
        a_postponed_reply_was_not_begun,
        a_postponed_retry_was_begun_before,
        a_released_reply_is_due_at_once,
        an_append_wakes_the_workers;
    sweeps: expired_leases_are_taken_back,
        a_reply_that_loses_too_many_leases_fails,
        a_renewed_lease_lasts,
        a_clock_set_back_hides_no_retry,
        a_restart_reclaims_everything;
    traces: a_reply_is_claimed_with_the_span_that_asked_for_it,
        a_reply_that_is_retried_belongs_to_the_span_that_asked_for_that,
        whoever_claims_at_once_gets_the_span_too;
    claimants: a_claimant_is_not_needed_where_there_is_no_conversation,
        a_claimant_begins_once_the_message_is_stored_or_leaves_the_reply_to_the_queue;
    events: an_answer_that_was_not_told_before_is_told_whole,
        pieces_are_told_as_they_came_and_the_rest_at_the_end,
        reading_goes_on_after_any_event,
        a_replys_events_can_be_read_alone,
        who_lost_the_lease_tells_nothing,
        a_failure_is_told_with_its_reason,
        what_is_deleted_is_not_told_again,
        an_answer_outlives_its_question,
        nothing_is_told_where_there_is_no_conversation,
        whoever_waits_hears_of_everything;
    forgetting: pieces_are_forgotten_in_time_and_the_text_is_told_whole,
        an_answer_that_later_tries_have_left_is_told_whole_too,
        pieces_of_an_attempt_in_front_of_a_short_answer_are_forgotten,
        pieces_of_an_attempt_in_front_of_a_failure_are_forgotten,
        pieces_in_front_of_a_try_that_was_called_off_are_forgotten;
    turns: one_reply_at_a_time_is_due,
        a_reply_that_is_tried_again_keeps_its_turn,
        those_without_history_take_no_turns,
        a_deleted_message_gives_its_turn_away,
        a_reply_that_is_given_up_gives_its_turn_away,
        a_sweep_leaves_those_alone_that_wait_for_their_turn,
        full_lanes_are_left_alone,
        a_lane_gives_what_it_has_room_for_the_longest_due_first,
        a_message_can_refuse_to_wait,
        a_message_can_interrupt,
        whoever_takes_no_turn_is_never_busy;
    control: a_queued_reply_is_called_off,
        what_was_written_is_kept,
        only_what_the_last_beginning_wrote_is_kept,
        calling_off_again_changes_nothing,
        a_failed_reply_runs_again,
        a_new_answer_takes_the_place_of_the_old_one,
        whoever_was_away_hears_of_every_answer_that_is_gone,
        an_answer_stays_where_it_was_told_when_its_question_goes,
        a_cancelled_second_try_keeps_what_it_wrote_and_the_first,
        a_deleted_earlier_answer_is_not_kept_with_its_try,
        there_is_nothing_to_retry_where_there_is_no_reply;
    context: each_answer_stands_behind_its_question,
        history_is_cut_to_whole_turns,
        a_messages_options_come_before_its_conversations,
        a_change_keeps_what_it_does_not_name,
        there_is_no_context_where_there_is_no_message;
    keys: a_key_is_read_as_it_was_made,
        a_taken_key_id_is_a_conflict_and_is_not_told,
        keys_are_listed_by_age,
        a_revoked_key_stays_as_it_is,
        a_key_takes_the_place_of_another,
        what_opens_nothing_has_no_successor,
        changes_of_keys_are_read_once,
        no_change_of_keys_is_missed,
        the_last_use_never_steps_back,
        what_happened_is_told_the_newest_first_and_forgotten_in_time,
        keys_that_are_changed_from_beside_are_seen;
    once: a_message_is_appended_once,
        a_claimed_message_is_remembered,
        a_conversation_is_created_once,
        a_reply_is_called_off_and_retried_once,
        a_key_is_made_and_rotated_once,
        what_fails_is_not_remembered,
        a_repeated_request_is_not_refused_for_what_it_did,
        an_old_record_makes_room,
        old_records_are_forgotten_in_portions;
    together: of_many_at_once_one_is_carried_out,
        of_many_conversations_at_once_one_is_created,
        the_date_that_is_remembered_is_the_messages;
    owner: a_conversation_is_whose_made_it, unfinished_replies_count_for_who_asked;
    usage: what_is_spent_adds_up_by_owner_and_day,
        many_who_spend_at_once_lose_nothing;
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
    pub(crate) fn path(&self) -> std::path::PathBuf {
        match &self.place {
            Place::Directory(directory) => directory.path().join("test.db"),
            Place::Server(database) => panic!("{} is no file", database.name()),
        }
    }

    /// The keys of this database, for the command line beside the store.
    async fn beside(&self) -> Box<dyn KeyStore> {
        match &self.place {
            Place::Directory(_) => Box::new(SqliteKeys::open(&self.path()).unwrap()),
            Place::Server(database) => {
                Box::new(PostgresKeys::open(&Options::new(database.url())).await.unwrap())
            }
        }
    }

    pub(crate) async fn conversation(&self) -> Conversation {
        let new = NewConversation {
            id: self.ids.conversation(),
            title: Some(Title::parse("A title").unwrap()),
            description: Description::parse("A description").unwrap(),
            now: at(1_000),
            options: ReplyOptions::default(),
            owner: Owner::OPERATOR,
        };
        self.store.create_conversation(new, None).await.unwrap()
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
            reply: NewReply::default(),
        };
        self.store.append_message(new, None).await.unwrap()
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
        let until = self.store.until_due(Vec::new(), at(0)).await.unwrap();
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
