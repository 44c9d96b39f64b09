//! Memory: what a provider sends is not kept, however much it is.

use super::{Dialect, MANNERS, Manner, ask};
use crate::support::upstream::Upstream;

/// The event that is too long, what may be on its way in sockets, and something to spare.
const MOST_OF_AN_EVENT: u64 = 16 * 1024 * 1024;

#[tokio::test]
async fn an_event_without_an_end_is_given_up_early() {
    for manner in MANNERS.into_iter().filter(|manner| manner.streams) {
        let upstream = Upstream::start().await;
        let asked = ask(&manner.at(&upstream, ""), "fault:endless_body please").await;
        assert_eq!(asked.outcome(), "fail answer_too_large", "{manner}");
        assert!(
            upstream.sent() < MOST_OF_AN_EVENT,
            "{manner}: took {} bytes",
            upstream.sent()
        );
    }
}

#[tokio::test]
async fn a_provider_that_is_faster_than_its_reader_waits() {
    let upstream = Upstream::start().await;
    let providers = Manner::new(Dialect::Chat, true).at(&upstream, "");
    let provider = &providers
        .choose(Some("p/m"))
        .expect("a provider")
        .backend
        .provider;
    let (pieces, mut coming) = tokio::sync::mpsc::channel(1);
    let prompt = super::prompt("fault:endless_stream please");
    let stopped = async {
        coming.recv().await.expect("a piece");
        // Nothing is read: what was sent comes to rest when all buffers are full.
        let mut before = 0;
        crate::support::eventually("it waits", crate::support::SOON, async || {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            let sent = upstream.sent();
            let rests = sent == before;
            before = sent;
            rests.then_some(())
        })
        .await;
        assert!(before < MOST_OF_AN_EVENT, "took {before} bytes");
        drop(coming);
    };
    let (answer, ()) = tokio::join!(provider.answer(&prompt, pieces), stopped);
    assert!(answer.is_ok(), "{answer:?}");
}
