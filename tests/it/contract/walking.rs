//! P9, P10: pages while others write.

use super::Database;
use crate::support::{SOON, eventually, texts};

/// P9: the page and its count are of one moment
pub(super) async fn a_count_agrees_with_its_page_while_others_write(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("counting").await;
    let list = format!("/conversations/{conversation}/messages?page_size=100");
    let writer = {
        let (client, conversation) = (service.client.clone(), conversation.clone());
        tokio::spawn(async move {
            for number in 1..=80 {
                client
                    .message(&conversation, "assistant", &number.to_string())
                    .await;
            }
        })
    };
    let mut seen = 0;
    eventually("all messages are there", SOON, async || {
        let page = service.get(&list).await.expect(200);
        let shown = texts(&page).len();
        assert_eq!(page["count"], shown, "{page}");
        assert!(shown >= seen, "messages vanished: {seen}, then {shown}");
        seen = shown;
        (seen == 80).then_some(())
    })
    .await;
    writer.await.expect("the writer");
}

/// P10: nothing twice, nothing missed, while messages are added
pub(super) async fn a_walk_through_the_pages_sees_each_message_once_while_others_add(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("walking").await;
    for number in 1..=20 {
        service
            .message(&conversation, "assistant", &number.to_string())
            .await;
    }
    let mut path = format!("/conversations/{conversation}/messages?page_size=3");
    let mut seen = Vec::new();
    for number in 21..=26 {
        let page = service.get(&path).await.expect(200);
        seen.extend(texts(&page));
        service
            .message(&conversation, "assistant", &number.to_string())
            .await;
        let next = page["next"].as_str().expect("there is more");
        path = next
            .strip_prefix(service.base_url())
            .expect("a link to this service")
            .to_owned();
    }
    let expected: Vec<String> = (1..=18).map(|number| number.to_string()).collect();
    assert_eq!(seen, expected);
}

/// P10: what a deletion does to a walk
pub(super) async fn a_deletion_moves_the_later_messages_up(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("deleting").await;
    let first = service.message(&conversation, "assistant", "1").await;
    for number in 2..=6 {
        service
            .message(&conversation, "assistant", &number.to_string())
            .await;
    }
    let list = format!("/conversations/{conversation}/messages?page_size=2");
    assert_eq!(texts(&service.get(&list).await.expect(200)), ["1", "2"]);

    service
        .delete(&format!("/conversations/{conversation}/messages/{first}"))
        .await;

    let second = service.get(&format!("{list}&page=2")).await.expect(200);
    assert_eq!(
        texts(&second),
        ["4", "5"],
        "3 has moved to page 1, and a walk that is past it misses it"
    );
    assert_eq!(second["count"], 5);
}
