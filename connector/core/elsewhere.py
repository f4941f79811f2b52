"""What another system billed of a contract before it came to us, as lines: the native ones up to the day it billed through.

The contract is agreed from its real start. What it would have billed by itself up to then is proposed and kept as facts that no
invoice of ours bears, so that the engine goes on from there: nothing is billed twice, the next period is due on its day, and
a later change credits what was billed.

Worked example: 30.00 a month and 600.00 a year from 1 January, billed through 30 June. Facts are the months to June and the year,
which was billed in advance with its first day; July is due on 1 July, the next year on 1 January.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from connector.core.amounts import first_use
from connector.core.invoicing import proposed_on
from connector.core.lines import Line, Slice
from connector.core.money import quotient
from connector.core.period import MICROSECOND, Interval, boundary, index, is_boundary, months_between, plus_months
from connector.core.schedule import timeline
from connector.core.segments import Segment, Timeline
from connector.core.terms import Contract, ContractTerms, Coupon, Item
from connector.errors import Problem, Where


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledThrough:
    """How far another system billed a contract before it came to us; instants are local and the first that it did not bill.

    at - of every item that *items* (by id) does not name; None: nothing. amounts - net of discounts and of tax on top, in minor
    units, what it billed of an item's last period, by item id, where that is not the agreed price. months_left - how many months
    from then on a repeating coupon still holds, by coupon id.
    """

    at: datetime | None = None
    items: tuple[tuple[str, datetime], ...] = ()
    amounts: tuple[tuple[str, int], ...] = ()
    months_left: tuple[tuple[str, int], ...] = ()

    @property
    def last(self) -> datetime | None:
        """Return the latest of all instants, None where nothing was billed."""
        return max([*([] if self.at is None else [self.at]), *(at for _, at in self.items)], default=None)

    def of(self, item_id: str) -> datetime | None:
        """Return how far an item was billed, None where nothing of it was."""
        return dict(self.items).get(item_id, self.at)


def through_to_data(through: BilledThrough) -> dict[str, Any]:
    """Return how far another system billed as a JSON-able dict."""
    return {
        "at": through.at.isoformat() if through.at else None, "items": {i: at.isoformat() for i, at in through.items},
        "amounts": dict(through.amounts), "months_left": dict(through.months_left),
    }  # fmt: skip


def through_from_data(data: Mapping[str, Any]) -> BilledThrough:
    """Return what `through_to_data` wrote."""
    return BilledThrough(
        at=datetime.fromisoformat(data["at"]) if data["at"] else None,
        items=tuple([(i, datetime.fromisoformat(at)) for i, at in data["items"].items()]),
        amounts=tuple(data["amounts"].items()), months_left=tuple(data["months_left"].items()),
    )  # fmt: skip


def billed_elsewhere(piece: Slice, through: BilledThrough) -> list[Line]:
    """Return the lines that another system billed of a contract without facts or changes, in the order of an invoice.

    In advance a period was billed if it begins before the instant, so that a longer one than the contract's shortest may go on
    beyond it; in arrears if it ends by then.
    """
    last = through.last
    if last is None:
        return []
    plan = timeline(piece.contract, horizon=last)
    arrears = {s.price.id for s in plan.segments if s.price.timing == "in_arrears" or s.price.usage_type == "metered"}
    kept = [line for line in proposed_on(plan, piece, last) if _was_billed(line, through.of(line.item_id), is_late=line.price_id in arrears)]
    return _with_amounts(kept, through)


def _was_billed(line: Line, at: datetime | None, *, is_late: bool) -> bool:
    if at is None:
        return False
    return line.end <= at if is_late and line.end > line.start else line.start < at and line.due < at


def _with_amounts(lines: Sequence[Line], through: BilledThrough) -> list[Line]:
    """Return the lines, the last charge of an item at what was billed of it where that is said; its taxes in the same share."""
    out = list(lines)
    for item_id, amount in through.amounts:
        own = [n for n, line in enumerate(out) if line.item_id == item_id and line.kind == "charge"]
        if own:
            place = max(own, key=lambda n: out[n].start)
            line = out[place]
            taxes = tuple((rate, quotient(tax * amount, line.net) if line.net else 0, inside) for rate, tax, inside in line.taxes)
            out[place] = replace(line, amount=amount, discounts=(), taxes=taxes)
    return out


# ---------------------------------------------------------------- what is impossible


def through_problems(contract: Contract, through: BilledThrough) -> list[Problem]:
    """Return why a contract cannot have been billed so far; `where.field` names the item, "" for the whole contract."""
    found: list[Problem] = []
    last = through.last
    plan = timeline(contract, horizon=last)
    known = {s.item.id for s in plan.segments} | {o.item.id for o in plan.one_times}
    named = dict.fromkeys([*(i for i, _ in through.items), *(i for i, _ in through.amounts)])
    hint = f"It has: {', '.join(sorted(known))}."
    found += [_problem("unknown-item", i, f"The contract has no item {i!r}.", hint) for i in named if i not in known]
    for item_id, at in [("", through.at), *through.items]:
        if at is None or (item_id and item_id not in known):
            continue
        own = [s for s in plan.segments if not item_id or s.item.id == item_id]
        problem = _before_start(contract, item_id, at) or _off_grid(plan, own, item_id, at)
        if problem is not None:
            found.append(problem)
    for item_id, amount in through.amounts:
        if amount < 0:
            found.append(_problem("negative-amount", item_id, f"What was billed of {item_id} is {amount}.", "Write what the customer was billed."))
        elif item_id in known and through.of(item_id) is None:
            text = f"An amount is said that was billed of {item_id}, but not through which day."
            found.append(_problem("amount-without-day", item_id, text, "Fill billed_through."))
    return found


def _problem(code: str, item_id: str, message: str, hint: str) -> Problem:
    return Problem(code=code, message=message, hint=hint, where=Where(field=item_id))


def _named(item_id: str) -> str:
    return f"The item {item_id}" if item_id else "The contract"


def _before_start(contract: Contract, item_id: str, at: datetime) -> Problem | None:
    start = contract.terms.start
    if at > start:
        return None
    through, first = (at - MICROSECOND).date().isoformat(), start.date().isoformat()
    return _problem(
        "billed-before-start", item_id, f"{_named(item_id)} was billed through {through}, but the contract starts on {first}.",
        "Leave billed_through blank where nothing was billed, or correct the start.",
    )  # fmt: skip


def _off_grid(plan: Timeline, own: Sequence[Segment], item_id: str, at: datetime) -> Problem | None:
    """Return the problem of an instant at which no period of what runs there begins or ends."""
    running = [s for s in own if s.start < at and (s.end is None or at <= s.end) and s.price.interval is not None]
    ends = {i for s in running for i in (s.end, s.item.end)} | {c.at for c in plan.cuts}
    if not running or at in ends or any(s.is_free or is_boundary(s.anchor, s.price.interval, at) for s in running if s.price.interval):
        return None
    shortest = min(running, key=lambda s: boundary(s.anchor, s.price.interval, 1) if s.price.interval else s.anchor)
    assert shortest.price.interval is not None
    low, high = _around(shortest.anchor, shortest.price.interval, at)
    return _problem(
        "billed-inside-period", item_id,
        f"{_named(item_id)} was billed through {_last_day(at)}, which is inside a billing period: periods end on {_last_day(low)} and {_last_day(high)}.",
        "Correct billed_through, or say on which day periods begin (billing_cycle_anchor, in CSV billing_day).",
    )  # fmt: skip


def _around(anchor: datetime, interval: Interval, at: datetime) -> tuple[datetime, datetime]:
    k = index(anchor, interval, at)
    return boundary(anchor, interval, k), boundary(anchor, interval, k + 1)


def _last_day(at: datetime) -> str:
    return (at - MICROSECOND).date().isoformat()


# ---------------------------------------------------------------- coupons partly used up


def with_months_left(terms: ContractTerms, through: BilledThrough) -> ContractTerms:
    """Return the terms whose repeating coupons hold for as many months from the billed instant on as are left of them.

    A coupon counts its months from its first use, so it is given those that passed since then as well. An item's coupon counts
    from what was billed of that item, a contract's from what was billed of the contract, or of its item furthest behind.
    """
    left = dict(through.months_left)
    if not left:
        return terms
    plan = timeline(Contract(id="imported", terms=terms), horizon=through.last)
    behind = min([at for at in [through.at, *(i for _, i in through.items)] if at is not None], default=terms.start)

    def lasting(coupons: tuple[Coupon, ...], item: Item | None, since: datetime) -> tuple[Coupon, ...]:
        at = (through.of(item.id) if item is not None else through.at) or behind
        return tuple(_lasting(plan, c, left[c.id], item.id if item else None, since, at) if c.id in left else c for c in coupons)

    phases = tuple(
        replace(
            phase, items=tuple(replace(i, discounts=lasting(i.discounts, i, phase.start)) for i in phase.items),
            discounts=None if phase.discounts is None else lasting(phase.discounts, None, phase.start),
        )
        for phase in terms.phases
    )  # fmt: skip
    return replace(terms, phases=phases, discounts=lasting(terms.discounts, None, terms.start))


def _lasting(plan: Timeline, coupon: Coupon, left: int, item_id: str | None, since: datetime, at: datetime) -> Coupon:
    first = first_use(plan, coupon, since, is_due=False, item_id=item_id)
    end = plus_months(max(at, first), left)
    return replace(coupon, duration="repeating", duration_in_months=max(1, months_between(first, end)))
