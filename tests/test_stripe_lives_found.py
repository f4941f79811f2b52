"""Lives that random search found to be billed otherwise on Stripe once, each as small as it gets."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from stripe_lives import Life, differences, lived
from test_stripe_compiling import contract_of

from connector.core.period import to_utc
from connector.core.terms import Change, Contract, Interval, Item, ItemChange, Phase, Prebill, Price, Renewal

MONTH, YEAR = Interval(unit="month"), Interval(unit="year")


def item(name: str, unit_amount: int, interval: Interval = MONTH, **more: Any) -> Item:
    return Item(id=name, price=Price(id=name, unit_amount=Decimal(unit_amount), interval=interval), quantity=Decimal(1), **more)


def change(name: str, kind: str, day: datetime, made: datetime | None = None, **more: Any) -> Change:
    return Change(id=name, kind=kind, effective=day, made_at=made or day, **more)  # type: ignore[arg-type]


def alike(contract: Contract, days: int = 200, made_after: timedelta = timedelta()) -> Life:
    """Let a contract live on the model of Stripe, each plan asked twice; every item comes to what the engine bills."""
    start = to_utc(contract.terms.start, contract.terms.timezone)
    until = start + timedelta(days=days)
    life = lived(contract, start + made_after, until)
    assert differences(life, until, by_item=True) == []
    return life


def test_paused_twice_and_resumed_once() -> None:
    """Paused on the 12th and again on the 14th, resumed on 22 April: the subscription collects again from May on."""
    contract = contract_of((item("seat", 3_000),), datetime(2026, 1, 5))
    changes = (change("a", "pause", datetime(2026, 1, 12)), change("b", "pause", datetime(2026, 1, 14)), change("c", "resume", datetime(2026, 4, 22)))
    life = alike(replace(contract, changes=changes))
    assert sorted(line.net for line in life.facts if line.start >= datetime(2026, 4, 22)) == [1_300, 3_000, 3_000, 3_000]


def test_a_trial_that_was_over_in_a_pause_leaves_with_the_resumption() -> None:
    """Paused in the trial, resumed in May: what stood for the trial ends on the next day, and the new subscription does not change when that is."""
    agreed = contract_of((item("seat", 3_000),), datetime(2026, 1, 5), trial_end=datetime(2026, 2, 2))
    more = ItemChange(op="delta", item=item("seat", 3_000), item_id="seat")
    changes = (
        change("a", "pause", datetime(2026, 1, 12)),
        change("b", "amend", datetime(2026, 3, 5), until=datetime(2026, 5, 16), items=(more,), proration_behavior="always_invoice"),
        change("c", "resume", datetime(2026, 4, 22), datetime(2026, 5, 12)),
    )
    alike(replace(agreed, changes=changes))


def test_what_rides_with_a_subscription_that_begins_later_today_stays_there() -> None:
    """A change at midnight makes a subscription that begins at noon and bears the credit: asked again, the credit gets no invoice of its own."""
    agreed = contract_of((item("seat", 3_000, YEAR),), datetime(2026, 2, 6), end=datetime(2027, 2, 6))
    more, desk = ItemChange(op="delta", item=item("seat", 3_000, YEAR), item_id="seat"), ItemChange(op="add", item=item("desk", 500))
    changes = (change("a", "amend", datetime(2026, 3, 29), items=(more, desk), proration_behavior="always_invoice"),)
    life = alike(replace(agreed, changes=changes), made_after=timedelta(days=45))
    assert life.plans == 2
    assert life.held is not None
    assert [group.phases[0].once for group in life.held.groups] == [(), ("k/seat//2026-02-06/credit/a", "k/seat/a/2026-03-29/charge")]


def test_a_subscription_that_would_bill_nothing_is_not_made() -> None:
    """Two until 27 February next year, of which the last three weeks are ours: once the rest is billed by us, too, nothing is left for Stripe."""
    agreed = contract_of((item("seat", 3_000, YEAR),), datetime(2026, 2, 6))
    more = ItemChange(op="delta", item=item("seat", 3_000, YEAR), item_id="seat")
    changes = (
        change("a", "renew", datetime(2026, 2, 27), duration=YEAR),
        change("b", "amend", datetime(2026, 3, 29), items=(more,), proration_behavior="always_invoice"),
    )
    life = alike(replace(agreed, changes=changes), made_after=timedelta(days=45))
    assert life.held is not None
    assert life.held.groups == ()


def test_a_credit_that_waits_goes_when_a_cancellation_reaches_back_without_credit() -> None:
    """2,367 wait to be given back since the last seat went; canceled next day as of the start, without proration: nobody gives them back."""
    quarter = Interval(unit="month", count=3)
    agreed = contract_of((item("seat", 3_000, quarter),), datetime(2026, 1, 18))
    less = ItemChange(op="delta", item=replace(item("seat", 3_000, quarter), quantity=Decimal(-1)), item_id="seat")
    more = ItemChange(op="add", item=item("desk", 0, quarter))
    changes = (
        change("a", "amend", datetime(2026, 2, 6), items=(less, more)),
        change("b", "cancel", datetime(2026, 1, 18), datetime(2026, 2, 7), prorate=False),
    )
    life = alike(replace(agreed, changes=changes))
    assert [line.net for line in life.facts if line.net] == [3_000]


def test_the_rest_of_what_stands_in_one_subscription_begins_where_that_ends() -> None:
    """Canceled before it began and renewed in May: two subscriptions one after the other, not two that run at once and change with every look."""
    agreed = contract_of((item("seat", 3_000, YEAR),), datetime(2026, 2, 12), anchor=datetime(2026, 2, 22), end=datetime(2027, 2, 12), end_behavior="renew")
    changes = (
        change("a", "cancel", datetime(2026, 2, 12)),
        change("b", "renew", datetime(2026, 5, 3), when="term_end", duration=Interval(unit="month", count=5)),
    )
    life = alike(replace(agreed, changes=changes), days=430)
    assert life.held is not None
    ahead = [(group.phases[0].began or group.phases[0].start, group.phases[-1].end) for group in life.held.groups if group.phases]
    assert all(end is None or end <= begun for (_, end), (begun, _) in pairwise(sorted(ahead, key=lambda a: a[0])))


def test_periods_that_stripe_bills_ahead_by_itself() -> None:
    """Four months at once from the afternoon on, then month by month; four more seats in July end that subscription, and another goes on."""
    agreed = contract_of((item("seat", 3_000),), datetime(2026, 2, 12), prebill=Prebill(periods=4))
    changes = (change("a", "amend", datetime(2026, 7, 20), items=(ItemChange(op="delta", item=item("seat", 3_000), item_id="seat"),), proration_behavior="always_invoice"),)
    life = alike(replace(agreed, changes=changes), made_after=timedelta(hours=15))
    assert life.held is not None
    assert [bool(group.ahead_to) for group in life.held.groups] == [True, False]
    assert [line.net for line in life.facts[:5]] == [3_000] * 5


def test_what_is_left_of_a_subscription_that_would_end_at_once_is_not_made_anew_at_every_look() -> None:
    """From 24 February three seats instead of one, billed up front: the fortnight around that day is ours, the subscription of all later ones stays."""
    fortnight = Interval(unit="week", count=2)
    start, second = datetime(2026, 2, 3), datetime(2026, 2, 24)
    agreed = contract_of((item("seat", 3_000, fortnight), item("desk", 500)), start, anchor=datetime(2026, 2, 1))
    three = tuple(replace(i, quantity=Decimal(3)) for i in agreed.terms.phases[0].items)
    phases = (replace(agreed.terms.phases[0], end=second), Phase(start=second, items=three, billing_behavior="prorate_up_front"))
    life = alike(replace(agreed, terms=replace(agreed.terms, phases=phases)))
    assert life.held is not None
    assert [group.is_over for group in life.held.groups] == [False, False]


def test_years_billed_ahead_month_by_month_have_one_subscription_for_what_comes_after_a_gap() -> None:
    """Added in July as of May, billed ahead up to May and renewed monthly: its subscription, which begins next year, stands unless something changes."""
    agreed = contract_of((item("seat", 3_000),), datetime(2026, 1, 12), end=datetime(2026, 2, 12), end_behavior="renew", anchor=datetime(2026, 1, 1), renewal=Renewal())
    desk = ItemChange(op="add", item=item("desk", 249, YEAR))
    more = change("a", "amend", datetime(2026, 5, 26), datetime(2026, 7, 5), items=(desk,), proration_behavior="none", prebill=Prebill(until=datetime(2027, 5, 11)))
    alike(replace(agreed, changes=(more,)), days=430)
