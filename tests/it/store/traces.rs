//! What a request was traced as goes along with the reply that it asks for, to whoever claims that.

use engagement::{
    model::{
        ClaimedReply, ConversationId, MessageText, NewMessage, NewReply, Outcome, Retried, Role, TraceParent,
    },
    store::Claimant,
};

use super::{Database, LEASE, at, replies::answer};

const SPAN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const ANOTHER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn traced(span: &str) -> NewReply {
    NewReply {
        trace: TraceParent::parse(span),
        ..NewReply::default()
    }
}

fn asking(conversation: ConversationId, reply: NewReply) -> NewMessage {
    NewMessage {
        id: [9; 16].into(),
        conversation,
        role: Role::User,
        text: MessageText::parse("Hello").unwrap(),
        now: at(2_000),
        reply,
    }
}

fn trace_of(claimed: &ClaimedReply) -> Option<String> {
    claimed.trace.map(|span| span.to_string())
}

pub(super) async fn a_reply_is_claimed_with_the_span_that_asked_for_it(db: Database) {
    let conversation = db.conversation().await.id;
    let new = asking(conversation, traced(SPAN));
    db.store.append_message(new, None).await.unwrap();

    let claimed = db.claim(2_000).await.remove(0);
    assert_eq!(trace_of(&claimed).as_deref(), Some(SPAN));

    let again = Outcome::Retry { after: LEASE };
    db.finish(claimed.lease, again, 3_000).await;
    let claimed = db.claim(60_000_000).await.remove(0);
    assert_eq!(trace_of(&claimed).as_deref(), Some(SPAN), "with every try");
}

pub(super) async fn a_reply_that_is_retried_belongs_to_the_span_that_asked_for_that(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.append(conversation, Role::User, "Hello", 2_000).await;
    let claimed = db.claim(2_000).await.remove(0);
    assert_eq!(trace_of(&claimed), None, "nobody traced the message");
    db.finish(claimed.lease, answer(7), 3_000).await;

    for (span, now) in [(Some(ANOTHER), 4_000), (None, 6_000)] {
        let asked = span.map_or_else(NewReply::default, traced);
        let retried = db
            .store
            .retry_reply(conversation, question.id, asked, at(now), None);
        assert!(matches!(retried.await, Ok(Retried::Queued(_))));
        let claimed = db.claim(now).await.remove(0);
        assert_eq!(trace_of(&claimed).as_deref(), span);
        db.finish(claimed.lease, answer(8), now + 1_000).await;
    }
}

pub(super) async fn whoever_claims_at_once_gets_the_span_too(db: Database) {
    let conversation = db.conversation().await.id;
    let (report, began) = tokio::sync::oneshot::channel();
    let claimant = Claimant::new(LEASE, move |claimed| report.send(claimed).unwrap());
    let new = asking(conversation, traced(SPAN));
    db.store.append_and_claim(new, claimant, None).await.unwrap();

    // A claimant who is not needed is dropped before the answer comes.
    let claimed = match began.await {
        Ok(claimed) => claimed,
        Err(_) => db.claim(2_000).await.remove(0),
    };
    assert_eq!(trace_of(&claimed).as_deref(), Some(SPAN));
}
