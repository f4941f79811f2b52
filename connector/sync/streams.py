"""What a poll asks: one stream an object, keyed by (stamp, id), with the cursor that says how far it came.

Bounds are whole seconds in UTC, `>=` below and `<` above (pitfall P3), because the CRM compares whole seconds only. A page ends
at its last row, and the next one begins behind it: no address of a page is kept, so that none can expire (P17). Where the CRM
gives up on a query (QUERY_TIMEOUT, P19) the window is halved, down to one second, then fewer rows are asked for; a window
that went through is doubled, until none is needed. Worked example: a first load over ten years times out; after 9 halvings a
week comes back; then two weeks, a month, and so on, each page kept as it comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connector.errors import Problem, RetryableError
from connector.ports import Page, Unit
from connector.sync import ledger
from connector.sync.ledger import Cursor
from connector.sync.seam import STAMP, Seam, Source, Window

QUERIES_A_CALL = 5
_BEGINNING = datetime(1999, 1, 1, tzinfo=UTC)  # no CRM record is older
_MAX_NARROWINGS = 60  # 30 halve 27 years down to a second, 11 halve 2,000 rows down to one


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One object that is polled by stamp: a source's records, its lines, or a record they point to.

    stamp - the field that the poll goes by. is_first - lines and pointed-at records of a first load: they are read with their
    records, so that only the day is noted.
    """

    object: str
    fields: tuple[str, ...]
    condition: str
    cursor: Cursor
    stamp: str = STAMP
    is_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One page of a stream: its rows, each with its stamp as `SystemModstamp`, and the cursor after it; or why the CRM refuses it."""

    stream: Stream
    rows: list[dict[str, Any]]
    cursor: Cursor
    is_more: bool
    refused: Problem | None = None


def streams(seam: Seam, unit: Unit, turn: int | None, now: str, *, typed: Stream | None) -> list[Stream]:
    """Return what is to be polled: every source with its lines, and of the objects they point to as many as *turn* has room for.

    typed - invoice rows on which payments are typed; they take turns with the others.
    """
    found: list[Stream] = []
    for source in seam.sources:
        cursor = ledger.cursor(unit, source.object)
        found.append(
            Stream(
                object=source.object,
                fields=record_fields(source),
                condition="" if cursor.is_loaded else source.first_load,
                cursor=begun(cursor, now),
                stamp=source.stamp_of(source.object),
            )
        )
        if source.line_object and source.line_parent:
            found.append(_aside(unit, source.line_object, source.line_parent, source.stamp_of(source.line_object), now))
    others = [_aside(unit, name, None, stamp, now) for name, stamp in pointed_at(seam.sources).items()]
    others += [typed] if typed is not None else []
    room = _room(len(found), len(others), takes_turns=turn is not None)
    return found + [others[((turn or 0) + i) % len(others)] for i in range(room)]


def polled(sources: Sequence[Source]) -> list[str]:
    """Return the objects that every round asks for: the sources' records and their lines."""
    return [o for s in sources for o in (s.object, s.line_object if s.line_parent else None) if o]


def pointed_at(sources: Sequence[Source]) -> dict[str, str]:
    """Return the objects that deals only point to, each with the stamp it is polled by."""
    related = {name: s.stamp_of(name) for s in sources for name in (*s.related, *s.line_related)}
    own = polled(sources)
    return {name: stamp for name, stamp in related.items() if name not in own}


def calls_of_poll(own: int, others: int, *, takes_turns: bool) -> int:
    """Return the calls of one poll in which nothing changed, of so many objects and *others* beside them."""
    return -(-(own + _room(own, others, takes_turns=takes_turns)) // QUERIES_A_CALL)


def _room(own: int, others: int, *, takes_turns: bool) -> int:
    """Return how many of the others are looked at: all, or where they take turns those that cost no further call."""
    return min(others, QUERIES_A_CALL - own % QUERIES_A_CALL) if takes_turns else others


def _aside(unit: Unit, object_name: str, parent: str | None, stamp: str, now: str) -> Stream:
    """Return the stream of stamps that says which lines or pointed-at records moved."""
    cursor = ledger.cursor(unit, object_name)
    fields = ("Id", parent, stamp, "IsDeleted") if parent else _stub_fields(object_name, stamp)
    is_first = cursor.watermark is None and cursor.target is None
    return Stream(object=object_name, fields=fields, condition="", cursor=begun(cursor, now), stamp=stamp, is_first=is_first)


def _stub_fields(name: str, stamp: str) -> tuple[str, ...]:
    """Return what a poll reads of a record that deals only point to; a merged account names the one that stays (P15)."""
    return ("Id", stamp, "IsDeleted", *(("MasterRecordId",) if name == "Account" else ()))


def begun(cursor: Cursor, now: str) -> Cursor:
    """Return the cursor of a poll that begins now, or goes on where it began."""
    return cursor if cursor.target else replace(cursor, target=now)


def record_fields(source: Source) -> tuple[str, ...]:
    """Return the paths that are read of a source's records."""
    pointed = tuple(f"{path}.{name}" for object_name, path in source.related.items() for name in ("Id", source.stamp_of(object_name)))
    total = (source.total,) if source.total else ()
    own = ("Id", source.stamp_of(source.object), *source.always)
    return tuple(dict.fromkeys((*own, *source.compiled.record_fields, *source.older_fields, *total, *pointed)))


def with_stamps(rows: list[dict[str, Any]], field: str) -> list[dict[str, Any]]:
    """Return the rows with their stamp under its usual name, whichever field of the org it stands in (P1)."""
    if field != STAMP:
        for row in rows:
            row[STAMP] = row[field]
    return rows


# ---------------------------------------------------------------- one page of each


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One page as it is asked for: from the stamp *low* on (None: from the beginning) and before *until* (None: up to now)."""

    stream: Stream
    low: datetime | None
    until: datetime | None
    rows: int

    def soql(self) -> str:
        """Return the query; it asks for one row more than it takes, so that it is known without another call whether there is more."""
        stream, cursor, stamp = self.stream, self.stream.cursor, self.stream.stamp
        parts = []
        if self.low is not None and cursor.pos_stamp and cursor.pos_id:
            following = ledger.iso(self.low + timedelta(seconds=1))
            parts.append(f"(({stamp} = {ledger.iso(self.low)} AND Id > '{cursor.pos_id}') OR {stamp} >= {following})")
        elif self.low is not None:
            parts.append(f"{stamp} >= {ledger.iso(self.low)}")
        if self.until is not None:
            parts.append(f"{stamp} < {ledger.iso(self.until)}")
        if stream.condition:
            parts.append(f"({stream.condition})")
        where = f" WHERE {' AND '.join(parts)}" if parts else ""
        return f"SELECT {', '.join(stream.fields)} FROM {stream.object}{where} ORDER BY {stamp}, Id LIMIT {self.rows + 1}"


def read(seam: Seam, wanted: Sequence[Stream]) -> list[Read]:
    """Return the next page of each stream, in one call where none of them takes the CRM too long."""
    found: dict[str, Read] = {}
    due = [_asked(seam, s) for s in wanted]
    for _ in range(_MAX_NARROWINGS):
        pages = seam.crm.pages([a.soql() for a in due], with_deleted=True) if due else []
        slow = []
        for asked, page in zip(due, pages, strict=True):
            if page.refused is not None:
                found[asked.stream.object] = Read(
                    stream=asked.stream, rows=[], cursor=asked.stream.cursor, is_more=False, refused=page.refused
                )
            elif page.is_timed_out:
                seam.windows[asked.stream.object] = _narrower(seam, asked)
                slow.append(_asked(seam, asked.stream))
            else:
                found[asked.stream.object] = _read(seam, asked, page)
        if not slow:
            return [found[s.object] for s in wanted]
        due = slow
    raise RetryableError(
        f"The CRM takes too long to answer even for one record of {', '.join(a.stream.object for a in due)}.",
        hint="Let an administrator look at slow formula fields among those that the mapping reads; it is asked again by itself.",
        retry_after_s=900,
    )


def _asked(seam: Seam, stream: Stream) -> _Asked:
    cursor, window = stream.cursor, seam.windows.get(stream.object)
    low: datetime | None = None
    if cursor.pos_stamp:
        low = ledger.instant(cursor.pos_stamp)
    elif cursor.watermark:
        low = ledger.instant(cursor.watermark) - timedelta(seconds=seam.settings.overlap_s)
    if window is None:
        return _Asked(stream=stream, low=low, until=None, rows=seam.settings.page_rows)
    low = low or _BEGINNING
    until = low + timedelta(seconds=window.seconds)
    rows = min(window.rows or seam.settings.page_rows, seam.settings.page_rows)
    return _Asked(stream=stream, low=low, until=until if until <= seam.crm.server_now() else None, rows=rows)


def _read(seam: Seam, asked: _Asked, page: Page) -> Read:
    stream, rows = asked.stream, with_stamps(page.rows, asked.stream.stamp)
    if not page.is_whole or len(rows) > asked.rows:
        last = rows[-1]
        cursor = replace(stream.cursor, pos_stamp=ledger.iso(ledger.instant(last[STAMP])), pos_id=last["Id"])
        return Read(stream=stream, rows=rows, cursor=cursor, is_more=True)
    _widen(seam, stream)
    if asked.until is not None:
        cursor = replace(stream.cursor, pos_stamp=ledger.iso(asked.until), pos_id="")
        return Read(stream=stream, rows=rows, cursor=cursor, is_more=True)
    return Read(stream=stream, rows=rows, cursor=completed(seam, stream), is_more=False)


def completed(seam: Seam, stream: Stream) -> Cursor:
    """Return the cursor of a stream that was read up to the moment at which the read began."""
    return replace(
        stream.cursor, watermark=stream.cursor.target, target=None, pos_stamp=None, pos_id=None, is_loaded=True,
        complete_at=ledger.iso(seam.now()),
    )  # fmt: skip


# ---------------------------------------------------------------- queries that take too long (P19)


def _narrower(seam: Seam, asked: _Asked) -> Window:
    """Return half the window that was too much: half the time, and where that is one second, half the rows."""
    low = asked.low or _BEGINNING
    seconds = int(((asked.until or seam.crm.server_now() + timedelta(seconds=1)) - low).total_seconds())
    if seconds > 1:
        return Window(seconds=seconds // 2)
    return Window(seconds=1, rows=max(1, asked.rows // 2))


def _widen(seam: Seam, stream: Stream) -> None:
    """Take twice the window next time; none any more where that would reach from the beginning to now."""
    window = seam.windows.pop(stream.object, None)
    if window is None:
        return
    if window.rows * 2 >= seam.settings.page_rows:
        seam.windows[stream.object] = Window(seconds=2)
    elif window.rows:
        seam.windows[stream.object] = Window(seconds=1, rows=window.rows * 2)
    elif timedelta(seconds=window.seconds * 2) < seam.crm.server_now() - _BEGINNING:
        seam.windows[stream.object] = Window(seconds=window.seconds * 2)
