"""Usage on Stripe: each record is kept in the books once, and sent as a meter event under an id made of it.

A meter counts for one customer, so every metered item has an event name of its own (`compiling.prices.event_name`). Stripe takes
usage of the last 35 days and up to five minutes ahead; what lies outside is refused in the report, row by row.

What is used in a part of a period, because a change has cut it (another price, removed and added again), is billed by an item of ours
from the books; it goes to no meter, where what was there before the change would bill it once more (D-222).

Worked example: 1,000 rows are one request of five pushes with 200 events each; a row that is sent twice has the same identifier and
counts once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from connector.billing import metering, store
from connector.billing.desk import refused
from connector.billing.intents import Engine, Request
from connector.billing.metering import Record
from connector.billing.store import BookedContract
from connector.billing.stripe_backend.begun import Done, key_of
from connector.billing.stripe_backend.compiling.days import instant_of
from connector.billing.stripe_backend.compiling.owning import is_counted
from connector.billing.stripe_backend.compiling.prices import event_name
from connector.billing.stripe_backend.pushes import begin, held_of, shared_id
from connector.billing.stripe_backend.steps import Held, Plan, Step
from connector.core.period import period_of, to_utc
from connector.core.schedule import timeline
from connector.core.segments import Segment
from connector.ports import IntentResult, Unit

EVENTS_A_PUSH = 200
_OLDEST, _AHEAD = timedelta(days=35), timedelta(minutes=5)
_DRAWN = timedelta(days=731)


def outside(now: datetime) -> Callable[[Record, str], str]:
    """Return why Stripe would not take a record of usage at *now*; "" where it would."""

    def why_not(record: Record, timezone: str) -> str:
        at = to_utc(datetime.fromisoformat(record.used_at), timezone)
        if at < now - _OLDEST:
            return f"Too late: Stripe takes usage of the last {_OLDEST.days} days, and this is of {at.date()}. Bill it by `connector invoices create`."
        if at > now + _AHEAD:
            return f"Too early: Stripe takes no usage of the future, and this is of {at:%Y-%m-%d %H:%M} UTC. Send it when it has happened."
        return ""

    return why_not


def record(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Record usage (data: rows) and send what is new as meter events. Raises: RejectedError while a contract is on its way to Stripe."""
    found = metering.checked(unit, engine.org, request.data["rows"], request.now, why_not=outside(request.now))
    kept = metering.keep(request, found, unit)
    steps = list(_steps(unit, engine, found.records, request.now))
    keys = []
    for part, start in enumerate(range(0, len(steps), EVENTS_A_PUSH)):
        keys.append(key_of(request, engine, part))
        plan = Plan(steps=tuple(steps[start : start + EVENTS_A_PUSH]), held=Held(contract_id=""))
        begin(unit, key=keys[-1], contract_id="", deal="", plan=plan, now=request.now)
    return replace(kept, waits_for=tuple(keys))


def _steps(unit: Unit, engine: Engine, records: Sequence[Record], now: datetime) -> Iterator[Step]:
    ids = sorted({r.contract_id for r in records})
    held = held_of(unit, ids)
    contracts = {c.id: c for c in store.contracts(unit, ids)}
    plans: dict[str, list[Segment]] = {}
    for number, used in enumerate(records, 1):
        customer = held[used.contract_id].customer if used.contract_id in held else ""
        if not customer:
            raise refused("contract-busy", f"{used.contract_id} is on its way to Stripe.", "Its usage follows when it is there.")
        if _is_ours(contracts[used.contract_id], held[used.contract_id], used, plans):
            continue
        at = _stamp(held[used.contract_id], used, contracts[used.contract_id].terms.timezone, now)
        name = shared_id(unit, ("event", f"{used.contract_id}/{used.item_id}")) or event_name(used.contract_id, used.item_id)
        yield Step(
            name=f"usage-{number}", call="billing.meter_events.create",
            params={
                "event_name": name, "timestamp": at, "identifier": _identifier(engine.org, used.id),
                "payload": {"stripe_customer_id": customer, "value": f"{used.quantity.normalize():f}"},
            },
        )  # fmt: skip


def _is_ours(booked: BookedContract, held: Held, used: Record, plans: dict[str, list[Segment]]) -> bool:
    """Whether usage falls into a part of a period, which no subscription bills. plans - what was drawn already, by contract."""
    at = datetime.fromisoformat(used.used_at)
    if booked.id not in plans:
        plans[booked.id] = list(timeline(booked.contract, horizon=at + _DRAWN).segments)
    segment = next((s for s in plans[booked.id] if s.item.id == used.item_id and s.start <= at and (s.end is None or at < s.end)), None)
    if segment is None or segment.price.interval is None:
        return False
    low, high = period_of(segment.anchor, segment.price.interval, at)
    start, end = max(low, segment.charge_from), high if segment.end is None else min(high, segment.end)
    return start > low and not is_counted(held, used.item_id, start.date(), end.date())


def _stamp(held: Held, used: Record, timezone: str, now: datetime) -> int:
    """Return the instant that usage goes to Stripe with: its own, but not before its day begins there.

    Periods begin at Stripe at the subscription's time of day (decision D-11), so that what was used earlier on the first day of a
    period would count for the one before.
    """
    local = datetime.fromisoformat(used.used_at)
    at = int(to_utc(local, timezone).timestamp())
    groups = [g for g in held.groups if any(i.item_id == used.item_id for p in g.phases for i in p.items)] or list(held.groups)
    begins = [instant_of(local.date(), g.at_time) for g in groups[:1]]
    return max(at, min([*begins, int(now.timestamp())])) if begins else at


def _identifier(org: str, name: str) -> str:
    return f"cu_{hashlib.blake2b(f'{org}/{name}'.encode(), digest_size=20).hexdigest()}"


def recorded(done: Done, engine: Engine, unit: Unit) -> IntentResult:
    """Say what became of each row."""
    del engine, unit
    return IntentResult(result=done.so_far)
