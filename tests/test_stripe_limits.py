"""What Stripe cannot hold is refused before anything is sent: every limit at once, in words for a rep."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from test_stripe_compiling import SEAT, SETUP, at, contract_of, wanted_of

from connector.billing.stripe_backend.compiling.plan import planned
from connector.core.terms import Contract, Coupon, Interval, Item, Phase, Price, TaxRate
from connector.errors import Problem, RejectedError


def in_currency(contract: Contract, currency: str) -> Contract:
    return replace(contract, terms=replace(contract.terms, currency=currency))


def refused(contract: Contract, now: datetime, **more: Any) -> Problem:
    with pytest.raises(RejectedError) as caught:
        planned(wanted_of(contract, now, **more))
    return caught.value.problem


def seats(unit_amount: str, quantity: str = "1", **more: Any) -> Item:
    return Item(id="seat", price=replace(SEAT, unit_amount=Decimal(unit_amount)), quantity=Decimal(quantity), **more)


START = datetime(2026, 4, 1)
NOW = at(2026, 4, 1)


def test_an_amount_between_steps() -> None:
    """1.125 KWD is refused with its line; 1.120 is not, nor is 1.125 EUR in cents."""
    problem = refused(in_currency(contract_of([seats("1125")], START), "kwd"), NOW)
    assert problem.code == "stripe-amount"
    assert problem.message == "Not billed: 1.125 KWD (Seat) cannot be billed: amounts go in steps of 0.010 KWD there."
    assert problem.hint == "Correct price, quantity or discount so that each line comes out on such a step; it is tried again by itself."
    for currency, amount in (("kwd", "1120"), ("eur", "1125"), ("isk", "3")):
        assert planned(wanted_of(in_currency(contract_of([seats(amount)], START), currency), NOW)).steps


def test_an_amount_that_is_too_large() -> None:
    """A million euros in one line is refused, 999,999.99 is not; twelve digits are for rupiah."""
    problem = refused(contract_of([seats("50000000", "2")], START), NOW)
    assert problem.code == "stripe-amount-too-large"
    assert problem.message == "Not billed: 1,000,000.00 EUR (Seat) is more than Stripe takes on one line."
    assert planned(wanted_of(contract_of([seats("99999999")], START), NOW)).steps
    assert planned(wanted_of(in_currency(contract_of([seats("100000000")], START), "idr"), NOW)).steps


def test_a_currency_that_stripe_does_not_have() -> None:
    """Iraqi dinars cannot be billed there."""
    problem = refused(in_currency(contract_of([seats("1000")], START), "iqd"), NOW)
    assert (problem.code, "IQD" in problem.message) == ("stripe-currency", True)


def test_a_trial_of_more_than_two_years() -> None:
    """A free trial of 730 days is sent, one of 731 is refused."""
    def trial(days: int) -> Contract:
        end = datetime.fromordinal(START.toordinal() + days)
        return contract_of([], START, trial_end=end, phases=(Phase(start=START, end=None, items=(seats("3000"),)),))

    assert planned(wanted_of(trial(730), NOW)).steps
    problem = refused(trial(731), NOW)
    assert (problem.code, problem.message) == ("stripe-trial-too-long", "Not billed: A free trial lasts at most 730 days at Stripe.")


def test_too_many_tax_rates() -> None:
    """Six tax rates on a line are refused, five are not."""
    def taxed(count: int) -> Contract:
        rates = tuple(TaxRate(id=f"r{n}", percentage=Decimal(n + 1), inclusive=False) for n in range(count))
        return contract_of([seats("3000", tax_rates=rates)], START)

    assert planned(wanted_of(taxed(5), NOW)).steps
    assert refused(taxed(6), NOW).code == "stripe-tax-rates"


def test_too_many_lines_of_ours_on_one_invoice() -> None:
    """A deal that was agreed for 260 days ago, billed by the day, is refused; for 200 days ago it is not."""
    daily = Price(id="day", description="Day", unit_amount=Decimal(100), interval=Interval(unit="day"))
    item = Item(id="day", price=daily, quantity=Decimal(1))
    problem = refused(contract_of([item], datetime(2026, 1, 1)), at(2026, 9, 18))
    assert problem.code == "stripe-too-many-lines"
    assert "lines would come on one invoice, which holds at most 250." in problem.message
    assert planned(wanted_of(contract_of([item], datetime(2026, 1, 1)), at(2026, 7, 20))).steps


def test_everything_is_told_at_once() -> None:
    """Several limits make one problem that names each, and what to do about each."""
    once = Item(id="setup", price=replace(SETUP, unit_amount=Decimal(99999999990)))
    problem = refused(in_currency(contract_of([seats("1125"), once], START), "kwd"), NOW)
    assert problem.code == "stripe-limits"
    assert "1.125 KWD (Seat)" in problem.message
    assert "(Setup)" in problem.message
    assert "Correct price" in problem.hint
    assert "Split the deal" in problem.hint


def test_many_wrong_amounts_are_counted() -> None:
    """Of many wrong lines the first three are named, and how many more there are."""
    items = [Item(id=f"s{n}", price=replace(SEAT, id=f"s{n}", description=f"Seat {n}", unit_amount=Decimal(1001 + n * 10)), quantity=Decimal(1)) for n in range(5)]
    problem = refused(in_currency(contract_of(items, START), "kwd"), NOW)
    assert "1.001 KWD (Seat 0), 1.011 KWD (Seat 1), 1.021 KWD (Seat 2) and 2 more cannot be billed" in problem.message


def test_what_is_split_is_no_limit() -> None:
    """Twenty-five lines, twelve steps and a price of five years are sent in parts, or billed by items of our own."""
    items = [Item(id=f"s{n}", price=replace(SEAT, id=f"s{n}", unit_amount=Decimal(1000 + n)), quantity=Decimal(1)) for n in range(25)]
    assert planned(wanted_of(contract_of(items, START), NOW)).steps
    steps = tuple(Phase(start=datetime(2026, 4 + n, 1), end=datetime(2026, 5 + n, 1) if n < 7 else None, items=(seats(str(3000 + n)),)) for n in range(8))
    assert planned(wanted_of(contract_of([], START, phases=steps), NOW)).steps
    long = Item(id="long", price=replace(SEAT, id="long", interval=Interval(unit="year", count=5)), quantity=Decimal(1))
    assert planned(wanted_of(contract_of([long], START), NOW)).steps


def test_discounts_of_one_line() -> None:
    """Twenty-one discounts on a line are refused, or billed in a way that holds them; twenty are not refused."""
    def off(count: int) -> Contract:
        coupons = tuple(Coupon(id=f"c{n}", percent_off=Decimal(1), duration="forever") for n in range(count))
        return contract_of([seats("300000", discounts=coupons)], START)

    assert planned(wanted_of(off(20), NOW)).steps
    assert refused(off(21), NOW).code == "stripe-discounts"


def test_a_second_currency_is_told_with_everything_else() -> None:
    """A customer who is billed in dollars, and an amount that is too large: both are said; what runs already is not refused for its currency."""
    problem = refused(contract_of([seats("50000000", "2")], START), NOW, currencies={"usd": "Seats US"})
    assert problem.code == "stripe-limits"
    assert "Acme is already billed in USD (Seats US), and one customer has one currency there." in problem.message
    assert "is more than Stripe takes on one line." in problem.message
    assert planned(wanted_of(contract_of([seats("3000")], START), NOW, currencies={"eur": "Seats"})).steps


def test_a_discount_between_steps_is_told_with_everything_else() -> None:
    """Two discounts of 0.005 KWD leave an amount that can be said, but neither of them can: refused, together with a trial that is too long."""
    off = tuple(Coupon(id=f"c{n}", amount_off=5, duration="forever") for n in range(2))
    problem = refused(in_currency(contract_of([seats("1130", discounts=off)], START), "kwd"), NOW)
    assert (problem.code, "0.005 KWD (Seat)" in problem.message) == ("stripe-amount", True)


def test_too_many_lines_of_ours_on_a_day_to_come() -> None:
    """260 one-time charges on one day of next month are refused today, not then."""
    setups = tuple(Item(id=f"o{n}", price=replace(SETUP, id=f"o{n}"), quantity=Decimal(1), start=datetime(2026, 5, 10)) for n in range(260))
    phase = Phase(start=START, end=None, items=(seats("3000"),), add_invoice_items=setups)
    assert refused(contract_of([], START, phases=(phase,)), NOW).code == "stripe-too-many-lines"
