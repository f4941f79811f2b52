"""Delivering: takes what is new from the log, sends what is due, notes the answers; runs beside the daemon on threads of its own.

Nothing is sent inside a transaction, and the billing run never waits for a receiver. What was sent and not noted, because the
process died in between, is sent again: at least once, and the event's id says so to the receiver.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from connector.kit.observe import log
from connector.ports import Unit
from connector.webhooks import queue, sending
from connector.webhooks.endpoint import Endpoint
from connector.webhooks.sending import Send

BATCH = 20  # events whose answers are noted together; as many may come twice after a crash
LOOK_S = 2.0
AT_ONCE = 8  # endpoints that are told at the same time


class Store(Protocol):
    """What is needed of the database."""

    def transaction(self) -> AbstractContextManager[Unit]:
        """Give a unit that commits at the end."""

    def read(self) -> AbstractContextManager[Unit]:
        """Give a unit that only reads."""


@dataclass(slots=True, kw_only=True)
class Round:
    """One pass over one endpoint's queue; *taken*, *failed* and *given_up* count events as it goes on."""

    store: Store
    endpoint: Endpoint
    now: Callable[[], datetime]
    stop: threading.Event
    send: Send = sending.send
    taken: int = 0
    failed: int = 0
    given_up: int = 0

    def deliver(self) -> Round:
        """Deliver everything that is due, in order, until nothing is or *stop* is set."""
        with self.store.read() as unit:
            has_news = queue.has_news(unit, self.endpoint)
        while has_news and not self.stop.is_set():
            with self.store.transaction() as unit:
                has_news = queue.take_news(unit, self.endpoint, self.now()) == queue.AT_ONCE
        while not self.stop.is_set():
            with self.store.read() as unit:
                front = queue.in_front(unit, self.endpoint, self.now(), BATCH)
            if not front or not self._batch(front):
                break
        return self

    def _batch(self, front: Sequence[queue.Waiting]) -> bool:
        """Send events until one is not taken, and note the answers; return whether the next may be looked at."""
        taken: list[int] = []
        failed: tuple[queue.Waiting, str] | None = None
        for waiting in front:
            if self.stop.is_set():
                break
            error = self.send(self.endpoint, waiting.event, self.now())
            if error:
                failed = (waiting, error)
                break
            taken.append(waiting.event.seq)
        state = ""
        with self.store.transaction() as unit:
            queue.mark_delivered(unit, self.endpoint, taken, self.now())
            if failed is not None:
                state = queue.mark_failed(unit, self.endpoint, *failed, self.now())
        self.taken += len(taken)
        if failed is None:
            return True
        self.failed += 1
        self.given_up += state == "dead"
        waiting, error = failed
        name = "webhook.given_up" if state == "dead" else "webhook.failed"
        place, attempt = self.endpoint.place, waiting.attempts + 1
        log(name, endpoint=self.endpoint.id, place=place, event_id=waiting.event.id, attempt=attempt, error=error)
        return state == "dead"


class Courier:
    """Delivers for as long as the daemon runs; *endpoints* is asked at each look, so that a reload counts at once."""

    def __init__(self, store: Store, endpoints: Callable[[], Sequence[Endpoint]], now: Callable[[], datetime]) -> None:
        self._store = store
        self._endpoints = endpoints
        self._now = now
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="webhooks")
        self._pool = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="webhook")
        self._busy: dict[str, Future[None]] = {}

    def start(self) -> None:
        """Start and return."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the requests that are under way, at most their time limits."""
        self._stop.set()
        self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _work(self) -> None:
        while not self._stop.is_set():
            for endpoint in self._idle():
                self._busy[endpoint.id] = self._pool.submit(self._one, endpoint)
            self._stop.wait(LOOK_S)

    def _idle(self) -> Iterator[Endpoint]:
        """Yield the endpoints that nobody is telling; what went wrong with the last pass over one of them is logged."""
        for endpoint in self._endpoints():
            last = self._busy.get(endpoint.id)
            if last is None:
                yield endpoint
            elif last.done():
                error = last.exception()
                if error is not None:
                    log("webhook.failed", endpoint=endpoint.id, place=endpoint.place, event_id="", attempt=0, error=repr(error))
                yield endpoint

    def _one(self, endpoint: Endpoint) -> None:
        Round(store=self._store, endpoint=endpoint, now=self._now, stop=self._stop).deliver()
