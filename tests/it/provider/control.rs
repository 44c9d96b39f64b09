//! Calling off, holding back, leaving alone.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{Dialect, MANNERS, Manner, ask, prompt};
use crate::support::{SOON, eventually, upstream::Upstream};

#[tokio::test]
async fn dropping_the_call_ends_it_at_the_provider() {
    for manner in MANNERS {
        let upstream = Upstream::start().await;
        let providers = manner.at(&upstream, "");
        let provider = &providers
            .choose(Some("p/m"))
            .expect("a provider")
            .backend
            .provider;
        let prompt = prompt("fault:stalled please");
        let (pieces, mut coming) = mpsc::channel(1);
        {
            let call = provider.answer(&prompt, pieces);
            tokio::select! {
                _ = call => panic!("it stands still"),
                () = async {
                    eventually("the call", SOON, async || (upstream.open() == 1).then_some(())).await;
                    if manner.streams {
                        assert_eq!(coming.recv().await.as_deref(), Some("Once upon a ti"), "{manner}");
                    }
                    assert_eq!(upstream.dropped(), 0, "control: {manner}");
                } => {}
            }
        }
        eventually("the provider sees it", SOON, async || {
            (upstream.dropped() == 1).then_some(())
        })
        .await;
        assert_eq!(upstream.open(), 0, "{manner}");
    }
}

#[tokio::test]
async fn a_call_ends_when_nobody_wants_its_pieces() {
    for manner in MANNERS {
        let upstream = Upstream::start().await;
        let providers = manner.at(&upstream, "");
        let provider = &providers
            .choose(Some("p/m"))
            .expect("a provider")
            .backend
            .provider;
        let (pieces, coming) = mpsc::channel(1);
        let prompt = prompt("fault:stalled please");
        let leave = async {
            eventually("the call", SOON, async || (upstream.open() == 1).then_some(())).await;
            drop(coming);
        };
        let (answer, ()) = tokio::join!(provider.answer(&prompt, pieces), leave);
        assert!(answer.is_ok(), "{manner}: {answer:?}");
        eventually("the provider sees it", SOON, async || {
            (upstream.dropped() == 1).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn time_that_this_side_takes_is_not_the_providers() {
    let upstream = Upstream::start().await;
    let limits = "first_byte_timeout_s = 1\ngap_timeout_s = 1\ntotal_timeout_s = 5";
    let providers = Manner::new(Dialect::Chat, true).at(&upstream, limits);
    let provider = &providers
        .choose(Some("p/m"))
        .expect("a provider")
        .backend
        .provider;
    let (pieces, mut coming) = mpsc::channel(1);
    let prompt = prompt("stream:50000");
    let slow = async {
        let mut count = usize::from(coming.recv().await.is_some());
        // Longer than any of the limits: the time is what this is about.
        tokio::time::sleep(Duration::from_secs(6)).await;
        while coming.recv().await.is_some() {
            count += 1;
        }
        count
    };
    let (answer, count) = tokio::join!(provider.answer(&prompt, pieces), slow);
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(count, 50_000);
    let control = ask(&providers, "fault:stalled please").await;
    assert_eq!(
        control.outcome(),
        "retry provider_timeout",
        "control: the limits are in force"
    );
}

#[tokio::test]
async fn prompts_are_answered_side_by_side() {
    for manner in MANNERS {
        let upstream = Upstream::start().await;
        let providers = manner.at(&upstream, "");
        let asked = futures_util::future::join_all((0..20).map(|_| ask(&providers, "stream:10@20"))).await;
        assert!(asked.iter().all(|asked| asked.text.ends_with("t9 ")), "{manner}");
        assert_eq!((upstream.calls(), upstream.most_open()), (20, 20), "{manner}");
    }
}

#[tokio::test]
async fn after_five_failures_in_a_row_it_is_left_alone() {
    let upstream = Upstream::start().await;
    let providers = Manner::new(Dialect::Chat, true).at(&upstream, "");
    for _ in 0..4 {
        assert_eq!(
            ask(&providers, "fault:status_500 please").await.outcome(),
            "retry provider_failed"
        );
    }
    assert_eq!(
        ask(&providers, "fault:status_400 please").await.outcome(),
        "fail provider_rejected"
    );
    for _ in 0..5 {
        assert_eq!(
            ask(&providers, "fault:status_500 please").await.outcome(),
            "retry provider_failed"
        );
    }
    let calls = upstream.calls();
    let refused = ask(&providers, "hello").await.outcome();
    assert!(
        refused.starts_with("retry provider_unavailable after "),
        "{refused}"
    );
    assert_eq!(upstream.calls(), calls, "nobody was asked");
}
