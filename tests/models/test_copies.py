"""Copies of fakes, models and providers: what they share, and what each has of its own."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import re
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import each

from fakellm import FakeChatModel, FakeLLM, FakeProvider, Pause, Script, ToolCall, Usage, disconnect
from fakellm.clock import InstantClock, RealClock, VirtualClock
from fakellm.errors import LLMConnectionError, SwallowedCallError, UnexpectedCallError, UnusedRepliesError
from fakellm.provider import Timeouts

KINDS = {"FakeLLM": FakeLLM, "FakeChatModel": FakeChatModel, "FakeProvider": FakeProvider}
COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy}
each_kind = pytest.mark.parametrize("new", KINDS.values(), ids=KINDS)
each_copy = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


def ask(fake, text="?"):
    """Return what a fake answers, in words."""
    if isinstance(fake, FakeProvider):
        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
        exchange = fake.handle("POST", "https://api.openai.com/v1/chat/completions", {}, json.dumps(body).encode())
        (action,) = exchange.body(Timeouts())
        return json.loads(b"".join(action))["choices"][0]["message"]["content"]
    answer = fake.invoke(text)
    return answer if isinstance(answer, str) else answer.content


def outcome(fake, text):
    """Return what a fake answers, or that it has nothing to say."""
    try:
        return ask(fake, text)
    except UnexpectedCallError:
        return "missed"


class Counting:
    """A reply function that is an object, and counts its calls."""

    def __init__(self):
        self.count = 0

    def __call__(self, _):
        self.count += 1
        return f"{self.count}"


# -- what each has of its own --------------------------------------------------------------------------


@each_copy
@each_kind
def test_a_copy_begins_with_an_empty_log_and_keeps_it_to_itself(new, copied):
    fake = new().reply("a").reply("b")
    ask(fake)
    outcome(new(), "?")
    other = copied(fake)
    assert (len(fake.calls), other.calls, other.misses) == (1, [], [])

    assert [ask(other), outcome(other, "?"), ask(fake)] == ["b", "missed", "b"]
    assert [call.number for call in other.calls] == [1, 2]
    assert [call.number for call in fake.calls] == [1, 2]
    assert (len(fake.misses), len(other.misses)) == (0, 1)


@each_copy
@each_kind
def test_what_was_used_is_used_in_the_copy_too_and_the_copy_says_so(new, copied):
    fake = new().reply("a").when("x", "b", times=2).reply("c")
    ask(fake)
    other = copied(fake)
    ask(other, "x")

    assert other.unused == ["reply: Script('c')  [unused]"]
    assert ask(other) == "c"
    with pytest.raises(UnexpectedCallError) as caught:
        ask(other)
    message = str(caught.value)
    assert "reply: Script('a')  [was used before the fake was copied]" in message
    assert "when 'x': Script('b')  [answered call 1]" in message
    assert re.search(r"the last of them answered (call|request) 2\n", message)
    with pytest.raises(SwallowedCallError):
        other.verify()
    with pytest.raises(UnusedRepliesError, match="never asked for 2 of its replies"):
        fake.verify()


@each_copy
@each_kind
def test_a_predicate_that_was_used_up_is_not_asked_again_by_the_copy(new, copied):
    asked = []
    fake = new().when(lambda _: asked.append(1) or True, "a", times=1).otherwise("b")
    ask(fake)

    assert (ask(copied(fake)), len(asked)) == ("b", 1)


@each_copy
@each_kind
def test_a_copy_of_a_fake_that_is_used_up_says_when_it_was(new, copied):
    fake = new().reply("a")
    ask(fake)

    with pytest.raises(
        UnexpectedCallError, match="given already; the last of them was used before the fake was copied"
    ):
        ask(copied(fake))


ANSWERS = {"reply": ["r1", "r2"], "when": ["w"], "otherwise": ["o"]}
told = st.lists(st.sampled_from(["reply", "when", "otherwise"]), max_size=4)
prompts = st.lists(st.sampled_from(["q", "x"]), max_size=5)


def tell(fake, kinds):
    for number, kind in enumerate(kinds):
        if kind == "when":
            fake.when("q", f"when {number}", times=2)
        else:
            getattr(fake, kind)(f"{kind} {number}")


@pytest.mark.exhaustive
@settings(max_examples=max(10, settings.default.max_examples // 2))
@given(st.sampled_from(list(KINDS)), st.sampled_from(list(COPIES)), told, prompts, told, prompts, told, prompts)
def test_a_copy_and_its_original_each_go_on_as_if_the_other_were_not_there(
    kind, how, before, asked, mine, my_prompts, its, its_prompts
):
    def told_and_asked(*rounds):
        fake = KINDS[kind]()
        found = []
        for kinds, texts in rounds:
            tell(fake, kinds)
            found = [outcome(fake, text) for text in texts]
        return found, fake.unused == [], repr(fake)

    fake = KINDS[kind]()
    tell(fake, before)
    for text in asked:
        outcome(fake, text)
    other = COPIES[how](fake)
    assert repr(other) == repr(fake)

    tell(fake, mine)
    tell(other, its)
    got, its_got = [], []
    for place in range(5):  # in turns
        got += [outcome(fake, text) for text in my_prompts[place : place + 1]]
        its_got += [outcome(other, text) for text in its_prompts[place : place + 1]]

    assert (got, fake.unused == [], repr(fake)) == told_and_asked((before, asked), (mine, my_prompts))
    assert (its_got, other.unused == [], repr(other)) == told_and_asked((before, asked), (its, its_prompts))


@each_copy
@each_kind
def test_a_copy_has_a_lock_of_its_own(new, copied):
    fake = new().otherwise("a")
    other = copied(fake)
    asking = Thread(target=ask, args=[other], daemon=True)

    with fake._lock:
        asking.start()
        asking.join(10)

    assert not asking.is_alive()


@each_copy
def test_a_copy_that_is_made_in_the_middle_of_a_stream_leaves_it_alone(copied):
    fake = FakeLLM.replies(["a", Pause(1), "b"], "c")
    stream = fake.stream("?")
    next(stream)
    other = copied(fake)

    assert (list(stream), fake.calls[0].state) == (["b"], "complete")
    assert list(other.stream("?")) == ["c"]


# -- what they share -----------------------------------------------------------------------------------


@each(each_copy)
@each(each_kind)
@each("clock", [InstantClock(), VirtualClock(), RealClock()])
def test_copies_share_the_clock(new, copied, clock):
    fake = new(clock=clock).otherwise("a")

    assert copied(fake).clock is clock
    assert copied([fake, copied(fake)])[1].clock is clock


@each_copy
def test_a_copy_waits_on_the_clock_and_notes_its_streams_there(copied):
    fake = FakeLLM("a", Pause(2), "b", clock=VirtualClock())
    other = copied(fake)
    list(fake.stream("?")), list(other.stream("?"))

    assert fake.clock.now == 4
    assert len(fake.clock.streams) == 2


@each_copy
@each_kind
def test_copies_share_a_clock_of_the_user_that_cannot_be_copied(new, copied):
    class Mine(InstantClock):
        def __reduce_ex__(self, _):
            raise AssertionError

        def __deepcopy__(self, _):
            raise AssertionError

    assert isinstance(copied(new(clock=Mine())).clock, Mine)


def test_a_deep_copy_of_a_chain_has_fakes_of_its_own_and_the_same_clocks():
    clock = InstantClock()
    fake = FakeLLM.replies("a", "b")
    chain = (fake | len).with_retry(clock=clock)
    other = copy.deepcopy(chain)
    assert (other.invoke("?"), chain.invoke("?")) == (1, 1)

    assert len(fake.calls) == 1
    assert other.clock is clock


@each_copy
@each_kind
def test_scripts_and_exceptions_are_shared(new, copied):
    class Awkward(Exception):
        """An exception of an SDK, which `copy` could not make anew."""

        def __init__(self, *, response):
            super().__init__("awkward")

    error, script = Awkward(response=1), Script("a")
    other = copied(new().reply(error).reply(script).reply(KeyError))

    with pytest.raises(Awkward) as caught:
        ask(other)
    assert caught.value is error
    assert other._replies.all[1].content is script
    assert other._replies.all[2].content is KeyError


@each_kind
def test_a_function_with_a_state_is_shared_by_a_copy_and_copied_by_a_deep_one(new):
    fake = new().otherwise(Counting()).when(Counting(), "never", role="system")
    shallow, deep = copy.copy(fake), copy.deepcopy(fake)

    assert [ask(fake), ask(shallow), ask(deep), ask(fake), ask(deep)] == ["1", "2", "1", "3", "2"]
    assert deep._replies.all[1].matcher is not fake._replies.all[1].matcher is shallow._replies.all[1].matcher


def test_a_deep_copy_of_what_holds_the_fake_holds_the_copy():
    class App:
        def __init__(self):
            self.model = FakeLLM(self.answer)
            self.name = "first"

        def answer(self, _):
            return self.name

    app = App()
    other = copy.deepcopy(app)
    third = copy.deepcopy(app.model)
    other.name, third._replies.all[0].content.__self__.name = "second", "third"

    assert [model.invoke("?") for model in (app.model, other.model, third)] == ["first", "second", "third"]
    assert third._replies.all[0].content.__self__.model is third


@each_copy
def test_a_subclass_is_copied_with_what_it_has(copied):
    class Mine(FakeLLM):
        def __init__(self, notes):
            super().__init__("a", name="mine", streaming=False)
            self.notes = notes

    fake = Mine(["x"])
    other = copied(fake)

    assert (type(other), other.notes, other.name, other.streaming) == (Mine, ["x"], "mine", False)
    assert (other.notes is fake.notes) == (copied is copy.copy)


@each_copy
def test_everything_can_be_asked_of_a_copy(copied):
    fake = FakeChatModel("a", ToolCall("f", {"x": 1}), Usage(1, 2)).when("x", "a", disconnect())
    other = copied(fake)

    assert other.invoke("?") == fake.invoke("?") == asyncio.run(other.ainvoke("?"))
    assert list(other.stream("?")) == list(fake.stream("?"))
    assert other.batch(["?", "?"]) == fake.batch(["?", "?"])
    with pytest.raises(LLMConnectionError):
        list(other.stream("x"))
    assert [call.method for call in other.calls] == ["invoke", "ainvoke", "stream", "batch", "batch", "stream"]


# -- pickles -------------------------------------------------------------------------------------------


@each_kind
def test_a_pickle_takes_the_log_along(new):
    fake = new().reply("a").reply("b")
    ask(fake)
    other = pickle.loads(pickle.dumps(fake))

    assert ([call.number for call in other.calls], other.unused) == ([1], ["reply: Script('b')  [unused]"])
    assert (ask(other), len(other.calls), len(fake.calls)) == ("b", 2, 1)
    assert type(other.clock) is InstantClock


def test_a_pickle_keeps_a_clock_that_is_not_instant():
    fake = pickle.loads(pickle.dumps(FakeLLM("a", clock=RealClock())))

    assert type(fake.clock) is RealClock
    assert list(fake.stream("?")) == ["a"]
