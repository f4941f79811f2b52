"""What of a push that is sent late no longer holds: a period that its plan took as ahead has begun at Stripe meanwhile. Pure.

A plan counts on the present: what lies ahead it tells Stripe, what has begun it takes as billed. So its steps that steer subscriptions
are sent only up to the next instant at which one of its subscriptions bills; afterwards the contract is planned anew (D-201).

Worked example: three seats more from 15 April, planned that day, while the contract bills on the 20th at 11:00. Stripe is away until the
20th at 18:00. Sent as it is, the update would say "five seats from 20 April" of a period that was billed with two.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from connector.billing.stripe_backend.compiling.days import day_ahead, moment
from connector.billing.stripe_backend.compiling.phases import natural_end
from connector.billing.stripe_backend.steps import Held, HeldGroup, HeldPhase, Push, Step

MARGIN = timedelta(minutes=1)
"""So long before that instant nothing is begun that would have to be there by then: longer than a call takes."""
_STEERING = ("subscription_schedules.", "subscriptions.")
_READS = ("retrieve", "list")


def is_timed(step: Step) -> bool:
    """Whether a step means what was planned only before the next period begins: it steers a subscription, waits on one, or waits no more."""
    if step.call.startswith(_STEERING):
        return step.call.rpartition(".")[2] not in _READS
    return step.call == "invoice_items.delete" or (step.call in ("invoice_items.create", "invoices.create") and "subscription" in step.params)


def left(push: Push) -> list[Step]:
    """Return the timed steps of a push that have no answer yet."""
    return [s for s in push.plan.steps if s.name not in push.results and is_timed(s)]


def deadline(push: Push, before: Held | None) -> datetime | None:
    """Return from when on the timed steps of a push no longer hold; None: they always do.

    That is the first instant after it was planned at which one of its subscriptions bills, as held *before* or after it.
    """
    groups = [*(before.groups if before is not None else ()), *push.plan.held.groups]
    found = [at for group in groups for at in _instants(group, push.made_at)]
    found += [push.plan.until] if push.plan.until is not None else []
    return min(found, default=None)


def _instants(group: HeldGroup, made: datetime) -> Iterator[datetime]:
    """Yield instants from *made* on at which a subscription bills, or its phases change: of each phase and rhythm the first."""
    if group.is_over or group.gone is not None:
        return
    floor = day_ahead(made, group.at_time)
    for phase, following in zip(group.phases, [*group.phases[1:], None], strict=True):
        is_one = following is not None and following.began is not None and following.began < following.start
        for day in _days(group, phase, floor, is_one=is_one):
            yield moment(day, group.at_time)


def _days(group: HeldGroup, phase: HeldPhase, floor: date, *, is_one: bool) -> Iterator[date]:
    """Yield the days of a phase; *is_one*: to Stripe it is one with the following, which shows what changed inside it."""
    begins = phase.began or phase.start
    if begins >= floor:
        yield begins
    if phase.end is not None and phase.end < floor:
        return
    if phase.end is not None and not is_one:
        yield phase.end
    anchor = phase.anchor or group.anchor
    day = max(begins, floor - timedelta(days=1), anchor)
    for interval in {item.interval or group.interval for item in phase.items}:
        end = natural_end(anchor, interval, day)
        if phase.end is None or end < phase.end:
            yield end
