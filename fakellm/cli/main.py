"""The command: reads what was asked, and hands it to the file that does it, which is loaded then.

What comes behind `--` is another program's and is not parsed, so it is taken off before click sees it. Exit codes: 0
all is well, 1 something was found or failed, 2 wrong use; `serve` with a command behind `--` has that one's, or 3.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    import click


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    from fakellm.errors import MissingExtraError

    asked = list(sys.argv[1:] if arguments is None else arguments)
    command: list[str] | None = None
    if "--" in asked:
        at = asked.index("--")
        asked, command = asked[:at], asked[at + 1 :]
    try:
        try:
            from fakellm.cli.commands import app
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "click":
                raise
            raise MissingExtraError("click", "cli", "the command fakellm") from error
        return _exit_code(app, asked, command)
    except MissingExtraError as error:
        sys.stderr.write(f"fakellm: {error}\n")
        return 2


def _exit_code(app: click.Group, asked: list[str], command: list[str] | None) -> int:
    """Run what was asked; say what is wrong with it as click words that."""
    import click

    try:
        code = app.main(asked, prog_name="fakellm", obj=command, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        return 130
    return code if isinstance(code, int) else 0
