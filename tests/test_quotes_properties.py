"""The totals of a quote are the totals of the invoices that follow (billing.md section 2), over random terms in phases."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from histories import THOROUGH
from hypothesis import given
from hypothesis import strategies as st

from connector.core.invoicing import Slice, next_due
from connector.core.period import Interval, plus_months, to_utc
from connector.core.quoting import quoted, totals_of
from connector.core.settlement import Account, CustomerState, advance
from connector.core.terms import Contract, ContractTerms, Coupon, Item, Phase, Price, Settings, TaxRate

START = datetime(2026, 1, 1)
MONTH = Interval(unit="month")
PRICES = st.decimals(min_value=0, max_value=99_999, places=2, allow_nan=False, allow_infinity=False)
QUANTITIES = st.integers(0, 50).map(Decimal)
PERCENTS = st.integers(1, 100).map(Decimal)


@st.composite
def offers(draw: st.DrawFn) -> ContractTerms:
    """Draw terms of one to four phases of whole months, with lasting discounts, taxes on top or inside and one-time lines."""
    prices = [Price(id=f"p{n}", product=f"p{n}", unit_amount=draw(PRICES), interval=MONTH) for n in range(draw(st.integers(1, 3)))]
    once = Price(id="once", product="once", unit_amount=draw(PRICES))
    phases, at = [], START
    for number in range(draw(st.integers(1, 4))):
        end = plus_months(at, draw(st.integers(1, 5)))
        items = tuple(
            Item(id=p.id, price=p, quantity=draw(QUANTITIES), discounts=tuple(draw(st.lists(st.builds(_percent, PERCENTS), max_size=1))))
            for p in prices
        )
        extra = (Item(id="once", price=once, quantity=Decimal(draw(st.integers(1, 3)))),) if number == 0 and draw(st.booleans()) else ()
        phases.append(Phase(start=at, end=end, items=items, add_invoice_items=extra))
        at = end
    rates = draw(st.sampled_from([(), (TaxRate(id="vat", percentage=Decimal("19.6")),), (TaxRate(id="in", percentage=Decimal(7), inclusive=True),)]))
    return ContractTerms(
        currency="eur", timezone=draw(st.sampled_from(["UTC", "Asia/Tokyo", "America/Los_Angeles"])),
        settings=Settings(proration="day", tax_rounding="line"), start=START, phases=tuple(phases), end_behavior="cancel",
        discounts=tuple(draw(st.lists(st.builds(_percent, PERCENTS), max_size=2, unique_by=lambda c: c.id))), tax_rates=rates,
    )  # fmt: skip


def _percent(percent: Decimal) -> Coupon:
    return Coupon(id=f"c{percent}", percent_off=percent)


@THOROUGH
@given(offers())
def test_totals_of_a_quote_are_those_of_the_invoices_that_follow(terms: ContractTerms) -> None:
    """First invoice, each later period by its stage, and the whole value: equal to the cent to what billing makes of it."""
    contract, customer = Contract(id="ct", terms=terms), CustomerState()
    quote = quoted(contract, customer)
    account = Account(customer=customer, slices=(Slice(contract=contract),))
    invoices, at = [], datetime(2025, 12, 31)
    while (due := next_due(account.slices[0], at)) is not None:
        account, events = advance(account, to_utc(due, terms.timezone))
        invoices += [(due, e.invoice) for e in events if e.kind == "invoice.finalized"]
        at = due
    assert totals_of(invoices[0][1].lines) == quote.upfront
    for due, invoice in invoices[1:]:
        stage = next(s for s in quote.stages if s.start <= due and (s.end is None or due < s.end))
        ((interval, totals),) = stage.periods
        assert (interval, totals.total) == (MONTH, invoice.total)
        assert (totals.subtotal, totals.discount, totals.tax) == (invoice.subtotal, invoice.discount, invoice.tax)
    assert sum(line.net for _, invoice in invoices for line in invoice.lines) == quote.value
