"""The guard before the door to Stripe: a ledger belongs to one account and mode, and made-up deals charge nobody."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from stripe_world import StripeWorld, stripe_world

from connector import app
from connector.billing.stripe_backend.guard import Bound, GuardedCalls
from connector.config.stripe import StripeConfig
from connector.errors import HaltError, RetryableError
from connector.kit.db import Database
from connector.lookalike.stripe.account import Account
from connector.lookalike.stripe.server import StripeServer


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


# ---------------------------------------------------------------- a whole world


def bound(here: StripeWorld) -> dict[str, str]:
    """Return what the ledger belongs to."""
    return dict(here.query("SELECT key, value FROM meta WHERE key IN ('org', 'backend', 'stripe_account', 'stripe_mode')"))


def test_first_contact_binds_the_ledger_to_account_and_mode(tmp_path: Path) -> None:
    """The first sync keeps whose account it is and its mode; the next one finds them and goes on; `check`'s account is the same."""
    with stripe_world(tmp_path) as here:
        here.sync()
        assert bound(here) == {"org": here.org.org_id, "backend": "stripe", "stripe_account": here.stripe.id, "stripe_mode": "test"}
        here.sync()
        assert [e.method for e in here.stripe_server.faults.log if e.path == "/v1/account"] == ["GET", "GET"]


def test_a_ledger_meets_no_other_account(tmp_path: Path) -> None:
    """At the same address another account answers: sync halts and names both, verbs without a CRM too; there only its name was asked."""
    with stripe_world(tmp_path) as here:
        here.win("acme_seats")
        here.sync()
        held = here.counts("customer", "subscription_schedule")
        with StripeServer(Account(clock=here.clock.now, id="acct_other")) as other:
            here.config = replace(here.config, stripe=replace(here.config.stripe, api_base=other.url))
            here.win("cobalt_licence")
            with pytest.raises(HaltError) as caught:
                here.sync()
            assert caught.value.code == "other-stripe-account"
            assert here.stripe.id in str(caught.value)
            assert "acct_other" in str(caught.value)
            with app.reading_house(here.config, clock=here.clock) as books, pytest.raises(HaltError, match="acct_other"):
                books.billing.calls.do("customers.create", {"name": "x"}, key="k")  # type: ignore[attr-defined]
            assert {(e.method, e.path) for e in other.faults.log} == {("GET", "/v1/account")}
        assert here.counts("customer", "subscription_schedule") == held


def test_a_live_key_is_refused_where_deals_are_made_up(tmp_path: Path) -> None:
    """A demo CRM refuses a live key before Stripe is asked anything, whatever is wanted; the ledger stays unbound."""
    with stripe_world(tmp_path) as here:
        here.config = replace(here.config, stripe=StripeConfig(api_key="rk_live_1", api_base=here.config.stripe.api_base))
        here.win("acme_seats")
        for act in (here.sync, here.bill):
            with pytest.raises(HaltError) as caught:
                act()
            assert caught.value.code == "live-key"
        assert list(here.stripe_server.faults.log) == []


def test_a_ledger_of_another_mode_or_backend_is_refused_by_every_verb(tmp_path: Path) -> None:
    """A ledger that began live takes no test key, and one that began with the internal engine no Stripe: reading verbs say so, too."""
    with stripe_world(tmp_path) as here:
        here.sync()
        for key, value, code in (("stripe_mode", "live", "other-stripe-mode"), ("backend", "internal", "other-backend")):
            database = Database(here.config.database)
            with database.transaction() as unit:
                unit.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))
            database.close()
            before = len(here.stripe_server.faults.log)
            with pytest.raises(HaltError) as caught:
                here.sync()
            assert caught.value.code == code
            with pytest.raises(HaltError) as caught, app.reading_house(here.config):
                pass
            assert caught.value.code == code
            assert len(here.stripe_server.faults.log) == before
