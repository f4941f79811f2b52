"""Objects that several pushes use are found before they are made: products, prices, coupons, tax rates, customers, meters.

| kind | how it is found | what must be the same |
|---|---|---|
| product | by the id, which is ours | it is not archived |
| coupon | by the id, which is ours | percentage or amount, currency, duration |
| price | by its lookup key | amount, currency, rhythm, tiers, product |
| tax_rate | in the list of active ones, by `metadata.connector_key` | percentage, included or on top |
| customer | in the list by e-mail, by `metadata.connector_customer`; the oldest of several | nothing: it is kept up to date by steps of its own |
| meter | in the list of active ones, by its event name | how it counts |

An object with our key and other content is never used and never changed: that is a RejectedError that names what differs. Two processes
that make the same one at once: the slower is told so by Stripe, and looks again. A customer without e-mail is only looked for among
the hundred newest. A price that somebody archived is in no list, but keeps its lookup key: it is made anew and takes the
key along; so is one of ours whose product is another now. A step that says no more than the key
(a price without currency) stands for something that was made long ago: it is found, or, archived since, made anew as it was; else refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from connector.billing.stripe_backend.refusal_words import ACTIONS, WORDS
from connector.billing.stripe_backend.refusals import Refusal
from connector.billing.stripe_backend.steps import Calls, Step
from connector.errors import Problem, RejectedError, invariant

NEWEST_CUSTOMERS = 100
MOST_LISTED = 1000

Params = Mapping[str, Any]
Data = dict[str, Any]


def find_or_make(calls: Calls, step: Step, key: str, was: str = "") -> Data:
    """Return the object that a step with `shared` stands for, made under the idempotency *key* where there is none.

    Args: step - its parameters hold no `Ref` any more. was - the id that it had last, "" for none.
    Raises: RejectedError where Stripe has one with our key and other content; errors of *calls*.
    """
    invariant(step.shared is not None and step.shared[0] in _KINDS, f"{step.name} makes something that is shared: {step.shared}")
    assert step.shared is not None
    kind, our_key = step.shared
    find, differences = _KINDS[kind]
    params = dict(step.params)
    if not params.get(_SAYS[kind]):
        return _known(calls, step, key, was)
    if kind in _OWN_IDS:  # made first: most often it is not there
        return _made_by_id(calls, step, params, key)
    found = find(calls, params, our_key)
    if found is None:
        try:
            return calls.do(step.call, params, key=key)
        except Refusal as refusal:
            if refusal.problem.code not in _TAKEN:
                raise
            found = find(calls, params, our_key)
            if found is None and kind != "price":
                raise
    if found is None or (kind == "price" and _is_elsewhere(found, params)):  # archived, which no list shows; or of another product
        return calls.do(step.call, {**params, "transfer_lookup_key": True}, key=f"{key}/t")
    _same(kind, found, differences(found, params))
    return found


def existing(calls: Calls, step: Step) -> Data | None:
    """Return the object that a step with `shared` stands for; None where there is none. Makes nothing.

    Raises: RejectedError where Stripe has one with our key and other content, and the step says what it should be.
    """
    if step.shared is None:
        return None
    kind, our_key = step.shared
    find, differences = _KINDS[kind]
    found = find(calls, step.params, our_key)
    if found is not None and step.params.get(_SAYS[kind]):
        _same(kind, found, differences(found, step.params))
    return found


def _known(calls: Calls, step: Step, key: str, was: str) -> Data:
    """Return what was made long ago; a price that was archived since is made anew as it was."""
    found = existing(calls, step)
    if found is None and step.shared is not None and step.shared[0] == "price":
        found = _copied(calls, step.shared[1], key, was)
    if found is None:
        kind, our_key = step.shared or ("", "")
        message, action = WORDS["missing_price" if kind == "price" else "resource_missing"]
        hint = f"{ACTIONS[action]} (Stripe has no {kind} {our_key})"
        raise RejectedError(Problem(code=f"stripe-missing-{kind}".replace("_", "-"), message=message, hint=hint))
    return found


def _copied(calls: Calls, our_key: str, key: str, was: str) -> Data | None:
    """Make a price that is archived anew, with its lookup key; None where Stripe has none."""
    with_tiers = {"expand": ["tiers"]}
    if was:
        price = calls.do("prices.retrieve", with_tiers, target=was)
    else:
        asked = {"lookup_keys": [our_key], "active": False, "expand": ["data.tiers"]}
        listed = calls.listed("prices.list", asked, limit=10)
        if not listed:
            return None
        price = listed[0]
    if price.get("active", True):
        return price
    params: Data = {"currency": price["currency"], "product": _id_of(price["product"]), "lookup_key": our_key, "transfer_lookup_key": True}
    params |= {"metadata": {"connector_price": our_key}}
    params |= {name: price[name] for name in ("nickname", "tiers_mode", "transform_quantity") if price.get(name)}
    if price.get("tax_behavior") in ("exclusive", "inclusive"):
        params["tax_behavior"] = price["tax_behavior"]
    if price.get("recurring"):
        names = ("interval", "interval_count", "meter", "usage_type")
        params["recurring"] = {name: price["recurring"][name] for name in names if price["recurring"].get(name)}
    if price.get("billing_scheme") == "tiered":
        params |= {"billing_scheme": "tiered", "tiers": [_tier_as_sent(t) for t in price["tiers"]]}
    else:
        params |= _amount_as_sent(price, "unit_amount")
    return calls.do("prices.create", params, key=key)


def _tier_as_sent(tier: Params) -> Data:
    up_to = tier.get("up_to")
    return {"up_to": "inf" if up_to is None else int(str(up_to)), **_amount_as_sent(tier, "unit_amount"), **_amount_as_sent(tier, "flat_amount")}


def _amount_as_sent(said: Params, name: str) -> Data:
    exact = said.get(f"{name}_decimal")
    if exact is None:
        return {} if said.get(name) is None else {name: said[name]}
    value = Decimal(str(exact))
    return {name: int(value)} if value == value.to_integral_value() else {f"{name}_decimal": value}


def _made_by_id(calls: Calls, step: Step, params: Data, key: str) -> Data:
    invariant(params.get("id"), f"{step.name} has an id of ours")
    kind = step.shared[0] if step.shared else ""
    find, differences = _KINDS[kind]
    try:
        return calls.do(step.call, params, key=key)
    except Refusal as refusal:
        if refusal.code != "resource_already_exists":
            raise
        found = find(calls, params, "")
        if found is None:  # deleted in the meantime; the next try makes it
            raise
    _same(kind, found, differences(found, params))
    return found


def _same(kind: str, found: Data, different: list[str]) -> None:
    if not different:
        return
    word = {"coupon": "discount", "tax_rate": "tax rate"}.get(kind, kind)
    hint = f"Ask the people who run the billing connector. (Stripe's {kind} {found.get('id')}: {'; '.join(different)})"
    message = f"The {word} of this deal exists where it is billed, with other content."
    raise RejectedError(Problem(code="stripe-object-differs", message=message, hint=hint))


def _told(found: Any, wanted: Any, name: str) -> list[str]:
    """Return what differs of one field, as `percent_off is 10, wanted 15`; what is not wanted is not compared."""
    if wanted is None or wanted == "":
        return []
    if _plain(found) == _plain(wanted):
        return []
    return [f"{name} is {found}, wanted {wanted}"]


def _plain(value: Any) -> Any:
    """Return a value that compares: 12.5, Decimal("12.50") and "12.5" are the same number."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float | Decimal):
        return Decimal(str(value)).normalize()
    if isinstance(value, str):
        try:
            return Decimal(value).normalize()
        except ArithmeticError:
            return value.lower()
    return value


def _id_of(value: Any) -> Any:
    return value.get("id") if isinstance(value, Mapping) else value


def _by_id(call: str) -> Callable[[Calls, Params, str], Data | None]:
    def find(calls: Calls, params: Params, our_key: str) -> Data | None:
        try:
            found = calls.do(call, {}, target=str(params.get("id") or our_key))
        except Refusal as refusal:
            if refusal.code == "resource_missing":
                return None
            raise
        return None if found.get("deleted") else found

    return find


def _product_differences(found: Data, params: Params) -> list[str]:
    del params  # its name may be changed at Stripe: it is the customer who reads it
    return [] if found.get("active", True) else ["it is archived; make it active again"]


def _coupon_differences(found: Data, params: Params) -> list[str]:
    names = ("percent_off", "amount_off", "currency", "duration", "duration_in_months")
    return [t for name in names for t in _told(found.get(name), params.get(name), name)]


def _price(calls: Calls, params: Params, our_key: str) -> Data | None:
    lookup = params.get("lookup_key") or our_key
    asked = {"lookup_keys": [lookup], "expand": ["data.tiers"]} if params.get("tiers") else {"lookup_keys": [lookup]}
    return next((p for p in calls.listed("prices.list", {**asked, "active": True}, limit=10) if p.get("active", True)), None)


def _is_elsewhere(found: Data, params: Params) -> bool:
    """Whether a price that we made is of another product than the one that is used now, which another one must take over."""
    ours = (found.get("metadata") or {}).get("connector_price") == params.get("lookup_key")
    return ours and bool(params.get("product")) and _id_of(found.get("product")) != params.get("product")


def _price_differences(found: Data, params: Params) -> list[str]:
    told = figures_differ(found, params)
    told += _told((found.get("recurring") or {}).get("meter"), (params.get("recurring") or {}).get("meter"), "recurring.meter")
    told += _told(found.get("tax_behavior"), params.get("tax_behavior"), "tax_behavior")
    return told + _told(_id_of(found.get("product")), params.get("product"), "product")


def figures_differ(found: Data | Params, params: Params) -> list[str]:
    """Return where a price of Stripe's bills otherwise than the parameters of one would."""
    told = _told(found.get("currency"), params.get("currency"), "currency")
    amount = params.get("unit_amount_decimal", params.get("unit_amount"))
    told += _told(found.get("unit_amount_decimal") if found.get("unit_amount_decimal") is not None else found.get("unit_amount"), amount, "unit_amount")
    for name in ("interval", "interval_count", "usage_type"):
        wanted = (params.get("recurring") or {}).get(name)
        told += _told((found.get("recurring") or {}).get(name), wanted, f"recurring.{name}")
    if bool(found.get("recurring")) != bool(params.get("recurring")):
        told.append("one is recurring, the other is not")
    for name in ("billing_scheme", "tiers_mode"):
        told += _told(found.get(name), params.get(name), name)
    if bool(found.get("transform_quantity")) != bool(params.get("transform_quantity")):
        told.append("one is by packages, the other is not")
    for name in ("divide_by", "round"):
        told += _told((found.get("transform_quantity") or {}).get(name), (params.get("transform_quantity") or {}).get(name), f"transform_quantity.{name}")
    if params.get("tiers") and found.get("tiers") is not None:
        told += _tier_differences(found["tiers"], params["tiers"])
    return told


def _tier_differences(found: Any, wanted: Any) -> list[str]:
    def row(tier: Params) -> tuple[Any, ...]:
        up_to = tier.get("up_to")
        unit, flat = (tier.get(f"{name}_decimal", tier.get(name)) for name in ("unit_amount", "flat_amount"))
        return (None if up_to in (None, "inf") else int(str(up_to)), _plain(unit or 0), _plain(flat or 0))

    return [] if [row(t) for t in found] == [row(t) for t in wanted] else ["tiers differ"]


def _tax_rate(calls: Calls, params: Params, our_key: str) -> Data | None:
    wanted = (params.get("metadata") or {}).get("connector_key", our_key)
    asked = {"active": True, "inclusive": bool(params["inclusive"])} if "inclusive" in params else {"active": True}
    return _oldest(calls.listed("tax_rates.list", asked, limit=MOST_LISTED), "connector_key", wanted)


def _tax_rate_differences(found: Data, params: Params) -> list[str]:
    return [t for name in ("percentage", "inclusive") for t in _told(found.get(name), params.get(name), name)]


def _customer(calls: Calls, params: Params, our_key: str) -> Data | None:
    wanted = (params.get("metadata") or {}).get("connector_customer", our_key)
    if params.get("email"):
        found = calls.listed("customers.list", {"email": params["email"]}, limit=MOST_LISTED)
    else:
        found = calls.listed("customers.list", {}, limit=NEWEST_CUSTOMERS)
    return _oldest(found, "connector_customer", wanted)


def _meter(calls: Calls, params: Params, our_key: str) -> Data | None:
    wanted = params.get("event_name") or our_key
    found = calls.listed("billing.meters.list", {"status": "active"}, limit=MOST_LISTED)
    return next((m for m in found if m.get("event_name") == wanted), None)


def _meter_differences(found: Data, params: Params) -> list[str]:
    wanted = (params.get("default_aggregation") or {}).get("formula")
    return _told((found.get("default_aggregation") or {}).get("formula"), wanted, "default_aggregation.formula")


def _oldest(found: list[Data], name: str, wanted: str) -> Data | None:
    """Return the oldest of *found* that bears our key; one that was made twice is used once."""
    ours = [o for o in found if (o.get("metadata") or {}).get(name) == wanted]
    return min(ours, key=lambda o: (int(o.get("created") or 0), str(o.get("id"))), default=None)


def _nothing(found: Data, params: Params) -> list[str]:
    del found, params
    return []


_SAYS: Mapping[str, str] = {
    "product": "name", "coupon": "duration", "price": "currency", "tax_rate": "percentage", "customer": "metadata", "meter": "default_aggregation",
}  # fmt: skip
"""What a step must say to make an object of the kind."""
_OWN_IDS = frozenset(("product", "coupon"))
_TAKEN = frozenset(("stripe-lookup-key-taken", "stripe-resource-already-exists", "stripe-meter-exists"))
_KINDS: Mapping[str, tuple[Callable[[Calls, Params, str], Data | None], Callable[[Data, Params], list[str]]]] = {
    "product": (_by_id("products.retrieve"), _product_differences),
    "coupon": (_by_id("coupons.retrieve"), _coupon_differences),
    "price": (_price, _price_differences),
    "tax_rate": (_tax_rate, _tax_rate_differences),
    "customer": (_customer, _nothing),
    "meter": (_meter, _meter_differences),
}
