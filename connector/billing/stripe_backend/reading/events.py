"""The poll of Stripe's Events API: what changed since we last looked, oldest first, each changed object read once as it is now.

An event only says that something changed; what it is now is asked for, so that events may come late, twice or in any order. The
cursor overlaps, and what was seen is remembered for as long as Stripe keeps events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from connector.billing import store
from connector.billing.stripe_backend.steps import Calls
from connector.ports import Unit

OVERLAP = timedelta(minutes=10)
KEPT = timedelta(days=32)
AT_ONCE = 500
TYPES = (
    "invoice.finalized", "invoice.paid", "invoice.payment_failed", "invoice.payment_action_required", "invoice.voided",
    "invoice.marked_uncollectible", "invoice.overdue", "invoice.updated", "credit_note.created", "credit_note.updated", "credit_note.voided",
    "charge.refunded", "charge.dispute.created", "charge.dispute.closed", "customer.subscription.updated", "customer.subscription.deleted",
    "subscription_schedule.released", "subscription_schedule.canceled", "customer.deleted",
)  # fmt: skip


def news(unit_of: Callable[[], Any], calls: Calls, now: datetime) -> list[Mapping[str, Any]]:
    """Return the events since the last look that were not seen yet, oldest first."""
    with unit_of() as unit:
        rows = unit.query("SELECT MAX(created) FROM stripe_event")
        since = rows[0][0] if rows and rows[0][0] is not None else None
    start = int(since) - int(OVERLAP.total_seconds()) if since is not None else int((now - timedelta(days=1)).timestamp())
    found = calls.listed("events.list", {"types": list(TYPES), "created": {"gte": start}}, limit=AT_ONCE)
    with unit_of() as unit:
        seen = {str(row[0]) for row in unit.query("SELECT id FROM stripe_event WHERE created >= ?", (start,))}
    return [event for event in reversed(found) if event["id"] not in seen]


def seen(unit: Unit, events: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """Remember events, and forget those that Stripe has forgotten."""
    at = store.at_text(now)
    unit.executemany(
        "INSERT INTO stripe_event (id, type, created, object_id, data, state, seen_at) VALUES (?,?,?,?,'','done',?) ON CONFLICT (id) DO NOTHING",
        [(e["id"], e["type"], e["created"], str(e["data"]["object"].get("id") or ""), at) for e in events],
    )
    unit.execute("DELETE FROM stripe_event WHERE created < ?", (int((now - KEPT).timestamp()),))


def invoices_in(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the invoices that events are about, each once."""
    found: dict[str, None] = {}
    for event in events:
        about = event["data"]["object"]
        invoice = about["id"] if event["type"].startswith("invoice.") else about.get("invoice")
        if isinstance(invoice, str):
            found[invoice] = None
    return list(found)
