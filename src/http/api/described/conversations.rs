use utoipa::openapi::{ObjectBuilder, schema::Type};

use super::{CONVERSATION, with_options};
use crate::{
    http::{
        api::{query::LONGEST_NEEDLE, shapes},
        openapi::{
            CONVERSATIONS, Described, Example,
            schemas::{any_text, or_null, text},
        },
    },
    model::{Description, Title},
};

fn title() -> ObjectBuilder {
    or_null(any_text(Title::MAX))
}

fn description() -> ObjectBuilder {
    text(Description::MAX)
}

pub(in crate::http::api) fn create() -> Described {
    let body = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(
            "A conversation to be. Null is as good as nothing, but for `description`.",
        ))
        .property("title", title())
        .property("description", description())
        .required("description");
    Described::new("createConversation", CONVERSATIONS, "Open a conversation")
        .saying("Answers with the conversation, and in `Location` with its path. Its id is a random UUID: whoever knows it may read the conversation.")
        .body(
            "NewConversation",
            with_options(body),
            [
                ("plain", Example::titled("A conversation", r#"{"description":"First steps"}"#)),
                (
                    "with-settings",
                    Example::titled(
                        "How its replies are to be written",
                        r#"{"title":"Notes","description":"What to cook","instructions":"Be brief.","temperature":0.5,"busy":"queue"}"#,
                    ),
                ),
            ],
        )
        .answers::<shapes::Conversation<'_>>(201, "The conversation.", Example::new(CONVERSATION))
        .telling(201, "Location")
        .leading(201, "readConversation", IT)
        .leading(201, "changeConversation", IT)
        .leading(201, "createMessage", IT)
        .leading(201, "listMessages", IT)
        .leading(201, "readSettings", IT)
        .leading(201, "watchConversation", IT)
        .leading(201, "deleteConversation", IT)
}

/// Where an answer has the id of the conversation.
const IT: &[(&str, &str)] = &[("conversation_id", "$response.body#/conversation_id")];

pub(in crate::http::api) fn read() -> Described {
    Described::new("readConversation", CONVERSATIONS, "Read a conversation")
        .saying("With `q` it is found only if its title or description has that text.")
        .query("q", SEARCH, any_text(LONGEST_NEEDLE))
        .answers::<shapes::Conversation<'_>>(200, "The conversation.", Example::new(CONVERSATION))
}

/// Of `q`, wherever it is.
pub(super) const SEARCH: &str = "A piece of text, found anywhere and regardless of case (Unicode's default case folding). Taken as it is: one space finds \
     texts that have a space, `%`, `_` and `\\` mean themselves. Empty is no filter.";

pub(in crate::http::api) fn change() -> Described {
    let body = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(
            "What is to change. What is absent stays; null empties, except for `description`.",
        ))
        .property("title", title())
        .property("description", description());
    Described::new("changeConversation", CONVERSATIONS, "Change a conversation")
        .saying("Changes what the body names and nothing else. Replies that are under way are not affected.")
        .body(
            "ConversationChange",
            with_options(body),
            [
                ("title", Example::titled("A title", r#"{"title":"Notes"}"#)),
                (
                    "settings",
                    Example::titled(
                        "How replies are to be written",
                        r#"{"instructions":"Be brief.","temperature":null}"#,
                    ),
                ),
            ],
        )
        .answers::<shapes::Conversation<'_>>(
            200,
            "The conversation as it is now.",
            Example::new(CONVERSATION),
        )
}

pub(in crate::http::api) fn settings() -> Described {
    Described::new("readSettings", CONVERSATIONS, "Read what a conversation wants of its replies")
        .saying("Always with a key: instructions are not for everybody who may read what was said.")
        .answers::<shapes::Settings<'_>>(
            200,
            "The settings.",
            Example::new(
                r#"{"conversation_id":"550e8400-e29b-41d4-a716-446655440000","model":null,"instructions":"Be brief.","temperature":0.5,"top_p":null,"max_output_tokens":null,"busy":"queue"}"#,
            ),
        )
}

pub(in crate::http::api) fn delete() -> Described {
    Described::new(
        "deleteConversation",
        CONVERSATIONS,
        "Delete a conversation with everything in it",
    )
    .saying("Replies under way are cancelled. From then on everything below it is 404. A body is ignored.")
    .answers::<shapes::ConversationDeleted>(
        200,
        "It is gone.",
        Example::new(r#"{"conversation_id":"550e8400-e29b-41d4-a716-446655440000","deleted":true}"#),
    )
}
