"""Payment of invoices: by the customer's card, by somebody outside, again after a failure.

A card whose number ends as one of Stripe's failing test cards is declined; every other pays. Automatic tries follow after 3, 5 and
7 days (a setting of the Dashboard at Stripe). Source: docs.stripe.com/testing, docs.stripe.com/billing/revenue-recovery/smart-retries.
"""

from __future__ import annotations

from typing import Any

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.machine import invoices, records
from connector.lookalike.stripe.machine.keeping import SETTLED, falls_due, put, wake
from connector.lookalike.stripe.machine.times import DAY, HOUR

DECLINES = {
    "0341": ("card_declined", "generic_decline", "Your card was declined."),
    "0002": ("card_declined", "generic_decline", "Your card was declined."),
    "9995": ("card_declined", "insufficient_funds", "Your card has insufficient funds."),
    "0069": ("expired_card", "expired_card", "Your card has expired."),
}
NEEDS_ACTION = "3184"
RETRY_DAYS = (3, 5, 7)


def method_of(account: Account, invoice: Data, given: str | None = None) -> Data | None:
    """Return the payment method that an invoice is collected with: given, its own, the subscription's, the customer's."""
    subscription = account.kind("subscription").get(invoices.subscription_of(invoice) or "") or {}
    customer = account.get("customer", invoice["customer"])
    named = (
        given
        or invoice["default_payment_method"]
        or subscription.get("default_payment_method")
        or (customer.get("invoice_settings") or {}).get("default_payment_method")
        or customer.get("default_source")
    )
    return account.get("payment_method", named, param="payment_method") if named else None


def pay(account: Account, invoice: Data, method: Data | None, *, is_automatic: bool) -> bool:
    """Try to collect an open invoice; return whether it is paid. A failure stands on the invoice, with the next try."""
    invoice["attempted"] = True
    if invoice["attempt_count"] == 0 or is_automatic:
        invoice["attempt_count"] += 1
    amount = invoice["amount_remaining"]
    failure = _failure(method)
    intent = _intent(account, invoice, method, amount)
    if failure is None:
        charge = _charge(account, invoice, intent, None)
        intent.update(status="succeeded", amount_received=amount, latest_charge=charge["id"])
        account.emit("payment_intent.succeeded", intent)
        account.emit("charge.succeeded", charge)
        _record(
            account,
            invoice,
            amount,
            {"payment_intent": intent["id"], "charge": None, "payment_record": None, "type": "payment_intent"},
        )
        invoice["amount_paid"] += amount
        invoices.mark_paid(account, invoice)
        return True
    code, decline, message = failure
    if code == "invoice_payment_intent_requires_action":
        intent.update(status="requires_action", next_action={"type": "use_stripe_sdk"})
        account.emit("payment_intent.requires_action", intent)
        account.emit("invoice.payment_action_required", invoice)
    elif method is not None:
        charge = _charge(account, invoice, intent, failure)
        intent.update(status="requires_payment_method", latest_charge=charge["id"])
        intent["last_payment_error"] = {"code": code, "decline_code": decline, "message": message, "type": "card_error"}
        account.emit("payment_intent.payment_failed", intent)
        account.emit("charge.failed", charge)
    _plan_retry(account, invoice, is_automatic=is_automatic)
    account.emit("invoice.payment_failed", invoice)
    for told in SETTLED:
        told(account, invoice)
    return False


def _plan_retry(account: Account, invoice: Data, *, is_automatic: bool) -> None:
    """Set the next automatic try; after the last there is none."""
    tries = invoice["attempt_count"]
    if invoice["collection_method"] != "charge_automatically" or not invoice["auto_advance"] or tries > len(RETRY_DAYS):
        invoice["next_payment_attempt"] = None
    elif is_automatic or invoice["next_payment_attempt"] is None:
        invoice["next_payment_attempt"] = account.now() + RETRY_DAYS[tries - 1] * DAY
        wake(account, "collect", invoice["id"], invoice["next_payment_attempt"])


def _failure(method: Data | None) -> tuple[str, str, str] | None:
    """Return why a payment method does not pay: code, decline code, message."""
    if method is None:
        return ("missing", "", "This customer has no attached payment source or default payment method.")
    last4 = (method.get("card") or {}).get("last4", "")
    if last4 == NEEDS_ACTION:
        return (
            "invoice_payment_intent_requires_action",
            "",
            "This payment requires additional user action before it can be completed.",
        )
    return DECLINES.get(last4)


def _intent(account: Account, invoice: Data, method: Data | None, amount: int) -> Data:
    """Return the payment intent of an invoice, made with its first try."""
    for held in invoice["payments"]["data"]:
        if held["status"] == "open":
            intent = account.get("payment_intent", held["payment"]["payment_intent"])
            intent.update(payment_method=method and method["id"], amount=amount)
            held["amount_requested"] = amount  # the default payment keeps up with what is left
            return intent
    id_ = account.new_id("pi")
    intent = {
        "id": id_, "object": "payment_intent", "amount": amount, "amount_capturable": 0, "amount_received": 0, "canceled_at": None,
        "capture_method": "automatic", "client_secret": f"{id_}_secret", "created": account.now(), "currency": invoice["currency"],
        "customer": invoice["customer"], "description": "Payment for Invoice", "last_payment_error": None, "latest_charge": None,
        "livemode": account.is_live, "metadata": {}, "next_action": None, "payment_method": method and method["id"],
        "payment_method_types": ["card"], "receipt_email": None, "setup_future_usage": None, "status": "requires_payment_method",
    }  # fmt: skip
    put(account, "payment_intent", intent, ["customer"])
    _record(
        account,
        invoice,
        None,
        {"payment_intent": id_, "charge": None, "payment_record": None, "type": "payment_intent"},
        amount,
    )
    return intent


def _record(account: Account, invoice: Data, paid: int | None, payment: Data, asked: int = 0) -> Data:
    """Write an `invoice_payment`: opened with the first try, closed when it is paid."""
    now = account.now()
    for held in invoice["payments"]["data"]:
        if held["status"] == "open" and paid is not None:
            held.update(amount_paid=paid, status="paid", payment=payment)
            held["status_transitions"]["paid_at"] = now
            account.emit("invoice_payment.paid", held)
            return dict(held)
    made: Data = {
        "id": account.new_id("inpay"), "object": "invoice_payment", "amount_paid": paid, "amount_requested": paid or asked, "created": now,
        "currency": invoice["currency"], "invoice": invoice["id"], "is_default": True, "livemode": account.is_live, "payment": payment,
        "status": "open" if paid is None else "paid", "status_transitions": {"canceled_at": None, "paid_at": now if paid is not None else None},
    }  # fmt: skip
    put(account, "invoice_payment", made, ["invoice"])
    invoice["payments"]["data"].append(made)
    if paid is not None:
        account.emit("invoice_payment.paid", made)
    return made


def _charge(account: Account, invoice: Data, intent: Data, failure: tuple[str, str, str] | None) -> Data:
    """Make the charge of one try."""
    method = account.kind("payment_method").get(intent["payment_method"] or "") or {}
    id_ = account.new_id("ch")
    made: Data = {
        "id": id_, "object": "charge", "amount": intent["amount"], "amount_captured": 0 if failure else intent["amount"],
        "amount_refunded": 0, "balance_transaction": None, "billing_details": method.get("billing_details"), "captured": failure is None,
        "created": account.now(), "currency": invoice["currency"], "customer": invoice["customer"], "description": "Payment for Invoice",
        "disputed": False, "failure_code": failure and failure[0], "failure_message": failure and failure[2], "livemode": account.is_live,
        "metadata": {}, "outcome": {"network_decline_code": None, "reason": failure and failure[1], "type": "issuer_declined" if failure else "authorized"},
        "paid": failure is None, "payment_intent": intent["id"], "payment_method": intent["payment_method"],
        "payment_method_details": {"type": method.get("type", "card"), "card": method.get("card")}, "receipt_email": None,
        "receipt_number": None, "receipt_url": None, "refunded": False, "status": "failed" if failure else "succeeded",
    }  # fmt: skip
    return put(account, "charge", made, ["customer", "payment_intent"])


def paid_outside(account: Account, invoice: Data, amount: int | None = None) -> None:
    """Close an invoice that was paid some other way; nothing was charged."""
    amount = invoice["amount_remaining"] if amount is None else amount
    invoice["attempted"] = True
    record = records.made(account, amount, invoice["currency"], account.now(), {})
    made = {"payment_intent": None, "charge": None, "payment_record": record["id"], "type": "payment_record"}
    _record(account, invoice, amount, made)
    invoice["amount_paid"] += amount
    invoice["amount_paid_off_stripe"] = (invoice["amount_paid_off_stripe"] or 0) + amount
    invoices.mark_paid(account, invoice)


def pay_part(account: Account, invoice: Data, amount: int, method: Data) -> None:
    """Take a part of what is open from the customer's card: a payment of its own beside the default one."""
    id_ = account.new_id("pi")
    intent = put(account, "payment_intent", {
        "id": id_, "object": "payment_intent", "amount": amount, "amount_received": amount, "created": account.now(), "currency": invoice["currency"],
        "customer": invoice["customer"], "last_payment_error": None, "latest_charge": None, "livemode": account.is_live, "metadata": {},
        "payment_method": method["id"], "status": "succeeded",
    }, ["customer"])  # fmt: skip
    charge = _charge(account, invoice, intent, None)
    intent["latest_charge"] = charge["id"]
    account.emit("charge.succeeded", charge)
    attach(account, invoice, amount, {"payment_intent": id_, "charge": None, "payment_record": None, "type": "payment_intent"})


def attach(account: Account, invoice: Data, amount: int, payment: Data) -> None:
    """Credit a payment to an invoice: a part leaves it open, what is too much goes to the customer's balance."""
    now = account.now()
    made: Data = {
        "id": account.new_id("inpay"), "object": "invoice_payment", "amount_paid": amount, "amount_requested": amount, "created": now,
        "currency": invoice["currency"], "invoice": invoice["id"], "is_default": False, "livemode": account.is_live, "payment": payment,
        "status": "paid", "status_transitions": {"canceled_at": None, "paid_at": now},
    }  # fmt: skip
    put(account, "invoice_payment", made, ["invoice"])
    invoice["payments"]["data"].append(made)
    over = max(0, amount - invoice["amount_remaining"])
    invoice["amount_paid"] += amount
    invoice["amount_remaining"] -= amount - over
    invoice["amount_overpaid"] += over
    if payment["type"] == "payment_record":
        invoice["amount_paid_off_stripe"] = (invoice["amount_paid_off_stripe"] or 0) + amount
    account.emit("invoice_payment.paid", made)
    if over:
        customer = account.get("customer", invoice["customer"])
        invoices.move_balance(account, customer, -over, "invoice_overpaid", invoice=invoice["id"], currency=invoice["currency"])
    if invoice["amount_remaining"] == 0:
        invoices.mark_paid(account, invoice)


def would_pay(method: Data | None) -> bool:
    """Whether a charge of this payment method goes through."""
    return _failure(method) is None


def refuse_failed(method: Data | None) -> None:
    """Answer a request to pay that failed. Raises: Refused (402)."""
    failure = _failure(method)
    assert failure is not None
    code, decline, message = failure
    if code == "missing":
        raise Refused(message, code="resource_missing", param="payment_method")
    more: dict[str, Any] = {"decline_code": decline} if decline else {}
    kind = "card_error" if decline else "invalid_request_error"
    raise Refused(message, status=402, kind=kind, code=code, charge=None, payment_intent=None, **more)


@falls_due("collect", 40)
def collect(account: Account, id_: str, at: int) -> None:
    """Try an open invoice when its next try is due."""
    invoice = account.kind("invoice").get(id_)
    if invoice is None or invoice["status"] != "open" or invoice["next_payment_attempt"] is None:
        return
    if invoice["auto_advance"] and invoice["next_payment_attempt"] <= at:
        pay(account, invoice, method_of(account, invoice), is_automatic=True)


@falls_due("finalize", 30)
def finalize_due(account: Account, id_: str, at: int) -> None:
    """Finalize a draft whose hour has passed, and collect it or send it."""
    invoice = account.kind("invoice").get(id_)
    if (
        invoice is None
        or invoice["status"] != "draft"
        or not invoice["auto_advance"]
        or (invoice["automatically_finalizes_at"] or at + 1) > at
    ):
        return
    advance(account, invoice)


_GIVEN_UP = ("void", "mark_uncollectible")
"""How collection may be paused so that nobody owes an invoice: then the customer's balance stays as it is."""


def advance(account: Account, invoice: Data) -> None:
    """Finalize a draft and go on with it at once: collect, send, or end it as a paused subscription says."""
    subscription = account.kind("subscription").get(invoices.subscription_of(invoice) or "") or {}
    pause = (subscription.get("pause_collection") or {}).get("behavior")
    try:
        invoices.finalized(account, invoice, is_collected=pause not in _GIVEN_UP)
    except Refused:
        return  # it stays a draft, and an event told why
    if invoice["status"] != "open":
        return
    if pause in _GIVEN_UP:
        invoices.closed(account, invoice, "void" if pause == "void" else "uncollectible")
    elif invoice["collection_method"] == "charge_automatically":
        pay(account, invoice, method_of(account, invoice), is_automatic=True)
    else:
        account.emit("invoice.sent", invoice)


def collect_later(account: Account, invoice: Data) -> None:
    """Plan the first automatic try of an invoice that a request finalized: about an hour later."""
    if (
        invoice["status"] == "open"
        and invoice["auto_advance"]
        and invoice["collection_method"] == "charge_automatically"
    ):
        invoice["next_payment_attempt"] = account.now() + HOUR
        wake(account, "collect", invoice["id"], invoice["next_payment_attempt"])


@falls_due("overdue", 50)
def overdue(account: Account, id_: str, at: int) -> None:
    """Tell that an open invoice was not paid in time."""
    invoice = account.kind("invoice").get(id_)
    if (
        invoice is not None
        and invoice["status"] == "open"
        and invoice["due_date"] is not None
        and invoice["due_date"] <= at
    ):
        account.emit("invoice.overdue", invoice)
        for told in SETTLED:
            told(account, invoice)


@falls_due("will_be_due", 50)
def will_be_due(account: Account, id_: str, at: int) -> None:
    """Tell that an open invoice falls due soon."""
    invoice = account.kind("invoice").get(id_)
    if (
        invoice is not None
        and invoice["status"] == "open"
        and invoice["due_date"] is not None
        and invoice["due_date"] > at
    ):
        account.emit("invoice.will_be_due", invoice)
