//! P1, P4 to P8: which messages are on a page.

use serde_json::{Value, json};

use super::{Database, NOBODY, Rows, Service, not_found};
use crate::support::{query, texts};

/// A conversation of the assistant's messages `1` to `count`, as the path of its list.
async fn list_of(service: &Service, count: usize) -> String {
    let numbers: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    format!(
        "/conversations/{}/messages",
        service.conversation_of(&numbers).await
    )
}

fn numbers(range: std::ops::RangeInclusive<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn invalid_page() -> Value {
    json!({ "page": ["Invalid page."] })
}

/// P1: ten to a page, oldest first
pub(super) async fn messages_come_oldest_first_ten_to_a_page(on: Database) {
    let service = on.service().await;
    let list = list_of(&service, 25).await;
    let mut rows = Rows::default();
    for (page, range) in [
        ("", 1..=10),
        ("?page=1", 1..=10),
        ("?page=2", 11..=20),
        ("?page=3", 21..=25),
    ] {
        let answer = service.get(&format!("{list}{page}")).await.expect(200);
        rows.equal(format!("count of {page:?}"), &answer["count"], 25);
        rows.equal(format!("page {page:?}"), texts(&answer), numbers(range));
    }
}

/// P4: the spellings of a page
pub(super) async fn a_page_is_a_number_in_ascii_digits_or_last(on: Database) {
    let service = on.service().await;
    let list = list_of(&service, 25).await;
    let mut rows = Rows::default();
    for (page, range) in [
        ("1", 1..=10),
        ("01", 1..=10),
        ("0003", 21..=25),
        ("last", 21..=25),
    ] {
        let answer = service.get(&format!("{list}?page={page}")).await;
        rows.equal(format!("page={page}"), texts(&answer.expect(200)), numbers(range));
    }
    let zeros = format!("{}2", "0".repeat(5_000));
    let answer = service.get(&format!("{list}?page={zeros}")).await;
    rows.equal(
        "five thousand zeros and a 2",
        texts(&answer.expect(200)),
        numbers(11..=20),
    );
}

/// P4: everything else
pub(super) async fn any_other_page_is_invalid(on: Database) {
    let service = on.service().await;
    let list = list_of(&service, 11).await;
    let long = "9".repeat(5_000);
    let mut rows = Rows::default();
    for page in [
        "3",
        "0",
        "00",
        "-1",
        "-0",
        "abc",
        "1.5",
        "1.0",
        "1e1",
        "0x1",
        "1_0",
        "1,0",
        "",
        " ",
        " 1 ",
        "+1",
        "1 ",
        "LAST",
        "Last",
        "last ",
        "\u{661}",
        "\u{ff11}",
        "²",
        "1\u{0}",
        "NaN",
        "null",
        "18446744073709551616",
        "18446744073709551617",
        "9223372036854775807",
        "9223372036854775808",
        "99999999999999999999999",
        &long,
    ] {
        let answer = service.get(&format!("{list}{}", query(&[("page", page)]))).await;
        rows.error(format!("page={page:.30}"), &answer, 404, &invalid_page());
    }
    for raw in [
        "page",
        "page=+1",
        "page=%201%20",
        "page=%2B1",
        "page=%FF",
        "page=%",
    ] {
        let answer = service.get_raw(&format!("{list}?{raw}")).await;
        rows.error(raw, &answer, 404, &invalid_page());
    }
}

/// P4: numbers that no list reaches, by every way to a page
pub(super) async fn a_page_beyond_any_list_is_invalid_whatever_else_is_asked(on: Database) {
    let service = on.service().await;
    let list = list_of(&service, 11).await;
    let conversation = list
        .trim_end_matches("/messages")
        .trim_start_matches("/conversations/");
    let gone = service.message(conversation, "assistant", "1 is gone").await;
    let mut rows = Rows::default();
    for round in ["without gaps", "with a gap"] {
        for filter in [
            "",
            "&q=1",
            "&role=user",
            "&role=assistant",
            "&role=nobody",
            "&q=1&role=assistant",
        ] {
            for size in ["1", "7", "100"] {
                for page in [
                    "1000",
                    "2147483648",
                    "92233720368547758",
                    "9223372036854775",
                    "9223372036854776",
                    "9223372036854775807",
                    "9223372036854775808",
                    "18446744073709551615",
                ] {
                    let asked = format!("?page={page}&page_size={size}{filter}");
                    let answer = service.get(&format!("{list}{asked}")).await;
                    rows.error(format!("{asked} {round}"), &answer, 404, &invalid_page());
                }
            }
        }
        service.delete(&format!("{list}/{gone}")).await;
    }
}

/// P1, P4, P7: every page of every list, from both ends, where messages were deleted
pub(super) async fn pages_close_the_gaps_that_deletions_leave(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("gaps").await;
    let list = format!("/conversations/{conversation}/messages");
    let mut left = Vec::new();
    for number in 0..24 {
        let message = service
            .message(&conversation, "assistant", &format!("number {number}"))
            .await;
        if [0, 1, 7, 8, 9, 16, 23].contains(&number) {
            assert_eq!(service.delete(&format!("{list}/{message}")).await.status, 204);
        } else {
            left.push(format!("number {number}"));
        }
    }
    let mut rows = Rows::default();
    for filter in ["", "&role=assistant", "&q=NUMBER", "&q=number&role=assistant"] {
        for size in [1, 2, 5, 16, 17, 18, 100] {
            let pages: Vec<_> = left.chunks(size).collect();
            for (at, wanted) in pages.iter().enumerate() {
                let asked = format!("?page={}&page_size={size}{filter}", at + 1);
                let page = service.get(&format!("{list}{asked}")).await.expect(200);
                rows.equal(&asked, texts(&page), *wanted);
                rows.equal(format!("count of {asked}"), &page["count"], left.len());
            }
            let asked = format!("?page=last&page_size={size}{filter}");
            let page = service.get(&format!("{list}{asked}")).await.expect(200);
            rows.equal(&asked, texts(&page), pages[pages.len() - 1]);
        }
        let page = service.get(&format!("{list}?role=user{filter}&role=user")).await;
        rows.equal(format!("nothing of {filter}"), &page.expect(200)["count"], 0);
    }
}

/// P4: page 1 is always there
pub(super) async fn an_empty_list_has_one_empty_page(on: Database) {
    let service = on.service().await;
    let list = list_of(&service, 0).await;
    let mut rows = Rows::default();
    for page in ["", "?page=1", "?page=last", "?role=user", "?q=x"] {
        let answer = service.get(&format!("{list}{page}")).await;
        rows.equal(
            page,
            answer.text(),
            r#"{"count":0,"next":null,"previous":null,"results":[]}"#,
        );
    }
    rows.error(
        "?page=2",
        &service.get(&format!("{list}?page=2")).await,
        404,
        &invalid_page(),
    );
}

/// P5: sizes that are sizes, sizes that are too large, and everything else
pub(super) async fn a_page_size_is_kept_between_1_and_100(on: Database) {
    let service = on.service().await;
    let list = list_of(&service, 105).await;
    let long = "9".repeat(5_000);
    let mut rows = Rows::default();
    for (size, on_page) in [
        ("1", 1),
        ("7", 7),
        ("007", 7),
        ("100", 100),
        ("101", 100),
        ("1000000000000", 100),
        ("18446744073709551616", 100),
        (&long, 100),
        ("0", 10),
        ("-1", 10),
        ("abc", 10),
        ("", 10),
        ("5.0", 10),
        ("1e1", 10),
        ("last", 10),
    ] {
        let page = service.get(&format!("{list}?page_size={size}")).await.expect(200);
        rows.equal(format!("page_size={size:.30}"), texts(&page).len(), on_page);
        let next = page["next"].as_str().unwrap_or_default();
        rows.equal(
            format!("next of {size:.30}"),
            next.ends_with(&format!("?page=2&page_size={size}")),
            true,
        );
    }
}

/// P6: the last one counts, and only under its own name
pub(super) async fn of_a_repeated_parameter_the_last_one_counts(on: Database) {
    let service = on.service().await;
    let list = list_of(&service, 11).await;
    let conversation = list
        .trim_end_matches("/messages")
        .trim_start_matches("/conversations/");
    service.message(conversation, "user", "a question").await;
    let mut rows = Rows::default();
    for (query, expected) in [
        ("page=1&page=2&page_size=5", numbers(6..=10)),
        ("page=2&page=1&page_size=5", numbers(1..=5)),
        ("page=bogus&page=2&page_size=5", numbers(6..=10)),
        ("PAGE=2&page_size=5", numbers(1..=5)),
        ("page_size=1&page_size=2", numbers(1..=2)),
        ("Page_Size=1&page_size=2", numbers(1..=2)),
        ("role=assistant&role=user", vec!["a question".to_owned()]),
        ("ROLE=user&page_size=3", numbers(1..=3)),
        ("q=11&q=question", vec!["a question".to_owned()]),
        ("Q=question&page_size=2", numbers(1..=2)),
        ("limit=1&offset=3&format=xml&page_size=2", numbers(1..=2)),
        ("&&page_size=2&", numbers(1..=2)),
    ] {
        let page = service.get(&format!("{list}?{query}")).await;
        rows.equal(query, texts(&page.expect(200)), expected);
    }
}

/// P7: a filter by role
pub(super) async fn a_role_keeps_the_messages_of_that_role(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("roles").await;
    service.message(&conversation, "assistant", "welcome").await;
    let message = service.message(&conversation, "user", "hello").await;
    service.finished_reply(&conversation, &message).await;

    let greeting = "Hello! How can I assist you today?";
    let mut rows = Rows::default();
    for (role, expected) in [
        ("user", vec!["hello"]),
        ("assistant", vec!["welcome", greeting]),
        ("", vec!["welcome", "hello", greeting]),
        ("bogus", vec![]),
        ("USER", vec![]),
        ("user ", vec![]),
        ("\u{0}", vec![]),
    ] {
        let filter = query(&[("role", role)]);
        let page = service
            .get(&format!("/conversations/{conversation}/messages{filter}"))
            .await
            .expect(200);
        rows.equal(format!("role={role:?}"), texts(&page), expected.as_slice());
        rows.equal(format!("count of role={role:?}"), &page["count"], expected.len());
    }
}

/// P8, E5: existence before parameters
pub(super) async fn an_unknown_conversation_is_not_found_whatever_is_asked(on: Database) {
    let service = on.service().await;
    let long = format!("?q={}", "x".repeat(257));
    let mut rows = Rows::default();
    for query in [
        "",
        "?page=2",
        "?page=bogus",
        "?q=%00",
        &long,
        "?role=bogus",
        "?page_size=0",
    ] {
        let answer = service
            .get(&format!("/conversations/{NOBODY}/messages{query}"))
            .await;
        rows.error(format!("{query:.20}"), &answer, 404, &not_found());
    }
}
