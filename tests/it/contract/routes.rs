//! R: which paths there are, how they are spelled, what their success looks like.

use reqwest::Method;
use serde_json::json;

use super::{Database, NOBODY, Rows, Service, assert_error, not_found};
use crate::support::Answer;

/// R1, R2, R3: under either prefix, with or without a slash at the end
pub(super) async fn every_route_answers_under_both_prefixes_and_with_or_without_a_slash(on: Database) {
    let service = on.service().await;
    for prefix in ["", "/api/v1"] {
        for slash in ["", "/"] {
            walk(&service, prefix, slash).await;
        }
    }
}

/// One call of every route, in the order of a conversation's life.
async fn walk(service: &Service, prefix: &str, slash: &str) {
    let mut rows = Rows::default();
    let mut row = |route: &str, got: u16, wanted: u16| {
        rows.equal(
            format!("{route} with prefix {prefix:?} and ending {slash:?}"),
            got,
            wanted,
        );
    };

    let body = json!({ "description": "a walk" });
    let created = service
        .post_json(&format!("{prefix}/conversations{slash}"), &body)
        .await;
    row("POST /conversations", created.status, 201);
    let id = created.json()["conversation_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let conversation = format!("{prefix}/conversations/{id}");

    let body = json!({ "role": "user", "text": "hello" });
    let created = service
        .post_json(&format!("{conversation}/messages/create{slash}"), &body)
        .await;
    row("POST messages/create", created.status, 201);
    let message_id = created.json()["message_id"].as_str().expect("an id").to_owned();
    let message = format!("{conversation}/messages/{message_id}");

    for (route, path) in [
        ("GET conversation", conversation.clone()),
        ("GET messages", format!("{conversation}/messages")),
        ("GET message", message.clone()),
        ("GET reply", format!("{message}/reply")),
        ("GET attempts", format!("{message}/reply/attempts")),
    ] {
        row(
            route,
            service.anonymous().get(&format!("{path}{slash}")).await.status,
            200,
        );
    }

    let path = format!("{conversation}{slash}");
    let request = service
        .request(Method::PATCH, &path)
        .json(&json!({ "title": "a walk" }));
    row("PATCH conversation", Answer::of(request).await.status, 200);
    let settings = service.get(&format!("{conversation}/settings{slash}")).await;
    row("GET settings", settings.status, 200);
    let mut events = service.watch(&format!("{conversation}/events{slash}")).await;
    events.until("reply.succeeded").await;
    let cancelled = service
        .post_json(&format!("{message}/reply/cancel{slash}"), &json!({}))
        .await;
    row("POST cancel", cancelled.status, 200);
    let retried = service
        .post_json(&format!("{message}/reply/retry{slash}"), &json!({}))
        .await;
    row("POST retry", retried.status, 202);

    row(
        "DELETE message",
        service.delete(&format!("{message}{slash}")).await.status,
        204,
    );
    let deleted = service.delete(&format!("{conversation}/delete{slash}")).await;
    row("DELETE conversation", deleted.status, 200);
    assert_eq!(
        deleted.text(),
        format!(r#"{{"conversation_id":"{id}","deleted":true}}"#)
    );
}

/// R4: upper case is understood, lower case is answered
pub(super) async fn an_id_is_understood_in_either_case(on: Database) {
    let service = on.service().await;
    let id = service.conversation("case").await;
    let message = service.message(&id, "assistant", "x").await;
    let upper = id.to_uppercase();

    let conversation = service.get(&format!("/conversations/{upper}")).await.expect(200);
    assert_eq!(conversation["conversation_id"], id);

    let path = format!("/conversations/{upper}/messages/{}", message.to_uppercase());
    let found = service.get(&path).await.expect(200);
    assert_eq!([&found["message_id"], &found["conversation"]], [&message, &id]);

    let deleted = service
        .delete(&format!("/conversations/{upper}/delete"))
        .await
        .expect(200);
    assert_eq!(deleted["conversation_id"], id);
}

/// R4: one spelling of a UUID
pub(super) async fn an_id_in_another_spelling_is_not_found(on: Database) {
    let service = on.service().await;
    let id = service.conversation("spelling").await;
    let message = service.message(&id, "assistant", "x").await;
    let bare = id.replace('-', "");

    let mut rows = Rows::default();
    for spelling in [
        bare.as_str(),
        &format!("{{{id}}}"),
        &format!("urn:uuid:{id}"),
        &format!("{id}0"),
        &id[..35],
        &id.replace('-', "_"),
        "00000000-0000-0000-0000-000000000000",
        NOBODY,
        "1",
        "abc",
        "%C3%BC",
    ] {
        for path in [
            format!("/conversations/{spelling}"),
            format!("/conversations/{spelling}/messages"),
            format!("/conversations/{spelling}/events"),
            format!("/conversations/{spelling}/messages/{message}"),
            format!("/conversations/{id}/messages/{spelling}"),
            format!("/conversations/{id}/messages/{spelling}/reply"),
            format!("/conversations/{id}/messages/{spelling}/reply?stream=true"),
            format!("/conversations/{id}/messages/{spelling}/reply/attempts"),
        ] {
            rows.error(&path, &service.get_raw(&path).await, 404, &not_found());
        }
    }
}

/// R5: cut first, decode after
pub(super) async fn a_path_is_cut_into_segments_before_it_is_decoded(on: Database) {
    let service = on.service().await;
    let id = service.conversation("segments").await;
    let first = u32::from(id.chars().next().expect("a digit"));
    let encoded = format!("%{first:02X}{}", &id[1..]);

    let mut rows = Rows::default();
    let answer = service.get_raw(&format!("/conversations/{encoded}")).await;
    rows.equal("an encoded digit of the id", answer.status, 200);
    for path in [
        format!("/conversations%2F{id}"),
        format!("/conversations/{id}%2Fmessages"),
        format!("/conversations/{id}%2fmessages"),
        format!("/conversations/{id}%2F"),
        format!("//conversations/{id}"),
        format!("/conversations//{id}"),
        format!("/conversations/{id}//"),
        format!("/conversations/{id}//messages"),
        format!("/api//v1/conversations/{id}"),
        format!("/conversations/{id}%00"),
        format!("/conversations/%00{id}"),
        format!("/conversations/{id}%FF"),
        format!("/conversations/{id}%zz"),
        "/conversations/%".to_owned(),
    ] {
        rows.error(&path, &service.get_raw(&path).await, 404, &not_found());
    }
}

/// R6, E1: also a path that nobody has heard of answers in the envelope
pub(super) async fn an_unknown_path_is_not_found_in_the_envelope(on: Database) {
    let service = on.service().await;
    let id = service.conversation("paths").await;

    let mut rows = Rows::default();
    for path in [
        "/nope".to_owned(),
        "/Conversations/".to_owned(),
        "/api".to_owned(),
        "/api/v1".to_owned(),
        "/api/v2/conversations/".to_owned(),
        format!("/conversations/{id}/nope"),
        format!("/conversations/{id}/delete/now"),
        format!("/conversations/{id}/messages/create/now"),
        format!("/conversations/{id}/messages/{NOBODY}/reply/now"),
        "/api/v1/livez".to_owned(),
        "/nope?q=1".to_owned(),
    ] {
        rows.error(
            format!("GET {path}"),
            &service.get(&path).await,
            404,
            &not_found(),
        );
        rows.error(
            format!("POST {path}"),
            &service.anonymous().post_json(&path, &json!({})).await,
            404,
            &not_found(),
        );
    }
}

/// R10: the way to what was created, with the prefix that the client used
pub(super) async fn creating_tells_where_the_new_thing_is(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    for prefix in ["", "/api/v1"] {
        let body = json!({ "description": "links" });
        let answer = service
            .post_json(&format!("{prefix}/conversations/"), &body)
            .await;
        let conversation = answer.expect(201)["conversation_id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let base = format!("{prefix}/conversations/{conversation}");
        rows.equal(
            "a conversation's Location",
            answer.header("location"),
            base.as_str(),
        );
        rows.equal("a conversation's Link", answer.header("link"), "");

        for role in ["user", "assistant"] {
            let body = json!({ "role": role, "text": "x" });
            let answer = service.post_json(&format!("{base}/messages/create"), &body).await;
            let message = answer.expect(201)["message_id"]
                .as_str()
                .expect("an id")
                .to_owned();
            let location = format!("{base}/messages/{message}");
            let link = format!(r#"<{location}/reply>; rel="monitor""#);
            let link = if role == "user" { link.as_str() } else { "" };
            rows.equal(
                format!("{role} message's Location"),
                answer.header("location"),
                location.as_str(),
            );
            rows.equal(format!("{role} message's Link"), answer.header("link"), link);
            rows.equal(
                "what Location names",
                service.get(&location).await.body,
                answer.body,
            );
        }
    }
}

/// R11: a message belongs to its conversation
pub(super) async fn a_message_is_not_reached_through_another_conversation(on: Database) {
    let service = on.service().await;
    let home = service.conversation("home").await;
    let other = service.conversation("other").await;
    let message = service.message(&home, "user", "hello").await;
    let path = format!("/conversations/{other}/messages/{message}");

    assert_error(&service.get(&path).await, 404, &not_found());
    for reply in ["/reply", "/reply?stream=true", "/reply/attempts"] {
        assert_error(&service.get(&format!("{path}{reply}")).await, 404, &not_found());
    }
    for order in ["cancel", "retry"] {
        let answer = service
            .post_json(&format!("{path}/reply/{order}"), &json!({}))
            .await;
        assert_error(&answer, 404, &not_found());
    }
    assert_error(&service.delete(&path).await, 404, &not_found());

    service
        .get(&format!("/conversations/{home}/messages/{message}"))
        .await
        .expect(200);
}

/// R12: there is only JSON
pub(super) async fn every_body_is_json_whatever_was_asked_for(on: Database) {
    let service = on.service().await;
    let id = service.conversation("formats").await;
    let path = format!("/conversations/{id}");

    let mut rows = Rows::default();
    for accept in [
        "application/xml",
        "text/html",
        "application/json;q=0",
        "image/*",
        "not a type",
    ] {
        let lines = [
            &format!("GET {path} HTTP/1.1"),
            "Host: localhost",
            &format!("Accept: {accept}"),
        ];
        let answer = service.exchange(&lines, "").await;
        rows.equal(
            accept,
            (answer.status, answer.header("content-type")),
            (200, "application/json"),
        );
    }
    for format in ["xml", "api", "json", ""] {
        let answer = service.get(&format!("{path}?format={format}")).await;
        rows.equal(
            format,
            (answer.status, answer.header("content-type")),
            (200, "application/json"),
        );
    }
}
