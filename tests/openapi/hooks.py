"""What a JSON schema cannot say of requests, so that requests that schemathesis makes by the document are right in that, too.

Only requests that are meant to be right are touched; what is meant to be wrong is sent as it is.
"""

import os
import uuid

import schemathesis

KEY = os.environ["OPENAPI_CHECK_KEY"]


@schemathesis.auth()
class Key:
    """Comes with the operator's key, in both ways by turns, so that checks of authentication can take it away."""

    def get(self, case, context):
        return KEY

    def set(self, case, data, context):
        case.headers["X-API-Key"] = data


@schemathesis.hook
def map_case(context, case):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return case
    headers = case.headers or {}
    # A key belongs to one request: with another one it is 422. What has a key of its own each time is never another one.
    if "Idempotency-Key" in headers:
        headers["Idempotency-Key"] = str(uuid.uuid4())
    # Which events a conversation has is known to it only. Every one has reached 0.
    if case.operation.definition.raw.get("operationId") in ("watchConversation", "readReply"):
        if "Last-Event-ID" in headers:
            headers["Last-Event-ID"] = "0"
        if case.query and "after" in case.query:
            case.query["after"] = "0"
    if isinstance(case.body, dict):
        body = case.body
        # Which models there are is up to the operator.
        body.pop("model", None)
        # A date to come, and only one of the two ways of naming it.
        if body.get("date_expires") is not None:
            body["date_expires"] = "2999-12-31T23:59:59Z"
            body.pop("expires_in_s", None)
        # 1.0 is a whole number to a schema, and none to this service (C2): it is sent in digits.
        for holder in (body, body.get("limits")):
            if isinstance(holder, dict):
                for name in WHOLE & holder.keys():
                    if isinstance(holder[name], float):
                        holder[name] = int(holder[name])
    return case


WHOLE = {
    "expires_in_s",
    "max_output_tokens",
    "messages_per_min",
    "overlap_s",
    "pending_replies",
    "requests_per_s",
    "tokens_per_day",
}
