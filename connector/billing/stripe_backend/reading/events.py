"""What Stripe says has changed: a queue of events, filled by the poll of its Events API and by webhooks, worked off oldest first.

An event only says that something changed; what it is now is asked for, once for each object, so that events may come late, twice or in any
order. The poll's own place is a row of the queue (`poll`): it moves on only when everything up to there was listed, and a webhook that comes
while Stripe's API is away does not move it. Each look goes ten minutes back, for events that became visible late.

Back of the envelope: an idle account costs two calls a round. 1,000 invoices in a night are about 3,000 events, 30 calls, kept for 30 days.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connector.billing import store
from connector.billing.stripe_backend.keeping import Transactions
from connector.billing.stripe_backend.refusals import Refusal
from connector.billing.stripe_backend.steps import Calls
from connector.ports import Unit

OVERLAP_S = 600
KEPT = timedelta(days=30)
PAGE = 100
AT_ONCE = 100
TYPES = (
    (
        "invoice.finalized", "invoice.paid", "invoice.updated", "invoice.payment_failed", "invoice.payment_action_required", "invoice.voided",
        "invoice.marked_uncollectible", "invoice.finalization_failed", "invoice_payment.paid", "credit_note.created", "credit_note.updated",
        "credit_note.voided", "charge.refunded", "refund.created", "refund.updated", "refund.failed",
    ),
    (
        "charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed", "customer.updated", "customer.deleted",
        "customer.subscription.updated", "customer.subscription.deleted", "customer.subscription.paused", "customer.subscription.resumed",
        "subscription_schedule.released", "subscription_schedule.canceled", "subscription_schedule.aborted", "invoiceitem.deleted",
    ),
)  # fmt: skip
"""What is asked for, in two lists: Stripe takes at most 20 names at once. A due date that passes is seen by our own clock."""

_POLL, _GAP = "poll", "gap"
BEHIND = timedelta(days=1)
"""How far behind our clock the place of the poll may lie where nothing happens."""
LISTED = timedelta(days=29)
"""How far back Stripe lists events, with a day to spare."""
_KEPT_FIELDS = (
    "id", "object", "customer", "invoice", "payment_intent", "charge", "subscription", "metadata", "balance", "currency", "last_finalization_error",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An event of the queue; *about* - what it said of its object then: enough to know whose it is."""

    id: str
    type: str
    about: Mapping[str, Any]


# ---------------------------------------------------------------- filling it


def poll(database: Transactions, calls: Calls, now: datetime, stop: threading.Event) -> int:
    """List what happened since the last look and put it into the queue; return how many events were new."""
    with database.read() as unit:
        start = _start(unit, now)
        is_late = start < int((now - LISTED).timestamp())
    if is_late:
        with database.transaction() as unit:
            _note_gap(unit, start, now)
    found, newest = 0, start
    for types in TYPES:
        for page in _pages(calls, types, start - OVERLAP_S, stop):
            newest = max(newest, *(int(e["created"]) for e in page))
            with database.transaction() as unit:
                found += keep(unit, page, now)
    if not stop.is_set():
        with database.transaction() as unit:
            _move(unit, max(newest, int((now - BEHIND).timestamp())), now)
    return found


def _pages(calls: Calls, types: Sequence[str], since: int, stop: threading.Event) -> Iterator[list[dict[str, Any]]]:
    """Yield the pages of the events since an instant, newest first, each beginning behind the last event of the one before.

    Events have seconds for their time, and thousands share one: a page that begins at a time would come again for ever. What happens while
    pages are turned stands before the first one and is listed by the next look.
    """
    asked: dict[str, Any] = {"types": list(types), "created": {"gte": since}, "limit": PAGE}
    while not stop.is_set():
        try:
            page = calls.do("events.list", asked)
        except Refusal as refusal:
            if refusal.code == "resource_missing" and "starting_after" in asked:
                return  # Stripe has just let go of the event that the page begins behind: so of all that are older
            raise
        if page["data"]:
            yield page["data"]
        if not page.get("has_more") or not page["data"]:
            return
        asked["starting_after"] = page["data"][-1]["id"]


def _start(unit: Unit, now: datetime) -> int:
    """Return from when on events are asked for: where the last look ended, at first since the first push."""
    rows = unit.query("SELECT created FROM stripe_event WHERE id = ?", (_POLL,))
    if rows:
        return int(rows[0][0])
    first = unit.query("SELECT MIN(made_at) FROM stripe_push")[0][0]
    return int((datetime.fromisoformat(first) if first else now).timestamp())


def _note_gap(unit: Unit, start: int, now: datetime) -> None:
    """Note that nobody looked for longer than Stripe lists events: the next comparison goes as far back."""
    unit.execute(
        "INSERT INTO stripe_event (id, type, created, object_id, data, state, seen_at) VALUES (?,'',?,'','','gap',?) ON CONFLICT (id) DO NOTHING",
        (_GAP, start, store.at_text(now)),
    )


def gap(unit: Unit) -> int | None:
    """Return since when events may be missing that Stripe lists no more, None where none are."""
    rows = unit.query("SELECT created FROM stripe_event WHERE id = ?", (_GAP,))
    return int(rows[0][0]) if rows else None


def close_gap(unit: Unit) -> None:
    """Note that what happened in a gap was read by a comparison."""
    unit.execute("DELETE FROM stripe_event WHERE id = ?", (_GAP,))


def read_at(unit: Unit) -> datetime | None:
    """Return when Stripe was last asked to the end, None before the first time."""
    rows = unit.query("SELECT seen_at FROM stripe_event WHERE id = ?", (_POLL,))
    return datetime.fromisoformat(rows[0][0]) if rows else None


def kept(unit: Unit) -> dict[str, int]:
    """Return how many events were read and are not carried out, by state: new ones, and those that failed."""
    rows = unit.query("SELECT state, COUNT(*) FROM stripe_event WHERE state IN ('new', 'failed') GROUP BY state")
    return {str(state): int(count) for state, count in rows}


def _move(unit: Unit, newest: int, now: datetime) -> None:
    unit.execute(
        "INSERT INTO stripe_event (id, type, created, object_id, data, state, seen_at) VALUES (?,'',?,'','','poll',?)"
        " ON CONFLICT (id) DO UPDATE SET created = excluded.created, seen_at = excluded.seen_at WHERE stripe_event.created <= excluded.created",
        (_POLL, newest, store.at_text(now)),
    )


def keep(unit: Unit, events: Iterable[Mapping[str, Any]], now: datetime) -> int:
    """Put events into the queue that are not known yet; return how many were new."""
    rows = {str(e["id"]): e for e in events}
    known: set[str] = set()
    ids = list(rows)
    for start in range(0, len(ids), store.READ_ROWS):
        batch = ids[start : start + store.READ_ROWS]
        known |= {row[0] for row in unit.query(f"SELECT id FROM stripe_event WHERE id IN ({','.join('?' * len(batch))})", batch)}
    fresh = [rows[i] for i in sorted(ids) if i not in known]  # two workers that keep the same ones wait for each other, never in a circle
    at = store.at_text(now)
    unit.executemany(
        "INSERT INTO stripe_event (id, type, created, object_id, data, state, seen_at) VALUES (?,?,?,?,?,'new',?) ON CONFLICT (id) DO NOTHING",
        [(e["id"], e["type"], e["created"], str(e["data"]["object"].get("id") or ""), _text(e["data"]["object"]), at) for e in fresh],
    )
    return len(fresh)


def _text(about: Mapping[str, Any]) -> str:
    """Return what is kept of an object: the rest is asked for anew."""
    kept = {name: about[name] for name in _KEPT_FIELDS if about.get(name) is not None}
    if about.get("object") == "invoice":
        kept["parent"] = about.get("parent")
    return json.dumps(kept, default=str)


# ---------------------------------------------------------------- emptying it


def waiting(unit: Unit) -> list[Row]:
    """Return the oldest events that were not worked off yet."""
    sql = "SELECT id, type, data FROM stripe_event WHERE state = 'new' ORDER BY created, id LIMIT ?"
    return [Row(id=r[0], type=r[1], about=json.loads(r[2] or "{}")) for r in unit.query(sql, (AT_ONCE,))]


def done(unit: Unit, rows: Sequence[Row], failed: Iterable[str] = ()) -> None:
    """Note that events were worked off, or that our own error met them: the next sweep takes those again."""
    lost = set(failed)
    unit.executemany("UPDATE stripe_event SET state = 'done', data = '' WHERE id = ?", sorted((r.id,) for r in rows if r.id not in lost))
    unit.executemany("UPDATE stripe_event SET state = 'failed' WHERE id = ?", sorted((i,) for i in lost))


def take_again(unit: Unit) -> int:
    """Put the events back that met an error of ours; return how many."""
    return unit.execute("UPDATE stripe_event SET state = 'new' WHERE state = 'failed'")


def forget(unit: Unit, now: datetime) -> None:
    """Delete events that are older than Stripe itself keeps them."""
    sql = "DELETE FROM stripe_event WHERE state IN ('done', 'failed') AND created < ?"
    unit.execute(sql, (int((now - KEPT).timestamp()),))
