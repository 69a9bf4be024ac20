"""What an app is given of a recording, held against what the server said: the verdicts of docs/frameworks.md."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

PARIS, ROME, OSLO = ({"city": city} for city in ("Paris", "Rome", "Oslo"))
CUT = re.compile(r"maximum token|token limit|finish_reason='length'", re.IGNORECASE)
"""What an error says that is about `max_tokens`."""
RESULT = "It rains."
"""What the model says once it was told what the tools returned."""
COST = (1000, 100)
"""What that takes, as its usage says."""


class Said(NamedTuple):
    """What a server said: the text of answer 0, the calls, the end, the tokens. `broken` is how it broke off."""

    text: str | None = ""
    calls: tuple[dict[str, str], ...] = ()
    is_cut: bool = False
    usages: tuple[tuple[int, int], ...] = ()
    thought: str = ""
    broken: str = ""


SAID = {
    "vllm-tools-parallel": Said(calls=(PARIS, ROME)),
    "vllm-forced-usage-reasoning-tools": Said(
        "\n\n", (OSLO,), usages=((137, 37),), thought="\nI cannot see Oslo, so I ask.\n"
    ),
    "vllm-chat-n2": Said("ü\ufffd four, two, seven", is_cut=True, usages=((17, 12),)),
    "vllm-keepalive-start": Said('one hasqu ¡Hola! Grüß {"{_time",', is_cut=True, usages=((32, 12),)),
    "vllm-error-schema": Said(broken="an error as the first event"),
    "vllm-killed-engine": Said(broken="an error in the midst"),
    "llama-tools-n2": Said(calls=(PARIS, ROME), usages=((139, 44), (278, 88))),
    "llama-progress-ping": Said(is_cut=True, usages=((12112, 3),), thought="Two"),
    "llama-overflow-1": Said(broken="an error in the midst"),
    "mlx-chat-usage": Said("one, two, three, four,", is_cut=True, usages=((17, 8),)),
    "mlx-tools-parallel": Said("\n", (PARIS, ROME)),
    "lcp-tools-named": Said(calls=({"city": "get_weather "},)),
    "lcp-interrupted": Said(broken="no finish reason, and the connection drops"),
    "lcp-error-long": Said(broken="an empty event stream"),
}
"""In the order of the page."""
OF_LINES = SAID | {
    "vllm-forced-usage-reasoning-tools": Said("\n", (OSLO,), usages=((137, 37),), thought="I cannot see Oslo."),
    "vllm-chat-n2": Said("four two", is_cut=True, usages=((17, 12),)),
    "vllm-keepalive-start": Said("one two", is_cut=True, usages=((32, 12),)),
    "mlx-chat-usage": Said("one two", is_cut=True, usages=((17, 8),)),
    "lcp-tools-named": Said(calls=(PARIS,)),
    "llama-tools-n2": Said(calls=(PARIS, ROME), usages=((139, 4), (278, 8), (139, 8), (278, 16))),
    "llama-progress-ping": Said(is_cut=True, usages=((139, 3),), thought="Two"),
}
"""What the lines of `lines.py` make a fake say in their place."""
WORDS = {
    "ok": "as the server said it",
    "error": "the stream broke, and the app gets an error",
    "whole": "**the stream broke, and nothing tells the app**",
    "no reason": "the stream broke; all that tells it is the finish reason, which is missing",
    "made-up end": "**the stream broke, and the app is given a reason that no server sent**",
    "by index": "the pieces of two answers, which an index tells apart",
    "mixed": "the pieces of two answers in one text",
    "no run": "**a tool that was called is not run**",
    "runs twice": "**a tool is run more often than it was called**",
    "wrong arguments": "**a tool is run with other arguments**",
    "raises": "an error although the answer is whole",
    "asks on": "asks the model again and again",
    "cut is an error": "that `max_tokens` cut the answer comes as an error",
    "cut untold": "nothing tells the app that `max_tokens` cut the answer",
    "added up": "**counts of tokens so far are added up**",
    "made-up usage": "no server said how many tokens, and the app is told a number",
    "no usage": "the app is not told the tokens that the server counted",
    "thought lost": "the app is not given the text of the reasoning",
    "thought as text": "the reasoning comes as text of the answer",
    "hangs": "**no end within 60 seconds**",
    "-": "not asked: the framework has objects, no text",
}
"""The verdicts, in the order in which a cell names them."""


def verdicts(cell: dict[str, Any], said: Said, *, tells_end: bool, has_text: bool = True) -> list[str]:
    """Return what is to be said of a cell; `tells_end` is whether this framework gives finish reasons at all."""
    if cell["hangs"]:
        return ["hangs"]
    if not has_text and not said.calls and said.broken not in ("an empty event stream", "an error as the first event"):
        return ["-"]
    if said.broken:
        return [_of_broken(cell, tells_end=tells_end), *({"asks on"} & _of_calls(cell, said))]
    found = {
        *_of_calls(cell, said),
        *_of_end(cell, said),
        *_of_text(cell, said, has_text=has_text),
        *_of_usage(cell, said),
    }
    return [word for word in WORDS if word in found] or ["ok"]


def _of_broken(cell: dict[str, Any], *, tells_end: bool) -> str:
    if cell["error"]:
        return "error"
    if cell["finish"]:
        return "made-up end"
    return "no reason" if tells_end else "whole"


def _of_calls(cell: dict[str, Any], said: Said) -> set[str]:
    runs = [arguments for name, arguments in cell["runs"] if name == "get_weather"]
    rounds = sum(count for kind, count in cell["asked"].items() if kind.startswith("first, usage") or kind == "first")
    found = {"asks on"} if rounds > 1 else set()
    if len(runs) < len(said.calls):
        return found | {"no run"}
    if len(runs) > len(said.calls):
        return found | {"runs twice"}
    unlike = sorted(map(repr, runs)) != sorted(map(repr, said.calls))
    return found | ({"wrong arguments"} if unlike else set())


def _of_end(cell: dict[str, Any], said: Said) -> set[str]:
    if not said.is_cut:
        return {"raises"} if cell["error"] else set()
    if cell["error"]:
        return {"cut is an error" if CUT.search(cell["error"]) else "raises"}
    told = str(cell["finish"]).lower()
    return set() if "length" in told or "max_tokens" in told else {"cut untold"}


def _of_text(cell: dict[str, Any], said: Said, *, has_text: bool) -> set[str]:
    text = cell["text"].removesuffix(RESULT)
    if said.thought and said.thought in text:
        return {"thought as text"}
    if cell.get("others") and text == said.text:
        return {"by index"}
    found = {"thought lost"} if said.thought and said.thought not in cell["reasoning"] else set()
    is_cut_short = cell["error"] and said.text.startswith(text)
    return found | ({"mixed"} if has_text and text != said.text and not is_cut_short else set())


def _of_usage(cell: dict[str, Any], said: Said) -> set[str]:
    if cell["error"]:
        return set()  # the app has no answer that it would count
    rounds = sum(n for kind, n in cell["asked"].items() if kind.startswith("results") and kind != "results")
    came, went = cell["usage"] or (0, 0)
    of_first = ((came or 0) - COST[0] * rounds, (went or 0) - COST[1] * rounds)
    if not said.usages:
        return set() if of_first[0] <= 0 else {"made-up usage"}
    asked = sum(n for kind, n in cell["asked"].items() if kind in ("first", "first, usage"))
    if of_first in {(came * asked, went * asked) for came, went in said.usages}:
        return set()
    return {"no usage"} if of_first[0] <= 0 else {"added up"}


def plain(found: list[str]) -> bool:
    """Tell whether a cell needs no word of explanation."""
    return found in (["ok"], ["error"], ["-"])


def table(results: dict[str, Any], said: dict[str, Said] = SAID, ending: str = "") -> dict[str, dict[str, list[str]]]:
    """Return the verdicts of all results, on recordings or, with the lines' ending, on those."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, one in results.items():
        ends = [str(one["cells"][which].get("finish")).lower() for which in ("mlx-chat-usage", "mlx-tools-parallel")]
        options = {
            "tells_end": ends[0] in ("length", "max_tokens") and ends[1] != "none",
            "has_text": name != "instructor",
        }
        cells = one["cells"]
        found[name] = {recording: verdicts(cells[recording + ending], said[recording], **options) for recording in said}
    return found
