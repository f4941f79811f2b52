"""Subscriptions of the account with something special: metered, automatic tax, a discount of 100 %, another currency than a later deal's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from test_stripe_import import Site, begun
from test_stripe_import import site as _site

from connector.core.money import rounded
from connector.lookalike.crm.org import Org

site = _site


def linked(site: Site) -> None:
    """Link what the account has, as of today."""
    site.now[0] = datetime.now(UTC)
    status, out, err = site.shell.run("import", "contracts", "--from", "stripe", "--yes")
    assert status == 0, err + out


def test_usage_of_a_linked_subscription_goes_to_its_own_meter(site: Site) -> None:
    """Imported usage of a linked contract is an event of the meter that its price counts by, and Stripe's next invoice bills it."""
    crm = site.shell.world
    meter = site.do(
        "billing.meters.create", display_name="Gigabytes", event_name="gigabytes", default_aggregation={"formula": "sum"},
        customer_mapping={"type": "by_id", "event_payload_key": "stripe_customer_id"}, value_settings={"event_payload_key": "value"},
    )  # fmt: skip
    product = site.do("products.create", name="Storage", metadata={"product_code": "STORAGE"})
    price = site.do("prices.create", product=product["id"], currency="eur", unit_amount=15, recurring={"interval": "month", "usage_type": "metered", "meter": meter["id"]})
    mine = site.subscribe(site.customer("Acme", salesforce_account_id=crm.account("acme")), items=[{"price": price["id"]}])
    linked(site)
    (contract,) = site.shell.json("contracts", "list")[1]
    today = datetime.now(UTC).date()
    (site.shell.folder / "use.csv").write_text(f"id,contract,product,time,quantity\nu-1,{contract['contract']},STORAGE,{today},40\n")
    status, out, err = site.shell.run("usage", "import", "use.csv")
    assert status == 0, err + out
    site.shell.run("sync")
    assert len(site.account.kind("billing.meter")) == 1
    (event,) = site.account.kind("billing.meter_event").values()
    assert (event["event_name"], event["payload"]["value"]) == ("gigabytes", "40")
    (item,) = site.account.get("subscription", mine)["items"]["data"]
    site.now[0] = datetime.fromtimestamp(item["current_period_end"], UTC) + timedelta(hours=3)
    site.do("customers.list")
    (billed,) = [i for i in site.account.kind("invoice").values() if i["total"]]
    assert billed["total"] == 600


@pytest.mark.parametrize("is_there", [True, False])
def test_automatic_tax_is_neither_switched_on_nor_off_by_linking(site: Site, is_there: bool) -> None:
    """Where Stripe and the configuration do not agree on who finds the tax the subscription is left alone and the report says why; else it stays as it is."""
    crm = site.shell.world
    customer = site.customer("Acme", salesforce_account_id=crm.account("acme"))
    site.do("customers.update", customer, address={"country": "FR"})
    price = site.do("prices.create", product=site.do("products.create", name="Gold")["id"], currency="eur", unit_amount=3000, recurring={"interval": "month"}, tax_behavior="exclusive")
    more = {"automatic_tax": {"enabled": True}} if is_there else {}
    mine = site.subscribe(customer, items=[{"price": price["id"], "quantity": 2}], **more)
    site.now[0] = datetime.now(UTC)
    status, out, err = site.shell.run("import", "contracts", "--from", "stripe", "--yes")
    if is_there:
        assert status == 1, out
        assert "Stripe works out its tax, the configuration does not" in out + err
        site.shell.change("tax:\n  kind: none", "tax:\n  kind: stripe")
        status, out, err = site.shell.run("import", "contracts", "--from", "stripe", "--yes")
    assert status == 0, err + out
    (contract,) = site.shell.json("contracts", "list")[1]
    today = datetime.now(UTC).date()
    change = {"Billing_Action__c": "Amend", "Amends_Contract_Id__c": contract["contract"], "CloseDate": today, "Proration__c": "None"}
    crm.deal("more", {"Quantity": 2, "UnitPrice": "20.00"}, account="acme", **change)
    crm.win("more")
    status, out, err = site.shell.run("sync")
    assert status == 0, err + out
    assert crm.said("more")[0] == "Active", crm.said("more")
    after = site.account.get("subscription", mine)
    assert (after["schedule"] is not None, after["automatic_tax"]["enabled"]) == (True, is_there)


def test_a_linked_subscription_that_is_free_stays_free(site: Site) -> None:
    """With 100 % off it bills 0.00 as before; an amendment keeps the discount, and nothing waits for an invoice."""
    crm = site.shell.world
    free = site.do("coupons.create", percent_off=100.0, duration="forever", name="Friends")["id"]
    mine = site.subscribe(site.customer("Acme", salesforce_account_id=crm.account("acme")), discounts=[{"coupon": free}])
    linked(site)
    (contract,) = site.shell.json("contracts", "list")[1]
    change = {"Billing_Action__c": "Amend", "Amends_Contract_Id__c": contract["contract"], "CloseDate": datetime.now(UTC).date()}
    crm.deal("more", {"Quantity": 2, "UnitPrice": "20.00"}, account="acme", **change)
    crm.win("more")
    status, out, err = site.shell.run("sync")
    assert status == 0, err + out
    assert crm.said("more")[0] == "Active", crm.said("more")
    after = site.account.get("subscription", mine)
    (item,) = after["items"]["data"]
    assert item["quantity"] == 5
    site.now[0] = datetime.fromtimestamp(item["current_period_end"], UTC) + timedelta(hours=3)
    site.do("customers.list")
    assert {(i["total"], i["status"]) for i in site.account.kind("invoice").values()} == {(0, "paid")}


def test_a_deal_in_another_currency_than_a_linked_subscription_s_is_refused(tmp_path: Path) -> None:
    """Its customer has euros at Stripe: a subscription in dollars is refused in words, and nothing is sent."""
    with begun(tmp_path, org=lambda clock: Org(clock=clock, multi_currency=True)) as site:
        crm = site.shell.world
        site.subscribe(site.customer("Acme", salesforce_account_id=crm.account("acme")))
        linked(site)
        entry = {"UnitPrice": Decimal(100), "IsActive": True, "Pricebook2Id": "@standard", "Product2Id": "@seat"}
        crm.add("PricebookEntry", "seat_usd_entry", CurrencyIsoCode="USD", **entry)
        crm.deal("dollars", {"product": "seat_usd"}, account="acme", CurrencyIsoCode="USD", CloseDate=datetime.now(UTC).date())
        crm.win("dollars")
        before = len(site.account.events)
        site.shell.run("sync")
        status, text = crm.said("dollars")
        assert (status, "is already billed in EUR" in text) == ("Needs attention", True), text
        assert len(site.account.events) == before


def test_a_linked_subscription_with_automatic_tax_is_credited_on_its_latest_invoice(site: Site) -> None:
    """Two of three seats less in mid-period: what Stripe billed before it was linked is given back by a note on that very invoice."""
    crm = site.shell.world
    site.account.machine["registrations"] = {"FR": "20"}
    customer = site.customer("Acme", salesforce_account_id=crm.account("acme"))
    site.do("customers.update", customer, address={"country": "FR"})
    price = site.do("prices.create", product=site.do("products.create", name="Gold", metadata={"product_code": "SEAT-TEAM"})["id"], currency="eur", unit_amount=3000, recurring={"interval": "month"}, tax_behavior="exclusive")
    mine = site.subscribe(customer, items=[{"price": price["id"], "quantity": 3}], automatic_tax={"enabled": True})
    site.shell.change("tax:\n  kind: none", "tax:\n  kind: stripe")
    linked(site)
    (contract,) = site.shell.json("contracts", "list")[1]
    today = datetime.now(UTC).date()
    change = {"Billing_Action__c": "Amend", "Amends_Contract_Id__c": contract["contract"], "CloseDate": today, "Proration__c": "Immediately"}
    crm.deal("fewer", {"Quantity": -2, "UnitPrice": "30.00"}, account="acme", **change)
    crm.win("fewer")
    status, out, err = site.shell.run("sync")
    assert status == 0, err + out
    assert crm.said("fewer")[0] == "Active", crm.said("fewer")
    (note,) = site.account.kind("credit_note").values()
    billed = [i for i in site.account.kind("invoice").values() if i["billing_reason"] == "subscription_cycle"]
    (item,) = site.account.get("subscription", mine)["items"]["data"]
    start, end = (datetime.fromtimestamp(item[k], UTC).date() for k in ("current_period_start", "current_period_end"))
    assert (note["invoice"], note["subtotal"]) == (billed[-1]["id"], rounded(Decimal(9000 * (end - today).days) / (end - start).days))
    sent = len(site.rows("SELECT id FROM stripe_push"))
    assert site.shell.run("bill")[0] == 0
    assert len(site.rows("SELECT id FROM stripe_push")) == sent
