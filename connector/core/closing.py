"""The amendment that makes a billed contract what its record says now (decision D-115).

A deal that was edited after it was invoiced is compared as two contracts: the one that bills, and the one that its record asks
for. Both are drawn; at the first instant at which other items run a step is added to an amendment, and both are compared
again, until nothing differs. An amendment is only proposed where the contract with it is drawn exactly as the other one:
same items, prices, quantities, discounts, periods, free time and end. What no amendment can do (another first day, a charge
that was made once) is named instead.

Worked example: 10 seats since January, and the record says 12. The amendment is a delta of 2 from 1 January, invoiced at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from connector.core.matching import amount_text, interval_text, product_of, quantity_text, terms_of_price
from connector.core.period import MICROSECOND
from connector.core.schedule import drawn
from connector.core.segments import OneTime, Segment, Timeline
from connector.core.terms import Change, Contract, Coupon, Item, ItemChange
from connector.core.values import dataclass

_MOST_STEPS = 60  # instants at which a contract and its record may differ; beyond, a person must look

What = Literal[
    "quantity", "price", "interval", "line_discount", "added", "removed", "once", "once_gone", "discount", "end", "open_end",
    "renewal", "billing_day", "trial", "start", "prebill", "currency", "other", "no_discount", "cancel", "pause", "resume",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that a record says otherwise than the contract: of an item, from a local instant on; texts as people read them."""

    what: What
    item: str = ""
    old: str = ""
    new: str = ""
    on: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """What differs, and the amendment that closes it; *change* None: no amendment can."""

    differences: tuple[Difference, ...]
    change: Change | None = None


_Content = tuple[object, ...]
_Stretch = tuple[_Content, datetime, datetime | None]


def _content(segment: Segment) -> _Content:
    item = segment.item
    return (
        product_of(segment.price), terms_of_price(segment.price), item.quantity, item.discounts, segment.is_free, segment.anchor,
        segment.price.tax_behavior,
    )  # fmt: skip


def _lives(plan: Timeline) -> list[Segment]:
    return [s for s in plan.segments if s.price.interval is not None and (s.end is None or s.end > s.start)]


def _curve(plan: Timeline) -> list[_Stretch]:
    """Return what runs when, whatever the changes that led to it: touching stretches of the same are one."""
    found: list[_Stretch] = []
    for content, start, end in sorted(((_content(s), s.start, s.end) for s in _lives(plan)), key=lambda x: (repr(x[0]), x[1])):
        if found and found[-1][0] == content and found[-1][2] == start:
            found[-1] = (content, found[-1][1], end)
        else:
            found.append((content, start, end))
    return found


def _once(plan: Timeline) -> list[tuple[object, ...]]:
    rows = [(product_of(o.item.price), terms_of_price(o.item.price), o.item.quantity, o.item.discounts, o.at) for o in plan.one_times]
    return sorted(rows, key=repr)


def _frame(plan: Timeline) -> tuple[object, ...]:
    prebills = [(w.start, w.prebill) for w in plan.prebills]
    return (plan.end, plan.term_end, [(t.start, t.end) for t in plan.terms], plan.trial_end, prebills)


def is_alike(a: Timeline, b: Timeline) -> bool:
    """Whether two timelines bill the same from the same days, however they came about."""
    return _frame(a) == _frame(b) and a.discounts == b.discounts and _once(a) == _once(b) and _curve(a) == _curve(b)


# ---------------------------------------------------------------- the amendment


def closing_of(contract: Contract, wanted: Contract, *, change_id: str, made_at: datetime, on: datetime) -> Closing:
    """Return what *wanted* says otherwise than *contract*, and the amendment *change_id* that makes them equal.

    Args: made_at - when the amendment is made, aware or local. on - the local instant of now; a contract that renews itself is compared up to it.
    """
    aim = drawn(wanted, horizon=on)
    start = drawn(contract, horizon=on)
    draft = _Draft(contract=contract, change_id=change_id, made_at=made_at, on=on)
    draft.frame(start, aim, wanted)
    for _ in range(_MOST_STEPS):
        plan = draft.drawn()
        at = _first_difference(plan, aim)
        if at is None:
            break
        draft.step(plan, aim, at)
    closed = draft.drawn()
    if not draft.differences and not is_alike(closed, aim):
        draft.note("other")
    is_closed = not closed.problems and is_alike(closed, aim) and not draft.is_hopeless
    return Closing(differences=tuple(draft.differences), change=draft.change() if is_closed else None)


def _first_difference(plan: Timeline, aim: Timeline) -> datetime | None:
    """Return the first instant at which other items run; ends that the contract itself sets do not count."""
    ours, theirs = _curve(plan), _curve(aim)
    instants = sorted({at for _, start, end in (*ours, *theirs) for at in (start, end) if at is not None})
    for at in instants:
        if _running(ours, at) != _running(theirs, at):
            return at
    return None


def _running(curve: Iterable[_Stretch], at: datetime) -> list[str]:
    return sorted(repr(content) for content, start, end in curve if start <= at and (end is None or end > at))


class _Draft:
    """The amendment as it grows."""

    def __init__(self, *, contract: Contract, change_id: str, made_at: datetime, on: datetime) -> None:
        self.contract, self.id, self.made_at, self.on = contract, change_id, made_at, on
        self.differences: list[Difference] = []
        self.steps: list[tuple[datetime, ItemChange]] = []
        self.one_time: list[Item] = []
        self.rest: dict[str, object] = {}
        self.since: datetime | None = None
        self.is_hopeless = False

    def note(self, what: What, *, item: str = "", old: str = "", new: str = "", on: datetime | None = None) -> None:
        self.differences.append(Difference(what=what, item=item, old=old, new=new, on=on))

    def change(self) -> Change:
        """Return the amendment, effective from its first step on."""
        effective = min([at for at, _ in self.steps] + ([self.since] if self.since else []), default=self.contract.terms.start)
        items = tuple(_dated(step, at, effective) for at, step in self.steps)
        plain = Change(
            id=self.id, kind="amend", effective=effective, made_at=self.made_at, items=items, one_time=tuple(self.one_time),
            proration_behavior="always_invoice",
        )  # fmt: skip
        return replace(plain, **self.rest)  # type: ignore[arg-type]

    def drawn(self) -> Timeline:
        """Return the contract's timeline with the amendment as it is by now."""
        if not (self.steps or self.one_time or self.rest):
            return drawn(self.contract, horizon=self.on)
        return drawn(replace(self.contract, changes=(*self.contract.changes, self.change())), horizon=self.on)

    # ------------------------------------------------------------ what is not about a running item

    def frame(self, plan: Timeline, aim: Timeline, wanted: Contract) -> None:
        """Compare first day, end, renewal, billing day, trial, prebilling, discounts and single charges."""
        old, new = self.contract.terms, wanted.terms
        if old.start != new.start:
            self._cannot("start", _day(old.start), _day(new.start))
        if old.prebill != new.prebill:
            self._cannot("prebill")
        if old.renewal != new.renewal:
            self._cannot("renewal", f"{old.renewal.uplift_percent:f}", f"{new.renewal.uplift_percent:f}")
        if (old.anchor or old.start) != (new.anchor or new.start) and old.start == new.start:
            self.note("billing_day", old=str((old.anchor or old.start).day), new=str((new.anchor or new.start).day))
            self._rest(old.start, billing_cycle_anchor=new.anchor or new.start)
        if plan.trial_end != aim.trial_end:
            self.note("trial", old=_day(plan.trial_end), new=_day(aim.trial_end))
            self.is_hopeless = self.is_hopeless or aim.trial_end is None
            self._rest(old.start, trial_end=aim.trial_end)
        self._ends(plan, aim, wanted)
        if plan.discounts != aim.discounts:
            self._discounts(plan, aim)
        self._single(plan.one_times, aim.one_times)

    def _cannot(self, what: What, old: str = "", new: str = "") -> None:
        self.note(what, old=old, new=new)
        self.is_hopeless = True

    def _rest(self, since: datetime, **fields: object) -> None:
        self.rest.update(fields)
        self.since = since if self.since is None else min(self.since, since)

    def _ends(self, plan: Timeline, aim: Timeline, wanted: Contract) -> None:
        old, new = plan.terms[-1].end, aim.terms[-1].end
        how = (self.contract.terms.end_behavior, wanted.terms.end_behavior)
        since = plan.terms[-1].start
        if old != new and len(plan.terms) == len(aim.terms):
            if new is None:
                self.note("open_end", old=_last_day(old))
                self._rest(since, end_behavior="release")
            else:
                self.note("end", old=_last_day(old), new=_last_day(new))
                self._rest(since, new_end=new)
        if how[0] != how[1]:
            if old == new:
                self.note("renewal", old=how[0], new=how[1])
            self._rest(since, end_behavior=how[1])

    def _discounts(self, plan: Timeline, aim: Timeline) -> None:
        """Set the contract's discounts from where they differ, and bill what runs there anew, so that what was billed is discounted too."""
        at = next((b[0] for a, b in zip(plan.discounts, aim.discounts, strict=False) if a != b), self.contract.terms.start)
        before = next((c for since, c in reversed(plan.discounts) if since <= at), ())
        after = next((c for since, c in reversed(aim.discounts) if since <= at), ())
        self.note("discount", old=coupons_text(before, self.contract.terms.currency), new=coupons_text(after, self.contract.terms.currency))
        self._rest(at, discounts_set=after)
        lives = _lives(plan)
        for segment in lives:
            if segment.start <= at and (segment.end is None or segment.end > at):
                self._anew(segment, segment.item, at)
        # what began since was billed under the old discounts too, and an amendment cannot reach it
        self.is_hopeless = self.is_hopeless or any(at < s.start <= self.on and s.previous is None for s in lives)

    def _single(self, ours: Sequence[OneTime], theirs: Sequence[OneTime]) -> None:
        """Charge what was added; what was charged once and is gone or less can only be given back by a credit note."""
        left = list(ours)
        for one in theirs:
            equal = next((o for o in left if o.at == one.at and replace(o.item, crm_lines=()) == replace(one.item, crm_lines=())), None)
            if equal is not None:
                left.remove(equal)
                continue
            alike = next((o for o in left if o.at == one.at and _is_same_once(o.item, one.item)), None)
            if alike is None:
                self.note("once", item=named(one.item), new=_priced(one.item, self.contract.terms.currency), on=one.at)
                self.one_time.append(replace(one.item, id=f"{one.item.id}-{self.id}", start=one.at))
            else:
                left.remove(alike)
                more = (one.item.quantity or Decimal(0)) - (alike.item.quantity or Decimal(0))
                old, new = quantity_text(alike.item.quantity), quantity_text(one.item.quantity)
                self.note("quantity", item=named(one.item), old=old, new=new, on=one.at)
                self.one_time.append(replace(one.item, id=f"{one.item.id}-{self.id}", start=one.at, quantity=more))
                self.is_hopeless = self.is_hopeless or more < 0
            self.since = one.at if self.since is None else min(self.since, one.at)
        for gone in left:
            self._cannot_once(gone)

    def _cannot_once(self, gone: OneTime) -> None:
        self.note("once_gone", item=named(gone.item), old=_priced(gone.item, self.contract.terms.currency), on=gone.at)
        self.is_hopeless = True

    # ------------------------------------------------------------ what runs

    def step(self, plan: Timeline, aim: Timeline, at: datetime) -> None:
        """Add the steps that let the same items run from *at* on."""
        ours, theirs = _left(plan, aim, at)
        for a, b in _pairs(ours, theirs):
            if a is None and b is not None:
                self.note("added", item=named(b.item), new=_priced(b.item, self.contract.terms.currency), on=at)
                self.steps.append((at, ItemChange(op="add", item=replace(b.item, id=self._fresh(b.item.id), start=None))))
            elif a is not None and b is None:
                self.note("removed", item=named(a.item), old=_priced(a.item, self.contract.terms.currency), on=at)
                self.steps.append((at, _gone(a.item)))
            elif a is not None and b is not None:
                self._changed(a, b, at)

    def _fresh(self, item_id: str) -> str:
        """Return an id that neither the contract nor an earlier step has."""
        taken = {s.item.id for _, s in self.steps if s.item is not None} | {i.id for p in self.contract.terms.phases for i in p.items}
        taken |= {s.item.id for c in self.contract.changes for s in c.items if s.item is not None}
        name, number = item_id, 1
        while name in taken:
            name, number = f"{item_id}-{self.id}" + (f"-{number}" if number > 1 else ""), number + 1
        return name

    def _changed(self, a: Segment, b: Segment, at: datetime) -> None:
        old, new, currency = a.item, b.item, self.contract.terms.currency
        same_price = terms_of_price(a.price) == terms_of_price(b.price)
        if old.quantity != new.quantity:
            self.note("quantity", item=named(new), old=quantity_text(old.quantity), new=quantity_text(new.quantity), on=at)
        if not same_price and a.price.interval != b.price.interval:
            self.note("interval", item=named(new), old=interval_text(a.price), new=interval_text(b.price), on=at)
        if not same_price and a.price.unit_amount != b.price.unit_amount:
            unit = (amount_text(a.price.unit_amount, currency), amount_text(b.price.unit_amount, currency))
            self.note("price", item=named(new), old=unit[0], new=unit[1], on=at)
        if old.discounts != new.discounts:
            texts = (coupons_text(old.discounts, currency), coupons_text(new.discounts, currency))
            self.note("line_discount", item=named(new), old=texts[0], new=texts[1], on=at)
            self._anew(a, new, at)
        elif same_price and old.quantity is not None and new.quantity is not None and old.trial == new.trial:
            by = replace(old, quantity=new.quantity - old.quantity, start=None, trial=None)
            self.steps.append((at, ItemChange(op="delta", item=by, item_id=old.id)))
        else:
            self.steps.append((at, ItemChange(op="set", item=replace(new, id=old.id, start=None), item_id=old.id)))

    def _anew(self, a: Segment, item: Item, at: datetime) -> None:
        """End what runs and begin it again as *item*: a discount by itself would only count from the next invoice on."""
        self.steps.append((at, _gone(a.item)))
        self.steps.append((at, ItemChange(op="add", item=replace(item, id=self._fresh(item.id), start=None))))


def _dated(step: ItemChange, at: datetime, effective: datetime) -> ItemChange:
    return step if at == effective or step.item is None else replace(step, item=replace(step.item, start=at))


def _gone(item: Item) -> ItemChange:
    if item.quantity is None:
        return ItemChange(op="remove", item_id=item.id)
    return ItemChange(op="delta", item=replace(item, quantity=-item.quantity, start=None), item_id=item.id)


def _left(plan: Timeline, aim: Timeline, at: datetime) -> tuple[list[Segment], list[Segment]]:
    """Return the segments that run at *at* on each side and have no equal on the other."""
    ours, theirs = ([s for s in _lives(p) if s.start <= at and (s.end is None or s.end > at)] for p in (plan, aim))
    for b in list(theirs):
        equal = next((a for a in ours if _content(a) == _content(b)), None)
        if equal is not None:
            ours.remove(equal)
            theirs.remove(b)
    return ours, theirs


def _pairs(ours: list[Segment], theirs: list[Segment]) -> list[tuple[Segment | None, Segment | None]]:
    """Return which running item became which: that of the same id, else the only one of its product."""
    found: list[tuple[Segment | None, Segment | None]] = []
    by_id: Mapping[str, Segment] = {a.item.id: a for a in ours}
    rest: list[Segment] = []
    for b in theirs:
        a = by_id.get(b.item.id)
        if a is not None and product_of(a.price) == product_of(b.price):
            found.append((a, b))
            ours.remove(a)
        else:
            rest.append(b)
    for b in rest:
        alike = [a for a in ours if product_of(a.price) == product_of(b.price)]
        if alike:
            ours.remove(alike[0])
        found.append((alike[0] if alike else None, b))
    return found + [(a, None) for a in ours]


def _is_same_once(a: Item, b: Item) -> bool:
    same_price = product_of(a.price) == product_of(b.price) and terms_of_price(a.price) == terms_of_price(b.price)
    return same_price and a.discounts == b.discounts and a.quantity is not None and b.quantity is not None


# ---------------------------------------------------------------- what a change says


def said_of(change: Change, currency: str) -> tuple[Difference, ...]:
    """Return what a change did, in its own order; of a renewal nothing: it is a term of its own."""
    found = [_said(step, currency) for step in change.items]
    found += [Difference(what="once", item=named(i), new=_priced(i, currency)) for i in change.one_time]
    if change.kind in ("cancel", "pause", "resume"):
        items = ", ".join(change.item_ids)
        found.append(Difference(what="removed", item=items) if items else Difference(what=change.kind))
    if change.discounts_set is not None:
        text = coupons_text(change.discounts_set, currency)
        found.append(Difference(what="discount", new=text) if text else Difference(what="no_discount"))
    if change.new_end is not None:
        found.append(Difference(what="end", new=_last_day(change.new_end)))
    if isinstance(change.billing_cycle_anchor, datetime):
        found.append(Difference(what="billing_day", new=str(change.billing_cycle_anchor.day)))
    found += [Difference(what="trial")] if change.trial_end is not None else []
    found += [Difference(what="prebill")] if change.prebill is not None else []
    return tuple(found)


def _said(step: ItemChange, currency: str) -> Difference:
    item = step.item
    if item is None or step.op == "remove":
        return Difference(what="removed", item=named(item) if item is not None else step.item_id or "")
    by = item.quantity or Decimal(0)
    if step.op == "set":
        return Difference(what="price", item=named(item), new=_priced(item, currency))
    return Difference(what="quantity", item=named(item), new=f"{'+' if by > 0 else '−'}{quantity_text(abs(by))}")


# ---------------------------------------------------------------- texts


def named(item: Item) -> str:
    """Return an item as people name it."""
    return item.price.description or product_of(item.price)


def _priced(item: Item, currency: str) -> str:
    off = f" − {coupons_text(item.discounts, currency)}" if item.discounts else ""
    return f"{quantity_text(item.quantity)} x {amount_text(item.price.unit_amount, currency)}{off}"


def _day(at: datetime | None) -> str:
    return "" if at is None else at.date().isoformat()


def _last_day(end: datetime | None) -> str:
    return _day(end - MICROSECOND if end is not None else None)


def coupons_text(coupons: Sequence[Coupon], currency: str) -> str:
    """Return discounts as people read them: "10 %"; empty where there is none."""
    return " + ".join(
        f"{c.percent_off.normalize():f} %" if c.percent_off is not None else amount_text(Decimal(c.amount_off or 0), currency) for c in coupons
    )
