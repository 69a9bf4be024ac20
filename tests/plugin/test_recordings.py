"""When a recording is kept, and what a run says of its tapes: small projects, run for real."""

from __future__ import annotations

import json
import textwrap

import loopback
import preloaded  # noqa: F401
import pytest
import yaml
from runs import LEAN, parallel
from upstreams import Upstream
from vectors import first_of

from fakellm import FakeProvider, disconnect

HEAD = """
import httpx, os, pytest

def ask(text):
    asked = {"model": "m", "messages": [{"role": "user", "content": text}]}
    answer = httpx.post(os.environ["OPENAI_BASE_URL"] + "/chat/completions", json=asked)
    return answer.raise_for_status().json()["choices"][0]["message"]["content"]
"""


class Server:
    """A chat server that answers with what it `says` and what it is asked."""

    def __init__(self):
        self.says = "OLD"
        self.provider = FakeProvider("openai", hosts=["127.0.0.1"]).otherwise(lambda request: [self.says, request.text])

    @property
    def asked(self):
        return len(self.provider.calls)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    server = Server()
    with loopback.Loopback(server.provider) as loop:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{loop.url}/v1")
        yield server


class Project:
    """A project of one or more test files, which all begin alike."""

    def __init__(self, pytester):
        self.pytester = pytester
        self.cassettes = pytester.path / "cassettes"

    def write(self, test="", **files):
        files = {**({"test_app": test} if test else {}), **files}
        self.pytester.makepyfile(**{name: HEAD + textwrap.dedent(text) for name, text in files.items()})

    def run(self, *options, **more):
        return self.pytester.runpytest(*LEAN, *options, **more)

    def interrupted(self, *options):
        return self.run(*options, no_reraise_ctrlc=True)

    def parallel(self, *options, workers=2):
        pytest.importorskip("xdist", reason="pytest-xdist is not installed")
        return parallel(self.pytester, *options, workers=workers)

    def said(self, name):
        """Return what each interaction of a tape was asked and answered."""
        found = []
        for interaction in yaml.safe_load((self.cassettes / name).read_text())["interactions"]:
            asked = json.loads(interaction["request"]["body"])["messages"][0]["content"]
            body = interaction["response"]["body"]["string"]
            status = interaction["response"]["status"]["code"]
            answer = json.loads(body)["choices"][0]["message"]["content"] if status == 200 else str(status)
            found.append((asked, answer.removesuffix(asked)))
        return found

    @property
    def tapes(self):
        return {p.relative_to(self.cassettes).as_posix(): p.read_bytes() for p in self.cassettes.rglob("*.*")}


@pytest.fixture
def project(pytester):
    return Project(pytester)


ONE = """
    @pytest.mark.cassette("t.yaml")
    def test_it():
        assert ask("a").endswith("a")
        assert ask("b").endswith("b")
    """


# -- a recording is kept when its test passed ----------------------------------------------------------------

INSTEAD = {
    "the server answers 401": (lambda server: server.provider.error(401), ""),
    "the server answers 500 later": (lambda server: server.provider.reply("NEWa").error(500), ""),
    "the stream drops": (lambda server: server.provider.reply("NEWa").reply("x", disconnect()), ""),
    "the test fails": (None, "assert 0"),
    "another fixture fails at the end": (None, "request.addfinalizer(lambda: 1 / 0)"),
    "it fails as expected": (None, "pytest.xfail('so')"),
    "it is skipped half-way": (None, "pytest.skip('so')"),
}


@pytest.mark.parametrize(
    ("mode", "case"),
    first_of(
        [
            ("rewrite", "the test fails"),
            ("once", "the server answers 500 later"),
            ("all", "the stream drops"),
            *(("all", case) for case in INSTEAD if case != "the stream drops"),
        ],
    ),
)
def test_a_test_that_does_not_pass_leaves_the_tape_as_it_was(project, server, mode, case):
    answers, ends = INSTEAD[case]
    if mode != "once":
        project.write(ONE)
        project.run().assert_outcomes(passed=1)
    before, asked, server.says = project.tapes, server.asked, "NEW"
    if answers:
        answers(server)
    project.write(ONE.replace("test_it()", "test_it(request)") + f"    {ends}\n")

    result = project.run(f"--llm-record={mode}")

    assert server.asked > asked
    assert project.tapes == before
    result.stdout.fnmatch_lines(["*= cassettes =*", "*t.yaml: * recorded*, and not kept: test_app.py::test_it *"])


def test_what_a_failed_test_adds_to_a_tape_is_not_kept(project, server):
    project.write(ONE.replace('assert ask("b")', 'assert "b"'))
    project.run().assert_outcomes(passed=1)
    project.write(ONE + "    assert 0\n")
    project.run("--llm-record=new_episodes").assert_outcomes(failed=1)
    assert project.said("t.yaml") == [("a", "OLD")]


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("mode", "how"),
    first_of([("all", "raise KeyboardInterrupt"), ("once", "raise KeyboardInterrupt"), ("all", "pytest.exit('x')")]),
)
def test_an_interrupted_test_leaves_the_tape_as_it_was(project, server, mode, how):
    if mode != "once":
        project.write(ONE)
        project.run().assert_outcomes(passed=1)
    before = project.tapes
    server.says = "NEW"
    project.write(ONE.replace('    assert ask("b")', f'    {how}\n        assert ask("b")'))

    project.interrupted(f"--llm-record={mode}")

    assert project.tapes == before
    project.write(ONE)
    project.run().assert_outcomes(passed=1)
    assert len(project.said("t.yaml")) == 2


@pytest.mark.exhaustive
@pytest.mark.parametrize(("said", "ends"), [("marker", "assert 0"), ("configuration", "raise KeyboardInterrupt")])
def test_record_on_exception_keeps_what_there_is(project, server, said, ends):
    marked = ONE.replace('"t.yaml"', '"t.yaml", record_on_exception=True') if said == "marker" else ONE
    options = ("-o", "llm_record_on_exception=true") if said == "configuration" else ()
    project.write(marked + f"    {ends}\n")

    project.interrupted(*options)

    assert project.said("t.yaml") == [("a", "OLD"), ("b", "OLD")]


SHARED = """
    @pytest.mark.cassette("one.yaml")
    @pytest.mark.parametrize("n", range({tests}))
    def test_shared(n, cassette):
        {before}
        said = ask(f"{{n}}"), ask("by all")
        {after}
    """


def shared(tests=4, before="", after=""):
    return SHARED.format(tests=tests, before=before or "pass", after=after or "pass")


EACH = [*(str(n) for n in range(4)), "by all"]


@pytest.mark.exhaustive
def test_a_tape_that_tests_share_is_begun_by_all_of_them_or_not_at_all(project, server):
    project.write(shared(after="assert n != 2"))
    result = project.run()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines("*one.yaml: 4 recorded, and not kept: not all tests that use it have passed")
    assert project.tapes == {}

    project.write(shared())
    project.run().assert_outcomes(passed=4)
    assert sorted(project.said("one.yaml")) == [(text, "OLD") for text in sorted(EACH)]
    project.run("--llm-record=none").assert_outcomes(passed=4)


@pytest.mark.exhaustive
def test_a_failed_test_keeps_its_old_part_of_a_tape_and_the_others_get_their_new(project, server):
    project.write(shared())
    project.run().assert_outcomes(passed=4)
    server.says = "NEW"
    project.write(shared(after="assert n != 2"))

    project.run("--llm-record=all").assert_outcomes(passed=3, failed=1)

    assert dict(project.said("one.yaml")) == {**dict.fromkeys(EACH, "NEW"), "2": "OLD"}
    assert len(project.said("one.yaml")) == 5


@pytest.mark.parametrize(
    ("how", "expected"),
    first_of([("raise KeyboardInterrupt", "OLD"), ("pytest.exit('x')", "OLD"), ("assert 0", "NEW")]),
)
@pytest.mark.exhaustive
def test_a_run_that_is_interrupted_leaves_a_shared_tape_byte_for_byte_and_one_that_stops_does_not(
    project, server, how, expected
):
    own = "\n@pytest.mark.cassette('own.yaml')\ndef test_a_own():\n    ask('own')\n"
    project.write(test_a=own, test_b=shared())
    project.run().assert_outcomes(passed=5)
    before = project.tapes
    server.says = "NEW"
    project.write(test_b=shared(before=f"if n == 2: {how}"))

    project.interrupted("--llm-record=all", "-x")

    assert dict(project.said("one.yaml")) == {
        **dict.fromkeys(EACH, "OLD"),
        **dict.fromkeys(["0", "1", "by all"], expected),
    }
    assert (project.tapes["one.yaml"] == before["one.yaml"]) == (expected == "OLD")
    assert project.said("own.yaml") == [("own", "NEW")]
    assert not [path for path in project.pytester.path.rglob("*") if path.suffix in (".lock", ".tmp")]


@pytest.mark.exhaustive
def test_of_a_request_that_tests_share_the_tape_has_as_many_as_one_test_sent(project, server):
    test = """
        @pytest.mark.cassette("t.yaml")
        @pytest.mark.parametrize("times", [1, 3, 2])
        def test_it(times):
            for _ in range(times):
                ask("a")
        """
    project.write(test)
    for server.says in ("OLD", "NEW"):
        project.run("--llm-record=all").assert_outcomes(passed=3)
        assert project.said("t.yaml") == [("a", server.says)] * 3
    project.run("--llm-record=none").assert_outcomes(passed=3)


def test_a_test_that_is_run_again_is_kept_when_it_passes(project, server):
    project.pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            for _ in range(2):
                reports = runtestprotocol(item, nextitem=nextitem, log=False)
                item._initrequest()
            for report in reports:
                item.ihook.pytest_runtest_logreport(report=report)
            return True
        """
    )
    project.write(
        """
        seen = []

        @pytest.mark.cassette("t.yaml")
        def test_it():
            seen.append(ask(f"{len(seen)}"))
            assert len(seen) == 2
        """
    )
    project.run().assert_outcomes(passed=1)
    assert project.said("t.yaml") == [("1", "OLD")]


# -- parallel workers ----------------------------------------------------------------------------------------


PARTS = """
    @pytest.mark.cassette("one.yaml", mode="all")
    @pytest.mark.parametrize("n", range(4))
    def test_shared(n):
        ask(f"{n}")
        ask("by all")

    @pytest.mark.cassette
    @pytest.mark.parametrize("n", range(3))
    def test_own(n):
        assert ask(f"own {n}").endswith(f"own {n}")

    @pytest.mark.cassette("grown.yaml", mode="new_episodes")
    @pytest.mark.parametrize("n", range(4))
    def test_grown(n):
        ask(f"{n}")
        ask("by all")

    @pytest.mark.cassette("kept.yaml", mode="verify")
    @pytest.mark.parametrize("n", range(2))
    def test_kept(n):
        assert httpx.post("URL/v1/chat/completions", json={"n": n}).json()["said"] == "uno"
    """


def document(**fields):
    body = json.dumps({"said": "uno", **fields}).encode()
    return [b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body]


@pytest.mark.exhaustive
def test_workers_leave_what_the_run_recorded_once_and_the_run_says_so(project, server):
    with Upstream(document(), document(), document(more=1)) as upstream:
        parts = PARTS.replace("URL", upstream.url)
        project.write(parts.replace('ask("by all")', 'ask("by all")\n        n or ask("gone")', 1))
        project.run("--llm-record=all", "-k", "shared or kept").assert_outcomes(passed=6, deselected=7)
        kept, server.says = project.tapes["kept.yaml"], "NEW"
        (project.cassettes / "two.yaml").write_bytes(project.tapes["one.yaml"])
        project.write(parts)

        result = project.parallel()

    result.assert_outcomes(passed=13)
    unused, alone = "*one.yaml: 1 not used: interaction *", "cassettes/two.yaml: no test uses it"
    result.stdout.fnmatch_lines_random(["*= cassettes =*", "*one.yaml: 8 recorded", unused, alone])
    result.stdout.fnmatch_lines(["*kept.yaml: 2 asked again, 2 drifted", "  notable: *more: the field is new"])
    assert project.tapes["kept.yaml"] == kept
    new = sorted((text, "NEW") for text in EACH)
    assert sorted(project.said("one.yaml")) == sorted([*new, ("gone", "OLD")])
    assert sorted(project.said("grown.yaml")) == new
    own = {f"test_app/test_own-{n}.yaml": [(f"own {n}", "NEW")] for n in range(3)}
    assert {name: project.said(name) for name in project.tapes if "/" in name} == own
    asked = server.asked
    project.run("--llm-record=none").assert_outcomes(passed=13)
    assert server.asked == asked


@pytest.mark.exhaustive
def test_a_worker_that_dies_leaves_its_part_and_loses_nothing_of_others(project, server):
    project.write(shared())
    project.run().assert_outcomes(passed=4)
    server.says = "NEW"
    project.write(shared(after="n == 2 and os._exit(1)"))

    result = project.parallel("--llm-record=all", workers=1)  # and one more when that has died

    result.assert_outcomes(passed=3, failed=1)
    assert dict(project.said("one.yaml")) == {**dict.fromkeys(EACH, "NEW"), "2": "OLD"}


@pytest.mark.exhaustive
def test_an_interrupted_worker_interrupts_the_run(project, server):
    project.write(shared())
    project.run().assert_outcomes(passed=4)
    before, server.says = project.tapes, "NEW"
    project.write(shared(before="if n == 3: raise KeyboardInterrupt"))

    project.parallel("--llm-record=all")

    assert project.tapes == before


# -- rewrite, and what is not used ---------------------------------------------------------------------------

TWO = """
    @pytest.mark.cassette("t.yaml")
    def test_a():
        ask("a")

    @pytest.mark.cassette("t.yaml")
    def test_b():
        ask("b")
        ask("secret")
    """


@pytest.fixture
def two(project, server):
    """Two tests of one tape, of which the second does not ask for everything any more."""
    project.write(TWO)
    project.run().assert_outcomes(passed=2)
    project.write(TWO.replace('ask("secret")', ""))
    server.says = "NEW"
    return project


@pytest.mark.exhaustive
def test_rewrite_takes_off_what_is_not_asked_for_any_more(two):
    two.run("--llm-record=all").assert_outcomes(passed=2)
    assert two.said("t.yaml") == [("a", "NEW"), ("b", "NEW"), ("secret", "OLD")]
    two.run("--llm-record=rewrite").assert_outcomes(passed=2)
    assert two.said("t.yaml") == [("a", "NEW"), ("b", "NEW")]


@pytest.mark.parametrize("selection", [("-k", "not test_b"), ("test_app.py::test_a",)])
@pytest.mark.exhaustive
def test_rewrite_keeps_what_tests_may_ask_for_that_are_not_run(two, selection):
    two.run("--llm-record=rewrite", *selection)
    assert two.said("t.yaml") == [("a", "NEW"), ("b", "OLD"), ("secret", "OLD")]


@pytest.mark.exhaustive
def test_rewrite_keeps_what_a_failed_test_may_ask_for(two):
    two.write(TWO.replace('ask("b")', "assert 0"))
    two.run("--llm-record=rewrite").assert_outcomes(passed=1, failed=1)
    assert two.said("t.yaml") == [("a", "NEW"), ("b", "OLD"), ("secret", "OLD")]


@pytest.mark.exhaustive
def test_rewrite_keeps_what_other_tests_play(two):
    two.write(
        TWO.replace('ask("secret")', "").replace(
            '"t.yaml")\n    def test_a', '"t.yaml", mode="rewrite")\n    def test_a'
        )
    )
    two.run().assert_outcomes(passed=2)
    assert two.said("t.yaml") == [("a", "NEW"), ("b", "OLD")]


UNUSED = "*t.yaml: 1 not used: interaction 2, POST http*/chat/completions; --llm-record=rewrite takes off *"


@pytest.mark.exhaustive
def test_a_run_says_what_of_a_tape_was_not_used(two):
    result = two.run("--llm-record=none")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*= cassettes =*", UNUSED])
    two.run("--llm-record=all").stdout.fnmatch_lines(["*t.yaml: 2 recorded", UNUSED])
    two.run("--llm-record=rewrite").stdout.no_fnmatch_line("*not used*")
    two.run().stdout.no_fnmatch_line("*= cassettes =*")


@pytest.mark.parametrize(
    "options",
    first_of([(("-k", "test_b"),), (("test_app.py::test_b",),), (("test_app.py",),), (("--ignore=test_other.py",),)]),
)
@pytest.mark.exhaustive
def test_nothing_is_said_of_what_another_test_may_use(two, options):
    two.write(test_other="@pytest.mark.cassette('t.yaml')\ndef test_other():\n    ask('secret')\n")
    two.run(*options, "--llm-record=none").stdout.no_fnmatch_line("*not used*")
    two.run("--llm-record=none").stdout.no_fnmatch_line("*not used*")


@pytest.mark.exhaustive
def test_nothing_is_said_when_a_test_failed_or_a_file_could_not_be_read(two):
    two.write(TWO.replace('ask("secret")', "assert 0"))
    two.run("--llm-record=none").stdout.no_fnmatch_line("*not used*")
    two.write(TWO.replace('ask("secret")', ""), test_other="import nothing_of_this_name")
    two.run("--llm-record=none", "--continue-on-collection-errors").stdout.no_fnmatch_line("*not used*")


@pytest.mark.exhaustive
def test_nothing_is_said_of_files_that_the_last_failures_leave_out(two):
    two.write(
        test_other="@pytest.mark.cassette('t.yaml')\ndef test_other():\n    ask('secret')\n",
        test_third="def test_it():\n    assert 0",
    )
    for options in ((), ("--lf",)):
        result = two.pytester.runpytest(*LEAN[2:], "--llm-record=none", *options)
        result.stdout.no_fnmatch_line("*not used*")
    two.write(test_third="@pytest.mark.cassette('t.yaml')\ndef test_it():\n    ask('a')")
    result = two.pytester.runpytest(*LEAN[2:], "--llm-record=none", "--lf")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*not used*")


@pytest.mark.exhaustive
def test_a_tape_that_cannot_be_written_fails_its_test_and_not_the_run(project, server):
    project.write(shared(1))
    project.run("--llm-record=all").assert_outcomes(passed=1)
    project.write(shared(1, after="cassette.path.write_text('interactions: [')"))
    result = project.run("--llm-record=all")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*one.yaml, line *", "*one.yaml: 2 recorded, and not kept: test_app.py::test_shared* failed"]
    )
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert project.tapes["one.yaml"] == b"interactions: ["


@pytest.mark.exhaustive
def test_a_run_says_which_tapes_no_test_uses(project, server):
    project.write(
        """
        @pytest.mark.cassette
        @pytest.mark.parametrize("n", range(3))
        def test_it(n):
            ask(f"{n}")
        """
    )
    project.run().assert_outcomes(passed=3)
    file = project.pytester.path / "test_app.py"
    file.write_text(file.read_text().replace("range(3)", "range(2)") + "\nREAD = 'named.yaml'\n")
    tape = (project.cassettes / "test_app" / "test_it-2.yaml").read_text()
    (project.cassettes / "named.yaml").write_text(tape)
    (project.cassettes / "settings.yaml").write_text("a: 1\n")

    result = project.run("--llm-record=none")
    result.stdout.fnmatch_lines(["*= cassettes =*", "cassettes/test_app/test_it-2.yaml: no test uses it"])
    result.stdout.no_fnmatch_line("*named.yaml: no*")
    result.stdout.no_fnmatch_line("*settings.yaml*")
    project.run("-k", "0", "--llm-record=none").stdout.fnmatch_lines("*test_it-2.yaml: no test uses it")
    project.write(test_other="def test_it():\n    pass\n")
    project.run("test_app.py", "--llm-record=none").stdout.no_fnmatch_line("*no test uses*")
    project.run("--llm-record=none").stdout.fnmatch_lines("*test_it-2.yaml: no test uses it")
    file.write_text(file.read_text().replace("@pytest.mark.cassette", "@pytest.mark.vcr\n@pytest.mark.cassette"))
    project.run("--llm-record=none").stdout.no_fnmatch_line("*no test uses*")
