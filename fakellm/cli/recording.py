"""What `fakellm record` does: a command asks the real providers through a proxy, and a tape has it afterwards."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fakellm.cassette.document import CassetteError
from fakellm.cassette.session import Session
from fakellm.cli.config import Serving
from fakellm.cli.saying import Voice
from fakellm.cli.serving import FOUND, Signals, base_urls, drained, listening, until_done
from fakellm.cli.tapes import SUFFIXES
from fakellm.cli.wording import UsageError, counted
from fakellm.proxy.proxy import Proxy
from fakellm.proxy.upstreams import Upstream, upstreams

_SHOWN = 20
"""How many kinds of failures are told to people."""
_SIGNALLED = 128
"""Exit codes from here on are those of a command that a signal ended."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What to record: on which tape, of which providers, and whether the tape is to keep nothing else."""

    into: str
    name: str | None
    upstream: tuple[str, ...]
    fresh: bool

    def path(self, command: Sequence[str] | None) -> Path:
        """Return where the tape is; without a name it has that of what is run."""
        name = self.name or _name_of(command or ())
        if not name or Path(name).name != name or name.startswith("."):
            msg = f"--name is the name of a tape, such as chat; its folder is said by --into; not {name!r}"
            raise UsageError(msg)
        return Path(self.into) / (name if name.endswith(SUFFIXES) else f"{name}.yaml")

    def upstreams(self) -> dict[str, Upstream]:
        """Return the providers at their URLs. Raises `UsageError`."""
        try:
            return upstreams(urls_of(self.upstream), os.environ)
        except ValueError as error:
            raise UsageError(str(error)) from None


def urls_of(options: Sequence[str]) -> dict[str, str]:
    """Return the URLs of providers by their names, of `--upstream`. Raises `UsageError`."""
    given: dict[str, str] = {}
    for one in options:
        name, found, url = one.partition("=")
        if not found:
            msg = f"--upstream is a provider and its URL, openai=http://127.0.0.1:8123/v1, not {one!r}"
            raise UsageError(msg)
        given[name] = url
    return given


def _name_of(command: Sequence[str]) -> str:
    """Return the name of the script that a command runs, or of its program."""
    script = next((word for word in command[1:] if os.path.isfile(word)), None)  # noqa: PTH113 - text that is no path, too
    return Path(script).stem.lstrip(".") if script else Path(command[0]).name if command else "session"


def run(serving: Serving, recorded: Recorded, command: Sequence[str] | None) -> int:
    """Record; return the exit code."""
    if command is not None and not command:
        print("fakellm: there is no command behind --", file=sys.stderr)
        return 2
    try:
        session = Session(recorded.path(command))
        return asyncio.run(_record(serving, recorded, session, command))
    except (UsageError, CassetteError) as error:
        print(f"fakellm: {error}", file=sys.stderr)
        return 2


async def _record(serving: Serving, recorded: Recorded, session: Session, command: Sequence[str] | None) -> int:
    proxy = Proxy(recorded.upstreams(), session, host=serving.host, port=serving.port)
    voice = Voice(serving, has_command=command is not None)
    signals = Signals()
    async with listening(proxy):
        voice.ready(proxy.url, base_urls(proxy), pid=os.getpid())
        marking = asyncio.ensure_future(_mark(signals, session))
        code = await until_done(signals, command, proxy.environment())
        await drained(proxy, signals, serving.grace)
        marking.cancel()
    is_interrupted = signals.asked.is_set() and (command is None or code >= _SIGNALLED)
    left_out = session.drop_interrupted() if is_interrupted else 0
    return _saved(recorded, session, proxy, voice, code, left_out)


async def _mark(signals: Signals, session: Session) -> None:
    await signals.asked.wait()
    session.interrupt()


def _saved(recorded: Recorded, session: Session, proxy: Proxy, voice: Voice, code: int, left_out: int) -> int:
    """Write the tape, say what is on it and what is not, and return the exit code."""
    error, rescued = "", None
    try:
        session.save(drop=recorded.fresh)
    except CassetteError as problem:
        error, rescued = str(problem), session.rescue()
    ends = Counter[str](session.ends)
    lines = [f"{text}{f' ({count} times)' if count > 1 else ''}" for text, count in proxy.failures.items()]
    lines[_SHOWN:] = [f"and {len(lines) - _SHOWN} failures of other kinds"] if len(lines) > _SHOWN else []
    if left_out:
        lines.append(f"{counted(left_out, 'answer')} that the signal broke off is not on the tape")
    if error:
        lines.append(f"{counted(len(session.ends), 'answer')} could not be written: {error}")
        lines += [f"what was recorded is in {rescued} instead"] if rescued else []
    elif ends:
        lines.append(_told(session, ends))
    else:
        lines.append(f"nothing was recorded on {session.path}: {_nothing(proxy)}")
    voice.told(
        "recorded",
        "\n".join(f"fakellm: {line}" for line in lines),
        tape=str(session.path),
        calls=proxy.calls,
        answers=len(session.ends),
        ends=ends,
        left_out=left_out,
        redacted=[{"kind": kind, "where": where, "count": n} for (kind, where), n in session.redacted.items()],
        failures=[{"text": text, "count": count} for text, count in proxy.failures.items()],
        error=error or None,
        rescued=str(rescued) if rescued else None,
    )
    return FOUND if code == 0 and (error or not ends) else code


def _told(session: Session, ends: Counter[str]) -> str:
    others = ", ".join(f"{count} {end}" for end, count in ends.items() if end != "complete")
    secrets = sum(session.redacted.values())
    text = f"recorded {counted(ends.total(), 'answer')} on {session.path}"
    text += f", {others}" if others else ""
    return f"{text}; {counted(secrets, 'secret')} replaced" if secrets else text


def _nothing(proxy: Proxy) -> str:
    if proxy.calls:
        return "no request got an answer"
    names = [provider.service.base_url for provider in proxy.providers if provider.service.base_url]
    return f"no request came\n  to do:     let the app read its base URL from the environment: {', '.join(names)}"
