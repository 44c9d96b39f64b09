use utoipa::openapi::{
    ObjectBuilder, OneOfBuilder,
    schema::{Discriminator, Type},
};

use super::{ANSWER, MESSAGE, conversations::SEARCH, with_options};
use crate::{
    http::{
        api::{options, query::LONGEST_NEEDLE, shapes},
        openapi::{
            Described, Example, MESSAGES,
            schemas::{any_text, named, one_of, string, text},
        },
    },
    model::{MessageText, PageSize, Role},
};

/// A message of this role, without what only one of them has.
fn of(role: Role, description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(description))
        .property("role", one_of([role.as_str()]))
        .property("text", text(MessageText::MAX))
        .required("role")
        .required("text")
}

pub(in crate::http::api) fn create() -> Described {
    let user = of(
        Role::User,
        "Asks for a reply, and may say how that is to be written: before what its conversation says.",
    );
    let assistant = of(
        Role::Assistant,
        "Is stored and asks for nothing, so that the fields of a reply can only be null.",
    );
    let assistant = options::NAMES.into_iter().fold(assistant, |object, name| {
        object.property(name, ObjectBuilder::new().schema_type(Type::Null))
    });
    let mut by_role = Discriminator::new("role");
    by_role.mapping = [("user", "NewUserMessage"), ("assistant", "NewAssistantMessage")]
        .map(|(role, schema)| (role.to_owned(), format!("#/components/schemas/{schema}")))
        .into();
    let body = OneOfBuilder::new()
        .item(named("NewUserMessage"))
        .item(named("NewAssistantMessage"))
        .discriminator(Some(by_role));
    let in_it = [
        ("conversation_id", "$response.body#/conversation"),
        ("message_id", "$response.body#/message_id"),
    ];
    Described::new("createMessage", MESSAGES, "Add a message")
        .saying(
            "A user message is committed together with the reply that it is owed, which is then written in the background: `Link` names \
             where to watch it, and `GET …/events` tells it as it is written. With `\"busy\": \"reject\"` it is 409 while an earlier reply \
             is unfinished.",
        )
        .naming("NewUserMessage", with_options(user))
        .naming("NewAssistantMessage", assistant)
        .body(
            "NewMessage",
            body,
            [
                ("message", Example::titled("A question", r#"{"role":"user","text":"Hello!"}"#)),
                (
                    "message-with-options",
                    Example::titled(
                        "How its reply is to be written",
                        r#"{"role":"user","text":"And in French?","instructions":"Answer in French.","max_output_tokens":200}"#,
                    ),
                ),
                (
                    "of-the-assistant",
                    Example::titled(
                        "Something that the assistant said elsewhere",
                        r#"{"role":"assistant","text":"How can I help you?"}"#,
                    ),
                ),
            ],
        )
        .answers::<shapes::Message<'_>>(201, "The message.", Example::new(MESSAGE))
        .telling(201, "Location")
        .telling(201, "Link")
        .leading(201, "readMessage", &in_it)
        .leading(201, "readReply", &in_it)
        .leading(201, "cancelReply", &in_it)
        .leading(201, "retryReply", &in_it)
        .leading(201, "listAttempts", &in_it)
        .leading(201, "deleteMessage", &in_it)
}

pub(in crate::http::api) fn list() -> Described {
    let size = format!(
        "How many to a page, from 1 to {}. More is {0}; what is no such number is {}.",
        PageSize::MAX,
        PageSize::default().get(),
    );
    let page = "Which page: a number from 1, or `last`. What is no page of the list is 404. Page 1 is there even if nothing is on it.";
    let example = format!(r#"{{"count":2,"next":null,"previous":null,"results":[{MESSAGE},{ANSWER}]}}"#);
    Described::new("listMessages", MESSAGES, "List the messages of a conversation")
        .saying(
            "Oldest first. `next` and `previous` keep every parameter of the request. A page and its `count` are taken from one moment. \
             Of a parameter that comes twice, the last one counts.",
        )
        .query("q", SEARCH, any_text(LONGEST_NEEDLE))
        .query(
            "role",
            "Only messages of this role, `user` or `assistant`. A role that nobody has gives an empty page; empty is no filter.",
            string().examples(["user"]),
        )
        .query("page", page, string().pattern(Some("^(0*[1-9][0-9]*|last)$")).examples(["1"]))
        .query("page_size", &size, string().examples(["10"]))
        .answers::<shapes::Page<'_>>(200, "A page of messages.", Example::new(example))
}

pub(in crate::http::api) fn read() -> Described {
    Described::new("readMessage", MESSAGES, "Read a message").answers::<shapes::Message<'_>>(
        200,
        "The message.",
        Example::new(MESSAGE),
    )
}

pub(in crate::http::api) fn delete() -> Described {
    Described::new("deleteMessage", MESSAGES, "Delete a message")
        .saying(
            "With a user message goes its reply, which is cancelled if it is under way; an answer that is there stays. Deleting an \
             answer leaves the message and its reply. A body is ignored.",
        )
        .answers_nothing(204, "It is gone.")
}
