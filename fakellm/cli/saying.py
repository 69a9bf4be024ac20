"""What the command says of itself: for people on standard error, for machines a line of JSON each."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fakellm.cli.config import Serving
from fakellm.cli.seen import Seen


class Voice:
    """Says what happens. JSON goes to standard output, but where that is another command's, to standard error.

    People are told where the server is, by a line; the base URLs only at a terminal; and nothing at all while a
    command of theirs runs, except what went wrong.
    """

    def __init__(self, serving: Serving, *, has_command: bool) -> None:
        self._serving = serving
        self._has_command = has_command
        self._is_json = serving.json

    def ready(self, url: str, base_urls: Mapping[str, str], *, pid: int, workers: Sequence[int] = ()) -> None:
        """Say that requests are taken."""
        if self._is_json:
            self._event(
                "ready", url=url, pid=pid, base_urls=dict(base_urls), **({"workers": workers} if workers else {})
            )
        elif not self._has_command:
            self._line(f"fakellm serves on {url}" + (f" with {len(workers)} workers" if workers else ""))
            if sys.stderr.isatty():
                width = max(map(len, base_urls), default=0)
                for name, base_url in base_urls.items():
                    self._line(f"  {name:<{width}}  {base_url}")
        if self._serving.is_public:
            self.warn(f"it listens on {self._serving.host}: whoever reaches this machine is answered, without a key")

    def warn(self, text: str) -> None:
        """Say what people should know."""
        if self._is_json:
            self._event("warning", text=text)
        else:
            self._line(f"fakellm: warning: {text}")

    def note(self, text: str) -> None:
        """Say what happened."""
        if self._is_json:
            self._event("note", text=text)
        else:
            self._line(f"fakellm: {text}")

    def restarted(self, was: int, pid: int, how: str) -> None:
        """Say that a worker that died was started again."""
        if self._is_json:
            self._event("worker", was=was, pid=pid, how=how)
        else:
            self._line(f"fakellm: worker {was} {how}; {pid} takes its place")

    def stopped(self, seen: Seen, *, is_whole: bool) -> None:
        """Say what was seen, at the end."""
        if not is_whole:
            self.warn("what was still played was broken off")
        if self._is_json:
            self._event("stopped", **seen.plain())
        elif (self._has_command and not seen.is_clean) or seen.missed:
            self._line(f"fakellm: {seen.worded()}")
        elif not self._has_command:
            self._line(f"fakellm: answered {seen.calls} requests")

    def told(self, event: str, text: str, **fields: Any) -> None:
        """Say what came of it: to people a text, if there is one, to machines an event with its fields."""
        if self._is_json:
            self._event(event, **fields)
        elif text:
            self._line(text)

    def _event(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, **fields})
        if self._has_command:
            self._line(line)
        else:
            print(line, flush=True)

    def _line(self, text: str) -> None:
        """Write a line to standard error; where that takes none, there is nowhere to tell it, and the work goes on."""
        try:
            print(text, file=sys.stderr, flush=True)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
