"""What the configuration says about when jobs run: cron expressions, checked when the file is read."""

from __future__ import annotations

from typing import Protocol

from connector.kit.crontab import cron_trigger
from connector.kit.yamlpos import Path as At

_JOBS = {"billing_run": "*/10 * * * *", "reconcile": "0 3 * * *"}


class Reader(Protocol):
    """What of the configuration's reader these keys need."""

    def text(self, path: At, default: str, *, is_secret: bool = False) -> str:
        """Return a text, the default where there is none."""

    def add(self, code: str, path: At, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note a problem at a place of the file."""


def read_schedule(reader: Reader) -> dict[str, str]:
    """Return the cron expression of each job."""
    return {name: _expression(reader, name, usual) for name, usual in _JOBS.items()}


def _expression(reader: Reader, name: str, usual: str) -> str:
    at = ("schedule", name)
    value = reader.text(at, usual)
    try:
        cron_trigger(value, "UTC")
    except ValueError as error:
        hint = 'Write minute, hour, day, month and weekday as in crontab, such as "*/10 * * * *".'
        reader.add("bad-schedule", at, f"`schedule.{name}` cannot be read: {error}.", hint)
        return usual
    return value
