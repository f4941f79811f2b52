"""What the demo company sells at prices of the billing catalogue: each product names one that is no plain price per unit.

`Messages` at the price `messages`, for one, is 5.00 each up to 100 and 4.00 each above, which no price book can say. The price
book holds the first step, so that the amount of a deal is near what is billed. The catalogue itself is filled by who owns it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

_ROWS = (
    ("seats_steps", "Analytics Seat", "ANALYTICS", "Recurring", "Software", "analytics-seat", "12.00", "the first 10 at 12.00, the next 40 at 10.00, more at 8.00"),
    ("messages", "Message Block", "MESSAGES", "Recurring", "Software", "messages", "5.00", "all at 5.00; from 101 on all at 4.00"),
    ("sensors", "Sensor Pack", "SENSORS", "Recurring", "Software", "sensor-pack", "2.50", "25.00 for each ten begun"),
    ("archive", "Archive", "ARCHIVE", "Recurring", "Software", "archive", "60.00", "60.00 a month, billed at its end"),
    ("insurance", "Device Insurance", "INSURANCE", "Recurring", "Services", "insurance-year", "240.00", "240.00 a year, whatever the deal's frequency"),
    ("api_calls", "API Calls", "API-CALLS", "Usage", "Software", "api-calls", "0.02", "1,000 a month free, then 0.02 up to 10,000, then 0.01"),
    ("traffic", "Traffic", "TRAFFIC-GB", "Usage", "Software", "traffic-gb", "0.13", "0.125 a gigabyte used"),
    ("onboarding", "Onboarding", "ONBOARDING", "One-time", "Services", "onboarding", "750.00", "750.00 once"),
)  # fmt: skip


def catalogue_products() -> dict[str, list[dict[str, Any]]]:
    """Return the products and their price book entries in the form of `seed_from`; `standard` must be known there."""
    products = [
        {
            "ref": name, "Name": title, "ProductCode": code, "IsActive": True, "Charge_Type__c": charge, "Family": family, "Billing_Price__c": price,
            "Description": f"Catalogue price {price}: {said}.",
        }
        for name, title, code, charge, family, price, _listed, said in _ROWS
    ]  # fmt: skip
    entries = [
        {
            "ref": f"{row[0]}_entry", "Pricebook2Id": {"ref": "standard"}, "Product2Id": {"ref": row[0]}, "UnitPrice": Decimal(row[6]),
            "IsActive": True,
        }
        for row in _ROWS
    ]  # fmt: skip
    return {"Product2": products, "PricebookEntry": entries}
