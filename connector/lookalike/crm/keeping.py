"""The tables of an org with their transactions: saves that all stand or fall, that may be seen late, that go to the file.

A slow transaction is taken back from the tables when it ends and brought when its time has come; meanwhile its records
are locked. If the process dies before, it never was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from connector.lookalike.crm.file import OrgFile
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.schema import NUMBERS, ObjectType, Schema
from connector.lookalike.crm.table import Row, Table
from connector.lookalike.crm.values import instant_text

BIN_DAYS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a slow transaction saved, unseen until *due*; None for a removed record."""

    due: datetime
    begun: datetime
    rows: list[tuple[str, str, Row | None]]


class Keeping:
    """Tables by object name, and the file beneath. settings - what is saved beside the records."""

    def __init__(self, schema: Schema, file: OrgFile | None, settings: dict[str, Any]) -> None:
        self.tables = {one.name: Table(one) for one in schema.types}
        self._file = file
        self._settings = settings
        self._undo: list[tuple[str, str, Row | None]] = []
        self._held: list[Held] = []
        self._held_ids: set[str] = set()
        self._bin_day: date | None = None

    def load(self) -> None:
        """Read all records of the file."""
        assert self._file is not None
        wide = {name: [f.name for f in table.kind.fields if f.type in NUMBERS] for name, table in self.tables.items()}
        unticked = {name: _unticked(table.kind) for name, table in self.tables.items()}
        for kind, record, row in self._file.records():
            for name in wide[kind]:
                if isinstance(row.get(name), int):
                    row[name] = Decimal(row[name])
            self.tables[kind].put(record, {**unticked[kind], **row})

    def redefine(self, kinds: Iterable[ObjectType]) -> None:
        """Make the tables of new and changed objects; records keep what they hold, new checkboxes are unticked."""
        for kind in kinds:
            old = self.tables.get(kind.name)
            table = self.tables[kind.name] = Table(kind)
            for record, row in old.rows.items() if old is not None else ():
                table.put(record, {**_unticked(kind), **row})
        if self._file:
            self._file.save((), self._settings)

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def put(self, kind: str, record: str, row: Row | None) -> None:
        """Store a whole record as it is, or remove it; part of the transaction. Raises: Refusal while a slow save holds it."""
        if record in self._held_ids:
            raise Refusal("UNABLE_TO_LOCK_ROW", f"unable to obtain exclusive access to this record or 1 records: {record}")
        self._undo.append((kind, record, self.tables[kind].put(record, row)))

    @property
    def mark(self) -> int:
        """The place to which `roll_back` goes back."""
        return len(self._undo)

    @property
    def is_waiting(self) -> bool:
        """Say whether a slow transaction is still unseen."""
        return bool(self._held)

    def roll_back(self, mark: int) -> None:
        """Undo everything since *mark*."""
        while len(self._undo) > mark:
            kind, record, old = self._undo.pop()
            self.tables[kind].put(record, old)

    def oldest_open(self) -> datetime | None:
        """Return when the oldest transaction that is still unseen began; None without one."""
        return min((one.begun for one in self._held), default=None)

    def commit(self, now: datetime, late_s: int) -> None:
        """Let everything stand and write it to the file; or, for *late_s* seconds, hold it back."""
        touched = dict.fromkeys((kind, record) for kind, record, _ in self._undo)
        rows = [(kind, record, self.tables[kind].rows.get(record)) for kind, record in touched]
        if late_s:
            self.roll_back(0)
            self._held.append(Held(due=now + timedelta(seconds=late_s), begun=now, rows=rows))
            self._held_ids.update(record for _, record, _ in rows)
            rows = []
        self._undo.clear()
        self._file_away(rows)

    def settle(self, now: datetime) -> None:
        """Bring what slow transactions saved, once their time has come; once a day, remove what lay too long in the bin."""
        for held in [one for one in self._held if one.due <= now]:
            self._held.remove(held)
            self._held_ids.difference_update(record for _, record, _ in held.rows)
            self._bring(held.rows)
        if self._bin_day != now.date():
            self._bin_day = now.date()
            oldest = instant_text(now - timedelta(days=BIN_DAYS))
            self._bring(
                [
                    (kind, record, None)
                    for kind, table in self.tables.items()
                    for record, row in table.rows.items()
                    if row["IsDeleted"] and row["SystemModstamp"] < oldest
                ]
            )

    def _bring(self, rows: list[tuple[str, str, Row | None]]) -> None:
        for kind, record, row in rows:
            self.tables[kind].put(record, row)
        self._file_away(rows)

    def _file_away(self, rows: list[tuple[str, str, Row | None]]) -> None:
        if self._file and rows:
            self._file.save(rows, self._settings)


def _unticked(kind: ObjectType) -> Row:
    """Return what a record shows in checkboxes that came after it was stored."""
    return {one.name: False for one in kind.fields if one.type == "boolean"}
