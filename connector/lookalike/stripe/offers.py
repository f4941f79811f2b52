"""Coupons, promotion codes and tax rates. Source: docs.stripe.com/api/coupons, /promotion_codes, /tax_rates."""

from __future__ import annotations

from collections.abc import Mapping

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.currencies import check_currency
from connector.lookalike.stripe.listing import page, within
from connector.lookalike.stripe.metadata import merged

_LONGEST_NAME = 40
_CODE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


@endpoint("POST", "/v1/coupons", "CouponCreateParams")
def create_coupon(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """Make a coupon, under an id of the caller's where one is given."""
    id_ = params.get("id") or account.new_id("coupon").removeprefix("coupon_")
    if id_ in account.kind("coupon"):
        raise Refused("Coupon already exists.", code="resource_already_exists", param="id")
    if "currency_options" in params:
        raise Refused("The look-alike does not know currency_options of a coupon.", param="currency_options")
    _check_off(params)
    _check_duration(params)
    _check_name(params.get("name"))
    for product in params.get("applies_to", {}).get("products", ()):
        account.get("product", product, param="applies_to[products]")
    coupon: Data = {
        "id": id_, "object": "coupon", "amount_off": params.get("amount_off"), "created": account.now(),
        "currency": check_currency(params["currency"]) if "amount_off" in params else None, "duration": params.get("duration", "once"),
        "duration_in_months": params.get("duration_in_months"), "livemode": account.is_live,
        "max_redemptions": params.get("max_redemptions"), "metadata": merged(None, params.get("metadata")), "name": params.get("name"),
        "percent_off": params.get("percent_off"), "redeem_by": params.get("redeem_by"), "times_redeemed": 0, "valid": True,
    }  # fmt: skip
    if params.get("applies_to"):
        coupon["applies_to"] = {"products": list(params["applies_to"].get("products", ()))}
    account.kind("coupon")[id_] = coupon
    account.emit("coupon.created", coupon)
    return coupon


def _check_off(params: Data) -> None:
    if ("percent_off" in params) == ("amount_off" in params):
        raise Refused("Must provide percent_off or amount_off, and not both.", param="percent_off")
    if "percent_off" in params and not 0 < params["percent_off"] <= 100:
        raise Refused("percent_off must be greater than 0 and at most 100.", param="percent_off")
    if "amount_off" in params:
        if params["amount_off"] <= 0:
            raise Refused("Invalid positive integer", code="parameter_invalid_integer", param="amount_off")
        if "currency" not in params:
            raise Refused("Must provide currency when passing amount_off.", code="parameter_missing", param="currency")


def _check_duration(params: Data) -> None:
    is_repeating = params.get("duration", "once") == "repeating"
    if is_repeating != ("duration_in_months" in params):
        raise Refused(
            "duration_in_months is required if duration is `repeating`, and must not be set otherwise.",
            param="duration_in_months",
        )
    if is_repeating and params["duration_in_months"] < 1:
        raise Refused("Invalid positive integer", code="parameter_invalid_integer", param="duration_in_months")


def _check_name(name: str | None) -> None:
    if name is not None and len(name) > _LONGEST_NAME:
        raise Refused(f"Invalid string: {name}; must be at most {_LONGEST_NAME} characters", param="name")


@endpoint("GET", "/v1/coupons/{id}", "CouponRetrieveParams")
def retrieve_coupon(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Return a coupon."""
    return account.get("coupon", ids["id"])


@endpoint("POST", "/v1/coupons/{id}", "CouponUpdateParams")
def update_coupon(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Change the name or metadata of a coupon: nothing else of it can change."""
    coupon = account.get("coupon", ids["id"])
    if "currency_options" in params:
        raise Refused("The look-alike does not know currency_options of a coupon.", param="currency_options")
    _check_name(params.get("name"))
    coupon["name"] = params.get("name", coupon["name"])
    coupon["metadata"] = merged(coupon["metadata"], params.get("metadata"))
    account.emit("coupon.updated", coupon)
    return coupon


@endpoint("DELETE", "/v1/coupons/{id}", "CouponDeleteParams")
def delete_coupon(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Delete a coupon; who has it keeps it."""
    coupon = account.get("coupon", ids["id"])
    del account.kind("coupon")[coupon["id"]]
    account.emit("coupon.deleted", coupon)
    return {"id": coupon["id"], "object": "coupon", "deleted": True}


@endpoint("GET", "/v1/coupons", "CouponListParams")
def list_coupons(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """List coupons, newest first."""
    found = [one for one in reversed(account.kind("coupon").values()) if within(one["created"], params.get("created"))]
    return page(found, params, "/v1/coupons")


# -- promotion codes ----------------------------------------------------------------------------------------------------------


@endpoint("POST", "/v1/promotion_codes", "PromotionCodeCreateParams")
def create_promotion_code(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """Make a code that customers know for a coupon."""
    coupon = account.get("coupon", params["promotion"].get("coupon", ""), param="promotion[coupon]")
    if "customer" in params:
        account.get("customer", params["customer"], param="customer")
    id_ = account.new_id("promo")
    code = params.get("code") or _code(id_)
    taken = [
        one for one in account.kind("promotion_code").values() if one["active"] and one["code"].lower() == code.lower()
    ]
    if any(one["customer"] in (None, params.get("customer")) or "customer" not in params for one in taken):
        raise Refused("An active promotion code with the same code already exists.", param="code")
    restrictions = params.get("restrictions", {})
    promotion: Data = {
        "id": id_, "object": "promotion_code", "active": params.get("active", True), "code": code, "created": account.now(),
        "customer": params.get("customer"), "customer_account": None, "expires_at": params.get("expires_at"), "livemode": account.is_live,
        "max_redemptions": params.get("max_redemptions"), "metadata": merged(None, params.get("metadata")),
        "promotion": {"coupon": coupon["id"], "type": "coupon"}, "times_redeemed": 0,
        "restrictions": {
            "first_time_transaction": restrictions.get("first_time_transaction", False),
            "minimum_amount": restrictions.get("minimum_amount"), "minimum_amount_currency": restrictions.get("minimum_amount_currency"),
        },
    }  # fmt: skip
    account.kind("promotion_code")[id_] = promotion
    account.emit("promotion_code.created", promotion)
    return promotion


def _code(id_: str) -> str:
    number, text = int(id_.rpartition("_")[2]) * 7_368_787, ""
    for _ in range(8):
        number, digit = divmod(number, len(_CODE_LETTERS))
        text += _CODE_LETTERS[digit]
    return text


@endpoint("GET", "/v1/promotion_codes/{id}", "PromotionCodeRetrieveParams")
def retrieve_promotion_code(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Return a promotion code."""
    return account.get("promotion_code", ids["id"])


@endpoint("POST", "/v1/promotion_codes/{id}", "PromotionCodeUpdateParams")
def update_promotion_code(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Switch a promotion code on or off, or change its metadata."""
    promotion = account.get("promotion_code", ids["id"])
    if "restrictions" in params:
        raise Refused("The look-alike does not know currency_options of a promotion code.", param="restrictions")
    promotion["active"] = params.get("active", promotion["active"])
    promotion["metadata"] = merged(promotion["metadata"], params.get("metadata"))
    account.emit("promotion_code.updated", promotion)
    return promotion


@endpoint("GET", "/v1/promotion_codes", "PromotionCodeListParams")
def list_promotion_codes(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """List promotion codes, newest first; a code fits in any case."""
    code, coupon = params.get("code"), params.get("coupon")
    found = [
        one
        for one in reversed(account.kind("promotion_code").values())
        if (code is None or one["code"].lower() == code.lower())
        and (coupon is None or one["promotion"]["coupon"] == coupon)
        and all(one[name] == params[name] for name in ("active", "customer") if name in params)
        and within(one["created"], params.get("created"))
    ]
    return page(found, params, "/v1/promotion_codes")


# -- tax rates ----------------------------------------------------------------------------------------------------------------


@endpoint("POST", "/v1/tax_rates", "TaxRateCreateParams")
def create_tax_rate(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """Make a tax rate."""
    percentage = params["percentage"]
    if not 0 <= percentage <= 100 or round(percentage, 4) != percentage:
        raise Refused("percentage must be between 0 and 100, with at most 4 decimal places.", param="percentage")
    country = params.get("country")
    rate: Data = {
        "id": account.new_id("txr"), "object": "tax_rate", "active": params.get("active", True), "country": country, "created": account.now(),
        "description": params.get("description"), "display_name": params["display_name"],
        "effective_percentage": percentage if country == "US" else None, "flat_amount": None, "inclusive": params["inclusive"],
        "jurisdiction": params.get("jurisdiction"), "jurisdiction_level": None, "livemode": account.is_live,
        "metadata": merged(None, params.get("metadata")), "percentage": percentage, "rate_type": "percentage", "state": params.get("state"),
        "tax_type": params.get("tax_type"),
    }  # fmt: skip
    account.kind("tax_rate")[rate["id"]] = rate
    account.emit("tax_rate.created", rate)
    return rate


@endpoint("GET", "/v1/tax_rates/{id}", "TaxRateRetrieveParams")
def retrieve_tax_rate(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Return a tax rate."""
    return account.get("tax_rate", ids["id"])


@endpoint("POST", "/v1/tax_rates/{id}", "TaxRateUpdateParams")
def update_tax_rate(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Change a tax rate, but never its percentage."""
    rate = account.get("tax_rate", ids["id"])
    for name in ("active", "country", "description", "display_name", "jurisdiction", "state", "tax_type"):
        if name in params:
            rate[name] = params[name]
    rate["metadata"] = merged(rate["metadata"], params.get("metadata"))
    account.emit("tax_rate.updated", rate)
    return rate


@endpoint("GET", "/v1/tax_rates", "TaxRateListParams")
def list_tax_rates(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """List tax rates, newest first."""
    found = [
        one
        for one in reversed(account.kind("tax_rate").values())
        if all(one[name] == params[name] for name in ("active", "inclusive") if name in params)
        and within(one["created"], params.get("created"))
    ]
    return page(found, params, "/v1/tax_rates")
