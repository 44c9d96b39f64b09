//! What is said of spans, by name: those of OpenTelemetry's semantic conventions where they have one.

macro_rules! names {
    ($($name:ident = $value:literal;)*) => {
        $(pub(super) const $name: &str = $value;)*

        /// Every name, for the document that tells of them.
        pub const ALL: &[&str] = &[$($value),*];
    };
}

names! {
    SERVICE_NAME = "service.name";
    SERVICE_VERSION = "service.version";
    SERVICE_INSTANCE = "service.instance.id";

    ERROR_TYPE = "error.type";

    METHOD = "http.request.method";
    ROUTE = "http.route";
    STATUS = "http.response.status_code";
    REQUEST_ID = "engagement.request.id";

    DB_SYSTEM = "db.system.name";
    DB_OPERATION = "db.operation.name";

    MESSAGING_SYSTEM = "messaging.system";
    MESSAGING_DESTINATION = "messaging.destination.name";
    MESSAGING_OPERATION = "messaging.operation.name";
    MESSAGING_OPERATION_TYPE = "messaging.operation.type";
    ATTEMPT = "engagement.reply.attempt";
    OUTCOME = "engagement.reply.outcome";
    PROVIDER = "engagement.provider";

    GEN_AI_OPERATION = "gen_ai.operation.name";
    GEN_AI_PROVIDER = "gen_ai.provider.name";
    GEN_AI_MODEL = "gen_ai.request.model";
    GEN_AI_TEMPERATURE = "gen_ai.request.temperature";
    GEN_AI_TOP_P = "gen_ai.request.top_p";
    GEN_AI_MAX_TOKENS = "gen_ai.request.max_tokens";
    GEN_AI_MODEL_THAT_ANSWERED = "gen_ai.response.model";
    GEN_AI_FINISH_REASONS = "gen_ai.response.finish_reasons";
    GEN_AI_INPUT_TOKENS = "gen_ai.usage.input_tokens";
    GEN_AI_OUTPUT_TOKENS = "gen_ai.usage.output_tokens";
    GEN_AI_CACHED_TOKENS = "gen_ai.usage.cache_read.input_tokens";
    SERVER_ADDRESS = "server.address";
    SERVER_PORT = "server.port";

    FIRST_TOKEN = "first token";
}
