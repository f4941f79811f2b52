"""Time that was given back by voiding or by a credit note costs nothing again when the contract changes inside it (decision D-118).

A change credits the rest of a charge and charges what runs instead. Where a credit note or voiding took the charge back before,
there is nothing left to credit; then the new charge is less by what could not be credited, so that both together are what the
change is worth, and never more than nothing is owed for time that was forgiven.

Worked example: 10 seats at 29.00 were billed for January and voided. From 15 January 5 seats run instead: 159.03 for the rest of
January cannot be credited, so the 79.52 of the 5 seats are not charged. Had it become 15 seats, 238.55 - 159.03 = 79.52 would be.
"""

from __future__ import annotations

from datetime import datetime

from connector.core.charges import Charge
from connector.core.credits import broken_at, mirrored, part_of
from connector.core.lines import Line, Slice
from connector.core.matching import product_of
from connector.core.money import quotient
from connector.core.proration import basis_for, measure
from connector.core.segments import Segment, Timeline
from connector.core.values import dataclass


@dataclass(slots=True, kw_only=True)
class _Forgiven:
    """What of a charge could not be credited for `[start, end)`, because it was given back before; *used* by the head of a chain."""

    line: Line
    cause_id: str
    start: datetime
    end: datetime
    amount: int
    used: dict[int, int]


def forgive(plan: Timeline, piece: Slice, charges: list[Charge]) -> None:
    """Lessen priced charges by what of earlier ones for the same time was given back by voiding or by credit notes."""
    pools = [pool for line in piece.facts if (pool := _pool_of(plan, piece, line)) is not None]
    if not pools:
        return
    for charge in charges:
        if charge.kind != "charge" or charge.amount <= 0 or charge.segment.item.quantity is None:
            continue
        head = _head(charge.segment)
        for pool in pools:
            if _is_in_place_of(pool, charge.segment, head):
                _lessen(charge, _share_of(plan, pool, charge, head))


def _pool_of(plan: Timeline, piece: Slice, line: Line) -> _Forgiven | None:
    given = piece.credited.get(line.key, 0)
    found = broken_at(plan, line) if given > 0 and line.kind == "charge" and line.net > 0 else None
    if found is None:
        return None
    at, cause = found
    against = [f for f in piece.facts if f.credits == line.key]
    returned = -sum(c.net for c in against)
    end = min((c.start for c in against), default=line.end)
    rest = mirrored(line.net, 0, part_of(plan, line, at, line.end))
    now = mirrored(line.net, returned, part_of(plan, line, at, end)) if at < end else 0
    amount = rest - returned - min(now, max(0, line.net - given - returned))
    if amount <= 0:
        return None
    return _Forgiven(line=line, cause_id=cause.id, start=max(at, line.start), end=line.end, amount=amount, used={})


def _head(segment: Segment) -> Segment:
    while segment.previous is not None:
        segment = segment.previous
    return segment


def _is_in_place_of(pool: _Forgiven, segment: Segment, head: Segment) -> bool:
    """Whether a segment runs instead of the charge: the same item later on, what took its place, or what its change put beside it."""
    link: Segment | None = segment
    while link is not None:
        if link.item.id == pool.line.item_id:
            return True
        link = link.previous
    return head.cause.id == pool.cause_id and product_of(head.price) == (pool.line.product or pool.line.price_id)


def _share_of(plan: Timeline, pool: _Forgiven, charge: Charge, head: Segment) -> int:
    """Return what of a pool falls on a charge's time, less what other items took of it."""
    start, end = max(pool.start, charge.start), min(pool.end, charge.end)
    if start >= end:
        return 0
    basis, zone = basis_for(plan.root.settings.proration, charge.segment.price.interval), plan.root.timezone
    whole = measure(basis, pool.start, pool.end, zone)
    part = pool.amount if whole <= 0 or (start, end) == (pool.start, pool.end) else quotient(
        pool.amount * measure(basis, start, end, zone), whole
    )  # fmt: skip
    others = sum(amount for key, amount in pool.used.items() if key != id(head))
    net = charge.amount - sum(d for _, d in charge.discounts)
    taken = max(0, min(part, pool.amount - others, net))
    pool.used[id(head)] = max(taken, pool.used.get(id(head), 0))
    return taken


def _lessen(charge: Charge, by: int) -> None:
    """Take *by* off what a charge comes to, its discounts in the same share."""
    net = charge.amount - sum(d for _, d in charge.discounts)
    if by <= 0 or net <= 0:
        return
    charge.discounts = tuple((coupon, quotient(off * (net - by), net)) for coupon, off in charge.discounts)
    charge.amount = net - by + sum(off for _, off in charge.discounts)
