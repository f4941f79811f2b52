"""What a process claims for itself among all that work on one ledger: the database's server gives it back when the session ends, however it ends.

The ledger has one holder (`connector.kit.lock`). But a holder whose connection was lost without its noticing works on beside the next one, and
what it asks of a service outside is in no transaction: so whoever works for somebody there claims this somebody first, and asks whether the
claim still stands before each thing it does. On SQLite the ledger's lock is the kernel's and cannot be lost: everything is granted.

Worked example: two processes send; one has claimed the customer cus_1. The other is refused cus_1, and `ALONE` too; cus_2 is granted to it.
"""

from __future__ import annotations

import threading
import zlib
from typing import Any

ALONE = ""
"""The claim that nobody else has any."""
_ALL = (0x73656E64, 0)  # shared by whoever has a claim
_ONE = 0x73656E65


class Unclaimed(Exception):  # noqa: N818 - what became of a claim
    """The session that held the claims is gone: somebody else may have them by now."""


class Claims:
    """The claims of one piece of work, from several threads; *address* of a PostgreSQL server, None: nobody works beside this process."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._session: Any = None
        self._lock = threading.Lock()

    def take(self, name: str) -> bool:
        """Claim a name; False where somebody else has it. Raises: Unclaimed where the server cannot be reached."""
        if self._address is None:
            return True
        with self._lock:
            self._open()
            if name == ALONE:
                return self._said("SELECT pg_try_advisory_lock(%s, %s)", *_ALL)
            if not self._said("SELECT pg_try_advisory_lock_shared(%s, %s)", *_ALL):
                return False
            if self._said("SELECT pg_try_advisory_lock(%s, %s)", _ONE, _number(name)):
                return True
            self._said("SELECT pg_advisory_unlock_shared(%s, %s)", *_ALL)
            return False

    def give(self, name: str) -> None:
        """Give a claim back. Raises: Unclaimed."""
        if self._address is None:
            return
        with self._lock:
            if name == ALONE:
                self._said("SELECT pg_advisory_unlock(%s, %s)", *_ALL)
            else:
                self._said("SELECT pg_advisory_unlock(%s, %s)", _ONE, _number(name))
                self._said("SELECT pg_advisory_unlock_shared(%s, %s)", *_ALL)

    def check(self) -> None:
        """See that everything claimed is still ours; nothing is asked where nothing was claimed. Raises: Unclaimed."""
        if self._session is not None:
            with self._lock:
                self._said("SELECT true")

    def close(self) -> None:
        """Give everything back."""
        if self._session is not None:
            self._session.close()

    def _open(self) -> None:
        from psycopg import Error, connect

        if self._session is None:
            try:
                self._session = connect(self._address or "", autocommit=True, connect_timeout=10, application_name="connector sending")
            except Error as error:
                raise Unclaimed(str(error)) from error

    def _said(self, sql: str, *params: int) -> bool:
        from psycopg import Error

        try:
            (said,) = self._session.execute(sql, params).fetchone()
        except Error as error:
            raise Unclaimed(str(error)) from error
        return bool(said)


def _number(name: str) -> int:
    return zlib.crc32(name.encode()) - 2**31  # two names of one number wait for each other, no more
