"""What the fakes say to the clients of node: an answer, a call of a tool, and every fault. Prompts name the case."""

import os

from fakellm import FakeProvider, ToolCall, Usage, disconnect, http_error, provider_error, stall
from fakellm.wire import provider_names

CASES = {
    "text": ["Hel", "lo ", "wörld", Usage(7, 3)],
    "tools": [ToolCall("get_weather", '{"city": "Paris"}', id="call_1"), Usage(9, 4)],
    "limited": [http_error(429, "slow down")],
    "unknown": [http_error(401, "no such key")],
    "error": ["Hel", provider_error("it is too much", "overloaded_error")],
    "reset": ["Hel", disconnect()],
    "close": ["Hel", disconnect("close")],
    "end": ["Hel", disconnect("end")],
    "gone": [disconnect("no_response")],
    "silent": [stall("headers")],
    "stall": ["Hel", stall()],
}


def providers():
    """Return a fake of each provider, or of the one that the environment names, that knows all cases."""
    fakes = [FakeProvider(name) for name in os.environ.get("FAKES", "").split() or provider_names()]
    for fake in fakes:
        for case, parts in CASES.items():
            fake.when(f"case {case}.", *parts)
    return fakes
