"""docs/frameworks.md is what was measured, and each of its lines makes a fake say what the recording says."""

from __future__ import annotations

import ast
import json
import re
from types import SimpleNamespace

import pytest
from apart import modules_of
from places import ROOT
from servers import NAMES, events_of, recording
from vectors import each

from fakellm.provider.exchange import Timeouts

HERE = ROOT / "examples" / "frameworks_measured"


MODULES = ("judging", "lines", "measure", "page", "serving")
example = SimpleNamespace(**dict(zip(MODULES, modules_of(HERE, *MODULES), strict=True)))
RESULTS = example.page.results()
VERDICTS = example.judging.table(RESULTS)


def test_the_page_is_what_was_measured():
    assert example.page.PAGE.read_text() == example.page.page(), "run: python examples/frameworks_measured/page.py"


def test_the_results_are_as_they_are_written():
    assert example.measure.RESULTS.read_text() == example.measure.shown(RESULTS)


def test_every_framework_tells_of_an_error_that_the_server_sent():
    names = ("vllm-error-schema", "vllm-killed-engine", "llama-overflow-1")

    assert {tuple(cells[name]) for cells in VERDICTS.values() for name in names} == {("error",), ("-",)}


def test_each_framework_was_asked_each_recording_and_each_line():
    names = {*example.judging.SAID, *(f"{name}.line" for name in example.judging.SAID)}

    assert list(RESULTS) == list(example.page.reasons())
    assert {name: set(one["cells"]) for name, one in RESULTS.items()} == dict.fromkeys(RESULTS, names)


def test_what_is_not_plain_is_explained_and_nothing_else():
    explained = {
        (name, recording) for name, found in example.page.reasons().items() for one in found for recording in one["in"]
    }
    odd = {
        (name, recording)
        for name, cells in VERDICTS.items()
        for recording, cell in cells.items()
        if not example.judging.plain(cell)
    }

    assert explained == odd


def test_no_request_was_let_through():
    assert "BlockedError" not in json.dumps(RESULTS)
    assert "is not this machine" not in json.dumps(RESULTS)


@each("name", example.measure.FRAMEWORKS)
def test_a_driver_is_short_and_its_framework_pinned(name):
    group = example.measure.FRAMEWORKS[name]
    driver = HERE / "node" / f"{name}.mjs" if group == "node" else HERE / "python" / f"{name}.py"
    wanted = (HERE / "requirements" / ("package.json" if group == "node" else f"{group}.txt")).read_text()

    assert len(driver.read_text().splitlines()) <= 50
    for package, version in RESULTS[name]["versions"].items():
        assert f'"{package}": "{version}"' in wanted or f"\n{package}=={version}\n" in f"\n{wanted}"


# -- what the servers said ------------------------------------------------------------------------------------


def test_there_are_all_recordings_of_chat():
    recorded = [name for name in NAMES if recording(name).path == example.serving.PATH]

    assert sorted(example.judging.SAID) == sorted(example.lines.LINES) == recorded


def said(events):
    """Return what a stream says, as the page's truth has it: answer 0, all usages."""
    text, thought, calls, usages, ends = "", "", {}, [], {}
    for chunk in (data for _, data in events if isinstance(data, dict)):
        if chunk.get("usage"):
            usages.append((chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"]))
        for choice in (one for one in chunk.get("choices", ()) if one["index"] == 0):
            delta = choice["delta"]
            text += delta.get("content") or ""
            thought += delta.get("reasoning") or delta.get("reasoning_content") or ""
            ends[0] = choice["finish_reason"] or ends.get(0)
            for call in delta.get("tool_calls") or ():
                calls[call["index"]] = calls.get(call["index"], "") + (call["function"].get("arguments") or "")
    return text, thought, [json.loads(one) for one in calls.values()], usages[-1:], ends.get(0)


def check_said(events, meant):
    text, thought, calls, usages, end = said(events)
    broken = end is None
    assert bool(meant.broken) == broken
    if not broken:
        assert (text, thought, calls) == (meant.text, meant.thought, list(meant.calls))
        assert (end == "length") == meant.is_cut
        assert not meant.usages or usages[0] in meant.usages, (usages, meant.usages)


@each("name", example.judging.SAID)
def test_the_truth_of_the_page_is_on_the_tapes(name):
    check_said(recording(name).events, example.judging.SAID[name])


# -- the lines ------------------------------------------------------------------------------------------------


def written(name):
    """Return the events that a line makes a fake say to the recorded request, and how the body ends."""
    tape = recording(name)
    exchange = example.lines.LINES[name].handle("POST", tape.uri, {}, json.dumps(tape.asked).encode())
    played = list(exchange.body(Timeouts()))
    body = b"".join(piece for run in played if hasattr(run, "__next__") for piece in run)
    broken = [one for one in played if not hasattr(one, "__next__") and not isinstance(one, float)]
    return events_of(body), "dropped" if broken else "complete"


def kinds(events):
    """Return the kinds of chunks of a stream, each once: their fields, and which of those are empty."""
    return {kind(data) for _, data in events}


def kind(data):
    if isinstance(data, dict):
        return tuple(
            (key, kind(value))
            for key, value in sorted(data.items())
            if key not in ("usage", "timings", "prompt_progress")
        )
    if isinstance(data, list):
        return tuple(map(kind, data))
    return data if data in ("", "[DONE]", None, "assistant", "length", "tool_calls") else type(data).__name__


@each("name", example.judging.SAID)
def test_a_line_says_the_same_kinds_of_chunks_as_the_recording(name):
    tape = recording(name)
    events, end = written(name)
    check_said(events, example.judging.OF_LINES[name])

    assert end == tape.end
    assert kinds(events) == kinds(tape.events)


def test_a_line_gets_the_same_verdict_as_the_recording():
    lines = example.judging.table(RESULTS, example.judging.OF_LINES, ".line")

    assert lines == VERDICTS


def test_the_page_shows_all_lines():
    (shown,) = re.findall(r"```python\n(.*?)```", example.page.PAGE.read_text(), re.DOTALL)

    ast.parse(shown)
    assert shown.strip() == (HERE / "lines.py").read_text().strip()


# -- the server that was asked --------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_who_is_named_as_the_model_answers():
    import httpx

    with example.serving.served() as server, httpx.Client(trust_env=False) as client:

        def asked(model, role="user"):
            messages = [{"role": role, "content": "?", "tool_call_id": "x"}]
            body = {"model": model, "messages": messages, "stream": True}
            return client.post(f"{server.base_url('openai')}/chat/completions", json=body).text

        assert asked("mlx-tools-parallel").encode() == recording("mlx-tools-parallel").body
        assert '"content": "one"' in asked("mlx-chat-usage.line")
        assert "It rains." in asked("mlx-tools-parallel", role="tool")
        found = example.serving.requests(server, "mlx-tools-parallel")
    assert found == {"first": 1, "results": 1}
