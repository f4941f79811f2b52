"""What tests of CPQ orders share: a world whose org has Salesforce CPQ, and orders as CPQ makes them from quotes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from stripe_world import EveningWorld, stripe_world
from world import ROOT, World, world

from connector.lookalike.crm.org import Org, Traits

ORDERS = ROOT / "mappings" / "salesforce-cpq-order.yaml"
ALL = [ORDERS, *(ROOT / "mappings" / f"salesforce-{name}.yaml" for name in ("opportunity", "quote"))]


@contextmanager
def cpq_world(folder: Path, *, day: str = "2022-01-01", backend: str = "internal", **config: Any) -> Iterator[World]:
    """Give a world of an org with CPQ, reading orders only unless *mappings* says otherwise; *backend* stripe: on the look-alike."""
    settings: dict[str, Any] = {"mappings": [ORDERS]} | config
    made = settings.pop("org", None) or (lambda clock: Org(clock=clock, currency="USD", traits=Traits(has_cpq=True)))
    on_backend = world(folder, day=day, org=made, **settings)
    if backend == "stripe":
        on_backend = stripe_world(folder, day=day, org=made, kind=EveningWorld, **settings)
    with on_backend as found:
        yield found


def product(demo: World, name: str, price: str = "10.00", **fields: Any) -> None:
    """Add a product and its price book entry."""
    demo.add("Product2", name, Name=name.upper(), ProductCode=name.upper(), IsActive=True, **fields)
    demo.add("PricebookEntry", f"{name}_entry", Pricebook2Id="@standard", Product2Id=f"@{name}", UnitPrice=Decimal(price), IsActive=True)


def item(demo: World, ref: str, order: str, **fields: Any) -> str:
    """Add an order product: recurring, monthly and in advance unless said otherwise; `product` names the product, `@name` another record."""
    product_name = fields.pop("product", "a")
    head: dict[str, Any] = {
        "OrderId": f"@{order}", "PricebookEntryId": f"@{product_name}_entry", "Quantity": Decimal(str(fields.pop("Quantity", 1))),
        "UnitPrice": Decimal(str(fields.pop("UnitPrice"))), "SBQQ__ChargeType__c": "Recurring", "SBQQ__BillingFrequency__c": "Monthly",
        "SBQQ__BillingType__c": "Advance", "SBQQ__SubscriptionType__c": "Renewable",
    }  # fmt: skip
    if fields.get("SBQQ__ChargeType__c") == "One-Time":
        head |= {"SBQQ__BillingFrequency__c": None, "SBQQ__BillingType__c": None, "SBQQ__SubscriptionType__c": "One-time"}
    prior = fields.pop("prior", None)
    if prior is not None:
        if f"{order}_quote" not in demo.ids:
            demo.add("SBQQ__Quote__c", f"{order}_quote", SBQQ__Type__c="Amendment")
        demo.add("SBQQ__QuoteLine__c", f"{ref}_ql", SBQQ__Quote__c=f"@{order}_quote", SBQQ__PriorQuantity__c=Decimal(prior))
        head["SBQQ__QuoteLine__c"] = f"@{ref}_ql"
    return demo.add("OrderItem", ref, **(head | fields))


def order(
    demo: World, ref: str, *lines: Mapping[str, Any], start: str, last: str | None, kind: str = "Quote", is_activated: bool = True, **fields: Any
) -> str:
    """Add an order with its CPQ quote and products, whose dates are the order's unless said otherwise, and activate it."""
    dates = {"ServiceDate": date.fromisoformat(start), "EndDate": date.fromisoformat(last) if last else None}
    quote = demo.add("SBQQ__Quote__c", f"{ref}_quote", SBQQ__Type__c=kind, **fields.pop("quote", {}))
    del quote
    head = {"AccountId": "@helios", "EffectiveDate": dates["ServiceDate"], "EndDate": dates["EndDate"], "SBQQ__Quote__c": f"@{ref}_quote"}
    made = demo.add("Order", ref, **(head | fields))
    for number, one in enumerate(lines, 1):
        whole = {k: v for k, v in dates.items() if v is not None and one.get("SBQQ__ChargeType__c") != "One-Time"}
        item(demo, f"{ref}_{number}", ref, **(whole | dict(one)))
    if is_activated:
        activate(demo, ref)
    return made


def amendment(demo: World, ref: str, *lines: Mapping[str, Any], start: str, last: str | None = "2022-12-31", **more: Any) -> str:
    """Add an amendment order: its lines carry the change in quantity, and `revises` names the line that they change."""
    told = [{k: v for k, v in one.items() if k != "revises"} | _revised(one) for one in lines]
    return order(demo, ref, *told, start=start, last=last, kind="Amendment", **more)


def _revised(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"SBQQ__RevisedOrderProduct__c": f"@{one['revises']}"} if "revises" in one else {}


def activate(demo: World, *names: str) -> None:
    """Activate orders as the rep does."""
    for name in names:
        demo.edit(name, "Order", Status="Activated")


def totals(demo: World) -> list[Decimal]:
    """Return the totals of the invoice rows in the CRM, in order of number."""
    return [row["Total__c"] for row in demo.invoices()]


def billed(demo: World) -> Decimal:
    """Return everything that was invoiced."""
    return sum(totals(demo), Decimal(0))


def months(demo: World, *days: str) -> None:
    """Run the billing run on each day."""
    for day in days:
        demo.bill(day)


def first_days(start: str, count: int) -> list[str]:
    """Return the first days of *count* months from the one of *start* on."""
    day = date.fromisoformat(start).replace(day=1)
    found = []
    for _ in range(count):
        found.append(day.isoformat())
        day = (day + timedelta(days=32)).replace(day=1)
    return found
