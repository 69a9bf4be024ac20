"""A Runnable shows what it is made of, as one would write it."""

from __future__ import annotations

import re
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import scripts
from vectors import each

import fakellm
from fakellm import FakeChatModel, FakeLLM, Pause, Runnable, Script, Usage
from fakellm import runnable as runnables
from fakellm.clock import InstantClock, RealClock, ScaledClock, VirtualClock
from fakellm.models import replies
from fakellm.models.replies import Replies, Reply
from fakellm.runnable import (
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnableSequence,
    RunnableWithFallbacks,
    shown,
    wrappers,
)


class Shout(Runnable):
    def invoke(self, input, config=None, **kwargs):
        return input.upper()


class Shy(Shout):
    def __repr__(self):
        return "shh"


class Callback:
    def __call__(self, event):
        pass


def shout(text):
    return text.upper()


async def ashout(text):
    return text.upper()


def shouts(chunks):
    for chunk in chunks:
        yield chunk.upper()


async def ashouts(chunks):
    async for chunk in chunks:
        yield chunk.upper()


FUNCTIONS = {function.__name__: function for function in (shout, ashout, shouts, ashouts, len, str)}
NAMES = {
    **{name: getattr(fakellm, name) for name in fakellm.__all__},
    **{name: getattr(runnables, name) for name in runnables.__all__},
    **FUNCTIONS,
    "RealClock": RealClock,
    "ScaledClock": ScaledClock,
    "Shout": Shout,
    "partial": partial,
    "re": re,
}

WRITTEN = [
    "FakeLLM('a') | len",
    "len | FakeLLM('a')",
    "int | FakeLLM('a')",
    "FakeLLM('a', 'b') | shout | Shout() | str.upper",
    "RunnableLambda(len) | str",
    "RunnableLambda(shout)",
    "RunnableLambda(shout, ashout)",
    "RunnableLambda(shout, name='other') | str",
    "RunnableLambda(shouts)",
    "FakeLLM('a') | RunnableLambda(shouts)",
    "FakeLLM('a') | shouts",
    "RunnableGenerator(shouts)",
    "RunnableGenerator(shouts, ashouts)",
    "RunnableGenerator(ashouts, name='other')",
    "RunnableParallel({'a': FakeLLM('x'), 'b': len})",
    "FakeLLM('a') | {'a': FakeLLM('x') | len, 'b': {'c': shouts}}",
    "{'a': len} | FakeLLM('x')",
    "RunnableParallel({'a': len}) | {'b': len}",
    "RunnableSequence(len, FakeLLM('a'), name='mine')",
    "RunnableSequence(len, FakeLLM('a'), name='mine').bind(x=1)",
    "FakeLLM('a').bind(tools=[shout, len], x={'y': (1,), 'z': (1, 2), 'w': ()})",
    "FakeLLM('a').bind()",
    "FakeLLM('a').bind(**{'a-b': 1, 'class': 2})",
    "FakeLLM('a').bind(x=1, **{'a-b': 1})",
    "(FakeLLM('a') | len).bind(x=1)",
    "FakeLLM('a') | RunnableLambda(len).bind(x=1)",
    "FakeLLM('a').with_config({'tags': ['a']})",
    "FakeLLM('a').bind(x=1).with_config({'tags': ['a'], 'k': None})",
    "(FakeLLM('a') | len).with_retry()",
    "FakeLLM('a').bind(x=1).with_retry(stop_after_attempt=2)",
    "FakeLLM('a').with_retry(retry_if_exception_type=(ValueError, KeyError), wait_exponential_jitter=False)",
    "FakeLLM('a').with_retry(retry_if_exception_type=shout, exponential_jitter_params={'initial': 3})",
    "FakeLLM('a').with_retry(clock=RealClock()) | len",
    "(FakeLLM('a') | len).with_fallbacks([FakeLLM('b') | str, Shout()])",
    "FakeLLM('a').with_fallbacks([], exceptions_to_handle=(ValueError,), exception_key='error')",
    "FakeLLM('a').with_fallbacks([FakeLLM('b')]).with_retry().with_config({'run_name': 'x'})",
    "FakeLLM()",
    "FakeLLM(streaming=False, name='mine')",
    "FakeLLM('a', clock=ScaledClock(0.1))",
    "FakeLLM.replies('a', ['b', 'c'], ValueError('x'), KeyError, shout, streaming=False)",
    "FakeLLM('a').reply('b').when('hi', 'ho', role='user', times=2)",
    "FakeLLM.replies('a').otherwise('b').reply('c')",
    "FakeLLM().when(None, 'x', role='user').when(shout, shouts).otherwise('z')",
    "FakeLLM('a', stall())",
    "FakeLLM(http_error(status=503))",
    "FakeLLM(Script('a', stall(), 'b', allow_illegal=True))",
    "FakeLLM().when(re.compile('a+', re.IGNORECASE), 'b')",
    "FakeChatModel(Reasoning('hm'), 'a', ToolCall(name='f', arguments='{}', id='c', index=0), Finish(reason='length'))",
    "FakeLLM('a') | partial(shout, 1, x=[len])",
]


def anatomy(thing):
    """Return what a Runnable is made of, to compare it by."""
    if isinstance(thing, Runnable):
        own = {name: value for name, value in vars(thing).items() if name not in ("_lock", "_playback")}
        return type(thing), anatomy(own)
    if isinstance(thing, Replies):
        return [anatomy({name: getattr(reply, name) for name in Reply.__slots__}) for reply in thing.all]
    if isinstance(thing, dict):
        return {key: anatomy(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)) and not isinstance(thing, Script):
        return [anatomy(value) for value in thing]
    if isinstance(thing, InstantClock):
        return InstantClock
    return repr(thing) if isinstance(thing, (BaseException, ScaledClock, partial)) else thing


@each("text", WRITTEN)
def test_it_shows_as_it_was_written(text):
    assert repr(eval(text, dict(NAMES))) == text


# -- what can be written, means the same ---------------------------------------------------------------

texts = st.text(max_size=3)
keys = st.sampled_from(["a", "b", "a-b", "class", "é"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | st.sampled_from([shout, len]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2) | st.tuples(inner),
    max_leaves=4,
)
chattable = scripts.filter(lambda script: script.chunks or script.fault)
says = st.lists(texts, min_size=1, max_size=2) | st.sampled_from([[shout], [shouts], [KeyError], [ValueError("x")]])
matchers = texts | st.sampled_from([shout, re.compile("a+"), re.compile("b", re.IGNORECASE)])
options = st.fixed_dictionaries(
    {},
    optional={"streaming": st.booleans(), "name": texts.filter(bool), "clock": st.just(ScaledClock(0.25))},
)


@st.composite
def fakes(draw):
    """Draw a fake that was told several things in any order."""
    fake = draw(st.sampled_from([FakeLLM, FakeChatModel]))(*draw(st.just([]) | says), **draw(options))
    for _ in range(draw(st.integers(0, 3))):
        said = draw(says if isinstance(fake, FakeLLM) else says | chattable.map(lambda script: [script]))
        kind = draw(st.sampled_from(["reply", "when", "otherwise"]))
        if kind == "when":
            condition = {"role": draw(st.none() | texts), "times": draw(st.none() | st.integers(1, 9))}
            fake.when(draw(matchers), *said, **condition)
        else:
            getattr(fake, kind)(*said)
    return fake


def grown(inner):
    """Draw what is composed of others."""
    steps = inner | st.sampled_from(list(FUNCTIONS.values())) | st.dictionaries(texts, inner, max_size=2)
    return st.one_of(
        st.builds(lambda first, second: first | second, inner, steps),
        st.builds(lambda first, second: first | second, steps, inner),
        st.builds(RunnableSequence, steps, steps, name=st.none() | texts.filter(bool)),
        st.builds(RunnableParallel, st.dictionaries(texts, steps, max_size=2)),
        st.builds(RunnableLambda, st.sampled_from(list(FUNCTIONS.values())), name=st.none() | texts),
        st.builds(RunnableGenerator, st.sampled_from([shouts, ashouts]), name=st.none() | texts),
        st.builds(lambda step, kwargs: step.bind(**kwargs), inner, st.dictionaries(keys, values, max_size=2)),
        st.builds(lambda step, config: step.with_config(config), inner, st.dictionaries(texts, values, max_size=2)),
        st.builds(
            lambda step, count, waits: step.with_retry(stop_after_attempt=count, wait_exponential_jitter=waits),
            *(inner, st.integers(1, 4), st.booleans()),
        ),
        st.builds(
            lambda step, others, key: step.with_fallbacks(others, exception_key=key),
            *(inner, st.lists(inner, max_size=2), st.none() | texts),
        ),
    )


@given(st.recursive(fakes() | st.builds(Shout), grown, max_leaves=6))
def test_what_it_shows_makes_its_like(thing):
    with pytest.MonkeyPatch.context() as patch:
        for module in (replies, shown, wrappers):  # what is clipped makes something else
            patch.setattr(module, "LONG", 10**9)
        text = repr(thing)
        like = eval(text, dict(NAMES))

        assert anatomy(like) == anatomy(thing)
        assert repr(like) == text


# -- what cannot be written ----------------------------------------------------------------------------


def test_a_lambda_and_an_inner_function_show_short():
    def inner(text):
        return text

    chain = FakeLLM(lambda _: "a") | (lambda text: text) | inner | "x".join | [].append

    assert repr(chain) == "FakeLLM(<lambda>) | <lambda> | inner | str.join | list.append"
    assert repr(FakeLLM().when(lambda _: True, "a")) == "FakeLLM().when(<lambda>, 'a')"
    assert repr(RunnableLambda(lambda text: text)) == "RunnableLambda(<lambda>)"
    assert repr(RunnableGenerator(lambda chunks: (yield from chunks))) == "RunnableGenerator(<lambda>)"


def test_what_has_no_repr_shows_its_class_and_no_address():
    assert repr(FakeLLM("a").with_config({"callbacks": [Callback()]})) == (
        "FakeLLM('a').with_config({'callbacks': [<Callback>]})"
    )
    assert repr(FakeLLM("a") | Callback()) == "FakeLLM('a') | <Callback>"


def test_a_class_of_the_user_shows_by_its_name_unless_it_says_otherwise():
    class Mine(RunnableSequence):
        pass

    class Called(RunnableLambda):
        pass

    class Named(FakeLLM):
        pass

    assert repr(Shout() | Shy()) == "Shout() | shh"
    assert repr(Shy().bind(x=1)) == "shh.bind(x=1)"
    assert repr(Shout() | Called(len)) == "Shout() | Called(len)"
    assert repr(Mine(len, str).bind(x=1)) == "Mine(len, str).bind(x=1)"
    assert repr(Named.replies("a") | Mine(Shout(), len)) == "Named.replies('a') | Shout() | len"


def test_clocks_show_what_they_are():
    assert repr(FakeLLM("a", clock=VirtualClock())) == "FakeLLM('a', clock=<VirtualClock 0 s>)"
    assert repr(FakeLLM("a", clock=InstantClock())) == "FakeLLM('a')"
    assert repr(FakeLLM("a").with_retry(clock=ScaledClock(2))) == "FakeLLM('a').with_retry(clock=ScaledClock(2))"


@pytest.mark.exhaustive
def test_what_is_long_is_clipped():
    words = [f"word {number} " for number in range(10_000)]
    fake = FakeLLM.replies(words, words).when("q", *words).otherwise(*words)
    whens = FakeChatModel("a")
    for number in range(1000):
        whens.when(f"{number}", Script("b", Usage(1, 1)))
    deep = value = []
    for _ in range(100):
        value.append(value := [])

    assert re.fullmatch(r"FakeLLM\('word 0 ', 'word 1 ', .{150,200} 'word 9999 '\)", repr(FakeLLM(*words)))
    assert re.fullmatch(r"FakeLLM\.replies\(\['word 0 '.* \.\.\. .*'word 9999 '\)", repr(fake))
    assert re.fullmatch(r"FakeChatModel\('a'\)\.when\('0', .* \.\.\. .*\)\)", repr(whens))
    assert len(repr(fake)) <= len(repr(whens)) <= 600
    assert len(repr(FakeLLM("a").bind(x="x" * 1000, y="y" * 1000))) < 450
    assert len(repr(FakeLLM("a").with_config({"metadata": {"x": "x" * 1000}}))) < 250
    assert repr(FakeLLM("a").bind(x=deep)) == f"FakeLLM('a').bind(x={'[' * 8}...{']' * 8})"


def test_what_was_used_still_shows():
    fake = FakeLLM.replies("a", Script("b", Pause(1)))
    before = repr(fake)
    fake.invoke("?")

    assert repr(fake) == before == "FakeLLM.replies('a', ['b', Pause(1)])"


def test_runs_keep_their_names():
    named = [FakeLLM("a"), FakeLLM("a") | len, RunnableLambda(shout), RunnableParallel(a=len), Shout()]
    wrapped = [FakeLLM("a").bind(x=1), FakeLLM("a").with_retry(), RunnableWithFallbacks(FakeLLM("a"), [])]

    assert [one.get_name() for one in named + wrapped] == [
        *("FakeLLM", "RunnableSequence", "shout", "RunnableParallel<a>", "Shout"),
        *("FakeLLM", "RunnableRetry<FakeLLM>", "RunnableWithFallbacks<FakeLLM>"),
    ]


def test_errors_show_what_was_given():
    with pytest.raises(TypeError, match=re.escape("fallbacks are a list of Runnables, not FakeLLM('a') | len;")):
        FakeLLM("a").with_fallbacks(FakeLLM("a") | len)
