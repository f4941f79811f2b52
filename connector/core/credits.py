"""Credits: the share of a charge, as it was billed, for time that belongs to something else now.

A change credits each charge that still covers time after it, at most what is left of that charge. Which changes that are is
read off the timeline: from the segment that made the charge along what took its place, to the first end that prorates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from connector.core.charges import next_invoice_after
from connector.core.lines import Line, Slice, stamp
from connector.core.money import Ratio, allocate, quotient
from connector.core.proration import basis_for, measure
from connector.core.segments import Cause, Segment, Timeline


@dataclass(slots=True, kw_only=True)
class _Debit:
    """A charge that was billed or is about to be, and where its time was taken back so far."""

    line: Line
    credits: list[Line]

    @property
    def end(self) -> datetime:
        """Return the end of the time that no credit has taken back."""
        return min((c.start for c in self.credits), default=self.line.end)


def _segment_of(plan: Timeline, line: Line) -> Segment | None:
    found = None
    for segment in plan.segments:
        is_opener = segment.item.id == line.item_id and segment.cause.id == line.change_id
        if is_opener and segment.start <= line.start and (found is None or segment.start >= found.start):
            found = segment
    return found


def is_as_agreed(segment: Segment, line: Line) -> bool:
    """Whether a line is what its segment would bill today."""
    if segment.is_free:
        return line.amount == 0
    if segment.price.id != line.price_id or segment.price.unit_amount != line.unit_amount:
        return False
    return segment.item.quantity is None or segment.item.quantity == line.quantity


def _cause_now(plan: Timeline, line: Line) -> Cause | None:
    """Return why the time of a charge that is no longer agreed belongs to something else, or to nothing.

    Past the contract's end that is what ended it, whatever ended the item before: without it the item would have begun again.
    """
    if plan.end is not None and plan.ended_by is not None and line.start >= plan.end:
        return plan.ended_by
    own = [s for s in plan.segments if s.item.id == line.item_id and s.start <= line.start]
    for segment in own:
        if segment.end is None or line.start < segment.end:
            return segment.cause
    last = max(reversed(own), key=lambda s: s.end or s.start, default=None)
    return last.ended_by if last is not None and last.ended_by is not None else plan.ended_by


def broken_at(plan: Timeline, line: Line) -> tuple[datetime, Cause] | None:
    """Return where and why the time of a charge stops being its own, None where it keeps all of it."""
    segment = _segment_of(plan, line)
    if segment is None or not is_as_agreed(segment, line):
        cause = _cause_now(plan, line)
        return (line.start, cause) if cause is not None and cause.prorates else None
    while segment.end is not None and segment.ended_by is not None and segment.end < line.end:
        if segment.ended_by.prorates:
            return max(segment.end, line.start), segment.ended_by
        if segment.end <= line.start and segment.ended_by.made < line.due:
            return line.start, segment.ended_by  # known to be over when it was billed: who bills there was told too late
        if segment.next is None:
            return None
        if segment.end <= line.start and segment.next.charge_from <= line.start:
            return line.start, segment.ended_by  # billed before this was known, and charged anew: without it the time is paid twice
        segment = segment.next
    return None


def mirrored(amount: int, earlier: int, part: Ratio | None) -> int:
    """Return *part* of an amount, at most what *earlier* credits left; None: all that is left."""
    left = amount - earlier
    if part is None:
        return left
    share = quotient(abs(amount) * part[0], part[1])
    return min(share, left) if amount >= 0 else max(-share, left)


def part_of(plan: Timeline, line: Line, at: datetime, end: datetime) -> Ratio | None:
    """Return the share of the line's time that `[at, end)` is, None where it is all that is left of it."""
    interval = next((s.price.interval for s in plan.segments if s.item.id == line.item_id), None)
    basis = basis_for(plan.root.settings.proration, interval)
    whole = measure(basis, line.start, line.end, plan.root.timezone)
    if at <= line.start or whole <= 0:
        return None
    return (measure(basis, at, end, plan.root.timezone), whole)


def _earlier(entries: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return what earlier credits took, by coupon or rate."""
    out: dict[str, int] = {}
    for name, amount in entries:
        out[name] = out.get(name, 0) - amount
    return out


def _spread(off: int, left: list[int]) -> list[int]:
    """Return a credit's discount by coupon: in proportion to what is left of each, and never more than that."""
    given = list(allocate(off, left)) if off else [0] * len(left)
    rest = sum(max(0, g - most) for g, most in zip(given, left, strict=True))
    given = [min(g, most) for g, most in zip(given, left, strict=True)]
    for i, most in enumerate(left):
        more = min(rest, most - given[i])
        given[i], rest = given[i] + more, rest - more
    return given


def _credit(plan: Timeline, piece: Slice, debit: _Debit, at: datetime, cause: Cause) -> Line | None:
    """Return the credit for the debit's time from *at* on, at most what is left of it."""
    line, end = debit.line, debit.end
    part = part_of(plan, line, at, end)
    off_before = _earlier(d for c in debit.credits for d in c.discounts)
    tax_before = _earlier((t[0], t[1]) for c in debit.credits for t in c.taxes)
    net = mirrored(line.net, -sum(c.net for c in debit.credits), part)
    left = [max(0, off - off_before.get(coupon, 0)) for coupon, off in line.discounts]
    off = min(sum(left), max(0, mirrored(line.amount, -sum(c.amount for c in debit.credits), part) - net)) if left else 0
    amount = net + off
    discounts = [(coupon, share) for (coupon, _), share in zip(line.discounts, _spread(off, left), strict=True)]
    taxes = [(rate, mirrored(tax, tax_before.get(rate, 0), part), inside) for rate, tax, inside in line.taxes]
    creditable = max(0, line.net - piece.credited.get(line.key, 0) + sum(c.net for c in debit.credits))
    if line.net > 0 and net > creditable:  # credit notes took their part before
        amount -= net - creditable
        taxes = [(rate, quotient(tax * creditable, net), inside) for rate, tax, inside in taxes]
    if amount == 0:
        return None
    due = max(cause.at, cause.known)  # also for periods that were billed ahead
    if cause.up_front:
        due = max(line.due, cause.made)
    elif cause.pending:
        due = next_invoice_after(plan, cause.known)
    head, _, revision = line.key.rpartition("/charge")
    key = f"{head}/credit{revision}/{cause.id or stamp(at)}"
    if any(c.key == key for c in debit.credits):  # the same change took a later part back before
        key = f"{key}@{stamp(at)}"
    return Line(
        key=key,
        contract_id=line.contract_id, item_id=line.item_id, price_id=line.price_id, product=line.product, description=line.description,
        quantity=line.quantity, unit_amount=line.unit_amount, amount=-amount, kind="credit", start=at, end=end, due=due,
        is_proration=True, change_id=cause.id, credits=line.key, discounts=tuple((c, -off) for c, off in discounts if off),
        taxes=tuple((r, -t, i) for r, t, i in taxes), is_pending=cause.pending and not cause.up_front, order=line.order % 1_000_000,
    )  # fmt: skip


def credits_for(plan: Timeline, piece: Slice, debits: list[Line]) -> list[tuple[Line, datetime]]:
    """Return the credits that the changes ask for and that are not facts, each with the instant it was created."""
    against: dict[str, list[Line]] = {}
    for fact in piece.facts:
        if fact.credits is not None:
            against.setdefault(fact.credits, []).append(fact)
    out = []
    for line in debits:
        if line.amount == 0:
            continue
        found = broken_at(plan, line)
        if found is None:
            continue
        debit = _Debit(line=line, credits=against.get(line.key, []))
        at, cause = found
        if at >= debit.end and line.start != line.end:
            continue
        credit = _credit(plan, piece, debit, at, cause)
        if credit is not None and (piece.since is None or credit.end > piece.since):  # before the window all was billed
            out.append((credit, cause.known))
    return out
