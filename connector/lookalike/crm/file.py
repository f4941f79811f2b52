"""The org's own SQLite file: one row a record, one transaction a request, on disk before the reply leaves."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

_ENCODE = msgspec.json.Encoder(decimal_format="number").encode
_DECODE = msgspec.json.Decoder(float_hook=Decimal).decode


class OrgFile:
    """Records and settings of an org in a file. A process that is killed loses nothing that was answered."""

    def __init__(self, path: str | Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS record (id TEXT PRIMARY KEY, object TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID"
        )
        self._db.execute("CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, body BLOB NOT NULL)")

    def settings(self) -> dict[str, Any]:
        """Return what was saved about the org itself."""
        return {name: _DECODE(body) for name, body in self._db.execute("SELECT name, body FROM setting")}

    def records(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield (object, id, row) in order of id; numbers come back as int or Decimal, as written."""
        for kind, record, body in self._db.execute("SELECT object, id, body FROM record ORDER BY id"):
            yield kind, record, _DECODE(body)

    def save(self, rows: Iterable[tuple[str, str, dict[str, Any] | None]], settings: dict[str, Any]) -> None:
        """Write rows (None removes) and settings in one transaction."""
        kept, gone = [], []
        for kind, record, row in rows:
            if row is None:
                gone.append((record,))
            else:
                kept.append((record, kind, _ENCODE(row)))
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT OR REPLACE INTO record (id, object, body) VALUES (?, ?, ?)", kept)
            self._db.executemany("DELETE FROM record WHERE id = ?", gone)
            self._db.executemany(
                "INSERT OR REPLACE INTO setting (name, body) VALUES (?, ?)",
                [(k, _ENCODE(v)) for k, v in settings.items()],
            )
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the file; what was saved stays."""
        self._db.close()
