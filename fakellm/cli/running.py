"""Does what `fakellm serve` was asked for, and tells what was asked wrongly."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

from fakellm.cli.config import Serving
from fakellm.cli.serving import serve
from fakellm.cli.wording import UsageError
from fakellm.cli.workers import supervise

_WRONG = 2
_BAD = 1


def run(serving: Serving, command: Sequence[str] | None) -> int:
    """Serve, in as many processes as are wanted; return the exit code."""
    wrong = "--watch wants a FILE to look at" if serving.watch and serving.file is None else ""
    wrong = "there is no command behind --" if command is not None and not command else wrong
    if wrong:
        print(f"fakellm: {wrong}", file=sys.stderr)
        return _WRONG
    try:
        return asyncio.run((serve if serving.workers == 1 else supervise)(serving, command))
    except UsageError as error:
        print(f"fakellm: {error}", file=sys.stderr)
        return _WRONG


def checked(serving: Serving) -> int:
    """Tell whether the file can be served; return the exit code."""
    if serving.file is None:
        print("fakellm: --check wants a FILE", file=sys.stderr)
        return _WRONG
    try:
        providers = serving.providers()
        serving.clock()
    except UsageError as error:
        if serving.json:
            print(json.dumps({"file": serving.file, "ok": False, "error": str(error)}))
        else:
            print(f"fakellm: {error}", file=sys.stderr)
        return _BAD
    names = [provider.name for provider in providers]
    if serving.json:
        print(json.dumps({"file": serving.file, "ok": True, "providers": names}))
    else:
        print(f"{serving.file} can be served: {', '.join(names)}")
    return 0
