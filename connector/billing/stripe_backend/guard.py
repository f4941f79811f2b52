"""Nothing is asked of the wrong Stripe account: whom a key leads to is compared with what the ledger belongs to, before anything else.

A ledger is bound at first contact to one account and to one mode (test or live), as it is to its CRM org: customers, subscriptions and
invoices that it knows by their ids exist nowhere else. `GuardedCalls` stands before the door to Stripe in every process: its first
call asks who the key belongs to (GET /v1/account), and whatever it is meant for waits until the answer is known to be right.

Worked example: the ledger was bound to acct_1 in test mode. The key is replaced by rk_live_… of the same account: refused, because the
contracts of the ledger exist in test mode only; the way out is another `database:`, which bills from live mode's beginning.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from connector.billing.stripe_backend.steps import Calls
from connector.errors import HaltError

_OTHER = (
    "Put the key of that {what} back, or point `database:` to another file, which begins with none of this ledger's contracts. What this"
    " ledger sent exists in that {what} only; it cannot move."
)


class Door(Calls, Protocol):
    """Calls that can tell whose they are, and what time it is there."""

    def account(self) -> dict[str, Any]:
        """Return the account that the key belongs to."""

    def server_now(self) -> datetime | None:
        """Return the time of Stripe's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What the calls of a ledger must lead to.

    mode - of the key: test or live. expected - the account of the configuration. account, held_mode - what the ledger was bound
    to, None before first contact. crm - the org's name where it is one for trying (sandbox, demo), "" for a production org.
    """

    mode: str
    expected: str | None = None
    account: str | None = None
    held_mode: str | None = None
    crm: str = ""

    def refuse_mode(self) -> None:
        """Raise HaltError where the key moves real money for made-up deals, or is of another mode than the ledger; asks nobody."""
        if self.crm and self.mode == "live":
            raise HaltError(
                f"`stripe.api_key` is a live key, but {self.crm} is a sandbox or demo org: its deals would charge real customers.",
                hint="Use a key of test mode (rk_test_…) for this org; the live key is for the production org.",
                code="live-key",
            )
        if self.held_mode not in (None, self.mode):
            raise HaltError(
                f"This ledger belongs to Stripe's {self.held_mode} mode, but `stripe.api_key` is a key of {self.mode} mode.",
                hint=_OTHER.format(what="mode"),
                code="other-stripe-mode",
            )

    def refuse_account(self, account: str) -> None:
        """Raise HaltError where the key leads to another account than the ledger or the configuration names."""
        if self.account not in (None, account):
            raise HaltError(
                f"This ledger belongs to the Stripe account {self.account}, but `stripe.api_key` leads to {account}.",
                hint=_OTHER.format(what="account"),
                code="other-stripe-account",
            )
        if self.expected not in (None, account):
            raise HaltError(
                f"`stripe.account` is {self.expected}, but `stripe.api_key` leads to {account}.",
                hint="Use a key of that account, or correct `stripe.account`.",
                code="other-stripe-account",
            )


class GuardedCalls:
    """The door to Stripe (see `steps.Calls`) with the guard before it; *make* opens the door, at the first call."""

    def __init__(self, make: Callable[[], Door], bound: Bound) -> None:
        self._make = make
        self._bound = bound
        self._lock = threading.Lock()
        self._door: Door | None = None
        self._account: dict[str, Any] = {}

    @property
    def bound(self) -> Bound:
        """What the key must lead to."""
        return self._bound

    def account(self) -> dict[str, Any]:
        """Return the account that the key belongs to, asked once. Raises: HaltError for a wrong one, and whatever the call raises."""
        self._opened()
        return self._account

    def unasked(self) -> Door:
        """Return the door without asking whose it is, for reads of a check alone: its key may not ask. Raises: HaltError for a wrong mode."""
        self._bound.refuse_mode()
        return self._make()

    def server_now(self) -> datetime | None:
        """Return the time of Stripe's clock, None where it does not say."""
        return self._opened().server_now()

    def do(self, call: str, params: Mapping[str, Any], *, target: str | None = None, key: str = "") -> dict[str, Any]:
        """Carry out one call and return its answer; see `Calls`."""
        return self._opened().do(call, params, target=target, key=key)

    def listed(
        self, call: str, params: Mapping[str, Any], *, target: str | None = None, limit: int = 1000
    ) -> list[dict[str, Any]]:
        """Return up to *limit* objects of a list call; see `Calls`."""
        return self._opened().listed(call, params, target=target, limit=limit)

    def _opened(self) -> Door:
        with self._lock:
            if self._door is None:
                self._bound.refuse_mode()
                door = self._make()
                account = door.account()
                self._bound.refuse_account(str(account["id"]))
                self._door, self._account = door, account
            return self._door
