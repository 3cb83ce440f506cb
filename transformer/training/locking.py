"""One writer at a time: a lock file in a folder, held through the operating system, so that it is free again when its process ends.

Where the system or the file system has no locks (a browser, some network drives), nothing is locked.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has msvcrt in its place, a browser has neither
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:
    msvcrt = None  # type: ignore[assignment]

AT = 1 << 20  # the byte that Windows locks, far behind the text, which others may read


class FolderLock:
    """The right to write into a folder; ``take`` raises BlockingIOError, with the process that has it, when another one does."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".lock"
        self.file: Any = None

    def take(self) -> None:
        """Once is enough: taking what one has changes nothing."""
        if self.file is not None:
            return
        while self.file is None:
            file = self.path.open("a+b")
            try:
                if not locked(file):
                    reason = f"{holder(file)} is writing into it; wait for its end, or choose another folder"
                    raise BlockingIOError(errno.EAGAIN, reason, str(self.path.parent))
                if same(file, self.path):  # otherwise its last holder has removed it just now
                    self.file = file
            finally:
                if self.file is None:
                    file.close()
        with contextlib.suppress(OSError):  # who holds it is a courtesy: the disk may be full
            self.file.truncate(0)
            self.file.write(f"process {os.getpid()} on {platform.node() or 'this machine'}\n".encode())
            self.file.flush()

    def give_back(self) -> None:
        """Also after an error, and when it was never taken."""
        file, self.file = self.file, None
        if file is None:
            return
        # The name goes while the lock is held, so that nobody waits for a file without a name; but Windows removes no file that is open.
        steps = [lambda: self.path.unlink(missing_ok=True), file.close]
        for step in steps if fcntl is not None else reversed(steps):
            with contextlib.suppress(OSError):
                step()

    def __del__(self) -> None:
        self.give_back()


def locked(file: Any) -> bool:
    """Whether this process has the lock of the open file now; True also where there are no locks."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif msvcrt is not None:
            file.seek(AT)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return error.errno not in {errno.EAGAIN, errno.EACCES, errno.EDEADLK, getattr(errno, "EDEADLOCK", errno.EDEADLK)}
    return True


def holder(file: Any) -> str:
    """The process that has the lock, as it wrote it into the file."""
    with contextlib.suppress(OSError):
        file.seek(0)
        return file.read(200).decode("utf-8", "replace").strip() or "another process"
    return "another process"


def same(file: Any, path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False
