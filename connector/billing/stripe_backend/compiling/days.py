"""Civil days and Stripe's instants: a day goes as an instant whose UTC date is that day, and comes back by it (decision D-11).

Worked example: 1 March in Paris, with local noon of standard time, is 11:00 UTC on 1 March in summer and in winter, so that the anchor
never moves to another day.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAY_S = 86_400


@lru_cache(maxsize=256)
def noon(timezone: str) -> str:
    """Return local noon of standard time as time of day in UTC, on the same date: "11:00:00" for Paris."""
    zone = ZoneInfo(timezone)
    offsets = [datetime(2026, month, 1, 12, tzinfo=zone).utcoffset() or timedelta() for month in (1, 7)]
    seconds = 12 * 3600 - int(min(offsets).total_seconds())
    return _text(min(max(seconds, 0), DAY_S - 1))


def _text(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def time_of(at: datetime) -> str:
    """Return the UTC time of day of an aware instant, in whole seconds."""
    return at.astimezone(UTC).strftime("%H:%M:%S")


def moment(day: date, at_time: str) -> datetime:
    """Return the instant at which a civil day begins for Stripe."""
    return datetime.combine(day, time.fromisoformat(at_time), UTC)


def instant_of(day: date, at_time: str) -> int:
    """Return that instant in seconds since 1970, as parameters have it."""
    return int(moment(day, at_time).timestamp())


def day_of(seconds: int) -> date:
    """Return the civil day of one of Stripe's instants."""
    return datetime.fromtimestamp(seconds, UTC).date()


def day_ahead(now: datetime, at_time: str) -> date:
    """Return the first civil day that has not begun for Stripe."""
    today = now.astimezone(UTC).date()
    return today if moment(today, at_time) > now else today + timedelta(days=1)


def midnight(day: date) -> datetime:
    """Return the start of a civil day as core counts it."""
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 - core counts in local civil time (D-11)
