"""What is linked keeps its own prices and products at Stripe, also where several of them mean the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from test_stripe_import import Site, day_of, site

__all__ = ["site"]


def linked(site: Site) -> None:
    """Link everything that can be linked, as of today."""
    site.now[0] = datetime.now(UTC)
    status, out, err = site.shell.run("import", "contracts", "--from", "stripe", "--yes")
    assert status == 0, err + out


def contract_of(site: Site, subscription: str) -> str:
    """Return the contract that a subscription became."""
    ((contract,),) = site.rows(f"SELECT contract_id FROM stripe_subscription WHERE subscription = '{subscription}'")
    return str(contract)


def twin(site: Site) -> str:
    """Make another price of the same product, amount and rhythm, as a dashboard collects them."""
    product = site.account.get("price", site.price)["product"]
    return str(site.do("prices.create", product=product, currency="eur", unit_amount=2000, recurring={"interval": "month"})["id"])


def amended(site: Site, account: str, contract: str, price: str = "20.00", **more: Any) -> None:
    """Win a deal of today that adds seats to a contract."""
    crm = site.shell.world
    today = datetime.now(UTC).date()
    crm.deal("more", {"Quantity": 2, "UnitPrice": price}, account=account, Billing_Action__c="Amend", Amends_Contract_Id__c=contract, CloseDate=today, **more)
    crm.win("more")
    status, out, err = site.shell.run("sync")
    assert status == 0, err + out
    assert crm.said("more")[0] == "Active", crm.said("more")


def test_subscriptions_on_twin_prices_are_both_told_by_their_lines(site: Site) -> None:
    """Two prices that mean the same: either's invoices are the contract's own lines, and a change leaves each on its price."""
    crm = site.shell.world
    first = site.subscribe(site.customer("Acme", salesforce_account_id=crm.account("acme")))
    other = twin(site)
    second = site.subscribe(site.customer("Bolt", salesforce_account_id=crm.account("bolt")), items=[{"price": other, "quantity": 5}])
    linked(site)
    amended(site, "bolt", contract_of(site, second))
    (item,) = site.account.get("subscription", second)["items"]["data"]
    assert (item["price"]["id"], item["quantity"]) == (other, 7)
    (item,) = site.account.get("subscription", first)["items"]["data"]
    ends = item["current_period_end"]
    status, out, err = site.shell.run("sync", "--full")
    assert status == 0, err + out
    assert site.rows("SELECT problem, contract_id FROM stripe_notice") == [], site.rows("SELECT data FROM stripe_held")
    site.now[0] = datetime.fromtimestamp(ends, UTC) + timedelta(hours=3)
    site.do("customers.list")
    status, out, err = site.shell.run("sync", "--full")
    assert status == 0, err + out
    told = site.rows(f"SELECT contract_id, amount FROM line WHERE key NOT LIKE 'stripe/%' AND key LIKE '%{day_of(ends)}%' ORDER BY amount")
    assert told == [(contract_of(site, first), 6000), (contract_of(site, second), 14000)], site.rows("SELECT key, amount FROM line")


def test_a_linked_product_is_the_only_one(site: Site) -> None:
    """A change that needs another price makes it for the product that the account had; no second product appears."""
    crm = site.shell.world
    mine = site.subscribe(site.customer("Acme", salesforce_account_id=crm.account("acme")))
    linked(site)
    products = list(site.account.kind("product"))
    amended(site, "acme", contract_of(site, mine), price="25.00")
    assert [(i["price"]["unit_amount"], i["quantity"]) for i in site.account.get("subscription", mine)["items"]["data"]] == [(2000, 3), (2500, 2)]
    assert list(site.account.kind("product")) == products
