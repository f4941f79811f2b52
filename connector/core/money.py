"""Minor units: the one rounding rule, the one splitting rule, and the way to and from a currency's major unit.

An amount is an int of minor units. A quotient is carried as a pair (n, d) of ints with d > 0 and rounded once, half away
from zero. Worked examples: 1001 over half a month is 500.5 and becomes 501, its credit -501; 500 over lines of 1000 and
2000 is 166 + 334.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

Ratio = tuple[int, int]
"""An exact quotient (n, d), d > 0, not necessarily in lowest terms."""

ONE: Ratio = (1, 1)


@lru_cache(maxsize=256)
def digits(currency: str) -> int:
    """Return the number of decimals of *currency* by ISO 4217 (eur 2, jpy 0, kwd 3); ValueError for an unknown code."""
    from iso4217 import Currency  # late: `simulate --json` never asks

    exponent = Currency(currency.upper()).exponent
    if exponent is None:
        raise ValueError(f"{currency} is a code for something that is not money")  # such as XAU, gold
    return int(exponent)


def quotient(n: int, d: int) -> int:
    """Return n / d rounded half away from zero; *d* is positive."""
    if n >= 0:
        return (2 * n + d) // (2 * d)
    return -((d - 2 * n) // (2 * d))


def rounded(amount: Fraction | Decimal) -> int:
    """Return *amount* in whole minor units, half away from zero."""
    n, d = amount.as_integer_ratio()
    return quotient(n, d)


def allocate(amount: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Return *amount* split by *weights* (none negative): each share floored on the absolute amount, the rest to the last.

    The last is the last with a weight; without any weight it is the last line. ValueError without lines.
    """
    if not weights:
        raise ValueError("nothing to split the amount over")
    total = sum(weights)
    whole = abs(amount)
    last = max((i for i, w in enumerate(weights) if w), default=len(weights) - 1)
    shares = [whole * w // total if total else 0 for w in weights]
    shares[last] += whole - sum(shares)
    return tuple(shares) if amount >= 0 else tuple(-s for s in shares)


def major(minor_units: int, currency: str) -> Decimal:
    """Return an amount in major units with the currency's decimals: 1050 eur is 10.50."""
    return Decimal(minor_units).scaleb(-digits(currency))


def minor(major_units: Decimal, currency: str) -> Decimal:
    """Return a major amount in minor units, not rounded: 0.125 eur is 12.5."""
    return major_units.scaleb(digits(currency))
