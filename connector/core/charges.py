"""The charges that a timeline asks for: which periods, due when, and the exact share of the price.

A charge is a segment in one of its periods. In advance it falls due where it starts, in arrears at the end of its period or
with the final invoice; what an amendment opens inside a period falls due with the amendment or with the next invoice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from connector.core.lines import LineKind, Slice, line_key
from connector.core.money import Ratio
from connector.core.period import MICROSECOND, next_boundary, period_of
from connector.core.pricing import cost
from connector.core.proration import share
from connector.core.segments import ALWAYS, OneTime, PrebillWindow, Segment, Timeline
from connector.core.tax import TaxEntry
from connector.core.terms import Item

_ONE = Decimal(1)


@dataclass(slots=True, kw_only=True)
class Charge:
    """A charge on its way to becoming a line."""

    segment: Segment
    item: Item
    key: str
    start: datetime
    end: datetime
    share: Ratio
    due: datetime
    is_pending: bool
    is_event: bool
    created: datetime
    kind: LineKind = "charge"
    quantity: Decimal = Decimal(1)
    number: int = 0
    cause_id: str = ""
    full: Ratio = (0, 1)
    discounts: tuple[tuple[str, int], ...] = ()
    taxes: tuple[TaxEntry, ...] = ()
    amount: int = 0

    @property
    def net(self) -> int:
        """Return the amount less discounts."""
        return self.amount - sum(d for _, d in self.discounts) if self.discounts else self.amount


def next_invoice_after(plan: Timeline, at: datetime) -> datetime:
    """Return the next date after *at* on which the contract bills by itself; its end, or *at*, where it never does."""
    found: list[datetime] = []
    for segment in plan.segments:
        interval = segment.price.interval
        if interval is None or (segment.end is not None and segment.end <= at) or segment.is_free:
            continue
        following = next_boundary(segment.anchor, interval, max(at, segment.start - MICROSECOND))
        waits = segment.cause.is_event and segment.cause.pending
        if segment.charge_from > at and not waits:  # a change that waits for the next invoice makes none itself
            following = min(following, segment.charge_from)
        if (
            segment.end is None
            or following < segment.end
            or (following == segment.end and segment.price.timing == "in_arrears")
        ):
            found.append(following)
    found.extend(o.at for o in plan.one_times if o.at > at and not o.cause.pending)
    if plan.end is not None and plan.end > at:
        found.append(plan.end)
    if plan.term_end is not None and plan.term_end > at:
        found.append(plan.term_end)
    return min(found, default=at)


def _charge_due(
    plan: Timeline, segment: Segment, start: datetime, period_end: datetime, *, is_stub: bool
) -> tuple[datetime, bool, bool]:
    """Return (due, is_pending, is_event) of a charge that starts at *start*."""
    cause = segment.cause
    due = start
    if segment.price.timing == "in_arrears" or segment.price.usage_type == "metered":
        due = period_end
        if segment.end is not None and segment.end < period_end:
            finals = [c.at for c in plan.cuts if not c.items and segment.end <= c.at < period_end]
            is_final = plan.ended_by is None or plan.ended_by.is_final or plan.end not in finals
            if finals and is_final:
                due = min(finals)
        return max(due, cause.known), False, is_stub and cause.is_event
    is_event = cause.is_event and (is_stub or (cause.id != "" and start < cause.made))
    if is_event:
        if cause.up_front and segment.previous is not None:
            return max(_period_start(segment.previous, start), cause.made), False, True
        return max(start, cause.known), cause.pending, True
    dues = [max(w.due, _agreed_on(plan, start)) for w in plan.prebills if _is_prebilled(w, segment, start)] if plan.prebills else []
    if dues and cause.id and max(dues) < cause.made:  # billed before the change was made: charged anew where it is credited
        return max(cause.at, cause.known), cause.pending, False
    due = min([due, *dues])
    return max(due, cause.made if cause.id else plan.entered), False, False


def _is_prebilled(window: PrebillWindow, segment: Segment, start: datetime) -> bool:
    """Whether a window bills the period of a segment that starts at *start*."""
    if start < window.start or (window.prebill.prices and segment.item.id not in window.prebill.prices):
        return False
    return start < window.end_for(segment)


def _agreed_on(plan: Timeline, at: datetime) -> datetime:
    """Return since when the term is agreed in which *at* lies: one that renews itself is so when it begins, and not billed before (D-213)."""
    term = next((t for t in reversed(plan.terms) if t.start <= at), None)
    return term.start if term is not None and term.is_automatic else ALWAYS


def _period_start(segment: Segment, at: datetime) -> datetime:
    interval = segment.price.interval
    if interval is None:
        return segment.start
    return max(period_of(segment.anchor, interval, at)[0], segment.charge_from)


def _covers(
    segment: Segment, since: datetime | None, last: datetime | None
) -> Iterator[tuple[datetime, datetime, datetime]]:
    """Yield (start of the segment's coverage, period start, period end) for each period from the window on.

    last - where given, periods that begin after it are not asked for.
    """
    interval, end, begin, anchor = segment.price.interval, segment.end, segment.charge_from, segment.anchor
    if interval is None or (end is not None and begin >= end):
        return
    low, high = period_of(anchor, interval, begin if since is None or since <= begin else since)
    start = max(low, begin)
    while (end is None or start < end) and (last is None or start <= last):
        yield start, low, high
        if last is not None and high > last:
            return
        low, high = period_of(anchor, interval, high)
        start = low


def _cut(plan: Timeline, segment: Segment, start: datetime, end: datetime, due: datetime) -> datetime:
    own = segment.item.end
    if own is not None and start < own < end:
        end = own
    for cut in plan.cuts:
        if start < cut.at < end and cut.known <= due and (not cut.items or segment.item.id in cut.items):
            end = cut.at
    return end


def charges_of(plan: Timeline, segment: Segment, piece: Slice, last: datetime | None) -> Iterator[Charge]:
    """Yield the charges of a segment from the window on, in order of time; those due after *last* end it."""
    contract, cause, item, interval = plan.contract, segment.cause, segment.item, segment.price.interval
    if interval is None:
        return
    if segment.is_free:
        yield from _free(plan, segment, piece)
        return
    arrears = segment.price.timing == "in_arrears" or segment.price.usage_type == "metered"
    reach = None if arrears or plan.prebills or cause.up_front else last
    for start, low, high in _covers(segment, piece.since, reach):
        due, is_pending, is_event = _charge_due(plan, segment, start, high, is_stub=start != low)
        if is_pending:
            due = next_invoice_after(plan, cause.known)
        if last is not None and due > last and not is_pending:
            return
        end = high if not arrears or segment.end is None else min(high, segment.end)
        end = _cut(plan, segment, start, end, due)
        if piece.since is not None and end <= piece.since:
            continue
        part: Ratio = (1, 1)
        if start != low or end != high:
            part = share(plan.root.settings.proration, (start, end), (low, high), interval, plan.root.timezone)
        yield Charge(
            segment=segment, item=item, start=start, end=end, share=part, due=due, is_pending=is_pending,
            key=line_key(contract.id, item.id, cause.id, start, "charge"), is_event=is_event,
            created=cause.known if is_event or start < cause.known else start, number=segment.number, cause_id=cause.id,
            full=segment.full, quantity=_ONE if item.quantity is None else item.quantity,
        )  # fmt: skip


def rest_of(plan: Timeline, charge: Charge, start: datetime) -> Charge:
    """Return a charge from *start* on, inside the same period, under a key of its own."""
    interval, anchor = charge.segment.price.interval, charge.segment.anchor
    if interval is None:
        return charge
    full = period_of(anchor, interval, charge.start)
    part = share(plan.root.settings.proration, (start, charge.end), full, interval, plan.root.timezone)
    key = line_key(plan.contract.id, charge.item.id, charge.cause_id, start, "charge")
    return replace(charge, start=start, share=part, key=key)


def _free(plan: Timeline, segment: Segment, piece: Slice) -> Iterator[Charge]:
    """Yield the one line of 0 that a free stretch shows; nothing for what is billed in arrears."""
    until = min(filter(None, (segment.end, plan.trial_end)), default=None)
    if (
        until is None
        or until <= segment.start
        or segment.price.timing == "in_arrears"
        or segment.price.usage_type == "metered"
    ):
        return
    if piece.since is not None and until <= piece.since:
        return
    yield Charge(
        segment=segment, item=segment.item, start=segment.start, end=until, share=(0, 1), is_pending=False, is_event=False,
        due=max(segment.start, segment.cause.known), created=segment.start, number=segment.number, cause_id=segment.cause.id,
        key=line_key(plan.contract.id, segment.item.id, segment.cause.id, segment.start, "charge"),
        quantity=Decimal(1) if segment.item.quantity is None else segment.item.quantity,
    )  # fmt: skip


def one_time_charge(plan: Timeline, one: OneTime, segment: Segment) -> Charge:
    """Return a single charge."""
    quantity = Decimal(1) if one.item.quantity is None else one.item.quantity
    due, is_pending = max(one.at, one.cause.known), one.cause.pending
    if is_pending:
        due = next_invoice_after(plan, due)
    return Charge(
        segment=segment, item=one.item, start=one.at, end=one.at, share=(1, 1), due=due, is_pending=is_pending, is_event=False,
        created=max(one.at, one.cause.known), kind="one_time", number=one.number, cause_id=one.cause.id, quantity=quantity,
        key=line_key(plan.contract.id, one.item.id, one.cause.id, one.at, "one_time"), full=cost(one.item.price, quantity),
    )  # fmt: skip


def one_time_segment(one: OneTime) -> Segment:
    """Return the segment that stands for a single charge."""
    return Segment(
        item=one.item, price=one.item.price, number=one.number, start=one.at, anchor=one.at, cause=one.cause,
        charge_from=one.at, is_free=False, full=(0, 1),
    )  # fmt: skip


def all_charges(plan: Timeline, piece: Slice, last: datetime | None) -> Iterator[Charge]:
    """Yield every charge from the window on: segments in order, then single charges."""
    for segment in plan.segments:
        yield from charges_of(plan, segment, piece, last)
    for one in plan.one_times:
        if piece.since is None or one.at > piece.since:
            yield one_time_charge(plan, one, one_time_segment(one))
