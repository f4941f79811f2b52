"""What the rooms that write to the database see of it: an open transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Unit(Protocol):
    """An open database transaction (see kit.db): the ledger's and the internal books' writes commit together."""

    def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run one statement; return how many rows it changed."""

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for every tuple of *rows*."""

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
