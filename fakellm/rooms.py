"""How a room offers its public names: each loads when it is first used (PEP 562).

A room's `__init__.py` says which of its files has which name, and imports nothing. So `from fakellm.cassette import
Tape` pays for tapes alone, and `import fakellm` for nothing. The names stand there once more under `TYPE_CHECKING`,
where type checkers and editors look; `tests/test_house.py` holds both lists to each other.

A file must not be called as a public name of its room is: once the file is imported, Python puts the module where the
name should be.

Why lazily. A pytest plugin is loaded in every run of everybody who has it installed, and a fixture that pulls in an
SDK at import costs each of those runs what the SDK costs: openai alone takes 0.8 s. With names that load on use, a
test pays for what it asks for, and what is optional need not be installed until then. A name is put into the room
when it was found, so that the second use costs what an attribute costs.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # importing typing would cost more than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any


def lazily(
    room: str, homes: Mapping[str, Sequence[str]], *, also: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a room.

    `homes` maps each file of the room, by its name as a module, to the public names that it has; `also` are further
    files and rooms inside the room. Those load when they are used too, without being among the names.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def find(name: str) -> Any:
        from importlib import import_module

        if name in home_of:
            value = getattr(import_module(f"{room}.{home_of[name]}"), name)
            vars(sys.modules[room])[name] = value
            return value
        if name in homes or name in also:
            return import_module(f"{room}.{name}")
        msg = f"module {room!r} has no attribute {name!r}; it has {', '.join(home_of)}"
        if not name.startswith("_") and (hint := import_module("fakellm.ported").NAMES.get(name)):
            msg = f"{room} has no {name}; {hint}"
            caller = sys._getframe(1)  # noqa: SLF001 - documented
            if caller.f_globals.get("__name__") == "importlib._bootstrap":
                # `from room import name` would put a text of its own in the place of this, were it an AttributeError.
                raise ImportError(msg, name=room)
        raise AttributeError(msg)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[room]), *home_of, *also})

    return find, names, list(home_of)
