"""The same loop prints the same song from whatever streams it: fakes, the adapter, LangChain over a tape and a fake.

The song was recorded from a real server. A model without native streaming says it in one chunk: the loop does not
notice.
"""

from __future__ import annotations

import json
import re
import warnings

import pytest
import yaml
from places import ROOT

pytest.importorskip("langchain_core", reason="the adapter is for langchain-core, which is not installed")

from fakellm import FakeLLM
from fakellm.cassette.redaction import Redactor
from fakellm.cassette.tape import Tape
from fakellm.http.interception import Interception
from fakellm.integrations.langchain.adapters import as_langchain_llm

TAPE = ROOT / "cassettes" / "sparkling_water.yaml"
LANGCHAINS_DEFAULTS = ["frequency_penalty", "logprobs", "n", "presence_penalty", "seed", "temperature", "top_p"]


def recorded_tokens():
    [interaction] = yaml.safe_load(TAPE.read_text())["interactions"]
    events = re.findall(r"^data: (\{.*)$", interaction["response"]["body"]["string"], re.MULTILINE)
    return [json.loads(event)["choices"][0]["text"] for event in events]


TOKENS = recorded_tokens()
SONG = "".join(TOKENS)


def openai_llm(**options):
    """Return LangChain's own client of the completions API."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, while it is imported
        langchain_openai = pytest.importorskip(
            "langchain_openai", reason="needs langchain-openai, which is not installed; .ci/run provides it"
        )
    return langchain_openai.OpenAI(api_key="none", model="tiny-llama", max_tokens=160, max_retries=0, **options)


def native(provider):
    return FakeLLM(*TOKENS)


def not_streaming(provider):
    return FakeLLM(*TOKENS, streaming=False)


def adapted(provider):
    return as_langchain_llm(FakeLLM(*TOKENS))


def adapted_not_streaming(provider):
    return as_langchain_llm(FakeLLM(*TOKENS, streaming=False))


def over_a_fake(provider):
    llm = openai_llm()
    provider.reply(*TOKENS)
    return llm


def over_a_tape(provider):
    llm = openai_llm(base_url="http://127.0.0.1:8123/v1")
    provider.play()
    return llm


@pytest.fixture
def provider(request):
    """Give a fake provider, or a tape in its place."""
    if "over_a_tape" not in request.node.callspec.id:
        yield request.getfixturevalue("fake_openai") if "over_a_fake" in request.node.callspec.id else None
        return
    from contextlib import ExitStack
    from types import SimpleNamespace

    with ExitStack() as stack:

        def play():
            tape = Tape(TAPE, mode="none", redactor=Redactor(environ={}), ignore=LANGCHAINS_DEFAULTS)
            stack.enter_context(tape.open())
            interception = Interception()
            interception.tape = tape
            stack.enter_context(interception.on())

        yield SimpleNamespace(play=play)


@pytest.mark.parametrize(
    "make",
    [native, not_streaming, adapted, adapted_not_streaming, over_a_tape, over_a_fake],
    ids=lambda make: make.__name__,
)
def test_everybody_prints_the_same_song(make, provider, capsys):
    llm = make(provider)
    count = 0
    for chunk in llm.stream("Write me a song about sparkling water."):
        print(chunk, end="", flush=True)  # noqa: T201 - this is the app
        count += 1

    assert capsys.readouterr().out == SONG
    assert (count == 1) == make.__name__.endswith("not_streaming")


def test_it_is_a_song():
    assert len(TOKENS) > 50
    assert "\n" in SONG
