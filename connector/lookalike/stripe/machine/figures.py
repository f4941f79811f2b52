"""Rounding and splitting of minor units: half away from zero, shares floored and the remainder to the last.

Stripe's documented example: 500 over 1000 and 2000 is 166 and 334 (docs.stripe.com/billing/subscriptions/coupons).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction


def rounded(amount: Fraction) -> int:
    """Return the nearest whole minor unit, a half away from zero."""
    doubled = abs(amount) * 2 + 1
    whole = doubled.numerator // (doubled.denominator * 2)
    return whole if amount >= 0 else -whole


def fraction_of(value: object) -> Fraction:
    """Return a figure of Stripe's (int, Decimal, decimal text) exactly."""
    return Fraction(Decimal(str(value)))


def split(total: int, over: Sequence[int]) -> list[int]:
    """Return the shares of *total* over positive amounts, none larger than its amount; what the last cannot bear moves forward."""
    whole = sum(over)
    total = min(total, whole)
    if whole == 0:
        return [0 for _ in over]
    shares = [total * amount // whole for amount in over]
    rest = total - sum(shares)
    for place in reversed(range(len(over))):
        room = min(rest, over[place] - shares[place])
        shares[place] += room
        rest -= room
    return shares
