"""How much of a period a stretch of time is: by whole days, by seconds, or by months and days.

Worked example: 19 July to 1 August of a month that runs from 1 July is 13/31 by `day`. By `month_and_day`
(the "Monthly + Daily" of CPQ) a day is 12/365 of a month, so 1 month and 10 days of a quarter are (1 + 120/365) / 3.
"""

from __future__ import annotations

from datetime import datetime

from connector.core.money import Ratio
from connector.core.period import Interval, months_of, plus_months, to_utc
from connector.core.terms import ProrationBasis


def measure(basis: ProrationBasis, start: datetime, end: datetime, timezone: str) -> int:
    """Return the length of `[start, end)` in the unit of *basis*: days, microseconds, or 365ths of a month."""
    if basis == "day":
        return end.toordinal() - start.toordinal()
    if basis == "second":
        spent = to_utc(end, timezone) - to_utc(start, timezone)
        return (spent.days * 86_400 + spent.seconds) * 1_000_000 + spent.microseconds
    months = max(0, (end.year - start.year) * 12 + end.month - start.month)
    while months > 0 and plus_months(start, months) > end:
        months -= 1
    return months * 365 + (end.toordinal() - plus_months(start, months).toordinal()) * 12


def basis_for(basis: ProrationBasis, interval: Interval | None) -> ProrationBasis:
    """Return the basis that counts for *interval*: periods of days or weeks have no months to count."""
    if basis == "month_and_day" and (interval is None or not months_of(interval)):
        return "day"
    return basis


def share(
    basis: ProrationBasis,
    part: tuple[datetime, datetime],
    full: tuple[datetime, datetime],
    interval: Interval,
    timezone: str,
) -> Ratio:
    """Return the share of the full period that *part* covers, 0 to 1 (n <= d)."""
    if part == full:
        return (1, 1)
    basis = basis_for(basis, interval)
    whole = months_of(interval) * 365 if basis == "month_and_day" else measure(basis, *full, timezone)
    if whole <= 0:
        return (1, 1)
    return (min(measure(basis, *part, timezone), whole), whole)
