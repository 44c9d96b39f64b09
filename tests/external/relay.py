"""Passes bytes between the service and a server on to the other side as they are, and keeps them to be read afterwards."""

import contextlib
import json
import select
import socket
import threading
import time


class Relay:
    """Listens on a free port for each server: `ports` leads from a server's to the one in front of it."""

    def __init__(self, targets):
        self.connections = []
        self.ports = {}
        for target in set(targets):
            listener = socket.create_server(("127.0.0.1", 0))
            self.ports[target] = listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(listener, target), daemon=True).start()

    def exchanges(self):
        """Every request that was asked so far, in the order of asking, with what came back."""
        found = [exchange for connection in list(self.connections) for exchange in connection.exchanges()]
        return sorted(found, key=lambda exchange: exchange.asked)

    def _accept(self, listener, target):
        while True:
            front, _ = listener.accept()
            threading.Thread(target=self._pass, args=(front, target), daemon=True).start()

    def _pass(self, front, target):
        try:
            behind = socket.create_connection(("127.0.0.1", target))
        except OSError:
            front.close()
            return
        kept = Connection()
        self.connections.append(kept)
        # Either side's end is the other's: what the service gives up, the server must notice, and the other way round.
        with front, behind, contextlib.suppress(OSError):
            while True:
                for side in select.select([front, behind], [], [])[0]:
                    piece = side.recv(65536)
                    if not piece:
                        return
                    kept.keep(side is front, piece)
                    (behind if side is front else front).sendall(piece)


class Connection:
    """All that went over one."""

    def __init__(self):
        self.asked, self.answered = bytearray(), bytearray()
        # When each request began, whenever the service speaks after the server, and when the last of its answer came.
        self.times, self.is_asking = [], False

    def keep(self, is_question, piece):
        if is_question and not self.is_asking:
            self.times.append([time.monotonic(), None])
        elif not is_question:
            self.times[-1][1] = time.monotonic()
        self.is_asking = is_question
        (self.asked if is_question else self.answered).extend(piece)

    def exchanges(self):
        asked, answered = bytes(self.asked), bytes(self.answered)
        for times in list(self.times):
            head, body, whole, asked = message(asked)
            if not whole:
                return
            answer_head, answer, is_complete, answered = message(answered)
            yield Exchange(times, head, body, answer_head, answer, is_complete)


class Exchange:
    """A request and the part of its answer that arrived."""

    def __init__(self, times, head, body, answer_head, answer, is_complete):
        self.asked, self.answered = times
        self.path = head.split()[1].decode()
        self.request = json.loads(body) if body else None
        self.status = int(answer_head.split()[1]) if answer_head else None
        self.answer, self.is_complete = answer.decode(errors="replace"), is_complete

    def events(self):
        """The JSON of each event in a streamed answer."""
        lines = self.answer.split("\n")
        return [json.loads(line[6:]) for line in lines if line.startswith("data: {") and line.endswith("}")]

    def text(self):
        """All that the answer says."""
        if not self.request.get("stream"):
            return json.loads(self.answer)["choices"][0]["message"]["content"]
        if self.path.endswith("/responses"):
            return "".join(event["delta"] for event in self.events() if event["type"] == "response.output_text.delta")
        return "".join(choice["delta"].get("content") or "" for event in self.events() for choice in event["choices"])

    def finish(self):
        """The reason that it gives for its end, if it gives one."""
        if not self.request.get("stream"):
            return json.loads(self.answer)["choices"][0]["finish_reason"] if self.is_complete else None
        if self.path.endswith("/responses"):
            return next((event["response"]["status"] for event in self.events() if event["type"] == "response.completed"), None)
        reasons = [choice["finish_reason"] for event in self.events() for choice in event["choices"]]
        return next((reason for reason in reasons if reason), None)


def message(data):
    """(head, body, whether it is complete, what follows it) of the first HTTP message, as far as it is there."""
    head, _, rest = data.partition(b"\r\n\r\n")
    fields = {name.strip(): value.strip() for name, _, value in (line.lower().partition(b":") for line in head.split(b"\r\n")[1:])}
    if fields.get(b"transfer-encoding") != b"chunked":
        size = int(fields.get(b"content-length", 0))
        return head, rest[:size], bool(head) and len(rest) >= size, rest[size:]
    body = b""
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        size = int(size, 16)
        body += rest[:size]
        if size == 0 or len(rest) < size + 2:
            return head, body, size == 0, rest[2:]
        rest = rest[size + 2 :]
    return head, body, False, b""
