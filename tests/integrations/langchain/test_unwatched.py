"""A call that nobody watches takes a short way, and nothing that it gives is other than by LangChain's own."""

from __future__ import annotations

import runpy
import sys
from uuid import UUID

import pytest
from hypothesis import given, settings
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import RunnableLambda
from strategies import small_scripts
from vectors import each

from fakellm import FakeChatModel, Finish, Reasoning, Script, ToolCall, Usage, disconnect
from fakellm.errors import LLMError
from fakellm.integrations.langchain import as_langchain_chat_model, unwatched
from fakellm.integrations.langchain.unwatched import LC_ID_PREFIX

pytestmark = pytest.mark.skipif(not LC_ID_PREFIX, reason="before langchain-core 1.1.2 every call goes LangChain's way")

RUN = UUID(int=7)


class Watcher(BaseCallbackHandler):
    """Somebody who watches, and does nothing else."""


def outcome(call):
    """Return what a call gives, or the error that it ends with and what came before it."""
    got = []
    try:
        found = call()
        for item in found if not isinstance(found, AIMessage) else [found]:
            got.append(item)
    except (LLMError, ValueError, NotImplementedError) as error:
        got.append((type(error), str(error)))
    return got


def both(call, script, **fields):
    """Return what a call gives by the short way and by LangChain's own, and what the fake saw of each."""
    found = []
    for callbacks in ([], [Watcher()]):
        fake = FakeChatModel(script)
        model = as_langchain_chat_model(fake, **fields)
        config = {"run_id": RUN, "callbacks": callbacks}
        got = outcome(lambda: call(model, config))  # noqa: B023 - called at once
        logged = [(c.method, c.input, c.kwargs, c.state, c.chunks) for c in fake.calls]
        found.append((got, logged))
    return found


CALLS = {
    "invoke": lambda model, config: model.invoke("q", config),
    "invoke, of another model": lambda model, config: model.invoke("q", config, model="other", stop=["x"]),
    "invoke, messages": lambda model, config: model.invoke([SystemMessage("s"), HumanMessage("q")], config),
    "invoke, content in parts": lambda model, config: model.invoke(
        [HumanMessage([{"type": "text", "text": "q"}])], config
    ),
    "invoke, streaming": lambda model, config: model.invoke("q", config, stream=True),
    "invoke, no prompt": lambda model, config: model.invoke(7, config),
    "stream": lambda model, config: model.stream("q", config, stop=["x"]),
    "stream, not": lambda model, config: model.stream("q", config, stream=False),
    "batch": lambda model, config: model.batch(["q"], config),
    "batch of two": lambda model, config: model.batch(
        ["q", "r"], [config, {**config, "run_id": UUID(int=8)}], stop=["x"], return_exceptions=True
    ),
    "batch with what is no prompt": lambda model, config: model.batch(
        ["q", 7], [config, {**config, "run_id": UUID(int=8)}], return_exceptions=True
    ),
    "batch with what is no message": lambda model, config: model.batch(
        ["q", [("user", "r", "s")]], [config, {**config, "run_id": UUID(int=8)}], return_exceptions=True
    ),
}
SCRIPTS = {
    "text": Script("a", " ", "b"),
    "much": Script(
        Reasoning("hm"),
        "a",
        Usage(1, 2),
        ToolCall("f", '{"x": 1}', id="call_1"),
        ToolCall("g", "{"),
        Finish("tool_calls"),
    ),
    "broken": Script("a", Usage(1, 2), disconnect()),
}


def shown(outcome):
    """Return outcomes so that exceptions and messages compare, and which fields of a message were set."""
    got, logged = outcome
    return [(repr(item), getattr(item, "model_fields_set", None)) for item in got], logged


@each("call, script", [(call, script) for call in CALLS for script in SCRIPTS])
def test_it_gives_what_langchains_way_gives(call, script):
    short, long = both(CALLS[call], SCRIPTS[script])
    if "batch" in call:  # which of the two comes to ask first is for the threads to say
        short, long = ((got, sorted(logged, key=repr)) for got, logged in (short, long))
    assert shown(short) == shown(long)


@settings(max_examples=max(10, settings.default.max_examples // 3))
@given(small_scripts)
def test_any_stream_is_the_same(script):
    if script.fault is None and not script.chunks:
        return
    short, long = both(CALLS["stream"], script)
    assert shown(short) == shown(long)


def test_who_watches_from_anywhere_sees_the_call():
    seen = []

    class Seeing(BaseCallbackHandler):
        def on_chat_model_start(self, *_, **__):
            seen.append("start")

        def on_llm_end(self, *_, **__):
            seen.append("end")

    fake = FakeChatModel("a")
    as_langchain_chat_model(fake, callbacks=[Seeing()]).invoke("q")
    RunnableLambda(lambda q: as_langchain_chat_model(fake).invoke(q)).invoke("q", {"callbacks": [Seeing()]})
    as_langchain_chat_model(fake).batch(["q", "r"], {"callbacks": [Seeing()]})
    assert sorted(seen) == ["end"] * 4 + ["start"] * 4


def test_what_does_more_than_answer_goes_langchains_way():
    fake = FakeChatModel.replies("a", "b")
    model = as_langchain_chat_model(fake)
    set_llm_cache(InMemoryCache())
    try:
        assert model.invoke("q").content == model.invoke("q").content == "a"
    finally:
        set_llm_cache(None)
    assert model.invoke("q").content == "b"
    asked = []

    class Limiter(InMemoryRateLimiter):
        def acquire(self, *, blocking=True):
            asked.append(blocking)
            return True

    limited = as_langchain_chat_model(FakeChatModel("a"), rate_limiter=Limiter())
    limited.invoke("q")
    [*limited.stream("q")]
    assert asked == [True, True]


def test_a_stream_that_is_left_closes_the_fake():
    fake = FakeChatModel("a", "b")
    stream = as_langchain_chat_model(fake).stream("q")
    next(stream)
    stream.close()
    assert fake.calls[0].closed


def test_a_release_that_makes_ids_otherwise_is_asked_its_own_way(monkeypatch):
    monkeypatch.setitem(sys.modules, "langchain_core.utils.uuid", None)  # as in 1.0, which has the prefix alone
    older = runpy.run_path(unwatched.__file__)
    assert older["short_way"](as_langchain_chat_model(FakeChatModel("a")), "q", None, {}) is None
