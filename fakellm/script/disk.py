"""Files as they lie on the disk: what may be read as one, and how one is replaced, whole or not at all.

What is no regular file is neither read nor replaced. A FIFO is read until somebody writes into it, which may be never;
a rename puts a file in the place of a device, for everybody on the machine.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

_KINDS = (
    (stat.S_ISREG, ""),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_LONGEST = 255
"""Bytes of a name at most, on the file systems that people have."""
_ROOM = len(".12345678.tmp")


def what_stands_at(path: Path) -> str:
    """Return what is at a path if that is no regular file, such as `a FIFO`; links are followed.

    Raises `OSError` where that cannot be found out.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return next((word for is_one, word in _KINDS if is_one(mode)), "no regular file")


def beside(path: Path) -> str:
    """Return what the names of files begin with that are beside a path while it is written."""
    name = f".{path.name}"
    return name if len(os.fsencode(name)) + _ROOM <= _LONGEST else f".{sha256(name.encode()).hexdigest()[:32]}"


def check_folder(path: Path) -> None:
    """Raise `OSError` where a file cannot be written: its folder is not there, or is not ours to write to."""
    folder = _target(path).parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _target(path: Path) -> Path:
    """Return the file that a path leads to. Raises `FileNotFoundError` where its folder is not there."""
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the folder to save into is not there", str(path))
    return path


def write_atomically(path: Path, text: str | bytes) -> None:
    """Write the file by way of a temporary one beside it, so that no crash leaves half of it.

    A file that is replaced keeps its mode, and its owner where that may be given away; one that a link leads to keeps
    the link. Raises `OSError`, which names a folder that is not there, or what stands there and is no file.
    """
    path = _target(path)
    if what := what_stands_at(path):
        raise OSError(errno.EINVAL, f"what is there is {what}, not a file", str(path))
    temporary = path.with_name(f"{beside(path)}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            _take_over(path, temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _take_over(path: Path, temporary: Path) -> None:
    """Give a file the mode of another, and its owner and group, where we may."""
    old, new = path.stat(), temporary.stat()
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid) and hasattr(os, "chown"):
        with suppress(OSError):
            os.chown(temporary, old.st_uid, old.st_gid)
    shutil.copymode(path, temporary)
