"""Clocks: the machine's, the demo's shifted one, and the one that stands still."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from connector.errors import InvariantError
from connector.kit.clock import FrozenClock, ShiftedClock, SystemClock

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_a_shifted_clock_runs_on_from_where_it_was_set() -> None:
    """It shows the instant it was moved to and goes on from there at the real pace, back and forth."""
    clock = ShiftedClock(NOON)
    assert NOON <= clock.now() < NOON + timedelta(seconds=5)
    assert clock.now() <= clock.now()
    clock.move_to(NOON + timedelta(days=180))
    assert timedelta(days=180) <= clock.now() - NOON < timedelta(days=180, seconds=5)
    clock.move_to(NOON)
    assert clock.now() < NOON + timedelta(seconds=5)


def test_clocks_show_utc() -> None:
    """Whatever zone an instant is given in, a clock shows it in UTC."""
    paris = datetime(2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1)))
    assert FrozenClock(paris).now() == NOON
    assert FrozenClock(paris).now().tzinfo is UTC
    assert SystemClock().now().tzinfo is UTC
    assert ShiftedClock().now().tzinfo is UTC


@pytest.mark.parametrize("clock", [FrozenClock, ShiftedClock])
def test_a_naive_instant_is_refused(clock: type[FrozenClock | ShiftedClock]) -> None:
    """An instant without a zone is our bug, not a guess."""
    with pytest.raises(InvariantError, match="aware"):
        clock(datetime(2026, 1, 31))


def test_a_frozen_clock_moves_by_sleeping() -> None:
    """Sleeping takes no time in tests; what was slept is remembered."""
    clock = FrozenClock(NOON)
    assert clock.sleep(90) is False
    assert clock.now() == NOON + timedelta(seconds=90)
    assert clock.slept_s == [90]


@pytest.mark.parametrize("clock", [SystemClock(), ShiftedClock(NOON), FrozenClock(NOON)])
def test_a_sleep_ends_at_once_when_told_to_stop(clock: SystemClock | ShiftedClock | FrozenClock) -> None:
    """A set stop event ends any sleep and is reported; zero and negative waits return."""
    stop = threading.Event()
    stop.set()
    assert clock.sleep(3600, stop) is True
    assert clock.sleep(0) is False
