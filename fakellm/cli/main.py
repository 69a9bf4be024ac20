"""The command: reads what was asked, and hands it to the file that does it, which is loaded then.

What comes behind `--` of a command that runs another program is that program's and is not parsed, so it is taken off
before click sees it; behind that of others are arguments, as everywhere. Exit codes: 0
all is well, 1 something was found or failed, 2 wrong use; `serve` with a command behind `--` has that one's, or 3.
Where what it says is not taken: 141 for a pipe that was closed, as of a program that SIGPIPE ends, 2 for a full disk.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

_WRONG, _INTERRUPTED, _PIPE = 2, 130, 141
_RUNS = frozenset(("record", "replay", "serve"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    from fakellm.errors import MissingExtraError

    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the shell closed it: >&-
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - it stays open
    asked = list(sys.argv[1:] if arguments is None else arguments)
    command: list[str] | None = None
    if "--" in asked and asked[0] in _RUNS:
        at = asked.index("--")
        asked, command = asked[:at], asked[at + 1 :]
    try:
        try:
            from fakellm.cli.commands import app
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "click":
                raise
            raise MissingExtraError("click", "cli", "the command fakellm") from error
        code = _exit_code(app, asked, command)
        sys.stdout.flush()
    except MissingExtraError as error:
        sys.stderr.write(f"fakellm: {error}\n")
        return _WRONG
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        return _unheard(error)
    return code


def _unheard(error: OSError) -> int:
    """Tell of an output that does not take what is said, or of another file; return the exit code."""
    if not error.filename:  # Python would try once more at its end, fail again, and have an exit code of its own
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
    if isinstance(error, BrokenPipeError):  # whoever read has seen enough
        return _PIPE
    try:
        sys.stderr.write(f"fakellm: {error.filename or 'standard output'}: {error.strerror or error}\n")
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    return _WRONG


def _exit_code(app: click.Group, asked: list[str], command: list[str] | None) -> int:
    """Run what was asked; say what is wrong with it as click words that."""
    import click

    output = sys.stdout
    try:
        code = app.main(asked, prog_name="fakellm", obj=command, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        return _INTERRUPTED
    except SystemExit:
        if sys.stdout is output:
            raise
        raise BrokenPipeError from None  # click has replaced it, and its 1 would say that something was found
    return code if isinstance(code, int) else 0
