"""Every room with endpoints, imported so that they are registered; and what an account needs before its first request."""

from __future__ import annotations

from connector.lookalike.stripe import catalogue, customers, happenings, offers, settings
from connector.lookalike.stripe.account import Account
from connector.lookalike.stripe.machine import loading

ROOMS = (catalogue, customers, happenings, offers, settings, *loading.ROOMS)
PREPARED = "prepared"


def prepare(account: Account) -> None:
    """Make an account ready, once."""
    if account.machine.get(PREPARED):
        return
    account.machine[PREPARED] = True
