"""The command `fakellm` as a process, with what it says in JSON."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import threading

import pytest

COMMAND = (sys.executable, "-m", "fakellm")


def ran(*arguments, **options):
    """Run the command to its end."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)


@contextlib.contextmanager
def full():
    """Let no file of this process become larger than a block of 512 bytes, as on a full disk."""
    resource = pytest.importorskip("resource", reason="the system has no such limit")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Serving:
    """`fakellm serve --json` while it runs."""

    def __init__(self, *arguments):
        command = [*COMMAND, "serve", "--json", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._connections = []
        self._patience = threading.Timer(120, self.process.kill)  # or a test that waits in vain would stop the run
        self._patience.daemon = True
        self._patience.start()
        self.ready = self.event("ready")
        self.url = self.ready["url"]
        self.host, self.port = self.url.removeprefix("http://").rsplit(":", 1)

    def event(self, name):
        """Return the next event of a kind."""
        for line in self.process.stdout:
            if (event := json.loads(line))["event"] == name:
                return event
        raise AssertionError(self.process.stderr.read())

    def asked(self, text="hi", path="/openai/v1/chat/completions", **fields):
        """Return the answer to a chat completion, as it is read."""
        connection = http.client.HTTPConnection(self.host, int(self.port), timeout=20)
        body = {"model": "m", "messages": [{"role": "user", "content": text}], **fields}
        self._connections.append(connection)
        connection.request("POST", path, json.dumps(body))
        return connection.getresponse()

    def ended(self, number=signal.SIGTERM):
        """Let it end; return its exit code, and what it saw."""
        self.process.send_signal(number)
        seen = self.event("stopped")
        return self.process.wait(20), seen

    def close(self):
        """End it, however it is."""
        self._patience.cancel()
        for connection in self._connections:
            connection.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def serving(*arguments):
    """Serve for as long as a block."""
    return contextlib.closing(Serving(*arguments))


def said(answer):
    """Return the text of a chat completion."""
    return json.loads(answer.read())["choices"][0]["message"]["content"]
