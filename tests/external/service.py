"""The service, and a client of it."""

import contextlib
import http.client
import json
import os
import re
import subprocess
from pathlib import Path

from process import PATIENCE_S, ROOT, Process, ask, wait

KEY = "neuRealities_assessment"


def binary():
    """The program: the one that ENGAGEMENT_TEST_BIN names, or what is built here."""
    if "ENGAGEMENT_TEST_BIN" in os.environ:
        return Path(os.environ["ENGAGEMENT_TEST_BIN"]).resolve()
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return ROOT / target / "release" / "engagement"


class Service(Process):
    """The service with its defaults and the providers that `engagement.toml` names."""

    def __init__(self, program, folder, providers):
        folder.mkdir(parents=True)
        (folder / "engagement.toml").write_text(providers)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGAGEMENT_")}
        super().__init__("service", [program, "--listen", "127.0.0.1:0"], folder, env=kept)
        # The conversation of each message.
        self.homes = {}
        self.port = int(self.wait_for(r"listening on http://127\.0\.0\.1:(\d+)"))

    def ask(self, method, path, body=None):
        status, answer = ask(self.port, method, path, body, {"X-API-Key": KEY})
        if status >= 400:
            raise AssertionError(f"{method} {re.sub('[0-9a-f-]{36}', '{id}', path)} answered {status}: {answer}")
        return answer

    def conversation(self, model, **options):
        """The path of a new conversation whose replies are written so."""
        body = {"description": "with llama.cpp", "model": model, **options}
        return f"/conversations/{self.ask('POST', '/conversations/', body)['conversation_id']}"

    def say(self, conversation, text):
        """The path of a new user message's reply."""
        message = self.ask("POST", f"{conversation}/messages/create", {"role": "user", "text": text})
        self.homes[message["message_id"]] = conversation
        return f"{conversation}/messages/{message['message_id']}/reply"

    def ended(self, reply):
        """The reply, once it is final."""

        def final():
            found = self.ask("GET", reply)
            return found if found["status"] not in ("queued", "running") else None

        return wait("the end of a reply", final)

    def stored(self, reply):
        """The text that a final reply has."""
        return self.ask("GET", f"{self.homes[reply['message_id']]}/messages/{reply['assistant_message_id']}")["text"]

    def events(self, reply):
        """(name, data) of each event of a reply, from its beginning, as they come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request("GET", f"{reply}?stream=true")
            answer = connection.getresponse()
            assert answer.status == 200, f"a reply's stream answered {answer.status}: {answer.read()[:500]}"
            name, data = None, []
            for line in answer:
                field, _, value = line.decode().rstrip("\n").partition(":")
                value = value.removeprefix(" ")
                if field == "event":
                    name = value
                elif field == "data":
                    data.append(value)
                elif not field and not value and data:
                    yield name, json.loads("\n".join(data))
                    name, data = None, []
