"""`RunnablePassthrough`, `.assign`, `.pick`, `RunnableBranch`, `.map` and `.pipe` beside LangChain's.

Each pipeline is built of both libraries, and asked in every way: what comes out, chunk by chunk, and what is raised.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import operator
import pickle
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors import each

import fakellm
from fakellm import FakeLLM, ported
from fakellm import runnable as ours

core = pytest.importorskip("langchain_core.runnables", reason="compares with langchain-core, which is not installed")
from langchain_core.runnables import base as core_base  # noqa: E402
from langchain_core.runnables import passthrough as core_passthrough  # noqa: E402

THEIRS = SimpleNamespace(
    **{
        name: getattr(room, name)
        for room in (core_passthrough, core_base, core)
        for name in ours.__all__
        if hasattr(room, name)
    },
)
LIBRARIES = {"fakellm": ours, "langchain": THEIRS}


# -- both, in every way --------------------------------------------------------------------------------


def result(error):
    """Return the built-in type that an error is of."""
    return next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")


def caught(call):
    try:
        return call()
    except Exception as error:
        return result(error)


async def acaught(call):
    try:
        return await call()
    except Exception as error:
        return result(error)


def drained(stream):
    items = []
    try:
        items.extend(stream)  # keeps what came before an error
    except Exception as error:
        items.append(result(error))
    return items


async def adrained(stream):
    items = []
    try:
        async for item in stream:
            items.append(item)
    except Exception as error:
        items.append(result(error))
    return items


async def asource(items):
    for item in items:
        yield item


def kind_of(one):
    return result(one) if isinstance(one, Exception) else one


async def every_way(step, whole, chunks):
    """Return what a step makes of an input, and of chunks, in each method."""
    return {
        "invoke": caught(lambda: step.invoke(whole)),
        "ainvoke": await acaught(lambda: step.ainvoke(whole)),
        "batch": caught(lambda: step.batch([whole, whole])),
        "abatch": await acaught(lambda: step.abatch([whole, whole])),
        "failures": [kind_of(one) for one in step.batch([whole], return_exceptions=True)],
        "stream": drained(step.stream(whole)),
        "astream": await adrained(step.astream(whole)),
        "transform": drained(step.transform(iter(chunks))),
        "atransform": await adrained(step.atransform(asource(chunks))),
    }


def run(main):
    """Run it, and leave what it leaves: LangChain's `assign` leaves tasks that asyncio.run() would wait for for ever."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())  # whose threads would hold what is left
        loop.close()


def both(build, whole, chunks):
    """Return what each library makes of it."""
    seen = {}
    for name, library in LIBRARIES.items():
        parts = chunks if chunks is not None else [library.AddableDict(part) for part in _PARTS]
        seen[name] = run(every_way(build(library), whole, parts))
    return seen["fakellm"], seen["langchain"]


def fail(value):
    raise LookupError(value)


def letters(chunks):
    for chunk in chunks:
        yield from chunk


async def aletters(chunks):
    async for chunk in chunks:
        for letter in chunk:
            yield letter


async def alength(value):
    return len(value)


PIPELINES = {
    "passthrough": lambda lib: lib.RunnablePassthrough(),
    "passthrough with a function": lambda lib: lib.RunnablePassthrough(str),
    "passthrough with a function that fails": lambda lib: lib.RunnablePassthrough(fail),
    "passthrough with an asynchronous function": lambda lib: lib.RunnablePassthrough(alength),
    "passthrough with both": lambda lib: lib.RunnablePassthrough(str, afunc=alength),
    "passthrough in a sequence": lambda lib: lib.RunnablePassthrough() | lib.RunnablePassthrough() | str,
    "passthrough behind a generator": lambda lib: lib.RunnableGenerator(letters, aletters) | lib.RunnablePassthrough(),
    "parallel of passthrough": lambda lib: lib.RunnableParallel(x=lib.RunnablePassthrough()),
    "assign": lambda lib: lib.RunnablePassthrough.assign(n=len),
    "assign of an asynchronous function": lambda lib: lib.RunnablePassthrough.assign(
        n=lib.RunnableLambda(len, alength)
    ),
    "assign over a key": lambda lib: lib.RunnablePassthrough.assign(a=len),
    "assign of nothing": lambda lib: lib.RunnablePassthrough.assign(),
    "assign that fails": lambda lib: lib.RunnablePassthrough.assign(n=fail),
    "assign of a missing key": lambda lib: lib.RunnablePassthrough.assign(n=operator.itemgetter("zz")),
    "assign of None": lambda lib: lib.RunnablePassthrough.assign(n=lambda _: None),
    "assign of a dict": lambda lib: lib.RunnablePassthrough.assign(n={"m": len}),
    "assign of a stream": lambda lib: lib.RunnablePassthrough.assign(n=lib.RunnableGenerator(letters, aletters)),
    "assign twice": lambda lib: lib.RunnablePassthrough.assign(n=len) | lib.RunnablePassthrough.assign(m=len),
    "assign as a class": lambda lib: lib.RunnableAssign(lib.RunnableParallel(n=len)),
    "assign as a method": lambda lib: lib.RunnableLambda(lambda value: value).assign(n=len),
    "assign behind a passthrough": lambda lib: lib.RunnablePassthrough() | lib.RunnableAssign({"n": len}),
    "pick": lambda lib: lib.RunnablePick("a"),
    "pick of a list": lambda lib: lib.RunnablePick(["b", "a"]),
    "pick of nothing": lambda lib: lib.RunnablePick([]),
    "pick as a method": lambda lib: lib.RunnableParallel(a=str, b=lib.RunnablePassthrough()).pick("b"),
    "pick of a list as a method": lambda lib: lib.RunnablePassthrough.assign(n=len).pick(["n", "a"]),
    "branch": lambda lib: lib.RunnableBranch(
        (lambda value: "a" in value, len), (lambda value: "b" in value, str), list
    ),
    "branch in a list": lambda lib: lib.RunnableBranch([lambda value: bool(value), len], str),
    "branch whose condition fails": lambda lib: lib.RunnableBranch((fail, len), str),
    "branch that fails": lambda lib: lib.RunnableBranch((lambda _: True, fail), str),
    "branch that streams": lambda lib: lib.RunnableBranch(
        (lambda _: True, lib.RunnableGenerator(letters, aletters)), str
    ),
    "branch with a dict": lambda lib: lib.RunnableBranch((lambda _: False, len), {"x": lib.RunnablePassthrough()}),
    "branch behind a passthrough": lambda lib: lib.RunnablePassthrough() | lib.RunnableBranch((bool, bool), str),
    "map": lambda lib: lib.RunnableLambda(str).map(),
    "map that fails": lambda lib: lib.RunnableLambda(fail).map(),
    "map of passthrough": lambda lib: lib.RunnablePassthrough().map(),
    "map that is bound": lambda lib: lib.RunnableLambda(lambda value, end="": f"{value}{end}").map().bind(end="!"),
    "map with a config": lambda lib: lib.RunnableLambda(str).map().with_config(tags=["t"]),
    "pipe": lambda lib: lib.RunnablePassthrough().pipe(str, len),
    "pipe with a name": lambda lib: lib.RunnablePassthrough().pipe(str, name="named") | len,
    "itemgetter": lambda lib: lib.RunnablePassthrough() | operator.itemgetter("a"),
}
_PARTS = [{"a": "x"}, {"b": "y"}, {"a": "z", "b": None}]
INPUTS = {
    "a dict": ({"a": 1, "b": 2}, [{"a": 1}, {"b": 2}]),
    "dicts that add up": ({"a": "x"}, None),
    "no dict": ("text", ["te", "xt"]),
    "an empty dict": ({}, [{}, {}]),
    "a stream of a dict and something else": ({"b": "a"}, [{"b": "a"}, 3, {"c": "d"}]),
    "None": (None, [None, None]),
    "None among chunks": ("ab", ["a", None, "b"]),
    "a list": (["a", "b"], [["a"], ["b"]]),
    "one chunk": (3, [3]),
}


def compared(number, pipeline, inputs):
    """Compare what both make of the inputs."""
    for name in inputs:
        mine, theirs = both(PIPELINES[pipeline], *INPUTS[name])
        assert mine == theirs, (number, name)


@pytest.fixture
def collected():
    """Collect what LangChain leaves behind in loops that are closed: its warnings are told here, not in another test."""
    yield
    gc.collect()  # all of it: in a long run some is no longer young


leaves_tasks = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@leaves_tasks
@each("number, pipeline", enumerate(PIPELINES), ids=lambda pair: pair[1])
def test_it_does_as_langchains(collected, number, pipeline):
    compared(number, pipeline, [[*INPUTS][number % len(INPUTS)]])


@leaves_tasks
@pytest.mark.exhaustive
@each("number, pipeline", enumerate(PIPELINES), ids=lambda pair: pair[1])
def test_it_does_as_langchains_with_every_other_input(collected, number, pipeline):
    compared(number, pipeline, [name for at, name in enumerate(INPUTS) if at != number % len(INPUTS)])


@each("build", [build for name, build in PIPELINES.items() if "map" not in name])
def test_no_input_gives_no_output_and_no_call(build):
    """Of a lambda LangChain says `UnboundLocalError`."""
    step = build(ours)
    assert drained(step.transform(iter(()))) == []
    assert run(adrained(step.atransform(asource(())))) == []


@pytest.mark.parametrize("lib", LIBRARIES)
def test_the_function_of_a_passthrough_is_called_with_the_sum_after_the_last_chunk_was_taken(lib):
    called, room = [], LIBRARIES[lib]

    def note(value, config, **kwargs):
        called.append((value, config["tags"], kwargs))

    step = room.RunnablePassthrough(note)
    assert step.invoke("a", {"tags": ["t"]}, k=1) == "a"
    stream = step.transform(iter("abc"), {"tags": ["t"]})
    assert [next(stream), next(stream), next(stream), len(called)] == ["a", "b", "c", 1]
    assert list(stream) == []
    closed = step.transform(iter("abc"))
    assert next(closed) == "a"
    closed.close()
    assert called == [("a", ["t"], {"k": 1}), ("abc", ["t"], {})]


@pytest.mark.parametrize("lib", LIBRARIES)
def test_a_chunk_is_passed_on_before_the_next_is_pulled(lib):
    pulled, room = [], LIBRARIES[lib]

    def source():
        for item in ({"a": 1}, {"b": 2}, {"a": 3}):
            pulled.append(item)
            yield item

    for step, expected in (
        (room.RunnablePassthrough(), [{"a": 1}, {"b": 2}, {"a": 3}]),
        (room.RunnablePick("a"), [1, 3]),
    ):
        pulled.clear()
        stream = (step | room.RunnablePassthrough()).transform(source())
        assert (next(stream), len(pulled)) == (expected[0], 1)
        assert list(stream) == expected[1:]


@given(
    chunks=st.lists(st.dictionaries(st.sampled_from("abc"), st.text("xyz", max_size=2), max_size=3), max_size=6),
    keys=st.one_of(st.sampled_from("abc"), st.lists(st.sampled_from("abcd"), max_size=3)),
)
def test_streams_of_dicts_are_handed_on_as_langchains(chunks, keys):
    def seen(lib):
        parts = [lib.AddableDict(chunk) for chunk in chunks]
        steps = [lib.RunnablePick(keys), lib.RunnablePassthrough.assign(n=lambda _: 1, a=lambda _: 2)]
        picked, assigned = (drained(step.transform(iter(parts))) for step in steps)
        passed = [chunk for chunk in assigned if not {"n", "a"} & set(chunk)]
        assert assigned[: len(passed)] == passed  # first; then the keys, of several threads
        return picked, passed, sorted(map(repr, assigned[len(passed) :]))

    mine, theirs = seen(ours), ([], [], []) if not chunks else seen(THEIRS)
    assert mine == theirs


class Source(ours.Runnable):
    """Streams what it was told to, notes what was pulled, and that it was closed."""

    def __init__(self, *chunks):
        self.chunks, self.pulled, self.closed = chunks, 0, 0

    def invoke(self, input, config=None, **kwargs):
        raise NotImplementedError

    def stream(self, input, config=None, **kwargs):
        try:
            for chunk in self.chunks:
                self.pulled += 1
                yield chunk
        finally:
            self.closed += 1

    async def astream(self, input, config=None, **kwargs):
        try:
            for chunk in self.chunks:
                self.pulled += 1
                yield chunk
        finally:
            self.closed += 1


EARLY = {
    "passthrough": ours.RunnablePassthrough(),
    "passthrough with a function": ours.RunnablePassthrough(fail),
    "assign": ours.RunnablePassthrough.assign(n=len),
    "assign of a stream": ours.RunnablePassthrough.assign(n=ours.RunnableGenerator(letters, aletters)),
    "pick": ours.RunnablePick("a"),
}


@pytest.mark.parametrize("step", EARLY.values(), ids=EARLY)
@pytest.mark.anyio
async def test_closing_closes_the_source_before_it_returns(step):
    source, asource = Source(*[{"a": "x"}] * 3), Source(*[{"a": "x"}] * 3)
    stream = (source | step).stream("?")
    next(stream)
    stream.close()
    astream = (asource | step).astream("?")
    await anext(astream)
    await astream.aclose()
    assert (source.closed, asource.closed) == (1, 1)
    assert asource.pulled <= 2


@pytest.mark.anyio
async def test_closing_a_branch_closes_what_it_chose():
    source, other = Source("a", "b"), Source("c")
    step = ours.RunnableBranch((bool, source), other)
    stream = step.stream("?")
    assert next(stream) == "a"
    stream.close()
    astream = step.astream("?")
    assert await anext(astream) == "a"
    await astream.aclose()
    assert (source.pulled, source.closed, other.pulled) == (2, 2, 0)


@pytest.mark.anyio
async def test_an_error_of_the_input_is_that_of_the_assign_and_closes_all():
    def broken():
        yield {"a": "x"}
        raise LookupError

    async def abroken():
        yield {"a": "x"}
        raise LookupError

    step = ours.RunnablePassthrough.assign(n=len)
    assert drained(step.transform(broken())) == [{"a": "x"}, LookupError]
    assert await adrained(step.atransform(abroken())) == [{"a": "x"}, LookupError]


@pytest.mark.parametrize("lib", LIBRARIES)
def test_the_steps_of_an_assign_are_called_whatever_the_passthrough_comes_to(lib):
    for chunks in (["no dict"], [{"a": 1}, "no dict", {"b": 2}]):
        called = []
        step = LIBRARIES[lib].RunnablePassthrough.assign(n=called.append)
        with pytest.raises(ValueError, match="dict"):
            list(step.transform(iter(chunks)))
        assert called == [chunks[-1]]


@pytest.mark.parametrize("lib", LIBRARIES)
def test_what_is_no_branch_and_no_key_is_refused(lib):
    room = LIBRARIES[lib]
    wrong = {
        "one branch": (lambda: room.RunnableBranch((len, len)), ValueError),
        "no pair": (lambda: room.RunnableBranch(len, len), TypeError),
        "a pair of one": (lambda: room.RunnableBranch((len,), len), ValueError),
        "no default": (lambda: room.RunnableBranch((len, len), 3), TypeError),
        "no condition": (lambda: room.RunnableBranch((True, len), len), TypeError),
        "no keys": (lambda: room.RunnablePick(3), (TypeError, ValueError)),
        "no step": (lambda: room.RunnablePassthrough.assign(a=3), TypeError),
        "no function": (lambda: room.RunnablePassthrough(3), (TypeError, ValueError)),
        "no mapper": (lambda: room.RunnableAssign(3), (TypeError, ValueError)),
        "keywords of a pick": (lambda: room.RunnablePick("a").invoke({}, k=1), TypeError),
        "nothing piped": (lambda: room.RunnablePassthrough().pipe(), ValueError),
    }
    for make, kinds in wrong.values():
        with pytest.raises(kinds):
            make()


@pytest.mark.parametrize("lib", LIBRARIES)
def test_names(lib):
    room = LIBRARIES[lib]
    one = room.RunnableLambda(len)
    steps = [
        room.RunnablePassthrough(), room.RunnablePassthrough.assign(a=len, b=len), room.RunnablePick("a"),
        room.RunnablePick(["a", "b"]), room.RunnableBranch((len, len), len), one.map(), one.pipe(len, name="named"),
        one.pipe(len, name="named") | len, len | one.pipe(len, name="named"),
        (one | len) | one.pipe(len, name="named"),
    ]  # fmt: skip
    assert [step.get_name() for step in steps] == [
        "RunnablePassthrough", "RunnableAssign<a,b>", "RunnablePick<a>", "RunnablePick<a,b>", "RunnableBranch",
        "RunnableEach<len>", "named", "named", "named", "named",
    ]  # fmt: skip
    assert [one.get_name("input"), steps[0].get_name("input"), one.get_name(name="Own"), one.map().get_name("x")] == [
        "len_input", "RunnablePassthroughInput", "Own", "RunnableEach<len>X",
    ]  # fmt: skip


@pytest.mark.parametrize("lib", LIBRARIES)
def test_a_map_keeps_the_bound_and_takes_its_exceptions(lib):
    step = LIBRARIES[lib].RunnableLambda(lambda value: 1 // value).map()
    failed, one = step.invoke([0, 1], {"max_concurrency": 1}, return_exceptions=True)
    assert (type(failed), one) == (ZeroDivisionError, 1)


def test_a_fake_in_a_chain_as_an_app_writes_it():
    fake = FakeLLM("It ", "rains.")
    chain = ours.RunnableParallel(question=ours.RunnablePassthrough()).assign(
        answer=operator.itemgetter("question") | fake
    )
    assert chain.invoke("?") == {"question": "?", "answer": "It rains."}
    assert list(chain.stream("?")) == [{"question": "?"}, {"answer": "It "}, {"answer": "rains."}]
    assert list(chain.pick("answer").stream("?")) == ["It ", "rains."]
    assert [call.text for call in fake.calls] == ["?"] * 3


# -- what there is not ---------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ["fakellm", "fakellm.models", "fakellm.runnable"])
def test_a_name_of_langchains_is_told_by_ours(room):
    module = importlib.import_module(room)
    for name, hint in ported.NAMES.items():
        if name in module.__all__:
            continue
        with pytest.raises(ImportError, match=re.escape(f"{room} has no {name}; {hint}")):
            exec(f"from {room} import {name}", {})
        with pytest.raises(AttributeError, match=re.escape(hint)):
            getattr(module, name)
        assert not hasattr(module, name)


def test_a_name_that_nobody_has_is_told_as_ever():
    with pytest.raises(ImportError, match="cannot import name 'FakeLLLM'"):
        exec("from fakellm import FakeLLLM", {})


@pytest.mark.parametrize("step", [ours.RunnableLambda(len), FakeLLM("a"), FakeLLM("a").bind(k=1), FakeLLM("a") | len])
def test_a_method_of_langchains_is_told_by_ours(step):
    for name, hint in ported.METHODS.items():
        assert not hasattr(step, name)
        with pytest.raises(AttributeError, match=re.escape(f"{type(step).__name__} has no {name!r}; {hint}")):
            getattr(step, name)


def test_every_method_of_langchains_runnables_is_ours_or_told():
    theirs = {name for name in dir(core.RunnableLambda) if not name.startswith("_")}
    unknown = {name for name in theirs if not hasattr(ours.RunnableLambda, name)} - set(ported.METHODS)
    assert unknown == {"deps"}


def test_every_name_that_a_hint_says_is_there():
    said = " ".join([*ported.NAMES.values(), *ported.METHODS.values(), *ported.ARGUMENTS.values()])
    for name in set(re.findall(r"\b(?:Fake|Runnable)\w+", said)):
        assert hasattr(fakellm, name) or hasattr(ours, name) or name == "RunnableWith", name


@pytest.mark.parametrize("kind", [fakellm.FakeLLM, fakellm.FakeChatModel])
def test_an_argument_of_langchains_fakes_is_told_by_ours(kind):
    for name, hint in ported.ARGUMENTS.items():
        with pytest.raises(TypeError, match=re.escape(hint.format(kind=kind.__name__))):
            kind(**{name: iter(["a"])})


def test_what_is_inside_of_a_binding_is_told():
    with pytest.raises(AttributeError, match=re.escape("write .bound.calls")):
        FakeLLM("a").bind(k=1).calls
    assert pickle.loads(pickle.dumps(ours.RunnableLambda(len).bind(k=1))).kwargs == {"k": 1}


def test_a_property_that_fails_says_why_itself():
    class Own(Source):
        @property
        def size(self):
            return self.chunks.sise

    with pytest.raises(AttributeError, match="'tuple' object has no attribute 'sise'"):
        Own().size
