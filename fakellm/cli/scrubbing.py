"""What `fakellm scrub` does: takes the secrets out of tapes, or tells them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from fakellm.cassette.document import CassetteError
from fakellm.cassette.redaction import Redactor
from fakellm.cassette.scrubbing import Replaced, scrub
from fakellm.cli.progress import Progress
from fakellm.cli.tapes import tapes_in
from fakellm.cli.worded import safe
from fakellm.cli.wording import UsageError


def run(
    tapes: Sequence[str], *, dry_run: bool, keep_header: Sequence[str], secret_env: Sequence[str], json: bool
) -> int:
    """Scrub; return the exit code."""
    try:
        paths = tapes_in(tapes)
        redactor = Redactor(_values(secret_env), keep_headers=keep_header)
        with Progress("tapes", len(paths)) as progress:
            found = scrub(paths, redactor, dry_run=dry_run, seen=progress.seen)
    except (UsageError, CassetteError, OSError, ValueError) as error:
        print(f"fakellm: {error}", file=sys.stderr)
        return 2
    _tell(found, len(paths), dry_run=dry_run, is_json=json)
    return 1 if dry_run and found else 0


def _values(names: Sequence[str]) -> list[str]:
    missing = next((name for name in names if not os.environ.get(name)), None)
    if missing is not None:
        msg = f"--secret-env names a variable of the environment that holds a secret; there is none {missing}"
        raise UsageError(msg)
    return [os.environ[name] for name in names]


def _tell(found: Sequence[Replaced], tapes: int, *, dry_run: bool, is_json: bool) -> None:
    if is_json:
        print(json.dumps({"tapes": tapes, "dry_run": dry_run, "replaced": [asdict(one) for one in found]}))
        return
    for one in found:
        print(safe(str(one)))
    count, concerned = sum(one.count for one in found), len({one.tape for one in found})
    what = f"{count} {'secret' if count == 1 else 'secrets'}" if found else "no secret"
    done = "would be" if dry_run else "was" if count == 1 else "were"
    verb = f" {done} replaced in {concerned} of" if found else " in"
    print(f"{what}{verb} {tapes} {'tape' if tapes == 1 else 'tapes'}")
