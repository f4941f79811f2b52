"""Prorations by the second: what a change inside a period credits and charges, each line rounded on its own.

With 445540 of 2678400 seconds left, 1000 is 166 and 3252 is 541. Flexible billing mode takes back what was really debited, one credit
for each debit, with the discounts that were inside; classic takes the present price and quantity.
Source: docs.stripe.com/billing/subscriptions/prorations, docs.stripe.com/billing/subscriptions/billing-mode/compare.
"""

from __future__ import annotations

from fractions import Fraction

from connector.lookalike.stripe.account import Account, Data
from connector.lookalike.stripe.machine import discounts
from connector.lookalike.stripe.machine.figures import rounded
from connector.lookalike.stripe.machine.keeping import notes
from connector.lookalike.stripe.machine.lines import Draft, name_of
from connector.lookalike.stripe.machine.pricing import exact_amount, is_metered
from connector.lookalike.stripe.machine.times import day_text, every_of, last_boundary, next_boundary


def share_left(start: int, end: int, at: int) -> Fraction:
    """Return which share of `[start, end)` lies after *at*."""
    return Fraction(end - max(start, at), end - start) if end > at else Fraction(0)


def credits_of(account: Account, subscription: Data, item: Data, at: int) -> list[Draft]:
    """Return the credits for the time after *at* of an item; what they take back is not taken back again."""
    if is_metered(item["price"]):
        return []
    if subscription["billing_mode"]["type"] == "classic":
        return _classic(account, subscription, item, at)
    held = notes(account, "debits").pop(item["id"], [])
    drafts = []
    for debit in held:
        net, about = _debited(account, debit)
        amount = rounded(net * share_left(debit["start"], debit["end"], at))
        if amount:
            drafts.append(_line(account, subscription, item, max(debit["start"], at), debit["end"]))
            drafts[-1].amount, drafts[-1].credited = -amount, about
            drafts[-1].description = f"Unused time on {_what(account, item)} after {day_text(at)}"
    return drafts


def _debited(account: Account, debit: Data) -> tuple[int, Data | None]:
    """Return what a debit came to after discounts, and where it stands."""
    if debit.get("item") is not None:
        item = account.kind("invoiceitem").get(debit["item"])
        if item is None or item["invoice"] is None:
            return debit["net"], None
        invoice = account.kind("invoice")[item["invoice"]]
        lines = [line for line in invoice["lines"]["data"] if _from_item(line) == item["id"]]
        return debit["net"], {"invoice": invoice["id"], "invoice_line_items": [line["id"] for line in lines]}
    invoice = account.kind("invoice")[debit["invoice"]]
    line = next(line for line in invoice["lines"]["data"] if line["id"] == debit["line"])
    net = line["amount"] - sum(one["amount"] for one in line["discount_amounts"])
    return net, {"invoice": invoice["id"], "invoice_line_items": [line["id"]]}


def _from_item(line: Data) -> str | None:
    details = line["parent"]["subscription_item_details"] or line["parent"]["invoice_item_details"]
    found: str | None = details["invoice_item"]
    return found


def _classic(account: Account, subscription: Data, item: Data, at: int) -> list[Draft]:
    start, end = item["current_period_start"], item["current_period_end"]
    full = _net(account, subscription, item)
    amount = rounded(full * share_left(start, end, at))
    if not amount or at <= start:
        return []
    draft = _line(account, subscription, item, at, end)
    draft.amount, draft.description = -amount, f"Unused time on {_what(account, item)} after {day_text(at)}"
    return [draft]


def _net(account: Account, subscription: Data, item: Data) -> Fraction:
    """Return what a full period of the item comes to after the discounts that run, as prorations hold them inside."""
    exact = exact_amount(item["price"], Fraction(item["quantity"]))
    ids = [
        id_
        for id_ in (*item["discounts"], *subscription["discounts"])
        if discounts.is_running(account, id_, account.now())
    ]
    return Fraction(discounts.net_share(account, rounded(exact), ids, account.now())) if ids else exact


def debit_of(account: Account, subscription: Data, item: Data, at: int) -> Draft | None:
    """Return the charge for the rest of an item's period after *at*."""
    if is_metered(item["price"]):
        return None
    anchor, every = subscription["billing_cycle_anchor"], every_of(item["price"])
    start, end = last_boundary(anchor, every, at), next_boundary(anchor, every, at)
    amount = rounded(_net(account, subscription, item) * share_left(start, end, at))
    draft = _line(account, subscription, item, at, end)
    draft.amount, draft.description = amount, f"Remaining time on {_what(account, item)} after {day_text(at)}"
    return draft


def remember(account: Account, item: Data, draft: Draft, invoice_item: Data) -> None:
    """Keep a charge among what the item was debited."""
    held = notes(account, "debits").setdefault(item["id"], [])
    held.append({"item": invoice_item["id"], "net": draft.amount, "start": draft.start, "end": draft.end})


def _what(account: Account, item: Data) -> str:
    return f"{item['quantity']} × {name_of(account, item['price'])}"


def _line(account: Account, subscription: Data, item: Data, start: int, end: int) -> Draft:
    return Draft(
        amount=0, currency=item["price"]["currency"], start=start, end=end, description="", quantity=Fraction(item["quantity"]),
        price=item["price"], discountable=False, tax_rates=list(item["tax_rates"]) or None, metadata=dict(subscription["metadata"]),
        subscription=subscription["id"], item=item["id"], is_proration=True,
    )  # fmt: skip
