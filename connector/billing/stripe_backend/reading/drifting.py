"""Whether a subscription is still what we sent: somebody may have changed, ended or let go of it in Stripe's dashboard (decision D-197).

What was agreed stays what the books say; a difference is told on the deals of the contract, never undone behind somebody's back. What we
hold says then what is there: a subscription that was ended is gone, one whose schedule was released has none (decision D-202).

Worked example: 10 seats were sent and somebody made it 12 there: "Somebody changed the running contract where it is billed." with, for
those who run billing, "quantity of seats: 12 there, 10 here".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from connector.billing.batches import in_batches
from connector.billing.locking import hold_contracts
from connector.billing.store import at_text
from connector.billing.stripe_backend import coding, following, pushes
from connector.billing.stripe_backend.compiling.days import moment
from connector.billing.stripe_backend.reading import notices
from connector.billing.stripe_backend.reading.notices import Kind
from connector.billing.stripe_backend.reading.picked import Data, boundary_day, civil_day, id_of
from connector.billing.stripe_backend.steps import Held, HeldGroup, HeldPhase
from connector.core.values import dataclass
from connector.ports import Unit

KINDS: tuple[Kind, ...] = ("changed", "ended", "ended_part", "let_go", "untaxed")
_Terms = tuple[str, int | None]  # how it is collected, and within how many days
_ENDED = ("canceled", "incomplete_expired")
GRACE = timedelta(days=1)
"""How long after its end a subscription may still be seen running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be noted of a subscription, *ref* by Stripe's id: a difference that is new or another than before, None where it is over."""

    ref: str
    contract_id: str
    found: tuple[Kind, str] | None


def verdicts(unit: Unit, subscriptions: Sequence[Data], now: datetime, timezone: str) -> list[Verdict]:
    """Compare subscriptions with what we hold of them; return those of which something else is to be noted than before.

    What is gone from what we hold, or is being changed by ourselves just now, is left out. A few queries for all of them.
    """
    ours = _ours(unit, [id_of(s) for s in subscriptions])
    ids = {contract_id for contract_id, _ in ours.values()}
    held, busy = pushes.held_of(unit, ids), pushes.busy(unit, ids)
    prices, noted, terms = _prices(unit, subscriptions), _noted(unit, ours), _terms(unit, ids)
    made = []
    for subscription in subscriptions:
        ref = id_of(subscription)
        contract_id, name = ours.get(ref, ("", ""))
        groups = held[contract_id].groups if contract_id in held and contract_id not in busy else ()
        group = next((g for g in groups if g.name == name and g.subscription == ref), None)
        if group is None:
            continue
        found = _difference(subscription, group, prices, terms[contract_id], (now, timezone))
        if found is not None and found[0] == "ended" and any(g.name != name for g in living(held[contract_id], now)):
            names = ", ".join(dict.fromkeys(i.item_id for p in group.phases for i in p.items))
            found = ("ended_part", f"{names}: {found[1]}")
        said = {found[0]: coding.problem_text(notices.problem_of(*found))} if found is not None else {}
        if said != noted.get(ref, {}):
            made.append(Verdict(ref=ref, contract_id=contract_id, found=found))
    return made


def compared(unit: Unit, subscription: Data, now: datetime, timezone: str) -> str | None:
    """Compare one subscription with what we hold of it and note or clear the difference; return its contract where that is new."""
    ours = _ours(unit, [id_of(subscription)])
    hold_contracts(unit, {contract_id for contract_id, _ in ours.values()})
    told = None
    for verdict in verdicts(unit, [subscription], now, timezone):
        of, found = verdict.contract_id, verdict.found
        moved = notices.clear(unit, of, [kind for kind in KINDS if found is None or kind != found[0]], verdict.ref, now)
        if found is not None:
            moved = notices.put(unit, of, found[0], verdict.ref, notices.problem_of(*found), now) or moved
        told = of if moved else None
    for contract_id, name in ours.values():
        _take_as_it_is(unit, contract_id, name, subscription, now)
    return told


def _take_as_it_is(unit: Unit, contract_id: str, name: str, subscription: Data, now: datetime) -> None:
    """Hold a subscription as somebody left it, so that whatever is planned next counts on what is there; see to what follows from its end."""
    held = pushes.held_of(unit, [contract_id]).get(contract_id)
    group = next((g for g in held.groups if g.name == name and g.subscription == id_of(subscription)), None) if held is not None else None
    if held is None or group is None or pushes.busy(unit, [contract_id]):
        return
    if subscription["status"] in _ENDED and group.gone is None:
        if is_over(group, now):
            following.ended_as_agreed(unit, contract_id, group.subscription, now)
        else:
            at = subscription.get("ended_at") or subscription.get("canceled_at")
            _keep(unit, held, group, replace(group, gone=boundary_day(at) if at else now.date()), now)
    elif subscription["status"] not in _ENDED and group.schedule and not id_of(subscription.get("schedule")) and not _is_through(group, now):
        _keep(unit, held, group, replace(group, schedule="", let_go=True), now)
    elif _is_untaxed(subscription) and group.told:
        _tell_anew(unit, held, group, now)


def _tell_anew(unit: Unit, held: Held, group: HeldGroup, now: datetime) -> None:
    """Have the customer's address and how the subscription is billed told again at once, and whenever the address changes until Stripe takes it."""
    _keep(unit, replace(held, told=""), group, replace(group, told=""), now)
    unit.execute("UPDATE contract SET next_due_at = ? WHERE id = ?", (at_text(now), held.contract_id))
    unit.execute("UPDATE stripe_told SET digest = '' WHERE customer_id = (SELECT customer_id FROM contract WHERE id = ?)", (held.contract_id,))


def _keep(unit: Unit, held: Held, before: HeldGroup, after: HeldGroup, now: datetime) -> None:
    pushes.save_held(unit, replace(held, groups=tuple(after if g is before else g for g in held.groups)), now)
    pushes.again(unit, [held.contract_id], now)


def gone(subscription: str) -> Data:
    """Return what is compared where a subscription of ours is not there any more."""
    return {"id": subscription, "status": "canceled", "items": {"data": []}}


def _ours(unit: Unit, subscriptions: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return (contract, name of its group) of those subscriptions that are ours."""
    found: dict[str, tuple[str, str]] = {}
    for batch, marks in in_batches(subscriptions):
        sql = f"SELECT subscription, contract_id, group_name FROM stripe_subscription WHERE subscription IN ({marks})"
        found |= {row[0]: (row[1], row[2]) for row in unit.query(sql, batch)}
    return found


def _prices(unit: Unit, subscriptions: Sequence[Data]) -> dict[str, set[str]]:
    """Return our keys of the prices of subscriptions, by Stripe's id."""
    billed = (id_of(item.get("price")) for s in subscriptions for item in (s.get("items") or {}).get("data") or ())
    return {price: set(keys) for price, keys in pushes.keys_of(unit, "price", billed).items()}


def _noted(unit: Unit, ours: Mapping[str, tuple[str, str]]) -> dict[str, dict[Kind, str]]:
    """Return what is noted of subscriptions now, by Stripe's id and kind."""
    found: dict[str, dict[Kind, str]] = {}
    kinds = ",".join("?" * len(KINDS))
    for batch, marks in in_batches({contract_id for contract_id, _ in ours.values()}):
        for ref, kind, text in unit.query(f"SELECT ref, kind, problem FROM stripe_notice WHERE kind IN ({kinds}) AND contract_id IN ({marks})", (*KINDS, *batch)):
            found.setdefault(ref, {})[kind] = text
    return found


def _terms(unit: Unit, contract_ids: Iterable[str]) -> dict[str, _Terms]:
    """Return how contracts are to be paid."""
    found: dict[str, _Terms] = {}
    for batch, marks in in_batches(contract_ids):
        rows = unit.query(f"SELECT id, collection_method, days_until_due FROM contract WHERE id IN ({marks})", batch)
        found |= {row[0]: (row[1], row[2]) for row in rows}
    return found


def _difference(
    subscription: Data, group: HeldGroup, prices: Mapping[str, set[str]], terms: _Terms, when: tuple[datetime, str]
) -> tuple[Kind, str] | None:
    """Return what differs: the kind, and the facts; None for nothing."""
    now, timezone = when
    if subscription["status"] in _ENDED:
        return None if is_over(group, now) else ("ended", _ended(subscription, timezone))
    if not group.is_over and group.ends_with == "cancel" and is_over(group, now - GRACE) and group.phases:
        return "let_go", "it goes on there, though it has ended here"
    phase = _current(group, now)
    if (group.schedule or group.let_go) and not id_of(subscription.get("schedule")) and not _is_through(group, now):
        return "let_go", "its schedule was released"
    if _is_untaxed(subscription):
        return "untaxed", str(subscription["automatic_tax"]["disabled_reason"])
    facts = _facts(subscription, group) + _paid_otherwise(subscription, terms)
    if phase is not None:
        facts += _discounts("discounts", subscription, phase.coupons) + _items(subscription, phase, prices)
    return ("changed", "; ".join(facts)) if facts else None


def _is_untaxed(subscription: Data) -> bool:
    """Whether Stripe gave up finding the tax of a subscription by itself: it goes on without any."""
    tax = subscription.get("automatic_tax") or {}
    return bool(tax.get("disabled_reason")) and not tax.get("enabled") and subscription["status"] not in _ENDED


def _ended(subscription: Data, timezone: str) -> str:
    at, why = subscription.get("ended_at") or subscription.get("canceled_at"), (subscription.get("cancellation_details") or {}).get("reason")
    return f"ended {civil_day(at, timezone).isoformat()}{f', {why}' if why else ''}".replace("_", " ") if at else "it is not there any more"


def is_over(group: HeldGroup, now: datetime) -> bool:
    """Whether a subscription has ended as it should."""
    if group.is_over or not group.phases:
        return True
    end = group.phases[-1].end
    return group.ends_with == "cancel" and end is not None and moment(end, group.at_time) <= now


def living(held: Held, now: datetime) -> list[HeldGroup]:
    """Return the subscriptions of a contract that nobody ended."""
    return [g for g in held.groups if g.gone is None and not is_over(g, now)]


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


def _paid_otherwise(subscription: Data, terms: _Terms) -> list[str]:
    (method, days), there, there_days = terms, subscription.get("collection_method"), subscription.get("days_until_due")
    if there and there != method:
        return ["it is charged automatically there" if there == "charge_automatically" else "its invoices are sent there, not charged"]
    is_other = method == "send_invoice" and there_days is not None and there_days != days
    return [f"its invoices are due after {there_days} days there, {days} here"] if is_other else []


def _discounts(name: str, of: Data, ours: Sequence[str]) -> list[str]:
    there = of.get("discounts") or ()
    return [f"{name}: {len(there)} there, {len(ours)} here"] if len(there) != len(ours) else []


def _items(subscription: Data, phase: HeldPhase, prices: Mapping[str, set[str]]) -> list[str]:
    there = {id_of(i.get("price")): i for i in (subscription.get("items") or {}).get("data") or ()}
    ours = {item.price: item for item in phase.items}
    found, seen = [], set()
    for price, one in there.items():
        keys = prices.get(price, set()) & ours.keys()
        if not keys:
            found.append(f"{price} is billed there and not agreed")
            continue
        item = ours[min(keys)]
        seen.add(item.price)
        found += _discounts(f"discounts of {item.item_id}", one, item.coupons)
        quantity = one.get("quantity")
        if item.quantity is not None and quantity is not None and Decimal(str(quantity)) != item.quantity:
            found.append(f"quantity of {item.item_id}: {quantity} there, {item.quantity.normalize():f} here")
    found += [f"{item.item_id} is not billed there" for price, item in ours.items() if price not in seen]
    return found


def schedule_gone(unit: Unit, schedule: str, now: datetime) -> str | None:
    """Note that a schedule was canceled before it began anything; return its contract where that is new."""
    rows = unit.query("SELECT key FROM stripe_object WHERE kind = 'schedule' AND stripe_id = ?", (schedule,))
    ids = [row[0].rpartition("/")[0] for row in rows]
    hold_contracts(unit, ids)
    for contract_id, held in pushes.held_of(unit, ids).items():
        group = next((g for g in held.groups if g.schedule == schedule), None)
        if group is None or group.subscription or is_over(group, now) or pushes.busy(unit, [contract_id]):
            continue
        if group.gone is None:
            _keep(unit, held, group, replace(group, gone=now.date()), now)
        if notices.put(unit, contract_id, "ended", schedule, notices.problem_of("ended", "its schedule was canceled before it began"), now):
            return str(contract_id)
    return None
