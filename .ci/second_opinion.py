"""Asks detect-secrets what it thinks of the recordings in this repository: `python .ci/second_opinion.py [FOLDER]`.

Fails if it finds what is not explained below. Its detectors are not ours: a kind that both miss is missed by two.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings

EXPLAINED = (
    r"(?:chatcmpl|cmpl|msg|resp|call|fc|rs)[-_][\w-]+",  # what providers call an answer, a message, a call
    r"none|REDACTED|Bearer REDACTED",  # what stands where a key would
)


def is_explained(found: str, text: str) -> bool:
    """Tell whether a finding is something else, or the value of a field `id`: some servers name calls at random."""
    if any(re.fullmatch(explained, found) for explained in EXPLAINED):
        return True
    return bool(re.search(rf"\bid\W{{1,8}}{re.escape(found)}", text))


def main() -> int:
    """Print what is not explained; return 1 if anything is, or if there was nothing to read."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "cassettes")
    found = SecretsCollection()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    with default_settings():
        for path in files:
            found.scan_file(str(path))
    wrong = [
        f"{file}:{secret.line_number}: {secret.type}"
        for file, secret in found
        if not is_explained((secret.secret_value or "").rstrip("\\"), Path(file).read_text())
    ]
    print(f"detect-secrets read {len(files)} files; not explained: {len(wrong)}", *sorted(wrong), sep="\n  ")
    return int(bool(wrong) or not files)


if __name__ == "__main__":
    raise SystemExit(main())
