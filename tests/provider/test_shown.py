"""What a fake provider shows of itself, and what its copies have of their own."""

from __future__ import annotations

import copy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import fewer, scripts
from vectors import each

import fakellm
from fakellm import FakeProvider
from fakellm.clock import RealClock
from fakellm.models import replies
from fakellm.runnable import shown
from fakellm.wire.openai.profiles import Profile

NAMES = {name: getattr(fakellm, name) for name in fakellm.__all__} | {
    "re": re,
    "RealClock": RealClock,
    "Profile": Profile,
}

WRITTEN = [
    "FakeProvider('openai')",
    "FakeProvider('anthropic', clock=RealClock())",
    "FakeProvider('openai', profile='azure', hosts=('localhost:11434',))",
    "FakeProvider('openai').reply('a', 'b').reply(KeyError).otherwise('z', headers={'x': 'y'})",
    "FakeProvider('openai').error(429)",
    "FakeProvider('openai').error(429, retry_after=2, times=3).error(500, message='m', body='{}', kind='k', code='c')",
    "FakeProvider('openai').error(429, headers={'x': 'y'})",
    "FakeProvider('openai').otherwise(http_error(status=429))",
    "FakeProvider('openai').when('q', 'a', role='user', times=2, model='gpt', tools=('f',), json={'a': [1]})",
    "FakeProvider('openai').when(None, 'a', model=re.compile('gpt'), api='openai.chat', headers={'x': 'y'})",
]


@each("text", WRITTEN)
def test_it_shows_as_it_was_written(text):
    assert repr(eval(text, dict(NAMES))) == text


def test_a_profile_without_a_name_of_its_own_shows_whole():
    text = repr(FakeProvider(profile=Profile("azure", done=False)))

    assert text.startswith("FakeProvider('openai', profile=Profile(name='azure', done=False, usage='asked', ")


def test_a_class_of_the_user_shows_by_its_name():
    class Mine(FakeProvider):
        pass

    assert repr(Mine().reply(lambda _: "a")) == "Mine('openai').reply(<lambda>)"


@pytest.mark.exhaustive
def test_what_is_long_is_clipped():
    provider = FakeProvider()
    for number in range(200):
        provider.when(f"{number}", "a" * 1000)

    assert len(repr(provider)) <= 600
    assert repr(provider).startswith("FakeProvider('openai').when('0', 'aaa")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
headers = st.dictionaries(st.sampled_from(["x-a", "x-b"]), st.text(max_size=2), max_size=2)
conditions = st.fixed_dictionaries(
    {"json": json_values.filter(lambda value: value is not None)},
    optional={
        "model": st.text(max_size=3) | st.just(re.compile("a+")),
        "role": st.text(max_size=3),
        "tools": st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=2),
        "api": st.just("openai.chat"),
        "times": st.integers(1, 9),
        "headers": headers,
    },
)
tellings = st.lists(
    st.tuples(st.just("reply"), scripts.filter(bool), st.builds(dict, headers=headers))
    | st.tuples(st.just("otherwise"), scripts.filter(bool), st.builds(dict, headers=headers))
    | st.tuples(st.just("when"), scripts.filter(bool), conditions)
    | st.tuples(st.just("error"), st.integers(400, 599), st.builds(dict, times=st.integers(1, 9))),
    max_size=3,
)


def anatomy(provider):
    fields = ("kind", "content", "matcher", "role", "times", "model", "tools", "json", "api", "headers")
    return [[getattr(route, name) for name in fields] for route in provider._replies.all]


@pytest.mark.exhaustive
@fewer(3)
@given(tellings)
def test_what_it_shows_makes_its_like(told):
    provider = FakeProvider()
    for kind, what, options in told:
        if kind == "when":
            provider.when(None, what, **options)
        else:
            getattr(provider, kind)(what, **options)
    with pytest.MonkeyPatch.context() as patch:
        for module in (replies, shown):  # what is clipped makes something else
            patch.setattr(module, "LONG", 10**9)
        text = repr(provider)

        assert anatomy(eval(text, dict(NAMES))) == anatomy(provider)


def test_a_deep_copy_copies_conditions_and_shares_what_the_provider_is():
    fragment, added = {"a": [1]}, {"x": "y"}
    provider = FakeProvider(profile="azure", hosts=["h"]).when(None, "b", json=fragment, headers=added)
    shallow, deep = copy.copy(provider), copy.deepcopy(provider)
    fragment["a"].append(2)
    added["x"] = "z"

    assert (shallow._replies.all[0].json, deep._replies.all[0].json) == ({"a": [1, 2]}, {"a": [1]})
    assert deep._replies.all[0].headers == {"x": "y"}
    for other in (shallow, deep):
        assert other.service is provider.service
        assert other.profile is provider.profile
        assert other.hosts == ("h",)
