"""The document with each path as it is below its first server, for tools that know of one server only: `absolute.py IN OUT`.

For controls, a third argument makes it wrong: `without-404`, or `one-field-more` in a conversation.
"""

import json
import sys

given, wanted, *wrong = sys.argv[1:]
with open(given, encoding="utf-8") as file:
    document = json.load(file)
paths = {}
for path, item in document["paths"].items():
    first = item.pop("servers", document["servers"])[0]["url"].rstrip("/")
    paths[first + path] = item
document["paths"] = paths
document["servers"] = [{"url": "/"}]
if wrong == ["without-404"]:
    for item in paths.values():
        for operation in item.values():
            operation["responses"].pop("404", None)
elif wrong == ["one-field-more"]:
    document["components"]["schemas"]["Conversation"]["required"].append("mood")
with open(wanted, "w", encoding="utf-8") as file:
    json.dump(document, file)
