"""Contracts of which somebody ended a subscription at Stripe: what may still be done with them (decisions D-202, D-219).

Nothing takes a subscription's place by itself, so the billing run leaves such a contract alone, and a change of it is refused in words. To end
it here, too, is what is left: that succeeds, as nothing is left to do at Stripe, and what it credits is an invoice of ours.

Worked example: Acme's subscription was canceled in the dashboard on 5 April. A deal over three seats more reads "The running contract was
ended where it is billed"; a Cancel deal of 10 April with credit gives back what was paid for the days after it, and the notice is gone.

Where a contract has other subscriptions, they go on, and so do changes of what they bill: only a change that concerns what was ended is refused,
until a Cancel deal over its lines has ended it here, too.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from connector.billing.store import BookedContract
from connector.billing.stripe_backend.compiling.groups import members
from connector.billing.stripe_backend.compiling.outlook import AHEAD_DAYS
from connector.billing.stripe_backend.reading import drifting, events, notices
from connector.billing.stripe_backend.steps import Held, HeldGroup, Plan
from connector.core.period import Interval, to_local
from connector.core.schedule import timeline
from connector.core.segments import Segment
from connector.core.terms import Contract
from connector.errors import Problem
from connector.ports import Unit

REFUSED = replace(
    notices.problem_of("ended"),
    hint="Close a Cancel deal, to end it here as well, and sell what goes on as a New deal.",
)

REFUSED_PART = Problem(
    code="stripe-ended-part",
    message="A part of this contract was ended where it is billed, and this change concerns it.",
    hint="Close a Cancel deal with its lines, to end it here as well, and sell what goes on as a New deal.",
)
_AHEAD = timedelta(days=AHEAD_DAYS)
_Key = tuple[str, Interval | None]
_OTHERWISE = frozenset(("stripe-schedule-ended", "stripe-subscription-ended", "stripe-missing-subscription"))


def is_lost(held: Held | None) -> bool:
    """Whether somebody ended a subscription of a contract that goes on here."""
    return held is not None and bool(_ended(held))


def is_whole(held: Held | None, now: datetime) -> bool:
    """Whether that was all that ran of the contract."""
    return is_lost(held) and held is not None and not drifting.living(held, now)


def _ended(held: Held) -> list[HeldGroup]:
    return [g for g in held.groups if g.gone is not None and not g.is_over]


def is_ending(contract: BookedContract) -> bool:
    """Whether it is agreed that a contract ends as a whole."""
    return contract.contract.withdrawn or any(c.change.kind == "cancel" and not c.change.item_ids for c in contract.changes)


def refused(contract: BookedContract, held: Held | None, now: datetime, before: BookedContract | None = None) -> Problem | None:
    """Return why a contract cannot be as it is now, None where it can; *before* - as it was before a change, where that is to be judged."""
    if held is None or not is_lost(held) or is_ending(contract):
        return None
    if is_whole(held, now):
        return REFUSED
    return REFUSED_PART if before is not None and _is_concerned(before.contract, contract.contract, held, now) else None


def _is_concerned(before: Contract, after: Contract, held: Held, now: datetime) -> bool:
    """Whether a change makes anything else than shorter of what somebody ended."""
    keys = {key for group in _ended(held) for key in members(group)}
    old, new = _running(before, keys, now), _running(after, keys, now)
    return any(
        was is None or (was.item.quantity, was.price) != (segment.item.quantity, segment.price) or _is_longer(segment, was)
        for segment, was in ((s, old.get(key)) for key, s in new.items())
    )


def _running(contract: Contract, keys: Container[_Key], now: datetime) -> dict[tuple[str, datetime], Segment]:
    """Return what a contract says of items, by item and start."""
    plan = timeline(contract, horizon=to_local(now, contract.terms.timezone) + _AHEAD)
    return {(s.item.id, s.start): s for s in plan.segments if (s.item.id, s.price.interval) in keys}


def _is_longer(segment: Segment, was: Segment) -> bool:
    return was.end is not None and (segment.end is None or segment.end > was.end)


def ended(plan: Plan, contract: BookedContract, now: datetime) -> Plan:
    """Return the plan of a contract of which somebody ended something: what has ended here, too, is over."""
    local, is_all = to_local(now, contract.terms.timezone), is_ending(contract)

    def settled(group: HeldGroup) -> bool:
        left = _running(contract.contract, members(group), now).values()
        return is_all or all(s.end is not None and s.end <= local for s in left)

    groups = tuple(replace(g, is_over=True) if g.gone is not None and settled(g) else g for g in plan.held.groups)
    return replace(plan, held=replace(plan.held, groups=groups))


def waits(unit: Unit, contract_ids: Sequence[str]) -> set[str]:
    """Return those of contracts of which Stripe cannot finalize an invoice: nobody knows when it will, so nothing waits for it."""
    return notices.with_kind(unit, contract_ids, "not_finalized")


def told(unit: Unit, before: Mapping[str, Held], plans: Mapping[str, Plan], now: datetime) -> None:
    """Take the notices away of what was ended and is over now."""
    for contract_id, plan in plans.items():
        old = {g.name: g.is_over for g in (before[contract_id].groups if contract_id in before else ())}
        for group in plan.held.groups:
            if group.gone is not None and group.is_over and not old.get(group.name, True):
                notices.clear(unit, contract_id, ("ended", "ended_part"), group.subscription or group.schedule, now)


def look(unit: Unit, held: Held, problem: Problem, now: datetime) -> None:
    """Have the subscriptions of a contract read, as if an event had told of them, where a refusal says that they are not what we hold."""
    if problem.code not in _OTHERWISE:
        return
    told = [
        {"id": f"look/{held.contract_id}/{g.subscription}/{int(now.timestamp())}", "type": "customer.subscription.updated", "created": int(now.timestamp()),
         "data": {"object": {"id": g.subscription, "object": "subscription"}}}
        for g in held.groups if g.subscription and not g.is_over
    ]  # fmt: skip
    events.keep(unit, told, now)
