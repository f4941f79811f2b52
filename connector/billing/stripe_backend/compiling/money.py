"""Amounts as Stripe counts them: its minor units are ISO's but for a few currencies.

Worked examples: 12 ISK are 1200 for Stripe, 5.00 MGA (500 by ISO) are 5, and 1.250 KWD stay 1250, a multiple of ten.
"""

from __future__ import annotations

from decimal import Decimal

_SHIFTS = {"isk": 2, "ugx": 2, "mga": -2}
_TENS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
MOST = 99_999_999
"""The largest amount that one price or item may have, in Stripe's minor units."""


def to_stripe(amount: Decimal, currency: str) -> Decimal:
    """Return an amount in our minor units in Stripe's."""
    return amount.scaleb(_SHIFTS.get(currency.lower(), 0))


def whole(amount: int, currency: str) -> int:
    """Return a whole amount of ours in Stripe's minor units; nothing is rounded that `is_exact` has let through."""
    return int(to_stripe(Decimal(amount), currency))


def is_exact(amount: int, currency: str) -> bool:
    """Whether Stripe can bill this very amount: some currencies have fewer places there."""
    value = to_stripe(Decimal(amount), currency)
    return value == value.to_integral_value() and (currency.lower() not in _TENS or value % 10 == 0)
