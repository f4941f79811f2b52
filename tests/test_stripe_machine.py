"""The billing machine of the Stripe look-alike: its schedules and invoices come to what Stripe documents."""

from __future__ import annotations

import pytest

from connector.lookalike.stripe.account import Refused
from tests.stripe_machine import SEND, Machine, at, day


def test_a_month_end_comes_back() -> None:
    """A monthly schedule from 31 January bills 28 February, 31 March and 30 April: every boundary is counted from the anchor."""
    world = Machine("2026-01-31")
    world.schedule(
        {"items": [{"price": world.price("p", 1000)}], "duration": {"interval": "year"}}, default_settings=SEND
    )
    world.to("2026-05-01")
    assert world.table() == [
        "2026-01-31 open 1000: 1000 2026-01-31..2026-02-28",
        "2026-02-28 open 1000: 1000 2026-02-28..2026-03-31",
        "2026-03-31 open 1000: 1000 2026-03-31..2026-04-30",
        "2026-04-30 open 1000: 1000 2026-04-30..2026-05-31",
    ]


def test_the_first_invoice_of_a_schedule_waits_an_hour() -> None:
    """A schedule's first invoice stays a draft for an hour; then it is numbered, due, and has its links."""
    world = Machine("2026-01-01")
    world.schedule(
        {"items": [{"price": world.price("p", 1000)}], "duration": {"interval": "year"}}, default_settings=SEND
    )
    (invoice,) = world.invoices()
    assert (invoice["status"], invoice["number"]) == ("draft", None)
    world.wait(hours=1)
    assert (invoice["status"], invoice["number"]) == ("open", "CUS1-0001")
    assert day(invoice["due_date"]) == "2026-01-31T01:00"
    assert invoice["hosted_invoice_url"].startswith("https://")
    assert invoice["parent"]["subscription_details"]["subscription"] == "sub_00000000000003"


def test_a_card_is_charged_with_the_automatic_finalization() -> None:
    """An invoice that is collected by card is finalized after its hour and paid in the same moment."""
    world = Machine("2026-01-01")
    world.card()
    world.schedule({"items": [{"price": world.price("p", 1000), "quantity": 3}], "duration": {"interval": "year"}})
    world.wait(hours=2)
    (invoice,) = world.invoices()
    assert (invoice["status"], invoice["amount_paid"], invoice["amount_remaining"]) == ("paid", 3000, 0)
    assert day(invoice["status_transitions"]["paid_at"]) == "2026-01-01T01:00"
    assert invoice["payments"]["data"][0]["payment"]["payment_intent"].startswith("pi_")


def test_a_ramp_bills_each_phase_at_its_price() -> None:
    """Three yearly phases bill 1000, 2000 and 3000 at their starts, and the schedule ends by releasing the subscription."""
    world = Machine("2026-03-01")
    names = [world.price(f"p{n}", n * 1000, "year") for n in (1, 2, 3)]
    made = world.schedule(
        *(
            {"items": [{"price": name}], "duration": {"interval": "year"}, "proration_behavior": "none"}
            for name in names
        ),
        default_settings=SEND,
    )
    world.to("2029-03-02")
    assert world.table() == [
        "2026-03-01 open 1000: 1000 2026-03-01..2027-03-01",
        "2027-03-01 open 2000: 2000 2027-03-01..2028-03-01",
        "2028-03-01 open 3000: 3000 2028-03-01..2029-03-01",
        "2029-03-01 open 3000: 3000 2029-03-01..2030-03-01",
    ]
    assert (made["status"], made["released_subscription"]) == (
        "released",
        world.invoices()[0]["parent"]["subscription_details"]["subscription"],
    )


def test_installments_end_with_their_phase() -> None:
    """A phase of three months that cancels at its end makes three invoices and a canceled subscription."""
    world = Machine("2026-01-15")
    made = world.schedule(
        {"items": [{"price": world.price("p", 500)}], "duration": {"interval": "month", "interval_count": 3}},
        end_behavior="cancel",
        default_settings=SEND,
    )
    world.to("2026-09-01")
    assert [row.split(" ")[0] for row in world.table()] == ["2026-01-15", "2026-02-15", "2026-03-15"]
    subscription = world.account.get("subscription", made["subscription"])
    assert (made["status"], subscription["status"], day(subscription["ended_at"])) == (
        "completed",
        "canceled",
        "2026-04-15",
    )


def test_events_carry_the_moment_they_belong_to() -> None:
    """A clock that jumps a year leaves events stamped with the boundaries at which they happened, in order of time."""
    world = Machine("2026-01-01")
    world.schedule(
        {"items": [{"price": world.price("p", 1000, "month", 3)}], "duration": {"interval": "year"}},
        default_settings=SEND,
    )
    world.to("2026-12-31")
    assert world.events("invoice.created") == [
        "2026-01-01 invoice.created", "2026-04-01 invoice.created", "2026-07-01 invoice.created", "2026-10-01 invoice.created",
    ]  # fmt: skip
    stamps = [one["created"] for one in world.account.events]
    assert stamps == sorted(stamps)
    assert world.events("invoice.overdue")[0] == "2026-01-31T01:00 invoice.overdue"


def test_pending_items_go_on_the_next_invoice_of_their_subscription() -> None:
    """An item with a subscription waits for its next invoice; one for a draft stands on it at once."""
    world = Machine("2026-01-01")
    made = world.schedule(
        {"items": [{"price": world.price("p", 1000)}], "duration": {"interval": "year"}}, default_settings=SEND
    )
    item = world.post(
        "invoiceitems",
        {
            "customer": "cus_1",
            "subscription": made["subscription"],
            "amount": -300,
            "currency": "usd",
            "description": "credit",
        },
    )
    first = world.invoices()[0]
    world.post(
        "invoiceitems",
        {
            "customer": "cus_1",
            "invoice": first["id"],
            "amount": 50,
            "currency": "usd",
            "metadata": {"connector_line": "k"},
        },
    )
    assert (first["total"], first["lines"]["data"][1]["metadata"]) == (1050, {"connector_line": "k"})
    world.to("2026-02-02")
    assert world.table()[1] == "2026-02-01 open 700: 1000 2026-02-01..2026-03-01, -300 2026-01-01..2026-01-01"
    assert item["invoice"] == world.invoices()[1]["id"]


def test_a_one_off_invoice_takes_what_waits_if_asked() -> None:
    """A one-off invoice is empty unless pending items are included; paid outside, it is closed without a charge."""
    world = Machine("2026-01-01")
    world.post("invoiceitems", {"customer": "cus_1", "amount": 700, "currency": "usd", "description": "Setup"})
    plain = world.post("invoices", {"customer": "cus_1", "collection_method": "send_invoice", "days_until_due": 10})
    assert plain["total"] == 0
    made = world.post("invoices", {
        "customer": "cus_1", "collection_method": "send_invoice", "days_until_due": 10, "pending_invoice_items_behavior": "include",
    })  # fmt: skip
    world.post("invoices/{id}/finalize", id=made["id"])
    assert (made["status"], made["amount_due"], made["number"]) == ("open", 700, "CUS1-0001")
    world.post("invoices/{id}/pay", {"paid_out_of_band": True}, id=made["id"])
    assert (made["status"], made["amount_paid"], len(world.account.kind("charge"))) == ("paid", 700, 0)


def test_a_negative_total_becomes_the_customers_credit() -> None:
    """A credit of 300 on a zero invoice goes to the customer's balance and reduces the next invoice."""
    world = Machine("2026-01-01")
    world.post("invoiceitems", {"customer": "cus_1", "amount": -300, "currency": "usd"})
    first = world.post("invoices", {"customer": "cus_1", "pending_invoice_items_behavior": "include"})
    world.post("invoices/{id}/finalize", id=first["id"])
    assert (first["total"], first["status"], first["amount_due"], world.customer["balance"]) == (-300, "paid", 0, -300)
    second = world.post("invoices", {"customer": "cus_1"})
    world.post("invoiceitems", {"customer": "cus_1", "invoice": second["id"], "amount": 1000, "currency": "usd"})
    world.post("invoices/{id}/finalize", id=second["id"])
    assert (second["amount_due"], second["starting_balance"], second["ending_balance"]) == (700, -300, 0)


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        ([{"items": [{"price": "p"}], "duration": {"interval": "month"}}] * 11, "at most 10"),
        (
            [{"items": [{"price": "p"}], "duration": {"interval": "month"}, "end_date": at("2026-02-01")}],
            "only specify one",
        ),
        ([{"items": [{"price": "p"}, {"price": "p"}], "duration": {"interval": "month"}}], "same price"),
        (
            [
                {
                    "items": [{"price": "p"}],
                    "duration": {"interval": "month"},
                    "trial": True,
                    "billing_cycle_anchor": "phase_start",
                }
            ],
            "with a trial",
        ),
        ([{"items": [{"price": "p"}], "end_date": at("2025-12-01")}], "after its start"),
        ([{"items": [{"price": "m", "quantity": 2}], "duration": {"interval": "month"}}], "metered"),
        ([{"items": [{"price": "p"}, {"price": "e"}], "duration": {"interval": "month"}}], "same currency"),
        ([{"items": [{"price": f"x{n}"} for n in range(21)], "duration": {"interval": "month"}}], "at most 20"),
    ],
)
def test_a_schedule_is_refused_as_stripe_refuses_it(phases: list[dict[str, object]], words: str) -> None:
    """What Stripe does not take in a schedule is refused with a 400, and nothing is made."""
    world = Machine("2026-01-01")
    world.price("p", 1000)
    world.price("m", 5, recurring={"interval": "month", "interval_count": 1, "usage_type": "metered", "meter": "mtr_1"})
    world.price("e", 5, currency="eur")
    for number in range(21):
        world.price(f"x{number}", 5)
    with pytest.raises(Refused, match=words) as caught:
        world.schedule(*phases)
    assert caught.value.status == 400
    assert not world.account.kind("subscription_schedule")
    assert not world.invoices()
