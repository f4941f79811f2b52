"""Orders in the demo CRM: what activation means, and an org with and without Salesforce CPQ."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from connector.lookalike.crm.org import Org, Traits
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.seed import seed, seed_from
from connector.lookalike.crm.soql_run import records

NOW = datetime(2026, 1, 1, 9, tzinfo=UTC)


def org_with_order(*, has_cpq: bool = True) -> tuple[Org, dict[str, str]]:
    """Return an org and the ids of a draft order of 10 seats."""
    org = Org(clock=lambda: NOW, traits=Traits(has_cpq=has_cpq))
    ids = seed(org, date(2026, 1, 1))
    head = {"ref": "order", "AccountId": {"ref": "acme"}, "EffectiveDate": date(2026, 1, 1), "EndDate": date(2026, 12, 31)}
    item = {"ref": "item", "OrderId": {"ref": "order"}, "PricebookEntryId": {"ref": "seat_entry"}, "Quantity": 10, "UnitPrice": Decimal(120)}
    return org, seed_from(org, {"Order": [head], "OrderItem": [item]}, known=ids)


def save(org: Org, kind: str, record: str, **fields: object) -> None:
    """Change a record as the rep does."""
    with org.transaction(user=org.rep_user):
        org.update(kind, record, fields)


def test_an_order_is_activated_and_stays_as_it_is() -> None:
    """Activated, it has a code, a date and a total; what was sold cannot be edited, added to or deleted, our own fields can be written."""
    org, ids = org_with_order()
    save(org, "Order", ids["order"], Status="Activated")
    order = org.get("Order", ids["order"])
    assert (order["StatusCode"], order["OrderNumber"], order["TotalAmount"]) == ("Activated", "00000005", Decimal("1200.00"))  # after four of the demo company
    assert order["ActivatedDate"].startswith("2026-01-01T09:00:00")
    for kind, record, field, value in (
        ("Order", "order", "EndDate", "2027-12-31"),
        ("OrderItem", "item", "Quantity", 5),
        ("OrderItem", "item", "SBQQ__BillingFrequency__c", "Annual"),
    ):
        with pytest.raises(Refusal, match="activated order cannot be edited"):
            save(org, kind, ids[record], **{field: value})
    for kind, record in (("OrderItem", "item"), ("Order", "order")):
        with pytest.raises(Refusal, match="activated order"):
            org.delete(kind, ids[record])
    with pytest.raises(Refusal, match="added to an activated order"):
        org.create("OrderItem", {"OrderId": ids["order"], "PricebookEntryId": ids["seat_entry"], "Quantity": 1, "UnitPrice": 1})
    save(org, "Order", ids["order"], Billing_Status__c="Active")
    assert org.get("Order", ids["order"])["Billing_Status__c"] == "Active"
    save(org, "Order", ids["order"], Status="Draft")
    save(org, "OrderItem", ids["item"], Quantity=5)
    assert org.get("Order", ids["order"])["TotalAmount"] == Decimal("600.00")
    assert org.get("Order", ids["order"]).get("ActivatedDate") is None
    org.delete("Order", ids["order"])
    assert org.row("OrderItem", ids["item"]) is None


def test_an_order_without_products_cannot_be_activated() -> None:
    """The CRM refuses and says why."""
    org, ids = org_with_order()
    with org.transaction(user=org.rep_user):
        org.delete("OrderItem", ids["item"])
    with pytest.raises(Refusal, match="at least one product"):
        save(org, "Order", ids["order"], Status="Activated")


def test_order_products_need_a_price_of_the_orders_price_book() -> None:
    """Without an entry nothing is saved, and the order takes the price book of its first product."""
    org, ids = org_with_order()
    assert org.get("Order", ids["order"])["Pricebook2Id"] == ids["standard"]
    with pytest.raises(Refusal, match="PricebookEntryId"):
        org.create("OrderItem", {"OrderId": ids["order"], "Quantity": 1, "UnitPrice": 1})


def test_an_org_without_cpq_has_orders_and_no_package() -> None:
    """Its order has no SBQQ field: a query says so in Salesforce's words, and the package's objects do not exist."""
    org, _ = org_with_order(has_cpq=False)
    with pytest.raises(Refusal, match="No such column 'SBQQ__Quote__c' on entity 'Order'"):
        records(org, "SELECT SBQQ__Quote__c FROM Order")
    with pytest.raises(Refusal, match="SBQQ__Quote__c"):
        records(org, "SELECT Id FROM SBQQ__Quote__c")
