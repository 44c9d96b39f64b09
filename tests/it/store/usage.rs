//! What owners spent.

use engagement::model::Owner;
use futures_util::future::join_all;

use super::{Database, owner::owner};

impl Database {
    async fn spent(&self, day: i64) -> Vec<(Owner, u64)> {
        let mut spent = self.store.spent(day).await.unwrap();
        spent.sort_unstable();
        spent
    }
}

pub(super) async fn what_is_spent_adds_up_by_owner_and_day(db: Database) {
    let spend = async |spent, day| db.store.spend(spent, day).await.unwrap();
    assert_eq!(db.spent(7).await, []);

    spend(vec![(owner(1), 10), (owner(1), 20), (owner(1), 3)], 7).await;
    assert_eq!(db.spent(7).await, [(owner(1), 33)]);
    spend(vec![(Owner::OPERATOR, 5), (owner(2), 1), (owner(1), 1)], 7).await;
    spend(vec![(owner(1), 2)], 8).await;
    spend(Vec::new(), 8).await;
    assert_eq!(
        db.spent(7).await,
        [(Owner::OPERATOR, 5), (owner(1), 34), (owner(2), 1)]
    );
    assert_eq!(db.spent(8).await, [(owner(1), 2)]);
    assert_eq!(db.spent(9).await, []);
}

pub(super) async fn many_who_spend_at_once_lose_nothing(db: Database) {
    let owners: Vec<_> = (1..=8).map(owner).collect();
    let spend = (0..40_usize).map(|at| {
        let mut spent: Vec<_> = owners.iter().map(|owner| (*owner, 1)).collect();
        spent.rotate_left(at % 8);
        db.store.spend(spent, 7)
    });
    for done in join_all(spend).await {
        done.unwrap();
    }
    let expected: Vec<_> = owners.into_iter().map(|owner| (owner, 40)).collect();
    assert_eq!(db.spent(7).await, expected);
}
