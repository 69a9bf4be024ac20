"""The load test runs, against the fakes and through the gateway, and what is deployed is right.

What it needs is heavy, and is installed beside: `pip install --group load`, `pip install --group deploy`.
"""

from __future__ import annotations

import csv
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
BIN = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
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
    """Start a server of fakes; return its URL."""
    command = [sys.executable, "-m", "fakellm", "serve", str(HERE / "fakes.py"), "--json"]
    return json.loads(started(beside, command, stdout=subprocess.PIPE).stdout.readline())["url"]


def gateway(beside, urls, folder):
    """Start LiteLLM's proxy before servers; return its URL."""
    text = (HERE / "litellm.yaml").read_text()
    for port, url in zip((8081, 8082, 8083), urls, strict=True):
        text = text.replace(f"http://127.0.0.1:{port}", url)
    (folder / "litellm.yaml").write_text(text)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
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
    """Run the load test; return the rows of its table by their kind."""
    command = [tool("locust"), "-f", str(HERE / "locustfile.py"), "--host", host, "--headless", "--csv", "run"]
    command += ["--users", "4", "--spawn-rate", "4", "--run-time", "5s"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "GATEWAY_KEY": KEY}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with (folder / "run_stats.csv").open() as table:
        return {row["Type"]: row for row in csv.DictReader(table)}


def test_the_fakes_alone_and_through_the_gateway(beside, tmp_path):
    tool("locust"), tool("litellm")
    urls = [fakes(beside) for _ in range(3)]

    for host in (f"{urls[0]}/openai", gateway(beside, urls, tmp_path)):
        rows = loaded(host, tmp_path)
        assert {row["Failure Count"] for row in rows.values()} == {"0"}
        assert int(rows["TTFT"]["Request Count"]) == int(rows["GAP"]["Request Count"]) > 0
        assert float(rows["TTFT"]["Min Response Time"]) >= 200
        assert float(rows["GAP"]["Min Response Time"]) >= 20


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
