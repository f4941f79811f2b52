"""What control endpoints do; rooms that can do something to the account from outside register it here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from connector.lookalike.stripe.account import Account, Data, Refused

Deed = Callable[[Account, Data], Any]

CONTROLS: dict[str, Deed] = {}
"""Name below /_control -> (account, JSON body) -> data to answer with, None for nothing. Called under the account's lock, caught up."""


def control(name: str) -> Callable[[Deed], Deed]:
    """Register `POST /_control/{name}`."""

    def registered(deed: Deed) -> Deed:
        CONTROLS[name] = deed
        return deed

    return registered


def text_of(body: Data, name: str) -> str:
    """Return a text of a control request. Raises: Refused."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(f"{name}: a text is required", param=name)
    return value


def number_of(body: Data, name: str) -> int:
    """Return a whole number of a control request. Raises: Refused."""
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(f"{name}: a whole number is required", param=name)
    return value
