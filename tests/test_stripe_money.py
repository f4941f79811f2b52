"""Amounts between ISO 4217 and Stripe's table: exact both ways, or a plain refusal."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.billing.stripe_backend.money import minor_amount, minor_price, stripe_amount, stripe_price
from connector.errors import RejectedError

amounts = st.integers(-(10**12), 10**12)


@pytest.mark.parametrize(
    ("minor", "currency", "stripe"),
    [
        (1050, "eur", 1050),
        (1050, "jpy", 1050),
        (1050, "xaf", 1050),
        (5, "isk", 500),
        (-5, "ugx", -500),
        (500, "mga", 5),
        (1230, "kwd", 1230),
        (0, "tnd", 0),
    ],
)
def test_amounts_go_by_stripes_table(minor: int, currency: str, stripe: int) -> None:
    """Cents and whole units stay; isk and ugx go as hundredths, mga as whole units, three decimals on the ten."""
    assert stripe_amount(minor, currency) == stripe
    assert minor_amount(stripe, currency) == minor


@pytest.mark.parametrize(
    ("minor", "currency", "words"),
    [
        (1234, "kwd", "The amount 1.234 KWD cannot be billed: amounts in KWD go in steps of 0.01 there."),
        (550, "mga", "The amount 5.50 MGA cannot be billed: amounts in MGA go in steps of 1 there."),
        (100, "iqd", "IQD cannot be billed there."),
        (100, "xxy", "XXY cannot be billed there."),
        (100, "xau", "XAU cannot be billed there."),
        (100, "clf", "CLF cannot be billed there."),
        (100, "uyi", "UYI cannot be billed there."),
    ],
)
def test_what_stripe_cannot_say_is_refused_not_rounded(minor: int, currency: str, words: str) -> None:
    """An amount between Stripe's steps, or a currency that it does not have, is refused in plain words."""
    with pytest.raises(RejectedError) as caught:
        stripe_amount(minor, currency)
    assert caught.value.problem.message == words


def test_what_iso_cannot_say_is_refused_on_the_way_back() -> None:
    """An amount of Stripe's that is no whole unit of ours is refused, not rounded."""
    with pytest.raises(RejectedError, match="550 isk"):
        minor_amount(550, "isk")


@pytest.mark.parametrize(("minor", "currency", "stripe"), [("0.5", "eur", "0.5"), ("0.005", "isk", "0.5"), ("150", "mga", "1.5"), ("1.2345", "kwd", "1.2345")])
def test_a_price_may_be_finer_than_an_amount(minor: str, currency: str, stripe: str) -> None:
    """The price of one unit goes exactly, with decimals of Stripe's unit."""
    assert stripe_price(Decimal(minor), currency) == Decimal(stripe)
    assert minor_price(Decimal(stripe), currency) == Decimal(minor)


def test_a_price_has_twelve_decimals_at_most() -> None:
    """A price that Stripe would cut off is refused."""
    assert stripe_price(Decimal("0.000000000001"), "eur") == Decimal("1E-12")
    assert stripe_price(Decimal("1.5000000000000000"), "eur") == Decimal("1.5")
    with pytest.raises(RejectedError, match="more decimals"):
        stripe_price(Decimal("0.0000000000001"), "eur")


@given(amounts, st.sampled_from(["eur", "usd", "jpy", "xof", "isk", "ugx"]))
def test_every_amount_of_these_currencies_comes_back(minor: int, currency: str) -> None:
    """Of currencies without steps every amount goes and comes back as it was."""
    assert minor_amount(stripe_amount(minor, currency), currency) == minor


@given(amounts, st.sampled_from(["kwd", "bhd", "tnd", "mga"]))
def test_an_amount_of_the_others_comes_back_or_is_refused(minor: int, currency: str) -> None:
    """Of currencies with steps an amount on a step comes back as it was, and any other is refused."""
    on_step = minor % (100 if currency == "mga" else 10) == 0
    try:
        assert minor_amount(stripe_amount(minor, currency), currency) == minor
    except RejectedError:
        assert not on_step
    else:
        assert on_step
