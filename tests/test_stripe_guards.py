"""The guard before the door to Stripe: a ledger belongs to one account and mode, and made-up deals charge nobody."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from connector.billing.stripe_backend.guard import Bound, GuardedCalls
from connector.errors import HaltError, RetryableError


class Door:
    """An account that counts who asks what; *failing*: so many first answers are lost."""

    def __init__(self, account: str = "acct_1", *, failing: int = 0) -> None:
        self.name, self.failing = account, failing
        self.asked: list[str] = []

    def account(self) -> dict[str, Any]:
        self.asked.append("account")
        if self.failing:
            self.failing -= 1
            raise RetryableError("Stripe cannot be reached.")
        return {"id": self.name, "object": "account"}

    def server_now(self) -> datetime | None:
        return None

    def do(self, call: str, params: Mapping[str, Any], *, target: str | None = None, key: str = "") -> dict[str, Any]:
        self.asked.append(call)
        return {"id": "x", **params}

    def listed(
        self, call: str, params: Mapping[str, Any], *, target: str | None = None, limit: int = 1000
    ) -> list[dict[str, Any]]:
        self.asked.append(call)
        return [{"id": "x"}][:limit]


def test_who_the_key_belongs_to_is_asked_once_before_anything_else() -> None:
    """The first call asks for the account, later ones and other threads do not; the door opens at the first call only."""
    door, opened = Door(), []

    def make() -> Door:
        opened.append(1)
        return door

    calls = GuardedCalls(make, Bound(mode="test", account="acct_1", held_mode="test", expected="acct_1"))
    assert opened == []
    threads = [threading.Thread(target=lambda: calls.listed("invoices.list", {})) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls.do("customers.create", {"name": "A"}, key="k")["name"] == "A"
    assert calls.account()["id"] == "acct_1"
    assert (opened, door.asked) == ([1], ["account", *["invoices.list"] * 4, "customers.create"])


@pytest.mark.parametrize(
    ("bound", "code", "named"),
    [
        (Bound(mode="test", account="acct_0", held_mode="test"), "other-stripe-account", ("acct_0", "acct_1")),
        (Bound(mode="test", expected="acct_2"), "other-stripe-account", ("acct_2", "acct_1")),
    ],
)
def test_another_account_is_refused_and_nothing_else_is_asked(bound: Bound, code: str, named: tuple[str, str]) -> None:
    """Both accounts are named, with the way out; the call that was meant is not made, not even at a second try."""
    door = Door()
    calls = GuardedCalls(lambda: door, bound)
    for _ in range(2):
        with pytest.raises(HaltError) as caught:
            calls.do("customers.create", {}, key="k")
        assert caught.value.code == code
        assert all(name in str(caught.value) for name in named)
        assert caught.value.hint
    assert set(door.asked) == {"account"}


@pytest.mark.parametrize(
    ("bound", "code", "words"),
    [
        (Bound(mode="live", account="acct_1", held_mode="test"), "other-stripe-mode", ("test mode", "live mode")),
        (Bound(mode="test", account="acct_1", held_mode="live"), "other-stripe-mode", ("live mode", "test mode")),
        (Bound(mode="live", crm="Acme Sandbox"), "live-key", ("Acme Sandbox", "live key")),
    ],
)
def test_a_key_of_the_wrong_mode_is_refused_before_stripe_is_asked_at_all(
    bound: Bound, code: str, words: tuple[str, str]
) -> None:
    """A ledger of test mode takes no live key, nor the reverse, and a sandbox or demo org none at all: no door is opened."""
    opened: list[int] = []

    def make() -> Door:
        opened.append(1)
        return Door()

    for act in (lambda c: c.account(), lambda c: c.do("customers.create", {}, key="k"), lambda c: c.listed("events.list", {})):
        with pytest.raises(HaltError) as caught:
            act(GuardedCalls(make, bound))
        assert caught.value.code == code
        assert all(word in str(caught.value) for word in words)
    assert opened == []


def test_a_lost_first_answer_is_asked_again() -> None:
    """Where Stripe could not be reached, the next call asks for the account anew; nothing passes unseen."""
    door = Door(failing=1)
    calls = GuardedCalls(lambda: door, Bound(mode="test"))
    with pytest.raises(RetryableError):
        calls.listed("events.list", {})
    assert calls.listed("events.list", {}) == [{"id": "x"}]
    assert door.asked == ["account", "account", "events.list"]
