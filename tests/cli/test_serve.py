"""`fakellm serve` as a process: what it serves, says and returns, and how it stops."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from unittest.mock import ANY

import pytest
from commands import COMMAND, ran, said, serving
from places import ROOT
from vectors import first_of

from fakellm import __version__
from fakellm.cli.config import Serving
from fakellm.cli.main import main
from fakellm.script import Script
from fakellm.wire.providers import services

FAKES = """
from fakellm import FakeProvider, Pause, Script, disconnect

providers = [
    FakeProvider("openai").when("slow", "a", Pause(0.3), "b").when("stuck", "a", Pause(600), "b").otherwise("Hello"),
]
"""
QUEUE = 'from fakellm import FakeProvider\nproviders = FakeProvider("openai").reply("one").reply("two")\n'
ASK = """
import http.client, json, os, sys
from urllib.parse import urlsplit
base = urlsplit(os.environ["OPENAI_BASE_URL"])
for text in sys.argv[1:]:
    connection = http.client.HTTPConnection(base.netloc)
    path = f"{base.path}/chat/completions"
    connection.request("POST", path, json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}))
    answer = json.loads(connection.getresponse().read())
    print(answer["choices"][0]["message"]["content"] if "choices" in answer else "error")
"""


@pytest.fixture
def fakes(tmp_path):
    path = tmp_path / "fakes.py"
    path.write_text(FAKES)
    return path


@pytest.fixture
def queue(tmp_path):
    path = tmp_path / "queue.py"
    path.write_text(QUEUE)
    return path


def served(capfd, *arguments):
    """Serve in this process, with a command; return the exit code, and what was printed."""
    code = main(["serve", *map(str, arguments)])
    return code, *capfd.readouterr()


def asking(*texts):
    return ["--", sys.executable, "-c", ASK, *texts]


# -- serving -----------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", first_of([signal.SIGTERM, signal.SIGINT]))
def test_it_serves_until_a_signal_and_lets_streams_end(fakes, number):
    with serving(fakes) as server:
        answer = server.asked("slow", stream=True)
        answer.read(10)

        server.process.send_signal(number)
        assert answer.read().endswith(b"data: [DONE]\n\n")
        with pytest.raises(OSError):
            server.asked()
        assert server.event("stopped") == {"event": "stopped", "calls": 1, "missed": 0, "misses": [], "unused": [ANY]}
        assert server.process.wait(20) == 0


@pytest.mark.exhaustive
def test_a_stream_that_does_not_end_is_broken_off_after_the_grace_or_at_a_second_signal(fakes):
    with serving(fakes, "--grace", "0.05") as server, serving(fakes, "--grace", "600") as patient:
        for one in (server, patient):
            answer = one.asked("stuck", stream=True)
            answer.read(10)
            one.process.send_signal(signal.SIGTERM)
        assert "broken off" in server.event("warning")["text"]
        assert server.process.wait(20) == 0
        with pytest.raises(OSError):  # once it listens no more it has taken the first signal
            while True:
                socket.create_connection((patient.host, int(patient.port)), timeout=5).close()
        patient.process.send_signal(signal.SIGTERM)
        assert patient.process.wait(20) == 0


@pytest.mark.exhaustive
def test_without_a_file_each_provider_says_what_it_hears():
    with serving() as server:
        assert said(server.asked("Who is there?")) == "Who is there?"
        assert server.ready["base_urls"]["anthropic"] == f"{server.url}/anthropic"
        assert server.ready["pid"] == server.process.pid
        assert server.ended() == (0, {"event": "stopped", "calls": 1, "missed": 0, "misses": [], "unused": []})


@pytest.mark.exhaustive
def test_servers_of_the_same_answer_a_request_with_the_same_bytes(fakes):
    with serving(fakes) as one, serving(fakes) as other:
        one.asked("before").read()
        answers = [server.asked("hi", stream=True).read() for server in (one, other)]

    assert answers[0] == answers[1]


@pytest.mark.exhaustive
def test_speed_and_profile_are_those_that_are_asked_for(fakes):
    with serving(fakes, "--speed", "instant", "--profile", "openai=vllm") as server:
        answer = server.asked("stuck", stream=True).read()

    assert b'"b"' in answer
    assert answer.startswith(b'data: {"id":"chatcmpl-0')


def replaced(path, text):
    """Put a whole file in the place of another: half of one would be read as wrong."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


@pytest.mark.exhaustive
def test_a_file_that_changes_is_played_and_one_that_is_wrong_is_not(fakes):
    with serving(fakes, "--watch") as server:
        replaced(fakes, FAKES.replace("Hello", "Goodbye"))
        assert "has changed and was read again" in server.event("note")["text"]
        assert said(server.asked("x")) == "Goodbye"
        replaced(fakes, FAKES + "\nproviders = 1 / 0\n")
        text = server.event("note")["text"]
        assert f"{fakes}:8: ZeroDivisionError" in text
        assert said(server.asked("x")) == "Goodbye"
        replaced(fakes, FAKES.replace("Hello", "Again"))
        server.event("note")
        assert said(server.asked("x")) == "Again"
        with urllib.request.urlopen(f"{server.url}/_fakellm/calls") as calls:
            assert [call["number"] for call in json.load(calls)] == [1, 2, 3]  # the log goes on
        assert server.ended()[1]["calls"] == 3


@pytest.mark.exhaustive
def test_scripts_that_a_scenario_names_are_watched_too_by_each_worker(tmp_path):
    path, script = tmp_path / "a.yaml", tmp_path / "said.json"
    path.write_text("providers: [openai]\nreplies: [{when: x, script: said.json}]")
    Script("old").save(script)
    with serving(path, "--watch", "--workers", "2", "--profile", "openai=vllm") as server:
        assert said(server.asked("x")) == "old"
        replaced(script, Script("newer").to_json())
        assert "has changed and was read again" in server.event("note")["text"]
        while b"newer" not in (answer := server.asked("x", stream=True).read()):  # of each worker in its time
            pass
        assert answer.startswith(b'data: {"id":"chatcmpl-0')  # the profile stays
        assert server.ended()[1]["unused"] == []


def test_requests_are_held_to_the_rules_of_the_real_api_where_a_file_does_not_say_otherwise(tmp_path):
    assert all(provider.is_strict for provider in Serving(strict_requests=True).providers())
    assert not any(provider.is_strict for provider in Serving().providers())
    path = tmp_path / "a.yaml"
    path.write_text("providers: [openai, {name: cohere, strict_requests: true}]\notherwise: {text: a}\n")
    told = Serving(str(path)).told(path)
    assert [provider.is_strict for provider in told.providers()] == [False, True]
    path.write_text("providers: [openai, cohere]\notherwise: {text: a}\n")
    again = Serving(str(path)).told(path).providers(told.providers())
    assert [provider.is_strict for provider in again] == [False, False]  # of the file as it is now
    path.write_text("providers: [openai, {name: cohere, strict_requests: false}]\notherwise: {text: a}\n")
    option = Serving(str(path), strict_requests=True).told(path)
    assert [provider.is_strict for provider in option.providers(option.providers())] == [True, False]
    python = tmp_path / "a.py"
    python.write_text(QUEUE)
    option = Serving(str(python), strict_requests=True).told(python)
    assert [provider.is_strict for provider in option.providers(option.providers())] == [True]


def test_a_file_without_what_a_profile_is_for_is_wrong_where_it_changes(tmp_path):
    path, notes = tmp_path / "a.yaml", []
    path.write_text("providers: [openai]\notherwise: {text: a}")
    server = Serving(str(path), profiles=("openai=vllm",), watch=True).server(notes.append)
    replaced(path, "providers: [gemini]\notherwise: {text: a}")
    with server:
        assert [provider.name for provider in server.providers] == ["openai"]
    assert "is wrong, so the scenario stays as it was:\n--profile openai=vllm: no provider here is called" in notes[0]


def test_a_python_file_that_changes_tells_the_providers_that_are_there(tmp_path):
    path = tmp_path / "fakes.py"
    path.write_text(QUEUE)
    server = Serving(str(path), watch=True).server([].append)
    first = server.providers[0]
    replaced(path, QUEUE.replace("one", "three"))
    with server:
        assert server.providers == [first]
        assert [route.content for route in first.replies] == [Script("three"), Script("two")]


@pytest.mark.exhaustive
def test_it_warns_where_others_than_this_machine_can_ask():
    with serving("--host", "0.0.0.0") as server:
        assert "whoever reaches this machine" in server.event("warning")["text"]
        assert said(server.asked("x")) == "x"


# -- with a command ----------------------------------------------------------------------------------------


def test_a_command_is_pointed_to_the_server_and_nothing_is_said_where_all_is_well(queue):
    result = ran("serve", str(queue), *asking("1", "2"))

    assert (result.returncode, result.stdout, result.stderr) == (0, "one\ntwo\n", "")


@pytest.mark.exhaustive
def test_the_exit_code_is_3_where_a_request_found_no_reply_or_a_reply_was_not_asked_for(queue, capfd):
    code, out, err = served(capfd, queue, *asking("1", "2", "3"))
    assert (code, out) == (3, "one\ntwo\nerror\n")
    assert "1 of 3 requests found no reply:\n- request 3 to the fake openai has no reply" in err

    code, out, err = served(capfd, queue, *asking("1"))
    assert (code, out) == (3, "one\n")
    assert err.startswith("fakellm: 1 reply was never asked for:\n- openai: reply")
    assert "to do" not in err

    told_to_all = queue.with_name("all.yaml")
    told_to_all.write_text("replies:\n- text: one\n")
    code, out, err = served(capfd, told_to_all, *asking("1"))
    assert (code, out) == (3, "one\n")
    assert "- anthropic: reply" in err
    assert "  to do: name those that the app asks (providers:)" in err


@pytest.mark.exhaustive
def test_a_request_that_nobody_knows_is_one_without_a_reply(capfd):
    code = """
import os, urllib.request
for path in ("/v1/nothing", "/../nothing", "/.."):
    try:
        urllib.request.urlopen(os.environ["ANTHROPIC_BASE_URL"].replace("anthropic", path.strip("/.") or ""), b"{}")
    except OSError as error:
        print(error.code)
"""
    code, out, err = served(capfd, "--", sys.executable, "-c", code)

    assert (code, out) == (3, "404\n404\n404\n")
    assert "3 of 3 requests found no reply:\n- no provider of this server knows POST /v1/nothing\n" in err


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("command", "code", "told"),
    first_of(
        [
            (["sh", "-c", "exit 7"], 7, "never asked"),
            (["sh", "-c", "kill -9 $$"], 137, "never asked"),
            (["no-such-program"], 127, "cannot run 'no-such-program': No such file"),
            (["/"], 126, "cannot run '/': Permission denied"),
        ]
    ),
)
def test_the_exit_code_of_a_command_that_fails_is_its_own(queue, command, code, told, capfd):
    found, _, err = served(capfd, queue, "--", *command)

    assert found == code
    assert told in err


@pytest.mark.exhaustive
def test_a_signal_reaches_the_command(queue):
    command = [
        *COMMAND,
        "serve",
        str(queue),
        "--",
        "sh",
        "-c",
        "trap 'echo told; exit 5' TERM; echo up; while :; do sleep 0.01; done",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "told\n"

    assert process.returncode == 5


# -- wrong use ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["serve", "nowhere.py"], 2, "there is no file nowhere.py"),
        (["serve", "--check", "nowhere.py"], 1, "there is no file nowhere.py"),
        (["serve", "--check"], 2, "wants a FILE"),
        (["serve", "--watch"], 2, "wants a FILE"),
        (["serve", "--speed", "0"], 2, "--speed is a number above 0"),
        (["serve", "--profile", "fast"], 2, "--profile fast: "),
        (["serve", "--profile", "gemini=vllm"], 2, "there is no profile 'vllm': gemini has none"),
        (["serve", "--port", "70000"], 2, "65535"),
        (["serve", "--host", "no.such.host.invalid"], 2, "cannot listen on port 0 of no.such.host.invalid"),
        (["serve", "--"], 2, "there is no command behind --"),
        (["serf"], 2, "serf"),
    ],
)
def test_what_is_used_wrongly_is_told(arguments, code, told, capsys, monkeypatch):
    """In this process: what it does is not to serve."""
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert told in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.exhaustive
@pytest.mark.parametrize("workers", first_of([[], ["--workers", "2"]]))
def test_a_port_in_use_is_told(workers, capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = served(capfd, "--port", port, *workers)

    assert code == 2
    assert f"cannot listen on port {port} of 127.0.0.1: Address already in use\n  to do:" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("providers = [1]", "`providers` is a list of FakeProviders"),
        ("x = 1", "`providers` is a list of FakeProviders"),
        ("providers = (", "fakes.py:1: SyntaxError"),
        ("\nimport nothing_like_it", "fakes.py:2: ModuleNotFoundError"),
        ("from fakellm import FakeProvider\nproviders = [FakeProvider('openai')] * 2", "has 'openai' more than once"),
        ("def providers():\n    raise ValueError('no')", "fakes.py:2: ValueError: no"),
    ],
)
def test_a_file_that_is_wrong_is_told_with_its_line(fakes, capsys, text, told):
    fakes.write_text(text)

    assert main(["serve", "--check", str(fakes)]) == 1
    assert told in capsys.readouterr().err
    assert main(["serve", "--check", "--json", str(fakes)]) == 1
    assert told in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.exhaustive
def test_a_scenario_is_served_and_one_that_is_wrong_is_told_with_its_line(tmp_path, capfd):
    path = tmp_path / "weather.yaml"
    path.write_text("replies:\n- text: It rains.\n")
    assert served(capfd, path, *asking("?"))[1] == "It rains.\n"
    path.write_text("replies:\n- tex: It rains.\n")
    assert main(["serve", "--check", str(path)]) == 1
    assert "line 2, replies.0.tex" in capfd.readouterr().err


def test_a_file_that_is_right_is_told(fakes, capsys):
    assert main(["serve", "--check", str(fakes)]) == 0
    assert capsys.readouterr().out == f"{fakes} can be served: openai\n"


# -- what it costs -----------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_help_and_version_load_little():
    code = (
        "import sys; from fakellm.cli.main import main; codes = [main(line.split()) for line in sys.argv[1:]];"
        "print(codes, *sorted({name.partition('.')[0] for name in sys.modules} & set("
        "'rich typer pydantic yaml hypothesis pytest asyncio httptools openai vcr'.split())), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "--help", "serve --help", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr == "[0, 0, 0]\n"
    assert all(
        words in result.stdout
        for words in ("fakellm [OPTIONS] COMMAND", "fakellm serve [OPTIONS]", f"fakellm {__version__}\n")
    )


def test_a_shell_completes_commands(monkeypatch, capsys):
    from fakellm.cli.main import main

    monkeypatch.setattr(sys, "argv", ["fakellm"])
    for name, value in {"_FAKELLM_COMPLETE": "bash_complete", "COMP_WORDS": "fakellm re", "COMP_CWORD": "1"}.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit, match="0"):
        main()
    assert capsys.readouterr().out == "plain,record\nplain,replay\n"


def test_a_missing_click_is_named(monkeypatch, capsys):
    from fakellm.cli.main import main

    monkeypatch.delitem(sys.modules, "fakellm.cli.commands", raising=False)
    monkeypatch.delattr("fakellm.cli.commands", raising=False)
    monkeypatch.setitem(sys.modules, "click", None)

    assert main(["--help"]) == 2
    assert "pip install 'fakellm-stream[cli]'" in capsys.readouterr().err


def test_the_page_has_the_base_url_and_the_variable_of_each_provider():
    page = (ROOT / "docs" / "server.md").read_text()

    for service in services():
        variable = f"`{service.base_url}`" if service.base_url else "none"
        assert f"| `http://HOST:PORT/{service.name}{service.base_path}` | {variable} |" in page
