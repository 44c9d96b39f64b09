//! Room in memory that many share: for bodies that come, for answers and events that their clients have not taken yet.
//!
//! What is held takes a share of it, and gives that back when it is dropped.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::body::Bytes;

/// How much may be held at once, all together, in bytes.
#[derive(Debug, Clone)]
pub(super) struct Room {
    most: usize,
    held: Arc<AtomicUsize>,
}

/// What one holds of it.
#[derive(Debug)]
pub(super) struct Share {
    bytes: usize,
    held: Arc<AtomicUsize>,
}

impl Room {
    pub(super) fn of(most: usize) -> Self {
        let held = Arc::default();
        Self { most, held }
    }

    /// How many bytes are held now.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether there would be room for so much more.
    pub(super) fn has_room_for(&self, bytes: u64) -> bool {
        let room = self.most.saturating_sub(self.held());
        usize::try_from(bytes).is_ok_and(|bytes| bytes <= room)
    }

    /// A share, if there is room for it.
    pub(super) fn take(&self, bytes: usize) -> Option<Share> {
        let held = Arc::clone(&self.held);
        let mut share = Share { bytes: 0, held };
        self.grow(&mut share, bytes).then_some(share)
    }

    /// Adds to a share, if there is room.
    pub(super) fn grow(&self, share: &mut Share, bytes: usize) -> bool {
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.most);
        let has_grown = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok();
        if has_grown {
            share.bytes += bytes;
        }
        has_grown
    }
}

impl Share {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that hold the share until they are gone.
    pub(super) fn keep(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Kept { bytes, _share: self })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Kept {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_free_again_when_it_is_dropped() {
        let room = Room::of(100);
        let half = room.take(50).unwrap();
        let rest = room.take(50).unwrap().keep(Bytes::from_static(b"held"));
        assert!(room.take(1).is_none());
        assert!(room.take(0).is_some());
        drop(rest.slice(1..));
        assert!(room.take(1).is_none(), "a slice is not the whole");
        drop(rest);
        assert!(room.take(1).is_some());
        drop(half);
        assert!(room.take(100).is_some());
    }

    #[test]
    fn a_share_that_cannot_grow_is_as_large_as_before() {
        let room = Room::of(100);
        let mut share = room.take(60).unwrap();
        assert!(!room.grow(&mut share, 41));
        assert!(!room.grow(&mut share, usize::MAX));
        assert_eq!((share.bytes(), room.held()), (60, 60));
        assert!(room.grow(&mut share, 40));
        drop(share);
        assert_eq!(room.held(), 0);
    }
}
