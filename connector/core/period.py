"""Time by the calendar: boundaries counted from an anchor, and the way between local time and UTC.

Boundary k is the anchor's local date and time moved by k intervals, never derived from boundary k-1, so that 31 January
is followed by 28 February and 31 March. A missing day is the month's last. A period is half-open.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from connector.core.values import dataclass

IntervalUnit = Literal["day", "week", "month", "year"]

_MONTHS = {"month": 1, "year": 12}
_DAYS = {"day": 1, "week": 7}
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MICROSECOND = timedelta(microseconds=1)
INSTANTS_KEPT = 4096  # instants that were converted last; those of one run are few
PERIODS_KEPT = 4096  # periods that were asked for last


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A length of time by the calendar, such as 3 months."""

    unit: IntervalUnit
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A half-open stretch of local time, `[start, end)`."""

    start: datetime
    end: datetime


def months_of(interval: Interval) -> int:
    """Return the months of an interval counted in months or years; 0 for one counted in days or weeks."""
    return _MONTHS.get(interval.unit, 0) * interval.count


def days_of(interval: Interval) -> int:
    """Return the days of an interval counted in days or weeks; 0 for one counted in months or years."""
    return _DAYS.get(interval.unit, 0) * interval.count


def _days_in_month(year: int, month: int) -> int:
    if month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0):
        return 29
    return _LENGTHS[month - 1]


def plus_months(at: datetime, months: int) -> datetime:
    """Return *at* moved by whole months; a missing day is the month's last."""
    year, month0 = divmod(at.year * 12 + at.month - 1 + months, 12)
    day = at.day
    if day > 28:
        day = min(day, _days_in_month(year, month0 + 1))
    return at.replace(year=year, month=month0 + 1, day=day)


def boundary(anchor: datetime, interval: Interval, k: int) -> datetime:
    """Return boundary *k* (any integer) of the periods of *interval* counted from *anchor*."""
    months = _MONTHS.get(interval.unit)
    if months is not None:
        return plus_months(anchor, months * interval.count * k)
    return anchor + timedelta(days=_DAYS[interval.unit] * interval.count * k)


def index(anchor: datetime, interval: Interval, at: datetime) -> int:
    """Return the k of the period that contains *at*: boundary(k) <= at < boundary(k + 1)."""
    months = _MONTHS.get(interval.unit)
    if months is None:
        return (at - anchor) // timedelta(days=_DAYS[interval.unit] * interval.count)
    length = months * interval.count
    if anchor.day <= 28:  # every month has the day, so the calendar decides without trying
        passed = (at.year - anchor.year) * 12 + at.month - anchor.month
        if at.day < anchor.day or (at.day == anchor.day and at.time() < anchor.time()):
            passed -= 1
        return passed // length
    k = ((at.year - anchor.year) * 12 + at.month - anchor.month) // length
    while boundary(anchor, interval, k) > at:
        k -= 1
    while boundary(anchor, interval, k + 1) <= at:
        k += 1
    return k


@lru_cache(maxsize=PERIODS_KEPT)
def period_of(anchor: datetime, interval: Interval, at: datetime) -> tuple[datetime, datetime]:
    """Return the boundaries of the period that contains *at*; items of a contract, and contracts of a day, share periods."""
    k = index(anchor, interval, at)
    return boundary(anchor, interval, k), boundary(anchor, interval, k + 1)


def next_boundary(anchor: datetime, interval: Interval, at: datetime) -> datetime:
    """Return the first boundary after *at*."""
    return period_of(anchor, interval, at)[1]


def is_boundary(anchor: datetime, interval: Interval, at: datetime) -> bool:
    """Whether *at* is a boundary of the periods of *interval* counted from *anchor*."""
    return period_of(anchor, interval, at)[0] == at


def anchor_on(start: datetime, day: int, month: int | None = None) -> datetime:
    """Return the first day *day* (of *month*) on or after *start*, at its time of day.

    Only months that have the day count, so that day 31 keeps meaning the end of every month.
    """
    candidate = start.replace(day=1)
    for _ in range(12 * 8 + 2):  # 29 February is at most 8 years away
        if (month is None or candidate.month == month) and day <= _days_in_month(candidate.year, candidate.month):
            found = candidate.replace(day=day)
            if found >= start:
                return found
        candidate = plus_months(candidate, 1)
    raise ValueError(f"there is no day {day} in month {month}")


def months_between(start: datetime, end: datetime) -> int:
    """Return how many whole months lie between two instants: the most by which *start* moves without passing *end*."""
    months = (end.year - start.year) * 12 + end.month - start.month
    return months if plus_months(start, months) <= end else months - 1


def length_between(start: datetime, end: datetime) -> Interval:
    """Return the interval from *start* to *end*: whole months where it is some, else days."""
    months = (end.year - start.year) * 12 + end.month - start.month
    for n in (months, months - 1):
        if n > 0 and plus_months(start, n) == end:
            return Interval(unit="month", count=n)
    return Interval(unit="day", count=max(1, end.toordinal() - start.toordinal()))


@lru_cache(maxsize=64)
def _zone(timezone: str) -> ZoneInfo:
    return ZoneInfo(timezone)


@lru_cache(maxsize=INSTANTS_KEPT)
def to_utc(local: datetime, timezone: str) -> datetime:
    """Return a naive local instant as aware UTC: in a gap the first valid time after it, in a fold the earlier (D-11)."""
    if timezone == "UTC":
        return local.replace(tzinfo=UTC)
    zone = _zone(timezone)
    found = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None, fold=0) == local:
        return found
    low, high = local.replace(tzinfo=zone, fold=1).astimezone(UTC), found
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


def to_local(at: datetime, timezone: str) -> datetime:
    """Return an instant as naive local time; a naive one is local already."""
    return at if at.tzinfo is None else _local(at, timezone)


@lru_cache(maxsize=INSTANTS_KEPT)
def _local(at: datetime, timezone: str) -> datetime:
    return at.astimezone(_zone(timezone)).replace(tzinfo=None, fold=0)


def midnight(day: date) -> datetime:
    """Return the start of a civil day."""
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 - core counts in local civil time (D-11)
