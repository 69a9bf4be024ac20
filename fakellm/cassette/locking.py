"""One writer at a time: a lock that dies with the process that has it.

The kernel holds it on an open file: `flock` (flock(2)) where there is one, else `msvcrt.locking`. Where neither works,
as on some network disks, the file itself is the lock, and one whose owner is dead is taken away.

The theory. Workers are killed: by a time limit, by someone who has seen enough. A lock that is a file would outlive
them and stop everybody else, so the kernel's is taken, which ends with the process. Three traps:

- The lock is a file beside the tape, not the tape. A save puts a new file in the old one's place, so a lock on the
  tape would be one on a file that is gone, and two writers would each hold their own.
- It is removed after use, since nobody wants one beside every cassette. So who got a lock looks whether it is on the
  file that is there now: it may have waited on one that its holder has removed since. And the holder removes it
  before it lets go; afterwards it could be somebody else's.
- Where a file has to be the lock, one whose owner is dead is moved aside and looked at, not just removed: between the
  look and the removal another waiter may have taken it away and put its own there.
"""

from __future__ import annotations

import errno
import importlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fakellm.cassette.document import CassetteError
from fakellm.errors import explain

_INTERVAL = 0.005
_FORGOTTEN = 30
_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK, errno.EEXIST)
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def lock(path: Path, patience: float, name: str) -> Iterator[None]:
    """Hold the lock of this file, which is made and removed. Raises `CassetteError` after so many seconds."""
    release = _acquire(path, time.monotonic() + patience, name)
    try:
        yield
    finally:
        release()


def _acquire(path: Path, until: float, name: str) -> Any:
    take = _flock if _module("fcntl") else _msvcrt if _module("msvcrt") else _exclusive
    while True:
        try:
            return take(path)
        except BlockingIOError:
            if time.monotonic() > until:
                raise _refused(f"another process has been writing it for long: it holds {path}", name) from None
            time.sleep(_INTERVAL)
        except OSError as error:
            if take is _exclusive or error.errno not in _NO_LOCKS:
                raise _refused(f"{path}: {error.strerror}", name) from error
            take = _exclusive
            path.unlink(missing_ok=True)
            path = path.with_name(f"{path.name}.owner")


def _refused(why: str, name: str) -> CassetteError:
    headline = f"{name}: the tape cannot be locked: {why}"
    return CassetteError(explain(headline, remedy=["end that process, or see to the folder, and run it again"]))


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _flock(path: Path) -> Any:
    """Lock with flock; the file that was locked has to be the one that is there, since a release removes it."""
    fcntl = _module("fcntl")
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _check_same(file, path)
    except BaseException:
        os.close(file)
        raise

    def release() -> None:
        path.unlink(missing_ok=True)
        fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)

    return release


def _check_same(file: int, path: Path) -> None:
    try:
        is_same = os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        is_same = False
    if not is_same:
        raise BlockingIOError(errno.EAGAIN, "the lock file was replaced")


def _msvcrt(path: Path) -> Any:
    """Lock with Windows' own; a file that is open cannot be removed there, so the last one to let go does."""
    msvcrt = _module("msvcrt")
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        os.close(file)
        if error.errno in _BUSY:
            raise BlockingIOError(errno.EAGAIN, "the lock is held") from None
        raise

    def release() -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
        os.close(file)
        with suppress(OSError):
            path.unlink()

    return release


def _exclusive(path: Path) -> Any:
    """Lock by making the file, which names its owner."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        if not _remove_of_dead(path):
            raise BlockingIOError(errno.EAGAIN, "the lock is held") from None
        return _exclusive(path)
    with os.fdopen(file, "w") as owner:
        owner.write(str(os.getpid()))
    return lambda: path.unlink(missing_ok=True)


def _remove_of_dead(path: Path) -> bool:
    """Remove a lock whose owner is not alive; true if it is gone."""
    try:
        owner = path.read_text()
        if _is_alive(owner, path):
            return False
        aside = path.with_name(f"{path.name}.{os.getpid()}")
        path.replace(aside)
        if aside.read_text() != owner:  # another waiter was faster, and this is its own, which it gets back
            aside.replace(path)
            return False
        aside.unlink()
    except FileNotFoundError:
        pass
    return True


def _is_alive(owner: str, path: Path) -> bool:
    """Tell whether a process is there; where the system cannot tell, or the owner is not named yet, by the time."""
    if os.name != "posix" or not owner.isdigit():
        return time.time() - path.stat().st_mtime < _FORGOTTEN
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
