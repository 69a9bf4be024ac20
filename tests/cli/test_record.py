"""`fakellm record` and `fakellm replay` as processes: apps of any language, endings, signals, what goes wrong."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from commands import COMMAND, ran
from loopback import refusing
from upstreams import HEAD, Upstream, chunked

from fakellm import FakeProvider, Pause, disconnect
from fakellm.cli.main import main
from fakellm.server import Server

PYTHON = """
import json, os, sys
import httpx, openai  # another SDK would take a second to import

found = []
with openai.OpenAI(max_retries=0) as client:
    for prompt in ("Say it.", "Break.", "Stop."):
        pieces, error = [], None
        asked = {"model": "m", "messages": [{"role": "user", "content": prompt}], "stream": True}
        try:
            with client.chat.completions.create(**asked) as stream:
                for chunk in stream:
                    pieces.append(chunk.choices[0].delta.content)
                    if prompt == "Stop." and len(pieces) == 3:
                        break
        except Exception as raised:
            error = type(raised).__name__
        found.append([pieces, error])
asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
key = {"x-api-key": os.environ["ANTHROPIC_API_KEY"]}
message = httpx.post(os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", json=asked, headers=key).json()
found.append(message["content"][0]["text"])
print(json.dumps(found))
"""
NODE_APP = """
const found = [];
const decoder = new TextDecoder();
for (const prompt of ["Say it.", "Break.", "Stop."]) {
  const pieces = [];
  let error = null;
  try {
    const answer = await fetch(`${process.env.OPENAI_BASE_URL}/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${process.env.OPENAI_API_KEY}` },
      body: JSON.stringify({ model: "m", messages: [{ role: "user", content: prompt }], stream: true }),
    });
    const reader = answer.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      for (const [, text] of decoder.decode(value).matchAll(/"content":"(.*?)"/g)) pieces.push(text);
      if (prompt === "Stop." && pieces.length >= 3) { await reader.cancel(); break; }
    }
  } catch (raised) {
    error = raised.name;
  }
  found.push([pieces.slice(0, 3), error]);
}
console.log(JSON.stringify(found));
process.exit(0);
"""
ASK = """
import json, os, sys, urllib.request
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
try:
    body = {"model": "m", "messages": [{"role": "user", "content": sys.argv[1]}], "stream": True}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode())) as answer:
        for line in answer:
            print(line.decode().strip(), flush=True)
except OSError as error:
    print(error.read().decode() if hasattr(error, "read") else error)
"""
NODE = shutil.which("node")


@pytest.fixture
def real():
    """Stand in for the real providers."""
    openai = FakeProvider("openai").when("Say", "Hel", Pause(0.01), "lo").when("Break", "Hel", disconnect())
    openai.when("Stop", "a", "b", "c", Pause(600), "d").otherwise("Hello")
    with Server([openai, FakeProvider("anthropic").otherwise("Hi!")]) as server:
        yield server


def pointed(server):
    names = [provider.name for provider in server.providers]
    return [word for name in names for word in ("--upstream", f"{name}={server.base_url(name)}")]


def python(*asked):
    return ["--", sys.executable, "-c", ASK, *asked]


def ends(path):
    return [one["response"].get("stream", {}).get("end") for one in yaml.safe_load(path.read_text())["interactions"]]


# -- apps --------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_an_app_in_python_is_recorded_and_replayed_with_a_drop_and_a_cancel(real, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text(PYTHON)
    key = "sk-proj-" + "a1B2c3D4" * 5
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-" + "a1B2c3D4" * 5)
    assert main(["record", *pointed(real), "--", sys.executable, "app.py"]) == 0
    recorded, tape = capfd.readouterr(), tmp_path / "cassettes" / "app.yaml"

    said, broke, stopped, hi = json.loads(recorded.out)
    assert (said[0][-3:-1], said[1], hi) == (["Hel", "lo"], None, "Hi!")
    assert (broke[0][-1], stopped) == ("Hel", [["", "a", "b"], None])
    assert broke[1] is not None
    told = r"fakellm: recorded 4 answers on cassettes/app.yaml, 1 dropped, 1 cancelled; \d secrets replaced\n"
    assert re.fullmatch(told, recorded.err)
    assert ends(tape) == ["complete", "dropped", "cancelled", None]
    assert key not in tape.read_text()
    assert [call.headers["authorization"] for call in real.providers[0].calls] == [f"Bearer {key}"] * 3

    monkeypatch.delenv("OPENAI_API_KEY")
    assert main(["replay", "--", sys.executable, "app.py"]) == 0
    assert capfd.readouterr() == (recorded.out, "")


@pytest.mark.exhaustive
@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_an_app_in_node_is_recorded_and_replayed_with_a_drop_and_a_cancel(real, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.mjs").write_text(NODE_APP)
    assert main(["record", *pointed(real), "--", NODE, "app.mjs"]) == 0
    recorded = capfd.readouterr().out
    replayed = ran("replay", "--", NODE, "app.mjs")

    assert json.loads(recorded) == [
        [["", "Hel", "lo"], None],
        [["", "Hel"], "TypeError"],
        [["", "a", "b"], None],
    ]
    assert ends(tmp_path / "cassettes" / "app.yaml") == ["complete", "dropped", "cancelled"]
    assert (replayed.returncode, replayed.stdout, replayed.stderr) == (0, recorded, "")


def test_what_is_asked_again_is_replaced_and_the_rest_stays_unless_it_is_to_be_fresh(real, tmp_path, capfd):
    record = ["record", "--name", "t", "--into", str(tmp_path), *pointed(real)]
    for asked in ("one", "two", "one"):
        assert main([*record, *python(asked)]) == 0
    assert ends(tmp_path / "t.yaml") == ["complete", "complete"]
    assert main([*record, "--fresh", *python("three")]) == 0
    assert ends(tmp_path / "t.yaml") == ["complete"]


@pytest.mark.exhaustive
def test_a_miss_fails_the_command_at_its_end_with_the_nearest_recording(real, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["record", "--name", "t", *pointed(real), *python("What is it?")]) == 0
    capfd.readouterr()
    assert main(["replay", *python("What is that?")]) == 3
    missed = capfd.readouterr()
    twice = '"$0" -c "$1" "What is it?"; "$0" -c "$1" "What is it?"; exit 7'
    assert main(["replay", "--json", "--", "sh", "-c", twice, sys.executable, ASK]) == 7

    assert "is not on the tapes of cassettes" in json.loads(missed.out)["error"]["message"]
    assert "fakellm: 1 of 1 requests found no answer on the tapes of cassettes:\n- request 1 to openai" in missed.err
    assert f"cassettes/t.yaml, interaction 0: POST {real.base_url('openai')}/chat/completions" in missed.err
    assert 'messages[0].content: recorded "What is it?" / sent "What is that?"' in missed.err
    event = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert (event["event"], event["calls"], event["missed"], event["played"]) == ("replayed", 2, 1, 1)
    assert "nothing differs: it was played already" in event["misses"][0]


@pytest.mark.exhaustive
def test_an_app_that_reads_on_where_the_recorded_one_stopped_is_told(tmp_path, capsys, monkeypatch):
    with Upstream([HEAD, *chunked(b"data: 1\n\n"), "gone"]) as server:
        stops = ASK.replace("flush=True)", "flush=True); break")
        command = ["--", sys.executable, "-c", stops, "x"]
        assert (
            main(["record", "--name", "t", "--into", str(tmp_path), "--upstream", f"openai={server.url}", *command])
            == 0
        )
    assert ends(tmp_path / "t.yaml") == ["cancelled"]

    assert main(["replay", str(tmp_path), *command]) == 0
    monkeypatch.setattr("fakellm.proxy.replayed._PATIENCE", 0.01)
    assert main(["replay", str(tmp_path), *python("x")]) == 3
    assert "the app that was recorded stopped reading then; this one reads on" in capsys.readouterr().err


# -- what ends it ------------------------------------------------------------------------------------------


def interrupted(real, tmp_path, code):
    """Record an app that asks for two answers, and is told to stop in the second; return how it ended."""
    (tmp_path / "app.py").write_text(code)
    command = [*COMMAND, "record", *pointed(real), "--", sys.executable, "app.py"]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, **options) as process:
        for line in process.stdout:
            if '"c"' in line:
                process.send_signal(signal.SIGINT)
        return process.wait(30), process.stderr.read()


TWICE = ASK.replace("try:", "for text in ('Say it.', 'Stop.'):\n  try:").replace("sys.argv[1]", "text")
TWICE = "\n".join(f"  {line}" if line.startswith("    ") else line for line in TWICE.split("\n"))
TWICE = TWICE.replace("\nexcept", "\n  except")


@pytest.mark.exhaustive
def test_a_signal_reaches_the_command_and_what_came_whole_is_written(real, tmp_path):
    code, told = interrupted(real, tmp_path, TWICE)

    assert code == 130
    assert "KeyboardInterrupt" in told
    assert "1 answer that the signal broke off is not on the tape\nfakellm: recorded 1 answer on" in told
    assert ends(tmp_path / "cassettes" / "app.yaml") == ["complete"]
    assert [path.name for path in (tmp_path / "cassettes").iterdir()] == ["app.yaml"]


@pytest.mark.exhaustive
def test_an_app_that_cancels_at_a_signal_and_goes_on_has_that_on_its_tape(real, tmp_path):
    code, told = interrupted(
        real,
        tmp_path,
        TWICE.replace("except OSError as error:", "except KeyboardInterrupt:\n    break\n  except OSError as error:"),
    )

    assert code == 0
    assert "recorded 2 answers on cassettes/app.yaml, 1 cancelled" in told
    assert ends(tmp_path / "cassettes" / "app.yaml") == ["complete", "cancelled"]


@pytest.mark.exhaustive
def test_a_full_disk_is_told_and_leaves_the_tape_as_it_was(real, tmp_path):
    into = tmp_path / "cassettes"
    into.mkdir()
    (into / "t.yaml").write_text("version: 1\ninteractions: []\n")
    limited = 'ulimit -f 1; exec "$@"'  # blocks of 512 or 1024 bytes
    command = [*COMMAND, "record", "--name", "t", *pointed(real), *python("x" * 4000)]
    done = subprocess.run(
        ["sh", "-c", limited, "sh", *command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 3
    assert "fakellm: 1 answer could not be written: " in done.stderr
    assert "t.yaml: the tape cannot be written: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in into.iterdir()] == ["t.yaml"]
    assert (into / "t.yaml").read_text() == "version: 1\ninteractions: []\n"


def test_what_cannot_be_written_where_it_belongs_is_not_lost(real, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    breaks = f"{ASK}\nopen({str(tmp_path / 'tapes')!r}, 'w')"
    command = ["--", sys.executable, "-c", breaks, "x"]
    assert main(["record", "--name", "t", "--into", str(tmp_path / "tapes"), *pointed(real), *command]) == 3

    (rescued,) = tmp_path.glob("fakellm-*/t.yaml")
    told = capfd.readouterr().err
    assert f"{tmp_path / 'tapes'} is a file" in told
    assert f"fakellm: what was recorded is in {rescued} instead\n" in told
    assert ends(rescued) == ["complete"]


def test_an_upstream_that_is_not_there_is_an_error_for_the_app_and_a_line_at_the_end(tmp_path, capfd):
    with refusing() as url:
        record = ["record", "--into", str(tmp_path), "--upstream", f"openai={url}/v1"]
        assert main([*record, *python("x")]) == 3
        assert main([*record, "--json", "--", "sh", "-c", "exit 9"]) == 9
        told = capfd.readouterr()

    assert json.loads(told.out)["error"]["code"] == "upstream_unreachable"
    assert f"fakellm: openai at {url}/v1: it could not be reached: Connection refused\n" in told.err
    assert "nothing was recorded on" in told.err
    event = json.loads(told.err.splitlines()[-1])
    assert (event["event"], event["calls"], event["answers"]) == ("recorded", 0, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.exhaustive
def test_a_certificate_that_nobody_trusts_is_an_error_for_the_app_and_a_line_at_the_end(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    trustme = pytest.importorskip("trustme")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with Upstream(["close"], context=context) as server:
        assert main(["record", "--upstream", f"openai={server.url}/v1", *python("x")]) == 3
        assert server.requests == []

    why = "its certificate is not trusted: unable to get local issuer certificate"
    told = capfd.readouterr()
    assert f"fakellm could not reach {server.url}/v1: {why}" in json.loads(told.out)["error"]["message"]
    assert f"fakellm: openai at {server.url}/v1: it could not be reached: {why}\n" in told.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["record", "replay"])
def test_a_port_that_others_have_is_wrong_use(name, tmp_path, capsys):
    (tmp_path / "t.yaml").write_text("version: 1\ninteractions: []\n")
    at = {"record": ["--into", str(tmp_path)], "replay": [str(tmp_path)]}[name]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main([name, *at, "--port", port, "--", "true"]) == 2

    assert capsys.readouterr().err == (
        f"fakellm: cannot listen on port {port} of 127.0.0.1: Address already in use\n"
        "  to do:     --port 0 takes a free one\n"
    )


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["record", "--"], "there is no command behind --"),
        (["record", "--upstream", "openai", "--", "true"], "--upstream is a provider and its URL, openai=http"),
        (["record", "--upstream", "x=http://h", "--", "true"], "there is no fake of the provider 'x'"),
        (["record", "--upstream", "openai=h", "--", "true"], "'h' is no base URL"),
        (["record", "--name", "../x", "--", "true"], "--name is the name of a tape"),
        (["record", "--name", "broken", "--into", ".", "--", "true"], "broken.yaml, line 2"),
        (["record", "--name", "x", "--into", "broken.yaml", "--", "true"], "broken.yaml is a file, not a folder"),
        (["replay", "--"], "there is no command behind --"),
        (["replay", "none", "--", "true"], "there is no tape and no folder none"),
        (["replay", "empty", "--", "true"], "there is no tape in empty"),
        (["replay", "broken.yaml", "--", "true"], "broken.yaml, line 2"),
        (["replay", "t.yaml", "--timing", "soon", "--", "true"], "--timing is instant, recorded, or a factor"),
        (["replay", "t.yaml", "--timing", "-1", "--", "true"], "--timing is instant, recorded, or a factor"),
        (["replay", "t.yaml", "--timing", "nan", "--", "true"], "--timing is instant, recorded, or a factor"),
    ],
)
def test_wrong_use_is_told_before_anything_is_run(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.yaml").write_text("interactions: {\n")
    (tmp_path / "t.yaml").write_text("version: 1\ninteractions: []\n")
    (tmp_path / "empty").mkdir()
    before = sorted(path.name for path in tmp_path.rglob("*"))

    assert main(arguments) == 2
    assert told in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_text_that_is_an_argument_of_the_command_is_no_path(tmp_path, capfd):
    program = f"pass  # {'a very long line, ' * 400}"

    assert main(["record", "--into", str(tmp_path), "--", sys.executable, "-c", program]) == 3
    assert f"nothing was recorded on {tmp_path / Path(sys.executable).name}.yaml" in capfd.readouterr().err
