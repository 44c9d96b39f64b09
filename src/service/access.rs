//! Whose conversations somebody may see, and how many replies they may ask for.

use super::{Error, Result, Service, backlog::NoRoom};
use crate::{
    access::{Caller, until_next_day},
    config::Ownership,
    model::ConversationId,
};

impl Service {
    /// Refuses a conversation to whoever comes with a key that is not its owner's, if conversations belong to keys. One that
    /// does not exist is left to those who look for it.
    pub async fn guard(&self, conversation: ConversationId, by: Option<&Caller>) -> Result<()> {
        let (Ownership::Strict, Some(by)) = (self.settings.ownership, by) else {
            return Ok(());
        };
        match self.store.owner(conversation).await? {
            Some(owner) if owner != by.owner => Err(Error::NotFound),
            _ => Ok(()),
        }
    }

    /// Counts one more reply, if there is room for it and its owner has tokens left.
    pub(super) async fn admit_reply(&self, by: &Caller) -> Result<()> {
        let now = self.clock.now();
        if let Some(most) = by.limits.tokens_per_day
            && self.spending.of(by.owner, now) >= most.get()
        {
            return Err(Error::Spent {
                until: until_next_day(now),
            });
        }
        let most = by.limits.pending_replies.map(|most| most.get().into());
        let look = async || self.store.pending_replies().await;
        match self.backlog.admit(by.owner, most, look).await? {
            None => Ok(()),
            Some(NoRoom::ForAnybody) => Err(Error::Backlogged),
            Some(NoRoom::ForOwner) => Err(Error::TooManyReplies),
        }
    }
}
