//! What is sent, and what is made of what comes back.

use std::{fs, num::NonZeroU32};

use engagement::model::{
    FinishReason, Instructions, Line, MessageText, ReplyOptions, Role, Temperature, TopP, Usage,
};
use serde_json::json;

use super::{Dialect, MANNERS, Manner, ask, ask_for, configured, prompt};
use crate::support::upstream::Upstream;

fn full_prompt() -> engagement::provider::Prompt {
    let line = |role, text: &str| Line {
        role,
        text: MessageText::parse(text).expect("a text"),
    };
    engagement::provider::Prompt {
        history: vec![line(Role::User, "one"), line(Role::Assistant, "two")],
        options: ReplyOptions {
            instructions: Instructions::parse("be brief").ok(),
            temperature: Temperature::new(1.5),
            top_p: TopP::new(0.5),
            max_output_tokens: NonZeroU32::new(7),
            ..ReplyOptions::default()
        },
        ..prompt("three")
    }
}

#[tokio::test]
async fn the_words_come_back_with_what_they_took() {
    for manner in MANNERS {
        let upstream = Upstream::start().await;
        let asked = ask(&manner.at(&upstream, ""), "say these four words").await;
        assert_eq!(asked.text, "say these four words", "{manner}");
        let completion = asked.completion();
        assert_eq!(completion.finish, FinishReason::Stop, "{manner}");
        assert_eq!(completion.model.as_deref(), Some("m-0001"), "{manner}");
        let usage = Usage {
            input_tokens: 11,
            output_tokens: 4,
            cached_tokens: 3,
        };
        assert_eq!(completion.usage, Some(usage), "{manner}");
    }
}

#[tokio::test]
async fn chat_completions_get_every_line_under_its_role() {
    let upstream = Upstream::start().await;
    ask_for(
        &Manner::new(Dialect::Chat, true).at(&upstream, ""),
        &full_prompt(),
    )
    .await;
    let expected = json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ],
        "stream": true,
        "stream_options": {"include_usage": true},
        "temperature": 1.5,
        "top_p": 0.5,
        "max_tokens": 7,
    });
    assert_eq!(upstream.last().body, expected);
}

#[tokio::test]
async fn what_nobody_wants_is_left_to_the_provider() {
    let upstream = Upstream::start().await;
    ask(&Manner::new(Dialect::Chat, false).at(&upstream, ""), "hello").await;
    let expected = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": false});
    assert_eq!(upstream.last().body, expected);
    ask(&Manner::new(Dialect::Messages, false).at(&upstream, ""), "hello").await;
    let expected = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": false, "max_tokens": 4096});
    assert_eq!(upstream.last().body, expected, "control: this one has to be told");
}

#[tokio::test]
async fn the_longest_answer_can_have_its_newer_name() {
    let upstream = Upstream::start().await;
    let providers = Manner::new(Dialect::Chat, false).at(&upstream, "output_limit = 'max_completion_tokens'");
    ask_for(&providers, &full_prompt()).await;
    let body = upstream.last().body;
    assert_eq!(
        (body.get("max_tokens"), &body["max_completion_tokens"]),
        (None, &json!(7))
    );
}

#[tokio::test]
async fn the_responses_api_keeps_nothing() {
    let upstream = Upstream::start().await;
    ask_for(
        &Manner::new(Dialect::Responses, true).at(&upstream, ""),
        &full_prompt(),
    )
    .await;
    let expected = json!({
        "model": "m",
        "input": [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ],
        "stream": true,
        "store": false,
        "instructions": "be brief",
        "temperature": 1.5,
        "top_p": 0.5,
        "max_output_tokens": 7,
    });
    assert_eq!(upstream.last().body, expected);
}

#[tokio::test]
async fn messages_have_the_instructions_apart_and_a_lower_top_temperature() {
    let upstream = Upstream::start().await;
    ask_for(
        &Manner::new(Dialect::Messages, true).at(&upstream, ""),
        &full_prompt(),
    )
    .await;
    let call = upstream.last();
    let expected = json!({
        "model": "m",
        "messages": [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ],
        "max_tokens": 7,
        "stream": true,
        "system": "be brief",
        "temperature": 1.0,
        "top_p": 0.5,
    });
    assert_eq!(call.body, expected);
    assert_eq!(call.header("anthropic-version"), Some("2023-06-01"));
}

#[tokio::test]
async fn the_key_goes_to_its_provider_in_the_header_of_its_dialect() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("key");
    fs::write(&file, "canary-key\n").expect("a file");
    for manner in MANNERS {
        let upstream = Upstream::start().await;
        let providers = manner.at(&upstream, &format!("api_key_file = '{}'", file.display()));
        ask(&providers, "hello").await;
        let call = upstream.last();
        let found = (call.header("authorization"), call.header("x-api-key"));
        let expected = match manner.dialect {
            Dialect::Messages => (None, Some("canary-key")),
            Dialect::Chat | Dialect::Responses => (Some("Bearer canary-key"), None),
        };
        assert_eq!(found, expected, "{manner}");
        assert_eq!(call.header("accept-encoding"), Some("identity"), "{manner}");

        let open = manner.at(&upstream, "");
        ask(&open, "hello").await;
        let call = upstream.last();
        assert_eq!(
            (call.header("authorization"), call.header("x-api-key")),
            (None, None),
            "control: {manner}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_not_even_to_the_same_server() {
    for manner in MANNERS {
        let upstream = Upstream::start().await;
        ask(&manner.at(&upstream, ""), "fault:redirect please").await;
        assert_eq!(upstream.calls(), 1, "{manner}");
    }
}

#[tokio::test]
async fn paths_are_put_behind_the_base_url_with_or_without_its_last_slash() {
    let upstream = Upstream::start().await;
    for (kind, base, path) in [
        (
            "openai",
            format!("{}/", upstream.openai_url()),
            "/v1/chat/completions",
        ),
        ("openai", upstream.openai_url(), "/v1/chat/completions"),
        ("anthropic", upstream.anthropic_url(), "/v1/messages"),
        (
            "anthropic",
            format!("{}/v1", upstream.anthropic_url()),
            "/v1/messages",
        ),
    ] {
        let providers = configured(&format!("kind = '{kind}'\nbase_url = '{base}'\nmodels = ['m']"));
        assert_eq!(ask(&providers, "hello").await.outcome(), "ok", "{base}");
        assert_eq!(upstream.last().path, path, "{base}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_to_count_is_not_asked_to_a_second_time() {
    let upstream = Upstream::start().await;
    let providers = Manner::new(Dialect::Chat, true).at(&upstream, "");
    let asked = ask(&providers, "fault:no_stream_options please").await;
    assert_eq!((asked.outcome().as_str(), upstream.calls()), ("ok", 2));
    ask(&providers, "fault:no_stream_options please").await;
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_whole_stream() {
    for manner in MANNERS {
        let upstream = Upstream::start().await;
        let providers = manner.at(&upstream, "");
        for _ in 0..5 {
            assert_eq!(ask(&providers, "hello").await.outcome(), "ok");
        }
        assert_eq!((upstream.calls(), upstream.connections()), (5, 1), "{manner}");
    }
}
