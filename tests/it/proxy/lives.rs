//! Connections that last for a while, and lead to whom they were made for.

use super::{A_MOMENT, Caller, Echo};

#[tokio::test]
async fn a_connection_whose_time_is_over_is_reset_alone() {
    let echo = Echo::over_tcp().await;
    let proxy = echo.proxied().await;
    let mut first = Caller::at(&proxy).await;
    first.says("first").await;
    first.gets("first").await;
    proxy.limit_lives(|| A_MOMENT);
    let mut second = Caller::at(&proxy).await;
    second.says("second").await;
    second.gets("second").await;
    second.is_reset().await;
    first.says("!").await;
    first.gets("!").await;
}

#[tokio::test]
async fn new_connections_lead_to_another_server_once_it_is_named() {
    let (old, new) = (Echo::over_tcp().await, Echo::over_tcp().await);
    let proxy = old.proxied().await;
    let mut first = Caller::at(&proxy).await;
    first.says("to the old").await;
    first.gets("to the old").await;
    proxy.lead_to(new.upstream.clone());
    let mut second = Caller::at(&proxy).await;
    second.says("to the new").await;
    second.gets("to the new").await;
    assert_eq!(
        (old.heard(), new.heard()),
        ("to the old".into(), "to the new".into())
    );
}
