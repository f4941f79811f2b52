"""Discounts: coupons at work on a subscription, an item, an invoice; the order of a list is the order of application.

Each works on what the one before left; those of a line come before those of the invoice. A fixed amount is spread in proportion.
once = one invoice; repeating = invoices made within its months; forever = always. Source: docs.stripe.com/billing/subscriptions/coupons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.machine.figures import fraction_of, rounded, split
from connector.lookalike.stripe.machine.keeping import notes
from connector.lookalike.stripe.machine.times import shifted

MOST = 20


def coupon_of(account: Account, given: Mapping[str, Any], param: str) -> Data:
    """Return the coupon behind an entry of a `discounts` list."""
    if given.get("coupon"):
        coupon = account.get("coupon", given["coupon"], param=f"{param}[coupon]")
    elif given.get("promotion_code"):
        code = account.get("promotion_code", given["promotion_code"], param=f"{param}[promotion_code]")
        coupon = account.get("coupon", (code.get("promotion") or code)["coupon"])
    elif given.get("discount"):
        return account.get(
            "coupon", account.get("discount", given["discount"], param=f"{param}[discount]")["source"]["coupon"]
        )
    else:
        raise Refused("You must specify a coupon, promotion_code or discount.", code="parameter_missing", param=param)
    if not coupon.get("valid", True):
        raise Refused(f"Coupon {coupon['id']} is not valid.", code="coupon_expired", param=param)
    return coupon


def checked(account: Account, given: Sequence[Data] | str | None, currency: str, param: str) -> list[Data]:
    """Return the entries of a `discounts` list as objects keep them. Raises: Refused (doubles, more than 20, another currency)."""
    entries = [] if not given or isinstance(given, str) else list(given)
    if len(entries) > MOST:
        raise Refused(f"You may pass at most {MOST} discounts.", param=param)
    seen: set[str] = set()
    for entry in entries:
        coupon = coupon_of(account, entry, param)
        if coupon["id"] in seen:
            raise Refused(f"The coupon {coupon['id']} is applied more than once in `{param}`.", param=param)
        seen.add(coupon["id"])
        if (
            coupon.get("amount_off")
            and coupon["currency"] != currency
            and currency not in (coupon.get("currency_options") or {})
        ):
            raise Refused(
                f"The coupon {coupon['id']} has the currency {coupon['currency']}, which differs from {currency}.",
                param=param,
            )
    return [{name: entry.get(name) for name in ("coupon", "discount", "promotion_code")} for entry in entries]


def begun(account: Account, entries: Sequence[Data], at: int, kept: Sequence[str] = (), **where: str) -> list[str]:
    """Put the entries to work from *at*; those of *kept* that have the same coupon and still run go on instead. Return ids."""
    running = {account.kind("discount")[id_]["source"]["coupon"]: id_ for id_ in kept if is_running(account, id_, at)}
    ids = []
    for entry in entries:
        if entry.get("discount"):
            ids.append(entry["discount"])
            continue
        coupon = coupon_of(account, entry, "discounts")
        ids.append(running.get(coupon["id"]) or _made(account, entry, coupon, at, where))
    return ids


def _made(account: Account, entry: Data, coupon: Data, at: int, where: Mapping[str, str]) -> str:
    months = coupon.get("duration_in_months")
    made: Data = {
        "id": account.new_id("di"), "object": "discount", "checkout_session": None, "customer": None, "customer_account": None,
        "end": shifted(at, ("month", months)) if months else None, "invoice": None, "invoice_item": None,
        "promotion_code": entry.get("promotion_code"), "source": {"coupon": coupon["id"], "type": "coupon"}, "start": at,
        "subscription": None, "subscription_item": None, **where,
    }  # fmt: skip
    account.kind("discount")[made["id"]] = made
    coupon["times_redeemed"] = coupon.get("times_redeemed", 0) + 1
    return str(made["id"])


def is_running(account: Account, id_: str, at: int) -> bool:
    """Whether a discount still works for an invoice made at *at*."""
    discount = account.kind("discount").get(id_)
    if discount is None or (discount["end"] is not None and at >= discount["end"]):
        return False
    return id_ not in notes(account, "spent")


def spend(account: Account, ids: Sequence[str], invoice: str) -> None:
    """Note that discounts of one invoice stand on it."""
    for id_ in ids:
        discount = account.kind("discount")[id_]
        if account.get("coupon", discount["source"]["coupon"])["duration"] == "once" and discount["invoice"] is None:
            notes(account, "spent").setdefault(id_, invoice)


def cut(account: Account, lines: Sequence[Data], invoice_wide: Sequence[str]) -> None:
    """Write `discount_amounts` into each line. lines - with amount, discountable, discounts. invoice_wide - in their order."""
    left = [line["amount"] for line in lines]
    for line in lines:
        line["discount_amounts"] = []
    for whole in _wholes(lines):
        for id_ in whole[0][1]["discounts"] if whole[0][1]["discountable"] else ():
            _cut_one(account, whole, left, id_)
    for id_ in invoice_wide:
        _cut_one(account, [(place, line) for place, line in enumerate(lines) if line["discountable"]], left, id_)


def _wholes(lines: Sequence[Data]) -> list[list[tuple[int, Data]]]:
    """Return the lines with their places, those of a graduated price's tiers together: an item's discount counts once for all of them."""
    found: dict[object, list[tuple[int, Data]]] = {}
    for place, line in enumerate(lines):
        details: Data = (line.get("parent") or {}).get("subscription_item_details") or {"proration": True}
        key = place if details["proration"] else (details["subscription_item"], line["period"]["start"], line["period"]["end"])
        found.setdefault(key, []).append((place, line))
    return list(found.values())


def _cut_one(account: Account, lines: list[tuple[int, Data]], left: list[int], id_: str) -> None:
    """Apply one discount to what is left of the lines that it concerns."""
    coupon = account.get("coupon", account.kind("discount")[id_]["source"]["coupon"])
    only = (coupon.get("applies_to") or {}).get("products")
    concerned = [(place, line) for place, line in lines if only is None or product_of(line) in only]
    if coupon.get("percent_off") is not None:
        share = fraction_of(coupon["percent_off"]) / 100
        cuts = [rounded(left[place] * share) for place, _ in concerned]
    else:
        cuts = split(coupon["amount_off"], [max(0, left[place]) for place, _ in concerned])
    for (place, line), amount in zip(concerned, cuts, strict=True):
        if amount:
            left[place] -= amount
            line["discount_amounts"].append({"amount": amount, "discount": id_})


def product_of(line: Data) -> str | None:
    """Return the product of a line's price."""
    details = (line.get("pricing") or {}).get("price_details") or {}
    product: str | None = details.get("product")
    return product


def net_share(account: Account, full: int, ids: Sequence[str], at: int) -> int:
    """Return what is left of a full period's amount after discounts, for prorations that carry their discount inside."""
    line: Data = {
        "amount": full,
        "discountable": True,
        "discounts": [id_ for id_ in ids if is_running(account, id_, at)],
    }
    cut(account, [line], ())
    return full - sum(int(one["amount"]) for one in line["discount_amounts"])
