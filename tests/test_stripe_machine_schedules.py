"""Schedules of the Stripe look-alike: phases, what an update replaces, how they end."""

from __future__ import annotations

import pytest

from connector.lookalike.stripe.account import Data, Refused
from tests.stripe_machine import SEND, Machine, at, day


def lines(world: Machine) -> list[int]:
    """Return the amounts on the latest invoice."""
    return [line["amount"] for line in world.invoices()[-1]["lines"]["data"]]


def test_a_free_phase_then_a_paid_one() -> None:
    """A phase that is wholly a trial costs nothing; the next begins a full period at its start."""
    world = Machine("2026-01-10")
    world.price("p", 1000)
    world.schedule(
        {"items": [{"price": "p"}], "end_date": at("2026-01-24"), "trial": True},
        {"items": [{"price": "p"}], "duration": {"interval": "year"}, "proration_behavior": "none"},
        default_settings=SEND,
    )
    world.to("2026-02-25")
    assert world.table() == [
        "2026-01-10 paid 0: 0 2026-01-10..2026-01-24",
        "2026-01-24 open 1000: 1000 2026-01-24..2026-02-24",
        "2026-02-24 open 1000: 1000 2026-02-24..2026-03-24",
    ]


def test_a_phase_with_its_own_anchor_bills_a_full_period_at_its_start() -> None:
    """A phase for a part at a price of its own, then phase_start: each is billed once, at its start, and nothing is credited."""
    world = Machine("2026-01-10")
    world.schedule(
        {"items": [{"price": world.price("part", 710)}], "end_date": at("2026-02-01"), "proration_behavior": "none"},
        {
            "items": [{"price": world.price("p", 1000)}],
            "duration": {"interval": "year"},
            "billing_cycle_anchor": "phase_start",
            "proration_behavior": "none",
        },
        default_settings=SEND,
    )
    world.to("2026-03-02")
    assert world.table() == [
        "2026-01-10 open 710: 710 2026-01-10..2026-02-10",
        "2026-02-01 open 1000: 1000 2026-02-01..2026-03-01",
        "2026-03-01 open 1000: 1000 2026-03-01..2026-04-01",
    ]


def test_the_period_in_which_a_schedule_ends_its_subscription_is_prorated() -> None:
    """What is canceled inside a period is billed for the part of it, whatever the phase says of prorations; a first period alone is whole with none."""
    world = Machine("2026-04-01")
    for behavior in ("none", "create_prorations"):
        world.schedule(
            {"items": [{"price": world.price("p", 3000)}], "end_date": at("2026-05-01")},
            {"items": [{"price": world.price("part", 3100)}], "end_date": at("2026-05-11"), "proration_behavior": behavior},
            default_settings=SEND, end_behavior="cancel",
        )  # fmt: skip
    world.to("2026-06-02")
    assert world.table()[2:] == ["2026-05-01 open 1000: 1000 2026-05-01..2026-05-11"] * 2
    whole = Machine("2026-05-01")
    for behavior in ("none", "create_prorations"):
        part = {"items": [{"price": whole.price("part", 3100)}], "end_date": at("2026-05-11"), "proration_behavior": behavior}
        whole.schedule(part, default_settings=SEND, end_behavior="cancel")
    assert [invoice["total"] for invoice in whole.invoices()] == [3100, 1000]


def test_a_phase_in_mid_period_prorates_into_it() -> None:
    """A phase that begins in mid-month with the default behaviour leaves credit and charge for the next invoice."""
    world = Machine("2026-04-01")
    world.schedule(
        {"items": [{"price": world.price("p", 1000)}], "end_date": at("2026-04-16")},
        {"items": [{"price": world.price("q", 2000)}], "duration": {"interval": "year"}},
        default_settings=SEND,
    )
    world.to("2026-05-02")
    assert world.table()[1] == (
        "2026-05-01 open 2500: 2000 2026-05-01..2026-06-01, -500 2026-04-16..2026-05-01, 1000 2026-04-16..2026-05-01"
    )


def test_a_schedule_update_replaces_what_is_and_comes() -> None:
    """An update resends the current phase, changes its quantity with the prorations asked for, and plans another phase."""
    world = Machine("2026-04-01")
    world.price("p", 1000)
    made = world.schedule({"items": [{"price": "p"}], "duration": {"interval": "year"}}, default_settings=SEND)
    world.to("2026-04-16")
    current = {"start_date": at("2026-04-01"), "items": [{"price": "p", "quantity": 3}], "end_date": at("2026-06-01")}
    after = {"items": [{"price": "p", "quantity": 5}], "duration": {"interval": "month"}, "proration_behavior": "none"}
    world.post(
        "subscription_schedules/{id}",
        {"phases": [current, after], "proration_behavior": "always_invoice", "end_behavior": "cancel"},
        id=made["id"],
    )
    assert lines(world) == [-500, 1500]
    world.to("2026-08-01")
    assert [one["total"] for one in world.invoices()] == [1000, 1000, 3000, 5000]
    assert made["status"] == "completed"


def test_a_schedule_update_that_ends_the_phase_now() -> None:
    """A current phase that ends now gives way to the next one at once."""
    world = Machine("2026-04-01")
    world.price("p", 1000)
    world.price("q", 2000)
    made = world.schedule({"items": [{"price": "p"}], "duration": {"interval": "year"}}, default_settings=SEND)
    world.to("2026-04-16")
    world.post("subscription_schedules/{id}", {"phases": [
        {"start_date": at("2026-04-01"), "items": [{"price": "p"}], "end_date": "now"},
        {"items": [{"price": "q"}], "duration": {"interval": "month"}, "proration_behavior": "none", "billing_cycle_anchor": "phase_start"},
    ]}, id=made["id"])  # fmt: skip
    assert world.table()[-1] == "2026-04-16 draft 2000: 2000 2026-04-16..2026-05-16"
    assert day(made["current_phase"]["start_date"]) == "2026-04-16"


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        ([{"items": [{"price": "p"}]}], "anchor end dates"),
        ([{"items": [{"price": "p"}], "start_date": at("2026-04-05")}], "start date of the current phase"),
        ([{"items": [{"price": "p"}], "start_date": at("2026-04-01"), "end_date": at("2026-04-10")}], "in the past"),
    ],
)
def test_a_schedule_update_is_refused(phases: list[Data], words: str) -> None:
    """An update without its anchor, with another start or an end in the past is refused; so is one of a schedule that is over."""
    world = Machine("2026-04-01")
    world.price("p", 1000)
    made = world.schedule({"items": [{"price": "p"}], "duration": {"interval": "year"}}, default_settings=SEND)
    world.to("2026-04-16")
    with pytest.raises(Refused, match=words):
        world.post("subscription_schedules/{id}", {"phases": phases}, id=made["id"])
    world.post("subscription_schedules/{id}/cancel", {"invoice_now": False, "prorate": False}, id=made["id"])
    with pytest.raises(Refused, match="canceled"):
        world.post("subscription_schedules/{id}", {"phases": phases}, id=made["id"])


def test_two_defaults_for_cancel() -> None:
    """Canceling a schedule credits and invoices by default, canceling a subscription does neither."""
    world = Machine("2026-04-01")
    world.price("p", 1000)
    plan = world.schedule({"items": [{"price": "p"}], "duration": {"interval": "year"}}, default_settings=SEND)
    made = world.subscribe({"price": "p"}, collection_method="send_invoice", days_until_due=10)
    world.to("2026-04-16")
    world.call("DELETE", "/v1/subscriptions/{id}", {}, id=made["id"])
    assert len(world.invoices()) == 2
    world.post("subscription_schedules/{id}/cancel", {}, id=plan["id"])
    assert lines(world) == [-500]
    assert (plan["status"], made["status"]) == ("canceled", "canceled")


def test_a_schedule_manages_the_end_of_its_subscription() -> None:
    """The end of a subscription that a schedule manages is not changed directly; released, it is."""
    world = Machine("2026-04-01")
    made = world.schedule(
        {"items": [{"price": world.price("p", 1000)}], "duration": {"interval": "year"}}, default_settings=SEND
    )
    with pytest.raises(Refused, match="managed by the subscription schedule"):
        world.post("subscriptions/{id}", {"cancel_at_period_end": True}, id=made["subscription"])
    id_ = made["subscription"]
    world.post("subscription_schedules/{id}/release", {}, id=made["id"])
    world.post("subscriptions/{id}", {"cancel_at_period_end": True}, id=id_)
    world.to("2026-06-01")
    assert world.account.get("subscription", id_)["status"] == "canceled"
    assert (made["status"], made["released_subscription"], made["subscription"]) == ("released", id_, None)


def test_a_schedule_around_a_running_subscription() -> None:
    """From a subscription comes a schedule of one phase, its present period; with that phase resent, further ones follow."""
    world = Machine()
    world.card()
    world.to("2026-04-01")
    made = world.subscribe({"price": world.price("p", 1000)})
    world.to("2026-04-10")
    plan = world.post("subscription_schedules", {"from_subscription": made["id"]})
    (phase,) = plan["phases"]
    assert (day(phase["start_date"]), day(phase["end_date"]), plan["status"]) == ("2026-04-01", "2026-05-01", "active")
    first = {"start_date": phase["start_date"], "end_date": phase["end_date"], "items": [{"price": "p", "quantity": 1}]}
    after = {
        "items": [{"price": world.price("q", 2000)}],
        "duration": {"interval": "month"},
        "proration_behavior": "none",
    }
    world.post("subscription_schedules/{id}", {"phases": [first, after], "end_behavior": "cancel"}, id=plan["id"])
    world.to("2026-07-01")
    assert [one["total"] for one in world.invoices()] == [1000, 2000]
    assert made["status"] == "canceled"


def test_one_currency_for_a_customer() -> None:
    """A customer with something in dollars gets nothing in euros beside it."""
    world = Machine("2026-04-01")
    world.schedule(
        {"items": [{"price": world.price("p", 1000)}], "duration": {"interval": "year"}}, default_settings=SEND
    )
    with pytest.raises(Refused, match="combine currencies"):
        world.schedule({"items": [{"price": world.price("e", 1000, currency="eur")}], "duration": {"interval": "year"}})


def test_the_next_invoice_is_told_a_week_ahead() -> None:
    """invoice.upcoming comes seven days before a renewal, with the invoice as it would be, and expiring before a schedule's end."""
    world = Machine("2026-04-01")
    world.schedule({"items": [{"price": world.price("p", 1000)}], "end_date": at("2026-06-01")}, default_settings=SEND)
    world.to("2026-06-02")
    assert world.events("invoice.upcoming") == ["2026-04-24 invoice.upcoming", "2026-05-25 invoice.upcoming"]
    shown = next(one["data"]["object"] for one in world.account.events if one["type"] == "invoice.upcoming")
    assert (shown["total"], shown["billing_reason"], day(shown["created"])) == (1000, "upcoming", "2026-05-01")
    assert world.events("subscription_schedule.expiring") == ["2026-05-25 subscription_schedule.expiring"]


def test_due_on_receipt_is_due_at_once() -> None:
    """With 0 days until due an invoice is due in the moment in which it is finalized, and overdue from then on."""
    world = Machine("2026-04-01")
    settings: Data = {"collection_method": "send_invoice", "invoice_settings": {"days_until_due": 0}}
    world.schedule(
        {"items": [{"price": world.price("p", 1000)}], "duration": {"interval": "year"}}, default_settings=settings
    )
    world.wait(hours=1)
    (invoice,) = world.invoices()
    assert (day(invoice["due_date"]), invoice["status"]) == ("2026-04-01T01:00", "open")
    assert world.events("invoice.overdue") == ["2026-04-01T01:00 invoice.overdue"]


def test_an_item_that_comes_in_the_second_of_a_renewal() -> None:
    """A request in the very second of a renewal comes after it: without prorations its new item is billed with the next one."""
    world = Machine("2026-04-01")
    world.price("q", 500)
    made = world.schedule(
        {"items": [{"price": world.price("p", 1000)}], "duration": {"interval": "year"}}, default_settings=SEND
    )
    world.to("2026-05-01")
    both: Data = {
        "start_date": at("2026-04-01"),
        "end_date": at("2027-04-01"),
        "items": [{"price": "p"}, {"price": "q"}],
    }
    world.post("subscription_schedules/{id}", {"phases": [both], "proration_behavior": "none"}, id=made["id"])
    world.to("2026-06-02")
    assert [one["total"] for one in world.invoices()] == [1000, 1000, 1500]
