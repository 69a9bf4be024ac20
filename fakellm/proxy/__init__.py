"""Real providers behind a port of this machine: what is asked there goes on to them, and is recorded.

`Asking` asks them again what is on a tape, and compares.
"""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.proxy.again import Asking as Asking
    from fakellm.proxy.again import Compared as Compared

__getattr__, __dir__, __all__ = lazily(__name__, {"again": ("Asking", "Compared")})
