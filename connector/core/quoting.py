"""What a contract is worth and what it will be billed, by the very functions that bill it: a preview equals the invoice.

Worked example: 3 seats at 30.00 a month for a year are worth 1080.00; adding 2 on the first day of month 7 changes that by
360.00.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from connector.core.invoicing import Line, Slice, next_due_on, priced_charges, proposed_on
from connector.core.money import quotient
from connector.core.period import boundary, index, plus_months, to_local, to_utc
from connector.core.proration import share
from connector.core.schedule import changes_in_order, drawn, timeline
from connector.core.segments import ALWAYS, Cut, Segment, Term, Timeline
from connector.core.settlement import Account, CustomerState, Invoice, advance
from connector.core.terms import Change, Contract, ContractTerms, Coupon, Interval, Phase

_MAX_RUNS = 2_000  # bound of a preview: more dates without an invoice in a row than any contract has


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """An amount before discounts and tax, and after both, in minor units."""

    subtotal: int
    total: int


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
            and (not coupon.applies_to or segment.price.id in coupon.applies_to)
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


def _value(contract: Contract, start: datetime | None, until: datetime | None, *, has_one_time: bool = True) -> int:
    plan = drawn(contract, horizon=until)
    term = plan.terms[0] if plan.terms else None
    if term is None:
        return 0
    stop = until or term.end or plus_months(term.start, 12)
    shared = _percent_only(plan)
    is_simple = (
        start is None
        and not plan.one_times
        and shared is not None
        and all(s.ended_by is None or s.end >= stop for s in plan.segments if s.end)
    )
    if is_simple and shared is not None and not any(s.item.trial for s in plan.segments):
        return sum(_segment_value(plan, s, stop, shared) for s in plan.segments)
    plan.cuts.append(Cut(at=stop, known=ALWAYS))
    lines = _lines_until(plan, Slice(contract=contract), stop)
    return sum(
        line.net
        for line in lines
        if (start is None or line.start >= start) and (has_one_time or line.kind != "one_time")
    )


def contract_value(contract: Contract) -> int:
    """Return what was signed first is worth: its term before tax, after discounts, without later changes (open-ended: 12 months)."""
    return _value(replace(contract, changes=()), None, None)


def annual_value(contract: Contract, *, edits: tuple[Change, ...] = ()) -> int:
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
    value = _value(replace(root, terms=_recurring_only(root.terms)), None, stop)
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


def change_value(contract: Contract, change_id: str) -> int:
    """Return by how much a change moved the contract's value: a renewal by its whole term, others up to the end of their term.

    The changes after it do not count. Tax is left out. Negative where it takes value away.
    """
    ordered = changes_in_order(contract)
    at = next(i for i, c in enumerate(ordered) if c.id == change_id)
    before = replace(contract, changes=tuple(ordered[:at]))
    after = replace(contract, changes=tuple(ordered[: at + 1]))
    made, start, stop = _span(after, change_id)
    if made is not None:
        return _value(after, start, stop)
    old_stop = timeline(before, horizon=stop).terms[-1].end
    reach = max(stop, plus_months(start, 12) if old_stop is None else old_stop)  # open-ended counts as 12 months
    return _value(after, None, reach) - _value(before, None, reach)


def upcoming(piece: Slice, customer: CustomerState, n: int, *, after: datetime | None = None) -> tuple[Invoice, ...]:
    """Return the next *n* invoices as billing on time would make them, from what is due after *after* (local) on.

    after - None: just before the contract starts.
    """
    zone = piece.contract.terms.timezone
    account = Account(customer=customer, slices=(piece,))
    at = after if after is not None else piece.contract.terms.start - timedelta(microseconds=1)
    found: list[Invoice] = []
    for _ in range(_MAX_RUNS):
        horizon = plus_months(at, 12 * 5)
        due = next_due_on(timeline(account.slices[0].contract, horizon=horizon), account.slices[0], at)
        if due is None or len(found) >= n:
            break
        account, events = advance(account, to_utc(due, zone))
        found.extend(e.invoice for e in events if e.kind == "invoice.finalized")
        at = due
    return tuple(found[:n])


def per_period(contract: Contract, customer: CustomerState, on: datetime) -> dict[Interval, int]:
    """Return what a whole period of everything that runs on *on* (local) costs, by interval, tax and lasting discounts included.

    Before the contract starts: what runs on its first day. A contract that is over costs nothing.
    """
    plan = drawn(contract, horizon=on)
    at = max(on, contract.terms.start)
    if plan.end is not None and plan.end <= at:
        return {}
    coupons = next((c for since, c in reversed(plan.discounts) if since <= at), ())
    running = [s for s in plan.segments if s.price.interval is not None and s.start <= at and (s.end is None or s.end > at)]
    items = tuple(
        replace(s.item, id=f"{n}", start=None, end=None, trial=None, discounts=tuple(c for c in s.item.discounts if c.duration == "forever"))
        for n, s in enumerate(running)
    )
    plain = ContractTerms(
        currency=contract.terms.currency, timezone=contract.terms.timezone, settings=contract.terms.settings, start=at,
        phases=(Phase(start=at, items=items),), discounts=tuple(c for c in coupons if c.duration == "forever"),
        tax_rates=contract.terms.tax_rates,
    )  # fmt: skip
    found: dict[Interval, int] = {}
    if not items:
        return found
    lines = priced_charges(Slice(contract=Contract(id="", terms=plain), tax_exempt=customer.tax_exempt, rates=customer.rates))
    by_id = {i.id: i.price.interval for i in items}
    for line in lines:
        interval = by_id[line.item_id]
        if interval is not None:
            found[interval] = found.get(interval, 0) + line.gross
    return found


def quote_totals(contract: Contract, customer: CustomerState) -> tuple[Totals, Totals]:
    """Return what is due at the start (one-time lines included) and what each later period costs."""
    first = upcoming(Slice(contract=contract), replace(customer, balances={}), 1)
    upfront = Totals(subtotal=first[0].subtotal, total=first[0].total) if first else Totals(subtotal=0, total=0)
    terms = _recurring_only(contract.terms)

    def lasting(coupons: tuple[Coupon, ...]) -> tuple[Coupon, ...]:
        return tuple(c for c in coupons if c.duration == "forever")

    head = terms.phases[0]
    items = tuple(replace(i, discounts=lasting(i.discounts), trial=None) for i in head.items)
    head = replace(
        head, items=items, discounts=None if head.discounts is None else lasting(head.discounts), trial=False
    )
    plain = replace(
        terms,
        phases=(head,),
        discounts=lasting(terms.discounts),
        anchor=None,
        trial_end=None,
        prebill=None,
        entered_at=None,
    )
    whole = replace(contract, terms=plain, changes=())
    lines = priced_charges(Slice(contract=whole, tax_exempt=customer.tax_exempt, rates=customer.rates))
    return upfront, Totals(subtotal=sum(line.amount for line in lines), total=sum(line.gross for line in lines))
