"""Clients of node against `fakellm serve`: what they read, and how each fault arrives.

They are installed beside, since they are many: `npm install --prefix FOLDER` with the package.json that is here, then
`FAKELLM_NODE=FOLDER pytest examples/node`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NODE = shutil.which("node")
FOLDER = Path(os.environ.get("FAKELLM_NODE", ""))
PROVIDERS = {"responses": "openai", "ai": "openai"}

RESET, CLOSE = "TypeError < Error ECONNRESET", "TypeError < SocketError UND_ERR_SOCKET"
WAITS, WHOLE = "Waits", None
"""It waits on, whatever its timeout says; and it takes half an answer for a whole one."""

EXPECTED = {
    "openai": {
        "limited": "RateLimitError 429", "unknown": "AuthenticationError 401", "error": "APIError",
        "reset": RESET, "close": CLOSE, "end": WHOLE, "gone": f"APIConnectionError < {CLOSE}",
        "silent": "APIConnectionTimeoutError", "stall": WAITS,
    },
    "anthropic": {
        "limited": "RateLimitError 429", "unknown": "AuthenticationError 401", "error": "APIError",
        "reset": f"AnthropicError < {RESET}", "close": f"AnthropicError < {CLOSE}", "end": "AnthropicError",
        "gone": f"APIConnectionError < {CLOSE}", "silent": "APIConnectionTimeoutError", "stall": WAITS,
    },
    "gemini": {
        "limited": "ApiError 429", "unknown": "ApiError 401", "error": "Error",
        "reset": RESET, "close": CLOSE, "end": WHOLE, "gone": CLOSE,
        "silent": "AbortError 20", "stall": "AbortError 20",
    },
    "ollama": {
        "limited": "ResponseError 429", "unknown": "ResponseError 401", "error": "Error",
        "reset": RESET, "close": CLOSE, "end": "Error", "gone": CLOSE, "silent": WAITS, "stall": WAITS,
    },
    "cohere": {
        "limited": "TooManyRequestsError 429", "unknown": "UnauthorizedError 401", "error": WHOLE,
        "reset": RESET, "close": CLOSE, "end": WHOLE, "gone": f"CohereError < {CLOSE}",
        "silent": "CohereError < String", "stall": WAITS,
    },
    "ai": {
        "limited": "APICallError 429", "unknown": "APICallError 401", "error": "Object",
        "reset": f"APICallError 200 < {RESET}", "close": f"APICallError 200 < {CLOSE}", "end": WHOLE,
        "gone": "APICallError < SocketError UND_ERR_SOCKET", "silent": "AbortError 20", "stall": "AbortError 20",
    },
}  # fmt: skip
EXPECTED["responses"] = EXPECTED["openai"]

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.skipif(not (FOLDER / "node_modules").is_dir(), reason="FAKELLM_NODE names no folder with the clients"),
]


@pytest.mark.parametrize("client", EXPECTED)
def test_a_client_of_node(client, tmp_path):
    shutil.copy(HERE / "ask.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(FOLDER.resolve() / "node_modules")
    cases = ["text", "tools", *EXPECTED[client]]
    command = [sys.executable, "-m", "fakellm", "serve", str(HERE / "fakes.py"), "--", NODE, "ask.mjs", client, *cases]
    environment = {**os.environ, "FAKES": PROVIDERS.get(client, client)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr
    text, tools, *failed = map(json.loads, done.stdout.splitlines())
    assert (text["text"], text["usage"], text["error"]) == ("Hello wörld", [7, 3], None)
    ((name, arguments),) = tools["calls"]
    assert (name, json.loads(arguments), tools["usage"]) == ("get_weather", {"city": "Paris"}, [9, 4])
    errors = {found["case"]: found["error"] for found in failed}
    errors["reset"] = errors["reset"].replace(CLOSE, RESET)  # which of the two it says is node's business
    assert errors == EXPECTED[client]
    begun = {found["case"] for found in failed if found["text"] == "Hel"}
    assert begun == {"error", "reset", "close", "end", "stall"}
