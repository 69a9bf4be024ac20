"""What `fakellm replay` does: a command asks a server that answers from tapes, and is told what is on none."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from fakellm.cli.config import Serving, speaking
from fakellm.cli.saying import Voice
from fakellm.cli.seen import Seen
from fakellm.cli.serving import Signals, base_urls, drained, listening, until_done, verdict
from fakellm.cli.tapes import tapes_in
from fakellm.cli.wording import UsageError
from fakellm.proxy.replayed import Replayed, ReplayedProvider, ReplayServer
from fakellm.server.recorded import Interaction, load
from fakellm.server.server import environment
from fakellm.wire.providers import provider_names

_FACTORS = {"instant": 0.0, "recorded": 1.0}


@dataclass(frozen=True, slots=True)
class Replaying:
    """What to replay, and how: where the tapes are, how long silences are, and whether answers come again."""

    tapes: str
    timing: str
    repeat: bool
    form: str | None = None
    behind: tuple[str, ...] = ()

    @property
    def factor(self) -> float:
        """How long silences are. Raises `UsageError`."""
        try:
            factor = _FACTORS[self.timing] if self.timing in _FACTORS else float(self.timing)
        except ValueError:
            factor = -1
        if not 0 <= factor < math.inf:
            msg = f"--timing is instant, recorded, or a factor such as 0.1, not {self.timing!r}"
            raise UsageError(msg)
        return factor

    def interactions(self) -> list[Interaction]:
        """Return what is on the tapes. Raises `UsageError`."""
        try:
            return load(tapes_in([self.tapes]))
        except (ValueError, OSError) as error:
            raise UsageError(str(error)) from error


def run(serving: Serving, replaying: Replaying, command: Sequence[str] | None) -> int:
    """Replay; return the exit code."""
    if command is not None and not command:
        print("fakellm: there is no command behind --", file=sys.stderr)
        return 2
    try:
        return asyncio.run(_replay(serving, replaying, command))
    except UsageError as error:
        print(f"fakellm: {error}", file=sys.stderr)
        return 2


async def _replay(serving: Serving, replaying: Replaying, command: Sequence[str] | None) -> int:
    interactions, factor = replaying.interactions(), replaying.factor
    providers = [
        ReplayedProvider(name, interactions, replaying.tapes, factor, repeats=replaying.repeat)
        for name in provider_names()
    ]
    server = ReplayServer(
        speaking([*providers], replaying.form, replaying.behind), host=serving.host, port=serving.port, control=False
    )
    voice = Voice(serving, has_command=command is not None)
    signals = Signals()
    async with listening(server):
        voice.ready(server.url, base_urls(server), pid=os.getpid())
        code = await until_done(signals, command, environment(server))
        await drained(server, signals, serving.grace)
    seen = Seen.at(server)
    played = {place for one in providers if isinstance(one.recorded, Replayed) for place in one.recorded.played}
    voice.told(
        "replayed",
        _worded(seen, replaying),
        calls=seen.calls,
        missed=seen.missed,
        misses=seen.misses,
        played=len(played),
        unplayed=[f"{path}, interaction {at}" for path, at, *_ in interactions if (path, at) not in played],
    )
    return verdict(code, seen, has_command=command is not None)


def _worded(seen: Seen, replaying: Replaying) -> str:
    if not seen.missed:
        return ""
    headline = f"fakellm: {seen.missed} of {seen.calls} requests found no answer on the tapes of {replaying.tapes}:"
    more = seen.missed - len(seen.misses)
    misses = [f"- {miss.replace(chr(10), chr(10) + '  ')}" for miss in seen.misses]
    return "\n".join([headline, *misses, *([f"- and {more} more"] if more else [])])
