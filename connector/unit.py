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

    @property
    def for_update(self) -> str:
        """What a query ends with that locks the rows it returns until the end; "" where one writes at a time anyway."""

    @property
    def bytewise(self) -> str:
        """What a text column is followed by to compare it byte by byte, as the CRM orders ids; "" where that is so anyway."""

    def lock_out_writers(self, table: str) -> None:
        """Wait until nobody is writing to a table, and let nobody begin before the end."""
