//! `engagement import chatgpt`: the branch that was looked at last, what a person sees of it.

use serde_json::{Value, json};

use super::{exported, imported, run, told, write};
use crate::copy::{Place, home};
use crate::support::Server;

const TALK: &str = "67a1b2c3-0000-8001-9000-000000000001";
const HELLO: &str = "aaa1b2c3-0000-4000-9000-000000000001";

fn node(parent: &str, role: &str, message: &Value) -> Value {
    let mut message = message.clone();
    message["author"] = json!({ "role": role, "name": null, "metadata": {} });
    if message["content"].is_null() {
        message["content"] = json!({ "content_type": "text", "parts": [message["text"]] });
    }
    json!({ "id": "x", "parent": parent, "children": [], "message": message })
}

/// A conversation as ChatGPT writes it: a root without a message, a hidden instruction, a question that was asked in two
/// ways, a tool, a picture.
fn talk() -> Value {
    json!({
        "title": "A talk",
        "create_time": 1_700_000_000.123_456,
        "update_time": 1_700_000_100.5,
        "conversation_id": TALK,
        "id": TALK,
        "current_node": "last",
        "moderation_results": [],
        "gizmo_id": null,
        "mapping": {
            "root": { "id": "root", "message": null, "parent": null, "children": ["system"] },
            "system": node("root", "system", &json!({ "id": "s", "text": "You are" })),
            "hidden": node("system", "user", &json!({ "id": "h", "text": "about me",
                "metadata": { "is_visually_hidden_from_conversation": true } })),
            "other": node("hidden", "user", &json!({ "id": "o", "text": "asked otherwise" })),
            "hello": node("hidden", "user", &json!({ "id": HELLO, "text": "hello?", "create_time": 1_700_000_001.0 })),
            "code": node("hello", "assistant", &json!({ "id": "c", "recipient": "python",
                "content": { "content_type": "code", "text": "1 + 1" } })),
            "tool": node("code", "tool", &json!({ "id": "t", "text": "2" })),
            "blank": node("tool", "assistant", &json!({ "id": "b", "text": "" })),
            "answer": node("blank", "assistant", &json!({ "id": "no uuid", "text": " It is 2. ", "recipient": "all",
                "create_time": null })),
            "last": node("answer", "user", &json!({ "id": "l", "create_time": 1_700_000_000.5, "content": {
                "content_type": "multimodal_text",
                "parts": [{ "content_type": "image_asset_pointer" }, "look", { "content_type": "audio_transcription", "text": "spoken" }],
            } })),
        },
    })
}

/// A conversation of one message.
fn short(id: &str, message: &str, text: &str) -> Value {
    json!({
        "title": null, "create_time": 1_700_000_000, "update_time": null, "conversation_id": id, "current_node": "n",
        "mapping": { "n": node("gone", "user", &json!({ "id": message, "text": text })) , "gone": { "parent": null } },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_branch_that_was_looked_at_last_comes_in() {
    let home = home();
    write(&home, "conversations.json", &json!([talk()]).to_string());
    let mut targets = vec![Place::file(&home, "one.db")];
    targets.extend(Place::server().await);
    for target in targets {
        let first = imported(&home, &["chatgpt", "conversations.json"], &target).await;
        assert_eq!(
            first,
            "imported 1 conversations, 3 messages; there already: 0; refused: 0; messages left out: 5"
        );
        let again = imported(&home, &["chatgpt", "conversations.json"], &target).await;
        assert!(
            again.starts_with("imported 0 conversations, 0 messages; there already: 1"),
            "{again}"
        );

        let export: Value = serde_json::from_str(&exported(&home, &target).await).expect("a line");
        assert_eq!(export["conversation_id"], TALK);
        assert_eq!(
            (&export["title"], &export["description"]),
            (&json!("A talk"), &json!("Imported from ChatGPT"))
        );
        assert_eq!(export["date_created"], "2023-11-14T22:13:20.123456Z");
        assert_eq!(export["date_updated"], "2023-11-14T22:15:00.500000Z");
        let messages = export["messages"].as_array().expect("messages");
        let said: Vec<_> = messages
            .iter()
            .map(|message| {
                let text = |field: &str| message[field].as_str().expect("a text");
                (text("role"), text("text"), text("date_created"))
            })
            .collect();
        // No date runs backwards.
        assert_eq!(
            said,
            [
                ("user", "hello?", "2023-11-14T22:13:21.000000Z"),
                ("assistant", "It is 2.", "2023-11-14T22:13:21.000000Z"),
                ("user", "look\n\nspoken", "2023-11-14T22:13:21.000000Z"),
            ]
        );
        assert_eq!(messages[0]["message_id"], HELLO);
        // Made of what it was called: version 8.
        assert_eq!(&messages[1]["message_id"].as_str().expect("an id")[14..15], "8");
        let server = Server::builder_over(&home).on(&target.url()).start().await;
        let path = format!("/conversations/{TALK}/messages/{HELLO}/reply");
        server.client().get(&path).await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_named_and_the_rest_comes_in() {
    let home = home();
    let target = Place::file(&home, "one.db");
    let id = |number: u8| format!("67a1b2c3-0000-8001-9000-0000000000{number:02}");
    let mut circle = short(&id(4), "m", "round and round");
    circle["mapping"]["gone"]["parent"] = json!("n");
    let mut headless = short(&id(5), "m", "no node");
    headless["current_node"] = json!("elsewhere");
    let list = json!([
        short(&id(1), HELLO, "first"),
        { "title": "no mapping" },
        short(&id(2), HELLO, "continued as another, with the same message"),
        short(&id(3), "m", &"x".repeat(100_001)),
        circle,
        headless,
        short("not-a-uuid", "m", "last"),
    ]);
    write(&home, "conversations.json", &list.to_string());
    let arguments = [
        "import",
        "chatgpt",
        "conversations.json",
        "--database-url",
        &target.url(),
    ];
    let refused = run(&home, &arguments).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        told(&refused).contains("imported 3 conversations, 3 messages; there already: 0; refused: 4"),
        "{refused:?}"
    );
    for says in [
        "refused: conversation 2: missing field `mapping`".to_owned(),
        format!(
            "refused: conversation 4: conversation {}: text: has more than 100000 characters",
            id(3)
        ),
        format!(
            "refused: conversation 5: conversation {}: mapping: is no tree",
            id(4)
        ),
        format!(
            "refused: conversation 6: conversation {}: mapping: a node is missing",
            id(5)
        ),
    ] {
        assert!(
            refused.stderr.contains(&says),
            "no {says:?} in {}",
            refused.stderr
        );
    }
    // The next run finds them where they are, and cuts what is too long if told to.
    let cut = run(&home, &[&arguments[..], &["--cut"]].concat()).await;
    assert!(
        told(&cut).contains("imported 1 conversations, 1 messages; there already: 3; refused: 3"),
        "{cut:?}"
    );
}

#[tokio::test]
async fn a_file_that_is_cut_off_leaves_what_was_in_front_of_that() {
    let home = home();
    let target = Place::file(&home, "one.db");
    let whole = json!([talk(), talk()]).to_string();
    write(&home, "conversations.json", &whole[..whole.len() - 40]);
    let arguments = [
        "import",
        "chatgpt",
        "conversations.json",
        "--database-url",
        &target.url(),
    ];
    let refused = run(&home, &arguments).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("it is no export of ChatGPT: EOF"),
        "{refused:?}"
    );
    assert_eq!(exported(&home, &target).await.lines().count(), 1);
    for wrong in ["{}", "", "[1]", "[[]]"] {
        write(&home, "conversations.json", wrong);
        assert_eq!(run(&home, &arguments).await.code, Some(1), "{wrong}");
    }
}
