//! A connection that ends while pieces are stored: what was told since the last beginning is the text, whatever happened.

use std::time::Duration;

use engagement::{
    model::{Answer, ConversationId, Finished, Happening, Lease, MessageText, Outcome, Progress, Told},
    store::{Error, ReplyStore, postgres::Options},
};

use super::Node;
use crate::support::{
    self, SOON, eventually,
    postgres::{Durability, private},
    proxy::{Cut, Proxy, Upstream, Verdict},
};

/// Tells as a worker does: again and again while the store is away. `None` when the lease is gone.
async fn insist(node: &Node, lease: Lease, progress: Vec<Progress>) -> Option<()> {
    loop {
        match node.store.tell(lease, progress.clone(), node.clock.now()).await {
            Ok(Finished::Stored) => return Some(()),
            Ok(Finished::LeaseLost) => return None,
            Err(Error::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Writes one reply in so many pieces, beginning anew whenever its lease is lost. Gives how often it began.
async fn write(node: &Node, pieces: usize, harm: impl Fn(usize)) -> usize {
    let mut beginnings = 0;
    let mut harmed = 0;
    'anew: loop {
        let lease = eventually("it can be claimed", SOON, async || {
            let claimed = node
                .store
                .claim_replies(1, Vec::new(), node.clock.now(), Duration::from_secs(30))
                .await;
            claimed.ok()?.first().map(|claimed| claimed.lease)
        })
        .await;
        beginnings += 1;
        let attempt = u32::try_from(beginnings).unwrap();
        let mut text = String::new();
        for at in 0..pieces {
            if at >= harmed {
                harm(at);
                harmed = at + 1;
            }
            let piece = format!("piece-{at} ");
            let mut progress = vec![Progress::Delta(piece.clone())];
            if at == 0 {
                progress.insert(0, Progress::Started { attempt });
            }
            if insist(node, lease, progress).await.is_none() {
                continue 'anew;
            }
            text.push_str(&piece);
        }
        let told = Told {
            bytes: Some(text.len()),
        };
        let id = node.ids.message(node.clock.now());
        let answer = Answer::new(id, MessageText::parse(&format!("{text}end")).unwrap());
        let outcome = Outcome::Answered(answer);
        loop {
            match node
                .store
                .finish_reply(lease, outcome.clone(), told, node.clock.now())
                .await
            {
                Ok(Finished::Stored) => return beginnings,
                Ok(Finished::LeaseLost) => continue 'anew,
                Err(Error::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(other) => panic!("{other}"),
            }
        }
    }
}

/// What was told since the last beginning, and what is stored.
async fn told_and_stored(node: &Node, conversation: ConversationId) -> (String, String) {
    let (mut told, mut stored) = (String::new(), String::new());
    for event in node.events(conversation, 0).await {
        match event.what {
            Happening::ReplyStarted { .. } => told.clear(),
            Happening::ReplyDelta { text, .. } => told.push_str(&text),
            Happening::MessageCreated {
                message,
                reply: Some(_),
                ..
            } => message.text.as_str().clone_into(&mut stored),
            _ => {}
        }
    }
    (told, stored)
}

/// Writes while so many of the chunks that carry a piece are lost with their connection.
async fn prove(verdict: Verdict) {
    let Some(cluster) = private(Durability::Fast).await else {
        return;
    };
    let database = cluster.database().await;
    let proxy = Proxy::start(Upstream::Tcp(cluster.tcp())).await;
    let node = Node::open(&database.url_through(proxy.address())).await;
    let beside = Node::open(database.url()).await;
    let conversation = beside.conversation().await;
    beside.ask(conversation, "a long story").await;

    // Whatever carries a piece: what stores it, and what asks what became of it.
    let mut left = 8;
    proxy.judge(move |chunk| {
        if left > 0 && chunk.windows(6).any(|window| window == b"piece-") {
            left -= 1;
            return verdict;
        }
        Verdict::Pass
    });
    let beginnings = write(&node, 30, |_| {}).await;

    eprintln!("{verdict:?}: {} cuts, {beginnings} beginnings", proxy.cuts());
    assert!(proxy.cuts() >= 5, "control: {} cuts", proxy.cuts());
    let (told, stored) = told_and_stored(&beside, conversation).await;
    assert!(stored.ends_with("piece-29 end"), "{stored}");
    assert_eq!(told, stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_whose_connection_ends_after_they_were_sent_are_told_once() {
    prove(Verdict::ForwardThenReset).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_whose_connection_ends_before_they_are_sent_are_told_once() {
    prove(Verdict::ResetBefore).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_in_the_middle_of_which_all_connections_end_are_told_once() {
    let Some(cluster) = private(Durability::Fast).await else {
        return;
    };
    let database = cluster.database().await;
    let proxy = Proxy::start(Upstream::Tcp(cluster.tcp())).await;
    let node = Node::open(&database.url_through(proxy.address())).await;
    let beside = Node::open(database.url()).await;
    let mut cuts = 0;
    for round in 0..6 {
        let conversation = beside.conversation().await;
        beside.ask(conversation, "a long story").await;
        let beginnings = write(&node, 40, |at| {
            // At another chunk in each round, before and after it.
            if at % 8 == 3 {
                let cut = if (at / 8 + round) % 2 == 0 {
                    Cut::AfterSending
                } else {
                    Cut::BeforeSending
                };
                proxy.cut_at_chunk(1 + (at + round) % 3, cut);
            }
        })
        .await;
        proxy.disarm();
        let (told, stored) = told_and_stored(&beside, conversation).await;
        assert_eq!(told, stored, "round {round}");
        eprintln!(
            "round {round}: {beginnings} beginnings, {} cuts",
            proxy.cuts() - cuts
        );
        cuts = proxy.cuts();
    }
    assert!(cuts >= 20, "control: {cuts} cuts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_telling_that_the_server_cannot_be_asked_about_is_begun_anew() {
    let Some(cluster) = private(Durability::Fast).await else {
        return;
    };
    let database = cluster.database().await;
    let proxy = Proxy::start(Upstream::Tcp(cluster.tcp())).await;
    let mut options = Options::new(database.url_through(proxy.address()));
    options.statement_timeout = Duration::from_millis(500);
    let node = Node::with(&options).await;
    let beside = Node::open(database.url()).await;
    let conversation = beside.conversation().await;
    beside.ask(conversation, "a long story").await;

    let beginnings = write(&node, 6, |at| {
        if at == 3 {
            // The server keeps the session, as nobody tells it of the end.
            proxy.lose(support::proxy::Direction::ToClient);
        }
        if at == 4 {
            proxy.pass();
        }
    });
    let beginnings = async {
        let healing = async {
            eventually("answers are lost", SOON, async || {
                (proxy.lost() > 0).then_some(())
            })
            .await;
            proxy.pass();
        };
        tokio::join!(beginnings, healing).0
    };
    let beginnings = beginnings.await;

    eprintln!("{beginnings} beginnings");
    let (told, stored) = told_and_stored(&beside, conversation).await;
    assert_eq!(told, stored);
}
