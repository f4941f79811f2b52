"""Changes of running subscriptions in the Stripe look-alike: prorations, trials, stubs, backdating, prebilling, cancellations."""

from __future__ import annotations

import pytest

from connector.lookalike.stripe.account import Data, Refused
from tests.stripe_machine import Machine, at, day


def lines(world: Machine, place: int = -1) -> list[int]:
    return [line["amount"] for line in world.invoices()[place]["lines"]["data"]]


def waiting(world: Machine) -> list[int]:
    return [item["amount"] for item in world.account.kind("invoiceitem").values() if item["invoice"] is None]


def running(world: Machine, amount: int = 1000, quantity: int = 1, start: str = "2026-01-01", **more: Data) -> Data:
    world.card()
    world.to(start)
    return world.subscribe({"price": world.price("p", amount), "quantity": quantity}, **more)


def test_the_documented_proration_to_the_second() -> None:
    """With 445540 of 2678400 seconds left, 1000 a month is 166 and 3252 is 541."""
    world = Machine()
    made = running(world)
    world.price("q", 3252)
    world.moment = world.moment.fromtimestamp(at("2026-02-01") - 445540, world.moment.tzinfo)
    item = made["items"]["data"][0]["id"]
    world.post("subscriptions/{id}", {"items": [{"id": item, "price": "q"}]}, id=made["id"])
    assert waiting(world) == [-166, 541]


def test_each_proration_is_rounded_on_its_own() -> None:
    """Two thirds of 1000 credited and two thirds of 500 charged are -667 and 333, together -334."""
    world = Machine()
    made = running(world, start="2026-04-01")
    world.price("q", 500)
    world.to("2026-04-11")
    world.post(
        "subscriptions/{id}",
        {"items": [{"id": made["items"]["data"][0]["id"], "price": "q"}], "proration_behavior": "always_invoice"},
        id=made["id"],
    )
    assert lines(world) == [-667, 333]
    invoice = world.invoices()[-1]
    assert (invoice["total"], invoice["billing_reason"], invoice["status"], world.customer["balance"]) == (
        -334,
        "subscription_update",
        "paid",
        -334,
    )


def test_a_flexible_credit_takes_back_what_was_debited() -> None:
    """10 to 20 without prorations and back to 10 in mid-month credits the 10 that were billed and charges 10: nothing in sum."""
    world = Machine()
    made = running(world, 100, 10, start="2026-04-01")
    item = made["items"]["data"][0]["id"]
    world.post(
        "subscriptions/{id}", {"items": [{"id": item, "quantity": 20}], "proration_behavior": "none"}, id=made["id"]
    )
    world.to("2026-04-16")
    world.post("subscriptions/{id}", {"items": [{"id": item, "quantity": 10}]}, id=made["id"])
    assert waiting(world) == [-500, 500]


def test_a_classic_credit_takes_the_present_quantity() -> None:
    """The same in classic mode credits the 20 that stand there, though 10 were billed."""
    world = Machine()
    made = running(world, 100, 10, start="2026-04-01", billing_mode={"type": "classic"})
    item = made["items"]["data"][0]["id"]
    world.post(
        "subscriptions/{id}", {"items": [{"id": item, "quantity": 20}], "proration_behavior": "none"}, id=made["id"]
    )
    world.to("2026-04-16")
    world.post("subscriptions/{id}", {"items": [{"id": item, "quantity": 10}]}, id=made["id"])
    assert waiting(world) == [-1000, 500]


def test_a_credit_names_the_line_it_takes_back() -> None:
    """A flexible credit says which line of which invoice it takes back, and waits on the subscription."""
    world = Machine()
    made = running(world, start="2026-04-01")
    first = world.invoices()[0]
    world.to("2026-04-16")
    world.post("subscriptions/{id}", {"items": [{"id": made["items"]["data"][0]["id"], "quantity": 3}]}, id=made["id"])
    world.to("2026-05-02")
    last = world.invoices()[-1]
    assert lines(world) == [3000, -500, 1500]
    details = last["lines"]["data"][1]["parent"]["subscription_item_details"]
    assert details["proration"] is True
    assert details["proration_details"]["credited_items"] == {
        "invoice": first["id"],
        "invoice_line_items": [first["lines"]["data"][0]["id"]],
    }


def test_a_proration_date_lies_in_the_current_period() -> None:
    """Prorations count from the date that was previewed; one outside the period is refused."""
    world = Machine()
    made = running(world, start="2026-04-01")
    world.to("2026-04-20")
    change = {"items": [{"id": made["items"]["data"][0]["id"], "quantity": 2}], "proration_date": at("2026-04-16")}
    world.post("subscriptions/{id}", change, id=made["id"])
    assert waiting(world) == [-500, 1000]
    with pytest.raises(Refused, match="proration_date"):
        world.post("subscriptions/{id}", change | {"proration_date": at("2026-03-01")}, id=made["id"])


def test_items_come_and_go() -> None:
    """An added item is charged for the rest of the period, a deleted one credited for it."""
    world = Machine()
    made = running(world, start="2026-04-01")
    world.price("q", 600)
    world.to("2026-04-16")
    world.post("subscriptions/{id}", {"items": [{"price": "q"}]}, id=made["id"])
    world.post(
        "subscriptions/{id}", {"items": [{"id": made["items"]["data"][0]["id"], "deleted": True}]}, id=made["id"]
    )
    assert waiting(world) == [300, -500]
    world.to("2026-05-02")
    assert lines(world) == [600, 300, -500]


def test_an_anchor_reset_bills_a_full_period_at_once() -> None:
    """With the anchor moved to now, the unused time is credited and a whole period charged in one invoice."""
    world = Machine()
    made = running(world, start="2026-04-01")
    world.to("2026-04-16")
    world.post("subscriptions/{id}", {"billing_cycle_anchor": {"type": "now"}}, id=made["id"])
    assert lines(world) == [1000, -500]
    assert day(made["items"]["data"][0]["current_period_end"]) == "2026-05-16"


def test_a_stub_before_the_anchor() -> None:
    """From 17 April to the 1st, 14 of 30 days are charged at once; without prorations the stub is free and has no invoice."""
    world = Machine("2026-04-17")
    world.card()
    world.price("p", 3000)
    world.subscribe({"price": "p"}, billing_cycle_anchor=at("2026-05-01"))
    world.subscribe({"price": "p"}, billing_cycle_anchor=at("2026-05-01"), proration_behavior="none")
    assert [lines(world, n) for n in range(len(world.invoices()))] == [[1400]]
    world.to("2026-05-02")
    assert world.table()[1:] == ["2026-05-01 paid 3000: 3000 2026-05-01..2026-06-01"] * 2


def test_a_configured_anchor_beyond_the_first_period() -> None:
    """A two-month price made in February with August, day 31, is anchored on 31 August; its first full invoice comes on 28 February."""
    world = Machine("2026-02-10")
    world.card()
    made = world.subscribe(
        {"price": world.price("p", 1000, "month", 2)},
        billing_cycle_anchor_config={"day_of_month": 31, "month": 8},
        proration_behavior="none",
    )
    world.to("2026-09-01")
    assert day(made["billing_cycle_anchor"]) == "2026-08-31"
    assert [row.split(" ")[0] for row in world.table()] == ["2026-02-28", "2026-04-30", "2026-06-30", "2026-08-31"]


def test_backdating_has_a_line_for_each_period() -> None:
    """Backdated by two and a half months, a flexible subscription starts with three monthly lines and keeps the old rhythm."""
    world = Machine("2026-03-20")
    world.card()
    world.price("p", 1000)
    made = world.subscribe({"price": "p"}, backdate_start_date=at("2026-01-05"))
    assert world.table() == [
        "2026-03-20 paid 3000: 1000 2026-01-05..2026-02-05, 1000 2026-02-05..2026-03-05, 1000 2026-03-05..2026-04-05"
    ]
    assert day(made["billing_cycle_anchor"]) == "2026-01-05"


def test_an_import_charges_nothing_before_its_next_bill_date() -> None:
    """With the old start, the next bill date as anchor and no proration, the first invoice comes on that date."""
    world = Machine("2026-03-20")
    world.card()
    world.price("p", 1000)
    made = world.subscribe(
        {"price": "p"},
        backdate_start_date=at("2024-05-01"),
        billing_cycle_anchor=at("2026-04-01"),
        proration_behavior="none",
    )
    assert (world.invoices(), day(made["start_date"])) == ([], "2024-05-01")
    world.to("2026-04-02")
    assert world.table() == ["2026-04-01 paid 1000: 1000 2026-04-01..2026-05-01"]


def test_a_trial_begins_with_nothing_and_moves_the_anchor() -> None:
    """A trial of 14 days makes a zero invoice, tells three days ahead, and the paid periods count from its end."""
    world = Machine("2026-01-10")
    world.card()
    made = world.subscribe({"price": world.price("p", 1000)}, trial_end=at("2026-01-24"))
    assert (made["status"], world.invoices()[0]["total"], world.invoices()[0]["status"]) == ("trialing", 0, "paid")
    world.to("2026-02-25")
    assert world.table()[1:] == [
        "2026-01-24 paid 1000: 1000 2026-01-24..2026-02-24",
        "2026-02-24 paid 1000: 1000 2026-02-24..2026-03-24",
    ]
    assert world.events("customer.subscription.trial_will_end") == ["2026-01-21 customer.subscription.trial_will_end"]
    assert made["status"] == "active"


def test_a_trial_before_an_anchor_is_prorated_to_it() -> None:
    """From the 15th, 7 days free, the 1st as anchor: the first paid invoice comes on the 22nd for 9 of 30 days, then full ones."""
    world = Machine("2026-04-15")
    world.card()
    world.subscribe(
        {"price": world.price("p", 3000)}, trial_end=at("2026-04-22"), billing_cycle_anchor=at("2026-05-01")
    )
    world.to("2026-05-02")
    assert world.table()[1:] == [
        "2026-04-22 paid 900: 900 2026-04-22..2026-05-01",
        "2026-05-01 paid 3000: 3000 2026-05-01..2026-06-01",
    ]


@pytest.mark.parametrize(
    ("ending", "status"), [("cancel", "canceled"), ("pause", "paused"), ("create_invoice", "past_due")]
)
def test_a_trial_that_ends_without_a_card(ending: str, status: str) -> None:
    """Without a payment method the end of a trial cancels, pauses, or leaves an open invoice, as its settings say."""
    world = Machine("2026-01-10")
    made = world.subscribe(
        {"price": world.price("p", 1000)},
        trial_end=at("2026-01-24"),
        trial_settings={"end_behavior": {"missing_payment_method": ending}},
    )
    world.to("2026-01-25")
    assert made["status"] == status
    assert len(world.invoices()) == (2 if ending == "create_invoice" else 1)


def test_an_end_at_the_period_end_lets_the_period_run() -> None:
    """cancel_at_period_end ends the subscription with the period and bills nothing more."""
    world = Machine()
    made = running(world, start="2026-04-01")
    world.post("subscriptions/{id}", {"cancel_at_period_end": True}, id=made["id"])
    assert day(made["cancel_at"]) == "2026-05-01"
    world.to("2026-07-01")
    assert (made["status"], day(made["ended_at"]), len(world.invoices())) == ("canceled", "2026-05-01", 1)


def test_an_end_inside_the_period_is_prorated() -> None:
    """cancel_at in mid-period credits the rest; in a later period only the part before it is billed."""
    world = Machine()
    made = running(world, start="2026-04-01")
    world.post("subscriptions/{id}", {"cancel_at": at("2026-04-16")}, id=made["id"])
    assert waiting(world) == [-500]
    world = Machine()
    made = running(world, 3100, start="2026-04-01")
    world.post("subscriptions/{id}", {"cancel_at": at("2026-05-11")}, id=made["id"])
    world.to("2026-06-01")
    assert world.table()[1:] == ["2026-05-01 paid 1000: 1000 2026-05-01..2026-05-11"]


def test_mixed_intervals_share_an_invoice_where_they_meet() -> None:
    """A quarterly and a monthly item bill together in January and April, the monthly one alone between."""
    world = Machine("2026-01-01")
    world.card()
    world.subscribe({"price": world.price("m", 15)}, {"price": world.price("q", 100, "month", 3)})
    world.to("2026-04-02")
    assert [[line["amount"] for line in one["lines"]["data"]] for one in world.invoices()] == [
        [15, 100],
        [15],
        [15],
        [15, 100],
    ]


def test_prebilling_bills_ahead_and_then_keeps_quiet() -> None:
    """Three months prebilled are one invoice of three lines now; the items keep cycling, and the next invoice comes after them."""
    world = Machine("2026-10-01")
    world.card()
    made = world.subscribe(
        {"price": world.price("p", 1000)}, proration_behavior="always_invoice",
        billing_schedules=[{"bill_until": {"type": "duration", "duration": {"interval": "month", "interval_count": 3}}}],
    )  # fmt: skip
    assert world.table() == [
        "2026-10-01 paid 3000: 1000 2026-10-01..2026-11-01, 1000 2026-11-01..2026-12-01, 1000 2026-12-01..2027-01-01"
    ]
    world.to("2027-01-02")
    item = made["items"]["data"][0]
    assert (day(item["billed_until"]), day(item["current_period_end"])) == ("2027-01-01", "2027-02-01")
    assert world.table()[1:] == ["2027-01-01 paid 1000: 1000 2027-01-01..2027-02-01"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"billing_mode": {"type": "classic"}}, "flexible"),
        ({"discounts": [{"coupon": "off"}]}, "percent_off"),
        ({"cancel_at": at("2027-06-01")}, "cancellation"),
        ({"proration_behavior": "none"}, "prorations"),
    ],
)
def test_prebilling_is_refused_where_it_does_not_go(more: Data, words: str) -> None:
    """Classic mode, fixed coupons and an end before bill_until do not go with prebilling; nor do 51 cycles."""
    world = Machine("2026-10-01")
    world.price("p", 1000)
    world.coupon("off", amount_off=100, currency="usd")
    until = {"bill_until": {"type": "duration", "duration": {"interval": "year"}}}
    with pytest.raises(Refused, match=words):
        world.subscribe({"price": "p"}, billing_schedules=[until], **more)
    with pytest.raises(Refused, match="50 billing cycles"):
        world.subscribe(
            {"price": "p"}, billing_schedules=[{"bill_until": {"type": "timestamp", "timestamp": at("2031-09-01")}}]
        )


def test_what_is_billed_ahead_goes_with_no_schedule_and_no_change_of_items() -> None:
    """No schedule can be put on such a subscription; an item that changes is billed anew from the next boundary on; a cancellation leaves it at that."""
    world = Machine("2026-10-01")
    world.price("p", 1000)
    until = {"bill_until": {"type": "duration", "duration": {"interval": "month", "interval_count": 3}}}
    how = {"collection_method": "send_invoice", "days_until_due": 30, "proration_behavior": "always_invoice", "billing_schedules": [until]}
    made, other = (world.subscribe({"price": "p"}, **how) for _ in range(2))
    with pytest.raises(Refused, match="billing_schedules"):
        world.post("subscription_schedules", {"from_subscription": made["id"]})
    world.to("2026-10-15")
    item = made["items"]["data"][0]["id"]
    world.post("subscriptions/{id}", {"items": [{"id": item, "quantity": 2}], "proration_behavior": "none"}, id=made["id"])
    world.call("DELETE", "/v1/subscriptions/{id}", {"prorate": False, "invoice_now": False}, id=other["id"])
    world.to("2026-11-02")
    assert [row.split()[2] for row in world.table()] == ["3000:", "3000:", "2000:"]


def test_a_pause_of_collection() -> None:
    """Paused with `void`, invoices are voided when they are finalized; with keep_as_draft they stay drafts; cleared, they are paid."""
    world = Machine()
    made = running(world, start="2026-04-01")
    world.post("subscriptions/{id}", {"pause_collection": {"behavior": "void"}}, id=made["id"])
    world.to("2026-05-02")
    world.post("subscriptions/{id}", {"pause_collection": {"behavior": "keep_as_draft"}}, id=made["id"])
    world.to("2026-06-02")
    world.post("subscriptions/{id}", {"pause_collection": ""}, id=made["id"])
    world.to("2026-07-02")
    assert [one["status"] for one in world.invoices()] == ["paid", "void", "draft", "paid"]


@pytest.mark.parametrize(("behavior", "status"), [("void", "void"), ("mark_uncollectible", "uncollectible")])
def test_a_paused_invoice_takes_nothing_of_the_balance(behavior: str, status: str) -> None:
    """A credit that would cover an invoice of a pause is not used up by it: nobody owes such an invoice."""
    world = Machine()
    made = running(world, start="2026-04-01")
    world.post("subscriptions/{id}", {"pause_collection": {"behavior": behavior}}, id=made["id"])
    world.account.get("customer", "cus_1")["balance"] = -5_000
    world.to("2026-05-02")
    assert [one["status"] for one in world.invoices()] == ["paid", status]
    assert world.account.get("customer", "cus_1")["balance"] == -5_000


def test_lists_of_subscriptions() -> None:
    """A list leaves canceled subscriptions out unless all are asked for."""
    world = Machine()
    made = running(world)
    other = world.subscribe({"price": "p"})
    world.call("DELETE", "/v1/subscriptions/{id}", {}, id=made["id"])
    listed = world.call("GET", "/v1/subscriptions", {"customer": "cus_1"})
    everything = world.call("GET", "/v1/subscriptions", {"customer": "cus_1", "status": "all"})
    assert [one["id"] for one in listed["data"]] == [other["id"]]
    assert [one["id"] for one in everything["data"]] == [other["id"], made["id"]]


def test_a_paused_subscription_goes_on() -> None:
    """Paused at the end of its trial for want of a card, a subscription goes on with a full period when it is resumed."""
    world = Machine("2026-01-10")
    ending = {"end_behavior": {"missing_payment_method": "pause"}}
    made = world.subscribe({"price": world.price("p", 1000)}, trial_end=at("2026-01-24"), trial_settings=ending)
    world.to("2026-03-10")
    assert (made["status"], len(world.invoices())) == ("paused", 1)
    world.card()
    world.post("subscriptions/{id}/resume", {}, id=made["id"])
    assert made["status"] == "active"
    assert world.table()[1:] == ["2026-03-10 paid 1000: 1000 2026-03-10..2026-04-10"]
