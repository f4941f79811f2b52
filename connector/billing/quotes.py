"""The quotes in the books: every statement on their table, and the events they leave.

A row is one revision; the highest revision of a record is the quote as it is now, the others are its history. A row whose status
changes is marked as moved, until the sync has taken its deal up (`moved_deals`): whoever moved it, the CRM is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from connector.billing import store
from connector.billing.desk import refused
from connector.billing.store import BookedContract
from connector.kit.db import new_id
from connector.offers import QuoteSheet, QuoteView
from connector.ports import CustomerDetails, HowBilled, Unit

SERIES = "quote"
_COLUMNS = (
    "id, deal, record, label, number, revision, status, kind, account, currency, token, bill_to, how, due_now, per_period, tax,"
    " discount, value, shown, data, digest, asked, base_contract, base_seq, contract_id, expires_at, opened_at, accepted_at,"
    " accepted_by, accepted_title, accepted_from, accepted_via, reason"
)
_SET = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.split(", ")[1:])
_SAVE = (
    f"INSERT INTO quote ({_COLUMNS}, org, customer_id, created_at, updated_at, is_moved) VALUES ({','.join('?' * 38)})"
    f" ON CONFLICT (id) DO UPDATE SET {_SET}, updated_at = excluded.updated_at, is_moved = excluded.is_moved"
)
_encode = msgspec.json.encode
_sheet = msgspec.json.Decoder(QuoteSheet).decode
_who = msgspec.json.Decoder(CustomerDetails).decode
_way = msgspec.json.Decoder(HowBilled).decode


def _at(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _text(at: datetime | None) -> str | None:
    return store.at_text(at) if at is not None else None


def _view(row: Sequence[Any]) -> QuoteView:
    return QuoteView(
        id=row[0], deal=row[1], record=row[2], label=row[3], number=row[4], revision=row[5], status=row[6], kind=row[7],
        account=row[8], currency=row[9], token=row[10], customer=_who(row[11]), how=_way(row[12]), due_now=row[13],
        per_period=row[14], tax=row[15], discount=row[16], value=row[17], sheet=_sheet(row[18]), data=row[19], digest=row[20],
        asked=row[21], base_contract=row[22], base_seq=row[23], contract_id=row[24], expires_at=_at(row[25]),
        opened_at=_at(row[26]), accepted_at=_at(row[27]), accepted_by=row[28], accepted_title=row[29], accepted_from=row[30],
        accepted_via=row[31], reason=row[32],
    )  # fmt: skip


def _row(view: QuoteView, org: str, at: str, *, is_moved: bool) -> tuple[Any, ...]:
    v = view
    return (
        v.id, v.deal, v.record, v.label, v.number, v.revision, v.status, v.kind, v.account, v.currency, v.token,
        _encode(v.customer).decode(), _encode(v.how).decode(), v.due_now, v.per_period, v.tax, v.discount, v.value,
        _encode(v.sheet).decode(), v.data, v.digest, v.asked, v.base_contract, v.base_seq, v.contract_id, _text(v.expires_at),
        _text(v.opened_at), _text(v.accepted_at), v.accepted_by, v.accepted_title, v.accepted_from, v.accepted_via, v.reason,
        org, "", at, at, is_moved,
    )  # fmt: skip


# ---------------------------------------------------------------- reading


def of_deals(unit: Unit, org: str, deals: Sequence[str]) -> dict[str, QuoteView]:
    """Return the quotes of these deals in their newest revision, by record."""
    found: dict[str, QuoteView] = {}
    for start in range(0, len(deals), store.READ_ROWS):
        batch = deals[start : start + store.READ_ROWS]
        sql = f"SELECT {_COLUMNS} FROM quote WHERE org = ? AND deal IN ({','.join('?' * len(batch))}) ORDER BY revision"
        found.update({row[2]: _view(row) for row in unit.query(sql, (org, *batch))})
    return found


def listed(unit: Unit, *, status: str | None, limit: int) -> list[QuoteView]:
    """Return quotes in their newest revision, newest first; all, or those of one status."""
    newest = "NOT EXISTS (SELECT 1 FROM quote n WHERE n.org = q.org AND n.deal = q.deal AND n.record = q.record AND n.revision > q.revision)"
    where, params = (" AND q.status = ?", [status]) if status else ("", [])
    sql = f"SELECT {', '.join('q.' + c for c in _COLUMNS.split(', '))} FROM quote q WHERE {newest}{where} ORDER BY q.created_at DESC, q.id DESC LIMIT ?"
    return [_view(row) for row in unit.query(sql, [*params, limit])]


def revisions(unit: Unit, org: str, view: QuoteView) -> list[QuoteView]:
    """Return every revision of a quote, oldest first."""
    sql = f"SELECT {_COLUMNS} FROM quote WHERE org = ? AND deal = ? AND record = ? ORDER BY revision"
    return [_view(row) for row in unit.query(sql, (org, view.deal, view.record))]


def by_token(unit: Unit, token: str) -> QuoteView | None:
    """Return the quote that a link's *token* shows: its newest revision, whatever became of it; None where there is none.

    A page shows what it finds and offers acceptance only where `offers.why_not` has nothing against it: a quote that is being
    revised, expired, outdated, accepted or canceled says so. To accept or decline, a page submits the intent `quote.accept`
    (quote: the view's id, revision, name, title, address, via: "page") or `quote.decline` (quote, revision, reason).
    """
    if not token:
        return None
    rows = unit.query(f"SELECT {_COLUMNS} FROM quote WHERE token = ? ORDER BY revision DESC LIMIT 1", (token,))
    return _view(rows[0]) if rows else None


def named(unit: Unit, org: str, name: str) -> QuoteView:
    """Return a quote by its number, id or CRM record, in its newest revision. Raises: RejectedError if the books have none."""
    for column in ("number", "id", "record"):
        rows = unit.query(f"SELECT deal, record FROM quote WHERE org = ? AND {column} = ? LIMIT 1", (org, name))
        if rows:
            return of_deals(unit, org, [rows[0][0]])[rows[0][1]]
    raise refused("unknown-quote", f"The books have no quote {name}.", "See `connector quotes list`.")


# ---------------------------------------------------------------- writing


def save(unit: Unit, org: str, views: Iterable[QuoteView], now: datetime, *, is_moved: bool) -> None:
    """Save revisions as they are now; *is_moved*: their deals are to be decided again and the CRM told."""
    at = store.at_text(now)
    unit.executemany(_SAVE, [_row(view, org, at, is_moved=is_moved) for view in views])


def take_numbers(unit: Unit, count: int) -> list[str]:
    """Take numbers of the quotes' own series; a rollback gives them back, so there is no gap."""
    first = store.take_numbers(unit, SERIES, count) if count else 0
    return [f"Q-{n:05d}" for n in range(first, first + count)]


def state(view: QuoteView) -> dict[str, Any]:
    """Return what an event keeps of a quote; amounts in minor units."""
    return {
        "quote": view.id, "number": view.number, "revision": view.revision, "status": view.status, "due_now": view.due_now,
        "per_period": view.per_period, "value": view.value, "accepted_by": view.accepted_by, "reason": view.reason,
    }  # fmt: skip


def note(unit: Unit, rows: Iterable[tuple[str, str, QuoteView | None, QuoteView]], now: datetime) -> None:
    """Append what happened to quotes: (actor, event name, before, after) each."""
    values = [
        (
            new_id("ev", now), store.at_text(now), actor, name, after.contract_id or "", None, json.dumps({"quote": after.id, "number": after.number}),
            store.event_text(state(before)) if before is not None else "", store.event_text(state(after)),
        )
        for actor, name, before, after in rows
    ]  # fmt: skip
    if values:
        unit.executemany(
            "INSERT INTO event (id, made_at, actor, name, contract_id, invoice_id, data, before, after) VALUES (?,?,?,?,?,?,?,?,?)", values
        )


# ---------------------------------------------------------------- what moves by itself


def outdate(unit: Unit, org: str, before: Mapping[str, BookedContract], after: Iterable[BookedContract], now: datetime) -> None:
    """Mark the open quotes on contracts that changed, naming what changed; the quote that made the change is not meant."""
    changed = {}
    for contract in after:
        old = before.get(contract.id)
        if old is not None and (old.data, [c.data for c in old.changes]) != (contract.data, [c.data for c in contract.changes]):
            changed[contract.id] = (old, contract)
    ids = list(changed)
    moved: list[tuple[QuoteView, QuoteView]] = []
    for start in range(0, len(ids), store.READ_ROWS):
        batch = ids[start : start + store.READ_ROWS]
        sql = f"SELECT {_COLUMNS} FROM quote WHERE base_contract IN ({','.join('?' * len(batch))}) AND status = 'open'"
        for view in map(_view, unit.query(sql, batch)):
            old, new = changed[view.base_contract or ""]
            if view.deal in {c.change.id for c in new.changes}:
                continue
            known = {c.data for c in old.changes}
            what = ", ".join(dict.fromkeys(c.label or c.change.id for c in new.changes if c.data not in known))
            moved.append((view, replace(view, status="outdated", reason=what)))
    save(unit, org, [new for _, new in moved], now, is_moved=True)
    note(unit, [("contract", "quote.outdated", old, new) for old, new in moved], now)


def is_moving(unit: Unit, now: datetime) -> bool:
    """Return whether a quote has moved, or is past its day."""
    late = "SELECT 1 FROM quote WHERE status = 'open' AND expires_at <= ? LIMIT 1"
    return bool(unit.query("SELECT 1 FROM quote WHERE is_moved LIMIT 1") or unit.query(late, (store.at_text(now),)))


def moved_deals(unit: Unit, org: str, now: datetime, limit: int) -> tuple[str, ...]:
    """Expire up to *limit* open quotes whose day has passed; return the deals of up to *limit* quotes that moved, once."""
    sql = f"SELECT {_COLUMNS} FROM quote WHERE status = 'open' AND expires_at <= ? LIMIT ?"
    late = [_view(row) for row in unit.query(sql, (store.at_text(now), limit))]
    expired = [(view, replace(view, status="expired")) for view in late]
    save(unit, org, [new for _, new in expired], now, is_moved=True)
    note(unit, [("run", "quote.expired", old, new) for old, new in expired], now)
    rows = unit.query("SELECT id, deal FROM quote WHERE is_moved LIMIT ?", (limit,))
    unit.executemany("UPDATE quote SET is_moved = ? WHERE id = ?", [(False, row[0]) for row in rows])
    return tuple(dict.fromkeys(row[1] for row in rows))


def utc(at: datetime) -> datetime:
    """Return an aware instant in whole seconds of UTC, as the books keep it."""
    return at.astimezone(UTC).replace(microsecond=0)
