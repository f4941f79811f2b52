"""Single facts of the billing engine that are worth a test of their own."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from connector.core.invoicing import Slice, proposed, window_start
from connector.core.money import quotient
from connector.core.period import Interval
from connector.core.terms import Change, Contract, ContractTerms, Item, ItemChange, Phase, Price, Settings


def test_a_half_is_rounded_away_from_zero():
    """1001 over half a month is 501, its credit -501."""
    assert quotient(1001, 2) == 501
    assert quotient(-1001, 2) == -501


def test_a_cancellation_that_is_taken_back_bills_the_rest_of_the_line_it_cut():
    """A line cut by a scheduled end stands for its days; once the end is withdrawn the other days are billed, once."""
    price = Price(id="p", unit_amount=Decimal(2800), interval=Interval(unit="month"))
    terms = ContractTerms(
        currency="eur",
        timezone="UTC",
        settings=Settings(proration="day", tax_rounding="line"),
        start=datetime(2026, 1, 1),
        phases=(Phase(start=datetime(2026, 1, 1), items=(Item(id="p", price=price),)),),
    )
    stop = Change(
        id="c",
        kind="cancel",
        effective=datetime(2026, 2, 15),
        made_at=datetime(2026, 1, 5),
        prorate=True,
        invoice_now=True,
    )
    ending, going_on = Contract(id="k", terms=terms, changes=(stop,)), Contract(id="k", terms=terms)
    facts = proposed(Slice(contract=ending), datetime(2026, 2, 1))
    assert [line.amount for line in facts] == [2800, 1400]
    since = window_start(going_on, datetime(2026, 2, 15), (stop,))
    loaded = tuple(f for f in facts if since is None or f.end > since)
    rest = proposed(Slice(contract=going_on, facts=loaded, since=since), datetime(2026, 2, 3))
    assert [(line.amount, line.start, line.end) for line in rest] == [
        (1400, datetime(2026, 2, 15), datetime(2026, 3, 1))
    ]
    assert proposed(Slice(contract=going_on, facts=(*facts, *rest)), datetime(2026, 2, 28)) == []


def test_a_renewal_of_an_open_ended_contract_comes_before_later_amendments():
    """What is renewed on a day is renewed on that day, whatever changes after it."""
    price = Price(id="p", unit_amount=Decimal(1000), interval=Interval(unit="month"))
    terms = ContractTerms(
        currency="eur",
        timezone="UTC",
        settings=Settings(proration="day", tax_rounding="line"),
        start=datetime(2026, 1, 1),
        phases=(Phase(start=datetime(2026, 1, 1), items=(Item(id="p", price=price),)),),
    )
    renewal = Change(
        id="r", kind="renew", effective=datetime(2026, 2, 1), made_at=datetime(2026, 2, 1), uplift_percent=Decimal(10),
        duration=Interval(unit="month", count=12),
    )  # fmt: skip
    more = Change(
        id="a",
        kind="amend",
        effective=datetime(2026, 4, 1),
        made_at=datetime(2026, 4, 1),
        items=(ItemChange(op="delta", item=Item(id="p", price=price), item_id="p"),),
    )
    lines = proposed(Slice(contract=Contract(id="k", terms=terms, changes=(renewal, more))), datetime(2026, 4, 1))
    assert [line.amount for line in lines] == [1000, 1100, 1100, 2200]
