"""The only module that knows the real time, and the only one that sleeps.

Whoever needs the time is given a `Clock`. The demo moves a `ShiftedClock` through its story and lets it run on from the
end (decision D-30): demo CRM, engine and web share that one object, so all three agree what day it is.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from connector.errors import invariant


class Clock(Protocol):
    """What the shell may ask of time."""

    def now(self) -> datetime:
        """Return the current instant, aware, UTC."""
        ...

    def sleep(self, duration_s: float, stop: threading.Event | None = None) -> bool:
        """Wait up to *duration_s* seconds; return True at once when *stop* is set."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current instant, aware, UTC."""
        return datetime.now(UTC)

    def sleep(self, duration_s: float, stop: threading.Event | None = None) -> bool:
        """Wait up to *duration_s* seconds; return True at once when *stop* is set."""
        if stop is not None:
            return stop.wait(max(duration_s, 0.0))
        time.sleep(max(duration_s, 0.0))
        return False


class ShiftedClock:
    """A clock that shows another time and runs on from there at the real pace; several threads may read and move it."""

    def __init__(self, start: datetime | None = None) -> None:
        self._lock = threading.Lock()
        self._base = _utc(start) if start is not None else datetime.now(UTC)
        self._since = time.monotonic()

    def now(self) -> datetime:
        """Return the shifted instant, aware, UTC."""
        with self._lock:
            return self._base + timedelta(seconds=time.monotonic() - self._since)

    def move_to(self, instant: datetime) -> None:
        """Show *instant* (aware) now and run on from it; moving back is allowed, whoever does it knows why."""
        base = _utc(instant)
        with self._lock:
            self._base = base
            self._since = time.monotonic()

    @property
    def offset(self) -> timedelta:
        """Return how far this clock is ahead of the machine's."""
        return self.now() - datetime.now(UTC)

    def sleep(self, duration_s: float, stop: threading.Event | None = None) -> bool:
        """Wait real seconds: a shifted clock runs at the real pace."""
        return SystemClock().sleep(duration_s, stop)


class FrozenClock:
    """A clock for tests: it stands still, and a sleep moves it instead of waiting."""

    def __init__(self, start: datetime) -> None:
        self._lock = threading.Lock()
        self._now = _utc(start)
        self.slept_s: list[float] = []

    def now(self) -> datetime:
        """Return the instant it was set to, aware, UTC."""
        with self._lock:
            return self._now

    def move_to(self, instant: datetime) -> None:
        """Show *instant* (aware) from now on."""
        with self._lock:
            self._now = _utc(instant)

    def sleep(self, duration_s: float, stop: threading.Event | None = None) -> bool:
        """Move on by *duration_s* seconds without waiting, and remember it in `slept_s`."""
        if stop is not None and stop.is_set():
            return True
        with self._lock:
            self.slept_s.append(duration_s)
            self._now += timedelta(seconds=duration_s)
        return False


def _utc(instant: datetime) -> datetime:
    invariant(instant.tzinfo is not None, f"a clock is set to an aware instant, not to {instant.isoformat()}")
    return instant.astimezone(UTC)
