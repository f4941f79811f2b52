"""The first pass: what changed in the CRM becomes versions in the ledger, saved together with the cursor (at least once).

One idle poll is one call: the page of each source, the stamps of its lines, and the stamps of accounts or contacts (in turn).
Only a record whose own values changed, or whose lines or account moved, is read again with its lines. Rows that come back in
the overlap unchanged cost a digest and nothing more. Pages are keyed by (SystemModstamp, Id) (pitfalls P3, P4, P8) and counted
on the CRM's clock (P7); the watermark moves only when a page is safely stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from connector.ports import Unit
from connector.sync import imported, ledger
from connector.sync.ledger import Cursor, Record, Seen, Staged
from connector.sync.seam import Seam, Source, Tally

_ALWAYS = ("Id", "SystemModstamp", "LastModifiedDate", "LastModifiedBy.Name", "IsDeleted", "CreatedDate")
_LINE_ALWAYS = ("Id", "SystemModstamp")
_ID_PART = 200
_QUERIES_A_CALL = 5
_YOUNG_S = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stream:
    """One object that is polled by stamp: a source's records, its lines, or a record they point to.

    is_first - lines and pointed-at records of a first load: they are read with their records, so that only the day is noted.
    """

    object: str
    fields: tuple[str, ...]
    condition: str
    cursor: Cursor
    is_first: bool = False


def soql_list(ids: Iterable[str]) -> str:
    """Return ids as a SOQL list."""
    return ",".join(f"'{i}'" for i in ids)


def stage(seam: Seam, tally: Tally, *, turn: int | None = None, goes_on: bool = False) -> bool:
    """Read one page of every source; return whether more pages wait.

    *turn* chooses which of the related objects (Account, Contact …) are looked at beside them this time, as many as fit into
    the same call (decision D-23); None looks at all of them. *goes_on* reads only what the page before left unread.
    """
    now = seam.crm.server_now()
    with seam.database.read() as unit:
        streams = _streams(seam, unit, turn, ledger.iso(now))
    if goes_on:
        streams = [s for s in streams if s.cursor.pos_stamp]
    asked = [s for s in streams if not s.is_first]
    pages = seam.crm.query([_page_soql(s, seam.settings.page_rows, seam.settings.overlap_s) for s in asked], with_deleted=True)
    by_object: dict[str, list[dict[str, Any]]] = {s.object: [] for s in streams}
    by_object |= {source.object: [] for source in seam.sources if source.object not in by_object}
    by_object |= dict(zip((s.object for s in asked), pages, strict=True))
    merged = [(r["Id"], r["MasterRecordId"]) for r in by_object.get("Account", ()) if r.get("MasterRecordId")]
    if merged:
        with seam.database.transaction() as unit:
            ledger.follow_merges(unit, merged)
    staged_count, is_more = 0, False
    for source in seam.sources:
        with seam.database.read() as unit:
            wanted = imported.wanted(unit, source.object)
        is_more = is_more or len(wanted) == imported.READ_AT_ONCE
        staged, seen = _changed(seam, source, by_object, wanted)
        staged_count += len(staged)
        with seam.database.transaction() as unit:
            ledger.save_staged(unit, staged, ledger.iso(seam.now()))
            ledger.touch_seen(unit, seen)
            imported.were_read(unit, source.object, wanted)
            for stream in streams:
                if stream.object in (source.object, source.line_object):
                    ledger.save_cursor(unit, _advanced(seam, stream, by_object[stream.object]))
    with seam.database.transaction() as unit:
        own = {o for s in seam.sources for o in (s.object, s.line_object)}
        for stream in streams:
            if stream.object not in own:
                ledger.save_cursor(unit, _advanced(seam, stream, by_object[stream.object]))
    tally.staged += staged_count
    seam.progress("staged", staged_count)
    return is_more or any(len(page) >= seam.settings.page_rows for page in pages)


def stage_record(seam: Seam, record_id: str, tally: Tally) -> bool:
    """Read one record by its id whatever its stamp; return whether a source knows it."""
    for source in seam.sources:
        rows = _by_id(seam, source, [record_id])
        if not rows:
            continue
        staged, seen = _compared(seam, source, rows, {record_id})
        with seam.database.transaction() as unit:
            ledger.save_staged(unit, staged, ledger.iso(seam.now()))
            ledger.touch_seen(unit, seen)
        tally.staged += len(staged)
        return True
    return False


def read_record(seam: Seam, record_id: str) -> tuple[Source, Record] | None:
    """Return one record as the CRM holds it now, without saving anything; None if no source knows it."""
    for source in seam.sources:
        for row in _by_id(seam, source, [record_id]):
            lines = _lines_of(seam, source, [record_id]).get(record_id, [])
            return source, _record(source, row, _own_digest(source, row), lines, None, "")
    return None


# ---------------------------------------------------------------- which queries


def _streams(seam: Seam, unit: Unit, turn: int | None, now: str) -> list[_Stream]:
    streams: list[_Stream] = []
    related: dict[str, None] = {}
    for source in seam.sources:
        cursor = ledger.cursor(unit, source.object)
        streams.append(
            _Stream(
                object=source.object,
                fields=_record_fields(source),
                condition="" if cursor.is_loaded else source.first_load,
                cursor=_begun(cursor, now),
            )
        )
        if source.line_object and source.line_parent:
            streams.append(_aside(unit, source.line_object, source.line_parent, now))
        related |= dict.fromkeys(source.related)
    own = {s.object for s in streams}
    others = [name for name in related if name not in own]
    room = len(others) if turn is None else _QUERIES_A_CALL - len(streams) % _QUERIES_A_CALL
    streams += _related_streams(unit, others, turn or 0, now, room=room)
    return streams


def _related_streams(unit: Unit, objects: list[str], turn: int, now: str, *, room: int) -> list[_Stream]:
    chosen = [objects[(turn + i) % len(objects)] for i in range(min(room, len(objects)))] if objects else []
    return [_aside(unit, name, None, now) for name in chosen]


def _aside(unit: Unit, object_name: str, parent: str | None, now: str) -> _Stream:
    """Return the stream of stamps that says which lines or pointed-at records moved."""
    cursor = ledger.cursor(unit, object_name)
    fields = ("Id", parent, "SystemModstamp", "IsDeleted") if parent else _stub_fields(object_name)
    is_first = cursor.watermark is None and cursor.target is None
    return _Stream(object=object_name, fields=fields, condition="", cursor=_begun(cursor, now), is_first=is_first)


def _stub_fields(name: str) -> tuple[str, ...]:
    """Return what a poll reads of a record that deals only point to; a merged account names the one that stays (P15)."""
    return ("Id", "SystemModstamp", "IsDeleted", *(("MasterRecordId",) if name == "Account" else ()))


def _begun(cursor: Cursor, now: str) -> Cursor:
    return cursor if cursor.target else replace(cursor, target=now)


def _record_fields(source: Source) -> tuple[str, ...]:
    pointed = tuple(f"{path}.{name}" for path in source.related.values() for name in ("Id", "SystemModstamp"))
    total = (source.total,) if source.total else ()
    return tuple(dict.fromkeys((*_ALWAYS, *source.compiled.record_fields, *source.older_fields, *total, *pointed)))


def _page_soql(stream: _Stream, limit: int, overlap_s: int) -> str:
    cursor = stream.cursor
    parts = []
    if cursor.pos_stamp:
        place = f"SystemModstamp = {cursor.pos_stamp} AND Id > '{cursor.pos_id}'"
        parts.append(f"(({place}) OR SystemModstamp > {cursor.pos_stamp})")
    elif cursor.watermark:
        since = ledger.iso(ledger.instant(cursor.watermark) - timedelta(seconds=overlap_s))
        parts.append(f"SystemModstamp >= {since}")
    if stream.condition:
        parts.append(f"({stream.condition})")
    where = f" WHERE {' AND '.join(parts)}" if parts else ""
    return f"SELECT {', '.join(stream.fields)} FROM {stream.object}{where} ORDER BY SystemModstamp, Id LIMIT {limit}"


def _advanced(seam: Seam, stream: _Stream, page: Sequence[Mapping[str, Any]]) -> Cursor:
    """Return the cursor after this page: one page further, or complete up to the moment the read began."""
    if len(page) >= seam.settings.page_rows:
        last = page[-1]
        stamp = ledger.iso(ledger.instant(last["SystemModstamp"]))
        return replace(stream.cursor, pos_stamp=stamp, pos_id=last["Id"])
    return replace(
        stream.cursor,
        watermark=stream.cursor.target,
        target=None,
        pos_stamp=None,
        pos_id=None,
        is_loaded=True,
        complete_at=ledger.iso(seam.now()),
    )


# ---------------------------------------------------------------- what changed


def _changed(
    seam: Seam, source: Source, pages: Mapping[str, list[dict[str, Any]]], wanted: Sequence[str]
) -> tuple[list[Staged], list[Record]]:
    """Return the records of a source that are new or changed, and those of which only stamps moved; *wanted*: ids to read anyway."""
    rows = {row["Id"]: row for row in pages[source.object]}
    touched = set(_moved_by_lines(seam, source, pages)) | set(_moved_by_related(seam, source, pages))
    missing = sorted((touched | set(wanted)) - rows.keys())
    rows.update((row["Id"], row) for row in _by_id(seam, source, missing))
    return _compared(seam, source, list(rows.values()), touched)


def _compared(
    seam: Seam, source: Source, rows: list[dict[str, Any]], touched: set[str]
) -> tuple[list[Staged], list[Record]]:
    with seam.database.read() as unit:
        known: dict[str, Record] = {}
        for part in _parts([row["Id"] for row in rows], 900):
            known |= ledger.records(unit, source.object, part)
    fresh, quiet = [], []
    for row in rows:
        old = known.get(row["Id"])
        own = _own_digest(source, row)
        if old is None and not _is_wanted(source, row):
            continue
        if old is not None and own == old.record_digest and row["Id"] not in touched:
            quiet.append(_seen_again(source, old, row))
        else:
            fresh.append((row, own, old))
    read_at = ledger.iso(seam.crm.server_now())
    lines = _lines_of(seam, source, [row["Id"] for row, _, _ in fresh])
    staged = []
    for row, own, old in fresh:
        record = _record(source, row, own, lines.get(row["Id"], []), old, read_at)
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
    return replace(record, seen=Seen(lines=lines, related=related))


def _is_wanted(source: Source, row: Mapping[str, Any]) -> bool:
    return not row.get("IsDeleted") and source.compiled.condition(row) != "idle"


def _own_digest(source: Source, row: Mapping[str, Any]) -> str:
    """Digest of the record alone; its total is in it because a deleted line may leave no other trace (finding 7)."""
    total = row.get(source.total) if source.total else None
    return f"{_digest(source, row, ())}|{total}|{row.get('IsDeleted')}"


def _digest(source: Source, row: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> str:
    """Digest of everything that the newest mapping reads, and the older ones that billed records stand on; other fields, another digest."""
    older = ""
    if source.older_fields or source.older_line_fields:
        older = ledger.digest(
            [[_at(row, p) for p in source.older_fields], *([_at(line, p) for p in source.older_line_fields] for line in lines)]
        )
    return f"{source.reads}{source.compiled.digest(row, lines)}{older}"


def _seen_again(source: Source, old: Record, row: Mapping[str, Any]) -> Record:
    return replace(old, stamp=row["SystemModstamp"], seen=replace(old.seen, related=_related_stamps(source, row)))


def _is_newer(stamp: str, known: str | None, read_at: str) -> bool:
    """Whether a stamp means a change since *read_at*: stamps count whole seconds, so one of the second of the read may (P3)."""
    return known != stamp or ledger.iso(ledger.instant(stamp)) >= read_at


def _record(
    source: Source, row: dict[str, Any], own: str, lines: list[dict[str, Any]], old: Record | None, read_at: str
) -> Record:
    return Record(
        object=source.object,
        id=row["Id"],
        stamp=row["SystemModstamp"],
        seen=Seen(
            lines={line["Id"]: line["SystemModstamp"] for line in lines}, related=_related_stamps(source, row), read_at=read_at
        ),
        seq=old.seq + 1 if old else 1,
        record_digest=own,
        digest=f"{_digest(source, row, lines)}|{row.get('IsDeleted')}",
        account=_at(row, f"{source.related['Account']}.Id") if "Account" in source.related else None,
        contact=_at(row, f"{source.related['Contact']}.Id") if "Contact" in source.related else None,
        fields=row,
        lines=tuple(lines),
    )


def _at(row: Mapping[str, Any], path: str) -> Any:
    value: Any = row
    for part in path.split("."):
        value = value.get(part) if value else None
    return value


def _related_stamps(source: Source, row: Mapping[str, Any]) -> dict[str, str]:
    stamps = {}
    for path in source.related.values():
        if held := _at(row, path):
            stamps[held["Id"]] = held["SystemModstamp"]
    return stamps


def _moved_by_lines(seam: Seam, source: Source, pages: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """Return known records one of whose lines has another stamp than when they were read (pitfall P13)."""
    if not source.line_object or not source.line_parent:
        return []
    by_parent: dict[str, list[dict[str, Any]]] = {}
    for row in pages.get(source.line_object, ()):
        by_parent.setdefault(row[source.line_parent], []).append(row)
    moved = []
    with seam.database.read() as unit:
        for part in _parts(sorted(by_parent), 900):
            known = ledger.records(unit, source.object, part).values()
            moved += [r.id for r in known if any(_line_moved(r, row) for row in by_parent[r.id])]
    return moved


def _line_moved(record: Record, row: Mapping[str, Any]) -> bool:
    known = record.seen.lines.get(row["Id"])
    return known is not None if row.get("IsDeleted") else _is_newer(row["SystemModstamp"], known, record.seen.read_at)


def _moved_by_related(seam: Seam, source: Source, pages: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """Return records whose account or contact has another stamp than when they were read."""
    moved = []
    for name in source.related:
        stamps = {row["Id"]: row["SystemModstamp"] for row in pages.get(name, ())}
        with seam.database.read() as unit:
            for part in _parts(sorted(stamps), 900):
                for record in ledger.records_pointing_at(unit, part):
                    pointed = (record.account, record.contact, record.deal)
                    if record.object == source.object and any(
                        _is_newer(stamps[i], record.seen.related.get(i), record.seen.read_at)
                        for i in pointed
                        if i is not None and i in stamps
                    ):
                        moved.append(record.id)
    return moved


# ---------------------------------------------------------------- reading by id


def _by_id(seam: Seam, source: Source, ids: Sequence[str]) -> list[dict[str, Any]]:
    fields = ", ".join(_record_fields(source))
    soql = [f"SELECT {fields} FROM {source.object} WHERE Id IN ({soql_list(part)})" for part in _parts(ids, _ID_PART)]
    return [row for page in seam.crm.query(soql, with_deleted=True) for row in page] if soql else []


def _lines_of(seam: Seam, source: Source, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the whole set of lines of these records: money is never keyed on a line's id (finding 7)."""
    found: dict[str, list[dict[str, Any]]] = {}
    parent = source.line_parent
    if not source.line_object or parent is None or not ids:
        return found
    fields = ", ".join(dict.fromkeys((*_LINE_ALWAYS, parent, *source.compiled.line_fields, *source.older_line_fields)))
    select = f"SELECT {fields} FROM {source.line_object}"
    soql = [f"{select} WHERE {parent} IN ({soql_list(part)})" for part in _parts(sorted(ids), _ID_PART)]
    for page in seam.crm.query(soql):
        for row in page:
            found.setdefault(row[parent], []).append(row)
    for lines in found.values():
        lines.sort(key=lambda line: str(line["Id"]))
    return found


def _parts(values: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (values[i : i + size] for i in range(0, len(values), size))
