"""Invoices: made as drafts, counted, finalized about an hour later, then collected; and what else ends one.

draft -> open -> paid | void | uncollectible. Lines, discounts, tax, the customer's balance, credit notes, amount due: in that
order. A negative total goes to the customer's balance. Source: docs.stripe.com/billing/invoices/overview, api/invoices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.machine import discounts, stripe_tax, taxes
from connector.lookalike.stripe.machine.keeping import SETTLED, index, notes, put, wake
from connector.lookalike.stripe.machine.lines import Draft, by_step, line_from
from connector.lookalike.stripe.machine.times import DAY, HOUR

PAGE = "https://invoice.stripe.com"
WARN_DAYS = 3
"""How long before it is due `invoice.will_be_due` comes; a setting of the Dashboard at Stripe."""


def made(account: Account, customer: Data, head: Data, drafts: Sequence[Draft]) -> Data:
    """Make a draft invoice. head - fields that differ from the plain ones below, `days` until due, and `hold` for one that waits."""
    days, hold = head.pop("days", None), head.pop("hold", False)
    method = head.get("collection_method") or "charge_automatically"
    now = account.now()
    invoice: Data = {
        "id": account.new_id("in"), "object": "invoice", "account_country": account.country, "account_name": "Demo", "account_tax_ids": None,
        "amount_due": 0, "amount_overpaid": 0, "amount_paid": 0, "amount_paid_off_stripe": 0, "amount_remaining": 0, "amount_shipping": 0,
        "application": None, "attempt_count": 0, "attempted": False, "auto_advance": True,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None, "provider": None, "status": None},
        "automatically_finalizes_at": None, "billing_reason": "manual", "collection_method": method, "created": now,
        "currency": account.currency, "custom_fields": None, "customer": customer["id"], "customer_account": None,
        "customer_address": customer.get("address"), "customer_email": customer.get("email"), "customer_name": customer.get("name"),
        "customer_phone": customer.get("phone"), "customer_shipping": customer.get("shipping"),
        "customer_tax_exempt": customer.get("tax_exempt") or "none", "customer_tax_ids": [], "default_payment_method": None,
        "default_source": None, "default_tax_rates": [], "description": None, "discounts": [],
        "due_date": now + days * DAY if method == "send_invoice" and days is not None else None, "effective_at": None,
        "ending_balance": None, "footer": None, "from_invoice": None, "hosted_invoice_url": None, "invoice_pdf": None,
        "issuer": {"type": "self"}, "last_finalization_error": None, "latest_revision": None,
        "lines": {"object": "list", "data": [], "has_more": False, "url": ""}, "livemode": account.is_live, "metadata": {},
        "next_payment_attempt": None, "number": None, "on_behalf_of": None, "parent": None,
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "payments": {"object": "list", "data": [], "has_more": False, "url": ""}, "period_end": now, "period_start": now,
        "post_payment_credit_notes_amount": 0, "pre_payment_credit_notes_amount": 0, "receipt_number": None, "rendering": None,
        "shipping_cost": None, "shipping_details": None, "starting_balance": customer.get("balance") or 0,
        "statement_descriptor": None, "status": "draft",
        "status_transitions": {"finalized_at": None, "marked_uncollectible_at": None, "paid_at": None, "voided_at": None},
        "subtotal": 0, "subtotal_excluding_tax": 0, "test_clock": None, "threshold_reason": None, "total": 0,
        "total_discount_amounts": [], "total_excluding_tax": 0, "total_pretax_credit_amounts": [], "total_taxes": [],
        "webhooks_delivered_at": None, **head,
    }  # fmt: skip
    for place in ("lines", "payments"):
        invoice[place]["url"] = f"/v1/invoices/{invoice['id']}/{place}"
    notes(account, "days")[invoice["id"]] = days
    if invoice["auto_advance"] and not hold:
        invoice["automatically_finalizes_at"] = invoice["automatically_finalizes_at"] or now + HOUR
        wake(account, "finalize", invoice["id"], invoice["automatically_finalizes_at"])
    put(account, "invoice", invoice, ["customer"])
    if (subscription := subscription_of(invoice)) is not None:
        index(account, "invoice", "subscription", subscription)[invoice["id"]] = None
    add(account, invoice, drafts)
    account.emit("invoice.created", invoice)
    return invoice


def subscription_of(invoice: Data) -> str | None:
    """Return the subscription behind an invoice."""
    found: str | None = ((invoice["parent"] or {}).get("subscription_details") or {}).get("subscription")
    return found


def add(account: Account, invoice: Data, drafts: Sequence[Draft]) -> None:
    """Put lines on a draft and count it anew."""
    lines = invoice["lines"]["data"]
    for draft in (part for whole in drafts for part in by_step(whole)):
        line = line_from(account, invoice, draft)
        lines.append(line)
        if draft.invoice_item is not None:
            item = account.kind("invoiceitem")[draft.invoice_item]
            item["invoice"] = invoice["id"]
            index(account, "invoiceitem", "invoice", invoice["id"])[item["id"]] = None
            index(account, "pending", "customer", invoice["customer"]).pop(item["id"], None)
        debited(account, invoice, line)
    total(account, invoice)
    discounts.spend(account, [one["discount"] for one in invoice["total_discount_amounts"]], invoice["id"])


def debited(account: Account, invoice: Data, line: Data) -> None:
    """Remember what a subscription item was charged, as flexible credits take back what was really debited."""
    details = line["parent"]["subscription_item_details"]
    if details is not None and line["amount"] > 0 and not details["proration"]:
        held = notes(account, "debits").setdefault(details["subscription_item"], [])
        held.append(
            {
                "invoice": invoice["id"],
                "line": line["id"],
                "start": line["period"]["start"],
                "end": line["period"]["end"],
            }
        )


def rates_of_line(account: Account, invoice: Data, line: Data) -> list[Data]:
    """Return the tax rates of a line: those that Stripe Tax finds, its own, or else the invoice's."""
    if stripe_tax.is_on(invoice):
        return stripe_tax.rates(account, invoice, line)
    ids = notes(account, "line_rates").get(line["id"])
    return list(invoice["default_tax_rates"]) if ids is None else [account.kind("tax_rate")[id_] for id_ in ids]


def total(account: Account, invoice: Data) -> None:
    """Count discounts, taxes and totals of a draft from its lines."""
    lines = invoice["lines"]["data"]
    discounts.cut(account, lines, invoice["discounts"])
    exact = [
        taxes.tax_line(line, rates_of_line(account, invoice, line), invoice["customer_tax_exempt"]) for line in lines
    ]
    if account.machine.get("tax_rounding") == "invoice" or stripe_tax.is_on(invoice):
        taxes.level(lines, exact)
    by_discount: dict[str, int] = {}
    for line in lines:
        line["pretax_credit_amounts"] = [
            {"amount": one["amount"], "discount": one["discount"], "type": "discount"}
            for one in line["discount_amounts"]
        ]
        for one in line["discount_amounts"]:
            by_discount[one["discount"]] = by_discount.get(one["discount"], 0) + one["amount"]
    wide = sum(by_discount.get(id_, 0) for id_ in invoice["discounts"])
    gross, off = sum(line["amount"] for line in lines), sum(by_discount.values())
    invoice["total_taxes"] = taxes.summed(lines)
    added = sum(tax["amount"] for tax in invoice["total_taxes"] if tax["tax_behavior"] == "exclusive")
    inside = sum(tax["amount"] for tax in invoice["total_taxes"] if tax["tax_behavior"] == "inclusive")
    invoice["total_discount_amounts"] = [{"amount": amount, "discount": id_} for id_, amount in by_discount.items()]
    invoice["total_pretax_credit_amounts"] = [
        {"amount": amount, "discount": id_, "type": "discount"} for id_, amount in by_discount.items()
    ]
    invoice["subtotal"] = gross - (off - wide)
    invoice["subtotal_excluding_tax"] = invoice["subtotal"] - inside
    invoice["total_excluding_tax"] = gross - off - inside
    invoice["total"] = gross - off + added
    stripe_tax.looked_at(account, invoice)
    settle(account, invoice)


def settle(account: Account, invoice: Data, *, is_collected: bool = True) -> int:
    """Write what is due after the customer's balance; return what the balance takes part with (negative: credit used).

    is_collected - False where collection is paused: such an invoice takes nothing of the balance.
    """
    customer = account.get("customer", invoice["customer"])
    is_same = (customer.get("currency") or invoice["currency"]) == invoice["currency"]  # a balance is not used for another currency
    balance = (customer.get("balance") or 0) if is_same else 0
    due: int = invoice["total"]
    used: int = -due if due < 0 else max(balance, -due) if is_collected else 0
    invoice["starting_balance"] = balance
    invoice["amount_due"] = max(0, due + used) if due >= 0 else 0
    invoice["amount_remaining"] = invoice["amount_due"] - invoice["amount_paid"]
    return used


def move_balance(account: Account, customer: Data, amount: int, type_: str, **about: Any) -> str:
    """Add to a customer's balance (negative: credit) and keep the transaction; return its id."""
    customer["balance"] = (customer.get("balance") or 0) + amount
    made_: Data = {
        "id": account.new_id("cbtxn"), "object": "customer_balance_transaction", "amount": amount, "checkout_session": None,
        "created": account.now(), "credit_note": None, "currency": customer.get("currency") or account.currency,
        "customer": customer["id"], "customer_account": None, "description": None, "ending_balance": customer["balance"],
        "invoice": None, "livemode": account.is_live, "metadata": {}, "type": type_, **about,
    }  # fmt: skip
    put(account, "customer_balance_transaction", made_, ["customer"])
    account.emit("customer.updated", customer, {"balance": customer["balance"] - amount})
    return str(made_["id"])


def number_of(account: Account, customer: Data) -> str:
    """Take the customer's next invoice number."""
    if not customer.get("invoice_prefix"):
        customer["invoice_prefix"] = "".join(char for char in customer["id"].upper() if char.isalnum())[-8:]
    number = customer.get("next_invoice_sequence") or 1
    customer["next_invoice_sequence"] = number + 1
    return f"{customer['invoice_prefix']}-{number:04d}"


def fail(account: Account, invoice: Data) -> Refused | None:
    """Leave a draft that cannot be finalized, and say why; None where it can be. An invoice of a subscription goes on without tax instead."""
    error = notes(account, "cannot_finalize").get(invoice["customer"])
    if error is None and invoice["automatic_tax"]["status"] == "requires_location_inputs" and stripe_tax.is_on(invoice):
        subscription = account.kind("subscription").get(subscription_of(invoice) or "")
        if subscription is not None:
            stripe_tax.switched_off(account, invoice, subscription)
            total(account, invoice)
            return None
        error = {"code": stripe_tax.UNKNOWN_PLACE, "message": stripe_tax.NOT_RECOGNIZED}
    if error is None:
        return None
    invoice["last_finalization_error"] = {"type": "invalid_request_error", **error}
    account.emit("invoice.finalization_failed", invoice)
    return Refused(error["message"], code=error["code"])


def finalized(account: Account, invoice: Data, *, is_collected: bool = True) -> None:
    """Make a draft final: number, links, balance (where it *is_collected*), due date. Nothing to pay is paid at once."""
    if invoice["status"] != "draft":
        raise Refused("This invoice is already finalized, you can't re-finalize a non-draft invoice.")
    if not invoice["lines"]["data"] and not subscription_of(invoice) and invoice["billing_reason"] != "manual":
        raise Refused("This invoice has no line items.", code="invoice_no_customer_line_items")
    if stripe_tax.is_on(invoice):
        total(account, invoice)  # the tax of this moment
    why_not = fail(account, invoice) if invoice["status"] == "draft" else None
    if why_not is not None:
        raise why_not
    invoice["last_finalization_error"] = None
    customer, now = account.get("customer", invoice["customer"]), account.now()
    used = settle(account, invoice, is_collected=is_collected)
    if used:
        kind = "applied_to_invoice"
        move_balance(account, customer, -used, kind, invoice=invoice["id"], currency=invoice["currency"])
    secret = invoice["id"].removeprefix("in_")
    page = f"{account.machine.get('page', PAGE)}/i/{account.id}/{'live' if account.is_live else 'test'}_{secret}"
    days = notes(account, "days").get(invoice["id"])
    if invoice["collection_method"] == "send_invoice" and days is not None:
        invoice["due_date"] = now + days * DAY
    invoice.update(
        number=invoice["number"] or number_of(account, customer), status="open", hosted_invoice_url=page, invoice_pdf=f"{page}/pdf",
        effective_at=invoice["effective_at"] or now, ending_balance=customer.get("balance") or 0, automatically_finalizes_at=None,
    )  # fmt: skip
    invoice["status_transitions"]["finalized_at"] = now
    _use_up(account, invoice)
    index(account, "open", "customer", customer["id"])[invoice["id"]] = None
    account.emit("invoice.finalized", invoice)
    if invoice["amount_due"] == 0:
        mark_paid(account, invoice)
    elif invoice["due_date"] is not None:
        wake(account, "overdue", invoice["id"], invoice["due_date"])
        wake(account, "will_be_due", invoice["id"], max(now, invoice["due_date"] - WARN_DAYS * DAY))


def _use_up(account: Account, invoice: Data) -> None:
    """Take the discounts that work once off their subscription and items."""
    subscription = account.kind("subscription").get(subscription_of(invoice) or "")
    if subscription is None:
        return
    where = notes(account, "spent")
    spent = {
        one["discount"] for one in invoice["total_discount_amounts"] if where.get(one["discount"]) == invoice["id"]
    }
    for holder in (subscription, *subscription["items"]["data"]):
        if spent.intersection(holder["discounts"]):
            holder["discounts"] = [id_ for id_ in holder["discounts"] if id_ not in spent]


def mark_paid(account: Account, invoice: Data) -> None:
    """Close an invoice whose amount is covered."""
    invoice.update(status="paid", amount_remaining=0, next_payment_attempt=None, auto_advance=False)
    invoice["status_transitions"]["paid_at"] = account.now()
    index(account, "open", "customer", invoice["customer"]).pop(invoice["id"], None)
    account.emit("invoice.paid", invoice)
    account.emit("invoice.payment_succeeded", invoice)
    for told in SETTLED:
        told(account, invoice)


_NOT_CLOSED = {
    ("paid", "void"): "Invoices with `paid` payments cannot be voided.",
    ("uncollectible", "uncollectible"): "This invoice has already been marked uncollectible.",
}


def closed(account: Account, invoice: Data, status: str) -> None:
    """Void or give up an open invoice. One that was given up cannot be voided: the documentation lets it be, recorded answers of Stripe do not."""
    if invoice["status"] != "open":
        raise Refused(_NOT_CLOSED.get((invoice["status"], status), "You can only pass in open invoices. This invoice isn't open."))
    before, now = invoice["status"], account.now()
    invoice.update(status=status, auto_advance=False, next_payment_attempt=None)
    name = "voided" if status == "void" else "marked_uncollectible"
    invoice["status_transitions"][f"{name}_at"] = now
    index(account, "open", "customer", invoice["customer"]).pop(invoice["id"], None)
    if status == "void":
        applied = (invoice["ending_balance"] or 0) - invoice["starting_balance"]
        if applied and invoice["total"] > 0:
            customer = account.get("customer", invoice["customer"])
            move_balance(
                account,
                customer,
                -applied,
                "unapplied_from_invoice",
                invoice=invoice["id"],
                currency=invoice["currency"],
            )
    account.emit(f"invoice.{name}", invoice, {"status": before})
    for told in SETTLED:
        told(account, invoice)
