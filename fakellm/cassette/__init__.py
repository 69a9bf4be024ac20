"""Tapes: real sessions, recorded once with their chunks, timing and ending, and played for ever.

A tape is a cassette of vcrpy with more in it. `check` looks for secrets in tapes that exist; `interaction_of` and
`write` make a tape of a script.
"""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.cassette.bodies import script_of as script_of
    from fakellm.cassette.checking import Finding as Finding
    from fakellm.cassette.checking import check as check
    from fakellm.cassette.document import CassetteError as CassetteError
    from fakellm.cassette.drift import Drift as Drift
    from fakellm.cassette.drift import drifts as drifts
    from fakellm.cassette.files import Files as Files
    from fakellm.cassette.recorder import Recording as Recording
    from fakellm.cassette.recorder import tee as tee
    from fakellm.cassette.redaction import Redactor as Redactor
    from fakellm.cassette.run import Ended as Ended
    from fakellm.cassette.run import Run as Run
    from fakellm.cassette.run import unasked as unasked
    from fakellm.cassette.scripted import interaction_of as interaction_of
    from fakellm.cassette.scripted import write as write
    from fakellm.cassette.tape import Tape as Tape

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "bodies": ("script_of",),
        "checking": ("Finding", "check"),
        "drift": ("Drift", "drifts"),
        "files": ("Files",),
        "document": ("CassetteError",),
        "recorder": ("Recording", "tee"),
        "redaction": ("Redactor",),
        "run": ("Ended", "Run", "unasked"),
        "scripted": ("interaction_of", "write"),
        "tape": ("Tape",),
    },
)
