"""One table of all providers: each is asked by its vendor's own SDK, unchanged, at once and in a loop, and held to the same.

`PYTHONPATH=tests/support python tests/provider/test_table.py` writes the table of docs/providers.md anew. What is peculiar
about a provider is tested in its own room; SDKs that are not installed are skipped (the group provider-sdks has all).
"""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib import import_module

import pytest
import sdks
from drivers import DRIVERS, REFUSED, Careful, IncompleteAnswer, streamed
from loopback import Loopback
from places import ROOT
from taping import stored, tape
from vectors import first_of

from fakellm import FakeProvider, Finish, Script, ToolCall, Usage, disconnect, http_error, provider_error
from fakellm.contracts import check_stream, every_fault
from fakellm.contracts.faults.ways import variants
from fakellm.http import dummy_keys, intercept, playing
from fakellm.server import Server

TALK = Script("Hel", "lo ", "you")
CALL = Script(ToolCall("f", '{"x":', id="f_1"), ToolCall(arguments="1}"))
ANSWER = Script.of("A long answer")
ENDS = {
    "whole": (Finish("tool_calls"), Usage(3, 4, 0)),
    "dropped": (disconnect(),),
    "an error": (provider_error("boom"),),
}


def rows():
    for driver in DRIVERS:
        for asynchronous in driver.flavours():
            marks = [pytest.mark.exhaustive] if asynchronous and False in driver.flavours() else []
            yield pytest.param(
                driver, asynchronous, id=f"{driver.name}-{'async' if asynchronous else 'sync'}", marks=marks
            )


pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
table = pytest.mark.parametrize(("driver", "asynchronous"), list(rows()))


@pytest.fixture(autouse=True)
def installed(request):
    """Skip where an SDK is not installed, or has no such API yet."""
    driver = request.node.callspec.params["driver"] if hasattr(request.node, "callspec") else None
    if driver is None:
        return
    pytest.importorskip(driver.module, reason=f"{driver.module} is in the group provider-sdks")
    if driver.name == "Gemini Interactions" and sdks.GENAI < 3:
        pytest.skip("the SDK has this form of interactions since version 3")


@pytest.fixture
def models(monkeypatch):
    """Let Google's SDK, which makes a model of pydantic's for each event that it reads, make it once for each type."""
    with suppress(ImportError):  # as the SDK does since version 3
        module = import_module("google.genai._gaos.utils.serializers")
        make = cache(
            lambda name, body, config, made=module.create_model: made(name, body=body, __config__=dict(config))
        )
        monkeypatch.setattr(
            module, "create_model", lambda name, body, __config__: make(name, body, (*__config__.items(),))
        )


def faked(driver, script, **options):
    """Return what the SDK makes of a script, and the state of its call."""
    fake = FakeProvider(driver.provider).strict_requests().reply(script)  # as it takes what the vendor's SDK sends
    with intercept(fake):
        found = streamed(driver, **options)
    (call,) = fake.calls
    assert call.json  # what was asked is there
    return found, call.state


def name_of(error):
    """Return the name of an exception as an app would write it: of the module that hands it out."""
    kind = type(error)
    if kind.__module__ == "botocore.errorfactory":  # which makes the classes for each client
        return f"client.exceptions.{kind.__name__}"
    if kind.__module__ == "builtins":
        return kind.__name__
    where = kind.__module__.split(".")
    names = [".".join(where[: size + 1]) for size in range(len(where))]
    module = next(name for name in names if getattr(import_module(name), kind.__name__, None) is kind)
    return f"{module}.{kind.__name__}"


@contextmanager
def served(driver, script):
    """Yield the base URL of a real socket that answers with the script."""
    fake = FakeProvider(driver.provider).reply(script)
    if driver.name == "Gemini Interactions":  # whose client leaves its connection open when it is closed
        with Loopback(fake) as server:
            yield server.url
    else:
        with Server([fake]) as server:
            yield server.base_url(driver.provider)


def recorded(driver, asynchronous, script, path):
    """Record a stream of a real server on a tape; return what the app had of it and the URL."""
    with served(driver, script) as url, dummy_keys(driver.provider), playing(tape(path)):
        return streamed(driver, asynchronous=asynchronous, url=url), url


def played(driver, asynchronous, kept, url):
    """Return what the app has of a tape, where no server is any more."""
    with dummy_keys(driver.provider), playing(kept):
        return streamed(driver, asynchronous=asynchronous, url=url)


# -- the cells -------------------------------------------------------------------------------------------------


@table
def test_faked_and_streamed(driver, asynchronous):
    found, state = faked(driver, TALK, asynchronous=asynchronous)

    assert (found.error, found.handed) == (None, None)
    assert found.texts == ["Hel", "lo ", "you"]
    assert found.end
    assert state == "complete"


@table
def test_a_tool_call_in_pieces(driver, asynchronous):
    if not driver.calls:
        pytest.skip("the API has no tool calls")
    found, state = faked(driver, CALL, asynchronous=asynchronous)

    assert found.error is None
    assert found.called == [("f", {"x": 1})]
    assert len([arguments for _, arguments in found.pieces if arguments]) == (1 if driver.whole else 2)
    assert found.end
    assert state == "complete"


@table
def test_an_error_before_the_answer(driver, asynchronous):
    found, state = faked(driver, http_error(429, "no"), asynchronous=asynchronous)

    if driver.before is None:
        assert (found.error, found.handed, found.texts) == (None, "no", [])
    else:
        assert (found.chunks, name_of(found.error)) == ([], driver.before)
        assert "no" in str(found.error)
    assert state == "complete"


@table
def test_an_error_in_the_stream(driver, asynchronous):
    found, state = faked(driver, Script("Hel", provider_error("boom")), asynchronous=asynchronous)

    assert found.texts == ["Hel"]
    assert found.end is None
    if driver.inside is None:
        assert (found.error, found.handed) == (None, "boom")
    else:
        assert name_of(found.error) == driver.inside
        assert "boom" in f"{found.error} {getattr(found.error, 'body', '')}"
    assert state == driver.left


@table
def test_a_drop_after_three_chunks(driver, asynchronous):
    found, state = faked(driver, Script("a", "b", "c", disconnect()), asynchronous=asynchronous)

    assert found.texts == ["a", "b", "c"]
    assert (found.end, name_of(found.error)) == (None, driver.drop(asynchronous=asynchronous))
    assert state == "failed"


@pytest.mark.parametrize("name", first_of(ENDS))
@table
def test_recorded_replayed_and_a_script(driver, asynchronous, name, tmp_path):
    path = tmp_path / "t.yaml"
    script = Script("Hel", "lo", ToolCall("f", id="f_1"), ToolCall(arguments='{"x": 1}'), *ENDS[name])
    first, url = recorded(driver, asynchronous, script, path)
    kept = tape(path, mode="none")
    again = played(driver, asynchronous, kept, url)

    assert first.texts == ["Hel", "lo"]
    assert again.chunks == first.chunks
    assert type(again.error) is type(first.error)
    last = kept.calls[-1].state
    whole = "closed" if driver.stops else "complete"
    assert last == {"whole": whole, "dropped": "failed"}.get(name, last)
    found = kept.script(driver.at)
    assert found.text == "Hello"
    if name == "whole" and not driver.calls:
        new, _ = faked(driver, found, asynchronous=asynchronous)
        assert (new.texts, new.end) == (first.texts, first.end)
    elif name == "whole":
        assert first.error is None
        assert [(call.name, call.args) for call in found.tool_calls] == [("f", {"x": 1})]
        assert first.called == [("f", {"x": 1})]
        assert found.finish_reason == "tool_calls" or driver.provider == "ollama"  # which has no word for it
        assert (found.usage.input_tokens, found.usage.output_tokens) == (3, 4)
        new, _ = faked(driver, found, asynchronous=asynchronous)
        assert (new.texts, new.called, new.end) == (first.texts, first.called, first.end)
    else:
        assert type(found.fault) is type(ENDS[name][0])


@pytest.mark.exhaustive
@table
def test_a_tape_that_drops_at_chunk_three(driver, asynchronous, tmp_path):
    first, url = recorded(driver, asynchronous, TALK, tmp_path / "t.yaml")
    assert stored(tmp_path / "t.yaml")[driver.at]["response"]["stream"]["end"] == (
        "cancelled" if driver.stops else "complete"
    )
    kept = tape(tmp_path / "t.yaml", mode="none").fail(disconnect(), after=3)
    found = played(driver, asynchronous, kept, url)

    assert found.chunks == first.chunks[: len(found.chunks)]
    assert 2 <= len(found.chunks) <= 3  # Anthropic's SDK hands no ping on
    assert name_of(found.error) == driver.drop(asynchronous=asynchronous)
    assert kept.calls[-1].state == "failed"


@pytest.mark.exhaustive
@pytest.mark.usefixtures("models")
@table
def test_what_the_sdk_takes_for_a_whole_answer(driver, asynchronous, caplog):
    caplog.set_level(logging.CRITICAL)  # Cohere's SDK tells at length what it leaves out
    fake, found = FakeProvider(driver.provider), set()
    with intercept(fake):
        for faulty in variants(ANSWER):
            fake.otherwise(faulty)
            if streamed(driver, asynchronous=asynchronous).error is None:
                found.add(faulty.label.partition(" after ")[0].partition(" before ")[0])
    if REFUSED in driver.accepted:
        statuses = {f"HTTP {status}" for status in (400, 401, 404, 408, 409, 429, 500, 529)}
        assert statuses < found
        found = {name for name in found if not name.startswith("HTTP")} | {REFUSED}

    assert found == {"clean end", *driver.accepted}


@pytest.mark.exhaustive
@pytest.mark.usefixtures("models")
@table
@every_fault(ANSWER)
def test_every_fault_reaches_a_careful_app(driver, asynchronous, faulty):
    fake, app = FakeProvider(driver.provider).otherwise(faulty), Careful(driver)
    with intercept(fake), pytest.raises(Exception) as caught:
        sdks.run(sdks.collect(app.astream("Hi"))) if asynchronous else list(app.stream("Hi"))
    assert is_told(caught.value) or name_of(caught.value) == driver.inside
    assert len(fake.calls) <= driver.tries


def is_told(error):
    """Tell an error that an app can expect, of the SDK, of HTTP or of JSON, from one that the SDK stumbles over."""
    made_by = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    known = {driver.module.partition(".")[0] for driver in DRIVERS} | {
        "httpx",
        "httpx2",
        "aiohttp",
        "botocore",
        "requests",
        "urllib3",
    }
    return isinstance(error, (IncompleteAnswer, OSError, json.JSONDecodeError)) or bool(made_by & known)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
def test_the_contracts_of_a_stream_are_checked(driver, caplog):
    caplog.set_level(logging.CRITICAL)
    report = check_stream(partial(Careful, driver), api=driver.provider)

    assert [verdict.contract.name for verdict in report.failed] == list(driver.unkept), str(report)
    passed = {verdict.contract.name for verdict in report.passed}
    assert passed >= {"truncation", "in_band_error", "producer_dies", "lazy", "crossed_streams"}
    assert "finish" in passed or not driver.calls
    assert "sync_async" in passed or not driver.is_awaited


# -- the table of the docs -----------------------------------------------------------------------------------------

PAGE = ROOT / "docs" / "providers.md"
BEGIN = "<!-- generated from tests/support/drivers.py by tests/provider/test_table.py -->\n"
END = "<!-- the end of what is generated -->"
HEAD = ("API", "asked by", "a tool call comes", "429 before the answer", "error in the stream", "dropped at chunk 3",
        "taken for a whole answer")  # fmt: skip


def lines():
    yield f"| {' | '.join(HEAD)} |"
    yield "|---" * len(HEAD) + "|"
    for driver in DRIVERS:
        awaited = "sync, async" if driver.is_awaited else "sync"
        once = f"`{driver.dropped[0]}`" + "".join(f", async `{name}`" for name in driver.dropped[1:])
        cells = (
            driver.name,
            f"`{driver.module}`: `{driver.method}`, {awaited}",
            "whole" if driver.whole else "in pieces" if driver.calls else "never",
            f"`{driver.before}`" if driver.before else "handed on as an answer",
            f"`{driver.inside}`" if driver.inside else "handed on as an event",
            once,
            ", ".join(["a clean end", *driver.accepted]),
        )
        yield f"| {' | '.join(cells)} |"


def page():
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return before + BEGIN + "\n" + "\n".join(lines()) + "\n\n" + END + rest.partition(END)[2]


@pytest.mark.skipif((sdks.OPENAI, sdks.ANTHROPIC, sdks.GENAI) < (3, 2, 3), reason="the page is on the newest SDKs")
def test_the_table_of_the_docs_is_what_was_tested():
    assert PAGE.read_text() == page(), "run: PYTHONPATH=tests/support python tests/provider/test_table.py"


if __name__ == "__main__":
    PAGE.write_text(page())
