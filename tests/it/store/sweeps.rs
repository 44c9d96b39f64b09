//! Leases that are kept, lost and taken back.

use std::time::Duration;

use engagement::model::{Finished, ReplyState, Swept};

use super::{Database, LEASE, at, replies::answer};

const MOST_LOST: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

impl Database {
    pub(super) async fn sweep(&self, now: i64) -> Swept {
        self.store
            .sweep_replies(at(now), MOST_LOST, LONGEST_PAUSE)
            .await
            .unwrap()
    }
}

pub(super) async fn expired_leases_are_taken_back(db: Database) {
    db.asked(2_000).await;
    db.claim_one(2_000).await;

    assert_eq!(
        db.sweep(2_100).await,
        Swept::default(),
        "the lease lasts until 2,100"
    );
    assert_eq!(
        db.sweep(2_101).await,
        Swept {
            requeued: 1,
            failed: 0
        }
    );

    assert_eq!(db.claim(2_101).await[0].attempts, 2);
}

pub(super) async fn a_reply_that_loses_too_many_leases_fails(db: Database) {
    let (conversation, question) = db.asked(2_000).await;
    for lost in 1..MOST_LOST {
        db.claim_one(2_000 + i64::from(lost) * 1_000).await;
        assert_eq!(
            db.sweep(2_500 + i64::from(lost) * 1_000).await,
            Swept {
                requeued: 1,
                failed: 0
            }
        );
    }
    let last = db.claim_one(9_000).await;

    assert_eq!(
        db.sweep(9_500).await,
        Swept {
            requeued: 0,
            failed: 1
        }
    );

    let reply = db.reply_to(conversation, &question).await;
    assert!(
        matches!(&reply.state, ReplyState::Failed(failure) if failure.code == "worker_lost"),
        "{reply:?}"
    );
    assert_eq!((reply.attempts, reply.finished), (MOST_LOST, Some(at(9_500))));
    assert_eq!(db.finish(last, answer(7), 9_501).await, Finished::LeaseLost);
}

pub(super) async fn a_renewed_lease_lasts(db: Database) {
    db.asked(2_000).await;
    let lease = db.claim_one(2_000).await;

    assert_eq!(
        db.store
            .renew_leases(vec![lease], at(2_090), LEASE)
            .await
            .unwrap(),
        []
    );

    assert_eq!(db.sweep(2_150).await, Swept::default());
    assert_eq!(db.finish(lease, answer(7), 2_160).await, Finished::Stored);
}

pub(super) async fn a_clock_set_back_hides_no_retry(db: Database) {
    let day = 86_400_000_000;
    db.asked(day).await;

    assert_eq!(
        db.claim(1_000).await,
        [],
        "the clock stands a day before the message"
    );
    db.sweep(1_000).await;

    assert_eq!(db.claim(1_000).await.len(), 1);
}

pub(super) async fn a_restart_reclaims_everything(db: Database) {
    let (conversation, question) = db.asked(2_000).await;
    db.claim_one(2_000).await;

    assert_eq!(
        db.store.reclaim_replies(at(2_001), MOST_LOST).await.unwrap(),
        Swept {
            requeued: 1,
            failed: 0
        },
        "long before the lease ends"
    );

    assert_eq!(
        db.reply_to(conversation, &question).await.state,
        ReplyState::Queued
    );
    assert_eq!(db.claim(2_001).await[0].attempts, 2);
}
