"""Reading records with their lines, and finding which of them say something new: by digests, never by stamps alone.

Queries by id are flat, and asked page by page from behind the last row (pitfalls P16, P17): a deal of 1,200 lines is read with all
of them. One that takes the CRM too long is asked in halves (P19).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from connector.errors import RejectedError, RetryableError
from connector.ports import Page
from connector.sync import ledger
from connector.sync.ledger import Record, Seen, Staged
from connector.sync.seam import STAMP, Seam, Source
from connector.sync.streams import QUERIES_A_CALL, record_fields, with_stamps

_ID_PART = 200
_YOUNG_S = 2


# ---------------------------------------------------------------- reading by id


def by_id(seam: Seam, source: Source, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return these records as they are now, deleted ones too; one that is not there any more is missing."""
    select = f"SELECT {', '.join(record_fields(source))} FROM {source.object}"
    return with_stamps(_all_of(seam, select, "Id", ids, with_deleted=True), source.stamp_of(source.object))


def lines_of(seam: Seam, source: Source, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the whole set of lines of these records, in order of id: money is never keyed on a line's id (finding 7)."""
    found: dict[str, list[dict[str, Any]]] = {}
    parent = source.line_parent
    if not source.line_object or parent is None or not ids:
        return found
    stamp = source.stamp_of(source.line_object)
    pointed = tuple(f"{path}.{name}" for object_name, path in source.line_related.items() for name in ("Id", source.stamp_of(object_name)))
    total = (source.line_total,) if source.line_total else ()
    fields = dict.fromkeys(("Id", stamp, parent, *source.compiled.line_fields, *source.older_line_fields, *total, *pointed))
    for row in with_stamps(_all_of(seam, f"SELECT {', '.join(fields)} FROM {source.line_object}", parent, sorted(ids)), stamp):
        found.setdefault(row[parent], []).append(row)
    for lines in found.values():
        lines.sort(key=lambda line: str(line["Id"]))
    return found


def _all_of(seam: Seam, select: str, field: str, ids: Sequence[str], *, with_deleted: bool = False) -> list[dict[str, Any]]:
    """Return every row of *select* whose *field* is one of *ids*, up to 5 queries a call."""
    rows: list[dict[str, Any]] = []
    due = deque((part, "") for part in parts(ids, _ID_PART))
    while due:
        asked = [due.popleft() for _ in range(min(QUERIES_A_CALL, len(due)))]
        soql = []
        for part, after in asked:
            behind = f" AND Id > '{after}'" if after else ""
            soql.append(f"{select} WHERE {field} IN ({soql_list(part)}){behind} ORDER BY Id")
        for (part, after), page in zip(asked, seam.crm.pages(soql, with_deleted=with_deleted), strict=True):
            rows += page.rows
            due.extend(_further(part, after, page))
    return rows


def _further(part: Sequence[str], after: str, page: Page) -> list[tuple[Sequence[str], str]]:
    """Return what is still to be asked of a query: its next page, or its halves where it took too long.

    Raises: RejectedError where the CRM refuses it.
    """
    if page.refused is not None:
        raise RejectedError(page.refused)
    if not page.is_timed_out:
        return [] if page.is_whole else [(part, page.rows[-1]["Id"])]
    if len(part) == 1:
        raise RetryableError(
            f"The CRM takes too long to answer even for the record {part[0]} alone.",
            hint="Let an administrator look at slow formula fields among those that the mapping reads; it is asked again by itself.",
            retry_after_s=900,
        )
    middle = len(part) // 2
    return [(part[:middle], after), (part[middle:], after)]


def soql_list(ids: Iterable[str]) -> str:
    """Return ids as a SOQL list."""
    return ",".join(f"'{i}'" for i in ids)


def parts(values: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    """Return the values in order, *size* at a time."""
    return (values[i : i + size] for i in range(0, len(values), size))


# ---------------------------------------------------------------- what changed


def known_of(seam: Seam, object_name: str, ids: Sequence[str]) -> dict[str, Record]:
    """Return the staged records of these ids, without their values."""
    known: dict[str, Record] = {}
    with seam.database.read() as unit:
        for part in parts(ids, 900):
            known |= ledger.records(unit, object_name, part)
    return known


def compared(
    seam: Seam, source: Source, rows: list[dict[str, Any]], touched: Collection[str]
) -> tuple[list[Staged], list[Record]]:
    """Return which of these rows are new or changed, and those of which only stamps moved; *touched*: ids whose lines are read anyway."""
    known = known_of(seam, source.object, [row["Id"] for row in rows])
    fresh, quiet = [], []
    for row in rows:
        old = known.get(row["Id"])
        own = _own_digest(source, row)
        if old is None and not is_wanted(source, row):
            continue
        if old is not None and own == old.record_digest and row["Id"] not in touched:
            quiet.append(_seen_again(source, old, row))
        else:
            fresh.append((row, own, old))
    read_at = ledger.iso(seam.crm.server_now())
    lines = lines_of(seam, source, [row["Id"] for row, _, _ in fresh])
    staged = []
    for row, own, old in fresh:
        record = record_of(source, row, own, lines.get(row["Id"], []), old, read_at)
        if old is not None and record.digest == old.digest:
            quiet.append(replace(old, stamp=record.stamp, seen=record.seen, record_digest=own))
        else:
            staged.append(Staged(record=record, editor=(row.get("LastModifiedBy") or {}).get("Name") or ""))
    young = ledger.iso(seam.crm.server_now() - timedelta(seconds=_YOUNG_S))
    return [replace(s, record=_aged(s.record, young)) for s in staged], [_aged(r, young) for r in quiet]


def _aged(record: Record, young: str) -> Record:
    """Return the record without stamps from *young* on: stamps count seconds, so that the next change may bear the same one."""
    seen = record.seen
    if not any(s[:19] >= young[:19] for stamps in (seen.lines, seen.related) for s in stamps.values()):
        return record
    lines, related = ({i: "" if s[:19] >= young[:19] else s for i, s in m.items()} for m in (seen.lines, seen.related))
    return replace(record, seen=replace(seen, lines=lines, related=related))


def is_wanted(source: Source, row: Mapping[str, Any]) -> bool:
    """Whether a record that the ledger does not know yet concerns billing."""
    return not row.get("IsDeleted") and source.compiled.condition(row) != "idle"


def _own_digest(source: Source, row: Mapping[str, Any]) -> str:
    """Digest of the record alone."""
    return f"{_digest(source, row, ())}|{_total(source, row)}|{row.get('IsDeleted')}"


def _total(source: Source, row: Mapping[str, Any]) -> Any:
    """Return the roll-up of the lines: a deleted line may leave no other trace (finding 7), and the two must agree (P16)."""
    return row.get(source.total) if source.total else None


def _digest(source: Source, row: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> str:
    """Digest of everything that the newest mapping reads, and the older ones that billed records stand on; other fields, another digest."""
    older = ""
    if source.older_fields or source.older_line_fields:
        older = ledger.digest(
            [[at(row, p) for p in source.older_fields], *([at(line, p) for p in source.older_line_fields] for line in lines)]
        )
    return f"{source.reads}{source.compiled.digest(row, lines)}{older}"


def _seen_again(source: Source, old: Record, row: Mapping[str, Any]) -> Record:
    related = {**old.seen.related, **_stamps_at(source, source.related, row)}
    return replace(old, stamp=row[STAMP], seen=replace(old.seen, related=related))


def record_of(
    source: Source, row: Mapping[str, Any], own: str | None, lines: Sequence[Mapping[str, Any]], old: Record | None, read_at: str
) -> Record:
    """Return a row with its lines as the ledger keeps it, as the version after *old*; *own*: the row's own digest, where it is known."""
    related = _stamps_at(source, source.related, row)
    for line in lines:
        related |= _stamps_at(source, source.line_related, line)
    return Record(
        object=source.object,
        id=row["Id"],
        stamp=row[STAMP],
        seen=Seen(lines={line["Id"]: line[STAMP] for line in lines}, related=related, read_at=read_at),
        seq=old.seq + 1 if old else 1,
        record_digest=_own_digest(source, row) if own is None else own,
        digest=f"{_digest(source, row, lines)}|{_total(source, row)}|{row.get('IsDeleted')}",
        account=at(row, f"{source.related['Account']}.Id") if "Account" in source.related else None,
        contact=at(row, f"{source.related['Contact']}.Id") if "Contact" in source.related else None,
        fields=row,
        lines=tuple(lines),
    )


def at(row: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path; None where a record on the way is missing."""
    value: Any = row
    for part in path.split("."):
        value = value.get(part) if value else None
    return value


def _stamps_at(source: Source, paths: Mapping[str, str], row: Mapping[str, Any]) -> dict[str, str]:
    """Return the stamps of the records that a row points to, by id."""
    stamps = {}
    for object_name, path in paths.items():
        if held := at(row, path):
            stamps[held["Id"]] = held[source.stamp_of(object_name)]
    return stamps
