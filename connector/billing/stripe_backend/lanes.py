"""Work in lanes: several at once, of one lane one after the other, in order; and objects that several make are made by one at a time.

A lane is a customer: Stripe locks what belongs to one, and two pushes of a new customer would each look for it and make it. What belongs to
no lane runs alone. Nothing here knows of a database or of Stripe.

Worked example: parallel 2 and the lanes a, a, b, c: the first of a and b run together; then the second of a and c.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

ALONE = ""

Task = tuple[str, str]  # what is to be done, and its lane


def spread(tasks: Sequence[Task], work: Callable[[str], bool], *, parallel: int) -> None:
    """Do all tasks, up to *parallel* at once; ends early where *work* returns False, or raises (raised again when the others are done)."""
    if parallel <= 1:
        for name, _ in tasks:
            if not work(name):
                return
        return
    _Spreading(list(tasks), work, parallel).run()


class _Spreading:
    """Tasks that wait and tasks that run, by their lanes."""

    def __init__(self, waiting: list[Task], work: Callable[[str], bool], parallel: int) -> None:
        self.waiting, self.work, self.parallel = waiting, work, parallel
        self.running: dict[Future[bool], str] = {}

    def run(self) -> None:
        error: BaseException | None = None
        with ThreadPoolExecutor(self.parallel, thread_name_prefix="push") as pool:
            while self._start(pool):
                for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                    del self.running[future]
                    error = error or future.exception()
                    if future.exception() is not None or not future.result():
                        self.waiting.clear()
        if error is not None:
            raise error

    def _start(self, pool: ThreadPoolExecutor) -> bool:
        """Start what may run now; return whether anything runs."""
        while len(self.running) < self.parallel:
            at = self._next()
            if at is None:
                break
            name, lane = self.waiting.pop(at)
            self.running[pool.submit(self.work, name)] = lane
        return bool(self.running)

    def _next(self) -> int | None:
        """Return the place of the first task whose lane is free; nothing overtakes one that must run alone."""
        busy = set(self.running.values())
        if ALONE in busy:
            return None
        for at, (_, lane) in enumerate(self.waiting):
            if lane == ALONE:
                return at if not busy else None
            if lane not in busy:
                return at
        return None


@dataclass(slots=True)
class Makers:
    """What several workers find or make: one at a time each, and known to all of them from then on."""

    made: dict[tuple[str, str], str] = field(default_factory=dict)
    _locks: dict[tuple[str, str], threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def making(self, shared: tuple[str, str]) -> Iterator[None]:
        """Hold a shared object while it is found or made."""
        with self._lock:
            lock = self._locks.setdefault(shared, threading.Lock())
        with lock:
            yield


@dataclass(slots=True)
class Brake:
    """Where Stripe says "not now" to one, all wait: its limits count the account's calls, whoever makes them."""

    until: float = 0.0

    def pull(self, seconds: float) -> None:
        """Let nobody go on for some seconds."""
        self.until = max(self.until, time.monotonic() + seconds)

    def hold(self, stop: threading.Event) -> None:
        """Wait as long as it was pulled for."""
        left = self.until - time.monotonic()
        if left > 0:
            stop.wait(left)
