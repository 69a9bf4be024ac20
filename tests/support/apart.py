"""Modules of a folder of examples, which know each other by names that other folders have too."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


def modules_of(folder, *names):
    """Return modules of a folder, imported as a script of it would, and not known to anybody else afterwards."""
    before = {name for name in sys.modules if (Path(folder) / f"{name}.py").exists()}
    held = {name: sys.modules.pop(name) for name in before}
    sys.path.insert(0, str(folder))
    try:
        return [import_module(name) for name in names]
    finally:
        sys.path.remove(str(folder))
        for path in Path(folder).glob("*.py"):
            sys.modules.pop(path.stem, None)
        sys.modules.update(held)
