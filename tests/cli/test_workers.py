"""`fakellm serve --workers`: several processes at one port, and what is known of them together."""

from __future__ import annotations

import gc
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from commands import serving
from vectors import first_of

from fakellm.cli.main import main
from fakellm.cli.seen import Seen

FAKES = """
import os, signal
from fakellm import FakeProvider, Pause

def who(request):
    return str(os.getpid())

providers = [
    FakeProvider("openai").when("who", who).when("slow", "a", Pause(0.3), "b").when("never", "x").otherwise("Hello"),
]
"""


@pytest.fixture
def fakes(tmp_path):
    path = tmp_path / "fakes.py"
    path.write_text(FAKES)
    return path


@pytest.mark.exhaustive
def test_workers_answer_alike_and_one_that_dies_is_replaced(fakes):
    with serving(fakes, "--workers", "2") as server:
        with ThreadPoolExecutor(8) as pool:
            streams = list(pool.map(lambda _: server.asked("slow", stream=True).read(), range(32)))
            pids = set(
                pool.map(lambda _: server.asked("who").read().split(b'"content":"')[1].split(b'"')[0], range(32))
            )
        assert len(set(streams)) == 1
        assert {int(pid) for pid in pids} == set(server.ready["workers"])

        first = server.ready["workers"][0]
        os.kill(first, signal.SIGKILL)
        event = server.event("worker")
        assert (event["was"], event["how"]) == (first, "was ended by SIGKILL")
        with ThreadPoolExecutor(8) as pool:
            pids = set(
                pool.map(lambda _: server.asked("who").read().split(b'"content":"')[1].split(b'"')[0], range(32))
            )
        assert {int(pid) for pid in pids} == {event["pid"], server.ready["workers"][1]}

        code, seen = server.ended()
        assert (code, seen["missed"], len(seen["unused"])) == (0, 0, 1)
        assert "'never'" in seen["unused"][0]
        assert 64 <= seen["calls"] <= 96  # what the one that was killed saw last, nobody knows


@pytest.mark.exhaustive
def test_streams_end_where_workers_are_asked_to_stop(fakes):
    with serving(fakes, "--workers", "2") as server:
        answer = server.asked("slow", stream=True)
        answer.read(10)
        assert server.ended(signal.SIGINT)[0] == 0
        assert answer.read().endswith(b"data: [DONE]\n\n")


@pytest.mark.exhaustive
def test_workers_end_where_their_supervisor_is_killed(fakes):
    with serving(fakes, "--workers", "2") as server:
        server.process.kill()
        server.process.wait()
        for pid in server.ready["workers"]:
            while is_there(pid):
                pass


def is_there(pid):
    """Tell whether a process that is no child of ours runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.exhaustive
@pytest.mark.parametrize(("texts", "code"), first_of([(["never", "slow", "who"], 0), (["slow", "who"], 3)]))
def test_the_exit_code_judges_what_all_workers_saw(fakes, texts, code, capfd):
    fakes.write_text(FAKES.replace('.otherwise("Hello")', ""))
    ask = """
import json, os, sys, urllib.request
for text in sys.argv[1:] * 4:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    urllib.request.urlopen(os.environ["OPENAI_BASE_URL"] + "/chat/completions", json.dumps(body).encode()).read()
"""
    found = main(["serve", str(fakes), "--workers", "2", "--", sys.executable, "-c", ask, *texts])

    assert (found, "never asked for" in capfd.readouterr().err) == (code, code == 3)


@pytest.mark.exhaustive
def test_a_miss_of_any_worker_is_one(fakes, capfd):
    fakes.write_text(FAKES.replace('.when("never", "x").otherwise("Hello")', '.reply("once")'))
    ask = "import os, urllib.request as r; r.urlopen(os.environ['OPENAI_BASE_URL'] + '/nothing', b'{}')"
    command = [sys.executable, "-c", f"try:\n exec({ask!r})\nexcept OSError: pass"]

    assert main(["serve", str(fakes), "--workers", "2", "--", *command]) == 3
    told = capfd.readouterr().err
    assert "each worker has replies of its own" in told
    assert "1 of 1 requests found no reply" in told


@pytest.mark.exhaustive
def test_workers_that_cannot_serve_are_not_tried_for_ever(fakes, tmp_path, monkeypatch, capfd, caplog):
    dies = "import os, sys\nif 'fakellm.cli.worker' in sys.orig_argv:\n    os.kill(os.getpid(), 9)\n"
    (tmp_path / "sitecustomize.py").write_text(dies)  # before it has imported anything
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))

    assert main(["serve", str(fakes), "--workers", "2"]) == 2
    assert "a worker died 5 times before it served" in capfd.readouterr().err
    gc.collect()  # when it is let go, asyncio tells of an error that nobody has looked at
    assert "never retrieved" not in caplog.text


def test_what_several_saw_is_added_up():
    one = Seen(2, 1, ("m",), ("a", "a", "b"))
    other = Seen(3, 0, (), ("a", "b", "c"))

    assert Seen.together([one, other]) == Seen(5, 1, ("m",), ("a", "b"))
    assert Seen.together([]) == Seen()
    assert Seen.from_plain(one.plain()) == one
