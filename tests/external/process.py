"""Programs that run beside the script, and questions to them."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# What is not there after so long does not come. The service's own retries take some of it.
PATIENCE_S = 120


def say(text):
    print(f"llama_cpp: {text}", flush=True)


def wait(what, condition, patience_s=PATIENCE_S):
    """What the condition gives, once that is something."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise TimeoutError(f"waited {patience_s} s for {what}")


def ask(port, method, path, body=None, headers=None):
    """(status, JSON or text) of one answer, read to its end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        body = None if body is None else json.dumps(body)
        connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        try:
            text = answer.read().decode()
        except http.client.IncompleteRead as broken:
            text = broken.partial.decode() + "(broken off)"
    with contextlib.suppress(ValueError):
        return answer.status, json.loads(text)
    return answer.status, text


class Process:
    """A program with its output in a file."""

    def __init__(self, name, command, folder, env=None):
        self.log = folder / f"{name}.out"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, env=env)

    def wait_for(self, pattern):
        """The first group of the pattern, once the program has printed it."""

        def found():
            if self.process.poll() is not None:
                sys.exit(f"llama_cpp: {self.log.name} ended:\n{self.log.read_text(errors='replace')[-3000:]}")
            return re.search(pattern, self.log.read_text(errors="replace"))

        return wait(f"{pattern} in {self.log.name}", found).group(1)

    def busy(self, over_s=0.5):
        """The share of one processor that it takes now."""

        def used():
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        before = used()
        time.sleep(over_s)
        return (used() - before) / over_s

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
