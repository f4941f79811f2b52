"""The sweep: every record in scope is compared with the ledger, because a poll by stamp cannot see everything (pitfalls P11, P12, P14).

A poll misses a formula whose result changed (no stamp moves), a row that became visible later than the overlap reaches back, and a
record that was deleted for good. The sweep reads ids and stamps in order of id, 2,000 a call (100,000 deals are 50 calls), and all
that the mapping reads where that includes formulas, or where everything is to be read again (`connector sync --full`). What it finds
is put right at once: what was missed is read, and a record that is gone counts as deleted.

Owns: one row of `meta` a source, which says how far it came and what it found, written with each page; a sweep that was cut off
goes on from there. Memory: one page. Drift is what no poll would have found: a row stamped before the last poll's overlap.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any

from connector.errors import RejectedError, RetryableError
from connector.ports import Page, Unit
from connector.sync import imported, ledger, merges
from connector.sync.comparing import at, by_id, compared, is_wanted, known_of, record_of
from connector.sync.ledger import Record, Staged
from connector.sync.seam import STAMP, Seam, Source, Swept, Tally
from connector.sync.streams import record_fields, with_stamps

_KNOWN_AT_ONCE = 5000
_FEWEST_ROWS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """How the sweep of one source stands: *after* is the last id compared, *found* what it found so far; *done_at* None: not finished."""

    object: str
    is_deep: bool
    started_at: str
    after: str = ""
    done_at: str | None = None
    found: Swept = field(default_factory=Swept)


def sweep(seam: Seam, tally: Tally, *, is_deep: bool, before_page: Callable[[], None]) -> None:
    """Compare every record in scope with the ledger, and have read what differs; ends early where the stop event is set.

    *is_deep* reads everything again instead of ids and stamps. before_page - raises where no more may be asked of the CRM now;
    the next sweep goes on from there.
    """
    for source in seam.sources:
        with seam.database.read() as unit:
            if not ledger.cursor(unit, source.object).is_loaded:
                continue  # the first load is still under way: it reads everything anyway
            stand = _begun(unit, source, is_deep=is_deep, now=ledger.iso(seam.now()))
        before = stand.found
        while stand.done_at is None and not seam.stop.is_set() and source.name not in seam.paused:
            before_page()
            try:
                stand = _page(seam, source, stand, tally)
            except RejectedError as error:  # a field or object is hidden from us: its polls pause and say why, the others go on (P21)
                seam.log("run.failed", error=str(error), hint=error.problem.hint)
                break
        tally.swept = (tally.swept or Swept()).plus(stand.found.less(before))
    if not seam.stop.is_set():
        merges.find_lost(seam)


def last_of(unit: Unit, object_name: str) -> Sweep | None:
    """Return how the last sweep of an object's records stands; None before the first."""
    text = ledger.meta(unit, _key(object_name))
    if text is None:
        return None
    data = json.loads(text)
    return Sweep(object=object_name, **(data | {"found": Swept(**data["found"])}))


def _key(object_name: str) -> str:
    return f"sweep {object_name}"


def _saved(unit: Unit, stand: Sweep) -> None:
    data = {k: v for k, v in asdict(stand).items() if k != "object"}
    ledger.save_meta(unit, _key(stand.object), json.dumps(data))


def _begun(unit: Unit, source: Source, *, is_deep: bool, now: str) -> Sweep:
    """Return the sweep that was cut off, or a new one; a thorough one never goes on from a lighter one."""
    held = last_of(unit, source.object)
    if held is not None and held.done_at is None and held.is_deep >= is_deep:
        return held
    return Sweep(object=source.object, is_deep=is_deep, started_at=now)


# ---------------------------------------------------------------- one page


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a page led to: versions to save, records of which only stamps moved, ids to be read by the next poll."""

    found: Swept
    staged: Sequence[Staged] = ()
    quiet: Sequence[Record] = ()
    wanted: Sequence[str] = ()


def _page(seam: Seam, source: Source, stand: Sweep, tally: Tally) -> Sweep:
    """Compare one page and save what it led to, together with how far the sweep came."""
    is_whole = stand.is_deep or bool(source.calculated or source.line_calculated)
    page = _asked(seam, source, stand.after, is_whole=is_whole)
    rows = with_stamps(page.rows, source.stamp_of(source.object))
    upper = "" if page.is_whole else rows[-1]["Id"]
    with seam.database.read() as unit:
        known, upper = _known_between(unit, source.object, stand.after, upper)
        seen_until = _settled(seam, unit, source)
    rows = [row for row in rows if not upper or row["Id"] <= upper]
    there = {row["Id"] for row in rows}
    absent = [i for i in known if i not in there]
    back = by_id(seam, source, absent) if absent else []
    gone = set(absent) - {row["Id"] for row in back}
    judge = _whole if is_whole else _light
    led = judge(seam, source, [*rows, *back], seen_until, is_deep=stand.is_deep)
    lost = _gone(seam, source, sorted(gone))
    found = replace(led.found, checked=len(there | set(known)), gone=len(lost))
    after = replace(
        stand, after=upper or stand.after, found=stand.found.plus(found), done_at=None if upper else ledger.iso(seam.now())
    )  # fmt: skip
    with seam.database.transaction() as unit:
        ledger.save_staged(unit, [*led.staged, *lost], ledger.iso(seam.now()))
        ledger.touch_seen(unit, led.quiet)
        imported.want(unit, source.object, led.wanted)
        _saved(unit, after)
    tally.staged += len(led.staged) + len(lost)
    seam.progress("compared", found.checked)
    return after


def _asked(seam: Seam, source: Source, after: str, *, is_whole: bool) -> Page:
    """Return the next records in scope in order of id; fewer where the CRM takes too long (P19)."""
    account = source.related.get("Account")
    light = ("Id", source.stamp_of(source.object), "IsDeleted", *((f"{account}.Id",) if account else ()))
    fields = ", ".join(record_fields(source) if is_whole else light)
    behind = f" AND Id > '{after}'" if after else ""
    limit = seam.settings.page_rows
    while True:
        soql = f"SELECT {fields} FROM {source.object} WHERE ({source.first_load}){behind} ORDER BY Id LIMIT {limit + 1}"
        (page,) = seam.crm.pages([soql], with_deleted=True)
        if page.refused is not None:
            raise RejectedError(page.refused)
        if not page.is_timed_out:
            return replace(page, is_whole=page.is_whole and len(page.rows) <= limit)
        if limit == _FEWEST_ROWS:
            raise RetryableError(
                f"The CRM takes too long to answer even for one record of {source.object}.",
                hint="Let an administrator look at slow formula fields in `source.when`; it is asked again by itself.",
                retry_after_s=900,
            )
        limit = max(_FEWEST_ROWS, limit // 2)


def _known_between(unit: Unit, object_name: str, after: str, upper: str) -> tuple[list[str], str]:
    """Return the ids that the ledger has behind *after* up to *upper* ("" = to the end), and how far the page then reaches.

    Ids are compared byte by byte, as the CRM orders them; those known to be deleted are left out.
    """
    until, bound = (f" AND id{unit.bytewise} <= ?", [upper]) if upper else ("", [])
    rows = unit.query(
        f"SELECT id FROM record WHERE object = ? AND id{unit.bytewise} > ?{until} AND digest NOT LIKE '%|True' ORDER BY id{unit.bytewise} LIMIT ?",
        (object_name, after, *bound, _KNOWN_AT_ONCE),
    )
    found = [str(row[0]) for row in rows]
    return found, found[-1] if len(found) == _KNOWN_AT_ONCE else upper


def _settled(seam: Seam, unit: Unit, source: Source) -> str:
    """Return before which stamp a change is one that no poll would find any more."""
    watermark = ledger.cursor(unit, source.object).watermark
    return ledger.iso(ledger.instant(watermark) - timedelta(seconds=seam.settings.overlap_s)) if watermark else ""


def _is_missed(row: Mapping[str, Any], seen_until: str) -> bool:
    return ledger.iso(ledger.instant(row[STAMP])) < seen_until


def _light(seam: Seam, source: Source, rows: list[dict[str, Any]], seen_until: str, *, is_deep: bool) -> _Found:
    """Compare stamps and accounts; what differs is wanted."""
    del is_deep
    known = known_of(seam, source.object, [row["Id"] for row in rows])
    path = f"{source.related['Account']}.Id" if "Account" in source.related else None
    unseen, changed, missed = [], [], 0
    for row in rows:
        old = known.get(row["Id"])
        if old is None and not row.get("IsDeleted"):
            unseen.append(row)
        elif old is not None and (old.stamp != row[STAMP] or (path is not None and at(row, path) != old.account)):
            changed.append(row)
            missed += _is_missed(row, seen_until) and not (old.is_deleted and row.get("IsDeleted"))
    found = Swept(unseen=sum(_is_missed(row, seen_until) for row in unseen), changed=missed)
    return _Found(found=found, wanted=[row["Id"] for row in (*unseen, *changed)])


def _whole(seam: Seam, source: Source, rows: list[dict[str, Any]], seen_until: str, *, is_deep: bool) -> _Found:
    """Compare everything that the mapping reads: formulas change without a stamp (P11)."""
    known = known_of(seam, source.object, [row["Id"] for row in rows])
    with_lines = is_deep or bool(source.line_calculated)
    touched = {row["Id"] for row in rows if row["Id"] in known and not row.get("IsDeleted")} if with_lines else set()
    staged, quiet = compared(seam, source, [r for r in rows if r["Id"] in known or is_wanted(source, r)], touched)
    counts = {"unseen": 0, "changed": 0, "calculated": 0}
    for one in staged:
        old = known.get(one.record.id)
        if old is not None and old.stamp == one.record.stamp:
            counts["calculated"] += 1
        elif _is_missed({STAMP: one.record.stamp}, seen_until):
            counts["changed" if old is not None else "unseen"] += 1
    return _Found(found=Swept(**counts), staged=staged, quiet=quiet)


def _gone(seam: Seam, source: Source, ids: Sequence[str]) -> list[Staged]:
    """Return records that the CRM no longer has, not even in its recycle bin, as deleted ones with the values they had last (P14)."""
    known = known_of(seam, source.object, ids)
    deals = sorted({r.deal for r in known.values() if r.deal})
    with seam.database.read() as unit:
        held = ledger.records_of_deals(unit, deals, with_values=True) if deals else {}
    full = {r.id: r for records in held.values() for r in records if r.object == source.object and r.id in known}
    read_at = ledger.iso(seam.crm.server_now())
    return [
        Staged(record=record_of(source, {**(r.fields or {}), "IsDeleted": True}, None, (), r, read_at), editor="") for r in full.values()
    ]
