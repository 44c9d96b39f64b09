"""Two servers that nobody here wrote, each with the models `endless` and `brief`."""

import json
import os
import shutil
import subprocess
import sys
import time

from process import HERE, Process, ask, say

# In tokens, of which these models need one for nearly every letter.
WINDOWS = {"endless": 8192, "brief": 512}


def environment(folder):
    """The Python of an environment that holds what requirements.txt names; built when it does not yet."""
    wanted, built = HERE / "requirements.txt", folder / "venv" / "requirements.txt"
    python = folder / "venv" / "bin" / "python"
    if not built.exists() or built.read_bytes() != wanted.read_bytes():
        say("building the servers, which takes some minutes")
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder / "venv"], check=True)
        build = {
            "CMAKE_ARGS": "-DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DLLAVA_BUILD=OFF",
            "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count()),
        }
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", wanted]
        subprocess.run(pip, check=True, env={**build, **os.environ})
        shutil.copy(wanted, built)
        say(f"built in {time.monotonic() - began:.0f} s")
    return python


class Server:
    """Processes and, for each model, the one that has it."""

    # Whether an error is told while streaming, too.
    tells_errors = True
    # Whether it drops what it writes when another request comes.
    drops_streams = False
    # Whether it has the Responses API.
    has_responses = True

    def __init__(self):
        self.processes = {}
        self.ports = {}

    def complete(self, **body):
        """What it says to a client that is not the service."""
        port = self.ports.get(body["model"], self.ports["endless"])
        return ask(port, "POST", "/v1/chat/completions", body)

    def stop(self, *how):
        for process in self.processes.values():
            process.stop(*how)


def models(python, folder):
    """(name, file, window) of each, written anew."""
    for name, window in WINDOWS.items():
        file = folder / f"{name}.gguf"
        subprocess.run([python, HERE / "tiny_gguf.py", name, file], check=True)
        yield name, str(file), window


class Python(Server):
    """llama-cpp-python's server with its defaults: one process, which loads the model that is asked for."""

    name = "llama-cpp-python"
    tells_errors = False
    drops_streams = True
    has_responses = False

    def __init__(self, python, folder):
        super().__init__()
        one = {"seed": 4, "n_threads": 1, "n_threads_batch": 1, "verbose": False}
        listed = [{"model": file, "model_alias": name, "n_ctx": window, **one} for name, file, window in models(python, folder)]
        # A name that it knows, and a file that it cannot load.
        listed.append({"model": str(folder / "gone.gguf"), "model_alias": "gone"})
        (folder / "server.json").write_text(json.dumps({"host": "127.0.0.1", "port": 0, "models": listed}))
        command = [python, "-u", "-m", "llama_cpp.server", "--config_file", "server.json"]
        process = Process("server", command, folder)
        port = int(process.wait_for(r"Uvicorn running on http://127\.0\.0\.1:(\d+)"))
        for name in (*WINDOWS, "gone"):
            self.processes[name], self.ports[name] = process, port


class Native(Server):
    """The C++ server of llama.cpp itself, in xllamacpp's build: one process for each model."""

    name = "llama.cpp"

    def __init__(self, python, folder):
        super().__init__()
        for name, file, window in models(python, folder):
            command = [python, "-u", HERE / "native_server.py", file, name, str(window)]
            process = self.processes[name] = Process(f"server-{name}", command, folder)
            self.ports[name] = int(process.wait_for(r"serving on http://127\.0\.0\.1:(\d+)"))
