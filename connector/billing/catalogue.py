"""The catalogue of the books: products, prices and coupons by the names that deals and usage use.

A price or coupon is kept as JSON in the scenario's vocabulary, amounts in minor units, in one canonical order of keys, so that
equal ones have equal text. The catalogue is what is sold from now on: a contract keeps a copy of the price it was made with, so
that a changed price changes no contract; `users_of` says how many keep what they agreed.

Worked example: `{"unit_amount": 1000, "recurring": {"interval": "month"}}` in EUR under the id GOLD_M is 10.00 EUR a month; a
product whose CRM field Billing Price says GOLD_M is billed at it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from connector.billing import store
from connector.billing.store import Event
from connector.core.matching import amount_text
from connector.core.terms import Coupon, Interval, Price, Tier
from connector.kit.db import new_id
from connector.ports import Unit

LIST_ROWS = 1_000  # the most that one list returns
_INF = "inf"
CODES = ("unknown-price", "inactive-price", "price-currency", "price-differs", "unknown-coupon", "inactive-coupon", "coupon-currency", "coupon-unused")
"""The codes of problems of deals that go away when the catalogue changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogPrice:
    """A price that is sold, or was; *currency* in small letters, *data* its JSON text."""

    id: str
    product: str
    currency: str
    data: str
    is_active: bool = True

    @property
    def price(self) -> Price:
        """The price as contracts take it."""
        return price_of(self.id, self.product, self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogCoupon:
    """A coupon by its code; *currency* is empty for percentages."""

    id: str
    currency: str
    data: str
    is_active: bool = True

    @property
    def coupon(self) -> Coupon:
        """The coupon as contracts take it."""
        return coupon_of(self.id, self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product by its code; *charge_type* recurring, one_time, usage or empty; *price_id* the catalogue price it is billed at."""

    code: str
    name: str
    charge_type: str = ""
    crm_id: str = ""
    price_id: str = ""
    is_active: bool = True


# ---------------------------------------------------------------- prices and coupons as data


def _amount(value: Decimal) -> int | str:
    """Return minor units as the vocabulary writes them: a whole number, or a decimal as text."""
    plain = value.normalize()
    return int(plain) if plain == plain.to_integral_value() else f"{plain:f}"


def _span(value: Interval) -> dict[str, Any]:
    return {"interval": value.unit} | ({"interval_count": value.count} if value.count != 1 else {})


def price_to_data(price: Price) -> dict[str, Any]:
    """Return a price in the scenario's vocabulary, in one order of keys and without what has its default; not its id."""
    out: dict[str, Any] = {}
    if price.description:
        out["description"] = price.description
    if price.unit_amount is not None:
        out["unit_amount"] = _amount(price.unit_amount)
    if price.interval is not None:
        recurring = _span(price.interval)
        if price.usage_type != "licensed":
            recurring["usage_type"] = price.usage_type
        if price.timing != "in_advance":
            recurring["timing"] = price.timing
        if price.per is not None and price.per != price.interval:
            recurring["per"] = _span(price.per)
        out["recurring"] = recurring
    if price.tiers_mode is not None:
        out["tiers_mode"] = price.tiers_mode
        out["tiers"] = [_tier_to_data(t) for t in price.tiers]
    if price.divide_by is not None:
        out["transform_quantity"] = {"divide_by": price.divide_by, "round": price.divide_round}
    if price.tax_behavior != "exclusive":
        out["tax_behavior"] = price.tax_behavior
    return out


def _tier_to_data(tier: Tier) -> dict[str, Any]:
    up_to = _INF if tier.up_to is None else _amount(tier.up_to)
    return {"up_to": up_to, "unit_amount": _amount(tier.unit_amount)} | (
        {"flat_amount": _amount(tier.flat_amount)} if tier.flat_amount else {}
    )


def coupon_to_data(coupon: Coupon) -> dict[str, Any]:
    """Return a coupon in the scenario's vocabulary, in one order of keys; not its id."""
    out: dict[str, Any] = {}
    if coupon.percent_off is not None:
        plain = coupon.percent_off.normalize()
        out["percent_off"] = int(plain) if plain == plain.to_integral_value() else f"{plain:f}"
    if coupon.amount_off is not None:
        out["amount_off"] = coupon.amount_off
    out["duration"] = coupon.duration
    if coupon.duration_in_months is not None:
        out["duration_in_months"] = coupon.duration_in_months
    if coupon.applies_to:
        out["applies_to"] = list(coupon.applies_to)
    return out


def as_text(data: Mapping[str, Any]) -> str:
    """Return data as the JSON text of its column."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def _interval(data: Mapping[str, Any]) -> Interval:
    return Interval(unit=data["interval"], count=data.get("interval_count", 1))


@lru_cache(maxsize=4_096)
def price_of(price_id: str, product: str, data: str) -> Price:
    """Return the price that `price_to_data` wrote as *data*."""
    found = json.loads(data)
    recurring, transform = found.get("recurring"), found.get("transform_quantity")
    unit = found.get("unit_amount")
    tiers = tuple(
        Tier(
            up_to=None if t["up_to"] == _INF else Decimal(t["up_to"]), unit_amount=Decimal(t["unit_amount"]),
            flat_amount=Decimal(t.get("flat_amount", 0)),
        )
        for t in found.get("tiers", ())
    )  # fmt: skip
    return Price(
        id=price_id, product=product, description=found.get("description", ""), unit_amount=None if unit is None else Decimal(unit),
        interval=_interval(recurring) if recurring else None,
        per=_interval(recurring["per"]) if recurring and "per" in recurring else None,
        timing=recurring.get("timing", "in_advance") if recurring else "in_advance",
        usage_type=recurring.get("usage_type", "licensed") if recurring else "licensed",
        tiers_mode=found.get("tiers_mode"), tiers=tiers, divide_by=transform["divide_by"] if transform else None,
        divide_round=transform["round"] if transform else "up", tax_behavior=found.get("tax_behavior", "exclusive"),
    )  # fmt: skip


@lru_cache(maxsize=4_096)
def coupon_of(coupon_id: str, data: str) -> Coupon:
    """Return the coupon that `coupon_to_data` wrote as *data*."""
    found = json.loads(data)
    percent = found.get("percent_off")
    return Coupon(
        id=coupon_id, percent_off=None if percent is None else Decimal(percent), amount_off=found.get("amount_off"),
        duration=found["duration"], duration_in_months=found.get("duration_in_months"), applies_to=tuple(found.get("applies_to", ())),
    )  # fmt: skip


def price_text(price: Price, currency: str) -> str:
    """Return what a price costs as people read it: "10.00 EUR a month", "graduated in 2 tiers, EUR, a month, metered"."""
    code = currency.upper()
    if price.tiers_mode is not None:
        what = f"{price.tiers_mode} in {len(price.tiers)} tiers, {code}"
    else:
        what = f"{amount_text(price.unit_amount or Decimal(0), currency)} {code}"
    if price.divide_by is not None:
        what += f" per {price.divide_by} (rounded {price.divide_round})"
    if price.interval is None:
        return f"{what} once"
    count, unit = price.interval.count, price.interval.unit
    what += f" a {unit}" if count == 1 else f" per {count} {unit}s"
    if price.usage_type == "metered":
        return f"{what}, metered"
    return f"{what}, in arrears" if price.timing == "in_arrears" else what


# ---------------------------------------------------------------- reading


def _in_batches(unit: Unit, sql: str, ids: Iterable[str]) -> list[tuple[Any, ...]]:
    unique = list(dict.fromkeys(ids))
    found: list[tuple[Any, ...]] = []
    for at in range(0, len(unique), store.READ_ROWS):
        batch = unique[at : at + store.READ_ROWS]
        found += unit.query(sql.format(",".join("?" * len(batch))), batch)
    return found


def prices(unit: Unit, ids: Iterable[str]) -> dict[str, CatalogPrice]:
    """Return the catalogue prices with these ids, active or not; one that the books do not have is missing."""
    sql = "SELECT id, product, currency, data, is_active FROM price WHERE id IN ({})"
    return {row[0]: _price(row) for row in _in_batches(unit, sql, ids)}


def coupons(unit: Unit, codes: Iterable[str]) -> dict[str, CatalogCoupon]:
    """Return the coupons with these codes, active or not; one that the books do not have is missing."""
    sql = "SELECT id, currency, data, is_active FROM coupon WHERE id IN ({})"
    return {row[0]: _coupon(row) for row in _in_batches(unit, sql, codes)}


def products(unit: Unit, codes: Iterable[str]) -> dict[str, Product]:
    """Return the products with these codes."""
    sql = "SELECT code, name, charge_type, crm_id, price_id, is_active FROM product WHERE code IN ({})"
    return {row[0]: _product(row) for row in _in_batches(unit, sql, codes)}


def _price(row: Sequence[Any]) -> CatalogPrice:
    return CatalogPrice(id=row[0], product=row[1], currency=row[2], data=row[3], is_active=bool(row[4]))


def _coupon(row: Sequence[Any]) -> CatalogCoupon:
    return CatalogCoupon(id=row[0], currency=row[1], data=row[2], is_active=bool(row[3]))


def _product(row: Sequence[Any]) -> Product:
    return Product(code=row[0], name=row[1], charge_type=row[2], crm_id=row[3], price_id=row[4], is_active=bool(row[5]))


def list_prices(unit: Unit, *, after: str = "", limit: int = 200) -> list[CatalogPrice]:
    """Return prices in order of id, after *after*."""
    sql = "SELECT id, product, currency, data, is_active FROM price WHERE id > ? ORDER BY id LIMIT ?"
    return [_price(row) for row in unit.query(sql, (after, min(limit, LIST_ROWS)))]


def list_coupons(unit: Unit, *, after: str = "", limit: int = 200) -> list[CatalogCoupon]:
    """Return coupons in order of code, after *after*."""
    sql = "SELECT id, currency, data, is_active FROM coupon WHERE id > ? ORDER BY id LIMIT ?"
    return [_coupon(row) for row in unit.query(sql, (after, min(limit, LIST_ROWS)))]


def users_of(unit: Unit, price_id: str) -> int:
    """Return how many contracts agreed on a price by its id, in their terms or in a change of them."""
    name = json.dumps(price_id, ensure_ascii=False)[:-1]
    escaped = name.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    like = tuple(f'%"price":{escaped}{end}%' for end in ('"', "~"))
    sql = (
        "SELECT COUNT(*) FROM contract t WHERE t.terms LIKE ? ESCAPE '!' OR t.terms LIKE ? ESCAPE '!' OR EXISTS (SELECT 1 FROM change c"
        " WHERE c.contract_id = t.id AND (c.data LIKE ? ESCAPE '!' OR c.data LIKE ? ESCAPE '!'))"
    )
    return int(unit.query(sql, like * 2)[0][0])


# ---------------------------------------------------------------- writing


def save_prices(unit: Unit, changed: Sequence[CatalogPrice], at: str) -> None:
    """Add prices, or put these in place of those with the same id."""
    sql = (
        "INSERT INTO price (id, product, currency, data, is_active, updated_at) VALUES (?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET"
        " product = excluded.product, currency = excluded.currency, data = excluded.data, is_active = excluded.is_active,"
        " updated_at = excluded.updated_at"
    )
    unit.executemany(sql, [(p.id, p.product, p.currency, p.data, p.is_active, at) for p in changed])


def save_coupons(unit: Unit, changed: Sequence[CatalogCoupon], at: str) -> None:
    """Add coupons, or put these in place of those with the same code."""
    sql = (
        "INSERT INTO coupon (id, currency, data, is_active, updated_at) VALUES (?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET"
        " currency = excluded.currency, data = excluded.data, is_active = excluded.is_active, updated_at = excluded.updated_at"
    )
    unit.executemany(sql, [(c.id, c.currency, c.data, c.is_active, at) for c in changed])


def save_products(unit: Unit, changed: Sequence[Product], at: str) -> None:
    """Add products, or put these in place of those with the same code."""
    sql = (
        "INSERT INTO product (code, name, charge_type, crm_id, price_id, is_active, updated_at) VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT (code) DO UPDATE SET name = excluded.name, charge_type = excluded.charge_type, crm_id = excluded.crm_id,"
        " price_id = excluded.price_id, is_active = excluded.is_active, updated_at = excluded.updated_at"
    )
    rows = [(p.code, p.name, p.charge_type, p.crm_id, p.price_id, p.is_active, at) for p in changed]
    unit.executemany(sql, rows)


def save_events(unit: Unit, actor: str, rows: Sequence[tuple[str, str, str]], now: datetime) -> None:
    """Append what became of entries: (event name, state before as JSON or "", state after) each."""
    events = [
        Event(id=new_id("ev", now), actor=actor, name=name, contract_id="", customer_id="", before=before, after=after)
        for name, before, after in rows
    ]
    store.insert_events(unit, events, store.at_text(now))
