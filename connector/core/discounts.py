"""Coupons on the lines that fall due together: the line's own first, then the contract's, in the order they are listed.

Each coupon works on what the one before left. A percentage is taken of each line and rounded there; a fixed amount is
split over the lines by what is left of their list amounts (floor, the rest to the last, what it cannot bear to the line
before it) and, on a line that covers only part of its period, taken in that part. No line drops below zero.

Worked example: 500 off over 1000 and 2000 is 166 and 334. 50.00 off a list price of 1000.00 prorated to half is 25.00.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from connector.core.money import Ratio, allocate, quotient
from connector.core.terms import Coupon


@dataclass(slots=True, kw_only=True)
class Discountable:
    """A line on its way through the coupons: its amount, the list amount of its whole period, and what it gave so far."""

    left: int
    list_left: int
    share: Ratio
    own: tuple[Coupon, ...]
    shared: tuple[Coupon, ...]
    price_id: str
    product: str = ""
    given: list[tuple[str, int]] = field(default_factory=list)

    def give(self, coupon: Coupon, amount: int, list_amount: int) -> None:
        """Take *amount* off, at most what is left."""
        taken = min(amount, self.left)
        self.left -= taken
        self.list_left -= min(list_amount, self.list_left)
        self.given.append((coupon.id, taken))


def _fits(coupon: Coupon, line: Discountable) -> bool:
    return line.left > 0 and (not coupon.applies_to or line.price_id in coupon.applies_to or line.product in coupon.applies_to)


def _percent(coupon: Coupon, line: Discountable) -> None:
    n, d = (coupon.percent_off or Decimal(0)).as_integer_ratio()
    line.give(coupon, quotient(line.left * n, d * 100), quotient(line.list_left * n, d * 100))


def _fixed(coupon: Coupon, lines: Sequence[Discountable]) -> None:
    weights = [line.list_left for line in lines]
    shares = list(allocate(min(coupon.amount_off or 0, sum(weights)), weights))
    for i in range(len(shares) - 1, 0, -1):
        over = shares[i] - weights[i]
        if over > 0:
            shares[i] -= over
            shares[i - 1] += over
    for line, part in zip(lines, shares, strict=True):
        if part:
            line.give(coupon, quotient(part * line.share[0], line.share[1]), part)


def _take(coupon: Coupon, lines: Sequence[Discountable]) -> None:
    if coupon.percent_off is not None:
        for line in lines:
            _percent(coupon, line)
    elif lines:
        _fixed(coupon, lines)


def take_off(lines: Sequence[Discountable]) -> None:
    """Apply every line's own coupons, then the shared ones, to the lines that fall due together."""
    for line in lines:
        for coupon in line.own:
            if _fits(coupon, line):
                _take(coupon, [line])
    order: list[Coupon] = []
    for line in lines:
        order.extend(c for c in line.shared if all(c.id != o.id for o in order))
    for coupon in order:
        _take(coupon, [line for line in lines if coupon in line.shared and _fits(coupon, line)])
