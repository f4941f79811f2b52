"""Prices, products and meters as Stripe is to hold them, exactly: what Stripe multiplies and rounds is what the engine billed.

An amount per unit goes as it is (up to 12 decimals) where units times amount, rounded once, is the engine's amount; tiers and packages
go as such for whole quantities. Everything else (parts of a period, prices for another span that no decimal says, fractions of a
unit) goes as the amount of the whole line, once.

Worked example: 100.00 a year billed monthly for 3 seats is 2500: 833.333333333333 times 3 rounds to it. For a third of a month it is 833.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from connector.billing.stripe_backend.money import stripe_price
from connector.billing.stripe_backend.steps import Ref, Step
from connector.core.matching import product_of
from connector.core.money import quotient, rounded
from connector.core.period import Interval
from connector.core.pricing import cost, span_ratio
from connector.core.terms import Price

_PLACES = Decimal(1).scaleb(-10)  # Stripe takes 12, but some currencies shift by two
MOST_UNITS = 999_999_999


def digest(*parts: object) -> str:
    """Return a short name for what is equal in all parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:20]


def product_id(code: str) -> str:
    """Return the id that we choose for a product, from its code."""
    slug = re.sub(r"[^A-Za-z0-9_-]", "_", code)
    return f"cn_{slug}" if slug == code and len(code) <= 60 else f"cn_{slug[:40]}_{digest(code)[:8]}"


def event_name(contract_id: str, item_id: str) -> str:
    """Return the name of the events that count the use of one item; Stripe counts them by customer, so it names the contract, too."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", f"{contract_id}.{item_id}")
    return name if len(name) <= 80 else f"{name[:60]}_{digest(contract_id, item_id)[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A price as Stripe is to have it, and how many of it; *params* without its key, {}: it is there already, under *key*."""

    key: str
    quantity: int | None
    product: str = ""
    name: str = ""
    params: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)
    meter: str = ""

    def again(self, number: int) -> Shown:
        """Return an equal price under a key of its own: one price may stand once in a subscription."""
        return Shown(key=f"{self.key}_{number}", quantity=self.quantity, product=self.product, name=self.name, params=self.params, meter=self.meter)


def amount_params(amount: Decimal | int, currency: str, suffix: str = "unit_amount") -> dict[str, Any]:
    """Return an amount of ours as Stripe's parameter: whole as int, else with its decimals."""
    value = stripe_price(Decimal(amount), currency)
    if value == value.to_integral_value():
        return {suffix: int(value)}
    return {f"{suffix}_decimal": value.normalize()}


def shown(  # noqa: PLR0913 - the price, and how it is billed
    price: Price, quantity: Decimal | None, amount: int, *, currency: str, interval: Interval | None, event: str = "", automatic_tax: bool = False
) -> Shown:
    """Return the price that makes Stripe bill *amount* for *quantity*; interval - its rhythm, None: once. event - of a metered price.

    automatic_tax - Stripe finds the tax, and must be told whether the price holds it.
    """
    terms, count = _as_agreed(price, quantity, amount, currency, is_metered=bool(event))
    if terms is None:
        terms, count = amount_params(amount, currency), 1
    product = product_of(price)
    params: dict[str, Any] = {"currency": currency, "product": product_id(product), **terms}
    if interval is not None:
        params["recurring"] = {"interval": interval.unit, "interval_count": interval.count}
        if event:
            params["recurring"] |= {"usage_type": "metered", "meter": Ref(step=f"meter-{event}")}
    if price.tax_behavior == "inclusive" or automatic_tax:
        params["tax_behavior"] = price.tax_behavior
    key = f"cn_{digest({k: _plain(v) for k, v in params.items()}, event)}"
    return Shown(key=key, quantity=None if event else count, product=product, name=price.description or product, params=params, meter=event)


def flat(price: Price, amount: int) -> Price:
    """Return the price of a part of a period: its amount, once."""
    return replace(price, unit_amount=Decimal(amount), per=None, per_parts=1, tiers_mode=None, tiers=(), divide_by=None)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return str(value)


def _as_agreed(price: Price, quantity: Decimal | None, amount: int, currency: str, *, is_metered: bool) -> tuple[dict[str, Any] | None, int]:
    """Return the terms of the price itself and the quantity, None where Stripe would make another amount of them."""
    whole = Decimal(1) if quantity is None else quantity
    if whole != whole.to_integral_value() or not 0 <= whole <= MOST_UNITS or _has_many_places(price):
        return None, 1
    is_plain = price.per is None or price.interval is None or (span_ratio(price.interval, price.per) == (1, 1) and price.per_parts == 1)
    if price.tiers_mode is not None:
        fits = is_plain and price.divide_by is None and all(t.up_to is None or t.up_to == t.up_to.to_integral_value() for t in price.tiers)
        if not fits or (not is_metered and not _is_tiered_amount(price, whole, amount)):
            return None, 1
        return _tiers(price, currency), int(whole)
    unit = price.unit_amount or Decimal(0)
    if not is_plain and price.per is not None and price.interval is not None:
        ratio = span_ratio(price.interval, price.per)
        if ratio is None:
            return None, 1
        unit = (unit * ratio[0] * price.per_parts / ratio[1]).quantize(_PLACES)
    terms = amount_params(unit, currency)
    units = whole
    if price.divide_by is not None:
        if not is_plain:
            return None, 1
        n, d = int(whole), price.divide_by
        units = Decimal(-(-n // d) if price.divide_round == "up" else n // d)
        terms["transform_quantity"] = {"divide_by": d, "round": price.divide_round}
    exact = unit == unit.quantize(_PLACES) and (is_metered or rounded(unit * units) == amount)
    return (terms, int(whole)) if exact else (None, 1)


def _has_many_places(price: Price) -> bool:
    amounts = [price.unit_amount or Decimal(0), *(a for t in price.tiers for a in (t.unit_amount, t.flat_amount))]
    return any(a != a.quantize(_PLACES) for a in amounts)


def is_countable(price: Price) -> bool:
    """Whether Stripe can price what its meter counts; else use is billed by items of ours, as the books have it."""
    return _as_agreed(price, None, 0, "eur", is_metered=True)[0] is not None


def _is_tiered_amount(price: Price, quantity: Decimal, amount: int) -> bool:
    return quotient(*cost(price, quantity)) == amount


def _tiers(price: Price, currency: str) -> dict[str, Any]:
    tiers = []
    for tier in price.tiers:
        row: dict[str, Any] = {"up_to": "inf" if tier.up_to is None else int(tier.up_to), **amount_params(tier.unit_amount, currency)}
        if tier.flat_amount:
            row |= amount_params(tier.flat_amount, currency, "flat_amount")
        tiers.append(row)
    return {"billing_scheme": "tiered", "tiers_mode": price.tiers_mode, "tiers": tiers}


# ---------------------------------------------------------------- steps


def product_step(code: str, name: str) -> Step:
    """Return the step that makes a product, under an id of ours."""
    id_ = product_id(code)
    return Step(
        name=f"product-{id_}", call="products.create", shared=("product", id_),
        params={"id": id_, "name": name[:250] or code, "metadata": {"connector_product": code[:500]}},
    )  # fmt: skip


def product_ref(code: str) -> Ref:
    """Return the product that `product_step` makes, or that the account had."""
    return Ref(step=f"product-{product_id(code)}")


def meter_step(event: str, name: str) -> Step:
    """Return the step that makes the meter of an item's use."""
    return Step(
        name=f"meter-{event}", call="billing.meters.create", shared=("meter", event),
        params={
            "display_name": name[:250], "event_name": event, "default_aggregation": {"formula": "sum"},
            "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"}, "value_settings": {"event_payload_key": "value"},
        },
    )  # fmt: skip


def price_steps(price: Shown) -> list[Step]:
    """Return the steps that make a price with what it needs; of one that is there already, the look at it."""
    name = f"price-{price.key}"
    if not price.params:
        return [Step(name=name, call="prices.create", shared=("price", price.key), params={"lookup_key": price.key})]
    steps = [product_step(price.product, price.name)]
    if price.meter:
        steps.append(meter_step(price.meter, price.name))
    nickname = {"nickname": price.name[:250]} if price.name else {}
    params = {**price.params, "product": product_ref(price.product), "lookup_key": price.key, **nickname, "metadata": {"connector_price": price.key}}
    return [*steps, Step(name=name, call="prices.create", shared=("price", price.key), params=params)]
