"""Pushes of different customers go out at once: nothing is made twice, one customer's go one after the other, and a stop stops all.

Processes that are killed while four are under way: test_stripe_kill.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from stripe_world import StripeWorld, stripe_world

from connector.billing.stripe_backend import lanes
from connector.billing.stripe_backend.client import StripeCalls

DAY = "2026-03-20"


class Work:
    """Tasks that note what ran beside them."""

    def __init__(self, lane_of: dict[str, str]) -> None:
        self.lane_of, self.lock = lane_of, threading.Lock()
        self.running: set[str] = set()
        self.most, self.done, self.together = 0, list[str](), set[frozenset[str]]()

    def __call__(self, name: str) -> bool:
        with self.lock:
            self.running.add(name)
            self.most = max(self.most, len(self.running))
            self.together |= {frozenset((name, other)) for other in self.running if other != name}
        time.sleep(0.01)
        with self.lock:
            self.running.discard(name)
            self.done.append(name)
        return True


TASKS = [(f"{lane}{n}", lane) for n in range(4) for lane in "abc"]


@pytest.mark.parametrize("parallel", [2, 4, 16])
def test_of_one_lane_one_after_the_other(parallel: int) -> None:
    """Lanes run beside each other, up to as many as allowed; within one the order stays."""
    work = Work(dict(TASKS))
    lanes.spread(TASKS, work, parallel=parallel)
    assert work.most == min(parallel, 3)
    assert all(len({name[0] for name in pair}) == 2 for pair in work.together)
    for lane in "abc":
        assert [name for name in work.done if name[0] == lane] == [f"{lane}{n}" for n in range(4)]


def test_what_belongs_to_no_lane_runs_alone() -> None:
    """Nothing runs beside it, and nothing behind it overtakes it."""
    tasks = [("a0", "a"), ("x", ""), ("b0", "b"), ("c0", "c")]
    work = Work(dict(tasks))
    lanes.spread(tasks, work, parallel=4)
    assert not any("x" in pair for pair in work.together)
    assert work.done[:2] == ["a0", "x"]


def test_with_one_at_a_time_everything_goes_in_order() -> None:
    """Parallel 1 is no pool at all: the tasks run in this thread, one after the other."""
    threads: list[Any] = []
    done: list[str] = []

    def work(name: str) -> bool:
        threads.append(threading.current_thread())
        done.append(name)
        return True

    lanes.spread(TASKS, work, parallel=1)
    assert done == [name for name, _ in TASKS]
    assert set(threads) == {threading.main_thread()}


@pytest.mark.parametrize("parallel", [1, 3])
def test_an_end_and_an_error_begin_nothing_new(parallel: int) -> None:
    """Where one says that it is enough, what runs comes to its end and nothing more begins; an error is raised after that."""
    for raises in (False, True):
        done: list[str] = []

        def work(name: str, done: list[str] = done, raises: bool = raises) -> bool:
            done.append(name)
            if name == "a0" and raises:
                raise KeyError(name)
            return name != "a0"

        if raises:
            with pytest.raises(KeyError):
                lanes.spread(TASKS, work, parallel=parallel)
        else:
            lanes.spread(TASKS, work, parallel=parallel)
        assert len(done) <= 6


def test_not_now_slows_all() -> None:
    """After "not now" nobody goes on before the time that Stripe asked for; a stop ends the wait."""
    brake, stop = lanes.Brake(), threading.Event()
    brake.pull(0.2)
    brake.pull(0.05)
    began = time.monotonic()
    brake.hold(stop)
    assert time.monotonic() - began >= 0.15
    brake.pull(60)
    stop.set()
    brake.hold(stop)
    assert time.monotonic() - began < 30


# ---------------------------------------------------------------- with everything around it

CUSTOMERS = [f"c{n}" for n in range(6)]


def won(made: StripeWorld) -> None:
    """Win two deals each for six new customers, all with one new product at one price, and an upgrade of one of them."""
    for ref in CUSTOMERS:
        made.account(ref)
        for n in (1, 2):
            fields = {"CloseDate": DAY, "Contract_Start_Date__c": DAY}
            made.deal(f"{ref}_{n}", {"UnitPrice": "60.00", "Quantity": n}, {"product": "setup", "UnitPrice": "250.00"}, account=ref, **fields)
            made.win(f"{ref}_{n}")


def state(made: StripeWorld) -> dict[str, Any]:
    """Return what stands at Stripe and in the CRM, in no order."""
    kinds = ("customer", "product", "price", "subscription_schedule", "subscription", "invoice")
    return {
        "counts": made.counts(*kinds),
        "invoices": sorted((i["status"], i["total"]) for i in made.objects("invoice")),
        "steps": sorted(s["metadata"]["connector_deal"] for s in made.objects("subscription_schedule")),
        "said": [made.said(f"{ref}_{n}")[0] for ref in CUSTOMERS for n in (1, 2)],
        "pushes": sorted(made.pushes()),
    }


def test_many_at_once_end_as_one_after_the_other(tmp_path: Path) -> None:
    """Twelve deals of six customers, four at once, are the same objects, each once, as one after the other; calls really overlap."""
    with stripe_world(tmp_path / "one", day=DAY) as calm:
        won(calm)
        calm.sync()
        expected = state(calm)
    assert expected["counts"]["customer"] == 6
    at_once: list[int] = []
    running: list[str] = []
    before = StripeCalls._send

    def sent(self: StripeCalls, call: str, *rest: Any) -> Any:
        running.append(call)
        at_once.append(len(running))
        time.sleep(0.02)
        try:
            return before(self, call, *rest)
        finally:
            running.pop()

    with stripe_world(tmp_path / "four", day=DAY, parallel=4) as made:
        won(made)
        StripeCalls._send = sent  # type: ignore[method-assign]  # a slower line, so that calls meet
        try:
            tally = made.sync()
        finally:
            StripeCalls._send = before  # type: ignore[method-assign]
        assert state(made) == expected
        assert tally.sent == 12
        assert 2 <= max(at_once) <= 4


@pytest.mark.parametrize("kind", ["rate_limit", "cut_after", "error_after"])
def test_faults_meet_several_at_once(tmp_path: Path, kind: str) -> None:
    """Every other write is struck while four are under way: nothing is made twice, and everything comes through."""
    with stripe_world(tmp_path / "one", day=DAY) as calm:
        won(calm)
        calm.sync()
        expected = state(calm)
    with stripe_world(tmp_path / "four", day=DAY, parallel=4) as made:
        made.sync()
        won(made)
        for n in range(60):
            made.stripe_server.faults.add(kind, method="POST", path=".", after=2 * n)
        made.sync()
        made.stripe_server.faults.clear()
        for _ in range(6):
            made.clock.move_to(made.clock.now().replace(minute=made.clock.now().minute + 5))
            made.sync()
        assert state(made) == expected
