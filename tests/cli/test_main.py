"""What holds for every command: an output that takes nothing, one that is closed, no colours where they are unwanted."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import COMMAND
from places import ROOT

from fakellm.cli.child import Child
from fakellm.cli.main import main
from fakellm.cli.serving import Signals, until_done
from fakellm.cli.showing import Showing, show
from fakellm.clock import InstantClock

CHAT, FULL = "cassettes/chat.yaml", Path("/dev/full")


@pytest.mark.exhaustive
@pytest.mark.skipif(not FULL.exists(), reason="a device of Linux")
def test_an_output_on_a_full_disk_is_wrong_use_and_no_traceback():
    command = [*COMMAND, "scrub", CHAT, "--dry-run"]
    with FULL.open("w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=ROOT, check=False)

    assert (result.returncode, result.stderr) == (2, b"fakellm: standard output: No space left on device\n")


@pytest.mark.exhaustive
def test_a_pipe_that_was_closed_is_not_something_found():
    reads, writes = os.pipe()
    os.close(reads)
    result = subprocess.run([*COMMAND, "check", CHAT], stdout=writes, stderr=subprocess.PIPE, cwd=ROOT, check=False)
    os.close(writes)

    assert (result.returncode, result.stderr) == (141, b"")


@pytest.mark.exhaustive
def test_without_an_output_a_command_does_what_it_does():
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "show", CHAT]
    result = subprocess.run(closed, stderr=subprocess.PIPE, cwd=ROOT, check=False)

    assert (result.returncode, result.stderr) == (0, b"")


def test_what_stands_behind_two_dashes_is_an_argument_of_a_command_that_runs_no_other(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)

    assert main(["check", "--", CHAT]) == 0
    assert "checked 1 tape" in capsys.readouterr().out
    assert main(["show", CHAT, "--", "nowhere.yaml"]) == 2
    assert "no file nowhere.yaml" in capsys.readouterr().err


def test_what_is_followed_at_a_terminal_has_no_colours_where_they_are_unwanted(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")

    assert show(Showing((str(ROOT / CHAT),), follow=True), InstantClock()) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_signal_that_comes_before_the_command_does_is_not_lost(is_begun, monkeypatch):
    async def run():
        signals = Signals()
        begun = Child.begun

        async def signalled(*arguments):
            child = await begun(*arguments)
            os.kill(os.getpid(), signal.SIGTERM)
            await signals.asked.wait()
            return child

        if is_begun:
            monkeypatch.setattr(Child, "begun", signalled)
        else:
            os.kill(os.getpid(), signal.SIGTERM)
            await signals.asked.wait()
        return await until_done(signals, ["sleep", "60"], {})

    assert asyncio.run(run()) == 128 + signal.SIGTERM
