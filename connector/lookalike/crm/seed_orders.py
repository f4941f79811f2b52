"""Orders of the demo company in an org with Salesforce CPQ: drafts as CPQ makes them from quotes, for a person to activate.

With *start* 2026-01-01: `order_seats`, 10 seats at 29.00 a month for a year and a setup fee; `order_more`, 5 more from 15 March, whose
line revises the first; `order_ramp`, two yearly segments billed quarterly in arrears; `order_support`, evergreen.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from connector.lookalike.crm.seed_company import month_after

Fields = dict[str, Any]


def orders(start: date) -> dict[str, list[Fields]]:
    """Return the records of the orders, in the form of `seed_from`; they refer to the demo company's accounts and price book entries."""
    year, second = (month_after(start, 12 * n) - timedelta(days=1) for n in (1, 2))
    change = month_after(start, 2) + timedelta(days=14)
    heads = (
        ("order_seats", "acme", "Quote", start, year), ("order_more", "acme", "Amendment", change, year),
        ("order_ramp", "borealis", "Quote", start, second), ("order_support", "everest", "Quote", start, None),
    )  # fmt: skip
    return {
        "SBQQ__Quote__c": [
            {"ref": f"{name}_quote", "SBQQ__Account__c": {"ref": account}, "SBQQ__Type__c": kind, "SBQQ__Status__c": "Accepted", "SBQQ__Ordered__c": True}
            for name, account, kind, _, _ in heads
        ],
        "Order": [
            {"ref": name, "AccountId": {"ref": account}, "EffectiveDate": first, "EndDate": last, "SBQQ__Quote__c": {"ref": f"{name}_quote"},
             "SBQQ__PaymentTerm__c": "Net 30"}
            for name, account, _, first, last in heads
        ],
        "OrderItem": [
            _item("order_seats", 1, "seat", (10, "348.00"), (start, year)),
            _item("order_seats", 2, "setup", (1, "2500.00"), (start, None), SBQQ__ChargeType__c="One-Time", SBQQ__BillingFrequency__c=None,
                  SBQQ__BillingType__c=None, SBQQ__SubscriptionType__c="One-time"),
            _item("order_more", 1, "seat", (5, "290.00"), (change, year), SBQQ__RevisedOrderProduct__c={"ref": "order_seats_1"}),
            *(_item("order_ramp", n, "seat_pro", (50 * n, "588.00"), (month_after(start, 12 * (n - 1)), last), SBQQ__BillingFrequency__c="Quarterly",
                    SBQQ__BillingType__c="Arrears", SBQQ__SegmentIndex__c=n, SBQQ__SegmentLabel__c=f"Year {n}") for n, last in ((1, year), (2, second))),
            _item("order_support", 1, "support", (1, "450.00"), (start, None), SBQQ__SubscriptionType__c="Evergreen", SBQQ__DefaultSubscriptionTerm__c=1),
        ],
    }  # fmt: skip


def _item(order: str, number: int, product: str, sold: tuple[int, str], days: tuple[date, date | None], **more: Any) -> Fields:
    return {
        "ref": f"{order}_{number}", "OrderId": {"ref": order}, "PricebookEntryId": {"ref": f"{product}_entry"}, "Quantity": sold[0],
        "UnitPrice": Decimal(sold[1]), "ServiceDate": days[0], "EndDate": days[1], "SBQQ__ChargeType__c": "Recurring", "SBQQ__BillingFrequency__c": "Monthly",
        "SBQQ__BillingType__c": "Advance", "SBQQ__SubscriptionType__c": "Renewable", **more,
    }  # fmt: skip
