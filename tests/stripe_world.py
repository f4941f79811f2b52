"""A world whose billing is Stripe's: the demo CRM and the Stripe look-alike over loopback, one clock for all; nothing is mocked but time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from world import World, at, world

from connector.config.stripe import StripeConfig
from connector.lookalike.stripe.account import Account
from connector.lookalike.stripe.server import StripeServer
from connector.sync.rounds import Billed
from connector.sync.seam import Tally

_MOST_DAYS = 25  # without looking: what happened is told for thirty days


@dataclass(slots=True, kw_only=True)
class StripeWorld(World):
    """A world with the Stripe account behind it; *stripe_server* is its address."""

    stripe: Account
    stripe_server: StripeServer

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """Return the objects of a kind in the account, in order of creation."""
        return list(self.stripe.kind(kind).values())

    def counts(self, *kinds: str) -> dict[str, int]:
        """Return how many objects of these kinds there are."""
        return {kind: len(self.stripe.kind(kind)) for kind in kinds}

    def pushes(self) -> list[tuple[Any, ...]]:
        """Return (key, state) of every push."""
        return self.query("SELECT key, state FROM stripe_push ORDER BY id")


@dataclass(slots=True, kw_only=True)
class EveningWorld(StripeWorld):
    """A world whose billing run is followed by the daemon's rounds until the evening, when Stripe has finalized what it billed that day."""

    def bill(self, day: str | None = None) -> tuple[Billed, Tally]:
        """Run `bill` as ever, and once more late in the evening; also on the way to *day*, as a daemon that does not sleep for months."""
        while day is not None and (at(day) - self.clock.now()).days > _MOST_DAYS:
            self.clock.move_to(self.clock.now() + timedelta(days=_MOST_DAYS))
            StripeWorld.bill(self)
            self.sync()
        found = StripeWorld.bill(self, day)
        self.sync()
        self.clock.move_to(self.clock.now().replace(hour=22))
        StripeWorld.bill(self)
        self.sync()
        return found


@contextmanager
def stripe_world(
    folder: Path, *, day: str = "2026-01-01", parallel: int = 1, kind: type[StripeWorld] = StripeWorld, **how: Any
) -> Iterator[StripeWorld]:
    """Give a running world billed on Stripe; see `world.world`. *parallel* 1: calls come in one order, whenever it is run."""
    with world(folder, day=day, **how) as made:
        account = Account(clock=made.clock.now, country="FR", currency="eur")
        with StripeServer(account) as server:
            stripe = StripeConfig(api_key="sk_test_demo", api_base=server.url, parallel=parallel)
            billing = replace(made.config.billing, backend="stripe")
            config = replace(made.config, billing=billing, stripe=stripe)
            yield kind(
                org=made.org, crm=made.crm, config=config, clock=made.clock, ids=made.ids, stripe=account, stripe_server=server
            )
