//! P2, P3: the links between pages, character by character.

use proptest::prelude::{Strategy, any, prop};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{Database, Rows, Service};
use crate::support::query;

/// A text with all that needs encoding.
const TEXT: &str = "a b+c%d&e=f;g\"h'é<ß>漢字🎉\\_?#/:~*@!$(),[]{}|^`-.";

/// A conversation of as many such messages, as the path of its list.
async fn list_of(service: &Service, count: usize) -> String {
    format!(
        "/conversations/{}/messages",
        service.conversation_of(&vec![TEXT; count]).await
    )
}

/// P2, P3, P4, P5: which links there are and what they say
pub(super) async fn the_links_name_the_neighbouring_pages(on: Database) {
    let service = on.service().await;
    let list = list_of(&service, 25).await;
    let mut rows = Rows::default();
    for (asked, next, previous) in [
        ("", Some("?page=2"), None),
        ("?", Some("?page=2"), None),
        ("?page=1", Some("?page=2"), None),
        ("?page=2", Some("?page=3"), Some("")),
        ("?page=02", Some("?page=3"), Some("")),
        ("?page=3", None, Some("?page=2")),
        ("?page=last", None, Some("?page=2")),
        ("?page_size=100", None, None),
        (
            "?page_size=5&page=2",
            Some("?page=3&page_size=5"),
            Some("?page_size=5"),
        ),
        ("?page_size=0", Some("?page=2&page_size=0"), None),
        ("?page_size=abc&page=last", None, Some("?page=2&page_size=abc")),
        (
            "?role=assistant&q=&page=2",
            Some("?page=3&q=&role=assistant"),
            Some("?q=&role=assistant"),
        ),
        ("?PAGE=2", Some("?PAGE=2&page=2"), None),
        ("?z=1&a=2&z=0", Some("?a=2&page=2&z=1&z=0"), None),
        ("?page=9&x&page=2&=y", Some("?=y&page=3&x="), Some("?=y&x=")),
        ("?q=a+b%2Bc&x=%20", Some("?page=2&q=a+b%2Bc&x=+"), None),
        ("?q=%C3%A9", Some("?page=2&q=%C3%A9"), None),
        (
            "?x=%c3%a9&y=a/b?c:d",
            Some("?page=2&x=%C3%A9&y=a%2Fb%3Fc%3Ad"),
            None,
        ),
        ("?x=%FF&y=100%", Some("?page=2&x=%EF%BF%BD&y=100%25"), None),
        ("?x=a;b=c", Some("?page=2&x=a%3Bb%3Dc"), None),
    ] {
        let answer = service.get_raw(&format!("{list}{asked}")).await.expect(200);
        let link = |query: Option<&str>| query.map(|query| format!("{}{list}{query}", service.base_url()));
        rows.equal(
            format!("next of {asked:?}"),
            answer["next"].as_str(),
            link(next).as_deref(),
        );
        rows.equal(
            format!("previous of {asked:?}"),
            answer["previous"].as_str(),
            link(previous).as_deref(),
        );
    }
}

/// R2, P2: the prefix that the client used
pub(super) async fn the_links_keep_the_prefix_of_the_request(on: Database) {
    let service = on.service().await;
    let list = list_of(&service, 3).await;
    for prefix in ["", "/api/v1"] {
        let page = service
            .get(&format!("{prefix}{list}?page_size=1&page=2"))
            .await
            .expect(200);
        let base = format!("{}{prefix}{list}", service.base_url());
        assert_eq!(page["next"], format!("{base}?page=3&page_size=1"));
        assert_eq!(page["previous"], format!("{base}?page_size=1"));
    }
}

/// P3: the path as it was written
pub(super) async fn the_links_keep_the_path_of_the_request(on: Database) {
    let service = on.service().await;
    let list = list_of(&service, 2).await;
    let upper = list
        .replace("conversations/", "")
        .to_uppercase()
        .replace("MESSAGES", "messages");
    for path in [format!("{list}/"), format!("/conversations{upper}")] {
        let page = service.get(&format!("{path}?page_size=1")).await.expect(200);
        assert_eq!(
            page["next"],
            format!("{}{path}?page=2&page_size=1", service.base_url())
        );
    }
}

/// P2: following `next` to its end and `previous` back
pub(super) async fn the_links_lead_through_the_whole_list_and_back(on: Database) {
    let service = on.service().await;
    let list = list_of(&service, 7).await;
    let start = format!(
        "{list}{}",
        query(&[("page_size", "3"), ("q", TEXT), ("role", "assistant")])
    );
    let mut sizes = Vec::new();
    let mut page = json!({ "next": format!("{}{start}", service.base_url()) });
    for direction in ["next", "previous"] {
        while let Some(url) = page[direction].as_str() {
            let path = url
                .strip_prefix(service.base_url())
                .expect("a link to this service");
            page = service.get(path).await.expect(200);
            sizes.push(page["results"].as_array().expect("a page").len());
        }
    }
    assert_eq!(sizes, [3, 3, 1, 3, 3]);
}

type Pairs = Vec<(String, String)>;

fn decoded(url: &str) -> Pairs {
    let (_, query) = url.split_once('?').expect("a query");
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// Waits in the middle of what cannot be awaited.
fn now<T>(answer: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| Handle::current().block_on(answer))
}

/// P3: whatever the parameters are, the links carry them all
pub(super) async fn any_parameters_survive_the_round_trip_through_the_links(on: Database) {
    let service = on.service().await;
    let list = list_of(&service, 3).await;
    let reserved = |name: &String| !["page", "page_size", "q", "role"].contains(&name.as_str());
    let name = prop::string::string_regex("[a-cPZ _~*%&+=;é\u{0}-\u{1f}]{0,4}").expect("a pattern");
    let unknown = prop::collection::vec((name.prop_filter("reserved", reserved), any::<String>()), 0..5);
    let term = prop::sample::subsequence(TEXT.chars().collect::<Vec<_>>(), 1).prop_map(String::from_iter);
    let config = Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    };

    let checked = TestRunner::new(config).run(&(unknown, term), |(unknown, term)| {
        let mut asked: Pairs = unknown;
        asked.push(("q".to_owned(), term));
        asked.push(("page_size".to_owned(), "1".to_owned()));
        let path = format!("{list}{}&page=2", query(&asked));
        let page: Value = now(service.get(&path)).expect(200);

        asked.sort_by(|(one, _), (other, _)| one.cmp(other));
        let previous = asked.clone();
        let at = asked.partition_point(|(name, _)| name.as_str() < "page");
        asked.insert(at, ("page".to_owned(), "3".to_owned()));
        for (link, wanted) in [("next", asked), ("previous", previous)] {
            let got = decoded(page[link].as_str().unwrap_or("?"));
            if got != wanted {
                return Err(TestCaseError::fail(format!(
                    "{link} of {path}\n wanted {wanted:?}\n got {got:?}"
                )));
            }
        }
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}
