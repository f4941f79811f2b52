"""Random contracts that are prorated by the second, with changes that are made as they count: most of them can be left to Stripe."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from histories import START, prices
from hypothesis import strategies as st

from connector.core.period import plus_months
from connector.core.schedule import problems
from connector.core.terms import (
    Change,
    Contract,
    ContractTerms,
    Coupon,
    Interval,
    Item,
    ItemChange,
    Phase,
    Price,
    Settings,
    TaxRate,
)

MONTH, YEAR, QUARTER = Interval(unit="month"), Interval(unit="year"), Interval(unit="month", count=3)
BEHAVIORS = st.sampled_from(["always_invoice", "always_invoice", "create_prorations", "create_prorations", "none"])


@st.composite
def _price(draw, name: str) -> Price:
    if draw(st.integers(0, 9)) == 0:
        odd = draw(prices(7))
        return replace(odd, id=name, tiers_mode="volume" if odd.tiers_mode else None)
    amount = draw(st.one_of(st.integers(0, 90_000).map(Decimal), st.decimals(min_value=Decimal("0.01"), max_value=5_000, places=2)))
    return Price(id=name, unit_amount=amount, interval=draw(st.sampled_from([MONTH, MONTH, MONTH, YEAR, QUARTER])))


@st.composite
def _terms(draw) -> ContractTerms:
    start = START + timedelta(days=draw(st.one_of(st.integers(0, 27), st.integers(31, 45))))
    items = tuple(Item(id=f"p{n}", price=draw(_price(f"p{n}")), quantity=Decimal(draw(st.integers(1, 20)))) for n in range(draw(st.integers(1, 2))))
    end = draw(st.sampled_from([None, None, plus_months(start, 12), plus_months(start, 3)]))
    off = Coupon(id="off", percent_off=Decimal(draw(st.sampled_from([10, 25, 50]))), duration="forever")
    return ContractTerms(
        currency="eur", timezone=draw(st.sampled_from(["UTC", "Europe/Paris", "America/Denver"])), start=start,
        settings=Settings(proration="second", tax_rounding="line"), phases=(Phase(start=start, end=end, items=items),),
        end_behavior="release" if end is None else draw(st.sampled_from(["cancel", "renew"])), discounts=draw(st.sampled_from([(), (), (off,)])),
        tax_rates=draw(st.sampled_from([(), (TaxRate(id="vat", percentage=Decimal(20)),)])),
    )  # fmt: skip


@st.composite
def _change(draw, terms: ContractTerms, number: int) -> Change:
    day = terms.start + timedelta(days=draw(st.integers(1, 110)))
    if terms.start.day in (day.day, (day + timedelta(days=3)).day):
        day += timedelta(days=1)  # what is changed before Stripe bills its day is another property's
    if terms.start.day == (day + timedelta(days=3)).day:
        day += timedelta(days=1)
    hours = timedelta(hours=draw(st.integers(0, 23)), minutes=draw(st.integers(0, 59)))
    effective, made = draw(st.sampled_from([(day, day), (day, day + hours), (day, day + hours), (day, day + hours), (day, day + timedelta(days=3))]))
    item = draw(st.sampled_from(terms.phases[0].items))
    kind = draw(st.sampled_from(["grow", "grow", "shrink", "set", "new", "cancel"]))
    if kind == "cancel":
        return Change(
            id=f"c{number}", kind="cancel", effective=day, made_at=draw(st.sampled_from([day, day + hours])), when="at", prorate=draw(st.booleans()), invoice_now=draw(st.sampled_from([True, True, False])),
            proration_behavior="always_invoice",
        )  # fmt: skip
    step = {
        "grow": ItemChange(op="delta", item=replace(item, quantity=Decimal(draw(st.integers(1, 9)))), item_id=item.id),
        "shrink": ItemChange(op="delta", item=replace(item, quantity=Decimal(-1)), item_id=item.id),
        "set": ItemChange(op="set", item=replace(item, quantity=Decimal(draw(st.integers(1, 9)))), item_id=item.id),
        "new": ItemChange(op="add", item=Item(id=f"n{number}", price=draw(_price(f"n{number}")), quantity=Decimal(2))),
    }[kind]
    return Change(id=f"a{number}", kind="amend", effective=effective, made_at=made, items=(step,), proration_behavior=draw(BEHAVIORS))


@st.composite
def second_lives(draw) -> Contract:
    """A contract prorated by the second with up to four changes, in the order in which they are made."""
    terms = draw(_terms())
    changes = [draw(_change(terms, n)) for n in range(draw(st.integers(1, 4)))]
    found = Contract(id="k", terms=terms)
    for change in sorted(changes, key=lambda c: c.made_at):  # what is refused when it arrives never reaches billing
        if not problems(tried := replace(found, changes=(*found.changes, change))):
            found = tried
    return found
