//! The room for what streams hold: what was read for clients that have not taken it yet.
//!
//! A little is free for each. What is long takes a share of one room, for as long as it is held.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::body::Bytes;

use crate::model::{Event, Happening};

/// What a stream holds without asking, in bytes.
pub(super) const LITTLE: usize = 16 * 1024;

/// What is sent at once of that for which there is no room: the smaller, the more often it is read.
pub(super) const PIECE: usize = 64 * 1024;

/// What all streams hold together besides.
const MOST: usize = 64 * 1024 * 1024;

/// About what an event takes besides its text.
const EVENT: usize = 128;

/// How many bytes are held.
#[derive(Debug, Clone, Default)]
pub(super) struct Room(Arc<AtomicUsize>);

/// What one stream holds of them.
#[derive(Debug)]
pub(super) struct Share {
    bytes: usize,
    held: Arc<AtomicUsize>,
}

impl Room {
    /// Takes a share, if there is room for it. What is little takes none.
    pub(super) fn take(&self, bytes: usize) -> Option<Share> {
        let bytes = if bytes <= LITTLE { 0 } else { bytes };
        let grow = |held: usize| held.checked_add(bytes).filter(|held| *held <= MOST);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow);
        taken.is_ok().then(|| Share {
            bytes,
            held: Arc::clone(&self.0),
        })
    }
}

impl Share {
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

/// About how many bytes an event takes while it is held.
pub(super) fn size(event: &Event) -> usize {
    let text = match &event.what {
        Happening::MessageCreated { message, .. } => message.text.as_str().len(),
        Happening::ReplyDelta { text, .. } => text.len(),
        _ => 0,
    };
    EVENT + text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_free_again_when_it_is_dropped_and_a_little_needs_none() {
        let room = Room::default();
        let half = room.take(MOST / 2).unwrap();
        let rest = room.take(MOST / 2).unwrap().keep(Bytes::from_static(b"held"));
        assert!(room.take(LITTLE + 1).is_none());
        assert!(room.take(LITTLE).is_some());
        drop(rest.slice(1..));
        assert!(room.take(LITTLE + 1).is_none(), "a slice is not the whole");
        drop(rest);
        assert!(room.take(LITTLE + 1).is_some());
        drop(half);
        assert!(room.take(MOST).is_some());
    }
}
