"""Asking Stripe for events: thousands in one second, a burst while pages are turned, and what is let go of in the middle."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connector import migrations
from connector.billing.stripe_backend.reading import events
from connector.billing.stripe_backend.refusals import Answer, Refusal
from connector.errors import Problem
from connector.kit.db import Database
from connector.lookalike.stripe.account import Account, Refused
from connector.lookalike.stripe.happenings import listed

NOW = datetime(2026, 4, 1, 9, tzinfo=UTC)


class Events:
    """The look-alike's list of events as the client gives it; *between* is called before each page."""

    def __init__(self) -> None:
        self.account = Account(clock=lambda: NOW)
        self.pages = 0
        self.between = lambda: None

    def happen(self, count: int, type_: str = "invoice.updated", at: datetime = NOW) -> None:
        """Let so many events happen in one second."""
        self.account.moment = int(at.timestamp())
        for n in range(count):
            self.account.emit(type_, {"id": f"in_{len(self.account.events)}_{n}", "object": "invoice", "customer": "cus_1"})
        self.account.moment = None

    def do(self, call: str, params: Mapping[str, Any], *, target: str | None = None, key: str = "") -> dict[str, Any]:
        """Answer a page of events."""
        assert (call, target, key) == ("events.list", None, "")
        assert len(params["types"]) <= 20  # Stripe takes no more
        self.between()
        self.pages += 1
        try:
            return listed(self.account, {}, dict(params))
        except Refused as no:
            raise Refusal(Problem(code="stripe-resource-missing", message=no.message), Answer(status=no.status, error={"code": no.code})) from no


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Return empty books."""
    found = Database(f"sqlite:///{tmp_path}/books.db")
    with found.engine.begin() as connection:
        migrations.upgrade(connection)
    with found.transaction() as unit:
        events._move(unit, int(NOW.timestamp()) - 60, NOW)  # somebody looked a minute ago
    return found


def poll(database: Database, stripe: Events) -> int:
    """Poll once and return how many events were new."""
    return events.poll(database, stripe, NOW, threading.Event())  # type: ignore[arg-type]


def place(database: Database) -> int:
    """Return how far the poll came, in seconds from now."""
    with database.read() as unit:
        return int(unit.query("SELECT created FROM stripe_event WHERE state = 'poll'")[0][0]) - int(NOW.timestamp())


def kept(database: Database) -> int:
    """Return how many events wait."""
    with database.read() as unit:
        return int(unit.query("SELECT COUNT(*) FROM stripe_event WHERE state = 'new'")[0][0])


def test_more_events_in_one_second_than_a_page_holds(database: Database) -> None:
    """1,200 events of one second, and one of a minute before, are all taken, and the poll moves on behind them."""
    stripe = Events()
    stripe.happen(1, at=NOW - timedelta(minutes=1))
    stripe.happen(1200)
    assert poll(database, stripe) == 1201
    assert (kept(database), place(database)) == (1201, 0)
    assert poll(database, stripe) == 0


def test_a_burst_while_pages_are_turned(database: Database) -> None:
    """What happens meanwhile, in the same second, is neither lost nor does it hide what was to come: this look or the next takes each once."""
    stripe = Events()
    stripe.happen(700)
    left = [5]

    def burst() -> None:
        if left[0]:
            left[0] -= 1
            stripe.happen(60)

    stripe.between = burst
    first = poll(database, stripe)
    assert first >= 700
    assert first + poll(database, stripe) == kept(database) == 1000


def test_stripe_lets_go_of_the_event_that_a_page_begins_behind(database: Database) -> None:
    """Events older than thirty days vanish, also between two pages: the poll ends there and has moved on."""
    stripe = Events()
    stripe.happen(150)
    turned = []

    def vanish() -> None:
        if turned:
            stripe.account.events.clear()
        turned.append(1)

    stripe.between = vanish
    assert poll(database, stripe) == 100
    assert place(database) == 0


def test_a_poll_that_is_stopped_does_not_move(database: Database) -> None:
    """A stop between two pages keeps what was listed and leaves the place where it was, so that the next look lists the rest."""
    stripe = Events()
    stripe.happen(250)
    stop = threading.Event()
    stripe.between = stop.set
    assert events.poll(database, stripe, NOW, stop) == 100  # type: ignore[arg-type]
    assert place(database) == -60
    assert poll(database, stripe) == 150
    assert place(database) == 0
