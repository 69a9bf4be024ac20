"""Blocks of a page that show a command and what it says: run in their order, in one folder, and compared.

    ```console
    $ fakellm scrub cassettes --dry-run
    cassettes/chat.yaml: ...
    $ echo $?
    1
    ```

A line that begins with `$ ` is a command, what follows is what it says on both of its streams; `...` stands for
anything. `echo $?` tells the exit code of the command before it. A command is `fakellm`, which runs in this process,
or `cat` and `ls`, whose files are those of the folder: what blocks with `<!-- file: NAME -->` hold, and what commands
wrote. What a page calls http://127.0.0.1:8123 is a server of the test, whose providers repeat what they hear.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys

from fakellm.cli.main import main

_UPSTREAM = "127.0.0.1:8123"


class Console:
    """Runs commands in the working directory. `upstream` is the URL of what the page calls 127.0.0.1:8123."""

    def __init__(self, upstream, capfd):
        self._upstream = upstream.removeprefix("http://")
        self._capfd = capfd
        self._code = 0

    def said(self, command):
        """Return what a command says."""
        if command == "echo $?":
            return f"{self._code}\n"
        words = [word.replace(_UPSTREAM, self._upstream) for word in shlex.split(command)]
        words = [sys.executable if word == "python" else word for word in words]
        assert words[0] in ("fakellm", "cat", "ls"), command
        with self._one_stream():
            self._code = main(words[1:]) if words[0] == "fakellm" else subprocess.run(words, check=False).returncode
        return self._capfd.readouterr().out.replace(self._upstream, _UPSTREAM)

    @contextlib.contextmanager
    def _one_stream(self):
        """Let both streams be one, as on a terminal, for this process and those that it starts."""
        kept = os.dup(2)
        os.dup2(1, 2)
        try:
            with contextlib.redirect_stderr(sys.stdout):
                yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def commands_of(block):
    """Return the commands of a block, each with what it says."""
    begun, *parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    assert not begun, "a block of a console begins with a command"
    return list(zip(parts[::2], parts[1::2], strict=True))


def is_said(told, said):
    """Tell whether a command said what a page tells; `...` stands for anything."""
    pattern = ".*?".join(map(re.escape, told.split("...")))
    return re.fullmatch(pattern, said, re.DOTALL) is not None
