"""What a deal only names, prices and coupons of the catalogue, is put in its place when the deal is carried out (decision D-121).

The mapping is pure and knows no catalogue: a line whose product names a catalogue price carries `Price(id=...)` with what the line
itself says (kind of charge, a frequency that is filled), a deal with codes carries `Coupon(id=...)`. Here they become the prices and
coupons of the books, copied into the contract, or the problem that a rep reads: unknown, no longer sold, in another currency, not
for anything on the deal. Names of a whole chunk are read at once.

Worked example: "Gold" names GOLD_M and says Usage, GOLD_M is 10.00 EUR a month: 'line "Gold": its charge type says Usage, but the
price GOLD_M is not metered.'
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from connector.billing import catalogue
from connector.billing.catalogue import CatalogCoupon, CatalogPrice
from connector.core.matching import interval_text
from connector.core.pricing import span_ratio
from connector.core.terms import Change, Contract, ContractTerms, Coupon, Interval, Item, ItemChange, Phase, Price
from connector.errors import Problem, RejectedError, Where
from connector.ports import NAMED_IN, Unit

_AGAIN = "; it is tried again by itself."
_OWN_FREQUENCY = "Clear the frequency of the line, or correct {field}" + _AGAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the books have of the names that some deals use; *near* - other names, for "did you mean"."""

    prices: Mapping[str, CatalogPrice] = field(default_factory=dict)
    coupons: Mapping[str, CatalogCoupon] = field(default_factory=dict)
    near: tuple[str, ...] = ()


# ---------------------------------------------------------------- which names there are


def _items(agreed: ContractTerms | Change) -> Iterator[Item]:
    for phase in agreed.phases:
        yield from phase.items
        yield from phase.add_invoice_items
    if isinstance(agreed, Change):
        yield from agreed.one_time
        for step in agreed.items:
            if step.item is not None:
                yield step.item


def _coupons(agreed: ContractTerms | Change) -> Iterator[Coupon]:
    if isinstance(agreed, Change):
        yield from agreed.discounts_add
        yield from agreed.discounts_set or ()
    else:
        yield from agreed.discounts
    for phase in agreed.phases:
        yield from phase.discounts or ()
    for item in _items(agreed):
        yield from item.discounts


def names_for(unit: Unit, asked: Iterable[ContractTerms | Change | None]) -> Names:
    """Return what the books have of every name in some terms and changes; nothing is read where nothing is named."""
    prices: dict[str, None] = {}
    coupons: dict[str, None] = {}
    for agreed in asked:
        if agreed is not None:
            prices |= {i.price.id: None for i in _items(agreed) if i.price.is_named}
            coupons |= {c.id: None for c in _coupons(agreed) if c.is_named}
    if not prices and not coupons:
        return Names()
    found = Names(prices=catalogue.prices(unit, prices), coupons=catalogue.coupons(unit, coupons))
    if len(found.prices) == len(prices) and len(found.coupons) == len(coupons):
        return found
    near = (*(p.id for p in catalogue.list_prices(unit, limit=catalogue.LIST_ROWS)), *(c.id for c in catalogue.list_coupons(unit, limit=catalogue.LIST_ROWS)))
    return replace(found, near=near)


def is_settled(agreed: ContractTerms | Change) -> bool:
    """Whether terms or a change name nothing that still has to be looked up."""
    return not any(i.price.is_named for i in _items(agreed)) and not any(c.is_named for c in _coupons(agreed))


# ---------------------------------------------------------------- putting them in place


@dataclass(slots=True, kw_only=True)
class _Settling:
    """One deal on its way: what is sold on it, and what is wrong.

    kept - what the deal itself was agreed at before; own_prices - what its contract runs at, for what is taken away.
    """

    names: Names
    currency: str
    sold: set[str] = field(default_factory=set)
    kept: Mapping[str, Price] = field(default_factory=dict)
    own_prices: Mapping[str, Price] = field(default_factory=dict)
    own_coupons: Mapping[str, Coupon] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def fail(self, code: str, where: str, message: str, hint: str) -> None:
        """Note a problem of the field that *where* names."""
        self.problems.append(Problem(code=code, message=message, hint=hint.format(field=NAMED_IN[where]), where=Where(field=where)))

    def did_you_mean(self, name: str) -> str:
        """Return the question that a slip of the pen asks for."""
        folded = {n.casefold(): n for n in self.names.near}
        near = folded.get(name.casefold()) or next(iter(get_close_matches(name, self.names.near, n=1)), None)
        return f'Did you mean "{near}"? ' if near else ""

    # ------------------------------------------------------------ prices

    def item(self, item: Item, *, is_one_time: bool, is_shrinking: bool = False) -> Item:
        """Return an item with its price and coupons."""
        price = self.price(item.price, is_one_time=is_one_time, is_shrinking=is_shrinking) if item.price.is_named else item.price
        self.sold |= {price.id, price.product} - {""}
        trial = item.trial
        if trial is not None and item.price.is_named:
            trial = replace(trial, price=replace(trial.price, interval=price.interval, per=None))
        coupons = self.coupons(item.discounts, "line.coupons", {price.id, price.product}, _subject(item.price))
        if price is item.price and coupons is item.discounts:
            return item
        return replace(item, price=price, trial=trial, discounts=coupons)

    def price(self, named: Price, *, is_one_time: bool, is_shrinking: bool) -> Price:
        """Return the catalogue's price that is named; what is taken away is taken at the price the contract has."""
        subject, where = _subject(named), "line.price.catalog"
        own = self.own_prices.get(named.id) if is_shrinking else None
        own = own or self.kept.get(named.id)
        if own is not None:
            self._agrees(named, own, subject, is_one_time=is_one_time)
            return replace(own, product=named.product or own.product, description=named.description or own.description)
        found = self.names.prices.get(named.id)
        if found is None:
            hint = f"{self.did_you_mean(named.id)}Correct {{field}}, or import the price (`connector import catalog`){_AGAIN}"
            self.fail("unknown-price", where, f'{subject}the catalogue has no price "{named.id}".', hint)
            return named
        price = found.price
        if not found.is_active and not is_shrinking:
            hint = f"Name another price in {{field}}, or have this one sold again (`active: true`){_AGAIN}"
            self.fail("inactive-price", where, f"{subject}the price {named.id} is no longer sold.", hint)
        if found.currency != self.currency:
            message = f"{subject}the price {named.id} is in {found.currency.upper()}, the deal in {self.currency.upper()}."
            self.fail("price-currency", where, message, f"Name a price in {self.currency.upper()} in {{field}}{_AGAIN}")
        self._agrees(named, price, subject, is_one_time=is_one_time)
        return replace(price, product=named.product or price.product, description=named.description or price.description)

    def _agrees(self, named: Price, price: Price, subject: str, *, is_one_time: bool) -> None:
        """Note where the line says something else of its price than the catalogue does."""
        where, hint = "line.price.catalog", f"Correct the charge type, or {{field}}{_AGAIN}"
        is_usage = named.usage_type == "metered"
        said = "One-time" if is_one_time else "Usage" if is_usage else "Recurring"
        is_metered = price.usage_type == "metered"
        fits = price.interval is None if is_one_time else price.interval is not None and is_metered == is_usage
        if not fits:
            what = "is metered" if is_metered else f"is billed {interval_text(price)}"
            self.fail("price-differs", where, f"{subject}its charge type says {said}, but the price {price.id} {what}.", hint)
        elif named.interval is not None and price.interval is not None and not _same(named.interval, price.interval):
            message = f"{subject}it says billed {interval_text(named)}, but the price {price.id} is billed {interval_text(price)}."
            self.fail("price-differs", where, message, _OWN_FREQUENCY)

    # ------------------------------------------------------------ coupons

    def coupons(self, given: tuple[Coupon, ...], where: str, sold: Collection[str], subject: str = "") -> tuple[Coupon, ...]:
        """Return coupons with those that are only named put in place, in their order; *sold*: the prices and products they can be for."""
        if not any(c.is_named for c in given):
            return given
        return tuple([self.coupon(c, where, sold, subject) if c.is_named else c for c in given])

    def coupon(self, named: Coupon, where: str, sold: Collection[str], subject: str) -> Coupon:
        """Return the books' coupon of a code; one that the contract has already stays as it was given."""
        own = self.own_coupons.get(named.id)
        if own is not None:
            return own
        found = self.names.coupons.get(named.id)
        if found is None:
            hint = f"{self.did_you_mean(named.id)}Correct {{field}}, or import the coupon (`connector import catalog`){_AGAIN}"
            self.fail("unknown-coupon", where, f'{subject}there is no coupon "{named.id}".', hint)
            return named
        coupon = found.coupon
        if not found.is_active:
            hint = f"Take it out of {{field}}, or have it given again (`active: true`){_AGAIN}"
            self.fail("inactive-coupon", where, f"{subject}the coupon {named.id} is no longer given.", hint)
        if found.currency and found.currency != self.currency:
            message = f"{subject}the coupon {named.id} is in {found.currency.upper()}, the deal in {self.currency.upper()}."
            self.fail("coupon-currency", where, message, f"Take it out of {{field}}{_AGAIN}")
        if coupon.applies_to and not set(coupon.applies_to) & set(sold):
            message = f"{subject}the coupon {named.id} is for {', '.join(coupon.applies_to)} only, {'which this is not' if subject else 'none of which is on this deal'}."
            self.fail("coupon-unused", where, message, f"Take it out of {{field}}{_AGAIN}")
        return coupon

    def phase(self, phase: Phase) -> Phase:
        """Return a phase with its items and their prices; coupons of the phase come last, when all that is sold is known."""
        items = tuple([self.item(i, is_one_time=False) for i in phase.items])
        once = tuple([self.item(i, is_one_time=True) for i in phase.add_invoice_items])
        return replace(phase, items=items, add_invoice_items=once)

    def phase_coupons(self, phase: Phase) -> Phase:
        """Return a phase with its own coupons."""
        return phase if phase.discounts is None else replace(phase, discounts=self.coupons(phase.discounts, "deal.coupons", self.sold))

    def done(self, label: str) -> None:
        """Refuse the deal where something is wrong, with everything at once."""
        if not self.problems:
            return
        first, where = self.problems[0], Where(record=label, field=self.problems[0].where.field)
        if len(self.problems) == 1:
            raise RejectedError(replace(first, message=f"Not billed: {first.message}", where=where))
        said = " ".join(f"({n}) {p.message} {p.hint}" for n, p in enumerate(self.problems, 1))
        raise RejectedError(Problem(code=first.code, message=f"Not billed, for several reasons. {said}", where=where))


def _subject(price: Price) -> str:
    return f'line "{price.description or price.product or price.id}": '


def _same(a: Interval, b: Interval) -> bool:
    ratio = span_ratio(a, b)
    return ratio is not None and ratio[0] == ratio[1]


def settled_terms(terms: ContractTerms, names: Names, label: str, before: ContractTerms | None = None) -> ContractTerms:
    """Return terms with the catalogue's prices and coupons in the place of their names; *label* is whose record it is.

    before - what the same deal agreed on until now: what it names still is as it was then, though the catalogue has changed.
    Raises: RejectedError with everything that is wrong with the names.
    """
    if is_settled(terms):
        return terms
    kept = before if before is not None and before.currency == terms.currency else None
    settling = _Settling(
        names=names, currency=terms.currency, kept={i.price.id: i.price for i in _items(kept)} if kept else {},
        own_coupons={c.id: c for c in _coupons(kept)} if kept else {},
    )  # fmt: skip
    phases = tuple([settling.phase(p) for p in terms.phases])
    coupons = settling.coupons(terms.discounts, "deal.coupons", settling.sold)
    phases = tuple([settling.phase_coupons(p) for p in phases])
    settling.done(label)
    return replace(terms, phases=phases, discounts=coupons)


def settled_change(change: Change, contract: Contract, names: Names, label: str) -> Change:
    """Return a change of a contract with the catalogue's prices and coupons in the place of their names.

    Raises: RejectedError with everything that is wrong with the names.
    """
    if is_settled(change):
        return change
    agreed: Sequence[ContractTerms | Change] = (contract.terms, *(c for c in contract.changes if c.id != change.id))
    before = next((c for c in contract.changes if c.id == change.id), None)
    own = [i for a in agreed for i in _items(a)]
    settling = _Settling(
        names=names, currency=contract.terms.currency, sold={n for i in own for n in (i.price.id, i.price.product) if n},
        own_prices={i.price.id: i.price for i in own}, kept={i.price.id: i.price for i in _items(before)} if before else {},
        own_coupons={c.id: c for a in (*agreed, *((before,) if before else ())) for c in _coupons(a)},
    )  # fmt: skip
    phases = tuple([settling.phase(p) for p in change.phases])
    if phases:  # a new set of items: what ran before is not sold any more
        settling.sold = {n for p in phases for i in (*p.items, *p.add_invoice_items) for n in (i.price.id, i.price.product) if n}
    items = tuple([_step(settling, s) for s in change.items])
    once = tuple([settling.item(i, is_one_time=True) for i in change.one_time])
    where = "deal.coupons"
    made = replace(
        change, items=items, one_time=once, phases=tuple([settling.phase_coupons(p) for p in phases]),
        discounts_add=settling.coupons(change.discounts_add, where, settling.sold),
        discounts_set=None if change.discounts_set is None else settling.coupons(change.discounts_set, where, settling.sold),
    )  # fmt: skip
    settling.done(label)
    return made


def _step(settling: _Settling, step: ItemChange) -> ItemChange:
    if step.item is None:
        return step
    is_shrinking = step.op == "remove" or (step.op == "delta" and (step.item.quantity or 0) < 0)
    return replace(step, item=settling.item(step.item, is_one_time=False, is_shrinking=is_shrinking))
