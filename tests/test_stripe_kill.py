"""Killed at every call to the outside, the next run ends as if nothing had happened: a real SIGKILL, a real ledger, the look-alikes' own log.

By default a few of the worlds that each kind of work leaves are tried; with KILL_EVERYWHERE=1 all that it leaves, before and after each call.
"""

from __future__ import annotations

from pathlib import Path

import postgres
import pytest
from stripe_kill_works import EVERYWHERE, WORKS, some
from stripe_killing import WAYS, Work, differences, staged

ON_A_SERVER = ("three deals", "requests about customers", "nightly sweep") if EVERYWHERE else ("three deals",)


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS, ids=lambda w: w.name)
def test_ended_at_every_call_its_successor_leaves_what_an_undisturbed_one_leaves(tmp_path: Path, work: Work) -> None:
    """Whatever is done, at each call to Stripe, CRM and mail server it may end: nothing is lost and nothing is done twice."""
    with staged(tmp_path, work) as stage:
        found = stage.everywhere(some(work))
        if EVERYWHERE:
            assert differences(stage.undisturbed().state, found.calm) == []
    print(f"{work.name}: {len(found.calls)} calls, {found.worlds} worlds, {found.tried} tried, {len(found.told)} differ")
    assert not found.told, "\n".join(found.told)
    assert found.tried > 1


@pytest.mark.slow
def test_killed_at_a_call_its_successor_leaves_what_an_undisturbed_one_leaves(tmp_path: Path) -> None:
    """A real SIGKILL in the midst of three deals: before a call leaves, while Stripe works on it, with its answer in hand."""
    with staged(tmp_path, WORKS[0]) as stage:
        calm = stage.undisturbed()
        begun = next(n for n, call in enumerate(calm.calls) if call.endswith("/query"))
        points = [(n, way) for n in range(begun, len(calm.calls)) for way in WAYS if EVERYWHERE or n % 24 == 8 * WAYS.index(way)]
        told = [text for n, way in points for text in stage.killed(n, way, calm)]
    assert {way for _, way in points} == set(WAYS)
    assert not told, "\n".join(told)


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_A_SERVER)
def test_killed_at_a_call_with_its_ledger_on_postgresql(tmp_path: Path, name: str) -> None:
    """The same with the ledger on a server, which sees that a process has died and gives back what it held."""
    (work,) = [w for w in WORKS if w.name == name]
    with staged(tmp_path, work, database=postgres.new_database()) as stage:
        calm = stage.undisturbed()
        step = 1 if EVERYWHERE else len(calm.calls) // 3
        points = [(n, WAYS[n // step % 3]) for n in range(step // 2, len(calm.calls), step)]
        told = [text for n, way in points for text in stage.killed(n, way, calm)]
    assert len({way for _, way in points}) == 3
    assert not told, "\n".join(told)


@pytest.mark.slow
def test_two_workers_of_whom_one_is_killed_do_everything_once(tmp_path: Path) -> None:
    """While one worker is at it, the other is refused with who holds the ledger; once that is killed, the other leaves what one undisturbed leaves."""
    with staged(tmp_path, WORKS[0]) as stage:
        calm = stage.undisturbed()
        n = calm.calls.index("POST /v1/subscription_schedules")
        refused, told = stage.beside(n, calm.state)
    assert refused == "ledger-locked"
    assert not told, "\n".join(told)
