"""Asks a fake with a client: `python ask.py CLIENT URL CASE...` prints a line of JSON for each case.

The line has what the app saw: text, calls, finish, usage, how many chunks there were, and the class and the message of
the error that ended it. The prompt names the case. A case that is not over in time hangs; the others are asked then.
"""

from __future__ import annotations

import json
import sys
import threading
import warnings
from importlib.metadata import version
from typing import Any

import chat_clients
import own_clients
from asking import CLIENTS, Client

PATIENCE, LOADING = 15.0, 300.0
"""Seconds until a case hangs; the first has more, since the client is imported in it."""
MARK = "overloaded_by_fakellm"
"""What errors in streams say, so that one that is handed on as a chunk is found in it."""
TABLES = (chat_clients, own_clients)
"""Whose import fills the table of clients."""


class Seen:
    """What an app has of a stream so far."""

    def __init__(self, case: str) -> None:
        self.case = case
        self.text: list[str] = []
        self.calls: dict[Any, list[str]] = {}
        self.finish: Any = None
        self.usage: list[Any] = [None, None]
        self.chunks = 0
        self.handed = False
        self.error: tuple[str, str] | None = None

    def add(self, chunk: Any, facts: Any) -> None:
        self.chunks += 1
        self.handed = self.handed or MARK in _shown(chunk)
        for kind, *what in facts:
            if kind == "text" and isinstance(what[0], str):
                self.text.append(what[0])
            elif kind == "call" and (what[1] or what[2]):
                call = self.calls.setdefault(what[0], ["", ""])
                call[0] += what[1] or ""
                call[1] += what[2] if isinstance(what[2], str) else json.dumps(what[2])
            elif kind == "finish" and what[0]:
                self.finish = str(getattr(what[0], "value", what[0]))
            elif kind == "error":
                self.handed = True
            elif kind == "usage":
                self.usage = [new if new is not None else old for new, old in zip(what, self.usage, strict=True)]

    def line(self, *, hangs: bool) -> str:
        usage = self.usage if self.usage != [None, None] else None
        found = {"case": self.case, "text": shortened("".join(self.text)), "calls": list(self.calls.values())}
        found |= {"finish": self.finish, "usage": usage, "chunks": self.chunks, "handed": self.handed}
        return json.dumps(found | {"error": "hangs" if hangs else self.error}, ensure_ascii=False)


def shortened(text: str) -> str:
    """Return a text as it is, or how it begins and how much more there is."""
    return text if len(text) <= 200 else f"{text[:40]} and {len(text) - 40} more"


def _shown(chunk: Any) -> str:
    dump = getattr(chunk, "model_dump", None)
    try:
        return f"{chunk!r} {dump() if dump else vars(chunk)}"
    except Exception:  # noqa: BLE001 - what cannot be shown in one way is shown in the other
        return repr(chunk)


def ask(made: Client, url: str, case: str, seen: Seen) -> None:
    """Ask, and note what comes."""
    try:
        for chunk in made.ask(url, f"case {case}."):
            seen.add(chunk, made.read(chunk))
    except Exception as error:  # noqa: BLE001 - whatever a client raises is what is asked for
        seen.error = (type(error).__name__, str(error)[:300])


def main(name: str, url: str, *cases: str) -> None:
    warnings.simplefilter("ignore")
    made = CLIENTS[name]
    print(json.dumps({"client": name, "version": version(made.package)}), flush=True)
    for number, case in enumerate(cases):
        seen = Seen(case)
        thread = threading.Thread(target=ask, args=(made, url, case, seen), daemon=True)
        thread.start()
        thread.join(PATIENCE if number else LOADING)
        print(seen.line(hangs=thread.is_alive()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
