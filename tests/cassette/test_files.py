"""Tapes on disk: whole or not at all, whoever dies, and nothing lost and nothing doubled, however many write."""

from __future__ import annotations

import json
import os
import random
import stat
import subprocess
import sys
import threading
import time
from importlib import import_module

import pytest
import vcr
from vcr.persisters.filesystem import CassetteNotFoundError
from vcr.request import Request

from fakellm.cassette import locking
from fakellm.cassette.document import CassetteError
from fakellm.cassette.files import Files
from fakellm.cassette.locking import lock

posix = pytest.mark.skipif(os.name != "posix", reason="processes are forked and killed")


def pair(name, answer="yes", uri="https://x.test/", **more):
    """Return an interaction of its own name."""
    response = {
        "status": {"code": 200, "message": "OK"},
        "headers": {},
        "body": {"string": str(answer).encode()},
        **more,
    }
    return Request("POST", uri, json.dumps({"name": name}).encode(), {}), response


def save(files, path, *pairs, **more):
    files.save_cassette(
        path, {"requests": [r for r, _ in pairs], "responses": [a for _, a in pairs], **more}, serializer=None
    )


def load(path, files=None):
    """Return (name, answer) of each interaction."""
    requests, responses, *_ = (files or Files()).load_cassette(path, serializer=None)
    return [
        (json.loads(request.body)["name"], response["body"]["string"].decode())
        for request, response in zip(requests, responses, strict=True)
    ]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refusal(call, *arguments):
    with pytest.raises(CassetteError) as error:
        call(*arguments)
    assert "\n  to do:     " in str(error.value)
    return str(error.value).split("\n")[0]


# -- one writer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "begin"), [(".json", "{"), (".yaml", "#"), (".yml", "#"), ("", "#"), (".tape", "#")]
)
def test_the_suffix_says_whether_it_is_json(tmp_path, suffix, begin):
    path = tmp_path / f"t{suffix}"
    save(Files(), path, pair("a"))

    assert path.read_text()[0] == begin
    assert load(path) == [("a", "yes")]
    assert names(tmp_path) == [path.name]


def test_the_folder_is_made(tmp_path):
    save(Files(), tmp_path / "a" / "b" / "t.yaml", pair("a"))

    assert load(str(tmp_path / "a" / "b" / "t.yaml")) == [("a", "yes")]


def test_no_file_and_an_empty_one_are_for_vcrpy_to_record(tmp_path):
    (tmp_path / "empty.yaml").write_text("\n")
    for name in ("none.yaml", "empty.yaml"):
        with pytest.raises(CassetteNotFoundError):
            Files().load_cassette(tmp_path / name, serializer=None)


def test_metadata_is_kept_and_merged(tmp_path):
    path = tmp_path / "t.yaml"
    save(Files(), path, pair("a"), metadata={"x": 1, "y": 1})
    save(Files(), path, pair("b"), metadata={"y": 2})

    assert Files().load_cassette(path)[2] == {"x": 1, "y": 2}


def test_saving_changes_neither_what_is_in_memory_nor_a_file_that_is_the_same(tmp_path):
    path, files, one = tmp_path / "t.yaml", Files(), pair("a")
    save(files, path, one)
    before = path.stat()
    save(files, path, one)

    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert one[1]["body"] == {"string": b"yes"}


@posix
def test_a_link_stays_a_link_and_a_mode_stays_a_mode(tmp_path):
    path = tmp_path / "real.yaml"
    save(Files(), path, pair("a"))
    path.chmod(0o640)
    (tmp_path / "link.yaml").symlink_to(path)
    save(Files(), tmp_path / "link.yaml", pair("b"))

    assert (tmp_path / "link.yaml").is_symlink()
    assert load(path) == [("a", "yes"), ("b", "yes")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_vcrpy_records_with_it_and_replays_from_it(tmp_path):
    http = import_module("http.server")
    count = iter(range(100))

    class Handler(http.BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: N802
            self.rfile.read(int(self.headers["content-length"]))
            body = f"{next(count)}".encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    requests = import_module("requests")
    engine = vcr.VCR(match_on=["method", "uri", "body"], record_mode="new_episodes")

    def ask(*words):
        engine.register_persister(Files())
        with engine.use_cassette(str(tmp_path / "t.yaml")):
            return [
                requests.post(f"http://127.0.0.1:{server.server_port}/", json={"name": word}).text for word in words
            ]

    assert ask("a", "b") == ["0", "1"]
    assert ask("b", "c", "a") == ["1", "2", "0"]
    assert load(tmp_path / "t.yaml") == [("a", "0"), ("b", "1"), ("c", "2")]
    server.shutdown()
    server.server_close()


# -- what is broken is kept ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"interactions: [", b"hello", b"interactions:\n- {}\n", b"\xff\xfe", b"version: 7\ninteractions: []\n"]
)
def test_a_broken_tape_is_neither_loaded_nor_written_over(tmp_path, content):
    path = tmp_path / "t.yaml"
    path.write_bytes(content)

    assert refusal(load, path).startswith(f"{path}, line ")
    assert refusal(save, Files(), path, pair("a")).startswith(f"{path}, line ")
    with pytest.raises(CassetteError), vcr_with(Files()).use_cassette(str(path)):
        pass
    assert path.read_bytes() == content
    assert names(tmp_path) == ["t.yaml"]


def vcr_with(files):
    engine = vcr.VCR(record_mode="all")
    engine.register_persister(files)
    return engine


def test_a_tape_of_another_tool_is_read_but_not_recorded_on(tmp_path):
    path, files = tmp_path / "t.yml", Files()
    path.write_text("http_interactions:\n- request: {method: get, uri: 'https://x.test', body: {string: '{\"name\": 1}'}}\n"
                    "  response: {status: {code: 200, message: OK}, headers: {}, body: {string: x}}\n")  # fmt: skip

    assert load(path, files) == [(1, "x")]
    assert "is a tape of Ruby VCR" in refusal(save, files, path, pair("a"))


def test_what_stands_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("x")

    assert refusal(save, Files(), tmp_path / "file" / "a" / "t.yaml", pair("a")).endswith(
        f"{tmp_path / 'file'} is a file"
    )
    (tmp_path / "t.yaml").mkdir()
    assert "a tape is a file, and what is there is a folder" in refusal(load, tmp_path / "t.yaml")


# -- several writers ----------------------------------------------------------------------------------


def test_what_another_worker_recorded_meanwhile_is_kept(tmp_path):
    path = tmp_path / "t.yaml"
    save(Files(), path, pair("old"))
    one, two = Files(), Files()
    load(path, one)
    load(path, two)
    save(one, path, pair("old"), pair("a"))
    save(two, path, pair("old"), pair("b"))
    save(one, path, pair("old"), pair("a"), pair("c"))

    assert load(path) == [("old", "yes"), ("a", "yes"), ("b", "yes"), ("c", "yes")]


def test_two_workers_that_ran_the_same_test_do_not_double_it(tmp_path):
    path = tmp_path / "t.yaml"
    save(Files(), path, pair("a", 1), pair("b", 1))
    save(Files(), path, pair("a", 2), pair("b", 2))

    assert load(path) == [("a", "1"), ("b", "1")]


def test_equal_requests_of_one_worker_are_as_many_as_the_one_sent_that_sent_most(tmp_path):
    path = tmp_path / "t.yaml"
    save(Files(), path, pair("a", 1), pair("a", 1))
    assert load(path) == [("a", "1"), ("a", "1")]

    save(Files(), path, pair("a", 2))
    assert load(path) == [("a", "1"), ("a", "1")]

    save(Files(), path, pair("a", 3), pair("a", 4), pair("a", 5))
    assert load(path) == [("a", "1"), ("a", "1"), ("a", "5")]


def test_what_was_recorded_anew_does_not_come_back(tmp_path):
    path = tmp_path / "t.yaml"
    save(Files(), path, pair("a", 1), pair("b", 1))
    files = Files()
    load(path, files)
    save(Files(), path, pair("c", 1))
    save(files, path, pair("a", 2))

    assert load(path) == [("c", "1"), ("a", "2")]


def test_a_worker_that_saves_twice_does_not_double_itself(tmp_path):
    path, files = tmp_path / "t.yaml", Files()
    save(files, path, pair("a", 1))
    save(files, path, pair("a", 1), pair("a", 2))
    save(Files(), path, pair("z"))
    save(files, path, pair("a", 1), pair("a", 2), pair("b"))

    assert load(path) == [("a", "1"), ("a", "2"), ("z", "yes"), ("b", "yes")]


def test_which_requests_are_the_same_can_be_said(tmp_path):
    path = tmp_path / "t.yaml"
    save(Files(), path, pair("a", uri="https://x.test/1"))
    save(Files(key=lambda request: request.body), path, pair("a", uri="https://x.test/2"))
    assert len(load(path)) == 1

    save(Files(), path, pair("a", uri="https://x.test/2"))
    assert len(load(path)) == 2


WORKERS = """
import json, os, sys, time
from pathlib import Path
from vcr.request import Request
from fakellm.cassette.files import Files

workers, paths = int(sys.argv[1]), sys.argv[2:]
gate, open_gate = os.pipe()

def work(number):
  for round in range(3):
    for path in paths:
        files, pairs = Files(), []
        try:
            requests, responses = files.load_cassette(path)[:2]
            pairs = list(zip(requests, responses))
        except FileNotFoundError:
            pass
        for name in (f"{number}.{round}", f"shared.{round}"):
            if name not in [json.loads(request.body)["name"] for request, _ in pairs]:
                answer = {"status": {"code": 200, "message": "OK"}, "headers": {}, "body": {"string": number.encode() * 2000}}
                pairs.append((Request("POST", "https://x.test/", json.dumps({"name": name}), {}), answer))
        time.sleep(0.002)
        files.save_cassette(path, {"requests": [r for r, _ in pairs], "responses": [a for _, a in pairs]}, serializer=None)

children = []
for number in range(workers):
    children.append(os.fork())
    if not children[-1]:
        os.close(open_gate)
        os.read(gate, 1)  # they begin together, when it is closed
        work(str(number))
        os._exit(0)
os.close(open_gate)
sys.exit(any(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.exhaustive
@posix
def test_eight_processes_lose_nothing_and_double_nothing(tmp_path):
    paths = [tmp_path / "tapes" / name for name in ("a.json", "b.yaml")]

    subprocess.run([sys.executable, "-c", WORKERS, "8", *map(str, paths)], check=True, timeout=60)

    for path in paths:
        found = sorted(name for name, _ in load(path))
        assert found == sorted([*(f"{n}.{r}" for n in range(8) for r in range(3)), *(f"shared.{r}" for r in range(3))])
    assert names(tmp_path / "tapes") == [path.name for path in paths]


def test_threads_lose_nothing_either(tmp_path):
    path = tmp_path / "t.yaml"
    threads = [threading.Thread(target=save, args=(Files(), path, pair(number))) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(name for name, _ in load(path)) == list(range(16))


# -- killed -------------------------------------------------------------------------------------------

KILLS = int(os.environ.get("FAKELLM_KILLS", "80"))
KILLER = """
import os, random, re, signal, sys, time
from pathlib import Path
from vcr.request import Request
from fakellm.cassette.files import Files

path, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
dice = random.Random(seed)

def write(number):
    answer = {"status": {"code": 200, "message": "OK"}, "headers": {}, "body": {"string": b"%d\\n" % number * 20000}}
    files = Files()
    try:
        files.load_cassette(path)
    except FileNotFoundError:
        pass
    files.save_cassette(path, {"requests": [Request("POST", "https://x.test/", b"x", {})], "responses": [answer]}, None)
    return number

begun = time.perf_counter()
write(0), write(1)
span = (time.perf_counter() - begun) / 2
seen = {"tmp": 0, "lock": 0}
for kill in range(kills):
    child = os.fork()
    if not child:
        number = 2
        while True:
            number = 1 + write(number)
    time.sleep(dice.uniform(0, 3 * span))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for entry in os.listdir(path.parent):
        if entry != path.name:
            seen[entry.rpartition(".")[2]] += 1
    (request,), (response,) = Files().load_cassette(path)
    body = response["body"]["string"]
    number = body.split(b"\\n", 1)[0]
    assert body == (number + b"\\n") * 20000, f"kill {kill}: half a tape"
    begun = time.perf_counter()
    if kill % 10 == 0:
        write(1)
        assert time.perf_counter() - begun < 5, f"kill {kill}: the lock was not let go of"
        assert os.listdir(path.parent) == [path.name], f"kill {kill}: litter {os.listdir(path.parent)}"
print(seen["tmp"], seen["lock"])
"""


@pytest.mark.exhaustive
@posix
def test_a_writer_that_is_killed_at_any_moment_leaves_the_old_tape_or_the_new(tmp_path):
    seed = random.randrange(2**32) if os.environ.get("FAKELLM_KILLS") else 20261124
    (tmp_path / "tapes").mkdir()
    arguments = [str(tmp_path / "tapes" / "t.yaml"), str(KILLS), str(seed)]
    done = subprocess.run(
        [sys.executable, "-c", KILLER, *arguments], capture_output=True, check=False, text=True, timeout=300
    )

    assert done.returncode == 0, done.stderr
    temporary, locked = map(int, done.stdout.split())
    assert temporary > 1, "no writer was killed while it wrote"
    assert locked > 1, "no writer was killed while it had the lock"


def test_the_litter_of_this_tape_is_removed_and_nothing_else(tmp_path):
    kept = [".t.yaml.0123456.tmp", ".t.yaml.x.01234567.tmp", "t.yaml.01234567.tmp", ".other.yaml.01234567.tmp"]
    for name in (".t.yaml.01234567.tmp", *kept):
        (tmp_path / name).write_text("half")
    save(Files(), tmp_path / "t.yaml", pair("a"))

    assert names(tmp_path) == sorted([*kept, "t.yaml"])


def test_a_save_that_fails_leaves_the_old_tape(tmp_path, monkeypatch):
    path = tmp_path / "t.yaml"
    save(Files(), path, pair("a"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert refusal(save, Files(), path, pair("b")) == f"{path}: the tape cannot be written: No space left on device"
    assert load(path) == [("a", "yes")]
    assert names(tmp_path) == ["t.yaml"]


# -- the lock -----------------------------------------------------------------------------------------


@pytest.fixture(params=["flock", "exclusive", "no locks here"])
def kind(request, monkeypatch):
    """Each way to lock that this system can be made to take."""
    if request.param == "exclusive":
        monkeypatch.setattr(locking, "_module", lambda name: None)
    elif request.param == "no locks here":
        fcntl = pytest.importorskip("fcntl")

        def refuse(*_):
            raise OSError(37, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("kind")
def test_who_has_the_lock_is_the_only_one(tmp_path):
    path = tmp_path / ".lock"
    inside, most = [], []

    def enter():
        with lock(path, 60, "t"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.002)
            inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1] * 12
    assert names(tmp_path) == []


@pytest.mark.usefixtures("kind")
def test_waiting_for_the_lock_ends(tmp_path):
    with (
        lock(tmp_path / ".lock", 1, "t"),
        pytest.raises(CassetteError, match="another process has been writing it"),
        lock(tmp_path / ".lock", 0.05, "t.yaml"),
    ):
        pass


@posix
def test_the_lock_of_a_process_that_is_dead_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "_module", lambda name: None)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    (tmp_path / ".lock").write_text(str(child.pid))
    with lock(tmp_path / ".lock", 0.1, "t"):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())

    (tmp_path / ".lock").write_text("")
    os.utime(tmp_path / ".lock", (1, 1))
    with lock(tmp_path / ".lock", 0.1, "t"):
        pass
    assert names(tmp_path) == []


@posix
def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    try:
        assert "the tape cannot be locked" in refusal(save, Files(), tmp_path / "t.yaml", pair("a"))
    finally:
        tmp_path.chmod(0o700)


def test_a_lock_that_is_a_folder_is_named(tmp_path):
    (tmp_path / ".t.yaml.lock").mkdir()

    assert "the tape cannot be locked" in refusal(save, Files(), tmp_path / "t.yaml", pair("a"))
