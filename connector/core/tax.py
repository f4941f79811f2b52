"""Tax on the amount after discounts: rates on top of it or inside it, rounded per line or once per document.

Inclusive tax is A - A / (1 + r); an exclusive rate beside it counts on what is left. Worked examples: 15 % on 43 and 484
is 6 and 73 by line. 100 with 10 % inside is 90.91 net; for an exempt customer the price itself is 90.91.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction

from connector.core.money import Ratio, allocate, quotient, rounded
from connector.core.terms import DatedRates, TaxRate

TaxEntry = tuple[str, int, bool]
"""The rate's id, the tax in minor units, whether it is inside the amount."""


def rates_on(rates: DatedRates, day: date) -> tuple[TaxRate, ...]:
    """Return the rates that hold on *day*; none before the first of them.

    Worked example: 22 % from 2024 and 24 % from July 2025 give 22 % on 30 June 2025.
    """
    for since, found in reversed(rates):
        if since <= day:
            return found
    return ()


def inclusive_factor(rates: Sequence[TaxRate]) -> Ratio:
    """Return what remains of a gross price without its inclusive taxes: 1 / (1 + sum of rates)."""
    total = sum((r.percentage for r in rates if r.inclusive), Decimal(0))
    if not total:
        return (1, 1)
    n, d = total.as_integer_ratio()
    return (100 * d, 100 * d + n)


def _exact(net: int, rates: Sequence[TaxRate]) -> list[Fraction]:
    inside = sum((Fraction(r.percentage) for r in rates if r.inclusive), Fraction(0))
    out = []
    for rate in rates:
        if rate.inclusive:
            out.append(net * Fraction(rate.percentage) / (100 + inside))
        else:
            base = net * 100 / (100 + inside) if inside else Fraction(net)
            out.append(base * Fraction(rate.percentage) / 100)
    return out


def line_taxes(net: int, rates: Sequence[TaxRate]) -> tuple[TaxEntry, ...]:
    """Return the taxes of one line, each rounded on its own; an exclusive rate counts on the amount less the rounded inside."""
    if len(rates) == 1 and not rates[0].inclusive:
        n, d = rates[0].percentage.as_integer_ratio()
        return ((rates[0].id, quotient(net * n, d * 100), False),)
    inside = {r.id: rounded(x) for r, x in zip(rates, _exact(net, rates), strict=True) if r.inclusive}
    base = net - sum(inside.values())
    return tuple(
        (r.id, inside[r.id], True) if r.inclusive else (r.id, rounded(base * Fraction(r.percentage) / 100), False)
        for r in rates
    )


def document_taxes(lines: Sequence[tuple[int, Sequence[TaxRate]]]) -> list[tuple[TaxEntry, ...]]:
    """Return the taxes of lines (net, rates) whose sum per rate is rounded once, split back over the lines by their net."""
    sums: dict[str, Fraction] = {}
    shares: dict[str, list[tuple[int, int]]] = {}
    flags: dict[str, bool] = {}
    for at, (net, rates) in enumerate(lines):
        for rate, exact in zip(rates, _exact(net, rates), strict=True):
            sums[rate.id] = sums.get(rate.id, Fraction(0)) + exact
            shares.setdefault(rate.id, []).append((at, abs(net)))
            flags[rate.id] = rate.inclusive
    out: list[list[TaxEntry]] = [[] for _ in lines]
    for rate_id, members in shares.items():
        parts = allocate(rounded(sums[rate_id]), [w for _, w in members])
        for (at, _), part in zip(members, parts, strict=True):
            out[at].append((rate_id, part, flags[rate_id]))
    return [tuple(o) for o in out]
