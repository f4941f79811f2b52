"""The outlook: what the engine will bill of a contract as it is known now, and which of it a subscription could bill by itself.

Every line up to a horizon behind the last thing that is known to happen; what follows repeats its last period. A *claim* is a charge
that one period of a subscription item can stand for: it is billed where its period begins (metered: where it ends), whole or as a part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property

from connector.billing.stripe_backend.compiling.days import moment
from connector.billing.stripe_backend.compiling.prices import is_countable
from connector.billing.stripe_backend.compiling.wanted import Wanted
from connector.core.amounts import coupons_of, rates_for
from connector.core.charges import charges_of
from connector.core.invoicing import proposed_on
from connector.core.lines import Line
from connector.core.period import Interval, boundary, days_of, is_boundary, midnight, months_of, plus_months, to_utc
from connector.core.schedule import timeline
from connector.core.segments import Segment, Timeline
from connector.core.terms import Coupon, Item, Price, TaxRate

AHEAD_DAYS = 400
"""How far a contract that renews itself is looked at, so that its next term stands at Stripe long before it begins."""
MOST_MONTHS = 36  # the longest interval that a price may have at Stripe
MOST_DAYS = 1095


def days_long(interval: Interval) -> int:
    """Return about how many days an interval has, to compare intervals."""
    return days_of(interval) or months_of(interval) * 30


def is_short_enough(interval: Interval) -> bool:
    """Whether a price may have that interval: at most three years."""
    return months_of(interval) <= MOST_MONTHS and days_of(interval) <= MOST_DAYS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Claim:
    """A charge that a subscription could bill: the engine's line and what it stems from; *coupons* by id, as they count for it."""

    line: Line
    segment: Segment
    item: Item
    price: Price
    interval: Interval
    coupons: tuple[Coupon, ...] = ()
    rates: tuple[TaxRate, ...] = ()

    @property
    def due(self) -> date:
        """Return the civil day on which the engine bills it."""
        return self.line.due.date()

    @property
    def start(self) -> date:
        """Return the civil day on which its period begins."""
        return self.line.start.date()

    @property
    def end(self) -> date:
        """Return the civil day on which its coverage ends."""
        return self.line.end.date()

    @property
    def is_free(self) -> bool:
        """Whether it stands for a stretch of a free trial."""
        return self.segment.is_free

    @property
    def is_metered(self) -> bool:
        """Whether it is billed by use, when its period is over."""
        return self.price.usage_type == "metered"

    @property
    def is_loose(self) -> bool:
        """Whether the engine takes it for an effect of a change; only a whole period that begins later may stand for it."""
        return self.line.is_pending or self.line.is_proration


class Outlook:
    """What will be billed of a contract, drawn once for all who ask."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.piece = wanted.known
        self.local = wanted.local
        self.plan: Timeline = timeline(wanted.contract, horizon=max(self.local, wanted.contract.terms.start) + timedelta(days=AHEAD_DAYS))
        self.currency = wanted.contract.terms.currency

    @property
    def today(self) -> date:
        """Return the contract's civil day."""
        return self.local.date()

    @cached_property
    def intervals(self) -> tuple[Interval, ...]:
        """Return the intervals of everything that recurs."""
        return tuple(dict.fromkeys(s.price.interval for s in self.plan.segments if s.price.interval is not None))

    @cached_property
    def horizon(self) -> datetime:
        """Return an instant behind which everything repeats: two of the longest periods after the last known event."""
        plan, terms = self.plan, self.wanted.contract.terms
        found = [self.local, terms.start, *(s.start for s in plan.segments), *(s.end for s in plan.segments if s.end is not None)]
        found += [o.at for o in plan.one_times] + [end for _, end, _ in plan.pauses if end is not None] + [c.at for c in plan.cuts]
        found += [midnight(since) for since, _ in self.piece.rates] + [g.since for g in self.piece.given]
        found += [w.end_for(s) for w in plan.prebills for s in plan.segments]
        last = max(found)
        coupons = [c for _, row in plan.discounts for c in row] + [c for s in plan.segments for c in s.item.discounts]
        coupons += [g.coupon for g in self.piece.given]
        months = max([c.duration_in_months or 0 for c in coupons if c.duration == "repeating"], default=0)
        longest = max([i for i in self.intervals if is_short_enough(i)], key=days_long, default=Interval(unit="month"))
        far = boundary(plus_months(last, months) + timedelta(days=1), longest, 2)
        if plan.term_end is not None:
            far = min(far, plan.term_end)
        if plan.end is not None:
            far = min(far, boundary(max(plan.end, self.local), longest, 1))
        return far

    @cached_property
    def lines(self) -> list[Line]:
        """Return every line up to the horizon that is no fact and was not sent."""
        return self._together(self.horizon)

    @cached_property
    def due(self) -> list[Line]:
        """Return the lines that are to be billed now: due by now, or waiting for the next invoice since a change that counts by now."""
        found = {line.key: line for line in self._together(self.local)}
        for line in self.lines:
            if line.is_pending and line.start <= self.local:
                found.setdefault(line.key, line)
        return list(found.values())

    def _together(self, until: datetime) -> list[Line]:
        """Return what is proposed, with the discounts of everything that falls due together, whatever of it was billed earlier today.

        A fixed amount is shared by all lines of a day; Stripe's and ours are not billed in one moment.
        """
        lines = [self._not_billed_yet(line) for line in proposed_on(self.plan, self.piece, until)]
        today = midnight(self.today)
        before = tuple(f for f in self.piece.facts if f.due < today)
        if len(before) == len(self.piece.facts) or not (self.plan.has_coupons or self.piece.given):
            return lines
        whole = {line.key: line for line in proposed_on(self.plan, replace(self.piece, facts=before), until)}
        return [_with_discounts(line, whole.get(line.key)) for line in lines]

    def _not_billed_yet(self, line: Line) -> Line:
        """Return a period of a change that was made on its first day, before Stripe bills that day, as any other period.

        On the internal engine that day was billed at midnight, so the change waits for the next invoice; here it is still to come.
        """
        if not line.is_pending or line.kind != "charge" or self.wanted.held is None:
            return line
        segment, day = self.segment_of(line), line.start.date()
        interval = segment.price.interval if segment is not None else None
        if segment is None or interval is None or segment.cause.made.date() != day or not is_boundary(segment.anchor, interval, line.start):
            return line
        made = to_utc(segment.cause.made, self.wanted.contract.terms.timezone)
        for group in self.wanted.held.groups:
            is_there = any(i.item_id == line.item_id for p in group.phases for i in p.items if p.end is None or p.end >= day)
            if is_there and group.phases[0].start < day and made < moment(day, group.at_time):
                return replace(line, is_pending=False, is_proration=False, due=line.start)
        return line

    def segment_of(self, line: Line) -> Segment | None:
        """Return the segment that a charge stems from."""
        found = None
        for segment in self.plan.segments:
            is_own = segment.item.id == line.item_id and segment.cause.id == line.change_id and segment.start <= line.start
            if is_own and (segment.end is None or line.start < segment.end) and (found is None or segment.start >= found.start):
                found = segment
        return found

    @cached_property
    def billed(self) -> frozenset[tuple[str, datetime]]:
        """Return the periods that were billed, in whatever way: by item and start. Billed in another way now, they are ours: their day at Stripe is over."""
        return frozenset((f.item_id, f.start) for f in self.piece.facts if f.kind == "charge" and f.amount)

    @cached_property
    def claims(self) -> list[Claim]:
        """Return every charge up to the horizon that a subscription could bill, in order of time."""
        charges = [line for line in self.lines if line.kind == "charge"]
        start = self.wanted.contract.terms.start.date()
        ahead = {(x.item_id, x.due) for x in charges if start < x.due.date() < x.start.date() and not x.is_pending}
        # a period that is billed with those after it, as a renewal does, is ours like them: one day, one invoice
        fresh = [x for x in charges if (x.item_id, x.start) not in self.billed and (x.item_id, x.due) not in ahead]
        found = [claim for line in fresh for claim in self._claim(line, is_ahead=False)]
        return sorted(found, key=lambda c: (c.start, c.segment.number))

    @property
    def whole_claims(self) -> list[Claim]:
        """Return the same with what is billed before its period begins."""
        found = [claim for line in self.lines if line.kind == "charge" for claim in self._claim(line, is_ahead=True)]
        return sorted(found, key=lambda c: (c.start, c.segment.number))

    def _claim(self, line: Line, *, is_ahead: bool) -> Iterator[Claim]:
        segment = self.segment_of(line)
        if segment is None or segment.price.interval is None or not is_short_enough(segment.price.interval):
            return
        price, item = segment.price, segment.item
        is_metered = price.usage_type == "metered"
        is_on_time = line.due.date() == line.start.date() or (is_ahead and line.due < line.start)
        if not is_metered and (price.timing == "in_arrears" or line.is_pending or not is_on_time):
            return
        if line.amount < 0 or (is_metered and not is_countable(price)):
            return
        yield Claim(
            line=line, segment=segment, item=item, price=price, interval=segment.price.interval,
            coupons=self._coupons(line, segment), rates=self._rates(item, line.start),
        )  # fmt: skip

    def _coupons(self, line: Line, segment: Segment) -> tuple[Coupon, ...]:
        if segment.price.usage_type != "metered" and not line.discounts:
            return ()
        asked = replace(self.piece, since=line.start, facts=())
        charge = next((c for c in charges_of(self.plan, segment, asked, None) if c.start == line.start), None)
        return coupons_of(self.plan, self.piece, charge) if charge is not None else ()

    def _rates(self, item: Item, start: datetime) -> tuple[TaxRate, ...]:
        if self.wanted.automatic_tax or self.piece.tax_exempt != "none":
            return ()
        return rates_for(self.plan, self.piece, item, start)

    def is_paused(self, day: date) -> bool:
        """Whether nothing is charged on a day because the contract is paused with credit."""
        at = midnight(day)
        return any(how == "credit" and start.date() <= at.date() and (end is None or at < end) for start, end, how in self.plan.pauses)

    def is_unknown(self, day: date) -> bool:
        """Whether a day lies where nothing is said yet: what ran before goes on."""
        at = midnight(day)
        return at > self.horizon or (self.plan.term_end is not None and self.plan.end is None and at >= self.plan.term_end)

    def running(self, item_id: str, interval: Interval) -> Segment | None:
        """Return the segment that stands for an item now."""
        for segment in self.plan.segments:
            is_it = segment.item.id == item_id and segment.price.interval == interval
            if is_it and segment.start <= self.local and (segment.end is None or segment.end > self.local):
                return segment
        return None

    def end_of(self, item_id: str, interval: Interval) -> datetime | None:
        """Return where an item stops running in an interval, None where it goes on (paused or renewed ones do)."""
        own = [s for s in self.plan.segments if s.item.id == item_id and s.price.interval == interval]
        last = max(own, key=lambda s: (s.start, s.end is None, s.end or s.start), default=None)  # what a change ended on its first day is no end
        if last is None:
            return self.local
        if last.end is None or (last.end == self.plan.term_end and self.plan.end is None):
            return None
        paused = any(how == "credit" and start == last.end for start, _, how in self.plan.pauses)
        return self.plan.end if paused else last.end


def _with_discounts(line: Line, other: Line | None) -> Line:
    """Return a line with the discounts of the same line as it was proposed with all others of its day."""
    if other is None or (other.amount, other.end, other.due) != (line.amount, line.end, line.due):
        return line
    return other
