"""Where a tape lies: what is no file is left alone, and what could not be saved is not asked for."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import httpx
import loopback
import pytest
import requests
from taping import stored, tape

from fakellm import Script
from fakellm.cassette import CassetteError, Tape, check, script_of
from fakellm.cassette.run import Ended, Run
from fakellm.errors import ScriptFileError, UnexpectedRequestError
from fakellm.http import playing

posix = pytest.mark.skipif(os.name != "posix", reason="files that only POSIX has")
pytestmark = posix


def fifo(path):
    os.mkfifo(path)
    return "a FIFO"


def listening(path):
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # the name of a socket is short
        server.bind(path.name)
    return "a socket"


def device(path):
    path.symlink_to(os.devnull)
    return "a device"


def folder(path):
    path.mkdir()
    return "a folder"


@pytest.mark.parametrize("make", [fifo, listening, device, folder])
def test_what_is_no_file_is_neither_read_nor_replaced(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tape.yaml"
    what = make(path)
    for mode in ("none", "once", "new_episodes", "all", "rewrite"):
        with pytest.raises(CassetteError, match=f"tape.yaml: a tape is a file, and what is there is {what}\n  to do: "):
            with playing(Tape(path, mode=mode)):
                pass
    with pytest.raises(CassetteError, match=what):
        script_of(path)
    with pytest.raises(ScriptFileError, match=f"a script is read from a file, and what is there is {what}"):
        Script.load(path)
    with pytest.raises(ScriptFileError, match=f"a script is saved to a file, and what is there is {what}"):
        Script("Hi").save(path)
    (tmp_path / "to itself").symlink_to(tmp_path)
    (tmp_path / "to nothing").symlink_to("nowhere")
    assert check([tmp_path]) == []
    assert not stat.S_ISREG(path.stat().st_mode)
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def linked(path):
    os.link(path, path.with_name("other.yaml"))
    return r"the file has 2 names \(hard links\)"


def read_only(path):
    path.chmod(0o444)
    return "the file is read-only"


def somebody_elses(path):
    os.chown(path, 4711, 4711)
    os.geteuid = lambda: 4712
    return r"the file belongs to another user \(4711\)"


@pytest.mark.parametrize("spoil", [linked, read_only, somebody_elses])
def test_what_could_not_be_saved_is_not_asked_for(tmp_path, monkeypatch, spoil):
    if spoil is somebody_elses and os.geteuid():
        pytest.skip("only root can give files away")
    monkeypatch.setattr(os, "geteuid", os.geteuid)
    path = tmp_path / "tape.yaml"
    with loopback.Pieces([b"hello"]) as server:
        with playing(tape(path)):
            httpx.post(server.url, json={"n": 1})
        why = f"tape.yaml: what is recorded could not be saved: .*{spoil(path)}"
        asked = len(server.seen)
        for mode in ("all", "rewrite"):
            with pytest.raises(CassetteError, match=why), playing(tape(path, mode=mode)):
                httpx.post(server.url, json={"n": 1})
        for post in (httpx.post, requests.post):
            with pytest.raises(UnexpectedRequestError, match=why), playing(tape(path, mode="new_episodes")) as used:
                assert httpx.post(server.url, json={"n": 1}).content == b"hello"
                post(server.url, json={"n": 2})
            assert len(used.misses) == 1
        assert len(server.seen) == asked


def test_a_folder_that_cannot_be_written_to_is_named_before_anything_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(CassetteError, match=f"the folder {tmp_path} cannot be written to"):
        with playing(Tape(tmp_path / "new" / "tape.yaml", mode="once")):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("length", [241, 242, 249, 250, 255])
def test_a_long_name_is_as_good_as_a_short_one(tmp_path, length):
    path = tmp_path / f"{'é' * 20}{'n' * (length - 45)}.yaml"
    assert len(os.fsencode(path.name)) == length
    with loopback.Pieces([b"hello"]) as server:
        for n in (1, 2):
            with playing(tape(path, mode="new_episodes")):
                httpx.post(server.url, json={"n": n})
    assert len(stored(path)) == 2
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_name_that_no_file_can_have_is_told_at_the_start(tmp_path):
    with pytest.raises(CassetteError, match="the tape cannot be read: File name too long"):
        with playing(Tape(tmp_path / f"{'n' * 256}.yaml", mode="once")):
            pass


@pytest.mark.parametrize("run", [False, True], ids=["alone", "in a run"])
def test_an_app_that_goes_into_another_folder_takes_no_tape_with_it(tmp_path, monkeypatch, run):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    used = tape("tapes/a.yaml", mode="all")
    used.run = Run(tmp_path / "run") if run else None
    with loopback.Pieces([b"hello"]) as server:
        with playing(used):
            httpx.post(server.url, json={})
            os.chdir("other")
        if run:
            (tmp_path / "run").mkdir(exist_ok=True)
            used.end(Ended("t", "passed", frozenset({"t"})))
    assert len(stored(tmp_path / "tapes" / "a.yaml")) == 1
    assert list((tmp_path / "other").iterdir()) == []
    os.chdir(tmp_path)
    (tmp_path / "tapes" / "a.yaml").write_text("what: is this")
    with pytest.raises(CassetteError, match=r"^tapes/a\.yaml, line 1"), playing(tape("tapes/a.yaml")):
        pass


def test_what_is_replaced_keeps_its_link_its_mode_and_its_owner(tmp_path):
    path, real = tmp_path / "tape.yaml", tmp_path / "real.yaml"
    Script("Hi").save(real)
    path.symlink_to(real.name)
    real.chmod(0o640)
    if not os.geteuid():
        os.chown(real, 4711, 4712)
    Script("Hello").save(path)
    found = real.stat()
    assert Script.load(real) == Script("Hello")
    assert path.is_symlink()
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert os.geteuid() or (found.st_uid, found.st_gid) == (4711, 4712)
