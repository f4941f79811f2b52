"""Further one-time charges that a subscription or a phase brings along (`add_invoice_items`)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.machine import discounts, items, stripe_tax
from connector.lookalike.stripe.machine.lines import Draft, name_of
from connector.lookalike.stripe.machine.pricing import amount_of, price_for
from connector.lookalike.stripe.machine.taxes import rates_of
from connector.lookalike.stripe.metadata import merged

MOST = 20


def checked(account: Account, given: Sequence[Data] | None, currency: str, param: str) -> list[Data]:
    """Return the charges as a phase keeps them. Raises: Refused (more than 20, a recurring price, another currency)."""
    entries = list(given or ())
    if len(entries) > MOST:
        raise Refused(f"You may pass at most {MOST} add_invoice_items.", param=param)
    kept = []
    for place, entry in enumerate(entries):
        where = f"{param}[{place}]"
        price = price_for(account, entry, is_recurring=False, param=where)
        if price["currency"] != currency:
            raise Refused(
                f"The price {price['id']} has the currency {price['currency']}, which differs from {currency}.",
                param=where,
            )
        kept.append({
            "discountable": entry.get("discountable"), "discounts": discounts.checked(account, entry.get("discounts"), currency, where),
            "metadata": merged({}, entry.get("metadata")), "period": entry.get("period") or {
                "start": {"type": "max_item_period_start"}, "end": {"type": "min_item_period_end"},
            },
            "price": price["id"], "quantity": entry.get("quantity", 1), "tax_rates": rates_of(account, entry.get("tax_rates"), where),
        })  # fmt: skip
    return kept


def put_on(account: Account, subscription: Data, charges: Sequence[Data], phase: tuple[int, int]) -> None:
    """Make the charges of a phase (its start and end) pending items of the subscription; its next invoice takes them."""
    for one in charges:
        price = account.get("price", one["price"])
        quantity = Fraction(one["quantity"] or 1)
        amount = amount_of(price, quantity)
        if subscription["automatic_tax"]["enabled"] and account.moment is None:  # in a request
            stripe_tax.refuse_negative(amount, "add_invoice_items")
        is_discountable = one["discountable"] if one["discountable"] is not None else True
        items.item_from(account, subscription["customer"], Draft(
            amount=amount, currency=price["currency"], start=_instant(subscription, one["period"]["start"], phase),
            end=_instant(subscription, one["period"]["end"], phase), description=name_of(account, price), quantity=quantity, price=price,
            discountable=is_discountable, discounts=discounts.begun(account, one["discounts"], account.now(), subscription=subscription["id"]),
            tax_rates=list(one["tax_rates"]) or None, metadata=dict(one["metadata"] or {}), subscription=subscription["id"],
        ))  # fmt: skip


def _instant(subscription: Data, given: Data, phase: tuple[int, int]) -> int:
    """Return the instant of a period's bound."""
    held = subscription["items"]["data"]
    kind = given["type"]
    if kind == "timestamp":
        return int(given["timestamp"])
    if kind in ("phase_start", "now"):
        return phase[0]
    if kind == "phase_end":
        return phase[1]
    if kind == "max_item_period_start":
        return max((max(phase[0], item["current_period_start"]) for item in held), default=phase[0])
    return min((item["current_period_end"] for item in held if item["current_period_end"] > phase[0]), default=phase[1])
