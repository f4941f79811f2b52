"""One writer a ledger: an advisory file lock that the kernel gives back when its holder dies, even by `kill -9`.

The file beside the database names the holder, so that the refused one can say who it is (decision D-22).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from connector.errors import HaltError
from connector.kit.db import Database


def ledger(url: str, path: Path, verb: str) -> AbstractContextManager[None]:
    """Hold the ledger of a database for *verb*: by the file at *path*, on a PostgreSQL server by the server itself (decision D-139)."""
    return held(path, verb) if url.startswith("sqlite:") else Database.lock(url, verb)


@contextmanager
def held(path: Path, verb: str) -> Iterator[None]:
    """Hold the lock at *path* for *verb*.

    Raises: HaltError naming the holder and its process id if another process has it, or if there is no place for the lock.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HaltError(
            f"The ledger's lock {path} cannot be made: {error.strerror}.",
            hint="Check that the folder of `database:` exists and may be written to.",
            code="database",
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
            raise HaltError(
                f"The ledger is in use by {holder}.",
                hint="Wait until it has finished, or stop it first (its process id is in the message).",
                code="ledger-locked",
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"`connector {verb}`, process {os.getpid()}".encode(), 0)
        yield
    finally:
        os.close(handle)
