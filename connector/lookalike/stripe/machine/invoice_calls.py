"""The endpoints of invoices."""

from __future__ import annotations

from collections.abc import Mapping

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.listing import page, within
from connector.lookalike.stripe.machine import discounts, invoices, items, payments
from connector.lookalike.stripe.machine.keeping import indexed, notes, wake
from connector.lookalike.stripe.machine.taxes import rates_of
from connector.lookalike.stripe.machine.times import DAY, HOUR
from connector.lookalike.stripe.metadata import merged

PATH = "/v1/invoices"


@endpoint("POST", PATH, "InvoiceCreateParams")
def create(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Make a one-off draft, with the customer's pending items if asked for; or bill what waits of a subscription."""
    subscription = (
        account.get("subscription", params["subscription"], param="subscription")
        if params.get("subscription")
        else None
    )
    customer = account.get(
        "customer", params.get("customer") or (subscription or {}).get("customer") or "", param="customer"
    )
    currency = str(params.get("currency") or (subscription or customer).get("currency") or account.currency).lower()
    method = params.get("collection_method") or (subscription or {}).get("collection_method") or "charge_automatically"
    _checked_due(params, method, account.now())
    drafts = []
    if subscription is not None:
        drafts = [
            one
            for one in items.pending(account, customer["id"], currency, subscription["id"])
            if one.subscription == subscription["id"]
        ]
        if not drafts:
            raise Refused("Nothing to invoice for subscription", code="invoice_no_subscription_line_items")
    elif params.get("pending_invoice_items_behavior") == "include":
        drafts = [one for one in items.pending(account, customer["id"], currency) if one.subscription is None]
    entries = discounts.checked(account, params.get("discounts"), currency, "discounts")
    head: Data = {
        "auto_advance": params.get("auto_advance", False), "automatically_finalizes_at": params.get("automatically_finalizes_at"),
        "billing_reason": "manual", "collection_method": method, "currency": currency, "custom_fields": params.get("custom_fields") or None,
        "days": params.get("days_until_due"), "default_payment_method": params.get("default_payment_method"),
        "default_tax_rates": rates_of(account, params.get("default_tax_rates"), "default_tax_rates"), "description": params.get("description"),
        "discounts": discounts.begun(account, entries, account.now()), "effective_at": params.get("effective_at"), "footer": params.get("footer"),
        "metadata": merged({}, params.get("metadata")), "number": params.get("number"), "statement_descriptor": params.get("statement_descriptor"),
    }  # fmt: skip
    if (params.get("automatic_tax") or {}).get("enabled"):
        head["automatic_tax"] = {
            "disabled_reason": None,
            "enabled": True,
            "liability": {"type": "self"},
            "provider": "stripe",
            "status": None,
        }
    if params.get("due_date") is not None:
        head["due_date"] = params["due_date"]
    if subscription is not None:
        head["parent"] = {"quote_details": None, "type": "subscription_details", "subscription_details": {
            "metadata": dict(subscription["metadata"]), "subscription": subscription["id"], "subscription_proration_date": None,
        }}  # fmt: skip
    return invoices.made(account, customer, head, drafts)


def _checked_due(params: Data, method: str, now: int) -> None:
    if method == "send_invoice" and params.get("days_until_due") is None and params.get("due_date") is None:
        raise Refused(
            "If invoice collection method is send_invoice, you must pass either days_until_due or due_date.",
            code="parameter_missing",
            param="days_until_due",
        )
    if method != "send_invoice" and (params.get("days_until_due") is not None or params.get("due_date") is not None):
        raise Refused(
            "You can only set a due date on an invoice with collection_method=send_invoice.", param="days_until_due"
        )
    if params.get("due_date") is not None and params["due_date"] < now:
        raise Refused("The due date must lie in the future.", param="due_date")
    if params.get("days_until_due") is not None and params.get("due_date") is not None:
        raise Refused("You may only specify one of these parameters: days_until_due, due_date.", param="due_date")


@endpoint("GET", f"{PATH}/{{id}}", "InvoiceRetrieveParams")
def retrieve(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Return an invoice."""
    return account.get("invoice", ids["id"])


@endpoint("GET", PATH, "InvoiceListParams")
def listed(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List invoices by customer, subscription, status and dates."""
    if params.get("subscription"):
        found = indexed(account, "invoice", "subscription", params["subscription"])
    elif params.get("customer"):
        found = indexed(account, "invoice", "customer", params["customer"])
    else:
        found = list(account.kind("invoice").values())
    names = ("customer", "status", "collection_method")
    fits = [
        one
        for one in reversed(found)
        if all(params.get(name) in (None, one[name]) for name in names)
        and within(one["created"], params.get("created"))
        and within(one["due_date"], params.get("due_date"))
    ]
    return page(fits, params, PATH)


@endpoint("GET", f"{PATH}/{{id}}/lines", "InvoiceLineItemListParams")
def lines(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List the lines of an invoice."""
    held = account.get("invoice", ids["id"])["lines"]
    return page(held["data"], params, held["url"])


@endpoint("POST", f"{PATH}/{{id}}", "InvoiceUpdateParams")
def update(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Change a draft; of a final invoice only its metadata and whether it is collected by itself."""
    invoice = account.get("invoice", ids["id"])
    later = {"metadata", "expand", "auto_advance", "default_payment_method"}
    if invoice["status"] != "draft" and set(params) - later:
        raise Refused("Finalized invoices can't be updated in this way", param=min(set(params) - later))
    for name in (
        "description",
        "footer",
        "custom_fields",
        "default_payment_method",
        "number",
        "statement_descriptor",
        "effective_at",
    ):
        if name in params:
            invoice[name] = params[name] or None
    _collection(account, invoice, params)
    if "discounts" in params:
        entries = discounts.checked(account, params["discounts"], invoice["currency"], "discounts")
        invoice["discounts"] = discounts.begun(account, entries, account.now(), invoice["discounts"])
    if "default_tax_rates" in params:
        invoice["default_tax_rates"] = rates_of(account, params["default_tax_rates"], "default_tax_rates")
    if "automatic_tax" in params:
        invoice["automatic_tax"]["enabled"] = params["automatic_tax"]["enabled"]
    invoice["metadata"] = merged(invoice["metadata"], params.get("metadata"))
    if invoice["status"] == "draft":
        invoices.total(account, invoice)
    account.emit("invoice.updated", invoice)
    return invoice


def _collection(account: Account, invoice: Data, params: Data) -> None:
    """Change how and until when an invoice is collected."""
    invoice["collection_method"] = params.get("collection_method", invoice["collection_method"])
    if params.get("due_date") is not None or params.get("days_until_due") is not None:
        _checked_due(params, invoice["collection_method"], account.now())
        days = params.get("days_until_due")
        notes(account, "days")[invoice["id"]] = days
        invoice["due_date"] = params.get("due_date") if days is None else invoice["created"] + days * DAY
    if "auto_advance" in params:
        invoice["auto_advance"] = params["auto_advance"]
        if params["auto_advance"] and invoice["status"] == "draft":
            at = params.get("automatically_finalizes_at") or account.now() + HOUR
            invoice["automatically_finalizes_at"] = at
            wake(account, "finalize", invoice["id"], at)
        elif params["auto_advance"]:
            payments.collect_later(account, invoice)
        else:
            invoice.update(automatically_finalizes_at=None, next_payment_attempt=None)


@endpoint("DELETE", f"{PATH}/{{id}}", "InvoiceDeleteParams")
def delete(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Delete a one-off draft; its items go with it: they belong to nothing any more and cannot be taken back."""
    invoice = account.get("invoice", ids["id"])
    if invoice["status"] != "draft" or invoices.subscription_of(invoice):
        raise Refused("You can only delete draft invoices.")
    del account.kind("invoice")[invoice["id"]]
    account.emit("invoice.deleted", invoice)
    return {"id": invoice["id"], "object": "invoice", "deleted": True}


@endpoint("POST", f"{PATH}/{{id}}/finalize", "InvoiceFinalizeInvoiceParams")
def finalize(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Finalize a draft now; where it is collected by itself, the first try follows about an hour later."""
    invoice = account.get("invoice", ids["id"])
    if "auto_advance" in params and invoice["status"] == "draft":
        invoice["auto_advance"] = params["auto_advance"]
    invoices.finalized(account, invoice)
    payments.collect_later(account, invoice)
    return invoice


@endpoint("POST", f"{PATH}/{{id}}/pay", "InvoicePayParams")
def pay(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Collect an invoice now, or note that it was paid outside."""
    invoice = account.get("invoice", ids["id"])
    if invoice["status"] == "draft":
        invoices.finalized(account, invoice)
    if invoice["status"] == "paid":
        if invoice["amount_due"] == 0:
            return invoice
        raise Refused("Invoice is already paid")
    if invoice["status"] == "void":
        raise Refused("Invoice is voided and can no longer be paid", code="invoice_not_editable")
    if params.get("paid_out_of_band"):
        payments.paid_outside(account, invoice)
        return invoice
    method = payments.method_of(account, invoice, params.get("payment_method"))
    if not payments.pay(account, invoice, method, is_automatic=False):
        payments.refuse_failed(method)
    return invoice


@endpoint("POST", f"{PATH}/{{id}}/attach_payment", "InvoiceAttachPaymentParams")
def attach_payment(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Credit a payment that was reported to an open invoice, once."""
    invoice = account.get("invoice", ids["id"])
    if not params.get("payment_record"):
        raise Refused("Only payment records are attached here.", param="payment_record")
    record = account.get("payment_record", params["payment_record"], param="payment_record")
    if invoice["status"] not in ("open", "uncollectible"):
        raise Refused(f"You can only attach payments to an open invoice; this one is {invoice['status']}.", code="invoice_not_editable")
    if record["amount"]["currency"] != invoice["currency"]:
        raise Refused("The payment record has another currency than the invoice.", param="payment_record")
    if any(one["payment"]["payment_record"] == record["id"] for one in account.kind("invoice_payment").values()):
        raise Refused(f"The payment record {record['id']} is attached already.", param="payment_record")
    if not record["amount_guaranteed"]["value"]:
        raise Refused("Only a payment that is guaranteed is credited here.", param="payment_record")
    about = {"payment_intent": None, "charge": None, "payment_record": record["id"], "type": "payment_record"}
    payments.attach(account, invoice, record["amount"]["value"], about)
    return invoice


@endpoint("POST", f"{PATH}/{{id}}/void", "InvoiceVoidInvoiceParams")
def void(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Void an open invoice."""
    invoice = account.get("invoice", ids["id"])
    invoices.closed(account, invoice, "void")
    return invoice


@endpoint("POST", f"{PATH}/{{id}}/mark_uncollectible", "InvoiceMarkUncollectibleParams")
def mark_uncollectible(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Give up an open invoice."""
    invoice = account.get("invoice", ids["id"])
    invoices.closed(account, invoice, "uncollectible")
    return invoice


@endpoint("POST", f"{PATH}/{{id}}/send", "InvoiceSendInvoiceParams")
def send(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Send an invoice to its customer; a draft is finalized first."""
    invoice = account.get("invoice", ids["id"])
    if invoice["collection_method"] != "send_invoice":
        raise Refused("You can only manually send an invoice if its collection method is 'send_invoice'.")
    was_paid = invoice["status"] == "paid"
    if invoice["status"] == "draft":
        invoices.finalized(account, invoice)
    if was_paid or invoice["status"] not in ("open", "paid"):
        raise Refused("This invoice cannot be sent right now. Please contact us via https://support.stripe.com/contact with details, so we can help.")
    account.emit("invoice.sent", invoice)
    return invoice


@endpoint("GET", "/v1/invoice_payments", "InvoicePaymentListParams")
def invoice_payments(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List payments of invoices, by invoice, status, or what they were paid with."""
    if params.get("invoice"):
        found = indexed(account, "invoice_payment", "invoice", params["invoice"])
    else:
        found = list(account.kind("invoice_payment").values())
    asked = params.get("payment") or {}
    fits = [
        one
        for one in reversed(found)
        if params.get("status") in (None, one["status"])
        and within(one["created"], params.get("created"))
        and asked.get("payment_intent") in (None, one["payment"]["payment_intent"])
        and asked.get("payment_record") in (None, one["payment"]["payment_record"])
    ]
    return page(fits, params, "/v1/invoice_payments")
