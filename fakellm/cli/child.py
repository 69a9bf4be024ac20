"""The command behind `--`: another program, which is pointed to the server by its environment."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence

_NO_PROXY = ("127.0.0.1", "localhost", "::1")
_NOT_FOUND, _NOT_RUN = 127, 126
"""Exit codes that shells have for a command that is not there, and for one that cannot be run."""


def environment_of(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment: ours, with the SDKs' variables, and this machine asked without a proxy."""
    environment = {**os.environ, **variables}
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in environment.get(name, "").split(",") if host]
        environment[name] = ",".join([*hosts, *(host for host in _NO_PROXY if host not in hosts)])
    return environment


class Child:
    """A program that runs beside the server."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def begun(cls, command: Sequence[str], variables: Mapping[str, str]) -> Child | int:
        """Start a program; return the exit code that says why not, where it cannot be."""
        try:
            return cls(await asyncio.create_subprocess_exec(*command, env=environment_of(variables)))
        except OSError as error:
            print(f"fakellm: cannot run {command[0]!r}: {error.strerror}", file=sys.stderr)
            return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_RUN

    async def ended(self) -> int:
        """Wait for it; return its exit code, as shells tell it: 128 and the signal where one ended it."""
        code = await self._process.wait()
        return 128 - code if code < 0 else code

    def take(self, number: int) -> None:
        """Hand on a signal."""
        if self._process.returncode is None:
            self._process.send_signal(number)
