"""Usage of metered items: what meter events say of a customer between two instants."""

from __future__ import annotations

from bisect import bisect_left, insort
from fractions import Fraction

from connector.lookalike.stripe.account import Account, Data
from connector.lookalike.stripe.machine.figures import fraction_of
from connector.lookalike.stripe.machine.keeping import notes

EVENTS = "billing.meter_event"
Entry = tuple[int, str]


def used(account: Account, price: Data, customer: str, start: int, end: int) -> Fraction:
    """Return the quantity of `[start, end)` by the meter's formula: sum, count or last."""
    _read(account)
    meter = account.kind("billing.meter").get((price["recurring"] or {}).get("meter") or "") or {}
    entries: list[Entry] = notes(account, "usage").get(f"{meter.get('event_name')} {customer}", [])
    events = account.kind(EVENTS)
    found = [id_ for _, id_ in entries[bisect_left(entries, (start, "")) : bisect_left(entries, (end, ""))]]
    key = (meter.get("value_settings") or {}).get("event_payload_key", "value")
    values = [
        fraction_of(event["payload"].get(key, 0))
        for id_ in found
        if (event := events.get(id_)) and not event.get("canceled")
    ]
    formula = (meter.get("default_aggregation") or {}).get("formula", "sum")
    if formula == "count":
        return Fraction(len(values))
    if formula == "last":
        return values[-1] if values else Fraction(0)
    return sum(values, Fraction(0))


def _read(account: Account) -> None:
    """Take events that came since the last look into the index."""
    events, seen = account.kind(EVENTS), notes(account, "usage_seen")
    fresh = []
    for id_ in reversed(events):
        if id_ == seen.get("last"):
            break
        fresh.append(id_)
    for id_ in reversed(fresh):
        event = events[id_]
        key = f"{event['event_name']} {event['payload'].get('stripe_customer_id')}"
        insort(notes(account, "usage").setdefault(key, []), (event["timestamp"], id_))
        seen["last"] = id_
