"""The timeline of a contract and the board on which it is drawn: who runs from when to when, and why it began or ended.

A segment is a stretch in which one item stands with one price, quantity and anchor. Nothing here knows about money
or about what was billed: the timeline is the same whenever it is drawn and in whatever order changes arrived.

Ends come in two kinds. A *cut* is an end that is known beforehand (end of the term, a scheduled cancellation, an item's own
last day): a line made after it became known stops there. Every other end (an amendment, the next phase) is met when it is
reached: the line covers its whole period and the change credits the rest.
"""

from __future__ import annotations

from dataclasses import field
from datetime import datetime, timedelta
from decimal import Decimal

from connector.core.matching import terms_of_price
from connector.core.money import ONE, Ratio
from connector.core.period import boundary, index, next_boundary
from connector.core.pricing import cost
from connector.core.terms import Contract, ContractTerms, Coupon, Item, Prebill, Price
from connector.core.values import dataclass
from connector.errors import Problem

ALWAYS = datetime.min  # noqa: DTZ901 - a naive local instant before every other one


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a segment began or ended.

    id - of the change, "" for what the root terms foresee. known - the earliest instant at which its lines may be billed.
    prorates - whether it credits and charges inside a period; pending - whether these wait for the next invoice.
    is_event - an amendment or the next phase, so that its part of a period is a proration. up_front - billed with the
    period in which it falls. is_final - it ends the contract with a final invoice.
    """

    id: str
    at: datetime
    known: datetime
    made: datetime
    prorates: bool = True
    pending: bool = False
    is_event: bool = False
    up_front: bool = False
    is_final: bool = True


@dataclass(slots=True, eq=False, kw_only=True)
class Segment:
    """One item with one price, quantity and anchor, `[start, end)`; *end* None: nothing ends it yet.

    number - the place of its item as written. charge_from - from here it bills: later than the start where a change asked
    for no proration and the period was paid already. full - the exact price of a whole period. next - what took its place.
    """

    item: Item
    price: Price
    number: int
    start: datetime
    anchor: datetime
    cause: Cause
    charge_from: datetime
    is_free: bool
    full: Ratio
    end: datetime | None = None
    ended_by: Cause | None = None
    next: Segment | None = None
    previous: Segment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A known end: lines due at or after *known* stop at *at*; *items* empty = all of them."""

    at: datetime
    known: datetime
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTime:
    """A single charge at an instant."""

    item: Item
    at: datetime
    cause: Cause
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A stretch that was agreed at once, by the root ("") or by a renewal; is_automatic - it renewed itself."""

    start: datetime
    end: datetime | None
    change_id: str
    is_automatic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The items that run from *at* on, for people to read."""

    at: datetime
    items: tuple[Item, ...]
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrebillWindow:
    """Periods that start in `[start, …)` are billed at *due*; *cause_id* of the amendment or renewal that said so."""

    start: datetime
    prebill: Prebill
    due: datetime
    is_first_skipped: bool

    def end_for(self, segment: Segment) -> datetime:
        """Return where the window ends for a segment."""
        if self.prebill.until is not None:
            return self.prebill.until
        interval = segment.price.interval
        if interval is None or not self.prebill.periods:
            return self.start
        k = index(segment.anchor, interval, self.start)
        skipped = self.is_first_skipped and boundary(segment.anchor, interval, k) != self.start
        return boundary(segment.anchor, interval, k + self.prebill.periods + int(skipped))


@dataclass(frozen=True, slots=True, kw_only=True)
class Surprise:
    """A change that was agreed when another quantity of an item ran than now."""

    change_id: str
    item: str
    expected: Decimal
    found: Decimal


@dataclass(slots=True, eq=False, kw_only=True)
class Timeline:
    """Everything that a contract's terms and changes say about time.

    end - the instant at which the contract is over, None while nothing ends it. term_end - where the running term stops
    that will renew itself. known_cuts - from when on each cut of everything is known. discounts - (from, coupons of the contract) in order. inherits - (from, whether
    the customer's discounts count) in order. pauses - (from, to, behavior).
    """

    contract: Contract
    entered: datetime
    segments: list[Segment] = field(default_factory=list)
    one_times: list[OneTime] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    terms: list[Term] = field(default_factory=list)
    discounts: list[tuple[datetime, tuple[Coupon, ...]]] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    pauses: list[tuple[datetime, datetime | None, str]] = field(default_factory=list)
    prebills: list[PrebillWindow] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    end: datetime | None = None
    ended_by: Cause | None = None
    term_end: datetime | None = None
    trial_end: datetime | None = None
    inherits: list[tuple[datetime, bool]] = field(default_factory=list)
    surprises: list[Surprise] = field(default_factory=list)
    first_uses: dict[tuple[str, str], datetime] = field(default_factory=dict)
    known_cuts: dict[datetime, datetime] = field(default_factory=dict)

    @property
    def root(self) -> ContractTerms:
        """Return the root terms."""
        return self.contract.terms

    def cut(self, at: datetime, *, known: datetime = ALWAYS) -> None:
        """Note that lines stop at *at* if they fall due at or after *known*."""
        earlier = self.known_cuts.get(at)
        if earlier is None or known < earlier:
            self.known_cuts[at] = known
            self.cuts.append(Cut(at=at, known=known))

    def is_cut(self, at: datetime) -> bool:
        """Whether everything is known to stop at *at*."""
        return at in self.known_cuts

    def is_inheriting(self, at: datetime) -> bool:
        """Whether nothing is agreed about discounts at *at*, so that the customer's count."""
        return next((said for since, said in reversed(self.inherits) if since <= at), False)

    @property
    def has_coupons(self) -> bool:
        """Whether any coupon of the contract could apply to a line."""
        return any([coupons for _, coupons in self.discounts])  # noqa: C419 - one entry as a rule, a generator costs more


@dataclass(slots=True, eq=False, kw_only=True)
class Slot:
    """An agreed item and the segment that is running for it, if any."""

    item: Item
    number: int
    segment: Segment | None = None


def _is_same_content(a: Item, b: Item) -> bool:
    return a.quantity == b.quantity and (a.price is b.price or terms_of_price(a.price) == terms_of_price(b.price))


class Board:
    """The mutable state while a timeline is drawn: agreed items, anchor, trial and pause, and the moves on segments."""

    def __init__(self, timeline: Timeline, anchor: datetime) -> None:
        self.timeline = timeline
        self.slots: dict[str, Slot] = {}
        self.anchor = anchor
        self.free_until: datetime | None = None
        self.is_paused = False
        self.numbers = 0

    def open(
        self, slot: Slot, at: datetime, cause: Cause, *, after: Segment | None = None, keep_trial: bool = False
    ) -> Segment | None:
        """Begin a segment for *slot* at *at*; a paid trial begins with its own price and periods."""
        item = slot.item
        if self.is_paused:
            slot.segment = None
            return None
        price, anchor = item.price, self.anchor
        if keep_trial and after is not None:
            price, anchor = after.price, after.anchor
        elif item.trial is not None and after is None:
            price, anchor = item.trial.price, at
        segment = Segment(
            item=item, price=price, number=slot.number, start=at, anchor=anchor, cause=cause, charge_from=at,
            is_free=self.free_until is not None and at < self.free_until,
            full=ONE if item.quantity is None else cost(price, item.quantity), previous=after,
        )  # fmt: skip
        if not cause.prorates:
            segment.charge_from = self._paid_until(segment, after)
        if after is not None:
            after.next = segment
        slot.segment = segment
        self.timeline.segments.append(segment)
        return segment

    def _paid_until(self, segment: Segment, before: Segment | None) -> datetime:
        at, paid = segment.start, before or segment
        interval = paid.price.interval
        if interval is None or (before is not None and (before.price.timing == "in_arrears" or before.price.usage_type == "metered" or before.is_free)):
            return at
        if before is not None and at < before.charge_from:
            return before.charge_from
        asked = max(at, segment.cause.made)
        until = asked
        if boundary(paid.anchor, interval, index(paid.anchor, interval, asked)) != asked or asked > at:
            until = next_boundary(paid.anchor, interval, asked)
        for window in self.timeline.prebills:
            if before is not None and window.start <= at:
                until = max(until, window.end_for(before))
        return until

    def close(self, slot: Slot, at: datetime, cause: Cause) -> Segment | None:
        """End the slot's segment at *at*."""
        segment, slot.segment = slot.segment, None
        if segment is not None:
            segment.end, segment.ended_by = max(at, segment.start), cause
        return segment

    def add(self, item: Item, at: datetime, cause: Cause) -> Slot:
        """Agree on a new item and begin it at *at*."""
        self.numbers += 1
        slot = self.slots[item.id] = Slot(item=item, number=self.numbers)
        self.open(slot, at, cause)
        return slot

    def remove(self, item_id: str, at: datetime, cause: Cause) -> None:
        """End an item for good."""
        self.close(self.slots.pop(item_id), at, cause)

    def switch(self, item_id: str, item: Item, at: datetime, cause: Cause, *, is_anchor_new: bool = False) -> None:
        """Put *item* in the place of the item *item_id*; what costs the same goes on without proration."""
        slot = self.slots[item_id]
        if _is_same_content(slot.item, item) and not is_anchor_new and slot.item.trial == item.trial:
            if (slot.item.discounts, slot.item.tax_rates, slot.item.id) == (item.discounts, item.tax_rates, item.id):
                slot.item = item
                if slot.segment is not None:
                    slot.segment.item = item
                return
            cause = quiet(cause)
        before = self.close(slot, at, cause)
        in_trial = before is not None and slot.item.trial is not None and before.price is slot.item.trial.price
        keep_trial = in_trial and item.trial == slot.item.trial and not is_anchor_new
        if item.id != item_id:
            order = [(item.id if k == item_id else k, v) for k, v in self.slots.items()]
            self.slots.clear()
            self.slots.update(order)
        slot.item = item
        if before is not None or not item.start or item.start <= at:
            self.open(slot, at, cause, after=before, keep_trial=keep_trial)

    def restart_all(self, at: datetime, cause: Cause, *, anchor: datetime | None = None) -> None:
        """Close every running segment and open it anew, with a new anchor if given."""
        if anchor is not None:
            self.anchor = anchor
        for slot in self.slots.values():
            before = self.close(slot, at, cause)
            if before is None:
                continue
            segment = self.open(slot, at, cause, after=before)
            if anchor is not None and segment is not None and segment.price.interval is not None:
                # a new cycle bills its whole first period, proration or not
                on = boundary(anchor, segment.price.interval, index(anchor, segment.price.interval, at)) == at
                if on or not cause.prorates:
                    segment.charge_from = at if on else next_boundary(anchor, segment.price.interval, at)

    def close_all(self, at: datetime, cause: Cause) -> None:
        """Close every running segment."""
        for slot in self.slots.values():
            self.close(slot, at, cause)

    def snapshot(self, at: datetime, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        """Note the items that run from *at* on."""
        items = tuple([s.item for s in self.slots.values() if s.segment is not None])
        snapshots = self.timeline.snapshots
        if snapshots and snapshots[-1].at == at:
            snapshots.pop()
        if not snapshots or snapshots[-1].items != items or snapshots[-1].metadata != metadata:
            snapshots.append(Snapshot(at=at, items=items, metadata=metadata))


def quiet(cause: Cause) -> Cause:
    """Return the cause as one that neither credits nor charges inside a period."""
    return Cause(id=cause.id, at=cause.at, known=cause.known, made=cause.made, prorates=False, is_event=cause.is_event)


def ending(cause: Cause, at: datetime) -> Cause:
    """Return the cause as one that ends the contract at *at*."""
    return Cause(
        id=cause.id, at=at, known=cause.known, made=cause.made, prorates=cause.prorates, pending=cause.pending,
        is_event=cause.is_event, up_front=cause.up_front,
    )  # fmt: skip


def day_after(at: datetime) -> datetime:
    """Return the start of the next civil day."""
    return at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
