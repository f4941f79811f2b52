"""Boundaries of billing periods: the k-th is counted from the anchor, so that the 31st comes back after a short month.

31 Jan -> 28 Feb -> 31 Mar. Source: docs.stripe.com/billing/subscriptions/billing-cycle. All civil arithmetic is UTC.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime

from connector.lookalike.stripe.account import Data

Every = tuple[str, int]
"""An interval and how many of them."""

DAY = 86_400
HOUR = 3_600
SECONDS = {"day": DAY, "week": 7 * DAY}
MONTHS = {"month": 1, "year": 12}


def shifted(at: int, every: Every, times: int = 1) -> int:
    """Return the instant *times* intervals after *at*; a day that a month lacks is its last."""
    interval, count = every
    if interval in SECONDS:
        return at + SECONDS[interval] * count * times
    moment = datetime.fromtimestamp(at, UTC)
    year, month = divmod(moment.year * 12 + moment.month - 1 + MONTHS[interval] * count * times, 12)
    day = min(moment.day, monthrange(year, month + 1)[1])
    return int(moment.replace(year=year, month=month + 1, day=day).timestamp())


def last_boundary(anchor: int, every: Every, at: int) -> int:
    """Return the last boundary at or before *at*; boundaries run in both directions from the anchor."""
    times = _guess(anchor, every, at)
    while shifted(anchor, every, times) <= at:
        times += 1
    while shifted(anchor, every, times) > at:
        times -= 1
    return shifted(anchor, every, times)


def next_boundary(anchor: int, every: Every, at: int) -> int:
    """Return the first boundary after *at*."""
    times = _guess(anchor, every, at)
    while shifted(anchor, every, times) > at:
        times -= 1
    while shifted(anchor, every, times) <= at:
        times += 1
    return shifted(anchor, every, times)


def _guess(anchor: int, every: Every, at: int) -> int:
    """Return about how many intervals lie between the anchor and *at*."""
    interval, count = every
    if interval in SECONDS:
        return (at - anchor) // (SECONDS[interval] * count)
    first, second = datetime.fromtimestamp(anchor, UTC), datetime.fromtimestamp(at, UTC)
    months = (second.year - first.year) * 12 + second.month - first.month
    return months // (MONTHS[interval] * count)


def every_of(price: Data) -> Every:
    """Return the interval of a recurring price."""
    return price["recurring"]["interval"], price["recurring"].get("interval_count") or 1


def length_rank(every: Every) -> int:
    """Return a figure that orders intervals by length."""
    interval, count = every
    return SECONDS.get(interval, MONTHS.get(interval, 0) * 30 * DAY) * count


def day_text(at: int) -> str:
    """Return a day as Stripe's descriptions print it: 1 Mar 2026."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment.day} {moment:%b %Y}"
