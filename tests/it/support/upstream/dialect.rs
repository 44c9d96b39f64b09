//! The three dialects: how an answer's parts look in each.
//!
//! Texts come as JSON literals with their quotes, so that faults can write what no library would.

use super::Call;

/// A dialect, with what the answers to one call share.
pub(super) struct Dialect {
    kind: Kind,
    pub(super) id: String,
    model: String,
    usage: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Chat,
    Responses,
    Messages,
}

/// Why an answer ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Stop,
    Length,
    ToolCalls,
}

/// What every answer claims to have read, and of that to have remembered.
const READ: usize = 11;
const REMEMBERED: usize = 3;

impl Dialect {
    pub(super) fn of(call: &Call) -> Option<Self> {
        let kind = match call.path.as_str() {
            "/v1/chat/completions" => Kind::Chat,
            "/v1/responses" => Kind::Responses,
            "/v1/messages" => Kind::Messages,
            _ => return None,
        };
        let model = call.body.get("model").and_then(|model| model.as_str());
        Some(Self {
            kind,
            id: "answer-1".to_owned(),
            model: format!("{}-0001", model.unwrap_or("none")),
            usage: call.wants_usage(),
        })
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the stream shall say what it took.
    pub(super) fn wants_usage(&self) -> bool {
        self.usage
    }

    /// The same answer under another id.
    pub(super) fn with_id(&self, id: &str) -> Self {
        Self {
            kind: self.kind,
            id: id.to_owned(),
            model: self.model.clone(),
            usage: self.usage,
        }
    }

    fn chat_chunk(&self, delta: &str, finish: &str) -> String {
        let (id, model) = (&self.id, &self.model);
        data(&format!(
            r#"{{"id":"{id}","object":"chat.completion.chunk","created":1700000000,"model":"{model}","system_fingerprint":"fp","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}],"usage":null}}"#
        ))
    }

    fn response(&self, status: &str, output: &str, rest: &str) -> String {
        let (id, model) = (&self.id, &self.model);
        format!(
            r#"{{"id":"{id}","object":"response","created_at":1700000000,"status":"{status}","model":"{model}","output":[{output}]{rest}}}"#
        )
    }

    /// What comes before the first piece.
    pub(super) fn opening(&self) -> String {
        let (id, model) = (&self.id, &self.model);
        match self.kind {
            Kind::Chat => self.chat_chunk(r#"{"role":"assistant","content":""}"#, "null"),
            Kind::Responses => {
                let response = self.response("in_progress", "", r#","error":null,"usage":null"#);
                named("response.created", &format!(r#","response":{response}"#))
                    + &named("response.in_progress", &format!(r#","response":{response}"#))
                    + &named(
                        "response.output_item.added",
                        r#","output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}"#,
                    )
                    + &named(
                        "response.content_part.added",
                        r#","item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}"#,
                    )
            }
            Kind::Messages => {
                let message = format!(
                    r#"{{"id":"{id}","type":"message","role":"assistant","model":"{model}","content":[],"stop_reason":null,"stop_sequence":null,"usage":{{"input_tokens":{},"cache_creation_input_tokens":0,"cache_read_input_tokens":{REMEMBERED},"output_tokens":1}}}}"#,
                    READ - REMEMBERED
                );
                named("message_start", &format!(r#","message":{message}"#))
                    + &named(
                        "content_block_start",
                        r#","index":0,"content_block":{"type":"text","text":""}"#,
                    )
                    + &named("ping", "")
            }
        }
    }

    /// A piece of text.
    pub(super) fn delta(&self, literal: &str) -> String {
        match self.kind {
            Kind::Chat => self.chat_chunk(&format!(r#"{{"content":{literal}}}"#), "null"),
            Kind::Responses => named(
                "response.output_text.delta",
                &format!(
                    r#","item_id":"msg_1","output_index":0,"content_index":0,"delta":{literal},"logprobs":[]"#
                ),
            ),
            Kind::Messages => named(
                "content_block_delta",
                &format!(r#","index":0,"delta":{{"type":"text_delta","text":{literal}}}"#),
            ),
        }
    }

    /// The call of a tool, streamed.
    pub(super) fn tool_call(&self) -> String {
        match self.kind {
            Kind::Chat => self.chat_chunk(
                r#"{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"look","arguments":"{}"}}]}"#,
                "null",
            ),
            Kind::Responses => named(
                "response.function_call_arguments.delta",
                r#","item_id":"fc_1","output_index":0,"delta":"{}""#,
            ),
            Kind::Messages => {
                named(
                    "content_block_start",
                    r#","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"look","input":{}}"#,
                ) + &named(
                    "content_block_delta",
                    r#","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}"#,
                )
            }
        }
    }

    /// What ends the answer.
    pub(super) fn closing(&self, finish: Finish, written: usize) -> String {
        match self.kind {
            Kind::Chat => {
                let (id, model) = (&self.id, &self.model);
                let usage = data(&format!(
                    r#"{{"id":"{id}","object":"chat.completion.chunk","created":1700000000,"model":"{model}","choices":[],"usage":{}}}"#,
                    self.usage(written)
                ));
                self.chat_chunk("{}", &format!("\"{}\"", self.finish(finish)))
                    + if self.usage { &usage } else { "" }
                    + &data("[DONE]")
            }
            Kind::Responses => {
                let name = if finish == Finish::Length {
                    "response.incomplete"
                } else {
                    "response.completed"
                };
                let rest = self.ending(finish, written);
                let response = self.response(name.trim_start_matches("response."), "", &rest);
                named(
                    "response.output_text.done",
                    r#","item_id":"msg_1","output_index":0,"content_index":0,"text":"""#,
                ) + &named(name, &format!(r#","response":{response}"#))
            }
            Kind::Messages => {
                named("content_block_stop", r#","index":0"#)
                    + &named(
                        "message_delta",
                        &format!(
                            r#","delta":{{"stop_reason":"{}","stop_sequence":null}},"usage":{{"output_tokens":{written}}}"#,
                            self.finish(finish)
                        ),
                    )
                    + &named("message_stop", "")
            }
        }
    }

    /// The end of a stream whose answer has none.
    pub(super) fn bare_end(&self) -> String {
        match self.kind {
            Kind::Chat | Kind::Responses => data("[DONE]"),
            Kind::Messages => named("message_stop", ""),
        }
    }

    /// The answer in one piece.
    pub(super) fn whole(&self, literal: &str, finish: Finish, written: usize) -> String {
        let (id, model) = (&self.id, &self.model);
        let (reason, usage) = (self.finish(finish), self.usage(written));
        let calls_tools = finish == Finish::ToolCalls;
        match self.kind {
            Kind::Chat => {
                let message = if calls_tools {
                    r#"{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"look","arguments":"{}"}}]}"#.to_owned()
                } else {
                    format!(r#"{{"role":"assistant","content":{literal},"refusal":null}}"#)
                };
                format!(
                    r#"{{"id":"{id}","object":"chat.completion","created":1700000000,"model":"{model}","choices":[{{"index":0,"message":{message},"logprobs":null,"finish_reason":"{reason}"}}],"usage":{usage}}}"#
                )
            }
            Kind::Responses => {
                let output = if calls_tools {
                    r#"{"type":"function_call","id":"fc_1","call_id":"call_1","name":"look","arguments":"{}"}"#.to_owned()
                } else {
                    format!(
                        r#"{{"type":"reasoning","id":"rs_1","summary":[]}},{{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{{"type":"output_text","text":{literal},"annotations":[]}}]}}"#
                    )
                };
                let status = if finish == Finish::Length {
                    "incomplete"
                } else {
                    "completed"
                };
                self.response(status, &output, &self.ending(finish, written))
            }
            Kind::Messages => {
                let content = if calls_tools {
                    r#"{"type":"tool_use","id":"toolu_1","name":"look","input":{}}"#.to_owned()
                } else {
                    format!(r#"{{"type":"text","text":{literal}}}"#)
                };
                format!(
                    r#"{{"id":"{id}","type":"message","role":"assistant","model":"{model}","content":[{content}],"stop_reason":"{reason}","stop_sequence":null,"usage":{usage}}}"#
                )
            }
        }
    }

    /// The event of a failure after the beginning.
    pub(super) fn error_event(&self) -> String {
        match self.kind {
            Kind::Chat => {
                data(r#"{"error":{"message":"canary of the provider","type":"server_error","code":null}}"#)
            }
            Kind::Responses => {
                let error =
                    r#","error":{"code":"server_error","message":"canary of the provider"},"usage":null"#;
                let response = self.response("failed", "", error);
                named("response.failed", &format!(r#","response":{response}"#))
            }
            Kind::Messages => named(
                "error",
                r#","error":{"type":"overloaded_error","message":"canary of the provider"}"#,
            ),
        }
    }

    /// The body of a refusal.
    pub(super) fn refusal(&self, kind: &str, code: &str) -> String {
        match self.kind {
            Kind::Chat | Kind::Responses => format!(
                r#"{{"error":{{"message":"canary of the provider","type":"{kind}","param":null,"code":"{code}"}}}}"#
            ),
            Kind::Messages => format!(
                r#"{{"type":"error","error":{{"type":"{kind}","message":"canary of the provider: {code}"}},"request_id":"req_1"}}"#
            ),
        }
    }

    fn finish(&self, finish: Finish) -> &'static str {
        match (self.kind, finish) {
            (Kind::Messages, Finish::Stop) => "end_turn",
            (Kind::Messages, Finish::Length) => "max_tokens",
            (Kind::Messages, Finish::ToolCalls) => "tool_use",
            (_, Finish::Stop) => "stop",
            (_, Finish::Length) => "length",
            (_, Finish::ToolCalls) => "tool_calls",
        }
    }

    fn ending(&self, finish: Finish, written: usize) -> String {
        let details = match finish {
            Finish::Length => r#"{"reason":"max_output_tokens"}"#,
            Finish::Stop | Finish::ToolCalls => "null",
        };
        format!(
            r#","error":null,"incomplete_details":{details},"usage":{}"#,
            self.usage(written)
        )
    }

    fn usage(&self, written: usize) -> String {
        match self.kind {
            Kind::Chat => format!(
                r#"{{"prompt_tokens":{READ},"completion_tokens":{written},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":{REMEMBERED}}}}}"#,
                READ + written
            ),
            Kind::Responses => format!(
                r#"{{"input_tokens":{READ},"input_tokens_details":{{"cached_tokens":{REMEMBERED}}},"output_tokens":{written},"total_tokens":{}}}"#,
                READ + written
            ),
            Kind::Messages => format!(
                r#"{{"input_tokens":{},"cache_creation_input_tokens":0,"cache_read_input_tokens":{REMEMBERED},"output_tokens":{written}}}"#,
                READ - REMEMBERED
            ),
        }
    }
}

fn data(json: &str) -> String {
    format!("data: {json}\n\n")
}

fn named(name: &str, rest: &str) -> String {
    format!("event: {name}\ndata: {{\"type\":\"{name}\"{rest}}}\n\n")
}
