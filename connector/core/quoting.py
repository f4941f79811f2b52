"""What a contract is worth and what it will be billed, by the very functions that bill it: a preview equals the invoice.

Worked example: 3 seats at 30.00 a month for a year are worth 1080.00; adding 2 on the first day of month 7 changes that by
360.00.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from connector.core.invoicing import Line, Slice, next_due_on, priced_charges, proposed_on
from connector.core.lines import Given
from connector.core.money import quotient
from connector.core.period import Interval, boundary, index, plus_months, to_local, to_utc
from connector.core.proration import share
from connector.core.schedule import changes_in_order, drawn, timeline
from connector.core.segments import ALWAYS, Cut, Segment, Term, Timeline
from connector.core.settlement import Account, CustomerState, Invoice, advance
from connector.core.terms import Change, Contract, ContractTerms, Coupon, Item, Phase

_MAX_RUNS = 2_000  # bound of a preview: more dates without an invoice in a row than any contract has
_QUIET_MONTHS = 12 * 30  # a contract without an invoice for so long is over for a preview: paused for good, and renewing itself
_LOOKS_AHEAD = 24  # invoices in which the first trace of a change is looked for
MAX_STAGES = 60  # stretches of other prices or quantities that a quote lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """An amount before discounts and tax, and after both, in minor units; *tax* holds inclusive taxes too."""

    subtotal: int
    total: int
    discount: int = 0
    tax: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What runs from *start* on (local; *end* None: nothing ends it): (interval, line of one whole period) of every item."""

    start: datetime
    end: datetime | None
    lines: tuple[tuple[Interval, Line], ...]

    @property
    def periods(self) -> tuple[tuple[Interval, Totals], ...]:
        """Return what one period costs, by interval, the shortest first."""
        found: dict[Interval, list[Line]] = {}
        for interval, line in self.lines:
            found.setdefault(interval, []).append(line)
        ordered = sorted(found, key=lambda i: boundary(self.start, i, 1))
        return tuple((interval, totals_of(found[interval])) for interval in ordered)


def totals_of(lines: Iterable[Line]) -> Totals:
    """Return what lines add up to, as an invoice of them would."""
    subtotal = discount = tax = total = 0
    for line in lines:
        subtotal += line.amount
        discount += line.amount - line.net
        tax += sum(t[1] for t in line.taxes)
        total += line.gross
    return Totals(subtotal=subtotal, total=total, discount=discount, tax=tax)


def _percent_only(plan: Timeline) -> tuple[Coupon, ...] | None:
    """Return the contract's coupons where each line is discounted alike in every period, None where it is not."""
    if len(plan.discounts) > 1:
        return None
    shared = plan.discounts[0][1] if plan.discounts else ()
    every = list(shared) + [c for s in plan.segments for c in s.item.discounts]
    return shared if all(c.duration == "forever" and c.percent_off is not None for c in every) else None


def _discounted(amount: int, segment: Segment, shared: tuple[Coupon, ...]) -> int:
    for coupon in (*segment.item.discounts, *shared):
        if (
            coupon.percent_off is not None
            and amount > 0
            and (not coupon.applies_to or segment.price.id in coupon.applies_to or segment.price.product in coupon.applies_to)
        ):
            n, d = coupon.percent_off.as_integer_ratio()
            amount -= quotient(amount * n, d * 100)
    return amount


def _segment_value(plan: Timeline, segment: Segment, until: datetime, shared: tuple[Coupon, ...]) -> int:
    """Return the value of a segment up to *until*: its whole periods times their price, and the parts at both ends."""
    interval, begin = segment.price.interval, segment.charge_from
    end = until if segment.end is None else min(until, segment.end)
    if segment.item.end is not None:
        end = min(end, segment.item.end)
    if interval is None or begin >= end or segment.is_free or segment.item.quantity is None:
        return 0
    first, last = index(segment.anchor, interval, begin), index(segment.anchor, interval, end)
    low, high = boundary(segment.anchor, interval, first), boundary(segment.anchor, interval, last)
    whole = last - first - (1 if begin > low and last > first else 0)
    n, d = segment.full
    value = whole * _discounted(quotient(n, d), segment, shared) if whole > 0 else 0
    parts: list[tuple[datetime, datetime, datetime]] = []
    if begin > low:
        parts.append((low, begin, min(end, boundary(segment.anchor, interval, first + 1))))
    if end > high and (last > first or begin == low):
        parts.append((high, max(begin, high), end))
    for start, part_start, part_end in parts:
        full = (start, boundary(segment.anchor, interval, index(segment.anchor, interval, start) + 1))
        sn, sd = share(plan.root.settings.proration, (part_start, part_end), full, interval, plan.root.timezone)
        value += _discounted(quotient(n * sn, d * sd), segment, shared)
    return value


def _lines_until(plan: Timeline, piece: Slice, until: datetime) -> Iterator[Line]:
    """Yield all lines, credits included, that cover time before *until*, however late they fall due."""
    longest = max(
        (s.price.interval for s in plan.segments if s.price.interval), key=lambda i: boundary(until, i, 1), default=None
    )
    horizon = until if longest is None else boundary(until, longest, 1)
    for line in proposed_on(plan, piece, horizon):
        if line.start < until:
            yield line


def _value(contract: Contract, start: datetime | None, until: datetime | None, given: tuple[Given, ...]) -> int:
    plan = drawn(contract, horizon=until)
    term = plan.terms[0] if plan.terms else None
    if term is None:
        return 0
    stop = until or term.end or plus_months(term.start, 12)
    shared = _percent_only(plan)
    is_simple = (
        start is None
        and not given
        and not plan.one_times
        and shared is not None
        and all(s.ended_by is None or s.end >= stop for s in plan.segments if s.end)
    )
    if is_simple and shared is not None and not any(s.item.trial for s in plan.segments):
        return sum(_segment_value(plan, s, stop, shared) for s in plan.segments)
    plan.cuts.append(Cut(at=stop, known=ALWAYS))
    lines = _lines_until(plan, Slice(contract=contract, given=given), stop)
    return sum(line.net for line in lines if start is None or line.start >= start)


def contract_value(contract: Contract, *, given: tuple[Given, ...] = ()) -> int:
    """Return what was signed first is worth: its term before tax, after discounts, without later changes (open-ended: 12 months).

    given - the discounts that it inherits from its customer.
    """
    return _value(replace(contract, changes=()), None, None, given)


def annual_value(contract: Contract, *, edits: tuple[Change, ...] = (), given: tuple[Given, ...] = ()) -> int:
    """Return the recurring value of the first 12 months as signed, a shorter term scaled up to 12 months.

    edits - amendments that count as if they had been signed so (decision D-115).
    """
    root = replace(contract, changes=edits)
    plan = timeline(root)
    if not plan.terms:
        return 0
    term = plan.terms[0]
    year = plus_months(term.start, 12)
    stop = year if term.end is None else min(year, term.end)
    value = _value(replace(root, terms=_recurring_only(root.terms)), None, stop, given)
    if stop == year:
        return value
    days = stop.toordinal() - term.start.toordinal()
    return quotient(value * (year.toordinal() - term.start.toordinal()), max(1, days))


def _recurring_only(terms: ContractTerms) -> ContractTerms:
    def kept(phase: Phase) -> Phase:
        return replace(phase, add_invoice_items=(), items=tuple(i for i in phase.items if i.price.interval is not None))

    return replace(terms, phases=tuple(kept(p) for p in terms.phases))


def _span(contract: Contract, change_id: str) -> tuple[Term | None, datetime, datetime]:
    """Return the term that a change made or falls in, and the stretch over which it is valued."""
    change = next(c for c in contract.changes if c.id == change_id)
    effective = max(to_local(change.effective, contract.terms.timezone), contract.terms.start)
    terms = timeline(contract, horizon=effective).terms
    made = next((t for t in terms if t.change_id == change_id), None)
    if made is not None:
        return made, made.start, made.end or plus_months(made.start, 12)
    within = next((t for t in reversed(terms) if t.start <= effective), terms[0])
    return None, within.start, within.end or plus_months(effective, 12)


def change_value(contract: Contract, change_id: str, *, given: tuple[Given, ...] = ()) -> int:
    """Return by how much a change moved the contract's value: a renewal by its whole term, others up to the end of their term.

    The changes after it do not count. Tax is left out. Negative where it takes value away.
    """
    ordered = changes_in_order(contract)
    at = next(i for i, c in enumerate(ordered) if c.id == change_id)
    before = replace(contract, changes=tuple(ordered[:at]))
    after = replace(contract, changes=tuple(ordered[: at + 1]))
    made, start, stop = _span(after, change_id)
    if made is not None:
        return _value(after, start, stop, given)
    old_stop = timeline(before, horizon=stop).terms[-1].end
    reach = max(stop, plus_months(start, 12) if old_stop is None else old_stop)  # open-ended counts as 12 months
    return _value(after, None, reach, given) - _value(before, None, reach, given)


def upcoming(piece: Slice, customer: CustomerState, n: int, *, after: datetime | None = None) -> tuple[Invoice, ...]:
    """Return the next *n* invoices as billing on time would make them, from what is due after *after* (local) on.

    after - None: just before the contract starts.
    """
    zone = piece.contract.terms.timezone
    account = Account(customer=customer, slices=(piece,))
    at = after if after is not None else piece.contract.terms.start - timedelta(microseconds=1)
    found: list[Invoice] = []
    last = max([at, *(to_local(c.effective, zone) for c in piece.contract.changes)])
    for _ in range(_MAX_RUNS):
        horizon = plus_months(at, 12 * 5)
        due = next_due_on(timeline(account.slices[0].contract, horizon=horizon), account.slices[0], at)
        if due is None or len(found) >= n or due > plus_months(last, _QUIET_MONTHS):
            break
        account, events = advance(account, to_utc(due, zone))
        made = [e.invoice for e in events if e.kind == "invoice.finalized"]
        found.extend(made)
        at = due
        last = max(last, at) if made else last
    return tuple(found[:n])


def per_period(contract: Contract, customer: CustomerState, on: datetime) -> dict[Interval, int]:
    """Return what a whole period of everything that runs on *on* (local) costs, by interval, tax and lasting discounts included.

    Before the contract starts: what runs on its first day. A contract that is over costs nothing.
    """
    plan = drawn(contract, horizon=on)
    at = max(on, contract.terms.start)
    if plan.end is not None and plan.end <= at:
        return {}
    return {interval: totals.total for interval, totals in _stage(contract, customer, (at, None), plan).periods}


def _lasting(coupons: Iterable[Coupon]) -> tuple[Coupon, ...]:
    return tuple(c for c in coupons if c.duration == "forever")


def _plain(item: Item) -> Item:
    return replace(item, start=None, end=None, trial=None, discounts=_lasting(item.discounts))


def _stage(contract: Contract, customer: CustomerState, span: tuple[datetime, datetime | None], plan: Timeline) -> Stage:
    """Return one whole period of everything that runs from the start of *span* on, with the discounts that hold for good."""
    start, end = span
    running = [s for s in plan.segments if s.start <= start and (s.end is None or start < s.end)]
    items = {s.item.id: s.item for s in sorted(running, key=lambda s: s.number) if _is_flat(s)}
    coupons = next((c for at, c in reversed(plan.discounts) if at <= start), contract.terms.discounts)
    head = Phase(start=start, items=tuple(_plain(i) for i in items.values()))
    terms = replace(
        contract.terms, start=start, phases=(head,), discounts=_lasting(coupons), anchor=None, trial_end=None, prebill=None,
        entered_at=None, end_behavior="release",
    )  # fmt: skip
    whole = Contract(id=contract.id, terms=terms, customer_id=contract.customer_id)
    given = [g for g in customer.given if g.coupon.duration == "forever" and g.since <= start] if plan.is_inheriting(start) else []
    whole_slice = Slice(contract=whole, tax_exempt=customer.tax_exempt, rates=customer.rates, given=tuple(given))
    priced = priced_charges(whole_slice) if items else []
    lines = [(items[line.item_id].price.interval, line) for line in priced]
    return Stage(start=start, end=end, lines=tuple((i, line) for i, line in lines if i is not None))


def _is_flat(segment: Segment) -> bool:
    """Whether a period of it costs the same whatever is used."""
    return segment.item.price.interval is not None and segment.item.quantity is not None and segment.item.price.usage_type != "metered"


def stages(contract: Contract, customer: CustomerState, *, since: datetime | None = None) -> tuple[Stage, ...]:
    """Return what a period costs from *since* (local; None: the start) on, stretch by stretch while the agreed terms run.

    Trials and discounts that end count nowhere, so that a stage is what is paid for good; equal neighbours are one.
    """
    plan = timeline(contract)
    first = max(contract.terms.start, since or contract.terms.start)
    inside = [s for s in plan.segments if _is_flat(s) and (s.end is None or s.end > first)]
    starts = sorted({max(first, s.start) for s in inside})[:MAX_STAGES]
    ends = [s.end for s in inside if s.end is not None] + ([plan.end] if plan.end is not None else [])
    found: list[Stage] = []
    for at in starts:
        end = min([x for x in (*starts, *ends) if x > at], default=None)
        stage = _stage(contract, customer, (at, end), plan)
        if found and found[-1].end == at and _same(found[-1], stage):
            found[-1] = replace(found[-1], end=end)
        else:
            found.append(stage)
    return tuple(found)


def _same(one: Stage, other: Stage) -> bool:
    def figures(stage: Stage) -> list[object]:
        return [(i, x.item_id, x.quantity, x.unit_amount, x.amount, x.discounts, x.taxes) for i, x in stage.lines]

    return figures(one) == figures(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """What a quote comes to: *upfront* on its first invoice, *stages* what is paid for good from then on, *value* of the term before tax.

    Of a change, *upfront* is the difference that it makes on the first invoice it touches, and *value* that of the contract.
    """

    upfront: Totals
    stages: tuple[Stage, ...]
    value: int

    @property
    def recurring(self) -> Totals:
        """Return what one period of everything costs that runs at first."""
        return totals_of(line for _, line in self.stages[0].lines) if self.stages else Totals(subtotal=0, total=0)


def quoted(contract: Contract, customer: CustomerState) -> Quoted:
    """Return what a new contract comes to, billed on time."""
    first = upcoming(Slice(contract=contract), replace(customer, balances={}), 1)
    upfront = totals_of(first[0].lines) if first else Totals(subtotal=0, total=0)
    return Quoted(upfront=upfront, stages=stages(contract, customer), value=contract_value(contract, given=customer.given))


def quoted_change(piece: Slice, change: Change, customer: CustomerState) -> Quoted:
    """Return what a change of a running contract comes to, made and billed at its `made_at` (local)."""
    zone = piece.contract.terms.timezone
    after = replace(piece.contract, changes=(*piece.contract.changes, change))
    plain, at = replace(customer, balances={}), change.made_at - timedelta(microseconds=1)
    old = {i.created_at: i.lines for i in upcoming(piece, plain, _LOOKS_AHEAD, after=at)}
    new = {i.created_at: i.lines for i in upcoming(replace(piece, contract=after), plain, _LOOKS_AHEAD, after=at)}
    upfront = Totals(subtotal=0, total=0)
    for on in sorted(old.keys() | new.keys()):
        was, becomes = totals_of(old.get(on, ())), totals_of(new.get(on, ()))
        if {x.key: x.gross for x in old.get(on, ())} != {x.key: x.gross for x in new.get(on, ())}:
            upfront = Totals(
                subtotal=becomes.subtotal - was.subtotal, total=becomes.total - was.total, discount=becomes.discount - was.discount,
                tax=becomes.tax - was.tax,
            )  # fmt: skip
            break
    made, start, _ = _span(after, change.id)
    since = start if made is not None else to_local(change.effective, zone)
    return Quoted(upfront=upfront, stages=stages(after, customer, since=since), value=change_value(after, change.id, given=customer.given))
