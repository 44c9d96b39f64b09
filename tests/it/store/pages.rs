use std::num::NonZeroU64;

use engagement::{
    model::{Message, MessageFilter, Needle, PageNumber, Role, RoleFilter},
    store::PageAnswer,
};
use proptest::{
    prelude::{Strategy, any},
    strategy::ValueTree,
    test_runner::TestRunner,
};

use super::{Database, at, nobody, page, texts};

fn nth(number: u64) -> PageNumber {
    PageNumber::Nth(NonZeroU64::new(number).unwrap())
}

fn only(role: Role) -> MessageFilter {
    MessageFilter {
        role: RoleFilter::Only(role),
        needle: None,
    }
}

fn holding(text: &str) -> MessageFilter {
    MessageFilter {
        role: RoleFilter::Any,
        needle: Needle::new(text),
    }
}

/// Whatever was appended and deleted: the pages, joined, are what a plain list says, from the front and
/// from the back, for every filter and size.
pub(super) async fn pages_join_to_the_whole_list(db: Database) {
    let mut runner = TestRunner::deterministic();
    for _ in 0..12 {
        let steps = proptest::collection::vec((any::<bool>(), any::<bool>(), 0..100_u8), 0..60);
        let steps = steps.new_tree(&mut runner).unwrap().current();
        let conversation = db.conversation().await.id;
        let mut list: Vec<Message> = Vec::new();
        for (is_user, has_needle, fate) in steps {
            let role = if is_user { Role::User } else { Role::Assistant };
            let text = if has_needle { "a NEEDLE in it" } else { "hay" };
            list.push(db.append(conversation, role, text, 2_000).await);
            if fate < 20 {
                let gone = list.remove(usize::from(fate) % list.len());
                assert!(
                    db.store
                        .delete_message(conversation, gone.id, at(2_000))
                        .await
                        .unwrap()
                );
            }
        }
        for filter in [
            MessageFilter::default(),
            only(Role::User),
            only(Role::Assistant),
            holding("needle"),
        ] {
            let expected: Vec<Message> = list
                .iter()
                .filter(|message| lets_through(&filter, message))
                .cloned()
                .collect();
            for size in [1, 7, 100] {
                let mut joined = Vec::new();
                let pages = (expected.len() as u64).div_ceil(size).max(1);
                for number in 1..=pages {
                    let page = page(db.page(conversation, filter.clone(), nth(number), size).await);
                    assert_eq!((page.count, page.number.get()), (expected.len() as u64, number));
                    joined.extend(page.messages);
                }
                assert_eq!(joined, expected, "{filter:?}, {size} a page");
                let at_end = page(
                    db.page(conversation, filter.clone(), PageNumber::Last, size)
                        .await,
                );
                assert_eq!(at_end.number.get(), pages);
                assert!(expected.ends_with(&at_end.messages));
            }
        }
    }
}

fn lets_through(filter: &MessageFilter, message: &Message) -> bool {
    let role = match filter.role {
        RoleFilter::Any => true,
        RoleFilter::Only(role) => role == message.role,
        RoleFilter::Nobody => false,
    };
    role && filter.needle.is_none() || role && message.text.as_str().contains("NEEDLE")
}

pub(super) async fn search_folds_case_and_knows_no_wildcards(db: Database) {
    let conversation = db.conversation().await.id;
    for text in [
        "Straße",
        "100% sure",
        "snake_case",
        r"back\slash",
        "日本語テキスト",
        "ΣΊΣΥΦΟΣ",
        "caf\u{e9}",
        "two  spaces",
    ] {
        db.append(conversation, Role::Assistant, text, 2_000).await;
    }
    for (needle, found) in [
        ("STRASSE", vec!["Straße"]),
        ("ß", vec!["Straße"]),
        ("ss", vec!["Straße"]),
        ("%", vec!["100% sure"]),
        ("_", vec!["snake_case"]),
        ("\\", vec![r"back\slash"]),
        ("本", vec!["日本語テキスト"]),
        ("σίσυφος", vec!["ΣΊΣΥΦΟΣ"]),
        ("CAFÉ", vec!["caf\u{e9}"]),
        ("cafe\u{301}", vec![]),
        ("  ", vec!["two  spaces"]),
        (
            "S",
            vec!["Straße", "100% sure", "snake_case", r"back\slash", "two  spaces"],
        ),
    ] {
        let page = page(db.page(conversation, holding(needle), nth(1), 100).await);
        assert_eq!(texts(&page.messages), found, "{needle}");
        assert_eq!(page.count, found.len() as u64, "{needle}");
    }
}

pub(super) async fn pages_end_where_the_list_ends(db: Database) {
    let conversation = db.conversation().await.id;
    let all = MessageFilter::default;

    let empty = page(db.page(conversation, all(), nth(1), 10).await);
    assert_eq!(
        (empty.count, empty.messages.len()),
        (0, 0),
        "the first page of nothing exists"
    );
    assert_eq!(
        db.page(conversation, all(), nth(2), 10).await,
        PageAnswer::NoSuchPage
    );
    assert_eq!(
        db.page(conversation, all(), nth(u64::MAX), 100).await,
        PageAnswer::NoSuchPage
    );
    assert_eq!(
        db.page(conversation, holding("x"), nth(2), 10).await,
        PageAnswer::NoSuchPage
    );
    for filter in [all(), holding("x")] {
        assert_eq!(
            db.page(nobody(), filter, nth(1), 10).await,
            PageAnswer::NoConversation
        );
    }
}

pub(super) async fn a_role_that_nobody_has_finds_nothing(db: Database) {
    let conversation = db.conversation().await.id;
    db.append(conversation, Role::User, "x", 2_000).await;

    for needle in [None, Needle::new("x")] {
        let page = page(
            db.page(
                conversation,
                MessageFilter {
                    role: RoleFilter::Nobody,
                    needle,
                },
                nth(1),
                10,
            )
            .await,
        );
        assert_eq!((page.count, page.messages), (0, vec![]));
    }
}
