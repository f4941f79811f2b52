"""From phases to parameters: a schedule as Stripe's API takes it, what is kept of it, and whether it says the same as what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from connector.billing.stripe_backend.compiling.days import instant_of, midnight
from connector.billing.stripe_backend.compiling.groups import Group
from connector.billing.stripe_backend.compiling.outlook import days_long
from connector.billing.stripe_backend.compiling.phases import Entry, Stretch, natural_end
from connector.billing.stripe_backend.steps import HeldGroup, HeldItem, HeldPhase, Ref
from connector.core.period import Interval, plus_months

MOST_PHASES = 10
ENOUGH_PHASES = 5
"""More are sent only when fewer than so many are left of what was sent."""
OPEN_MONTHS = 60
KEPT_DAYS = 400


def open_end(start: date, anchor: date, interval: Interval) -> date:
    """Return where the schedule lets go of a phase without end, so that it can be changed until then: five years on."""
    return natural_end(anchor, interval, plus_months(midnight(start), OPEN_MONTHS).date())


def is_let_go(group: HeldGroup, now_day: date) -> bool:
    """Whether the schedule has ended and its subscription runs on by itself."""
    if not group.phases or not group.schedule:
        return bool(group.subscription)
    last = group.phases[-1]
    end = last.end if last.end is not None else open_end(last.began or last.start, last.anchor or group.anchor, group.interval)
    return group.ends_with == "release" and end <= now_day


# ---------------------------------------------------------------- what is kept of it


def held_item(entry: Entry) -> HeldItem:
    """Return an item as it is kept."""
    quantity = None if entry.shown.quantity is None else Decimal(entry.shown.quantity)
    return HeldItem(
        item_id=entry.item_id, price=entry.shown.key, quantity=quantity, interval=entry.interval, end=entry.end, is_metered=entry.is_metered,
        coupons=entry.coupons, rates=entry.rates,
    )  # fmt: skip


def held_phases(group: Group) -> tuple[HeldPhase, ...]:
    """Return the phases of a subscription as they are kept, all of them."""
    laid = group.laid
    ends = [s.start for s in laid.stretches[1:]] + [laid.end]
    found = []
    for stretch, end in zip(laid.stretches, ends, strict=True):
        kind = "trial" if stretch.is_trial else "part" if any(e.end for e in stretch.entries) else "full"
        items = tuple(held_item(e) for e in stretch.entries)
        found.append(HeldPhase(start=stretch.start, end=end, items=items, kind=kind, anchor=stretch.anchor, coupons=tuple(c.id for c in stretch.coupons)))  # type: ignore[arg-type]
    return tuple(found)


def joined(old: Sequence[HeldPhase], new: Sequence[HeldPhase], since: date) -> tuple[HeldPhase, ...]:
    """Return phases as they are kept after an update: what was sent before holds for the days before *since*."""
    past = [p for p in old if p.start < since and (p.end is None or p.end > since - timedelta(days=KEPT_DAYS))]
    past = [p if p.end is not None and p.end <= since else replace(p, end=since) for p in past]
    ahead = []
    for phase in new:
        if phase.end is not None and phase.end <= since:
            continue
        if past and phase.start < since:
            phase = replace(phase, start=since, began=phase.start)
        ahead.append(phase)
    return (*past, *ahead)


# ---------------------------------------------------------------- whether it says the same


def _content(phase: HeldPhase, group_anchor: date) -> tuple[object, ...]:
    return (frozenset(phase.items), phase.coupons, phase.anchor or group_anchor, phase.kind == "trial")


def _from(phases: Sequence[HeldPhase], day: date, anchor: date) -> list[tuple[date, date | None, tuple[object, ...]]]:
    """Return what holds from *day* on, equal neighbours joined."""
    found: list[tuple[date, date | None, tuple[object, ...]]] = []
    for phase in phases:
        if phase.end is not None and phase.end <= day:
            continue
        one = (max(phase.start, day), phase.end, _content(phase, anchor))
        if found and found[-1][2] == one[2]:
            found[-1] = (found[-1][0], one[1], one[2])
        else:
            found.append(one)
    return found


def says_the_same(held: HeldGroup, group: Group, phases: Sequence[HeldPhase]) -> bool:
    """Whether what was sent bills the same from the next boundary on, as far as it was sent."""
    day = group.floor
    if group.standing is not None:
        grids = [natural_end(group.standing.anchor, e.interval, max(day - timedelta(days=1), group.standing.anchor)) for e in group.standing.entries]
        day = min(grids, default=day)
        day = min([day, *(p.start for p in phases if p.start >= group.floor), *(p.start for p in held.phases if p.start >= group.floor)])
    ours, theirs = _from(held.phases, day, held.anchor), _from(phases, day, held.anchor)
    ends = (held.ends_with, "cancel" if group.laid.end is not None else "release")
    if len(ours) < len(theirs):
        return len(ours) >= ENOUGH_PHASES and ours == [*theirs[: len(ours)]] and held.ends_with == "release"
    return ours == theirs and (ends[0] == ends[1] or not ours)


# ---------------------------------------------------------------- parameters


def price_ref(key: str) -> Ref:
    """Return the id of a price that a step of this push finds or makes."""
    return Ref(step=f"price-{key}")


def item_params(entry: Entry) -> dict[str, Any]:
    """Return an item as a phase or a subscription has it."""
    params: dict[str, Any] = {"price": price_ref(entry.shown.key), "metadata": {"connector_item": entry.item_id}}
    if entry.shown.quantity is not None:
        params["quantity"] = entry.shown.quantity
    if entry.coupons:
        params["discounts"] = [{"coupon": id_} for id_ in entry.coupons]
    if entry.rates:
        params["tax_rates"] = [Ref(step=f"rate-{key}") for key in entry.rates]
    return params


def phase_params(stretch: Stretch, end: date, at_time: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return one phase; *end* is its last day's end, prorations are ours."""
    params: dict[str, Any] = {
        "items": [item_params(e) for e in stretch.entries], "end_date": instant_of(end, at_time), "proration_behavior": "none",
        "discounts": [{"coupon": c.id} for c in stretch.coupons] or "", "metadata": dict(metadata),
    }  # fmt: skip
    if stretch.is_trial:
        params["trial"] = True
    elif stretch.is_new_cycle:
        params["billing_cycle_anchor"] = "phase_start"
    return params


def phases_params(group: Group, metadata: Mapping[str, str]) -> tuple[list[dict[str, Any]], str]:
    """Return the phases that can be sent, at most ten, and how the schedule ends."""
    laid = group.laid
    stretches = laid.stretches[:MOST_PHASES]
    is_all = len(stretches) == len(laid.stretches)
    ends = [s.start for s in laid.stretches[1 : len(stretches) + 1]]
    if is_all:
        last = stretches[-1]
        ends.append(laid.end if laid.end is not None else open_end(last.start, last.anchor, group.interval))
    params = [phase_params(s, e, group.at_time, metadata) for s, e in zip(stretches, ends, strict=True)]
    return params, "cancel" if is_all and laid.end is not None else "release"


def bills_later_today(group: HeldGroup, phase: HeldPhase, day: date) -> bool:
    """Whether a period of the subscription begins on *day*."""
    shortest = min((i.interval for i in phase.items if i.interval is not None and i.end is None), key=days_long, default=None)
    return shortest is not None and natural_end(phase.anchor or group.anchor, shortest, day - timedelta(days=1)) == day


def ends_first(group: HeldGroup, phase: HeldPhase, day: date) -> bool:
    """Whether a subscription ends inside the period that runs on *day*: what waits for its next invoice would wait in vain."""
    last = group.phases[-1]
    if group.ends_with != "cancel" or last.end is None:
        return False
    following = [natural_end(phase.anchor or group.anchor, i.interval or group.interval, day) for i in phase.items if i.end is None]
    return last.end < min(following, default=last.end)
