"""Invoice items: pending ones wait for the next invoice of their subscription or customer; others go on the draft they name.

Source: docs.stripe.com/api/invoiceitems.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.listing import page, within
from connector.lookalike.stripe.machine import discounts, invoices
from connector.lookalike.stripe.machine.figures import fraction_of, rounded
from connector.lookalike.stripe.machine.keeping import index, indexed, notes, put
from connector.lookalike.stripe.machine.lines import Draft, draft_from_item, name_of, pricing_of, quantity_fields
from connector.lookalike.stripe.machine.pricing import amount_of, price_for
from connector.lookalike.stripe.machine.taxes import rates_of
from connector.lookalike.stripe.metadata import merged


def item_from(account: Account, customer: str, draft: Draft) -> Data:
    """Keep a line as a pending invoice item."""
    made: Data = {
        "id": account.new_id("ii"), "object": "invoiceitem", "amount": draft.amount, "currency": draft.currency, "customer": customer,
        "customer_account": None, "date": account.now(), "description": draft.description, "discountable": draft.discountable,
        "discounts": list(draft.discounts), "frozen_fields": [], "invoice": None, "livemode": account.is_live,
        "metadata": dict(draft.metadata), "net_amount": draft.amount, "parent": {
            "subscription_details": {"subscription": draft.subscription, "subscription_item": draft.item}, "type": "subscription_details",
        } if draft.subscription else None,
        "period": {"end": draft.end, "start": draft.start}, "pricing": pricing_of(draft.price, draft.amount, draft.quantity),
        "proration": draft.is_proration, "proration_details": {"credited_items": _credited(draft), "discount_amounts": []} if draft.is_proration else None,
        **quantity_fields(draft.quantity or Fraction(1)), "tax_rates": list(draft.tax_rates or []), "test_clock": None,
    }  # fmt: skip
    put(account, "invoiceitem", made, ["customer"])
    index(account, "pending", "customer", customer)[made["id"]] = None
    account.emit("invoiceitem.created", made)
    return made


def _credited(draft: Draft) -> Data | None:
    return (
        {"type": "invoice_line_items", "invoice_item": None, "invoice_line_item_details": draft.credited}
        if draft.credited
        else None
    )


def pending(
    account: Account, customer: str, currency: str, subscription: str | None = None, *, is_all: bool = False
) -> list[Draft]:
    """Return the lines that wait for the next invoice: those of the subscription and those of no subscription; *is_all*: any."""
    found = []
    for id_ in index(account, "pending", "customer", customer):
        item = account.kind("invoiceitem")[id_]
        whose = ((item["parent"] or {}).get("subscription_details") or {}).get("subscription")
        if item["currency"] == currency and (is_all or whose in (None, subscription)):
            found.append(draft_from_item(account, item))
    return found


def dropped(account: Account, item: Data) -> None:
    """Delete a pending item."""
    index(account, "pending", "customer", item["customer"]).pop(item["id"], None)
    account.kind("invoiceitem").pop(item["id"], None)
    account.emit("invoiceitem.deleted", item)


@endpoint("POST", "/v1/invoiceitems", "InvoiceItemCreateParams")
def create(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Make an invoice item: pending, or on the draft invoice it names."""
    invoice = account.get("invoice", params["invoice"], param="invoice") if params.get("invoice") else None
    if invoice is not None and invoice["status"] != "draft":
        raise Refused("This invoice is no longer editable", code="invoice_not_editable", param="invoice")
    customer = account.get(
        "customer", params.get("customer") or (invoice or {}).get("customer") or "", param="customer"
    )
    if invoice is not None and invoice["customer"] != customer["id"]:
        raise Refused("The invoice belongs to another customer.", param="invoice")
    subscription = _subscription(account, params.get("subscription"), customer)
    draft = _draft(account, params, customer)
    draft.subscription = subscription["id"] if subscription else None
    for other in (invoice, subscription):
        if other is not None and other["currency"] != draft.currency:
            raise Refused(
                f"The currency of the invoice item ({draft.currency}) differs from {other['currency']}.",
                param="currency",
            )
    if any(holder is not None and holder["automatic_tax"]["enabled"] for holder in (invoice, subscription)):
        _refuse_untaxable(params, draft)
    made = item_from(account, customer["id"], draft)
    notes(account, "behaviors")[made["id"]] = params.get("tax_behavior")
    if invoice is not None:
        invoices.add(account, invoice, [draft_from_item(account, made)])
        account.emit("invoice.updated", invoice)
    return made


def _refuse_untaxable(params: Data, draft: Draft) -> None:
    """Refuse what cannot be added to an invoice with automatic tax. Source: docs.stripe.com/api/invoices/create (automatic_tax.enabled)."""
    said = (draft.price or {}).get("tax_behavior") or params.get("tax_behavior")
    why = {
        "manually specified tax rates": bool(params.get("tax_rates")), "a negative amount": draft.amount < 0,
        "tax_behavior=unspecified": said in (None, "unspecified"),
    }  # fmt: skip
    for words, holds in why.items():
        if holds:
            raise Refused(f"You cannot add an invoice item with {words} to an invoice with automatic tax enabled.", param="invoice")


def _subscription(account: Account, id_: str | None, customer: Data) -> Data | None:
    if not id_:
        return None
    subscription = account.get("subscription", id_, param="subscription")
    if subscription["customer"] != customer["id"]:
        raise Refused("The subscription belongs to another customer.", param="subscription")
    if subscription["status"] in ("canceled", "incomplete_expired"):
        raise Refused("You cannot add an invoice item to a canceled subscription.", param="subscription")
    return subscription


def _draft(account: Account, params: Data, customer: Data) -> Draft:
    """Return the line of an invoice item's parameters."""
    now = account.now()
    quantity = fraction_of(params.get("quantity_decimal", params.get("quantity", 1)))
    price = None
    if params.get("pricing") or params.get("price_data"):
        if params.get("amount") is not None or params.get("unit_amount_decimal") is not None:
            raise Refused("You may only specify one of these parameters: amount, pricing, price_data.", param="amount")
        said = (params.get("price_data") or {}).get("unit_amount")
        if said is not None and said < 0:  # its decimal sister and `amount` may be below zero, and so may further items of a subscription
            raise Refused("Invalid non-negative integer", param="price_data[unit_amount]")
        price = price_for(account, params, is_recurring=False, param="pricing")
        amount, currency = amount_of(price, quantity), price["currency"]
    else:
        amount, currency = _plain_amount(params, quantity), params.get("currency") or customer.get("currency")
        if not currency:
            raise Refused("Missing required param: currency.", code="parameter_missing", param="currency")
    period = params.get("period") or {"start": now, "end": now}
    if period["end"] < period["start"]:
        raise Refused("The period's end must not be before its start.", param="period")
    entries = discounts.checked(account, params.get("discounts"), currency.lower(), "discounts")
    return Draft(
        amount=amount, currency=currency.lower(), start=period["start"], end=period["end"],
        description=params.get("description") or (name_of(account, price) if price else ""), quantity=quantity, price=price,
        discountable=params.get("discountable", amount >= 0 or bool(entries)), discounts=discounts.begun(account, entries, now),
        tax_rates=rates_of(account, params.get("tax_rates")) or None, metadata=merged({}, params.get("metadata")),
    )  # fmt: skip


def _plain_amount(params: Data, quantity: Fraction) -> int:
    if params.get("unit_amount_decimal") is not None:
        return rounded(fraction_of(params["unit_amount_decimal"]) * quantity)
    if params.get("amount") is None:
        raise Refused("You must pass one of amount, pricing or price_data.", code="parameter_missing", param="amount")
    return int(params["amount"])


@endpoint("GET", "/v1/invoiceitems/{id}", "InvoiceItemRetrieveParams")
def retrieve(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Return an invoice item."""
    return account.get("invoiceitem", ids["id"])


@endpoint("GET", "/v1/invoiceitems", "InvoiceItemListParams")
def listed(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List invoice items by customer, invoice, and whether they wait."""
    if params.get("invoice"):
        found = indexed(account, "invoiceitem", "invoice", params["invoice"])
    elif params.get("customer"):
        found = indexed(account, "invoiceitem", "customer", params["customer"])
    else:
        found = list(account.kind("invoiceitem").values())
    is_pending = params.get("pending")
    fits = [
        item
        for item in reversed(found)
        if within(item["date"], params.get("created"))
        and (is_pending is None or (item["invoice"] is None) == is_pending)
        and (not params.get("customer") or item["customer"] == params["customer"])
    ]
    return page(fits, params, "/v1/invoiceitems")


@endpoint("POST", "/v1/invoiceitems/{id}", "InvoiceItemUpdateParams")
def update(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Change a pending item's words, amount, quantity or period."""
    item = account.get("invoiceitem", ids["id"])
    if item["invoice"] is not None and account.get("invoice", item["invoice"])["status"] != "draft":
        raise Refused(
            "This invoice item is on a finalized invoice and can no longer be changed.", code="invoice_not_editable"
        )
    for name in ("description", "period", "discountable"):
        if name in params:
            item[name] = params[name]
    if params.get("amount") is not None:
        item["amount"] = item["net_amount"] = params["amount"]
        item["pricing"] = pricing_of(None, params["amount"], fraction_of(item["quantity_decimal"]))
    item["metadata"] = merged(item["metadata"], params.get("metadata"))
    if item["invoice"] is not None:
        _replace(account, account.get("invoice", item["invoice"]), item)
    return item


def _replace(account: Account, invoice: Data, item: Data) -> None:
    lines = invoice["lines"]["data"]
    invoice["lines"]["data"] = [
        line for line in lines if (line["parent"]["invoice_item_details"] or {}).get("invoice_item") != item["id"]
    ]
    invoices.add(account, invoice, [draft_from_item(account, item)])


@endpoint("DELETE", "/v1/invoiceitems/{id}", "InvoiceItemDeleteParams")
def delete(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Delete an item that waits or stands on a draft."""
    item = account.get("invoiceitem", ids["id"])
    if item["invoice"] is not None:
        invoice = account.kind("invoice").get(item["invoice"])
        if invoice is None:  # it went with its draft
            raise Refused("This invoice item has been deleted.")
        if invoice["status"] != "draft":
            raise Refused(
                "This invoice item is on a finalized invoice and cannot be deleted.", code="invoice_not_editable"
            )
        lines = invoice["lines"]["data"]
        invoice["lines"]["data"] = [
            line for line in lines if (line["parent"]["invoice_item_details"] or {}).get("invoice_item") != item["id"]
        ]
        invoices.total(account, invoice)
    dropped(account, item)
    return {"id": item["id"], "object": "invoiceitem", "deleted": True}
