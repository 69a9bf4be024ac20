"""Servers behind nginx: a load of streams, in the midst of which one of them is killed."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from commands import serving

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
STREAMS = 24
FAKES = """
from fakellm import FakeProvider, Pause, ToolCall, Usage

answer = ["a" * 40, Pause(0.5), *["b" * 20] * 200, Pause(0.5), ToolCall("f", "{}", id="call_1"), Usage(3, 4)]
providers = [FakeProvider("openai").otherwise(*answer)]
"""
CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream fakes {{ {servers} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://fakes;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            add_header x-served-by $upstream_addr always;
        }}
    }}
}}
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


@pytest.fixture
def balanced(tmp_path):
    """Return three servers, and the port of the nginx before them."""
    path = tmp_path / "fakes.py"
    path.write_text(FAKES)
    port = free_port()
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(path)) for _ in range(3)]
        lines = " ".join(f"server {server.host}:{server.port};" for server in servers)
        (tmp_path / "nginx.conf").write_text(CONFIGURATION.format(folder=tmp_path, servers=lines, port=port))
        command = [NGINX, "-p", str(tmp_path), "-e", str(tmp_path / "error.log"), "-c", str(tmp_path / "nginx.conf")]
        nginx = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        stack.callback(nginx.terminate)
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except ConnectionError:
                assert nginx.poll() is None, (tmp_path / "error.log").read_text()
        yield servers, port


def begun(port, number):
    """Return a stream whose head is there: the connection, and the answer. Each of three prompts is asked in turn."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": f"prompt {number % 3}"}]}
    connection.request("POST", "/openai/v1/chat/completions", json.dumps(body))
    return connection, connection.getresponse()


def rest_of(stream):
    """Return the body of a stream, or None if it broke."""
    connection, answer = stream
    try:
        return answer.read()
    except (http.client.HTTPException, ConnectionError):
        return None
    finally:
        connection.close()


def test_a_server_that_is_killed_takes_its_own_streams_along_and_no_other(balanced):
    servers, port = balanced
    victim = servers[0]
    with ThreadPoolExecutor(STREAMS) as pool:
        streams = list(pool.map(lambda number: begun(port, number), range(STREAMS)))
        served_by = [answer.headers["x-served-by"] for _, answer in streams]
        victim.process.send_signal(signal.SIGKILL)
        bodies = list(pool.map(rest_of, streams))
        later = list(pool.map(lambda number: rest_of(begun(port, number)), range(STREAMS)))
        alone = list(pool.map(lambda number: rest_of(begun(int(servers[1].port), number)), range(3)))

    lost = f"{victim.host}:{victim.port}"
    assert set(served_by) == {f"{server.host}:{server.port}" for server in servers}
    assert None in bodies
    assert {at for at, body in enumerate(bodies) if body is None} <= {
        at for at, by in enumerate(served_by) if by == lost
    }
    assert [body or alone[at % 3] for at, body in enumerate(bodies)] == later == alone * (STREAMS // 3)
    assert len(set(alone)) == 3
