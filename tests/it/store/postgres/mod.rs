//! What only PostgreSQL has: a server that others use too, that has a clock, plans, locks and limits of its own.

mod clocks;
mod exercise;
mod grouping;
mod notices;
mod once;
mod opening;
mod plans;
mod purge;
mod replica;
mod schema;
mod telling;
mod timeouts;
mod tls;
mod turning;
mod watching;

use std::time::Duration;

use engagement::{
    clock::Clock,
    ids::IdSource,
    model::{
        ClaimedReply, ConversationId, Description, Event, Message, MessageFilter, MessageId, MessageQuery,
        MessageText, NewConversation, NewMessage, NewReply, Owner, PageNumber, PageSize, ReplyOptions, Role,
    },
    store::{
        ConversationStore, Error, EventStore, PageAnswer, ReplyStore,
        postgres::{Options, PostgresStore},
    },
};
use tokio_postgres::{Client, types::ToSql};

/// A node as its database knows it: one store among others over the same data.
pub(crate) struct Node {
    pub(crate) store: PostgresStore,
    ids: IdSource,
    clock: Clock,
}

impl Node {
    pub(crate) async fn open(url: &str) -> Self {
        Self::with(&Options::new(url)).await
    }

    pub(crate) async fn with(options: &Options) -> Self {
        Self {
            store: PostgresStore::open(options).await.unwrap(),
            ids: IdSource::random(),
            clock: Clock::system(),
        }
    }

    pub(crate) async fn conversation(&self) -> ConversationId {
        self.try_conversation().await.unwrap()
    }

    pub(crate) async fn try_conversation(&self) -> Result<ConversationId, Error> {
        let new = self.new_conversation();
        Ok(self.store.create_conversation(new, None).await?.id)
    }

    pub(crate) fn new_conversation(&self) -> NewConversation {
        NewConversation {
            id: self.ids.conversation(),
            title: None,
            description: Description::parse("A description").unwrap(),
            now: self.clock.now(),
            options: ReplyOptions::default(),
            owner: Owner::OPERATOR,
        }
    }

    pub(crate) fn message(&self, to: ConversationId, role: Role, text: &str) -> NewMessage {
        let now = self.clock.now();
        NewMessage {
            id: self.ids.message(now),
            conversation: to,
            role,
            text: MessageText::parse(text).unwrap(),
            reply: NewReply::default(),
            now,
        }
    }

    /// A user message whose reply takes turns.
    pub(crate) fn asking(&self, to: ConversationId, text: &str) -> NewMessage {
        let mut new = self.message(to, Role::User, text);
        new.reply.lane = Some("far".to_owned());
        new
    }

    pub(crate) async fn ask(&self, to: ConversationId, text: &str) -> MessageId {
        let asked = self
            .store
            .append_message(self.asking(to, text), None)
            .await
            .unwrap();
        asked.expect("the conversation exists").id
    }

    pub(crate) async fn claim(&self, limit: usize) -> Vec<ClaimedReply> {
        let lease = Duration::from_secs(30);
        let claimed = self
            .store
            .claim_replies(limit, Vec::new(), self.clock.now(), lease);
        claimed.await.unwrap()
    }

    /// All that happened after an event.
    pub(crate) async fn events(&self, of: ConversationId, mut after: u64) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let more = self.store.events(of, None, after).await.unwrap().unwrap().events;
            let Some(last) = more.last() else { return events };
            after = last.number;
            events.extend(more);
        }
    }

    pub(crate) async fn try_say(
        &self,
        to: ConversationId,
        role: Role,
        text: &str,
    ) -> Result<Option<Message>, Error> {
        self.store
            .append_message(self.message(to, role, text), None)
            .await
    }

    /// The message's id.
    pub(crate) async fn say(&self, to: ConversationId, role: Role, text: &str) -> MessageId {
        let said = self.try_say(to, role, text).await.unwrap();
        said.expect("the conversation exists").id
    }

    pub(crate) async fn page(
        &self,
        of: ConversationId,
        filter: MessageFilter,
        number: PageNumber,
    ) -> Result<PageAnswer, Error> {
        let query = MessageQuery {
            conversation: of,
            filter,
            number,
            size: PageSize::default(),
        };
        self.store.messages(query).await
    }
}

/// What one number a statement gives, asked from beside.
pub(crate) async fn number(client: &Client, sql: &str, params: &[&(dyn ToSql + Sync)]) -> i64 {
    client.query_one(sql, params).await.expect("an answer").get(0)
}
