"""Date literals: `LAST_N_DAYS:30` on 10 March is 8 February up to and including today; weeks start on Sunday.

A range is half-open, [first day, day after the last). For instants its ends are midnights in the org's time zone. Fiscal
literals are not known: a real org may have its own fiscal year.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from connector.lookalike.crm.values import instant_text

_COUNTED = re.compile(r"(LAST|NEXT)_N_(DAY|WEEK|MONTH|QUARTER|YEAR)S:(\d+)|N_(DAY|WEEK|MONTH|QUARTER|YEAR)S_AGO:(\d+)")
_PLAIN = re.compile(r"(LAST|THIS|NEXT)_(WEEK|MONTH|QUARTER|YEAR)")
_DAYS = {"TODAY": (0, 1), "YESTERDAY": (-1, 0), "TOMORROW": (1, 2), "LAST_90_DAYS": (-90, 1), "NEXT_90_DAYS": (1, 91)}
_MAX_COUNT = 4000


def day_range(word: str, now: datetime, zone: ZoneInfo) -> tuple[str, str]:
    """Return the days that a date literal covers, as texts, half-open. Raises: ValueError if there is no such literal."""
    low, high = _days(word, now.astimezone(zone).date())
    return low.isoformat(), high.isoformat()


def instant_range(word: str, now: datetime, zone: ZoneInfo) -> tuple[str, str]:
    """Return the instants that a date literal covers, as texts, half-open. Raises: ValueError if there is no such literal."""
    low, high = _days(word, now.astimezone(zone).date())
    midnights = (datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC) for day in (low, high))
    first, last = (instant_text(at) for at in midnights)
    return first, last


def _days(word: str, today: date) -> tuple[date, date]:
    if word in _DAYS:
        first, last = _DAYS[word]
        return today + timedelta(days=first), today + timedelta(days=last)
    plain = _PLAIN.fullmatch(word)
    if plain:
        step = _STEPS[plain[2]]
        offset = {"LAST": -1, "THIS": 0, "NEXT": 1}[plain[1]]
        return step(today, offset), step(today, offset + 1)
    counted = _COUNTED.fullmatch(word)
    if counted is None:
        raise ValueError(word)
    return _counted(counted, today)


def _counted(counted: re.Match[str], today: date) -> tuple[date, date]:
    count = int(counted[3] or counted[5])
    step = _STEPS[counted[2] or counted[4]]
    if not 0 < count <= _MAX_COUNT:
        raise ValueError(counted[0])
    if counted[5]:
        return step(today, -count), step(today, 1 - count)
    if counted[1] == "NEXT":
        return step(today, 1), step(today, count + 1)
    # days count today in, longer units end with the last full one
    return step(today, -count), step(today, 1 if counted[2] == "DAY" else 0)


def _day(today: date, offset: int) -> date:
    return today + timedelta(days=offset)


def _week(today: date, offset: int) -> date:
    return today - timedelta(days=(today.weekday() + 1) % 7) + timedelta(weeks=offset)


def _month(today: date, offset: int) -> date:
    months = today.year * 12 + today.month - 1 + offset
    return date(months // 12, months % 12 + 1, 1)


def _quarter(today: date, offset: int) -> date:
    return _month(date(today.year, (today.month - 1) // 3 * 3 + 1, 1), offset * 3)


def _year(today: date, offset: int) -> date:
    return date(today.year + offset, 1, 1)


_STEPS: dict[str, Callable[[date, int], date]] = {
    "DAY": _day,
    "WEEK": _week,
    "MONTH": _month,
    "QUARTER": _quarter,
    "YEAR": _year,
}
