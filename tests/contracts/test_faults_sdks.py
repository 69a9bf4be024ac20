"""Sweeps of faults through the real SDKs: what they take for a whole answer, and what an app has to do about it."""

from __future__ import annotations

from functools import partial

import anthropic
import openai
import pytest
import sdks
from google import genai
from vectors import first_of

from fakellm import FakeProvider, Script, disconnect, provider_error
from fakellm.cassette.scripted import interaction_of, write
from fakellm.cassette.tape import Tape
from fakellm.contracts.faults.checks import check_faults
from fakellm.contracts.faults.sweep import every_fault
from fakellm.contracts.faults.ways import variants
from fakellm.errors import BrokenContractError, ContractUsageError
from fakellm.http.interception import intercept

ANSWER = Script.of("A long answer")
ASKED = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
ERRORS = (openai.APIError, anthropic.APIError, *(sdks.http_of(name).HTTPError for name in ("openai", "anthropic")))


class IncompleteAnswer(Exception):
    pass


# -- apps: a naive one joins what comes, a careful one looks for the end ----------------------------------


def chat(client):
    seen, reason = "", None
    for chunk in client.chat.completions.create(**ASKED, stream=True):
        for choice in chunk.choices:
            seen += choice.delta.content or ""
            reason = choice.finish_reason or reason
    return seen, reason


def responses(client):
    seen, end = "", None
    for event in client.responses.create(model="m", input="?", stream=True):
        seen += event.delta if event.type == "response.output_text.delta" else ""
        end = event.type if event.type == "response.completed" else end
    return seen, end


def messages(client):
    seen, end = "", None
    for event in client.messages.create(**ASKED, max_tokens=9, stream=True):
        seen += event.delta.text if event.type == "content_block_delta" else ""
        end = event.type if event.type == "message_stop" else end
    return seen, end


def contents(client):
    seen, reason = "", None
    for chunk in client.models.generate_content_stream(model="m", contents="?"):
        seen += chunk.text or ""
        reason = (chunk.candidates and chunk.candidates[0].finish_reason) or reason
    return seen, reason


def naive(read, client):
    return read(client)[0]


def careful(read, client):
    seen, end = read(client)
    if end is None:
        raise IncompleteAnswer
    return seen


APPS = {
    "openai": (chat, lambda: openai.OpenAI(api_key="none", max_retries=0)),
    "openai.responses": (responses, lambda: openai.OpenAI(api_key="none", max_retries=0)),
    "anthropic": (messages, lambda: anthropic.Anthropic(api_key="none", max_retries=0)),
    "gemini": (contents, lambda: genai.Client(api_key="none")),
}
END, CUT, BROKEN = "clean end", "cut inside the next event", "broken JSON"
ACCEPTED = {
    "openai": {END, CUT},
    "openai.responses": {END, CUT, "error as a named event"},
    "anthropic": {END, CUT, BROKEN},
    "gemini": {END},
}
"""What each SDK hands on as if it were a whole answer."""


@pytest.fixture(params=first_of(APPS))
def name(request):
    return request.param


@pytest.fixture
def asking(name):
    """Return a function that runs an app, made of its SDK's own client, on a script."""
    read, make = APPS[name]
    provider = FakeProvider(name.partition(".")[0])
    client = make()

    def run(app, faulty):
        provider.otherwise(faulty)
        return app(read, client)

    with intercept(provider):
        yield run


def accepted(run):
    """Return the ways to break that an app takes for the end of the answer."""
    found = set()
    for faulty in variants(ANSWER):
        try:
            run(faulty)
        except Exception:
            continue
        found.add(faulty.label.partition(" after ")[0].partition(" before ")[0])
    return found


def test_what_the_sdks_take_for_a_whole_answer(name, asking):
    assert accepted(partial(asking, naive)) == ACCEPTED[name]


@pytest.mark.exhaustive
def test_a_naive_app_is_caught(name, asking):
    report = check_faults(partial(asking, naive), ANSWER)

    assert report["truncation"].status == "failed"
    assert "clean end before the first chunk" in report["truncation"].detail
    assert report["producer_dies"].status == "passed"
    in_band = "failed" if "error as a named event" in ACCEPTED[name] else "passed"
    assert report["in_band_error"].status == in_band


@pytest.mark.exhaustive
def test_a_careful_app_passes(asking):
    report = check_faults(partial(asking, careful), ANSWER)

    report.verify()
    assert len(report.passed) == 3


@every_fault(ANSWER)
def test_a_fixture_and_a_swept_test(fake_openai, faulty):
    fake_openai.reply(faulty)
    with pytest.raises((*ERRORS, IncompleteAnswer, ValueError)):
        careful(chat, openai.OpenAI(max_retries=0))
    assert len(fake_openai.calls) == 1


@pytest.mark.exhaustive
@every_fault(ANSWER, kinds=["disconnect", "provider_error"])
async def test_an_asynchronous_app(fake_openai, faulty):
    fake_openai.otherwise(faulty)
    seen, reason = "", None
    with pytest.raises((*ERRORS, IncompleteAnswer)):
        async with openai.AsyncOpenAI(max_retries=0) as client:
            async for chunk in await client.chat.completions.create(**ASKED, stream=True):
                seen += chunk.choices[0].delta.content or ""
                reason = chunk.choices[0].finish_reason or reason
        if reason is None:
            raise IncompleteAnswer


def test_an_app_that_retries_recovers():
    """The SDK asks again after an error status; `retry_after` keeps that from taking real time."""

    def run(faulty):
        provider = FakeProvider("openai").reply(faulty).otherwise(ANSWER)
        with intercept(provider):
            return careful(chat, openai.OpenAI(api_key="none", max_retries=1))

    again = [f for f in variants(ANSWER, "http_error") if f.fault.retry_after]
    assert [run(faulty) for faulty in again] == ["A long answer"]


# -- tapes ------------------------------------------------------------------------------------------------

URL = "https://api.openai.com/v1/chat/completions"


@pytest.fixture
def tape(tmp_path):
    write(tmp_path / "chat.yaml", interaction_of(ANSWER, URL, {**ASKED, "stream": True}))
    return Tape(tmp_path / "chat.yaml", mode="none")


def on_tape(app, faulty):
    client = openai.OpenAI(api_key="none", max_retries=0)
    with faulty.playing():
        return app(chat, client)


@pytest.mark.exhaustive
def test_a_tape_dies_at_every_chunk(tape):
    report = check_faults(partial(on_tape, naive), tape)

    assert [v.contract.name for v in report.failed] == ["truncation"]
    assert "clean end before the first chunk of chat.yaml" in report["truncation"].detail
    report = check_faults(partial(on_tape, careful), tape)
    assert not report.failed
    assert report.subject.endswith(
        "40 faults"
    )  # at most 4 chunks come before the one with the finish reason: 5 places, 8 ways


@pytest.mark.exhaustive
def test_a_test_on_a_tape(tape):
    @every_fault(tape, kinds="disconnect")
    def test_app(faulty):
        with pytest.raises((*ERRORS, IncompleteAnswer)):
            on_tape(careful, faulty)

    test_app()

    @every_fault(tape)
    def test_naive(faulty):
        with pytest.raises(Exception):
            on_tape(naive, faulty)

    with pytest.raises(BrokenContractError, match="only=.0, disconnect.how='end'") as caught:
        test_naive()
    assert "<clean end before the first chunk of chat.yaml>" in str(caught.value)


@pytest.mark.exhaustive
def test_one_fault_of_a_tape(tape):
    report = check_faults(partial(on_tape, naive), tape, only=(2, disconnect("cut")))

    assert "cut inside the next event after chunk 2 of chat.yaml" in report["truncation"].detail
    assert not check_faults(partial(on_tape, naive), tape, only=(2, provider_error())).failed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": "http_error"}, "a tape has the faults disconnect, provider_error, malformed, stall, and kinds"),
        ({"only": (99, disconnect())}, "which can die after 0 to "),
    ],
)
def test_what_a_tape_cannot_do_is_refused(tape, options, message):
    with pytest.raises(ContractUsageError, match=message):
        check_faults(partial(on_tape, naive), tape, **options)
