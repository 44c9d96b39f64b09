//! Which messages a list asks for, and the page that answers.

use std::num::NonZeroU64;

use super::{ConversationId, Message, Role, fold};

/// How many messages a page holds: 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize(u8);

impl PageSize {
    /// The largest page.
    pub const MAX: u8 = 100;

    /// A size out of any number: too large ones are clamped, zero is none.
    pub fn clamped(size: u64) -> Option<Self> {
        match size {
            0 => None,
            _ => Some(Self(u8::try_from(size).unwrap_or(Self::MAX).min(Self::MAX))),
        }
    }

    /// The number itself.
    pub fn get(self) -> u64 {
        self.0.into()
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(10)
    }
}

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageNumber {
    /// Counted from one.
    Nth(NonZeroU64),
    /// The last one, wherever that is.
    Last,
}

impl PageNumber {
    /// The page's number out of `count` items, or `None` beyond the end. The first page of nothing exists.
    pub fn resolve(self, count: u64, size: PageSize) -> Option<NonZeroU64> {
        let last = NonZeroU64::new(count.div_ceil(size.get())).unwrap_or(NonZeroU64::MIN);
        match self {
            Self::Nth(number) => (number <= last).then_some(number),
            Self::Last => Some(last),
        }
    }
}

/// A text to search for: case-folded once, never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Needle(String);

impl Needle {
    /// `None` for the empty text, which searches for nothing.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(fold(text).into_owned()))
    }

    /// The case-folded text.
    pub fn as_folded(&self) -> &str {
        &self.0
    }

    /// Whether the text holds this one, whatever the case of either.
    pub fn found_in(&self, text: &str) -> bool {
        fold(text).contains(&self.0)
    }
}

impl std::fmt::Debug for Needle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Needle({} bytes)", self.0.len())
    }
}

/// Whose messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RoleFilter {
    /// Everybody's.
    #[default]
    Any,
    /// One role's.
    Only(Role),
    /// Nobody's: a role was asked for that does not exist.
    Nobody,
}

/// Which messages of a conversation.
#[derive(Debug, Clone, Default)]
pub struct MessageFilter {
    /// Whose.
    pub role: RoleFilter,
    /// Only those whose text holds this.
    pub needle: Option<Needle>,
}

/// A page to read.
#[derive(Debug, Clone)]
pub struct MessageQuery {
    /// Of which conversation.
    pub conversation: ConversationId,
    /// Which messages.
    pub filter: MessageFilter,
    /// Which page of them.
    pub number: PageNumber,
    /// How large a page is.
    pub size: PageSize,
}

/// A page of messages, oldest first, with the count of the whole list in the same snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePage {
    /// How many messages the filter lets through.
    pub count: u64,
    /// Which page this is.
    pub number: NonZeroU64,
    /// The messages.
    pub messages: Vec<Message>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(number: u64, count: u64) -> Option<u64> {
        let number = NonZeroU64::new(number).map_or(PageNumber::Last, PageNumber::Nth);
        number.resolve(count, PageSize::default()).map(NonZeroU64::get)
    }

    #[test]
    fn a_page_exists_up_to_the_last_one_and_the_first_always() {
        assert_eq!(resolve(1, 0), Some(1));
        assert_eq!(resolve(2, 0), None);
        assert_eq!(resolve(3, 25), Some(3));
        assert_eq!(resolve(4, 25), None);
        assert_eq!(resolve(2, 20), Some(2));
        assert_eq!(resolve(3, 20), None);
        assert_eq!(resolve(0, 25), Some(3), "0 stands for the last page here");
    }

    #[test]
    fn sizes_are_clamped_to_a_hundred() {
        assert_eq!(PageSize::clamped(0), None);
        assert_eq!(PageSize::clamped(7).map(PageSize::get), Some(7));
        assert_eq!(PageSize::clamped(101).map(PageSize::get), Some(100));
        assert_eq!(PageSize::clamped(u64::MAX).map(PageSize::get), Some(100));
    }
}
