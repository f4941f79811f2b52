"""Filling the catalogue: rows of an import compared with what the books have, and what differs written.

One row is a product, a price or a coupon; it is made, changed (the report says what), unchanged or refused (the report says
why), each by itself. `compared` only reads, so that a dry run says what the import would do; the same rows again are all
unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connector.billing import catalogue, store
from connector.billing.catalogue import CatalogCoupon, CatalogPrice, Product
from connector.billing.desk import event_id, once
from connector.billing.intents import Engine, Handler, Request
from connector.billing.store import Event
from connector.ports import IntentResult, Unit

ORDER = ("price", "coupon", "product")
"""The order in which kinds are imported: a product names a price."""

Row = Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class _Shelf:
    """What the books have of the names in the rows; what the rows themselves bring counts for those after them."""

    prices: dict[str, CatalogPrice]
    coupons: dict[str, CatalogCoupon]
    products: dict[str, Product]
    changed_prices: list[CatalogPrice] = field(default_factory=list)
    changed_coupons: list[CatalogCoupon] = field(default_factory=list)
    changed_products: list[Product] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)


def compared(unit: Unit, rows: Sequence[Row]) -> tuple[list[dict[str, str]], _Shelf]:
    """Return what would become of each row, in order, and what is to be written; reads only.

    A row has kind, id, data (as `price_to_data` and `coupon_to_data` write it; of a product name, charge_type, crm_id, price),
    active, and where it stands (*row*); prices and coupons also product and currency.
    """
    names: dict[str, list[str]] = {kind: [str(r["id"]) for r in rows if r["kind"] == kind] for kind in ORDER}
    wanted = [*names["price"], *(str(r["data"]["price"]) for r in rows if r["kind"] == "product" and r["data"].get("price"))]
    shelf = _Shelf(
        prices=catalogue.prices(unit, wanted), coupons=catalogue.coupons(unit, names["coupon"]), products=catalogue.products(unit, names["product"])
    )
    become = {"price": _price, "coupon": _coupon, "product": _product}
    done: dict[int, dict[str, str]] = {}
    for kind in ORDER:
        for number, row in enumerate(rows):
            if row["kind"] == kind:
                result, what = become[kind](unit, row, shelf)
                done[number] = {"row": str(row["row"]), "kind": kind, "id": str(row["id"]), "result": result, "what": what}
    return [done[number] for number in sorted(done)], shelf


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return what differs as people read it: "unit_amount 1000 -> 1200"."""
    keys = [k for k in {**old, **new} if old.get(k) != new.get(k)]
    return ", ".join(f"{k} {_shown(old.get(k))} -> {_shown(new.get(k))}" for k in keys)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _price(unit: Unit, row: Row, shelf: _Shelf) -> tuple[str, str]:
    made = CatalogPrice(
        id=row["id"], product=row["product"], currency=row["currency"], data=catalogue.as_text(row["data"]), is_active=row["active"]
    )
    says = catalogue.price_text(made.price, made.currency)
    old = shelf.prices.get(made.id)
    if old == made:
        return "unchanged", says
    if old is not None and old.currency != made.currency:
        return "refused", f"It is sold in {old.currency.upper()} and keeps its currency; give the price in {made.currency.upper()} an id of its own."
    shelf.prices[made.id] = made
    shelf.changed_prices.append(made)
    if old is None:
        shelf.events.append(("price.made", "", _price_state(made)))
        return "made", says
    shelf.events.append(("price.changed", _price_state(old), _price_state(made)))
    what = _differences(_price_facts(old), _price_facts(made))
    users = catalogue.users_of(unit, made.id)
    if users:
        keep = "1 contract keeps" if users == 1 else f"{users} contracts keep"
        what += f"; {keep} the price as it was agreed, only deals from now on get the new one"
    return "changed", what


def _price_facts(price: CatalogPrice) -> dict[str, Any]:
    return {"product": price.product, "active": price.is_active, **json.loads(price.data)}


def _price_state(price: CatalogPrice) -> str:
    return catalogue.as_text({"id": price.id, "currency": price.currency, **_price_facts(price)})


def _coupon(unit: Unit, row: Row, shelf: _Shelf) -> tuple[str, str]:
    del unit
    made = CatalogCoupon(id=row["id"], currency=row["currency"], data=catalogue.as_text(row["data"]), is_active=row["active"])
    old = shelf.coupons.get(made.id)
    if old == made:
        return "unchanged", ""
    shelf.coupons[made.id] = made
    shelf.changed_coupons.append(made)
    if old is None:
        shelf.events.append(("coupon.made", "", _coupon_state(made)))
        return "made", ""
    shelf.events.append(("coupon.changed", _coupon_state(old), _coupon_state(made)))
    before, after = json.loads(_coupon_state(old)), json.loads(_coupon_state(made))
    return "changed", f"{_differences(before, after)}; contracts that have it keep it as it was"


def _coupon_state(coupon: CatalogCoupon) -> str:
    return catalogue.as_text({"id": coupon.id, "currency": coupon.currency, "active": coupon.is_active, **json.loads(coupon.data)})


def _product(unit: Unit, row: Row, shelf: _Shelf) -> tuple[str, str]:
    del unit
    data = row["data"]
    made = Product(
        code=row["id"], name=data["name"], charge_type=data["charge_type"], crm_id=data["crm_id"], price_id=data["price"], is_active=row["active"]
    )
    old = shelf.products.get(made.code)
    if old == made:
        return "unchanged", ""
    if made.price_id and made.price_id not in shelf.prices:
        return "refused", f"The catalogue has no price {made.price_id}; import it, or correct the product."
    shelf.products[made.code] = made
    shelf.changed_products.append(made)
    if old is None:
        shelf.events.append(("product.made", "", _product_state(made)))
        return "made", ""
    shelf.events.append(("product.changed", _product_state(old), _product_state(made)))
    return "changed", _differences(json.loads(_product_state(old)), json.loads(_product_state(made)))


def _product_state(product: Product) -> str:
    return catalogue.as_text({
        "code": product.code, "name": product.name, "charge_type": product.charge_type, "crm_id": product.crm_id,
        "price": product.price_id, "active": product.is_active,
    })  # fmt: skip


def imported(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Fill the catalogue with the rows of a request (data: rows); deals that waited for a price or coupon are tried again."""
    del engine
    results, shelf = compared(unit, request.data["rows"])
    at = store.at_text(request.now)
    catalogue.save_prices(unit, shelf.changed_prices, at)
    catalogue.save_coupons(unit, shelf.changed_coupons, at)
    catalogue.save_products(unit, shelf.changed_products, at)
    catalogue.save_events(unit, request.actor, shelf.events, request.now)
    result = {"rows": results}
    event = Event(
        id=event_id(request.key), actor=request.actor, name="catalogue.imported", contract_id="", customer_id="", data=store.event_text(result)
    )
    store.insert_events(unit, [event], at)
    return IntentResult(result=result, retry=catalogue.CODES if shelf.events else ())


HANDLED: dict[str, Handler] = {"catalogue.import": once(imported)}
