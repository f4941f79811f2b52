"""Products and prices. Source: docs.stripe.com/api/products, docs.stripe.com/api/prices.

Products may bring ids of their own; prices are found again by lookup keys, of which each stands on one price at a time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.currencies import check_currency
from connector.lookalike.stripe.listing import page, within
from connector.lookalike.stripe.metadata import merged

_OWN_ID = re.compile(r"[A-Za-z0-9_\-.]{1,255}")
_LONGEST = {"day": 1095, "week": 156, "month": 36, "year": 3}
_MOST_LOOKUP_KEYS = 10
_LONGEST_LOOKUP_KEY = 200
_LARGEST = 10**14


@endpoint("POST", "/v1/products", "ProductCreateParams")
def create_product(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """Make a product, under an id of the caller's where one is given."""
    priced = params.get("default_price_data")
    product = _product(account, params)
    price = _price(account, {**priced, "product": product["id"]}) if priced else None
    account.kind("product")[product["id"]] = product
    account.emit("product.created", product)
    if price is not None:
        account.kind("price")[price["id"]] = price
        account.emit("price.created", price)
        product["default_price"] = price["id"]
    return product


def _product(account: Account, params: Data) -> Data:
    id_ = params.get("id") or account.new_id("prod")
    if not _OWN_ID.fullmatch(id_):
        raise Refused("Product IDs may only contain letters, numbers, dashes, dots and underscores.", param="id")
    if id_ in account.kind("product"):
        raise Refused("Product already exists.", code="resource_already_exists", param="id")
    now = account.now()
    product: Data = {
        "id": id_, "object": "product", "active": params.get("active", True), "created": now, "default_price": None, "description": None,
        "images": [], "livemode": account.is_live, "marketing_features": [], "metadata": {}, "name": params["name"], "package_dimensions": None,
        "shippable": None, "statement_descriptor": None, "tax_code": None, "type": params.get("type", "service"), "unit_label": None,
        "updated": now, "url": None,
    }  # fmt: skip
    _change_product(product, params)
    return product


def _change_product(product: Data, params: Data) -> None:
    for name in ("description", "package_dimensions", "statement_descriptor", "tax_code", "unit_label", "url"):
        if name in params:
            product[name] = params[name] or None
    for name in ("active", "name", "shippable"):
        if name in params:
            product[name] = params[name]
    for name in ("images", "marketing_features"):
        if name in params:
            product[name] = params[name] or []
    product["metadata"] = merged(product["metadata"], params.get("metadata"))


@endpoint("GET", "/v1/products/{id}", "ProductRetrieveParams")
def retrieve_product(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Return a product."""
    return account.get("product", ids["id"])


@endpoint("POST", "/v1/products/{id}", "ProductUpdateParams")
def update_product(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Change a product."""
    product = account.get("product", ids["id"])
    if "default_price" in params:
        price = account.get("price", params["default_price"], param="default_price")
        if price["product"] != product["id"]:
            raise Refused(f"The price {price['id']} does not belong to this product.", param="default_price")
        product["default_price"] = price["id"]
    _change_product(product, params)
    product["updated"] = account.now()
    account.emit("product.updated", product)
    return product


@endpoint("DELETE", "/v1/products/{id}", "ProductDeleteParams")
def delete_product(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Delete a product that has no prices."""
    product = account.get("product", ids["id"])
    if any(one["product"] == product["id"] for one in account.kind("price").values()):
        raise Refused("This product cannot be deleted because it has one or more user-created prices.", param="id")
    del account.kind("product")[product["id"]]
    account.emit("product.deleted", product)
    return {"id": product["id"], "object": "product", "deleted": True}


@endpoint("GET", "/v1/products", "ProductListParams")
def list_products(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """List products, newest first."""
    ids = params.get("ids")
    found = [
        one
        for one in reversed(account.kind("product").values())
        if (ids is None or one["id"] in ids)
        and all(one[name] == params[name] for name in ("active", "shippable", "type", "url") if name in params)
        and within(one["created"], params.get("created"))
    ]
    return page(found, params, "/v1/products")


# -- prices -------------------------------------------------------------------------------------------------------------------


@endpoint("POST", "/v1/prices", "PriceCreateParams")
def create_price(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """Make a price of a product, or of a product that is made with it."""
    if ("product" in params) == ("product_data" in params):
        raise Refused("You must specify either `product` or `product_data` when creating a price.", param="product")
    product = None
    if "product_data" in params:
        product = _product(account, params["product_data"])
        params = {**params, "product": product["id"]}
    else:
        account.get("product", params["product"], param="product")
    price = _price(account, params)
    _give_lookup_key(account, price, params)
    if product is not None:
        account.kind("product")[product["id"]] = product
        account.emit("product.created", product)
    account.kind("price")[price["id"]] = price
    account.emit("price.created", price)
    return price


def _price(account: Account, params: Data) -> Data:
    """Return a price as the parameters say. Raises: Refused."""
    for unknown in ("custom_unit_amount", "currency_options"):
        if unknown in params:
            raise Refused(f"The look-alike does not know {unknown} of a price.", param=unknown)
    currency = check_currency(params["currency"])
    amounts = _amounts(params)
    recurring = _recurring(account, params.get("recurring"))
    if params.get("transform_quantity") and amounts["tiers"]:
        raise Refused("`transform_quantity` cannot be combined with `tiers`.", param="transform_quantity")
    return {
        "id": account.new_id("price"), "object": "price", "active": params.get("active", True), **amounts, "created": account.now(),
        "currency": currency, "custom_unit_amount": None, "livemode": account.is_live, "lookup_key": None,
        "metadata": merged(None, params.get("metadata")), "nickname": params.get("nickname"), "product": params["product"],
        "recurring": recurring, "tax_behavior": params.get("tax_behavior", "unspecified"),
        "transform_quantity": params.get("transform_quantity"), "type": "recurring" if recurring else "one_time",
    }  # fmt: skip


def _amounts(params: Data) -> Data:
    scheme = params.get("billing_scheme", "per_unit")
    if scheme == "tiered":
        if "unit_amount" in params or "unit_amount_decimal" in params:
            raise Refused("`unit_amount` cannot be set when `billing_scheme` is `tiered`.", param="unit_amount")
        if "tiers_mode" not in params:
            raise Refused("Missing required param: tiers_mode.", code="parameter_missing", param="tiers_mode")
        tiers = _tiers(params.get("tiers") or [])
        return {
            "billing_scheme": scheme,
            "tiers": tiers,
            "tiers_mode": params["tiers_mode"],
            "unit_amount": None,
            "unit_amount_decimal": None,
        }
    for name in ("tiers", "tiers_mode"):
        if name in params:
            raise Refused(f"`{name}` requires `billing_scheme` to be `tiered`.", param=name)
    whole, exact = _either(params, "unit_amount", "")
    if exact is None:
        raise Refused(
            "You must specify one of `unit_amount`, `unit_amount_decimal`, or `custom_unit_amount` when the `billing_scheme` is `per_unit`.",
            param="unit_amount",
        )
    return {
        "billing_scheme": scheme,
        "tiers": None,
        "tiers_mode": None,
        "unit_amount": whole,
        "unit_amount_decimal": exact,
    }


def _either(said: Data, name: str, path: str) -> tuple[int | None, str | None]:
    """Return an amount (whole or None where it has decimals, exact as text or None) that is given whole or with decimals."""
    whole, exact = said.get(name), said.get(f"{name}_decimal")
    param = f"{path}[{name}]" if path else name
    if whole is not None and exact is not None:
        raise Refused(f"You may only specify one of these parameters: {name}, {name}_decimal.", param=param)
    value = Decimal(whole) if whole is not None else exact
    if value is None:
        return None, None
    if value < 0:
        raise Refused("This value must be greater than or equal to 0.", code="parameter_invalid_integer", param=param)
    if value > _LARGEST:
        raise Refused("Amount is too large.", code="amount_too_large", param=param)
    is_whole = value == value.to_integral_value(ROUND_HALF_UP)
    return (int(value) if is_whole else None), format(value.normalize(), "f")


def _tiers(said: list[Any]) -> list[Data]:
    if not said:
        raise Refused("Missing required param: tiers.", code="parameter_missing", param="tiers")
    made, before = [], 0
    for place, one in enumerate(said):
        path, is_last = f"tiers[{place}]", place == len(said) - 1
        up_to = one["up_to"]
        if is_last != (up_to == "inf"):
            raise Refused("The last tier, and no other, must have `up_to` set to `inf`.", param=f"{path}[up_to]")
        if up_to != "inf" and up_to <= before:
            raise Refused("`up_to` must increase from tier to tier.", param=f"{path}[up_to]")
        before = up_to if up_to != "inf" else before
        unit, unit_exact = _either(one, "unit_amount", path)
        flat, flat_exact = _either(one, "flat_amount", path)
        if unit_exact is None and flat_exact is None:
            raise Refused(
                "A tier needs a unit amount or a flat amount.", code="parameter_missing", param=f"{path}[unit_amount]"
            )
        made.append({
            "flat_amount": flat, "flat_amount_decimal": flat_exact, "unit_amount": unit, "unit_amount_decimal": unit_exact,
            "up_to": None if up_to == "inf" else up_to,
        })  # fmt: skip
    return made


def _recurring(account: Account, said: Data | None) -> Data | None:
    if said is None:
        return None
    interval, count = said["interval"], said.get("interval_count", 1)
    if not 1 <= count <= _LONGEST[interval]:
        raise Refused("The maximum interval is three years.", param="recurring[interval_count]")
    usage, meter = said.get("usage_type", "licensed"), said.get("meter")
    if (usage == "metered") != (meter is not None):
        raise Refused("Metered prices must be backed by a meter, and no others.", param="recurring[meter]")
    if meter is not None and account.get("billing.meter", meter, param="recurring[meter]")["status"] != "active":
        raise Refused("The meter of a price must be active.", param="recurring[meter]")
    return {
        "interval": interval,
        "interval_count": count,
        "meter": meter,
        "trial_period_days": said.get("trial_period_days"),
        "usage_type": usage,
    }


def _give_lookup_key(account: Account, price: Data, params: Data) -> None:
    """Put a lookup key on a price; it moves there from another one only where that is asked for."""
    key = params.get("lookup_key")
    if key is None:
        return
    if len(key) > _LONGEST_LOOKUP_KEY:
        raise Refused(f"A lookup key has at most {_LONGEST_LOOKUP_KEY} characters.", param="lookup_key")
    holder = next(
        (one for one in account.kind("price").values() if one["lookup_key"] == key and one["id"] != price["id"]), None
    )
    if holder is not None:
        if not params.get("transfer_lookup_key"):
            raise Refused(
                f"A price (`{holder['id']}`) already uses that lookup key.",
                code="resource_already_exists",
                param="lookup_key",
            )
        holder["lookup_key"] = None
        account.emit("price.updated", holder, {"lookup_key": key})
    price["lookup_key"] = key


@endpoint("GET", "/v1/prices/{id}", "PriceRetrieveParams")
def retrieve_price(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Return a price."""
    return account.get("price", ids["id"])


@endpoint("POST", "/v1/prices/{id}", "PriceUpdateParams")
def update_price(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Change what may change on a price: never its amount."""
    price = account.get("price", ids["id"])
    if "currency_options" in params:
        raise Refused("The look-alike does not know currency_options of a price.", param="currency_options")
    behavior = params.get("tax_behavior", price["tax_behavior"])
    if price["tax_behavior"] not in ("unspecified", behavior):
        raise Refused("You cannot change the `tax_behavior` of a price once it is set.", param="tax_behavior")
    _give_lookup_key(account, price, params)
    price["tax_behavior"] = behavior
    for name in ("active", "nickname"):
        if name in params:
            price[name] = params[name]
    price["metadata"] = merged(price["metadata"], params.get("metadata"))
    account.emit("price.updated", price)
    return price


@endpoint("GET", "/v1/prices", "PriceListParams")
def list_prices(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """List prices, newest first: the active ones, if nothing else is asked for; up to ten lookup keys at once."""
    keys = params.get("lookup_keys")
    if keys is not None and len(keys) > _MOST_LOOKUP_KEYS:
        raise Refused(f"You may only pass up to {_MOST_LOOKUP_KEYS} lookup keys.", param="lookup_keys")
    recurring = params.get("recurring", {})
    found = [
        one
        for one in reversed(account.kind("price").values())
        if (keys is None or one["lookup_key"] in keys)
        and one["active"] == params.get("active", True)
        and all(one[name] == params[name] for name in ("currency", "product", "type") if name in params)
        and all((one["recurring"] or {}).get(name) == value for name, value in recurring.items())
        and within(one["created"], params.get("created"))
    ]
    return page(found, params, "/v1/prices")
