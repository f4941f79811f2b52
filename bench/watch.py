"""Time and memory of the running process."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec


class Watch:
    """A stopwatch for wall and CPU time that can pause, so that the bench's own bookkeeping does not count."""

    def __init__(self) -> None:
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self._since: tuple[float, float] | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time inside."""
        self._since = (time.perf_counter(), time.process_time())
        try:
            yield
        finally:
            self._stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time inside out, where the watch runs at all."""
        is_running = self._since is not None
        self._stop()
        try:
            yield
        finally:
            if is_running:
                self._since = (time.perf_counter(), time.process_time())

    def _stop(self) -> None:
        if self._since is not None:
            self.wall_s += time.perf_counter() - self._since[0]
            self.cpu_s += time.process_time() - self._since[1]
            self._since = None

    def so_far_s(self) -> float:
        """Return the wall time up to now."""
        return self.wall_s + (time.perf_counter() - self._since[0] if self._since is not None else 0.0)

    @property
    def times(self) -> dict[str, float]:
        """Return both times in seconds."""
        return {"wall_s": self.wall_s, "cpu_s": self.cpu_s}


def peak_mib() -> float:
    """Return the most memory that this process ever held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 1024 / 1024


def hand_back(result: dict[str, Any]) -> None:
    """Print a child's result, the one line its parent reads."""
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
