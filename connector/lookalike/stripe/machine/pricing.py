"""What a price costs for a quantity: per unit, by tiers, by packages; and prices that a request brings along.

Up to 5 @ 700, up to 10 @ 650, above @ 600, for 6 / 20 / 25 units: graduated 4150 / 12750 / 15750, volume 3900 / 12000 / 15000.
Source: docs.stripe.com/billing/subscriptions/usage-based/pricing-models.
"""

from __future__ import annotations

from fractions import Fraction

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.machine.figures import fraction_of, rounded
from connector.lookalike.stripe.machine.keeping import notes


def unit_of(price: Data) -> Fraction:
    """Return the exact unit amount of a price, 0 for a tiered one."""
    exact = price.get("unit_amount_decimal")
    return fraction_of(exact if exact is not None else price.get("unit_amount") or 0)


def amount_of(price: Data, quantity: Fraction) -> int:
    """Return what *quantity* costs, rounded once."""
    return rounded(exact_amount(price, quantity))


def exact_amount(price: Data, quantity: Fraction) -> Fraction:
    """Return what *quantity* costs, unrounded."""
    if package := price.get("transform_quantity"):
        parts = quantity / package["divide_by"]
        whole = parts.numerator // parts.denominator
        quantity = Fraction(whole + (1 if package["round"] == "up" and whole != parts else 0))
    if price.get("billing_scheme") != "tiered":
        return quantity * unit_of(price)
    if price.get("tiers_mode") == "volume":
        return _volume(price["tiers"], quantity)
    return _graduated(price["tiers"], quantity)


def _tier_figures(tier: Data) -> tuple[Fraction, Fraction]:
    unit = tier.get("unit_amount_decimal")
    flat = tier.get("flat_amount_decimal")
    return (
        fraction_of(unit if unit is not None else tier.get("unit_amount") or 0),
        fraction_of(flat if flat is not None else tier.get("flat_amount") or 0),
    )


def _reaches(tier: Data) -> Fraction | None:
    return None if tier.get("up_to") in (None, "inf") else fraction_of(tier["up_to"])


def _volume(tiers: list[Data], quantity: Fraction) -> Fraction:
    for tier in tiers:
        top = _reaches(tier)
        if top is None or quantity <= top:
            unit, flat = _tier_figures(tier)
            return quantity * unit + flat
    raise Refused("The quantity exceeds the last tier of the price.")


def _graduated(tiers: list[Data], quantity: Fraction) -> Fraction:
    return sum((inside * unit + flat for inside, unit, flat in steps_of(tiers, quantity)), Fraction(0))


def steps_of(tiers: list[Data], quantity: Fraction) -> list[tuple[Fraction, Fraction, Fraction]]:
    """Return (units inside, price of one, flat fee) of each tier of a graduated price that a quantity reaches."""
    found, below = [], Fraction(0)
    for place, tier in enumerate(tiers):
        top = _reaches(tier)
        inside = quantity - below if top is None else min(quantity, top) - below
        if inside > 0 or place == 0:
            found.append((max(inside, Fraction(0)), *_tier_figures(tier)))
        if top is None or quantity <= top:
            return found
        below = top
    raise Refused("The quantity exceeds the last tier of the price.")


def is_metered(price: Data) -> bool:
    """Whether a price bills usage in arrears."""
    return bool((price.get("recurring") or {}).get("usage_type") == "metered")


def price_for(account: Account, given: Data, *, is_recurring: bool, param: str) -> Data:
    """Return the price that a request names (`price`, `plan`) or brings along (`price_data`)."""
    named = given.get("price") or given.get("plan") or (given.get("pricing") or {}).get("price")
    if named and given.get("price_data"):
        raise Refused("You may only specify one of these parameters: price, price_data.", param=param)
    if named:
        price = account.get("price", named, param=f"{param}[price]")
        if not price.get("active", True) and named not in notes(account, "brought"):
            raise Refused("The price specified is inactive. This field only accepts active prices.", param=f"{param}[price]")
        if not account.get("product", price["product"]).get("active", True) and named not in notes(account, "brought"):
            text = f"Price `{named}` is not available to be purchased because its product is not active."
            raise Refused(text, param=f"{param}[price]")
    elif given.get("price_data"):
        price = _brought(account, given["price_data"], param)
    else:
        raise Refused("You must specify a price or price_data.", code="parameter_missing", param=f"{param}[price]")
    if is_recurring and not price.get("recurring"):
        raise Refused(
            "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.",
            param=param,
        )
    if not is_recurring and price.get("recurring"):
        raise Refused(
            "The price specified is set to `type=recurring` but this field only accepts prices with `type=one_time`.",
            param=param,
        )
    return price


def _brought(account: Account, data: Data, param: str) -> Data:
    """Make the price of a request's `price_data`; such prices are not active, as at Stripe."""
    account.get("product", data["product"], param=f"{param}[price_data][product]")
    exact = data.get("unit_amount_decimal")
    if (exact is None) == (data.get("unit_amount") is None):
        raise Refused(
            "You must pass either unit_amount or unit_amount_decimal in price_data.",
            code="parameter_missing",
            param=param,
        )
    unit = fraction_of(exact if exact is not None else data["unit_amount"])
    recurring = data.get("recurring")
    made: Data = {
        "id": account.new_id("price"), "object": "price", "active": False, "billing_scheme": "per_unit", "created": account.now(),
        "currency": data["currency"].lower(), "custom_unit_amount": None, "livemode": account.is_live, "lookup_key": None,
        "metadata": {}, "nickname": None, "product": data["product"], "tax_behavior": data.get("tax_behavior", "unspecified"),
        "recurring": {
            "interval": recurring["interval"], "interval_count": recurring.get("interval_count", 1), "usage_type": "licensed",
            "meter": None, "trial_period_days": None,
        } if recurring else None,
        "tiers_mode": None, "transform_quantity": None, "type": "recurring" if recurring else "one_time",
        "unit_amount": int(unit) if unit.denominator == 1 else None,
        "unit_amount_decimal": str(exact if exact is not None else data["unit_amount"]),
    }  # fmt: skip
    account.kind("price")[made["id"]] = made
    notes(account, "brought")[made["id"]] = True
    return made
