"""The first pass: what changed in the CRM becomes versions in the ledger, saved together with the cursor (at least once).

One idle poll is one call: the page of each source, the stamps of its lines, and the stamps of accounts, contacts or products (in
turn). Only a record whose own values changed, or whose lines or account moved, is read again with its lines; a product wakes the
deals that are held only, because what is billed never follows the catalogue. Rows that come back in the overlap unchanged cost a
digest and nothing more. Pages are keyed by (SystemModstamp, Id) (pitfalls P3, P4, P8) and counted on the CRM's clock (P7); the
watermark moves only when a page is safely stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connector.errors import Problem, RejectedError
from connector.sync import entries, imported, ledger, merges
from connector.sync.comparing import by_id, compared, known_of, lines_of, parts, record_of
from connector.sync.ledger import Record, Staged
from connector.sync.seam import STAMP, Seam, Source, Tally
from connector.sync.streams import Read, completed, read, streams

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def stage(seam: Seam, tally: Tally, *, turn: int | None = None, goes_on: bool = False) -> bool:
    """Read one page of every source; return whether more pages wait.

    *turn* chooses which of the related objects (Account, Contact, Product2 …) are looked at beside them this time, as many as fit
    into the same call (decision D-23); None looks at all of them. *goes_on* reads only what the page before left unread.
    """
    now = seam.crm.server_now()
    with seam.database.read() as unit:
        due = streams(seam, unit, turn, ledger.iso(now), typed=entries.stream(seam, unit, ledger.iso(now)))
    if goes_on:
        due = [s for s in due if s.cursor.pos_stamp]
    reads = {r.stream.object: r for r in read(seam, [s for s in due if not s.is_first])}
    cursors = {s.object: completed(seam, s) for s in due if s.is_first}
    cursors |= {name: r.cursor for name, r in reads.items() if r.refused is None}
    rows = {name: r.rows for name, r in reads.items()}
    _follow_merges(seam, rows)
    staged_count, is_more = 0, any(r.is_more for r in reads.values())
    for source in seam.sources:
        with seam.database.read() as unit:
            wanted = imported.wanted(unit, source.object)
        try:
            staged, seen = _changed_unless_refused(seam, source, reads, rows, wanted)
        except RejectedError as error:
            _pause(seam, source, error.problem)
            for polled in _objects_of(source):
                cursors.pop(polled, None)  # what it has not seen is read again once it may
            continue
        _go_on(seam, source)
        is_more = is_more or len(wanted) == imported.READ_AT_ONCE
        staged_count += len(staged)
        with seam.database.transaction() as unit:
            ledger.save_staged(unit, staged, ledger.iso(seam.now()))
            ledger.touch_seen(unit, seen)
            imported.were_read(unit, source.object, wanted)
            for name in (source.object, source.line_object):
                if name in cursors:
                    ledger.save_cursor(unit, cursors.pop(name))
    with seam.database.transaction() as unit:
        entries.take(unit, rows.get(entries.OBJECT, ()), seam.now())
        for cursor in cursors.values():
            ledger.save_cursor(unit, cursor)
    tally.staged += staged_count
    seam.progress("staged", staged_count)
    return is_more


def _objects_of(source: Source) -> list[str]:
    """Return every object that is polled for a source."""
    return [o for o in (source.object, source.line_object, *source.related, *source.line_related) if o]


def _changed_unless_refused(
    seam: Seam, source: Source, reads: Mapping[str, Read], rows: Mapping[str, list[dict[str, Any]]], wanted: Sequence[str]
) -> tuple[list[Staged], list[Record]]:
    """Return what changed of a source. Raises: RejectedError where the CRM does not show all that its mapping reads (P21)."""
    for name in (source.object, source.line_object or ""):
        if name in reads and (refused := reads[name].refused) is not None:
            raise RejectedError(refused)
    return _changed(seam, source, rows, wanted)


def _pause(seam: Seam, source: Source, problem: Problem) -> None:
    if source.name not in seam.paused:
        seam.log("source.paused", source=source.name, error=problem.message, hint=problem.hint)
    seam.paused[source.name] = problem


def _go_on(seam: Seam, source: Source) -> None:
    if seam.paused.pop(source.name, None) is not None:
        seam.log("source.resumed", source=source.name)


def _follow_merges(seam: Seam, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    merged = [(r["Id"], r["MasterRecordId"]) for r in rows.get("Account", ()) if r.get("MasterRecordId")]
    if merged:
        with seam.database.transaction() as unit:
            merges.follow(unit, merged)


def stage_record(seam: Seam, record_id: str, tally: Tally) -> bool:
    """Read one record by its id whatever its stamp; return whether a source knows it."""
    for source in seam.sources:
        rows = by_id(seam, source, [record_id])
        if not rows:
            continue
        staged, seen = compared(seam, source, rows, {record_id})
        with seam.database.transaction() as unit:
            ledger.save_staged(unit, staged, ledger.iso(seam.now()))
            ledger.touch_seen(unit, seen)
        tally.staged += len(staged)
        return True
    return False


def read_record(seam: Seam, record_id: str) -> tuple[Source, Record] | None:
    """Return one record as the CRM holds it now, without saving anything; None if no source knows it."""
    for source in seam.sources:
        for row in by_id(seam, source, [record_id]):
            lines = lines_of(seam, source, [record_id]).get(record_id, [])
            return source, record_of(source, row, None, lines, None, "")
    return None


# ---------------------------------------------------------------- what changed


def _changed(seam: Seam, source: Source, pages: Mapping[str, list[dict[str, Any]]], wanted: Sequence[str]) -> tuple[list[Staged], list[Record]]:
    """Return the records of a source that are new or changed, and those of which only stamps moved; *wanted*: ids to read anyway."""
    rows = {row["Id"]: row for row in pages.get(source.object, ())}
    touched = {*_moved_by_lines(seam, source, pages), *_moved_by_related(seam, source, pages), *_moved_by_catalogue(seam, source, pages)}
    missing = sorted((touched | set(wanted)) - rows.keys())
    rows.update((row["Id"], row) for row in by_id(seam, source, missing))
    return compared(seam, source, list(rows.values()), touched | set(wanted))


def _is_newer(stamp: str, known: str | None, read_at: str) -> bool:
    """Whether a stamp means a change since *read_at*: stamps count whole seconds, so one of the second of the read may (P3)."""
    return known != stamp or ledger.iso(ledger.instant(stamp)) >= read_at


def _moved_by_lines(seam: Seam, source: Source, pages: Rows) -> list[str]:
    """Return known records one of whose lines has another stamp than when they were read (pitfall P13)."""
    if not source.line_object or not source.line_parent:
        return []
    by_parent: dict[str, list[Mapping[str, Any]]] = {}
    for row in pages.get(source.line_object, ()):
        by_parent.setdefault(row[source.line_parent], []).append(row)
    moved = []
    with seam.database.read() as unit:
        for part in parts(sorted(by_parent), 900):
            known = ledger.records(unit, source.object, part).values()
            moved += [r.id for r in known if any(_line_moved(r, row) for row in by_parent[r.id])]
    return moved


def _line_moved(record: Record, row: Mapping[str, Any]) -> bool:
    known = record.seen.lines.get(row["Id"])
    return known is not None if row.get("IsDeleted") else _is_newer(row[STAMP], known, record.seen.read_at)


def _moved_by_related(seam: Seam, source: Source, pages: Rows) -> list[str]:
    """Return records whose account or contact has another stamp than when they were read."""
    moved = []
    for name in source.related:
        stamps = {row["Id"]: row[STAMP] for row in pages.get(name, ())}
        with seam.database.read() as unit:
            for part in parts(sorted(stamps), 900):
                for record in ledger.records_pointing_at(unit, part):
                    pointed = (record.account, record.contact, record.deal)
                    if record.object == source.object and any(
                        _is_newer(stamps[i], record.seen.related.get(i), record.seen.read_at)
                        for i in pointed
                        if i is not None and i in stamps
                    ):
                        moved.append(record.id)
    return moved


def _moved_by_catalogue(seam: Seam, source: Source, pages: Rows) -> list[str]:
    """Return records of held deals one of whose lines points to a product, or another record, that changed."""
    stamps = {row["Id"]: row[STAMP] for name in source.line_related if name not in source.related for row in pages.get(name, ())}
    if not stamps:
        return []
    kinds = {i[:3] for i in stamps}
    with seam.database.read() as unit:
        held = "SELECT r.id FROM deal d JOIN record r ON r.deal = d.name WHERE d.state IN ('parked', 'waiting') AND r.object = ? ORDER BY r.id"
        ids = [str(row[0]) for row in unit.query(held, (source.object,))]
    moved = []
    for record in known_of(seam, source.object, ids).values():
        seen = record.seen.related
        # a record read by a version that did not note them is read again
        is_noted = any(i[:3] in kinds for i in seen) or not record.seen.lines
        if not is_noted or any(_is_newer(stamps[i], known, record.seen.read_at) for i, known in seen.items() if i in stamps):
            moved.append(record.id)
    return moved
