//! What a reply is written from.

use std::num::NonZeroU32;

use engagement::model::{
    Change, Context, ConversationChange, Instructions, Message, ModelName, OptionsChange, ReplyOptions, Role,
    Temperature, Title, TopP,
};

use super::{Database, at, nobody, nothing};

const PLENTY: usize = 1_000_000;

impl Database {
    async fn context(&self, message: &Message, bytes: usize) -> Context {
        self.store
            .context(message.conversation, message.id, bytes)
            .await
            .unwrap()
            .unwrap()
    }

    async fn history(&self, message: &Message, bytes: usize) -> Vec<String> {
        let context = self.context(message, bytes).await;
        let lines = context.history.iter();
        lines
            .map(|line| format!("{} {}", line.role.as_str(), line.text.as_str()))
            .collect()
    }
}

pub(super) async fn each_answer_stands_behind_its_question(db: Database) {
    let conversation = db.conversation().await.id;
    db.append(conversation, Role::Assistant, "welcome", 1_000).await;
    db.append(conversation, Role::User, "one", 2_000).await;
    db.append(conversation, Role::User, "two", 2_001).await;
    db.append(conversation, Role::Assistant, "an aside", 2_002).await;
    let last = db.append(conversation, Role::User, "three", 2_003).await;
    let claimed = db.claim(3_000).await;
    db.answer(claimed[1].lease, 2, "answer to two", None, 3_000).await;
    db.answer(claimed[0].lease, 1, "answer to one", None, 3_001).await;
    db.answer(claimed[2].lease, 3, "an earlier answer to three", None, 3_002)
        .await;
    db.append(conversation, Role::User, "later", 4_000).await;

    assert_eq!(
        db.history(&last, PLENTY).await,
        [
            "assistant welcome",
            "user one",
            "assistant answer to one",
            "user two",
            "assistant answer to two",
            "assistant an aside",
        ]
    );
}

pub(super) async fn history_is_cut_to_whole_turns(db: Database) {
    let conversation = db.conversation().await.id;
    for (id, question, answer) in [(1, "one", "first"), (2, "two", "second")] {
        db.append(conversation, Role::User, question, 2_000).await;
        let lease = db.claim(2_000).await[0].lease;
        db.answer(lease, id, answer, None, 2_000).await;
    }
    let last = db.append(conversation, Role::User, "three", 3_000).await;

    let newest = "two".len() + "second".len() + 2 * 16;
    assert_eq!(db.history(&last, newest).await, ["user two", "assistant second"]);
    assert_eq!(db.history(&last, newest - 1).await, Vec::<String>::new());
    let all = newest + "one".len() + "first".len() + 2 * 16;
    assert_eq!(db.history(&last, all - 1).await.len(), 2);
    assert_eq!(db.history(&last, all).await.len(), 4);
}

pub(super) async fn a_messages_options_come_before_its_conversations(db: Database) {
    let conversation = db.conversation().await.id;
    let change = ConversationChange {
        options: OptionsChange {
            temperature: Change::Set(Temperature::new(0.5).unwrap()),
            top_p: Change::Set(TopP::new(0.5).unwrap()),
            instructions: Change::Set(Instructions::parse("Be brief.").unwrap()),
            ..OptionsChange::default()
        },
        ..ConversationChange::default()
    };
    db.store
        .change_conversation(conversation, change, at(2_000))
        .await
        .unwrap();
    let mut new = db.asking(conversation, "Hello", 3_000);
    new.reply.options = ReplyOptions {
        temperature: Temperature::new(1.5),
        max_output_tokens: NonZeroU32::new(7),
        ..ReplyOptions::default()
    };
    let own = new.reply.options.clone();
    let message = db.store.append_message(new, None).await.unwrap().unwrap();

    let options = db.context(&message, PLENTY).await.options;
    assert_eq!(options.temperature, Temperature::new(1.5));
    assert_eq!(options.top_p, TopP::new(0.5));
    assert_eq!(options.max_output_tokens, NonZeroU32::new(7));
    assert_eq!(options.instructions, Instructions::parse("Be brief.").ok());
    let stored = db.store.reply_options(conversation, message.id).await.unwrap();
    assert_eq!(stored, Some(own));
}

pub(super) async fn a_change_keeps_what_it_does_not_name(db: Database) {
    let conversation = db.conversation().await;
    assert_eq!(
        db.store.options(conversation.id).await.unwrap(),
        Some(ReplyOptions::default())
    );
    let change = |title, options| ConversationChange {
        title,
        description: None,
        options,
    };
    let model = OptionsChange {
        model: Change::Set(ModelName::parse("rules").unwrap()),
        ..OptionsChange::default()
    };
    let changed = db
        .store
        .change_conversation(conversation.id, change(Change::Keep, model), at(2_000))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (changed.title.clone(), changed.updated),
        (conversation.title, at(2_000))
    );
    assert_eq!(
        db.store.conversation(conversation.id).await.unwrap(),
        Some(changed)
    );

    let title = Change::Set(Title::parse("Another").unwrap());
    db.store
        .change_conversation(
            conversation.id,
            change(title, OptionsChange::default()),
            at(1_500),
        )
        .await
        .unwrap();
    let read = db.store.conversation(conversation.id).await.unwrap().unwrap();
    assert_eq!(read.title, Title::parse("Another").ok());
    assert_eq!(read.updated, at(2_000), "dates never step back");
    let options = db.store.options(conversation.id).await.unwrap().unwrap();
    assert_eq!(options.model, ModelName::parse("rules").ok());

    let clear = OptionsChange {
        model: Change::Clear,
        ..OptionsChange::default()
    };
    db.store
        .change_conversation(conversation.id, change(Change::Clear, clear), at(3_000))
        .await
        .unwrap();
    let read = db.store.conversation(conversation.id).await.unwrap().unwrap();
    assert_eq!(read.title, None);
    assert_eq!(
        db.store.options(conversation.id).await.unwrap(),
        Some(ReplyOptions::default())
    );
}

pub(super) async fn there_is_no_context_where_there_is_no_message(db: Database) {
    let conversation = db.conversation().await.id;
    let none = db.store.context(conversation, nothing(), PLENTY).await.unwrap();
    assert_eq!(none, None);
    assert_eq!(db.store.options(nobody()).await.unwrap(), None);
    let change = ConversationChange::default();
    let none = db
        .store
        .change_conversation(nobody(), change, at(2_000))
        .await
        .unwrap();
    assert_eq!(none, None);
}
