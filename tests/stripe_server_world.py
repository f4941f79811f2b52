"""A Stripe look-alike on a port for tests, with a clock of its own and the real SDK before it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Self

import stripe

from connector.kit.clock import FrozenClock
from connector.lookalike.stripe.account import Account
from connector.lookalike.stripe.server import StripeServer

KEY = "sk_test_demo0001"


class StripeWorld:
    """`with StripeWorld("2026-01-15") as world: world.v1.customers.create(...)`; `move` lets time pass."""

    def __init__(self, start: str = "2026-01-15", **about: Any) -> None:
        self.clock = FrozenClock(datetime.fromisoformat(start).replace(tzinfo=UTC))
        self.account = Account(clock=self.clock.now, **about)
        self.server = StripeServer(self.account)

    def __enter__(self) -> Self:
        self.server.start()
        self.v1 = self.client(KEY.replace("test", "live") if self.account.is_live else KEY).v1
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.server.url

    def client(self, key: str = KEY, **options: Any) -> stripe.StripeClient:
        """Return the real SDK's client for a key; it repeats nothing by itself."""
        base = {"api": self.url, "connect": self.url, "files": self.url, "meter_events": self.url}
        return stripe.StripeClient(key, base_addresses=base, max_network_retries=0, **options)

    def move(self, to: str) -> None:
        """Let it be another moment (UTC); what falls due until then is done with the next request."""
        self.clock.move_to(datetime.fromisoformat(to).replace(tzinfo=UTC))


def seconds(text: str) -> int:
    """Return the seconds of a UTC day or moment."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
