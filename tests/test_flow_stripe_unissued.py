"""Invoices that Stripe cannot issue as agreed: drafts that it cannot finalize, and subscriptions that it goes on billing without tax."""

from __future__ import annotations

from pathlib import Path

from stripe_world import StripeWorld, stripe_world
from test_flow_stripe_identity import DAY, dashboard, sold
from test_flow_stripe_tax_credits import french
from world import at

from connector.lookalike.stripe.controls import CONTROLS


def cannot(made: StripeWorld, code: str = "") -> None:
    """Let the drafts of the customer fail to finalize, or no longer."""
    (customer,) = made.objects("customer")
    with made.stripe.lock:
        CONTROLS["finalization"](made.stripe, {"customer": customer["id"], **({"code": code, "message": "Something went wrong."} if code else {})})


def test_an_invoice_that_cannot_be_finalized_is_told_and_heals(tmp_path: Path) -> None:
    """The rep reads plain words, those who run billing the invoice and Stripe's code; finalized later, it is the period's invoice and all is well."""
    with stripe_world(tmp_path, day=DAY) as made:
        sold(made, "harbor")
        cannot(made, "finalization_system_error")
        made.clock.move_to(at("2026-04-21"))
        made.sync()
        status, text = made.said("harbor_deal")
        draft = made.objects("invoice")[-1]
        assert (status, "could not be issued" in text) == ("Needs attention", True), text
        assert f"{draft['id']}, finalization_system_error" in text
        assert made.query("SELECT name FROM event WHERE name LIKE 'contract.notice%'") == [("contract.noticed",)]
        made.bill("2026-04-22")
        made.sync()
        assert (len(made.invoices()), made.said("harbor_deal")[0]) == (1, "Needs attention")
        cannot(made)
        dashboard(made, "invoices.finalize_invoice", draft["id"])
        made.sync()
        assert made.said("harbor_deal")[0] == "Past due", made.said("harbor_deal")  # of the first, thirty days old
        assert [row["Total__c"] for row in made.invoices()] == [120, 120]
        assert made.query("SELECT kind FROM stripe_notice") == []


def test_a_first_invoice_of_ours_that_cannot_be_finalized_is_told_and_made_later(tmp_path: Path) -> None:
    """A one-off deal: refused in words and nothing of it is left to be billed by the way; tried again by itself, it is billed once."""
    with stripe_world(tmp_path, day=DAY) as made:
        sold(made, "harbor")
        cannot(made, "finalization_system_error")
        made.deal("once", {"product": "setup", "UnitPrice": "500.00"}, account="harbor", CloseDate=DAY)
        made.win("once")
        made.sync()
        status, text = made.said("once")
        assert status == "Needs attention", text
        cannot(made)
        made.clock.move_to(at("2026-03-22"))
        made.sync()
        assert made.said("once")[0] in ("Active", "Completed"), made.said("once")
        assert [i["total"] for i in made.objects("invoice") if i["status"] == "open"] == [12000, 50000]
        assert not [i for i in made.objects("invoice") if i["status"] == "draft"]


def test_an_address_that_was_lost_at_stripe_is_told_again_and_the_tax_is_found_again(tmp_path: Path) -> None:
    """Somebody removed the address at Stripe: one invoice is without tax and the deal says so, until the CRM's address is there again, by itself."""
    with stripe_world(tmp_path, day=DAY) as made:
        french(made)
        sold(made, "harbor")
        (customer,) = made.objects("customer")
        dashboard(made, "customers.update", customer["id"], address="")
        made.clock.move_to(at("2026-04-21"))
        made.sync()
        assert [i["total"] for i in made.objects("invoice")] == [14400, 12000]
        status, text = made.said("harbor_deal")
        assert (status, "billed without tax" in text, "account" in text) == ("Needs attention", True, True), text
        healed(made, "2026-04-22")
        made.clock.move_to(at("2026-05-21"))
        made.sync()
        assert [i["total"] for i in made.objects("invoice")] == [14400, 12000, 14400]
        pushed = len(made.pushes())
        made.bill("2026-05-22")
        made.sync()
        assert len(made.pushes()) == pushed


def test_an_address_that_stripe_does_not_understand_is_asked_of_the_rep(tmp_path: Path) -> None:
    """The account's postal code is none: the deal says what is wrong until it is corrected; then the tax is found again."""
    with stripe_world(tmp_path, day=DAY) as made:
        french(made)
        sold(made, "harbor")
        made.edit("harbor", "Account", BillingPostalCode="00000")
        made.sync()
        made.clock.move_to(at("2026-04-21"))
        made.sync()
        for day in ("2026-04-22", "2026-04-23"):
            made.bill(day)
            made.sync()
            status, text = made.said("harbor_deal")
            assert (status, "the address of the customer is missing or not understood" in text) == ("Needs attention", True), text
        made.edit("harbor", "Account", BillingPostalCode="69002")
        made.sync()
        healed(made, "2026-04-24")


def healed(made: StripeWorld, day: str) -> None:
    """Run a day's rounds, after which the tax is found again and the deal needs nothing."""
    made.bill(day)
    made.sync()
    (subscription,) = made.objects("subscription")
    assert subscription["automatic_tax"]["enabled"], made.said("harbor_deal")
    made.sync()
    assert made.said("harbor_deal")[0] != "Needs attention", made.said("harbor_deal")
    assert made.query("SELECT kind FROM stripe_notice") == []
