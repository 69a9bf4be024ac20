"""Runs the driver of one framework in its environment: `python -P runner.py NAME URL RECORDING...`.

A line of JSON says what the app was given of each recording. Nothing here knows fakellm, or leaves the machine.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import logging
import os
import re
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

LOOPBACK = ("127.0.0.1", "::1", "localhost")
SETTINGS = {  # what the frameworks would send or fetch behind the app's back
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "LANGSMITH_TRACING": "false",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "AGNO_TELEMETRY": "false",
    "OTEL_SDK_DISABLED": "true",
}
CITY = "The weather in a city.\n\n    Args:\n        city: The city.\n    "


class BlockedError(OSError):
    """Somebody wanted to leave the machine."""


def block(event: str, args: tuple[Any, ...]) -> None:
    """Let nothing but this machine be reached."""
    there = args[1] if event == "socket.connect" else args[0] if event == "socket.getaddrinfo" else None
    host = there[0] if isinstance(there, tuple) else there
    if isinstance(host, str) and host not in LOOPBACK and not host.startswith("/"):
        raise BlockedError(f"{host} is not this machine")


class Seen:
    """What an app was given of one answer, filled in as it comes, so that what came before an error stays."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {
            "text": "",
            "others": "",
            "reasoning": "",
            "runs": [],
            "finish": None,
            "usage": None,
        }

    def text(self, piece: Any, choice: int = 0) -> None:
        """Note text that the app would show; `choice` is the answer that it is told the text belongs to."""
        self.found["others" if choice else "text"] += piece or ""

    def reasoning(self, piece: Any) -> None:
        """Note text that is not the answer's but that of thinking."""
        self.found["reasoning"] += piece or ""

    def finish(self, reason: Any) -> None:
        """Note why the answer ended, in the framework's words; the last one stands."""
        if reason is not None:
            self.found["finish"] = str(getattr(reason, "value", reason))

    def usage(self, came: Any, went: Any) -> None:
        """Note how many tokens the framework says it took in all; the last counts stand."""
        if came is not None or went is not None:
            self.found["usage"] = [came, went]

    def run(self, name: Any, arguments: Any) -> str:
        """Run a tool, as an app does that has to do so itself; `arguments` are JSON or a mapping."""
        if isinstance(arguments, str):
            arguments = json.loads(arguments)
        if name not in TOOLS:
            return f"there is no tool {name}"
        self.found["runs"].append([name, arguments])
        return "rain"

    @property
    def tools(self) -> tuple[Any, Any]:
        """The tools, as functions that note that they are run."""

        def get_weather(city: str) -> str:
            return self.run("get_weather", {"city": city})

        def get_time() -> str:
            """The time."""
            return self.run("get_time", {})

        get_weather.__doc__ = CITY
        return get_weather, get_time


TOOLS = {
    "get_weather": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "get_time": {"type": "object", "properties": {}},
}
SPECS = [
    {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}
    for name, parameters in TOOLS.items()
]
"""The same tools as the API wants them."""


def words(error: BaseException) -> str:
    """Return an error in a line, with those that it came from."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = re.sub(" at 0x[0-9a-f]+", "", f"{type(error).__name__}: {error}").strip()
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return " ".join(said.split())[:400] + (f" <- {words(cause)}" if cause is not None else "")


async def measured(driver: Any, url: str, recording: str, *, tools: bool) -> dict[str, Any]:
    """Return what the app was given of a recording."""
    seen, said = Seen(), None
    try:
        done = driver.ask(seen, url, recording, tools)
        if inspect.isawaitable(done):
            await done
    except Exception as error:  # noqa: BLE001 - it is what is measured
        said = words(error)
    return seen.found | {"error": said}


def main(name: str, url: str, *recordings: str) -> None:
    os.environ.update(SETTINGS, OPENAI_API_KEY="none", NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        os.environ.pop(variable, None)
    sys.addaudithook(block)
    warnings.simplefilter("ignore")
    out, sys.stdout = sys.stdout, sys.stderr  # some frameworks print
    spec = importlib.util.spec_from_file_location("driver", Path(__file__).parent / "python" / f"{name}.py")
    driver = importlib.util.module_from_spec(spec)
    sys.modules["driver"] = driver
    spec.loader.exec_module(driver)
    logging.disable(logging.CRITICAL)
    print(json.dumps({"versions": {one: version(one) for one in driver.PACKAGES}}), file=out, flush=True)
    for recording in recordings:
        recording, _, with_tools = recording.partition("+")  # noqa: PLW2901
        found = asyncio.run(measured(driver, url, recording, tools=bool(with_tools)))
        print(json.dumps({"recording": recording, **found}), file=out, flush=True)
    out.flush()
    os._exit(0)  # some leave threads behind that nobody ends


if __name__ == "__main__":
    sys.modules["runner"] = sys.modules["__main__"]  # drivers import what is here
    main(*sys.argv[1:])
