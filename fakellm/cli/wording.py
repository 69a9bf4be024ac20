"""What commands share that is asked and told, without what any of them loads."""

from __future__ import annotations

from fakellm.clock.clock import Clock, InstantClock, RealClock, ScaledClock


class UsageError(Exception):
    """The command was used wrongly: what is wrong, and what to do."""


def clock_of(speed: str) -> Clock:
    """Return the clock of a speed: how many times as fast, or `instant`. Raises `UsageError`."""
    if speed == "instant":
        return InstantClock()
    try:
        factor = float(speed)
        return RealClock() if factor == 1 else ScaledClock(1 / factor)
    except (ValueError, ZeroDivisionError, OverflowError):
        msg = f"--speed is a number above 0, twice as fast is 2, or instant; not {speed!r}"
        raise UsageError(msg) from None


def counted(number: int, word: str) -> str:
    """Word how many there are: "1 tape", "2 tapes"."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def reason_of(error: Exception) -> str:
    """Word what went wrong: of a file with its name, and without the number of the error."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
