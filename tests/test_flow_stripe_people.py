"""What changes on an account in the CRM reaches its customer at Stripe: also what is emptied, its tax number, and countries by their names."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from stripe_world import StripeWorld, stripe_world
from test_flow_stripe_identity import dashboard, sold

from connector.billing.stripe_backend.compiling.people import Told, people_steps
from connector.ports import CustomerDetails

DAY = "2026-03-20"


def numbers(made: StripeWorld) -> list[tuple[str, str]]:
    """Return type and value of every tax number at Stripe."""
    return [(t["type"], t["value"]) for t in made.objects("tax_id")]


def edited(made: StripeWorld, **fields: Any) -> None:
    """Change the account, and the deal as reps do who want it read again."""
    made.edit("harbor", kind="Account", **fields)
    made.clock.move_to(made.clock.now() + timedelta(minutes=5))
    made.edit("harbor_deal", Description=f"read again {made.clock.now()}")
    made.sync()


def test_what_changes_on_an_account_reaches_its_customer(tmp_path: Path) -> None:
    """Another VAT number replaces the former one, an emptied address is empty there, and nothing is sent twice."""
    with stripe_world(tmp_path, day=DAY) as made:
        made.account("harbor", Tax_Id__c="DE 811 569 869", BillingCountry="Deutschland")
        made.deal("harbor_deal", {"UnitPrice": "60.00", "Quantity": 2}, account="harbor", CloseDate=DAY, Contract_Start_Date__c=DAY)
        made.win("harbor_deal")
        made.sync()
        customer = made.objects("customer")[-1]
        assert numbers(made) == [("eu_vat", "DE811569869")]
        assert customer["address"]["country"] == "DE"
        edited(made, Tax_Id__c="DE136695976", BillingStreet=None, BillingPostalCode="20457")
        assert numbers(made) == [("eu_vat", "DE136695976")]
        assert (customer["address"]["line1"], customer["address"]["postal_code"]) == (None, "20457")
        sent = len(made.pushes())
        edited(made, Tax_Id__c=None, BillingCity=None, BillingPostalCode=None, BillingCountry=None)
        assert numbers(made) == []
        assert customer["address"] is None
        assert len(made.pushes()) == sent + 1
        made.clock.move_to(made.clock.now() + timedelta(hours=1))
        made.sync()
        assert len(made.pushes()) == sent + 1


def test_an_emptied_e_mail_is_emptied_there(tmp_path: Path) -> None:
    """What is empty by now is sent as empty, in the way that Stripe takes: texts and an address as "", no language at all."""
    told = Told(stripe_id="cus_1", digest="of before", tax_id="txi_1", tax_number="eu_vat DE811569869")
    details = CustomerDetails(account="001", name="Harbor")
    update, former = people_steps("C-1", details, "00D", told, customer="cus_1")
    assert update.params == {
        "name": "Harbor", "email": "", "address": "", "tax_exempt": "none",
        "metadata": {"connector_customer": "C-1", "connector_org": "00D", "crm_account": "001"},
    }  # fmt: skip
    assert (former.call, former.target) == ("customers.tax_ids.delete", "cus_1/txi_1")
    with stripe_world(tmp_path, day=DAY) as made:
        sold(made, "harbor")
        (customer,) = made.objects("customer")
        assert customer["email"] == "billing@harbor.example"
        dashboard(made, "customers.update", customer["id"], **update.params)
        assert (customer["email"], customer["address"]) == (None, None)


def test_a_new_deal_brings_what_changed_since(tmp_path: Path) -> None:
    """A second deal of an account that has another address and tax number by now: one update, for both its contracts."""
    with stripe_world(tmp_path, day=DAY) as made:
        sold(made, "harbor")
        made.edit("harbor", kind="Account", Tax_Id__c="FR40303265045", BillingCity="Nantes")
        made.clock.move_to(made.clock.now() + timedelta(minutes=5))
        made.deal("second", {"UnitPrice": "5.00", "Quantity": 1}, account="harbor", CloseDate=DAY, Contract_Start_Date__c=DAY)
        made.win("second")
        made.sync()
        (customer,) = made.objects("customer")
        assert (customer["address"]["city"], numbers(made)) == ("Nantes", [("eu_vat", "FR40303265045")])
        updates = len(made.stripe_server.faults.asked("POST", f"/v1/customers/{customer['id']}"))
        made.edit("harbor_deal", Description="read again")
        made.clock.move_to(made.clock.now() + timedelta(minutes=5))
        made.sync()
        assert len(made.stripe_server.faults.asked("POST", f"/v1/customers/{customer['id']}")) == updates


def test_a_number_that_the_customer_gave_itself_is_not_given_twice(tmp_path: Path) -> None:
    """The portal lets customers type their tax number: the same one from the CRM is that one, another of theirs stays."""
    with stripe_world(tmp_path, day=DAY) as made:
        sold(made, "harbor")
        (customer,) = made.objects("customer")
        for value in ("FR40303265045", "DE136695976"):
            dashboard(made, "customers.tax_ids.create", customer["id"], type="eu_vat", value=value)
        edited(made, Tax_Id__c="FR40303265045")
        assert numbers(made) == [("eu_vat", "FR40303265045"), ("eu_vat", "DE136695976")]
        edited(made, Tax_Id__c="")
        assert numbers(made) == [("eu_vat", "DE136695976")]


def test_a_number_that_stripe_does_not_take_is_said(tmp_path: Path) -> None:
    """A VAT number of an impossible form needs attention in plain words; corrected, the change goes through."""
    with stripe_world(tmp_path, day=DAY) as made:
        sold(made, "harbor")
        edited(made, Tax_Id__c="FR-")
        edited(made, Tax_Id__c="FR4030326504512345")
        status, text = made.said("harbor_deal")
        assert status == "Needs attention"
        assert text.startswith("The tax number of the customer is not valid for its country."), text
        edited(made, Tax_Id__c="FR40303265045")
        assert (made.said("harbor_deal")[0], numbers(made)) == ("Active", [("eu_vat", "FR40303265045")])


@pytest.mark.parametrize(("written", "code"), [("Germany", "DE"), ("Allemagne", "DE"), ("United States", "US"), ("france", "FR"), ("UK", "GB"), ("Ruritania", "Ruritania")])
def test_countries_are_told_by_their_codes(tmp_path: Path, written: str, code: str) -> None:
    """A country by its name, in the languages of CRMs, is its code at Stripe; one that nobody knows stands there as it was written."""
    with stripe_world(tmp_path, day=DAY) as made:
        made.account("harbor", BillingCountry=written)
        made.deal("harbor_deal", {"UnitPrice": "60.00", "Quantity": 2}, account="harbor", CloseDate=DAY, Contract_Start_Date__c=DAY)
        made.win("harbor_deal")
        made.sync()
        assert made.said("harbor_deal")[0] == "Active", made.said("harbor_deal")
        assert made.objects("customer")[0]["address"]["country"] == code


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"BillingCountry": "Ruritania"}, 'The country "Ruritania" of Harbor is none that is known, so that no tax can be worked out. Correct the country'),
        ({"BillingCountry": None}, "The address of Harbor names no country, so that no tax can be worked out. Fill in the billing address"),
        ({"BillingCountry": "United States", "BillingPostalCode": None}, "The address of Harbor has no ZIP code, so that no tax can be worked out."),
    ],
)
def test_an_address_that_nobody_can_tax_is_said_before_anything_is_sent(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    """With Stripe's automatic tax an address that leads to no tax is told on the record, instead of invoices that stay drafts; mended, it is billed."""
    with stripe_world(tmp_path, day=DAY) as made:
        made.config = replace(made.config, tax=replace(made.config.tax, kind="stripe"))
        made.account("harbor", **fields)
        made.deal("harbor_deal", {"UnitPrice": "60.00", "Quantity": 2}, account="harbor", CloseDate=DAY, Contract_Start_Date__c=DAY)
        made.win("harbor_deal")
        made.sync()
        status, text = made.said("harbor_deal")
        assert (status, said in text) == ("Needs attention", True), text
        assert made.objects("customer") == []
        edited(made, BillingCountry="US", BillingPostalCode="94105")
        assert made.said("harbor_deal")[0] == "Active", made.said("harbor_deal")
