"""Blocks of a page that show a command and what it says: run in their order, in one folder, and compared.

    ```console
    $ fakellm scrub cassettes --dry-run
    cassettes/chat.yaml: ...
    $ echo $?
    1
    ```

A line that begins with `$ ` is a command, what follows is what it says on both of its streams; `...` stands for
anything. `echo $?` tells the exit code of the command before it. A command is `fakellm`, run as a process, or `cat`
and `ls`, whose files are those of the folder: what blocks with `<!-- file: NAME -->` hold, and what commands wrote.
What a page calls http://127.0.0.1:8123 is a server of the test, whose providers repeat what they hear.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

from commands import COMMAND

_UPSTREAM = "127.0.0.1:8123"


class Console:
    """Runs commands in a folder. `upstream` is the URL of the server that the page calls 127.0.0.1:8123."""

    def __init__(self, folder, upstream, environment):
        self._folder = folder
        self._upstream = upstream.removeprefix("http://")
        self._environment = environment
        self._code = 0

    def said(self, command):
        """Return what a command says."""
        if command == "echo $?":
            return f"{self._code}\n"
        words = [word.replace(_UPSTREAM, self._upstream) for word in shlex.split(command)]
        words = [sys.executable if word == "python" else word for word in words]
        run = {"fakellm": [*COMMAND, *words[1:]], "cat": words, "ls": words}[words[0]]
        done = subprocess.run(
            run, cwd=self._folder, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        self._code = done.returncode
        return done.stdout.replace(self._upstream, _UPSTREAM)


def commands_of(block):
    """Return the commands of a block, each with what it says."""
    begun, *parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    assert not begun, "a block of a console begins with a command"
    return list(zip(parts[::2], parts[1::2], strict=True))


def is_said(told, said):
    """Tell whether a command said what a page tells; `...` stands for anything."""
    pattern = ".*?".join(map(re.escape, told.split("...")))
    return re.fullmatch(pattern, said, re.DOTALL) is not None
