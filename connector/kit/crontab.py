"""Cron expressions in a time zone, as crontab(5) reads them: "*/10 * * * *" is every ten minutes, 144 times a day."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MOST_A_DAY = 1440


def cron_trigger(expression: str, timezone: str) -> BaseTrigger:
    """Return the trigger of a five-field cron expression in a time zone.

    The scheduler alone would read weekday 0 as Monday, and day *and* weekday where crontab(5) says *or*.
    Raises: ValueError for what is no cron expression, KeyError for an unknown time zone.
    """
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(f"{expression!r} does not have the five fields of a time plan")
    minute, hour, day, month, weekday = fields
    days = _weekdays(weekday)
    zone = ZoneInfo(timezone)

    def trigger(**which: str) -> CronTrigger:
        return CronTrigger(minute=minute, hour=hour, month=month, timezone=zone, **which)

    if day.startswith("*") or weekday.startswith("*"):
        return trigger(day=day, day_of_week=days)
    return OrTrigger([trigger(day=day), trigger(day_of_week=days)])


def _weekdays(field: str) -> str:
    """Return a weekday field with every day named: "1-3" is "mon,tue,wed", 0 and 7 are Sunday."""
    days: set[str] = set()
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        if span == "*":
            first, last = 0, 6
        else:
            low, _, high = span.partition("-")
            first = _weekday(low)
            last = _weekday(high) if high else (6 if step else first)
            last = 7 if last == 0 and first > 0 else last  # fri-sun
        if first > last or (step and (not step.isdecimal() or int(step) == 0)):
            raise ValueError(f"{part!r} is not a weekday, a list or a range of them")
        days.update(WEEKDAYS[number % 7] for number in range(first, last + 1, int(step or 1)))
    return ",".join(day for day in WEEKDAYS if day in days)


def _weekday(text: str) -> int:
    if text in WEEKDAYS:
        return WEEKDAYS.index(text)
    if text.isdecimal() and int(text) <= 7:
        return int(text)
    raise ValueError(f"{text!r} is not a weekday: 0 to 7, or sun to sat")


def times_a_day(expression: str, timezone: str, now: datetime) -> int:
    """Return how often an expression comes due in the 24 hours after *now*. Raises: ValueError, KeyError as above."""
    trigger, until, at, count = cron_trigger(expression, timezone), now + timedelta(days=1), now, 0
    while count < _MOST_A_DAY:
        due = trigger.get_next_fire_time(None, at)
        if due is None or due > until:
            break
        count, at = count + 1, due + timedelta(seconds=1)
    return count
