"""How a billing service outside the books will hold a contract: what it bills by itself, what the connector bills there, what it does not show."""

from __future__ import annotations

from datetime import date

from connector.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSubscription:
    """One subscription of a contract there. every - its shortest rhythm in words; phases - how many stretches of it are to come, the
    running one counted; ends_on - None: it runs on. billed_ahead_to - it bills the periods up to then in advance by itself."""

    name: str
    every: str
    starts_on: date
    ends_on: date | None
    phases: int
    items: int
    billed_ahead_to: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """How a contract will stand at the billing service *at*.

    by_connector - what is billed there by items of the connector's own; unseen - what was agreed and does not show there as it was agreed.
    """

    at: str
    subscriptions: tuple[HeldSubscription, ...] = ()
    by_connector: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
