"""Lines before and on an invoice: what is charged, for which period, from which price and item."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction

from connector.lookalike.stripe.account import Account, Data
from connector.lookalike.stripe.machine.figures import fraction_of, rounded
from connector.lookalike.stripe.machine.keeping import notes
from connector.lookalike.stripe.machine.pricing import amount_of, steps_of
from connector.lookalike.stripe.machine.taxes import net_of_inclusive


@dataclass(slots=True, kw_only=True)
class Draft:
    """A line to be put on an invoice. amount - before discounts and tax, except that a proration holds its discounts.

    item - of the subscription. invoice_item - that it comes from. credited - what a credit proration takes back.
    """

    amount: int
    currency: str
    start: int
    end: int
    description: str
    quantity: Fraction | None = None
    price: Data | None = None
    discountable: bool = True
    discounts: list[str] = field(default_factory=list)
    tax_rates: list[Data] | None = None
    metadata: Data = field(default_factory=dict)
    subscription: str | None = None
    item: str | None = None
    invoice_item: str | None = None
    is_proration: bool = False
    credited: Data | None = None


def by_step(draft: Draft) -> list[Draft]:
    """Return the lines of a whole period as an invoice shows them: of a graduated price one for each tier, and one for each flat fee."""
    price, quantity = draft.price, draft.quantity
    if price is None or quantity is None or draft.item is None or draft.is_proration or price.get("tiers_mode") != "graduated":
        return [draft]
    steps = steps_of(price["tiers"], quantity)
    if draft.amount != amount_of(price, quantity) or (len(steps) == 1 and not steps[0][2]):
        return [draft]
    found: list[Draft] = []
    for number, (inside, unit, flat) in enumerate(steps, 1):
        found.append(replace(draft, amount=rounded(inside * unit), quantity=inside, description=f"{draft.description} (Tier {number})"))
        if flat:
            found.append(replace(draft, amount=rounded(flat), quantity=Fraction(0), description=f"{draft.description} (Tier {number} flat fee)"))
    return found


def pricing_of(price: Data | None, amount: int, quantity: Fraction | None) -> Data | None:
    """Return a line's `pricing`: its price and the amount of a unit; without a price, the whole is one unit's."""
    if price is None:
        unit = (
            Decimal(amount)
            if not quantity
            else Decimal(amount) / Decimal(quantity.numerator) * Decimal(quantity.denominator)
        )
        return {"price_details": None, "type": "price_details", "unit_amount_decimal": _plain(unit)}
    unit_text = price.get("unit_amount_decimal")
    if unit_text is None and price.get("unit_amount") is not None:
        unit_text = str(price["unit_amount"])
    return {
        "price_details": {"price": price["id"], "product": price["product"]}, "type": "price_details",
        "unit_amount_decimal": None if unit_text is None else str(unit_text),
    }  # fmt: skip


def _plain(value: Decimal) -> str:
    text = format(round(value, 12), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def quantity_fields(quantity: Fraction | None) -> Data:
    """Return `quantity` (whole only) and `quantity_decimal`."""
    if quantity is None:
        return {"quantity": None, "quantity_decimal": None}
    exact = Decimal(quantity.numerator) / Decimal(quantity.denominator)
    whole = int(quantity) if quantity.denominator == 1 else None
    return {"quantity": whole, "quantity_decimal": _plain(exact)}


def line_from(account: Account, invoice: Data, draft: Draft) -> Data:
    """Return the line as it stands on an invoice, without discounts and taxes yet (`invoices.total` counts them)."""
    rates = invoice["default_tax_rates"] if draft.tax_rates is None else draft.tax_rates
    amount = draft.amount if invoice["customer_tax_exempt"] == "none" else net_of_inclusive(draft.amount, rates)
    line: Data = {
        "id": account.new_id("il"), "object": "line_item", "amount": amount, "currency": draft.currency,
        "description": draft.description, "discount_amounts": [], "discountable": draft.discountable,
        "discounts": list(draft.discounts), "invoice": invoice["id"], "livemode": account.is_live, "metadata": dict(draft.metadata),
        "parent": _parent(draft), "period": {"end": draft.end, "start": draft.start}, "pretax_credit_amounts": [],
        "pricing": pricing_of(draft.price, draft.amount, draft.quantity), **quantity_fields(draft.quantity),
        "subscription": draft.subscription, "subtotal": amount, "taxes": [],
    }  # fmt: skip
    if draft.tax_rates is not None:
        notes(account, "line_rates")[line["id"]] = [rate["id"] for rate in draft.tax_rates]
    return line


def _parent(draft: Draft) -> Data:
    details: Data = {
        "invoice_item": draft.invoice_item, "proration": draft.is_proration,
        "proration_details": {"credited_items": draft.credited}, "subscription": draft.subscription,
    }  # fmt: skip
    if draft.item is not None:
        details["subscription_item"] = draft.item
        return {"invoice_item_details": None, "subscription_item_details": details, "type": "subscription_item_details"}
    return {"invoice_item_details": details, "subscription_item_details": None, "type": "invoice_item_details"}


def draft_from_item(account: Account, item: Data) -> Draft:
    """Return the line that a pending invoice item becomes."""
    details = (item["parent"] or {}).get("subscription_details") or {}
    price = ((item["pricing"] or {}).get("price_details") or {}).get("price")
    credited = ((item.get("proration_details") or {}).get("credited_items") or {}).get("invoice_line_item_details")
    return Draft(
        amount=item["amount"], currency=item["currency"], start=item["period"]["start"], end=item["period"]["end"],
        description=item["description"] or "", quantity=fraction_of(item["quantity_decimal"]),
        price=account.kind("price").get(price) if price else None, discountable=item["discountable"],
        discounts=list(item["discounts"] or []), tax_rates=item["tax_rates"] or None, metadata=item["metadata"],
        subscription=details.get("subscription"), item=details.get("subscription_item"), invoice_item=item["id"],
        is_proration=item["proration"], credited=credited,
    )  # fmt: skip


def name_of(account: Account, price: Data) -> str:
    """Return the name of a price's product."""
    product = account.kind("product").get(price["product"]) or {}
    return str(product.get("name") or price["product"])
