"""The load test runs, against the fakes and through the gateway; replicas are alike; what is deployed is right.

What it needs is heavy, and is installed beside: `pip install --group load`, `pip install --group deploy`, and nginx.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
BIN = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])
PORTS = (8081, 8082, 8083)
"""The servers in the files of this folder."""
KEY = f"sk-{secrets.token_hex(24)}"


def tool(name):
    """Return a program of this environment, or skip the test."""
    found = shutil.which(name, path=BIN)
    return found or pytest.skip(f"{name} is not installed")


@pytest.fixture
def beside():
    with ExitStack() as stack:
        yield stack


def started(beside, command, **options):
    """Start a program that is ended after the test."""
    process = beside.enter_context(subprocess.Popen(command, text=True, **options))
    beside.callback(process.terminate)
    return process


def fakes(beside):
    """Start a server of fakes; return its process and its URL."""
    command = [sys.executable, "-m", "fakellm", "serve", str(HERE / "fakes.py"), "--json"]
    process = started(beside, command, stdout=subprocess.PIPE)
    return process, json.loads(process.stdout.readline())["url"]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def gateway(beside, urls, folder):
    """Start LiteLLM's proxy before servers; return its URL."""
    text = (HERE / "litellm.yaml").read_text()
    for port, url in zip(PORTS, urls, strict=True):
        text = text.replace(f"http://127.0.0.1:{port}", url)
    (folder / "litellm.yaml").write_text(text)
    port = free_port()
    command = [tool("litellm"), "--config", "litellm.yaml", "--host", "127.0.0.1", "--port", str(port)]
    more = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1"}
    log = beside.enter_context((folder / "litellm.log").open("w"))
    process = started(beside, command, cwd=folder, env={**os.environ, **more}, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    for _ in range(480):
        try:
            urllib.request.urlopen(f"{url}/health/liveliness").close()
        except urllib.error.URLError:
            assert process.poll() is None, (folder / "litellm.log").read_text()
            time.sleep(0.25)
        else:
            return url
    raise AssertionError((folder / "litellm.log").read_text())


def loaded(host, folder):
    """Run the load test, and wait for streams that have begun; return the rows of its table by their kind."""
    command = [tool("locust"), "-f", str(HERE / "locustfile.py"), "--host", host, "--headless", "--json"]
    command += ["--users", "4", "--spawn-rate", "4", "--run-time", "5s", "--stop-timeout", "120"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "GATEWAY_KEY": KEY}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {row["method"]: row for row in json.loads(done.stdout)}


def test_the_fakes_alone_and_through_the_gateway(beside, tmp_path):
    tool("locust"), tool("litellm")
    urls = [fakes(beside)[1] for _ in range(3)]

    for host in (f"{urls[0]}/openai", gateway(beside, urls, tmp_path)):
        rows = loaded(host, tmp_path)
        assert {row["num_failures"] for row in rows.values()} == {0}
        assert rows["TTFT"]["num_requests"] == rows["GAP"]["num_requests"] > 0
        assert rows["TTFT"]["min_response_time"] >= 200
        assert rows["GAP"]["min_response_time"] >= 20


def balancer(beside, urls, folder):
    """Start nginx before servers; return its URL."""
    port = free_port()
    text = (HERE / "nginx.conf").read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    for there, url in zip(PORTS, urls, strict=True):
        text = text.replace(f"127.0.0.1:{there}", url.removeprefix("http://"))
    (folder / "nginx.conf").write_text(text)
    command = [tool("nginx"), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    process = started(beside, command, stderr=subprocess.DEVNULL)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionError:
            assert process.poll() is None, (folder / "error.log").read_text()
        else:
            return f"http://127.0.0.1:{port}"


def read_by(host, streams, users, reads):
    """Return the command that lets readers read streams of a host, and its options."""
    command = [tool("locust"), "-f", str(HERE / "replicas.py"), "--host", host, "--headless", "--json"]
    command += ["--users", str(users), "--spawn-rate", str(users)]
    env = {**os.environ, "STREAMS": str(streams), "READS": str(reads), "NO_PROXY": "127.0.0.1"}
    return command, {"env": env, "stderr": subprocess.PIPE, "stdout": subprocess.PIPE}


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_server_that_is_killed_takes_its_own_streams_along_and_no_other(beside, tmp_path):
    """Three servers behind nginx; one is killed in the midst of a run of Locust."""
    tool("locust"), tool("nginx")
    (victim, lost), *others = [fakes(beside) for _ in range(3)]
    url, users, reads = balancer(beside, [lost, *(other for _, other in others)], tmp_path), 24, 4
    command, options = read_by(url, tmp_path / "streams.jsonl", users, reads)
    run = started(beside, command, **options)
    while asked(f"{lost}/_fakellm/sessions")[0]["calls"] < users // 4:
        assert run.poll() is None, run.stderr.read()
    victim.kill()
    table, errors = run.communicate()
    command, options = read_by(others[0][1], tmp_path / "alone.jsonl", 1, 3)
    subprocess.run(command, **options, check=True)

    streams = lines_of(tmp_path / "streams.jsonl")
    alone = {line["prompt"]: line["sha256"] for line in lines_of(tmp_path / "alone.jsonl")}
    broken = [line for line in streams if line["broke"]]
    assert len(streams) == users * reads, errors
    assert {line["by"] for line in broken} == {lost.removeprefix("http://")}
    assert len(set(alone.values())) == 3
    assert all(line["sha256"] == alone[line["prompt"]] for line in streams if not line["broke"])
    assert {other.removeprefix("http://") for _, other in others} <= {line["by"] for line in streams}
    (row,) = json.loads(table)
    assert (row["num_requests"], row["num_failures"]) == (len(streams), len(broken))


def asked(url):
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def test_what_is_deployed_is_linted():
    manifest, container = HERE / "kubernetes.yaml", HERE / "Containerfile"

    for command in ([tool("kubernetes-validate"), "--strict", manifest], [tool("hadolint"), container]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_deployed_is_what_the_command_takes(tmp_path):
    settings, deployment, *_ = yaml.safe_load_all((HERE / "kubernetes.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (tmp_path / "fakes.py").write_text(settings["data"]["fakes.py"])
    arguments = [argument.replace("/fakes/", f"{tmp_path}/") for argument in container["args"]]
    (line,) = (line for line in (HERE / "Containerfile").read_text().splitlines() if line.startswith("CMD "))
    image = [argument.replace("/srv/", f"{HERE}/") for argument in json.loads(line.removeprefix("CMD "))]

    for asked in (arguments, image):
        command = [sys.executable, "-m", "fakellm", "serve", *asked, "--check"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, json.loads(done.stdout)["ok"]) == (0, True), done.stderr
