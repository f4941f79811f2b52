"""Whether a subscription is still what we sent: somebody may have changed, ended or let go of it in Stripe's dashboard (decision D-197).

What was agreed stays what the books say; a difference is told on the deals of the contract, never undone behind somebody's back.

Worked example: 10 seats were sent and somebody made it 12 there: "Somebody changed the running contract where it is billed." with, for
those who run billing, "quantity of seats: 12 there, 10 here".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from connector.billing.stripe_backend import pushes
from connector.billing.stripe_backend.compiling.days import moment
from connector.billing.stripe_backend.reading import notices
from connector.billing.stripe_backend.reading.notices import Kind
from connector.billing.stripe_backend.reading.picked import Data, boundary_day, id_of
from connector.billing.stripe_backend.steps import HeldGroup, HeldPhase
from connector.ports import Unit

KINDS: tuple[Kind, ...] = ("changed", "ended", "let_go")
_ENDED = ("canceled", "incomplete_expired")


def compared(unit: Unit, subscription: Data, now: datetime) -> str | None:
    """Compare a subscription with what we hold of it and note or clear the difference; return its contract where that is new."""
    ref = id_of(subscription)
    rows = unit.query("SELECT contract_id, group_name FROM stripe_subscription WHERE subscription = ?", (ref,))
    if not rows:
        return None
    contract_id, name = rows[0]
    held = pushes.held_of(unit, [contract_id]).get(contract_id)
    group = next((g for g in held.groups if g.name == name and g.subscription == ref), None) if held else None
    if group is None or pushes.busy(unit, [contract_id]):
        return None  # gone from what we hold, or being changed by ourselves just now
    found = _difference(subscription, group, _prices(unit, subscription), now)
    over = [kind for kind in KINDS if found is None or kind != found[0]]
    moved = notices.clear(unit, contract_id, over, ref, now)
    if found is not None:
        moved = notices.put(unit, contract_id, found[0], ref, notices.problem_of(*found), now) or moved
    return contract_id if moved else None


def gone(unit: Unit, subscription: str, now: datetime) -> str | None:
    """Note that a subscription of ours is not there any more; return its contract where that is new."""
    return compared(unit, {"id": subscription, "status": "canceled", "items": {"data": []}}, now)


def _prices(unit: Unit, subscription: Data) -> dict[str, set[str]]:
    """Return our keys of the prices of a subscription, by Stripe's id."""
    items = (subscription.get("items") or {}).get("data") or ()
    return {price: set(keys) for price, keys in pushes.keys_of(unit, "price", (id_of(item.get("price")) for item in items)).items()}


def _difference(subscription: Data, group: HeldGroup, prices: Mapping[str, set[str]], now: datetime) -> tuple[Kind, str] | None:
    """Return what differs: the kind, and the facts; None for nothing."""
    if subscription["status"] in _ENDED:
        return None if _is_over(group, now) else ("ended", _ended(subscription))
    phase = _current(group, now)
    if group.schedule and not id_of(subscription.get("schedule")) and not _is_through(group, now):
        return "let_go", "its schedule was released"
    facts = _facts(subscription, group)
    if phase is not None:
        facts += _items(subscription, phase, prices)
    return ("changed", "; ".join(facts)) if facts else None


def _ended(subscription: Data) -> str:
    at, why = subscription.get("ended_at") or subscription.get("canceled_at"), (subscription.get("cancellation_details") or {}).get("reason")
    return f"ended {boundary_day(at).isoformat()}{f', {why}' if why else ''}".replace("_", " ") if at else "it is not there any more"


def _is_over(group: HeldGroup, now: datetime) -> bool:
    """Whether a subscription has ended as it should."""
    if group.is_over or not group.phases:
        return True
    end = group.phases[-1].end
    return group.ends_with == "cancel" and end is not None and moment(end, group.at_time) <= now


def _is_through(group: HeldGroup, now: datetime) -> bool:
    """Whether the schedule has come to its end and let go of the subscription by itself."""
    end = group.phases[-1].end if group.phases else None
    return group.is_over or not group.phases or (end is not None and moment(end, group.at_time) <= now)


def _current(group: HeldGroup, now: datetime) -> HeldPhase | None:
    """Return the phase that stands there now: from the day of a change the one that is billed next (`began`)."""
    running = [p for p in group.phases if moment(p.began or p.start, group.at_time) <= now and (p.end is None or now < moment(p.end, group.at_time))]
    if running:
        return running[-1]
    is_on = group.ends_with == "release" and bool(group.phases) and _is_through(group, now)
    return group.phases[-1] if is_on and not group.is_over else None


def _facts(subscription: Data, group: HeldGroup) -> list[str]:
    found = []
    ends = subscription.get("cancel_at")
    if group.ends_with == "release" and (ends or subscription.get("cancel_at_period_end")):
        found.append(f"it ends on {boundary_day(ends).isoformat()} there" if ends else "it ends with its period there")
    if subscription.get("pause_collection") and not group.is_paused:
        found.append("its collection is paused there")
    return found


def _items(subscription: Data, phase: HeldPhase, prices: Mapping[str, set[str]]) -> list[str]:
    there = {id_of(i.get("price")): i.get("quantity") for i in (subscription.get("items") or {}).get("data") or ()}
    ours = {item.price: item for item in phase.items}
    found, seen = [], set()
    for price, quantity in there.items():
        keys = prices.get(price, set()) & ours.keys()
        if not keys:
            found.append(f"{price} is billed there and not agreed")
            continue
        item = ours[min(keys)]
        seen.add(item.price)
        if item.quantity is not None and quantity is not None and Decimal(str(quantity)) != item.quantity:
            found.append(f"quantity of {item.item_id}: {quantity} there, {item.quantity.normalize():f} here")
    found += [f"{item.item_id} is not billed there" for price, item in ours.items() if price not in seen]
    return found


def schedule_gone(unit: Unit, schedule: str, now: datetime) -> str | None:
    """Note that a schedule was canceled before it began anything; return its contract where that is new."""
    rows = unit.query("SELECT contract_id FROM stripe_held WHERE data LIKE ?", (f'%"{schedule}"%',))
    for contract_id, held in pushes.held_of(unit, [row[0] for row in rows]).items():
        group = next((g for g in held.groups if g.schedule == schedule), None)
        if group is None or group.subscription or _is_over(group, now) or pushes.busy(unit, [contract_id]):
            continue
        if notices.put(unit, contract_id, "ended", schedule, notices.problem_of("ended", "its schedule was canceled before it began"), now):
            return str(contract_id)
    return None
