"""One owner at a time for a folder of the city, kept by the kernel and let go when the owner dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


class FolderLock:
    """The right to run on one folder; it ends with the process that holds it, however that process ends.

    The lock is an advisory `flock` on `path`, so nothing has to be cleaned up after a `kill -9`; the file itself
    stays and names the last holder. Children do not inherit it (the descriptor closes on exec).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock now."""
        return self._descriptor is not None

    def acquire(self) -> bool:
        """Take the lock, or answer False at once when another living process has it.

        Errors: OSError when the lock file cannot be made or opened (read-only folder, full disk).
        """
        if self._descriptor is not None:
            return True
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return True

    def release(self) -> None:
        """Let go; harmless when the lock is not held."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)


def holder(path: Path) -> int | None:
    """Who runs on this folder now: the process id, 0 when it is unknown, None when nobody does.

    Asking takes the lock for an instant, and never creates or changes the file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0)
        with contextlib.suppress(ValueError):
            return int(text)
        return 0
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None
