"""The records of one object, with the look-ups that keep a request from scanning them.

Rows are dicts that are replaced, never changed in place; so a row once read stays what it was, and a rollback puts the old
one back.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from connector.lookalike.crm.schema import ObjectType

Row = dict[str, Any]
_STALE_SPARE = 1000


class Table:
    """Records by id, by parent, by external id, and in order of (SystemModstamp, Id)."""

    def __init__(self, kind: ObjectType) -> None:
        self.kind = kind
        self.rows: dict[str, Row] = {}
        self._by_parent: dict[str, dict[str, dict[str, None]]] = {field.name: {} for field in kind.references}
        self._by_external: dict[str, dict[str, dict[str, None]]] = {field.name: {} for field in kind.externals}
        self._stamps: list[tuple[str, str]] = []

    def put(self, record: str, new: Row | None) -> Row | None:
        """Store *new* under its id, or remove the record for None; return what stood there."""
        old = self.rows.get(record)
        for name, index in self._by_parent.items():
            _move(index, record, old.get(name) if old else None, new.get(name) if new else None)
        for name, index in self._by_external.items():
            _move(index, record, _key(old, name), _key(new, name))
        if new is None:
            self.rows.pop(record, None)
            return old
        self.rows[record] = new
        if old is None or old["SystemModstamp"] != new["SystemModstamp"]:
            self._stamp(new["SystemModstamp"], record)
        return old

    def _stamp(self, stamp: str, record: str) -> None:
        entry = (stamp, record)
        stamps = self._stamps
        if not stamps or entry > stamps[-1]:
            stamps.append(entry)
        else:
            at = bisect_left(stamps, entry)
            if stamps[at] != entry:
                stamps.insert(at, entry)
        if len(stamps) > 2 * len(self.rows) + _STALE_SPARE:
            self._stamps = sorted((row["SystemModstamp"], one) for one, row in self.rows.items())

    def children(self, field: str, parent: str) -> list[str]:
        """Return the ids of records whose lookup *field* points at *parent*, oldest link first."""
        return list(self._by_parent[field].get(parent, ()))

    def is_indexed(self, field: str) -> bool:
        """Say whether `children` or `external` can answer for *field*."""
        return field in self._by_parent or field in self._by_external

    def matching(self, field: str, value: str) -> list[str]:
        """Return the ids of records whose indexed *field* equals *value*; external ids ignore case."""
        if field in self._by_parent:
            return self.children(field, value)
        return list(self._by_external[field].get(value.lower(), ()))

    def stamped(self, low: str, high: str) -> Iterator[Row]:
        """Yield records with low <= SystemModstamp <= high in order of (SystemModstamp, Id)."""
        start, stop = bisect_left(self._stamps, (low, "")), bisect_left(self._stamps, (high, "~"))
        rows = self.rows
        for stamp, record in self._stamps[start:stop]:
            row = rows.get(record)
            if row is not None and row["SystemModstamp"] == stamp:
                yield row


def _key(row: Row | None, name: str) -> str | None:
    value = row.get(name) if row else None
    return str(value).lower() if value is not None else None


def _move(index: dict[str, dict[str, None]], record: str, old: str | None, new: str | None) -> None:
    if old == new:
        return
    if old is not None:
        group = index[old]
        del group[record]
        if not group:
            del index[old]
    if new is not None:
        index.setdefault(new, {})[record] = None
