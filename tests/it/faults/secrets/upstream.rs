//! A provider that repeats the key and the texts that it was given in everything that it says.

use serde_json::json;

use super::planted::{Home, PROVIDER_KEY, Told};
use crate::support::{Client, SOON, eventually, upstream::Call};

const SCRIPTS: [&str; 6] = [
    "repeats:401",
    "repeats:400",
    "repeats:200",
    "fault:error_event",
    "fault:redirect",
    "repeats:500",
];

/// Has replies fail in every way; what is told of them is planted as if it were an error's body.
pub(super) async fn that_repeats_everything(home: &Home, client: &Client, told: &mut Told) {
    let mut asked = Vec::new();
    for script in SCRIPTS {
        let new = json!({ "description": "canary-description", "instructions": "canary-instructions" });
        let opened = client.post_json("/conversations/", &new).await.expect(201);
        let conversation = opened["conversation_id"].as_str().expect("an id").to_owned();
        let message = client
            .message(&conversation, "user", &format!("{script} canary-text"))
            .await;
        told.id(&conversation);
        told.id(&message);
        asked.push((script, conversation, message));
    }
    let tells = |call: &Call| {
        let key = call.header("authorization").unwrap_or_default();
        key.contains(PROVIDER_KEY) && call.body.to_string().contains("canary-instructions")
    };
    for (script, conversation, message) in asked {
        let reply = format!("/conversations/{conversation}/messages/{message}/reply");
        // One attempt is enough: more of them would have the provider left alone for longer than this is to take.
        eventually("the provider is asked, or the reply ends", 3 * SOON, async || {
            let resource = client.get(&reply).await.expect(200);
            let is_over = !matches!(resource["status"].as_str(), Some("queued" | "running"));
            let calls = home.provider.remembered();
            let is_asked = calls.iter().any(|call| call.text().starts_with(script));
            (is_over || is_asked).then_some(())
        })
        .await;
        let mut answer = client.get(&format!("{reply}/attempts")).await;
        told.error(client.post_json(&format!("{reply}/cancel"), &json!({})).await);
        // Whoever reads a reply sees its ids, rightly; the reasons for its failure tell nothing.
        let resource = client.get(&reply).await;
        answer.body = format!("{} {}", answer.text(), resource.text())
            .replace(&conversation, "")
            .replace(&message, "")
            .into_bytes();
        told.failure(answer);
    }
    assert!(
        home.provider.remembered().iter().any(tells),
        "the provider knows it all"
    );
}
