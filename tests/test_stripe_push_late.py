"""A push that comes so late that a period which it took as ahead has begun: planned anew, from what was carried out of it (see `late`)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_stripe_pushing import CONTRACT, GROUP, LINE, NOW, WHOLE, Desk, lost, opened, plan_of, whole

from connector.billing.stripe_backend.steps import Held, Plan


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Give a desk with an empty ledger."""
    yield from opened(tmp_path)


NOON = datetime(2026, 5, 1, 9, tzinfo=UTC)  # when the subscription of `plan_of` bills next after it was planned


def test_a_push_in_time_is_sent_as_planned(desk: Desk) -> None:
    """Up to a minute before the next period begins the plan holds."""
    desk.begin(plan_of())
    assert desk.run(later=NOON - NOW - timedelta(minutes=2)).done == 1
    assert whole(desk)


def test_just_before_a_period_begins_nothing_is_begun(desk: Desk) -> None:
    """In the last minute a push waits for the period to begin, and is planned anew then."""
    desk.begin(plan_of())
    desk.at = NOW
    desk.books.plans = [plan_of()]
    assert desk.run(later=NOON - NOW - timedelta(seconds=30)).wait == 1
    assert desk.account.counts() == {"customers": 1}, "a shared object says nothing of a period"
    assert desk.run(later=timedelta(seconds=30)).done == 1
    assert [k for k in desk.account.keys if "schedule" in k] == ["org/d1/r1/p2/month/schedule"]


def test_a_late_push_waits_until_everything_is_read(desk: Desk) -> None:
    """While Stripe may have billed what was not read back there is no plan; the push is asked for it every two minutes."""
    desk.begin(plan_of())
    desk.books.plans = [None, None, plan_of()]
    assert desk.run(later=NOON - NOW).wait == 1
    assert desk.run(later=timedelta(minutes=1)).wait == 1
    assert desk.run(later=timedelta(minutes=1)).wait == 1
    assert desk.run(later=timedelta(minutes=2)).done == 1
    assert desk.account.counts() == WHOLE


def test_a_late_push_with_nothing_left_to_send_is_done(desk: Desk) -> None:
    """Where the plan of now has no steps the push is over."""
    desk.begin(plan_of())
    desk.books.plans = [Plan(held=Held(contract_id=CONTRACT))]
    assert desk.run(later=NOON - NOW).done == 1
    assert desk.state() == "done"


def test_what_was_carried_out_of_a_late_push_stays(desk: Desk) -> None:
    """Of two subscriptions one was made in time: it is kept, and the plan of now starts from it."""
    desk.account.faults = [("subscription_schedules.create", "after", lost())]
    stopped: list[int] = []

    def stops(call: str, target: str | None) -> None:
        del target
        if call == "subscription_schedules.create":
            stopped.append(1)
            if len(stopped) == 2:  # the first is answered at its second try
                desk.stop.set()

    desk.account.on_call = stops
    desk.begin(plan_of(groups=("month", "other"), has_own=False))
    assert desk.run().done == 0
    desk.stop.clear()
    desk.account.on_call = lambda _call, _target: None
    desk.books.plans = [plan_of(groups=("month",), has_own=False)]
    desk.at = NOON
    desk.books.plans = [Plan(held=Held(contract_id=CONTRACT, groups=(GROUP,)))]
    assert desk.run().done == 1
    assert desk.account.counts() == {"customers": 1, "subscription_schedules": 1}
    first = desk.books.settled[0]
    assert [(g.name, g.schedule) for g in first.held.groups] == [("month", "subscription_schedules_1")]


def test_a_step_nobody_answered_is_looked_up_before_it_is_dropped(desk: Desk) -> None:
    """The schedule was made and its answer lost: after the period began it is found, not dropped, and the rest goes on as planned."""
    desk.account.faults = [("subscription_schedules.create", "after", lost()) for _ in range(3)]
    desk.begin(plan_of())
    assert desk.run().done == 0
    assert desk.run(later=NOON - NOW).done == 1
    assert whole(desk)


def test_a_late_invoice_of_our_own_is_sent_as_planned(desk: Desk) -> None:
    """Lines of ours count what was billed when they were planned; no period that begins changes that."""
    desk.begin(Plan(steps=tuple(s for s in plan_of().steps if not s.name.startswith("month")), held=plan_of().held, lines=(LINE,)))
    assert desk.run(later=NOON - NOW).done == 1
    assert desk.account.counts() == {"customers": 1, "invoices": 1, "invoice_items": 1}


def test_an_own_bug_in_planning_anew_is_told(desk: Desk) -> None:
    """Where the plan of now cannot be made the push is refused, and what was wrong is told."""
    desk.begin(plan_of())
    assert desk.run(later=NOON - NOW).refused == 1
    assert desk.state() == "refused"
