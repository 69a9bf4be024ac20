"""`StreamContract` and the fixture `stream_contract`, as their users meet them: small projects, run for real."""

from __future__ import annotations

import pytest

from fakellm.contracts import CATALOGUE, StreamContract
from fakellm.contracts.catalogue import chosen

QUIET = ("-p", "no:cacheprovider", "-p", "no:langsmith_plugin", "-p", "no:hypothesispytest")
NAMES = [contract.name for contract in chosen(None, "stream")]


def run(pytester, test, *options):
    pytester.makepyfile(
        test_app="import pytest\nfrom fakellm import FakeLLM\nfrom fakellm.contracts import StreamContract\n" + test
    )
    return pytester.runpytest(*QUIET, *options)


def test_each_contract_is_a_test_whose_docstring_is_the_sentence():
    for name in NAMES:
        sentence = CATALOGUE[name].sentence
        assert getattr(StreamContract, f"test_{name}").__doc__ == f"{sentence[0].upper()}{sentence[1:]}."


def test_a_class_with_one_fixture_gets_a_test_for_each_contract(pytester):
    result = run(
        pytester,
        """
class TestMyModel(StreamContract):
    @pytest.fixture
    def make_runnable(self):
        return lambda source: source
""",
        "-rs",
    )

    result.assert_outcomes(passed=18, skipped=len(NAMES) - 18)
    result.stdout.fnmatch_lines(["*its deadline is not known: say idle_timeout=seconds"])


def test_a_broken_contract_fails_its_test_without_our_frames(pytester):
    result = run(
        pytester,
        """
class Shouts:
    def __init__(self, source): self.source = source
    def invoke(self, prompt): return self.source.invoke(prompt)
    def stream(self, prompt):
        for chunk in self.source.stream(prompt):
            yield chunk.upper()

class TestShouts(StreamContract):
    @pytest.fixture
    def make_runnable(self):
        return Shouts
""",
    )

    assert result.parseoutcomes()["failed"] == 3
    result.stdout.fnmatch_lines(
        [
            "concatenation: the chunks of stream add up to what invoke returns",
            "  broken:    stream and invoke differ",
            "  stream:    'ONE TWO THREE FOUR.'",
            "  invoke:    'One two three four.'",
            "  flavour:   sync",
        ]
    )
    result.stdout.no_fnmatch_line("*fakellm/contracts*")
    result.stdout.no_fnmatch_line("*another exception*")


@pytest.mark.exhaustive
def test_attributes_say_the_rest(pytester):
    result = run(
        pytester,
        """
class Asks:
    def __init__(self, source): self.source = source
    def stream(self, prompt):
        assert prompt == {"question": "why?"}
        for chunk in self.source.stream(prompt["question"]):
            yield {"said": chunk}

class TestAsks(StreamContract):
    input = {"question": "why?"}
    skip = {"close": "it is closed elsewhere"}

    @staticmethod
    def text(chunk):
        return chunk["said"]

    @pytest.fixture
    def make_runnable(self):
        return Asks
""",
        "-rs",
    )

    assert "failed" not in result.parseoutcomes()
    assert result.parseoutcomes()["passed"] >= 8
    result.stdout.fnmatch_lines(["*it is closed elsewhere"])


@pytest.mark.exhaustive
def test_a_class_without_its_fixture_says_what_is_missing(pytester):
    result = run(pytester, "class TestNothing(StreamContract):\n    pass\n")

    result.assert_outcomes(errors=len(NAMES))
    result.stdout.fnmatch_lines(["*TestNothing has no fixture make_runnable; give it one that returns a function*"])


@pytest.mark.exhaustive
def test_the_fixture_checks_in_one_test(pytester):
    result = run(
        pytester,
        """
def test_good(stream_contract):
    report = stream_contract(lambda source: source)
    assert report["close"].status == "passed"

def test_bad(stream_contract):
    stream_contract(lambda source: lambda prompt: list(source.stream(prompt)), contracts=["progressive"])
""",
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*: 1 failed, 0 passed, 0 skipped", "BROKEN   progressive: k outputs need at most k inputs"]
    )


@pytest.mark.exhaustive
def test_a_maker_may_stand_for_its_fixture(pytester):
    result = run(
        pytester,
        """
class TestClass(StreamContract):
    make_runnable = FakeLLM

    @pytest.fixture
    def make_runnable(self):
        return lambda source: source

def make(source):
    return source

class TestFunction(StreamContract):
    make_runnable = make

class TestStatic(StreamContract):
    make_runnable = staticmethod(lambda source: source)

class TestUnmarked(StreamContract):
    def make_runnable(self):
        return lambda source: source
""",
    )

    assert result.parseoutcomes() == {"passed": 4 * 18, "skipped": 4 * (len(NAMES) - 18)}


@pytest.mark.exhaustive
def test_text_may_be_a_plain_function(pytester):
    result = run(
        pytester,
        """
def read(chunk):
    return chunk["t"]

class Dicts:
    def __init__(self, source): self.source = source
    def stream(self, prompt):
        for chunk in self.source.stream(prompt):
            yield {"t": chunk}

class TestDicts(StreamContract):
    text = read
    make_runnable = Dicts

class TestMethod(StreamContract):
    make_runnable = Dicts

    def text(self, chunk):
        return chunk["t"]
""",
    )

    assert "failed" not in result.parseoutcomes()
    assert result.parseoutcomes()["passed"] >= 20


@pytest.mark.exhaustive
def test_a_misspelt_attribute_is_refused(pytester):
    result = run(pytester, "class TestX(StreamContract):\n    make_runnable = FakeLLM\n    skips = {}\n")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*TestX has 'skips', which StreamContract does not know; did you mean 'skip'?*"])


def test_the_fixture_fails_for_a_named_contract_that_cannot_be_checked(pytester):
    result = run(
        pytester,
        """
def test_named(stream_contract):
    stream_contract(lambda: FakeLLM("a"), contracts=["close", "concatenation"])

def test_skipped(stream_contract):
    stream_contract(lambda: FakeLLM("a"), contracts=["close", "concatenation"], skip={"close": "elsewhere"})
""",
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*skipped  close: its source is out of sight*"])
