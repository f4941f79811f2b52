"""Properties of compiling over random contracts: on a model of Stripe they bill what the engine bills, to the cent and key by key."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from histories import contracts, lives, prebilled_lives
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from stripe_lives import differences, lived
from test_stripe_compiling import contract_of

from connector.core.period import to_utc
from connector.core.terms import Change, Contract, Interval, Item, ItemChange, Prebill, Price, Renewal

EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "25"))
ENOUGH = settings(
    derandomize="PROPERTY_EXAMPLES" not in os.environ, max_examples=EXAMPLES, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], phases=[Phase.explicit, Phase.reuse, Phase.generate],
)  # fmt: skip
MADE = st.sampled_from([timedelta(0), timedelta(0), timedelta(hours=15), timedelta(days=-40), timedelta(days=45)])


def _is_same(contract: Contract, made_after: timedelta, days: int = 430, *, by_item: bool = False) -> None:
    start = to_utc(contract.terms.start, contract.terms.timezone)
    until = start + timedelta(days=days)
    life = lived(contract, start + made_after, until)
    assert differences(life, until, by_item=by_item) == []


@ENOUGH
@given(contracts(has_changes=False), MADE)
def test_plain_contracts_bill_the_same_on_stripe(contract, made):
    """Without changes, what Stripe's phases bill and what we send are together the engine's lines; asked again nothing is sent."""
    _is_same(contract, made)


@ENOUGH
@given(contracts(), MADE)
def test_amended_contracts_bill_the_same_on_stripe(contract, made):
    """With amendments, late ones too."""
    _is_same(contract, made)


@ENOUGH
@given(lives(), MADE)
def test_whole_lives_bill_the_same_on_stripe(contract, made):
    """With trials, phases, renewals, pauses, cancellations and periods billed ahead: each item comes to the same."""
    _is_same(contract, made, by_item=True)


@ENOUGH
@given(prebilled_lives(), MADE)
def test_periods_ahead_bill_the_same_on_stripe(contract, made):
    """Billed ahead across terms that renew themselves, by amendments and renewals, too."""
    _is_same(contract, made, by_item=True)


def test_a_part_that_we_go_on_billing_leaves_the_subscription():
    """One more until 30 December, not prorated: the last part of the month is ours, so that Stripe must not bill the part before it once more."""
    quarter, month = Interval(unit="month", count=3), Interval(unit="month")
    seat, desk = (Item(id=n, price=Price(id=n, unit_amount=Decimal(a), interval=i), quantity=Decimal(1)) for n, a, i in (("seat", 388, month), ("desk", 260, quarter)))
    start, on = datetime(2026, 1, 6), datetime(2026, 11, 14)
    more = Change(
        id="a", kind="amend", effective=on, made_at=on, until=datetime(2026, 12, 30), proration_behavior="none",
        items=(ItemChange(op="delta", item=replace(seat, quantity=Decimal(7)), item_id="seat"),),
    )  # fmt: skip
    contract = replace(contract_of((desk, seat), start, end=datetime(2026, 7, 25), end_behavior="renew", renewal=Renewal()), changes=(more,))
    _is_same(contract, timedelta(0))


def test_a_period_billed_ahead_is_billed_anew_by_us_alone():
    """Fewer for 17 days, from the first day of a fortnight that was billed ahead: given back and charged anew by us, never by a subscription as well."""
    fortnight, start, on = Interval(unit="week", count=2), datetime(2026, 2, 5), datetime(2026, 3, 5)
    seat = Item(id="seat", price=Price(id="seat", unit_amount=Decimal(26), interval=fortnight), quantity=Decimal(11))
    fewer = Change(
        id="a", kind="amend", effective=on, made_at=on, until=datetime(2026, 3, 22), proration_behavior="always_invoice",
        items=(ItemChange(op="set", item=replace(seat, quantity=Decimal(4)), item_id="seat"),),
    )  # fmt: skip
    whole = contract_of((seat,), start, end=datetime(2027, 2, 5), end_behavior="renew", renewal=Renewal())
    contract = replace(whole, terms=replace(whole.terms, prebill=Prebill(until=datetime(2026, 11, 23))), changes=(fewer,))
    _is_same(contract, timedelta(0))
