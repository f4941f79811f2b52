"""A finance person at work in Stripe's dashboard: whatever is done there ends in right money and plain words, and nothing is undone or doubled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stripe_world import EveningWorld, StripeWorld, stripe_world
from test_flow_stripe_dashboard import change
from test_flow_stripe_waiting import BACK, waiting
from test_stripe_reading import DAY, books, call, deed, started
from world import at

from connector.lookalike.stripe.machine import invoices


@pytest.fixture
def made(tmp_path: Path) -> Iterator[EveningWorld]:
    """A world with the deal over 2 x 60.00 a month from 20 March on, sold."""
    with stripe_world(tmp_path, day=DAY, kind=EveningWorld) as world:
        started(world)
        yield world


def subscription(made: StripeWorld) -> dict[str, Any]:
    """Return the subscription as it stands there."""
    return made.objects("subscription")[0]


def edited(made: StripeWorld, **params: Any) -> None:
    """Let somebody edit the subscription."""
    deed(made, "subscription", subscription=subscription(made)["id"], change=params)


def drafted(made: StripeWorld) -> dict[str, Any]:
    """Go to the next period's day, and return Stripe's draft of its invoice, an hour before it is final."""
    made.clock.move_to(at("2026-04-20").replace(minute=30))
    call(made, "GET", "/v1/invoices", {})
    (draft,) = (i for i in made.objects("invoice") if i["status"] == "draft")
    return draft


def rows(made: StripeWorld) -> list[tuple[str, Any, Any]]:
    """Return (status, total, open) of each invoice in the CRM."""
    return [(r["Status__c"], r["Total__c"], r["Amount_Due__c"]) for r in made.invoices()]


def test_a_line_added_to_a_draft_is_billed_and_told(made: EveningWorld) -> None:
    """A training of 50.00 that somebody puts on the draft of April stands in the books as it is, once; the next change goes on."""
    draft = drafted(made)
    call(made, "POST", "/v1/invoiceitems", {"customer": draft["customer"], "invoice": draft["id"], "amount": 5000, "currency": "eur", "description": "Training"})
    made.bill("2026-04-21")
    assert books(made, "total") == [(12000,), (17000,)]
    assert made.query("SELECT COUNT(*) FROM event WHERE name = 'invoice.differs'") == [(1,)]
    change(made, "more", "2026-04-25", Proration__c="None")
    made.bill("2026-05-20")
    assert books(made, "total") == [(12000,), (17000,), (30000,)]


def test_a_line_taken_off_a_draft_is_not_billed(tmp_path: Path) -> None:
    """Of two amounts that waited somebody takes the charge off the draft: the credit alone is billed, and the deal says what was deleted."""
    with stripe_world(tmp_path, day=DAY, kind=EveningWorld) as made:
        _, charge = waiting(made)
        draft = drafted(made)
        assert charge["invoice"] == draft["id"]
        call(made, "DELETE", "/v1/invoiceitems/{id}", {}, id=charge["id"])
        made.bill("2026-04-21")
        assert "was deleted where it is billed" in made.said("harbor_deal")[1]
        made.bill("2026-05-20")
        assert books(made, "total") == [(12000,), (30000 - BACK,), (30000,)]


def test_a_period_taken_off_a_draft_is_not_owed(made: EveningWorld) -> None:
    """Somebody takes April's seats off its draft: April is not billed, nobody waits for it, and the next change goes on."""
    draft = drafted(made)
    draft["lines"]["data"].clear()
    invoices.total(made.stripe, draft)
    made.bill("2026-04-26")
    made.sweep()
    assert made.query("SELECT COUNT(*) FROM event WHERE name = 'invoice.differs'") == [(1,)]
    assert made.said("harbor_deal")[1].startswith("Something agreed is missing on an invoice of this contract: it was taken off where it is billed")
    change(made, "more", "2026-04-27", Proration__c="None")
    assert made.said("more")[0] != "Queued", made.said("more")
    made.bill("2026-05-20")
    assert [t for (t,) in books(made, "total") if t] == [12000, 30000]


def test_a_discount_on_a_draft_is_what_was_billed(made: EveningWorld) -> None:
    """A coupon that somebody puts on the draft lessens it; a later credit gives back shares of what was really billed."""
    draft = drafted(made)
    call(made, "POST", "/v1/coupons", {"id": "HALF", "percent_off": 50, "duration": "once"})
    call(made, "POST", "/v1/invoices/{id}", {"discounts": [{"coupon": "HALF"}]}, id=draft["id"])
    made.bill("2026-04-21")
    assert books(made, "total") == [(12000,), (6000,)]
    change(made, "stop", "2026-05-05", "Cancel", Billing_Effective_Date__c="2026-05-05", Proration__c="Immediately")
    assert books(made, "total")[2:] == [(-3000,)]


def test_a_coupon_on_the_subscription(made: EveningWorld) -> None:
    """Ten percent off the subscription: invoices come with it as Stripe bills them; what differs is in the event log and on the deal."""
    call(made, "POST", "/v1/coupons", {"id": "TEN", "percent_off": 10, "duration": "forever"})
    edited(made, discounts=[{"coupon": "TEN"}])
    made.sync()
    assert made.said("harbor_deal")[0] == "Needs attention"
    assert "discounts: 1 there, 0 here" in made.said("harbor_deal")[1]
    made.bill("2026-04-20")
    assert books(made, "total") == [(12000,), (10800,)]


def test_other_terms_of_payment_on_the_subscription(made: EveningWorld) -> None:
    """Sixty days in place of thirty: invoices are due as Stripe says, and the deal says that it was changed there."""
    edited(made, collection_method="send_invoice", days_until_due=60)
    made.bill("2026-04-20")
    assert books(made, "total, due_on")[1] == (12000, "2026-06-19")
    assert made.said("harbor_deal")[0] == "Needs attention"
    assert "its invoices are due after 60 days there, 30 here" in made.said("harbor_deal")[1]


def test_collection_is_paused_and_resumed(made: EveningWorld) -> None:
    """Paused so that invoices are void, the month is not owed and the deal says why; resumed, it bills on and says nothing more."""
    edited(made, pause_collection={"behavior": "void"})
    made.sync()
    assert "its collection is paused there" in made.said("harbor_deal")[1]
    made.bill("2026-04-20")
    assert [b for b in books(made, "status, total") if b[0] != "void"] == [("open", 12000)]
    edited(made, pause_collection="")
    made.bill("2026-05-20")
    assert [b for b in books(made, "status, total") if b[0] != "void"] == [("open", 12000), ("open", 12000)]
    assert "paused" not in made.said("harbor_deal")[1]
    change(made, "more", "2026-05-25", Proration__c="None")
    assert made.said("more")[0] != "Queued", made.said("more")
    made.bill("2026-06-20")
    assert [b for b in books(made, "status, total") if b[0] != "void"][2:] == [("open", 30000)]


def test_more_seats_on_the_subscription(made: EveningWorld) -> None:
    """Three seats in place of two, prorated there: Stripe's amounts are in the books once; a deal's change sets what was agreed again."""
    item = subscription(made)["items"]["data"][0]["id"]
    made.clock.move_to(at("2026-04-05"))
    edited(made, items=[{"id": item, "quantity": 3}], proration_behavior="always_invoice")
    made.bill("2026-04-20")
    assert "quantity of SEAT-TEAM: 3 there, 2 here" in made.said("harbor_deal")[1]
    assert [t for (t,) in books(made, "total")][::2] == [12000, 18000]
    change(made, "more", "2026-04-25", Proration__c="None")
    assert made.said("more")[0] != "Needs attention", made.said("more")
    made.bill("2026-05-20")
    assert books(made, "total")[-1] == (30000,)
    assert "there" not in made.said("harbor_deal")[1]


def test_who_is_billed_is_edited_there(made: EveningWorld) -> None:
    """Another name, e-mail, address and tax number at Stripe stay until the account changes in the CRM; nothing needs attention."""
    (customer,) = made.objects("customer")
    call(made, "POST", "/v1/customers/{id}", {"name": "Harbor AG", "email": "cfo@harbor.example", "address": {"city": "Bern", "country": "CH"}}, id=customer["id"])
    call(made, "POST", "/v1/customers/{customer}/tax_ids", {"type": "ch_vat", "value": "CHE-123.456.789 MWST"}, customer=customer["id"])
    made.bill("2026-04-20")
    change(made, "more", "2026-04-25", Proration__c="None")
    assert (customer["name"], customer["email"]) == ("Harbor AG", "cfo@harbor.example")
    assert made.said("harbor_deal")[0] in ("Active", "Past due")
    made.edit("harbor", "Account", Name="Harbor SA")
    made.sync()
    assert customer["name"] == "Harbor SA"
    assert len(call(made, "GET", "/v1/customers/{customer}/tax_ids", {}, customer=customer["id"])["data"]) == 1


def test_a_deleted_customer_and_the_next_deal(made: EveningWorld) -> None:
    """The deleted customer's contract says so and takes no change; a new deal of the account gets a new customer, billed once."""
    call(made, "DELETE", "/v1/customers/{id}", {}, id=made.objects("customer")[0]["id"])
    made.sync()
    assert made.said("harbor_deal")[1].startswith("The customer was deleted where it is billed")
    change(made, "more", "2026-04-05", Proration__c="None")
    assert made.said("more")[0] == "Needs attention", made.said("more")
    made.deal("next", {"UnitPrice": "30.00"}, account="harbor", CloseDate="2026-04-06", Contract_Start_Date__c="2026-04-06")
    made.clock.move_to(at("2026-04-06"))
    made.win("next")
    made.sync()
    assert made.said("next")[0] == "Active", made.said("next")
    made.bill("2026-05-06")
    assert [t for (t,) in books(made, "total")] == [12000, 3000, 3000]
