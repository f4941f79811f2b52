"""Lines: propose what the timeline asks for, subtract what stands on finalized invoices, emit the rest (decision D-10).

A charge is a segment in one of its periods. A credit is a share of a charge, as it was billed, for the time after the
change that ended its segment. Both have keys without end, amount or position, so proposing again yields the same keys and
nothing is billed twice. The lines of a late run are those of the timely ones: a charge covers its period unless an end was
known when it fell due, and later changes credit it.

Worked example: 30.00 a month billed on 1 April; +5 on 16 April leaves the charge as it is and emits the credit -15.00 for
`[16 Apr, 1 May)` and the charge of the new segment for the same days.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from connector.core.discounts import Discountable, take_off
from connector.core.money import Ratio, quotient
from connector.core.period import MICROSECOND, boundary, index, next_boundary, plus_months, to_local
from connector.core.pricing import cost
from connector.core.proration import basis_for, measure, share
from connector.core.schedule import timeline
from connector.core.segments import Cause, OneTime, Segment, Timeline
from connector.core.tax import TaxEntry, document_taxes, inclusive_factor, line_taxes
from connector.core.terms import Change, Contract, Coupon, Item, TaxRate

LineKind = Literal["charge", "credit", "one_time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of an invoice; amounts in minor units, times naive local.

    key - its identity for ever. change_id - the change whose segment or credit it is, "" for the root terms. credits - the
    key of the charge that a credit mirrors. amount - before discounts and exclusive tax. is_pending - waits for the next
    invoice. due - when it is to be billed. order - its place on the invoice, by which lines are sorted.
    """

    key: str
    contract_id: str
    item_id: str
    price_id: str
    product: str
    description: str
    quantity: Decimal
    unit_amount: Decimal | None
    amount: int
    kind: LineKind
    start: datetime
    end: datetime
    due: datetime
    is_proration: bool = False
    change_id: str = ""
    credits: str | None = None
    discounts: tuple[tuple[str, int], ...] = ()
    taxes: tuple[TaxEntry, ...] = ()
    is_pending: bool = False
    order: int = 0

    @property
    def net(self) -> int:
        """Return the amount less discounts."""
        return self.amount - sum(d for _, d in self.discounts) if self.discounts else self.amount

    @property
    def exclusive_tax(self) -> int:
        """Return the taxes on top of the amount."""
        return sum(t[1] for t in self.taxes if not t[2]) if self.taxes else 0

    @property
    def gross(self) -> int:
        """Return what the line adds to the invoice's total."""
        return self.net + self.exclusive_tax


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A quantity used of a metered item at a local instant; *price* is the price's id."""

    price: str
    at: datetime
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A contract with the facts about it that still matter.

    facts - lines on finalized invoices that end after *since*, and the credits against them. credited - what credit notes
    took of a line (net of exclusive tax), by its key. since - where the window begins (see `window_start`); None: all facts
    are here. tax_exempt - the customer's standing.
    """

    contract: Contract
    facts: tuple[Line, ...] = ()
    credited: Mapping[str, int] = field(default_factory=dict)
    has_invoices: bool = False
    since: datetime | None = None
    usage: tuple[Usage, ...] = ()
    tax_exempt: Literal["none", "exempt", "reverse"] = "none"


@dataclass(slots=True, kw_only=True)
class _Charge:
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
    amount: int = 0


def _stamp(at: datetime) -> str:
    return at.isoformat()[:10] if at.hour == at.minute == at.second == at.microsecond == 0 else at.isoformat()


def line_key(contract_id: str, item_id: str, cause_id: str, start: datetime, kind: str) -> str:
    """Return the key of a charge: contract / item / opener / start of coverage / kind."""
    return f"{contract_id}/{item_id}/{cause_id}/{_stamp(start)}/{kind}"


# ---------------------------------------------------------------- when


def next_invoice_after(plan: Timeline, at: datetime) -> datetime:
    """Return the next date after *at* on which the contract bills by itself; its end, or *at*, where it never does."""
    found: list[datetime] = []
    for segment in plan.segments:
        interval = segment.price.interval
        if interval is None or (segment.end is not None and segment.end <= at) or segment.is_free:
            continue
        following = next_boundary(segment.anchor, interval, max(at, segment.start - MICROSECOND))
        if segment.start > at:
            following = min(following, segment.start)
        if segment.end is None or following < segment.end or (following == segment.end and segment.price.timing == "in_arrears"):
            found.append(following)
    found.extend(o.at for o in plan.one_times if o.at > at and not o.cause.pending)
    if plan.end is not None and plan.end > at:
        found.append(plan.end)
    if plan.term_end is not None and plan.term_end > at:
        found.append(plan.term_end)
    return min(found, default=at)


def _charge_due(plan: Timeline, segment: Segment, start: datetime, period_end: datetime, *, is_stub: bool) -> tuple[datetime, bool, bool]:
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
    for window in plan.prebills:
        if start < window.start or (window.prebill.prices and segment.item.id not in window.prebill.prices):
            continue
        if start < window.end_for(segment):
            due = min(due, window.due)
    return max(due, cause.made if cause.id else plan.entered), False, False


def _period_start(segment: Segment, at: datetime) -> datetime:
    interval = segment.price.interval
    if interval is None:
        return segment.start
    return max(boundary(segment.anchor, interval, index(segment.anchor, interval, at)), segment.charge_from)


def _covers(segment: Segment, since: datetime | None, last: datetime | None) -> Iterator[tuple[datetime, datetime, datetime, datetime]]:
    """Yield (start, end of the segment's coverage, period start, period end) for each period from the window on.

    last - where given, periods that begin after it are not asked for.
    """
    interval, end, begin, anchor = segment.price.interval, segment.end, segment.charge_from, segment.anchor
    if interval is None or (end is not None and begin >= end):
        return
    k = index(anchor, interval, begin if since is None or since <= begin else since)
    low = boundary(anchor, interval, k)
    while True:
        start = begin if begin > low else low
        if (end is not None and start >= end) or (last is not None and start > last):
            return
        k += 1
        high = boundary(anchor, interval, k)
        yield start, high, low, high
        low = high


def _cut(plan: Timeline, segment: Segment, start: datetime, end: datetime, due: datetime) -> datetime:
    own = segment.item.end
    if own is not None and start < own < end:
        end = own
    for cut in plan.cuts:
        if start < cut.at < end and cut.known <= due and (not cut.items or segment.item.id in cut.items):
            end = cut.at
    return end


def _charges(plan: Timeline, segment: Segment, piece: Slice, last: datetime | None) -> Iterator[_Charge]:
    """Yield the charges of a segment from the window on, in order of time; those due after *last* end it."""
    contract, settings = plan.contract, plan.root.settings
    interval = segment.price.interval
    if interval is None:
        return
    if segment.is_free:
        yield from _free(plan, segment, piece)
        return
    arrears = segment.price.timing == "in_arrears" or segment.price.usage_type == "metered"
    reach = None if arrears or plan.prebills or segment.cause.up_front else last
    for start, end, low, high in _covers(segment, piece.since, reach):
        due, is_pending, is_event = _charge_due(plan, segment, start, high, is_stub=start != low)
        if is_pending:
            due = next_invoice_after(plan, segment.cause.known)
        if last is not None and due > last and not is_pending:
            return
        if arrears:
            end = end if segment.end is None else min(end, segment.end)
        end = _cut(plan, segment, start, end, due)
        if piece.since is not None and end <= piece.since:
            continue
        part: Ratio = (1, 1)
        if start != low or end != high:
            part = share(settings.proration, (start, end), (low, high), interval, plan.root.timezone)
        yield _Charge(
            segment=segment, item=segment.item, start=start, end=end, share=part, due=due, is_pending=is_pending,
            key=line_key(contract.id, segment.item.id, segment.cause.id, start, "charge"),
            is_event=is_event, created=max(segment.cause.known, start if not is_event else segment.cause.known),
            number=segment.number, cause_id=segment.cause.id, full=segment.full,
            quantity=Decimal(1) if segment.item.quantity is None else segment.item.quantity,
        )  # fmt: skip


def _free(plan: Timeline, segment: Segment, piece: Slice) -> Iterator[_Charge]:
    """Yield the one line of 0 that a free stretch shows; nothing for what is billed in arrears."""
    until = min(filter(None, (segment.end, plan.trial_end)), default=None)
    if until is None or until <= segment.start or segment.price.timing == "in_arrears" or segment.price.usage_type == "metered":
        return
    if piece.since is not None and until <= piece.since:
        return
    yield _Charge(
        segment=segment, item=segment.item, start=segment.start, end=until, share=(0, 1), is_pending=False, is_event=False,
        due=max(segment.start, segment.cause.known), created=segment.start, number=segment.number, cause_id=segment.cause.id,
        key=line_key(plan.contract.id, segment.item.id, segment.cause.id, segment.start, "charge"),
        quantity=Decimal(1) if segment.item.quantity is None else segment.item.quantity,
    )  # fmt: skip


def _one_time(plan: Timeline, one: OneTime, segment: Segment) -> _Charge:
    quantity = Decimal(1) if one.item.quantity is None else one.item.quantity
    due, is_pending = max(one.at, one.cause.known), one.cause.pending
    if is_pending:
        due = next_invoice_after(plan, due)
    return _Charge(
        segment=segment, item=one.item, start=one.at, end=one.at, share=(1, 1), due=due, is_pending=is_pending, is_event=False,
        created=max(one.at, one.cause.known), kind="one_time", number=one.number, cause_id=one.cause.id, quantity=quantity,
        key=line_key(plan.contract.id, one.item.id, one.cause.id, one.at, "one_time"), full=cost(one.item.price, quantity),
    )  # fmt: skip


def _one_time_segment(one: OneTime) -> Segment:
    return Segment(
        item=one.item, price=one.item.price, number=one.number, start=one.at, anchor=one.at, cause=one.cause,
        charge_from=one.at, is_free=False, full=(0, 1),
    )  # fmt: skip


def _all_charges(plan: Timeline, piece: Slice, last: datetime | None) -> Iterator[_Charge]:
    for segment in plan.segments:
        yield from _charges(plan, segment, piece, last)
    for one in plan.one_times:
        if piece.since is None or one.at > piece.since:
            yield _one_time(plan, one, _one_time_segment(one))


# ---------------------------------------------------------------- how much


def _first_use(plan: Timeline, coupon: Coupon, since: datetime, *, is_due: bool, item_id: str | None) -> datetime:
    """Return the first charged start (or due date) at or after *since* of what the coupon covers (memoized)."""
    memo = (f"{coupon.id}/{item_id or ''}/{_stamp(since)}", "due" if is_due else "start")
    if memo in plan.first_uses:
        return plan.first_uses[memo]
    whole = Slice(contract=plan.contract)
    found: list[datetime] = []
    for segment in plan.segments:
        if (item_id is not None and segment.item.id != item_id) or (segment.end is not None and segment.end <= since) or segment.is_free:
            continue
        for charge in _charges(plan, segment, replace(whole, since=since), None):
            if charge.start >= since:
                found.append(charge.due if is_due else charge.start)
                break
    if item_id is None:
        for one in plan.one_times:
            if one.at >= since:
                single = _one_time(plan, one, _one_time_segment(one))
                found.append(single.due if is_due else single.start)
    plan.first_uses[memo] = min(found, default=since)
    return plan.first_uses[memo]


def _is_running(plan: Timeline, coupon: Coupon, since: datetime, charge: _Charge, item_id: str | None) -> bool:
    if coupon.duration == "forever":
        return True
    if coupon.duration == "once":
        return charge.due == _first_use(plan, coupon, since, is_due=True, item_id=item_id)
    first = _first_use(plan, coupon, since, is_due=False, item_id=item_id)
    return charge.start < plus_months(first, coupon.duration_in_months or 0)


def _contract_coupons(plan: Timeline, charge: _Charge) -> tuple[Coupon, ...]:
    log = plan.discounts
    at = max((i for i, (begin, _) in enumerate(log) if begin <= charge.start), default=-1)
    if at < 0:
        return ()
    found = []
    for coupon in log[at][1]:
        since, back = log[at][0], at
        while back > 0 and any(c.id == coupon.id for c in log[back - 1][1]):
            back -= 1
            since = log[back][0]
        if _is_running(plan, coupon, since, charge, None):
            found.append(coupon)
    return tuple(found)


def _item_coupons(plan: Timeline, charge: _Charge) -> tuple[Coupon, ...]:
    found = []
    for coupon in charge.item.discounts:
        segment, since = charge.segment, charge.segment.start
        while segment.previous is not None and coupon in segment.previous.item.discounts:
            segment = segment.previous
            since = segment.start
        if charge.kind == "one_time" or _is_running(plan, coupon, since, charge, charge.item.id):
            found.append(coupon)
    return tuple(found)


def _used(piece: Slice, charge: _Charge) -> Decimal:
    used = (u.quantity for u in piece.usage if u.price == charge.segment.price.id and charge.start <= u.at < charge.end)
    return sum(used, Decimal(0))


def _rates(plan: Timeline, item: Item) -> tuple[TaxRate, ...]:
    rates = item.tax_rates or plan.root.tax_rates
    if item.price.tax_behavior == "inclusive":
        return tuple(r if r.inclusive else replace(r, inclusive=True) for r in rates)
    return rates


def _price(plan: Timeline, piece: Slice, charges: list[_Charge]) -> None:
    """Round each charge once, then take the coupons off, group by group of what falls due together."""
    is_exempt = piece.tax_exempt != "none"
    for charge in charges:
        n, d = charge.full
        if charge.segment.price.usage_type == "metered" and charge.kind == "charge":
            charge.quantity = _used(piece, charge)
            n, d = cost(charge.segment.price, charge.quantity)
            charge.share = (1, 1)
        if is_exempt:
            factor = inclusive_factor(_rates(plan, charge.item))
            n, d = n * factor[0], d * factor[1]
        charge.full = (n, d)
        charge.amount = quotient(n * charge.share[0], d * charge.share[1])
    if not plan.has_coupons and not any(o.item.discounts for o in plan.one_times):
        return
    groups: dict[tuple[datetime, str], list[_Charge]] = {}
    for charge in charges:
        group = (charge.due, charge.cause_id if charge.is_event or charge.is_pending else "")
        groups.setdefault(group, []).append(charge)
    for members in groups.values():
        rows = [
            Discountable(
                left=c.amount, list_left=quotient(*c.full), share=c.share, own=_item_coupons(plan, c),
                shared=_contract_coupons(plan, c), price_id=c.segment.price.id,
            )
            for c in members
            if c.amount > 0
        ]  # fmt: skip
        take_off(rows)
        for charge, row in zip((c for c in members if c.amount > 0), rows, strict=True):
            charge.discounts = tuple(row.given)


def _line(plan: Timeline, charge: _Charge) -> Line:
    price = charge.segment.price
    return Line(
        key=charge.key, contract_id=plan.contract.id, item_id=charge.item.id, price_id=price.id,
        product=price.product or price.id, description=price.description or price.product or price.id, quantity=charge.quantity,
        unit_amount=price.unit_amount, amount=charge.amount, kind=charge.kind, start=charge.start, end=charge.end, due=charge.due,
        is_proration=charge.is_event, change_id=charge.cause_id, discounts=charge.discounts, is_pending=charge.is_pending,
        order=charge.number + (0 if charge.is_pending or charge.is_event else 1_000_000),
    )  # fmt: skip


def _taxed(plan: Timeline, piece: Slice, pairs: list[tuple[Line, Item]]) -> list[Line]:
    """Return the charges with their taxes, rounded per line or per document."""
    if piece.tax_exempt != "none":
        return [line for line, _ in pairs]
    rates = [_rates(plan, item) for _, item in pairs]
    if not any(rates):
        return [line for line, _ in pairs]
    if plan.root.settings.tax_rounding == "invoice":
        taxes = document_taxes([(line.net, r) for (line, _), r in zip(pairs, rates, strict=True)])
    else:
        taxes = [line_taxes(line.net, r) if r else () for (line, _), r in zip(pairs, rates, strict=True)]
    return [replace(line, taxes=t) if t else line for (line, _), t in zip(pairs, taxes, strict=True)]


# ---------------------------------------------------------------- credits


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


def _is_as_agreed(segment: Segment, line: Line) -> bool:
    if segment.is_free:
        return line.amount == 0
    if segment.price.id != line.price_id or segment.price.unit_amount != line.unit_amount:
        return False
    return segment.item.quantity is None or segment.item.quantity == line.quantity


def _cause_now(plan: Timeline, line: Line) -> Cause | None:
    """Return why the time of a charge that is no longer agreed belongs to something else, or to nothing."""
    own = [s for s in plan.segments if s.item.id == line.item_id and s.start <= line.start]
    for segment in own:
        if segment.end is None or line.start < segment.end:
            return segment.cause
    last = max(reversed(own), key=lambda s: s.end or s.start, default=None)
    return last.ended_by if last is not None and last.ended_by is not None else plan.ended_by


def _break(plan: Timeline, line: Line) -> tuple[datetime, Cause] | None:
    """Return where and why the time of a charge stops being its own, None where it keeps all of it."""
    segment = _segment_of(plan, line)
    if segment is None or not _is_as_agreed(segment, line):
        cause = _cause_now(plan, line)
        return (line.start, cause) if cause is not None and cause.prorates else None
    while segment.end is not None and segment.ended_by is not None and segment.end < line.end:
        if segment.ended_by.prorates:
            return max(segment.end, line.start), segment.ended_by
        if segment.next is None:
            return None
        segment = segment.next
    return None


def _credit(plan: Timeline, piece: Slice, debit: _Debit, at: datetime, cause: Cause) -> Line | None:
    """Return the credit for the debit's time from *at* on, at most what is left of it."""
    line, end = debit.line, debit.end
    interval = next((s.price.interval for s in plan.segments if s.item.id == line.item_id), None)
    basis = basis_for(plan.root.settings.proration, interval)
    whole = measure(basis, line.start, line.end, plan.root.timezone)
    part = measure(basis, at, end, plan.root.timezone)
    is_rest = at <= line.start
    if whole <= 0:
        is_rest, part, whole = True, 1, 1

    def mirrored(amount: int, earlier: int) -> int:
        return amount - earlier if is_rest else min(quotient(amount * part, whole), amount - earlier) if amount >= 0 else -quotient(-amount * part, whole)

    amount = mirrored(line.amount, -sum(c.amount for c in debit.credits))
    before: dict[str, int] = {}
    for c in debit.credits:
        for coupon, off in c.discounts:
            before[coupon] = before.get(coupon, 0) - off
    discounts = [(coupon, mirrored(off, before.get(coupon, 0))) for coupon, off in line.discounts]
    net = amount - sum(off for _, off in discounts)
    creditable = line.net - piece.credited.get(line.key, 0) + sum(c.net for c in debit.credits)
    taxed_before: dict[str, int] = {}
    for c in debit.credits:
        for rate, tax, _ in c.taxes:
            taxed_before[rate] = taxed_before.get(rate, 0) - tax
    taxes = [(rate, mirrored(tax, taxed_before.get(rate, 0)), inside) for rate, tax, inside in line.taxes]
    if line.net > 0 and net > creditable:
        over = net - max(0, creditable)
        amount, net_now = amount - over, net - over
        taxes = [(rate, quotient(tax * net_now, net) if net else 0, inside) for rate, tax, inside in taxes]
    if amount == 0:
        return None
    due = max(cause.at, cause.known)  # also for periods that were billed ahead
    if cause.up_front:
        due = max(line.due, cause.made)
    elif cause.pending:
        due = next_invoice_after(plan, cause.known)
    head, _, revision = line.key.rpartition("/charge")
    return Line(
        key=f"{head}/credit{revision}/{cause.id or _stamp(at)}",
        contract_id=line.contract_id, item_id=line.item_id, price_id=line.price_id, product=line.product, description=line.description,
        quantity=line.quantity, unit_amount=line.unit_amount, amount=-amount, kind="credit", start=at, end=end, due=due,
        is_proration=True, change_id=cause.id, credits=line.key, discounts=tuple((c, -off) for c, off in discounts if off),
        taxes=tuple((r, -t, i) for r, t, i in taxes), is_pending=cause.pending and not cause.up_front, order=line.order % 1_000_000,
    )  # fmt: skip


def _credits(plan: Timeline, piece: Slice, debits: list[Line]) -> list[tuple[Line, datetime]]:
    """Return the credits that the changes ask for and that are not facts, each with the instant it was created."""
    against: dict[str, list[Line]] = {}
    for fact in piece.facts:
        if fact.credits is not None:
            against.setdefault(fact.credits, []).append(fact)
    out = []
    for line in debits:
        if line.amount == 0:
            continue
        found = _break(plan, line)
        if found is None:
            continue
        debit = _Debit(line=line, credits=against.get(line.key, []))
        at, cause = found
        if at >= debit.end and line.start != line.end:
            continue
        credit = _credit(plan, piece, debit, at, cause)
        if credit is not None:
            out.append((credit, cause.known))
    return out


# ---------------------------------------------------------------- propose, subtract, emit


def _revised(charge: _Charge, known: Mapping[str, Line], taken_back: Set[str]) -> str | None:
    """Return the key under which a charge is new, None where a fact stands for it as agreed now.

    A fact that was credited from its first day on stands no more, even if what was agreed then is agreed again.
    """
    key, revision = charge.key, 0
    is_fixed = charge.kind == "one_time" or charge.segment.price.usage_type == "metered"
    while key in known:
        if is_fixed or (key not in taken_back and _is_as_agreed(charge.segment, known[key])):
            return None
        revision += 1
        key = f"{charge.key}/r{revision}"
    return key


def _has_events(plan: Timeline) -> bool:
    return any(s.ended_by is not None for s in plan.segments)


def proposed_on(plan: Timeline, piece: Slice, until: datetime) -> list[Line]:
    """Return what `proposed` does, for a timeline that was drawn already."""
    known = {f.key: f for f in piece.facts}
    taken_back = {f.credits for f in piece.facts if f.credits is not None and f.credits in known and f.start <= known[f.credits].start}
    fresh: list[_Charge] = []
    for charge in _all_charges(plan, piece, until):
        if charge.created > until and charge.due > until:
            continue
        if known and charge.key in known:
            key = _revised(charge, known, taken_back)
            if key is None:
                continue
            charge.key = key
        fresh.append(charge)
    _price(plan, piece, fresh)
    pairs = _with_taxes(plan, piece, fresh, until)
    lines = [(line, charge.created) for line, charge in pairs]
    if _has_events(plan):
        debits = [f for f in piece.facts if f.kind == "charge"] + [line for line, _ in pairs if line.kind == "charge"]
        lines += [(c, created) for c, created in _credits(plan, piece, debits) if c.key not in known]
    ready = [line for line, _ in lines if line.due <= until]
    if ready:
        ready += [line for line, created in lines if line.is_pending and line.due > until and created <= until]
    return sorted(ready, key=lambda line: (line.order, line.start, line.kind == "charge", line.key))


def _with_taxes(plan: Timeline, piece: Slice, charges: list[_Charge], until: datetime) -> list[tuple[Line, _Charge]]:
    lines = [_line(plan, c) for c in charges]
    billed = [i for i, c in enumerate(charges) if c.due <= until or c.is_pending]
    taxed = _taxed(plan, piece, [(lines[i], charges[i].item) for i in billed])
    for i, line in zip(billed, taxed, strict=True):
        lines[i] = line
    return list(zip(lines, charges, strict=True))


def proposed(piece: Slice, until: datetime) -> list[Line]:
    """Return the lines that should exist up to *until* (local) and do not stand in the facts, in the order of an invoice."""
    return proposed_on(timeline(piece.contract, horizon=until), piece, until)


def next_due_on(plan: Timeline, piece: Slice, after: datetime) -> datetime | None:
    """Return what `next_due` does, for a timeline that was drawn already."""
    known = {f.key for f in piece.facts}
    found: list[datetime] = []
    for segment in plan.segments:
        if segment.end is not None and segment.end <= after and segment.price.timing == "in_advance":
            continue
        if plan.prebills or segment.cause.is_event or segment.is_free or _is_slow(segment):
            charges = _charges(plan, segment, piece, None)
            found.extend(itertools.islice((c.due for c in charges if c.due > after and c.key not in known), 1))
        elif segment.price.interval is not None:
            start, earliest = segment.charge_from, segment.cause.made if segment.cause.id else plan.entered
            if start <= after and earliest <= after:
                start = next_boundary(segment.anchor, segment.price.interval, after)
            if segment.end is None or start < segment.end:
                found.append(max(start, earliest))
    for segment in plan.segments:
        for cause in (segment.cause, segment.ended_by):
            if cause is not None and cause.id:
                due = next_invoice_after(plan, cause.known) if cause.pending else cause.known
                found.append(due)
            elif cause is not None and cause.is_event:
                found.append(next_invoice_after(plan, cause.known) if cause.pending else cause.known)
    found.extend(_one_time(plan, o, _one_time_segment(o)).due for o in plan.one_times)
    if plan.term_end is not None:
        found.append(plan.term_end)
    return min((f for f in found if f > after), default=None)


def _is_slow(segment: Segment) -> bool:
    return segment.price.timing == "in_arrears" or segment.price.usage_type == "metered"


def next_due(piece: Slice, after: datetime) -> datetime | None:
    """Return when the next line may become due after *after* (local); None: never again. It may be a date with nothing to bill."""
    return next_due_on(timeline(piece.contract, horizon=after), piece, after)


def window_start(contract: Contract, billed_until: datetime | None, new_changes: tuple[Change, ...] = ()) -> datetime | None:
    """Return where the window of a billing run begins: facts that end after it must be loaded (decision D-10).

    billed_until - the contract's next due instant (local): all lines due before it were billed. None: load everything.
    """
    if billed_until is None:
        return None
    terms = contract.terms
    if not contract.changes and not new_changes and _is_plain(contract):
        return billed_until if billed_until > terms.start else billed_until - MICROSECOND
    plan = timeline(contract, horizon=billed_until)
    starts = [billed_until, *(to_local(c.effective, terms.timezone) for c in new_changes)]
    for segment in plan.segments:
        for cause in (segment.cause, segment.ended_by):  # what a change asked for may still wait for its invoice
            if cause is not None and (next_invoice_after(plan, cause.known) if cause.pending else cause.known) >= billed_until:
                starts.append(cause.at)
        interval = segment.price.interval
        if interval is None or segment.start > billed_until or (segment.end is not None and segment.end < billed_until):
            continue
        starts.append(boundary(segment.anchor, interval, index(segment.anchor, interval, billed_until - MICROSECOND)))
    starts += [o.at for o in plan.one_times if o.cause.pending and next_invoice_after(plan, max(o.at, o.cause.known)) >= billed_until]
    return min(starts).replace(hour=0, minute=0, second=0, microsecond=0) - MICROSECOND


def _is_plain(contract: Contract) -> bool:
    phases = contract.terms.phases
    if len(phases) != 1 or contract.terms.prebill is not None or contract.terms.trial_end is not None:
        return False
    items = phases[0].items
    return all(
        i.price.timing == "in_advance" and i.price.usage_type == "licensed" and i.trial is None and (i.price.interval is not None or i.start is None)
        for i in items
    ) and all(i.start is None for i in phases[0].add_invoice_items)


def priced_charges(piece: Slice) -> list[Line]:
    """Return the first charge of every item, priced, discounted and taxed, whenever it falls due."""
    plan = timeline(piece.contract)
    first = [c for c in (next(_charges(plan, s, piece, None), None) for s in plan.segments) if c is not None]
    _price(plan, piece, first)
    return _taxed(plan, piece, [(_line(plan, c), c.item) for c in first])


def contract_status(contract: Contract, on: datetime, *, has_overdue: bool) -> str:
    """Return the contract's status word on *on* (local): withdrawn, scheduled, trialing, active, past_due, paused, canceled, completed."""
    if contract.withdrawn:
        return "withdrawn"
    plan = timeline(contract, horizon=on)
    if on < contract.terms.start:
        return "scheduled"
    if plan.end is not None and plan.end <= on:
        kinds = {c.id: c for c in contract.changes}
        cause = kinds.get(plan.ended_by.id) if plan.ended_by is not None else None
        return "canceled" if cause is not None and cause.kind == "cancel" and cause.when != "term_end" else "completed"
    if any(start <= on and (end is None or on < end) for start, end, _ in plan.pauses):
        return "paused"
    running = [s for s in plan.segments if s.start <= on and (s.end is None or on < s.end)]
    if running and all(s.is_free or (s.price is not s.item.price and s.full[0] == 0) for s in running):
        return "trialing"
    return "past_due" if has_overdue else "active"
