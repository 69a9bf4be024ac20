"""What the gateways are measured with: each stream is asked for by its name, as the model."""

from fakellm import FakeProvider, Pause, Script, disconnect, http_error, provider_error, stall

STEP = 0.15
"""Seconds between two pieces: sums of it are no multiples of 0.2, or who comes first would be chance."""


def paced(*texts, seconds=STEP):
    """Return texts with a silence behind each."""
    return [part for text in texts for part in (text, Pause(seconds))]


WORDS = [f"word{at} " for at in range(6)]
STREAMS = {
    "whole": Script(*paced(*WORDS)),
    "whole, x-accel-buffering: no": Script(*paced(*WORDS)),
    "long": Script(*paced(*(f"{at:03} ".ljust(300, "x") for at in range(30)), seconds=0.06)),
    "late": Script(Pause(0.5), *paced(*WORDS[:3])),
    "closed": Script(*paced(*WORDS[:3]), disconnect("close")),
    "closed at once": Script(Pause(0.1), disconnect("close")),
    "reset": Script(*paced(*WORDS[:3]), disconnect("reset")),
    "ended": Script(*paced(*WORDS[:3]), disconnect("end")),
    "halved": Script(*paced(*WORDS[:3]), disconnect("cut")),
    "error": Script(*paced(*WORDS[:3]), provider_error("busy")),
    "nothing": Script(disconnect("end")),
    "silent": Script(*paced(*WORDS[:2], seconds=0.4), stall()),
    "no headers": Script(stall("headers")),
    "no answer": Script(disconnect("no_response")),
    "refused": Script(disconnect("refused")),
    "HTTP 429": Script(http_error(429, "too many", retry_after=7)),
    "a document": Script("Hello"),
    "a document, closed": Script("A text of which half is lost", disconnect("close")),
}
HEADERS = {"whole, x-accel-buffering: no": {"x-accel-buffering": "no"}}
DOCUMENTS = ("a document", "a document, closed")


def provider():
    """Return the provider that says them."""
    fake = FakeProvider("openai")
    for name, script in STREAMS.items():
        fake.when(None, script, model=name, headers=HEADERS.get(name))
    return fake


providers = [provider()]
