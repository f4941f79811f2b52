"""Contracts whose subscription somebody ended at Stripe: what may still be done with them (decision D-202).

Nothing takes a subscription's place by itself, so the billing run leaves such a contract alone, and a change of it is refused in words. To end
it here, too, is what is left: that succeeds, as nothing is left to do at Stripe, and what it credits is an invoice of ours.

Worked example: Acme's subscription was canceled in the dashboard on 5 April. A deal over three seats more reads "The running contract was
ended where it is billed"; a Cancel deal of 10 April with credit gives back what was paid for the days after it, and the notice is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from connector.billing.store import BookedContract
from connector.billing.stripe_backend.reading import events, notices
from connector.billing.stripe_backend.steps import Held, Plan
from connector.errors import Problem
from connector.ports import Unit

REFUSED = replace(
    notices.problem_of("ended"),
    hint="Close a Cancel deal, to end it here as well, and sell what goes on as a New deal.",
)

_OTHERWISE = frozenset(("stripe-schedule-ended", "stripe-subscription-ended", "stripe-missing-subscription"))


def is_lost(held: Held | None) -> bool:
    """Whether somebody ended a subscription of a contract that goes on here."""
    return held is not None and any(g.gone is not None and not g.is_over for g in held.groups)


def is_ending(contract: BookedContract) -> bool:
    """Whether it is agreed that a contract ends as a whole."""
    return contract.contract.withdrawn or any(c.change.kind == "cancel" and not c.change.item_ids for c in contract.changes)


def refused(contract: BookedContract, held: Held | None) -> Problem | None:
    """Return why a change of a contract is refused, None where it may pass."""
    return REFUSED if is_lost(held) and not is_ending(contract) else None


def ended(plan: Plan) -> Plan:
    """Return the plan of a contract that ends: what somebody ended before is over."""
    groups = tuple(replace(g, is_over=True) if g.gone is not None else g for g in plan.held.groups)
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
                notices.clear(unit, contract_id, ("ended",), group.subscription or group.schedule, now)


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
