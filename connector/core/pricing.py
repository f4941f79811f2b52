"""What a quantity costs for one full period, exactly: flat, per unit, tiered, packaged, and prices quoted for another span.

Worked examples: up to 5 at 700, up to 10 at 650, above at 600 make 20 units 12750 graduated and 12000 by volume. 100.00 a
year billed monthly is 10000 x 1/12, and no quotient is stored before the line is rounded (decision D-33).
"""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from connector.core.money import Ratio
from connector.core.period import Interval, days_of, months_of
from connector.core.terms import Price, Tier


def span_ratio(interval: Interval, per: Interval | None) -> Ratio | None:
    """Return how many *per* an *interval* holds (month of a year: 1/12); None where months and days do not compare."""
    if per is None or per == interval:
        return (1, 1)
    months, per_months = months_of(interval), months_of(per)
    if months and per_months:
        return (months, per_months)
    if not months and not per_months:
        return (days_of(interval), days_of(per))
    return None


def _packages(quantity: Decimal, price: Price) -> Decimal:
    if not price.divide_by:
        return quantity
    n, d = quantity.as_integer_ratio()
    d *= price.divide_by
    return Decimal(-(-n // d) if price.divide_round == "up" else n // d)


def _graduated(tiers: tuple[Tier, ...], quantity: Decimal) -> Decimal:
    total, below = tiers[0].flat_amount, Decimal(0)
    for number, tier in enumerate(tiers):
        if number and quantity <= below:
            break
        total += tier.flat_amount if number else 0
        top = quantity if tier.up_to is None else min(quantity, tier.up_to)
        total += max(Decimal(0), top - below) * tier.unit_amount
        below = top if tier.up_to is None else tier.up_to
    return total


def _volume(tiers: tuple[Tier, ...], quantity: Decimal) -> Decimal:
    reached = next((t for t in tiers if t.up_to is None or quantity <= t.up_to), tiers[-1])
    return reached.flat_amount + quantity * reached.unit_amount


def cost(price: Price, quantity: Decimal) -> Ratio:
    """Return the exact price of *quantity* for one full period, or once for a one-time price, in minor units."""
    if price.tiers_mode is None and price.divide_by is None:
        unit = price.unit_amount or Decimal(0)
        un, ud = unit.as_integer_ratio()
        qn, qd = quantity.as_integer_ratio()
        n, d = un * qn, ud * qd
    else:
        units = _packages(quantity, price)
        if price.tiers_mode == "graduated":
            total = _graduated(price.tiers, units)
        elif price.tiers_mode == "volume":
            total = _volume(price.tiers, units)
        else:
            total = units * (price.unit_amount or Decimal(0))
        n, d = total.as_integer_ratio()
    if price.per is not None and price.interval is not None:
        ratio = span_ratio(price.interval, price.per)
        if ratio is not None:
            return n * ratio[0] * price.per_parts, d * ratio[1]
    return n, d


def raised(price: Price, percent: Decimal) -> Price:
    """Return *price* raised by *percent*, rounded to the decimals it has itself, at least whole minor units."""
    if not percent:
        return price

    def up(amount: Decimal) -> Decimal:
        exponent = amount.as_tuple().exponent
        unit = Decimal(1).scaleb(exponent) if isinstance(exponent, int) and exponent < 0 else Decimal(1)
        return (amount * (100 + percent) / 100).quantize(unit, ROUND_HALF_UP)

    tiers = tuple(replace(t, unit_amount=up(t.unit_amount), flat_amount=up(t.flat_amount)) for t in price.tiers)
    return replace(price, unit_amount=None if price.unit_amount is None else up(price.unit_amount), tiers=tiers)


def as_fraction(ratio: Ratio) -> Fraction:
    """Return a ratio as Fraction, for callers outside the inner loop."""
    return Fraction(*ratio)
