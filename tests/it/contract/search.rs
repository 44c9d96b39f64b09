//! Q: what a search term finds.

use serde_json::json;

use super::{Database, Rows, Service, assert_error, not_found};
use crate::support::{query, texts};

/// Puts a table of texts and terms, and whether the one is found by the other: in a list and on a conversation alike.
async fn judge(service: &Service, table: &[(&str, &str, bool)]) {
    let mut rows = Rows::default();
    for (text, term, found) in table {
        let answer = service
            .post_json("/conversations/", &json!({ "description": text }))
            .await;
        let path = answer.header("location").to_owned();
        let body = json!({ "role": "assistant", "text": text });
        service
            .post_json(&format!("{path}/messages/create"), &body)
            .await
            .expect(201);

        let term_query = query(&[("q", term)]);
        let page = service
            .get(&format!("{path}/messages{term_query}"))
            .await
            .expect(200);
        let status = service.get(&format!("{path}{term_query}")).await.status;
        let row = format!("{term:?} in {text:?}");
        rows.equal(format!("{row}, in the list"), &page["count"], usize::from(*found));
        rows.equal(
            format!("{row}, on the conversation"),
            status,
            if *found { 200 } else { 404 },
        );
    }
}

/// Q1: in the title, in the description, or nowhere
pub(super) async fn a_conversation_is_found_by_its_title_or_its_description(on: Database) {
    let service = on.service().await;
    let body = json!({ "title": "Über uns", "description": "What AI can do" });
    let path = service
        .post_json("/conversations/", &body)
        .await
        .header("location")
        .to_owned();
    for term in ["über", "UNS", "ai", "what a", "Über uns"] {
        service
            .get(&format!("{path}{}", query(&[("q", term)])))
            .await
            .expect(200);
    }
    for term in ["unsWhat", "uns What", "nothing", "null"] {
        let answer = service.get(&format!("{path}{}", query(&[("q", term)]))).await;
        assert_error(&answer, 404, &not_found());
    }
    let untitled = service.conversation("no title").await;
    assert_error(
        &service.get(&format!("/conversations/{untitled}?q=null")).await,
        404,
        &not_found(),
    );
}

/// Q1, P1: a list shows what matches, in its order, and counts it
pub(super) async fn a_list_is_filtered_by_text(on: Database) {
    let service = on.service().await;
    let conversation = service
        .conversation_of(&["One apple", "two pears", "APPLES", "no fruit"])
        .await;
    let page = service
        .get(&format!("/conversations/{conversation}/messages?q=apple"))
        .await
        .expect(200);
    assert_eq!(texts(&page), ["One apple", "APPLES"]);
    assert_eq!(page["count"], 2);
    let page = service
        .get(&format!(
            "/conversations/{conversation}/messages?q=apple&role=user"
        ))
        .await
        .expect(200);
    assert_eq!(page["count"], 0);
}

/// Q1, Q2: case as Unicode folds it
pub(super) async fn case_does_not_matter_in_any_script(on: Database) {
    judge(
        &on.service().await,
        &[
            ("Hello World", "hello world", true),
            ("hello world", "O WOR", true),
            ("Straße", "STRASSE", true),
            ("Straße", "strasse", true),
            ("Straße", "ß", true),
            ("STRASSE", "ß", true),
            ("Strasse", "Straße", true),
            ("MASSE", "ẞ", true),
            ("über", "Ü", true),
            ("ÜBER", "ü", true),
            ("É", "é", true),
            ("Σίσυφος", "ΣΊΣΥΦΟΣ", true),
            ("ς", "σ", true),
            ("Σ", "ς", true),
            ("Привет", "ПРИВЕТ", true),
            ("İstanbul", "İ", true),
            ("İstanbul", "i\u{307}S", true),
            ("İstanbul", "istanbul", false),
            ("Istanbul", "İ", false),
            ("ILIK", "ı", false),
            ("ılık", "I", false),
            ("ılık", "ı", true),
            ("TITLE", "title", true),
            ("ﬁnd", "FI", true),
            ("\u{212a}elvin", "k", true),
            ("ſo", "SO", true),
            ("ᏸ", "Ᏸ", true),
            ("ΐ", "\u{3b9}\u{308}\u{301}", true),
        ],
    )
    .await;
}

/// Q3: no normalisation
pub(super) async fn composed_and_decomposed_letters_are_different(on: Database) {
    judge(
        &on.service().await,
        &[
            ("caf\u{e9}", "\u{e9}", true),
            ("caf\u{e9}", "e\u{301}", false),
            ("cafe\u{301}", "\u{e9}", false),
            ("cafe\u{301}", "e\u{301}", true),
            ("cafe\u{301}", "e", true),
            ("ｈｅｌｌｏ", "hello", false),
            ("１", "1", false),
        ],
    )
    .await;
}

/// Q4: no wildcards
pub(super) async fn no_character_is_a_wildcard(on: Database) {
    judge(
        &on.service().await,
        &[
            ("100%", "%", true),
            ("100", "%", false),
            ("a%b", "a%b", true),
            ("axb", "a%b", false),
            ("a_b", "_", true),
            ("ab", "_", false),
            ("axb", "a_b", false),
            (r"a\b", r"\", true),
            ("ab", r"\", false),
            (r"a\%b", r"\%", true),
            ("a%b", r"\%", false),
            ("a*b", "*", true),
            ("ab", "*", false),
            ("ab", "?", false),
            ("ab", "[a]", false),
            ("ab", ".", false),
            ("it's", "'", true),
            ("say \"x\"", "\"X\"", true),
            ("ab", "' OR '1'='1", false),
            ("a AND b", "a AND b", true),
            ("b AND a", "a AND b", false),
        ],
    )
    .await;
}

/// Q5: short terms, spaces, scripts without spaces
pub(super) async fn a_term_is_taken_as_it_is(on: Database) {
    judge(
        &on.service().await,
        &[
            ("a b", " ", true),
            ("ab", " ", false),
            ("a  b", "  ", true),
            ("a b", "  ", false),
            ("ab c", " ab", false),
            ("ab c", "b ", true),
            ("ab", "ab ", false),
            ("x", "x", true),
            ("漢字のテスト", "字", true),
            ("漢字のテスト", "のテ", true),
            ("漢字のテスト", "字テ", false),
            ("한국어", "국", true),
            ("ภาษาไทย", "ษา", true),
            ("🎉🎊", "🎊", true),
            ("a\nb", "\n", true),
            ("anything", "", true),
        ],
    )
    .await;
}

/// Q6: forms are decoded forgivingly
pub(super) async fn what_cannot_be_decoded_stands_for_itself(on: Database) {
    let service = on.service().await;
    let sent = ["100% of it", "%zz", "a;b", "a b", "odd \u{fffd} one", "plain"];
    let conversation = service.conversation_of(&sent).await;
    let mut rows = Rows::default();
    for (raw, expected) in [
        ("%", vec!["100% of it", "%zz"]),
        ("%zz", vec!["%zz"]),
        ("%z", vec!["%zz"]),
        ("100%", vec!["100% of it"]),
        ("%25", vec!["100% of it", "%zz"]),
        ("a;b", vec!["a;b"]),
        ("a+b", vec!["a b"]),
        ("a%20b", vec!["a b"]),
        ("%FF", vec!["odd \u{fffd} one"]),
        ("%C3", vec!["odd \u{fffd} one"]),
        ("%EF%BF%BD", vec!["odd \u{fffd} one"]),
    ] {
        let page = service
            .get_raw(&format!("/conversations/{conversation}/messages?q={raw}"))
            .await;
        rows.equal(raw, texts(&page.expect(200)), expected);
    }
}

/// Q6: no term can hold what no text can
pub(super) async fn a_term_with_nul_is_refused(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation_of(&["abc"]).await;
    let mut rows = Rows::default();
    for raw in ["%00", "a%00b", "%00abc"] {
        for path in ["", "/messages"] {
            let answer = service
                .get(&format!("/conversations/{conversation}{path}?q={raw}"))
                .await;
            rows.error(
                format!("{path}?q={raw}"),
                &answer,
                400,
                &json!({ "q": ["Null characters are not allowed."] }),
            );
        }
    }
}
