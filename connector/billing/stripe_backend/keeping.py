"""What a pass to Stripe asks of the database and of the books."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from connector.billing.stripe_backend.steps import Held, Plan, Push
from connector.core.lines import Line
from connector.errors import Problem
from connector.ports import Unit


class Transactions(Protocol):
    """The database (kit.db)."""

    def transaction(self) -> Any:
        """Return a unit that commits at the end."""

    def read(self) -> Any:
        """Return a unit that only reads."""

    def claims(self) -> Any:
        """Give what a process claims for itself among others (kit.claims)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What is written when a push is over: what Stripe holds, our own lines there, and what was read back from Stripe meanwhile."""

    push: Push
    held: Held
    lines: Sequence[Line]
    items: dict[str, str]
    read: Any = None
    problem: Problem | None = None


class Books(Protocol):
    """What the pass asks of the books: once a push is over, outside a transaction what to read back, inside one to write it."""

    def read_back(self, push: Push) -> Any:
        """Return what Stripe says now of everything that a push touched. Raises: RetryableError."""

    def settle(self, unit: Unit, settled: Settled, now: datetime) -> Sequence[str]:
        """Write what came of a push; return the deals to tell."""

    def anew(self, unit: Unit, push: Push, now: datetime) -> Plan | None:
        """Return the plan of a push's contract as of now; None while Stripe may have billed something that was not read back.

        Raises: RejectedError for what Stripe cannot hold.
        """
