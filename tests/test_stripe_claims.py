"""Two processes that send at once, because one has lost the ledger without noticing: never for one customer, on a real PostgreSQL server.

A process here is a fork with connections of its own; the look-alike's server is in this one. The ledger's lock is left out on purpose.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import postgres
import psycopg
import pytest
from stripe_wire import WATCH
from stripe_world import StripeWorld, stripe_world

from connector import app
from connector.billing.stripe_backend.backend import StripeBilling
from connector.billing.stripe_backend.client import StripeCalls
from connector.kit.claims import ALONE, Claims, Unclaimed
from connector.kit.db import Database
from connector.sync import rounds, sending
from connector.sync.seam import Tally

DAY = "2026-03-20"
FORK = multiprocessing.get_context("fork")
ACCOUNTS = {"harbor": 3, "vega": 2}


@pytest.fixture
def url() -> str:
    """Return the address of an empty database of a PostgreSQL server."""
    return postgres.new_database()


# ---------------------------------------------------------------- claims


def test_a_name_is_claimed_by_one(url: str) -> None:
    """Of two sessions one has a name until it gives it back or ends; who wants to be alone waits for all, and all for who is alone."""
    one, two = Claims(url), Claims(url)
    assert one.take("cus_1")
    assert not two.take("cus_1")
    assert not two.take(ALONE)
    assert two.take("cus_2")
    one.give("cus_1")
    assert two.take("cus_1")
    two.close()
    assert _soon(lambda: one.take(ALONE))
    two = Claims(url)
    assert not two.take("cus_3")
    one.close()
    assert _soon(lambda: two.take("cus_3"))
    two.close()


def test_a_lost_session_is_seen(url: str) -> None:
    """Who lost its session hears of it before the next thing it does; who cannot reach the server has nothing either."""
    claims = Claims(url)
    assert claims.take("cus_1")
    claims.check()
    _lose_sessions(url)
    with pytest.raises(Unclaimed):
        claims.check()
    with pytest.raises(Unclaimed):
        Claims(f"{url}&port=1").take("cus_1")


def test_nobody_works_beside_an_sqlite_ledger(tmp_path: Path) -> None:
    """There everything is granted, and nothing is asked."""
    database = Database(f"sqlite:///{tmp_path}/one.db")
    with database.claims() as one, database.claims() as two:
        assert one.take("cus_1")
        assert two.take("cus_1")
        two.check()
        two.give("cus_1")
    database.close()


def _soon(given: Callable[[], bool]) -> bool:
    """Whether something is given within seconds: a server sees that a session has ended, but not in the same instant."""
    return any(given() or time.sleep(0.05) for _ in range(200))


def _lose_sessions(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'connector sending' AND datname = current_database()")


# ---------------------------------------------------------------- processes


@dataclass(slots=True)
class Sender:
    """A process that sends once; *calls* are what it asked to be done at Stripe, with beginning and end."""

    made: StripeWorld
    billing: StripeBilling
    at: Callable[[int, str], None] = lambda _n, _call: None
    calls: list[tuple[str, str, float, float]] = field(default_factory=list)
    pipe: Any = None
    process: Any = None

    def start(self) -> Sender:
        ours, theirs = FORK.Pipe()
        self.pipe = ours
        self.process = FORK.Process(target=self._run, args=(theirs,), daemon=True)
        self.process.start()
        return self

    def end(self) -> list[tuple[str, str, float, float]]:
        """Return what it asked for."""
        assert self.pipe.poll(120), "it hangs"
        found: list[tuple[str, str, float, float]] = self.pipe.recv()
        self.process.join(60)
        return found

    def _run(self, pipe: Any) -> None:
        WATCH.is_on = False
        send = StripeCalls._send
        lock = threading.Lock()

        def sent(calls: StripeCalls, call: str, params: Any, target: Any, key: str, *rest: Any) -> Any:
            if not key:
                return send(calls, call, params, target, key, *rest)
            with lock:
                n = len(self.calls)
                self.calls.append((key, call, 0, 0))
            begun = time.monotonic()
            self.at(n, call)
            time.sleep(0.02)
            try:
                return send(calls, call, params, target, key, *rest)
            finally:
                self.calls[n] = (key, call, begun, time.monotonic())

        StripeCalls._send = sent  # type: ignore[method-assign]  # a slower line, so that calls meet
        database = Database(self.made.config.database)
        self.billing.push(
            database, self.made.clock.now, tell=sending.told, stop=threading.Event(), log=lambda *_a, **_k: None,
            progress=lambda _n: None,
        )  # fmt: skip
        pipe.send(self.calls)
        database.close()


@pytest.fixture
def made(tmp_path: Path, url: str) -> Iterator[StripeWorld]:
    """Give a world with five deals of two new customers, decided and not sent."""
    with stripe_world(tmp_path, day=DAY, database=url) as made:
        made.sync()
        for account, count in ACCOUNTS.items():
            made.account(account)
            for n in range(count):
                name = f"{account}_{n}"
                made.deal(name, {"UnitPrice": "60.00", "Quantity": n + 1}, account=account, CloseDate=DAY, Contract_Start_Date__c=DAY)
                made.win(name)
        with made.house("sync") as house:
            rounds.sync(replace(house.seam, remote=None), Tally())
        assert [state for _, state in made.pushes()] == ["pending"] * 5
        yield made


def sender(made: StripeWorld, at: Callable[[int, str], None] = lambda _n, _call: None) -> Sender:
    """Return a process that will send, without the ledger's lock."""
    with app.writing_house(made.config, "one", clock=made.clock) as house:
        assert isinstance(house.billing, StripeBilling)
        return Sender(made, house.billing, at)


def account_of(made: StripeWorld, key: str) -> str:
    """Return whose push a key belongs to."""
    (deal,) = [name for name in made.ids if made.ids[name] in key and name[-2:-1] == "_"]
    return deal.rpartition("_")[0]


def whole(made: StripeWorld) -> None:
    """See that everything stands there once."""
    made.sync()
    assert made.counts("customer", "subscription_schedule", "subscription", "invoice") == {
        "customer": 2, "subscription_schedule": 5, "subscription": 5, "invoice": 5,
    }  # fmt: skip
    assert sorted(o["metadata"]["crm_account"] for o in made.objects("customer")) == sorted(made.ids[a] for a in ACCOUNTS)
    assert [state for _, state in made.pushes()] == ["done"] * 5
    assert {made.said(f"{account}_{n}")[0] for account, count in ACCOUNTS.items() for n in range(count)} == {"Active"}


@pytest.mark.slow
def test_two_processes_never_send_for_one_customer_at_once(made: StripeWorld) -> None:
    """Two that send at the same time: their calls meet, but never two of one customer, and each customer is made once."""
    together = FORK.Barrier(2)

    def at(n: int, _call: str) -> None:
        if n == 0:
            together.wait(60)

    first, second = [sender(made, at) for _ in range(2)]
    first.start()
    second.start()
    calls = [[(account_of(made, key), begun, end) for key, _, begun, end in one.end()] for one in (first, second)]
    assert calls[0]
    assert calls[1]
    meet = {one == other for one, b1, e1 in calls[0] for other, b2, e2 in calls[1] if b1 < e2 and b2 < e1}
    assert meet == {False}
    whole(made)


@pytest.mark.slow
def test_who_is_killed_gives_its_customer_back(made: StripeWorld) -> None:
    """While a process is stopped in a call, its successor, which holds the ledger, sends for others alone; once it is killed the rest goes out."""
    stopped, for_ever = FORK.Event(), FORK.Event()

    def at(n: int, _call: str) -> None:
        if n == 2:
            stopped.set()
            for_ever.wait()

    first = sender(made, at).start()
    assert stopped.wait(60)
    beside = {account_of(made, key) for key, *_ in sender(made).start().end()}
    assert len(beside) == 1
    assert made.counts("customer") == {"customer": 2}
    first.process.kill()
    first.process.join(60)
    assert first.process.exitcode == -signal.SIGKILL
    after = {account_of(made, key) for key, *_ in sender(made).start().end()}
    assert after == {*ACCOUNTS} - beside
    whole(made)


@pytest.mark.slow
def test_who_has_lost_its_claim_asks_for_nothing_more(made: StripeWorld, url: str) -> None:
    """A process whose connection the server ended ends with the call in hand; the next one leaves everything once."""
    stopped, go_on = FORK.Event(), FORK.Event()

    def at(n: int, _call: str) -> None:
        if n == 2:
            stopped.set()
            go_on.wait()

    first = sender(made, at).start()
    assert stopped.wait(60)
    _lose_sessions(url)
    second = sender(made).start().end()
    go_on.set()
    assert len(first.end()) == 3
    assert {account_of(made, key) for key, *_ in second} == {*ACCOUNTS}
    whole(made)
