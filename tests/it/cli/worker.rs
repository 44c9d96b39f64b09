//! Nodes that answer requests, and workers that write the replies.

use reqwest::Method;

use super::{assert_refused, engagement, home};
use crate::support::{Answer, SOON, Server, postgres};

const REFUSED: i32 = 78;

#[tokio::test]
async fn sqlite_has_no_workers_beside_its_server() {
    for arguments in [vec!["worker"], vec!["serve", "--no-replies"]] {
        let home = home();
        for url in [None, Some("sqlite:other.db")] {
            let builder = engagement(&home, &arguments);
            let run = match url {
                Some(url) => builder.on(url).run().await,
                None => builder.run().await,
            };
            assert_refused(
                &run,
                REFUSED,
                &[
                    "need PostgreSQL",
                    "`engagement serve`",
                    "--database-url postgres://",
                ],
            );
        }
        let left = std::fs::read_dir(home.path()).expect("a directory").count();
        assert_eq!(left, 0, "{arguments:?} is refused before anything is made");
    }
}

#[tokio::test]
async fn a_worker_writes_the_replies_that_a_node_leaves_to_it() {
    let Some(cluster) = postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let node = Server::builder()
        .on(database.url())
        .arg("serve")
        .arg("--no-replies")
        .start()
        .await;
    let client = node.client();
    let conversation = client.conversation("left to a worker").await;
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(client.message(&conversation, "user", "hello").await);
    }
    // Nobody is there who could have begun.
    for message in &asked {
        let path = format!("/conversations/{conversation}/messages/{message}/reply");
        assert_eq!(client.get(&path).await.expect(200)["status"], "queued");
    }

    let mut worker = Server::builder().on(database.url()).arg("worker").start().await;

    for message in &asked {
        let reply = client.finished_reply(&conversation, message).await;
        assert_eq!(reply["status"], "succeeded", "{reply}");
    }
    assert_eq!(client.texts(&conversation).await.len(), 6);
    // One that waits is told of what comes later.
    let later = client.message(&conversation, "user", "thanks").await;
    assert_eq!(
        client.finished_reply(&conversation, &later).await["status"],
        "succeeded"
    );
    worker.terminate();
    assert_eq!(worker.wait_exit(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn a_worker_that_listens_answers_for_its_health_and_nothing_else() {
    let Some(cluster) = postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let worker = Server::builder().on(database.url()).arg("worker").start().await;
    let client = worker.client();

    for probe in ["/livez", "/readyz"] {
        assert_eq!(client.get(probe).await.expect(200)["status"], "ok");
    }
    for path in [
        "/",
        "/conversations/",
        "/conversations/00000000-0000-4000-8000-000000000000",
        "/api/v1/conversations/",
        "/v1/models",
    ] {
        client.get(path).await.expect(404);
        let made = client.request(Method::POST, path);
        let made = made.json(&serde_json::json!({ "description": "d" }));
        Answer::unjudged(made).await.expect("an answer").expect(404);
    }
    let address = worker.address().to_string();
    let check = ["health", "--listen", &address];
    let run = engagement(&home(), &check).on(database.url()).run().await;
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), "service: ready\n"));
}

#[tokio::test]
async fn a_worker_without_an_address_listens_nowhere() {
    let Some(cluster) = postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let node = Server::builder()
        .on(database.url())
        .arg("serve")
        .arg("--no-replies")
        .start()
        .await;
    let mut worker = Server::builder()
        .on(database.url())
        .without("LISTEN")
        .arg("worker")
        .start()
        .await;
    let client = node.client();
    let conversation = client.conversation("a worker without an address").await;
    let asked = client.message(&conversation, "user", "hello").await;

    let reply = client.finished_reply(&conversation, &asked).await;

    assert_eq!(reply["status"], "succeeded");
    assert!(worker.address().ip().is_unspecified(), "it told no address");
    assert!(!worker.log().contains("listening"), "{}", worker.log());
    assert!(!worker.stderr().contains("DEFAULT API KEY"), "it opens nothing");
    worker.terminate();
    assert_eq!(worker.wait_exit(SOON).await.code(), Some(0));
}
