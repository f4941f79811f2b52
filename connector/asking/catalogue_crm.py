"""`connector import catalog --from crm`: the products of the CRM, and the prices that they name and the books lack yet.

A product with a Billing Price is billed at that catalogue price. Where the catalogue has none of that name it is made from the
standard price book: once for One-time, else for the interval that is said (`--interval`); it is never guessed. A price that the
catalogue has is left alone, whatever the price book says: tiers and sub-cent prices live in the catalogue only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from connector import app
from connector.asking.catalogue import Entry, imported
from connector.billing import catalogue
from connector.core.money import minor
from connector.core.terms import Interval, Price
from connector.errors import ConfigError, Problem, Where
from connector.ports import Crm
from connector.verbs import Result, looking_house, open_config

PAGE_ROWS = 2_000
INTERVALS: Mapping[str, Interval] = {
    "month": Interval(unit="month"), "quarter": Interval(unit="month", count=3), "half_year": Interval(unit="month", count=6), "year": Interval(unit="year"),
}  # fmt: skip
_CHARGES = {"Recurring": "recurring", "One-time": "one_time", "Usage": "usage"}
_PRODUCT = "SELECT Id, Name, ProductCode, IsActive, Charge_Type__c, Billing_Price__c FROM Product2"
_ENTRY = "SELECT Id, Product2Id, UnitPrice{} FROM PricebookEntry"


def _pages(crm: Crm, select: str, where: str = "") -> Iterator[dict[str, Any]]:
    """Yield all rows of an object, a page at a time, in order of id."""
    last = ""
    while True:
        conditions = " AND ".join(c for c in (where, f"Id > '{last}'" if last else "") if c)
        (page,) = crm.query([f"{select}{f' WHERE {conditions}' if conditions else ''} ORDER BY Id LIMIT {PAGE_ROWS}"])
        yield from page
        if len(page) < PAGE_ROWS:
            return
        last = page[-1]["Id"]


def _require_fields(crm: Crm) -> None:
    found = crm.describe(["Product2", "PricebookEntry"])
    missing = [f for f in ("Charge_Type__c", "Billing_Price__c") if "Product2" not in found or f not in found["Product2"].fields]
    if missing or "PricebookEntry" not in found:
        what = f"Product2 shows no {' and no '.join(missing)}" if missing else "The price book shows no entries"
        hint = "Deploy the package's fields, and let the integration user read products and price book entries."
        raise ConfigError([Problem(code="unknown-field", message=f"{what}.", hint=hint, where=Where(object="Product2"))])


def _price_row(name: str, product: Mapping[str, Any], entry: Mapping[str, Any], currency: str, interval: Interval | None) -> dict[str, Any]:
    charge, code = product.get("Charge_Type__c"), product.get("ProductCode") or product["Name"]
    price = Price(
        id=name, product=code, unit_amount=minor(entry["UnitPrice"], currency), interval=interval,
        usage_type="metered" if charge == "Usage" else "licensed", timing="in_arrears" if charge == "Usage" else "in_advance",
    )  # fmt: skip
    return {
        "kind": "price", "id": name, "product": code, "currency": currency, "data": catalogue.price_to_data(price), "active": True,
        "row": f"PricebookEntry/{entry['Id']}",
    }  # fmt: skip


def _refused(product: Mapping[str, Any], message: str, hint: str) -> Entry:
    problem = Problem(code="no-price", message=message, hint=hint, where=Where(object="Product2", record=product["Id"], field="Billing_Price__c"))
    return Entry(kind="product", id=str(product.get("ProductCode") or product["Name"]), place=f"Product2/{product['Id']}", problems=(problem,))


def _entries(products: Sequence[Mapping[str, Any]], listed: Mapping[str, Mapping[str, Any]], known: set[str], interval: str | None, currency: str) -> Iterator[Entry]:
    """Yield an entry for each product, and before it one for its price where the catalogue has none of that name."""
    codes: dict[str, str] = {}
    for product in products:
        code, name, charge = product.get("ProductCode") or product["Name"], product.get("Billing_Price__c") or "", product.get("Charge_Type__c")
        if code in codes:
            yield _refused(product, f"The product code {code} is also that of {codes[code]}.", "Give each product a code of its own.")
            continue
        codes[code] = product["Id"]
        if name and name not in known:
            entry = listed.get(product["Id"])
            if entry is None:
                yield _refused(product, f"The catalogue has no price {name}, and the standard price book none for {code}.", "Import the price from a file.")
                continue
            if charge not in _CHARGES or (charge != "One-time" and interval is None):
                what = "how often it is billed" if charge in _CHARGES else "its Charge Type"
                yield _refused(product, f"The catalogue has no price {name}, and nothing says {what}.", "Say --interval month (quarter, half_year, year), or import the price from a file.")
                continue
            row = _price_row(name, product, entry, str(entry.get("CurrencyIsoCode") or currency).lower(), None if charge == "One-time" else INTERVALS[interval or "month"])
            known.add(name)
            yield Entry(kind="price", id=name, place=row["row"], row=row)
        place = f"Product2/{product['Id']}"
        data = {"name": product["Name"], "charge_type": _CHARGES.get(str(charge), ""), "price": name, "crm_id": product["Id"]}
        yield Entry(kind="product", id=code, place=place, row={"kind": "product", "id": code, "data": data, "active": bool(product["IsActive"]), "row": place})


def import_crm(config_path: Path, *, interval: str | None, is_dry: bool) -> Result:
    """Import the products of the CRM, and prices that they name; *is_dry* says what would become of each and writes nothing."""
    if interval is not None and interval not in INTERVALS:
        raise ConfigError([Problem(code="bad-argument", message=f"{interval} is no interval.", hint=f"It is one of {', '.join(INTERVALS)}.")])
    config = open_config(config_path)
    crm = app.build_crm(config)
    org = crm.connect()
    _require_fields(crm)
    products = list(_pages(crm, _PRODUCT))
    with looking_house(config) as books, books.database.read() as unit:
        known = set(catalogue.prices(unit, [str(p["Billing_Price__c"]) for p in products if p.get("Billing_Price__c")]))
    select = _ENTRY.format(", CurrencyIsoCode" if org.is_multi_currency else "")
    is_needed = any(p.get("Billing_Price__c") and p["Billing_Price__c"] not in known for p in products)
    listed = {e["Product2Id"]: e for e in _pages(crm, select, "IsActive = true AND Pricebook2.IsStandard = true")} if is_needed else {}
    return imported(config_path, list(_entries(products, listed, known, interval, org.currency)), is_dry=is_dry)
