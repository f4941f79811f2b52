"""What people do at Stripe beside the API: the customer pays on the hosted page or disputes, somebody works in the Dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.controls import control, number_of, text_of
from connector.lookalike.stripe.customers import GONE
from connector.lookalike.stripe.machine import (
    cycle,
    disputes,
    invoice_calls,
    invoices,
    items,
    payments,
    refunding,
    subscription_calls,
)
from connector.lookalike.stripe.machine.keeping import indexed, notes
from connector.lookalike.stripe.machine.subscriptions import ENDED


def pay(account: Account, invoice: str, *, last4: str = "4242", amount: int | None = None) -> Data:
    """Pay an open invoice as its customer, or a part of it, with a card that ends as said; a failing card leaves it open."""
    held = account.get("invoice", invoice)
    if held["status"] not in ("open", "uncollectible"):
        raise Refused(
            f"The invoice {invoice} is {held['status']}; it cannot be paid.", code="status_transition_invalid"
        )
    method: Data = {
        "id": account.new_id("pm"),
        "object": "payment_method",
        "type": "card",
        "customer": None,
        "card": {"brand": "visa", "last4": last4},
    }
    account.kind("payment_method")[method["id"]] = method
    if amount is not None and amount < held["amount_remaining"]:
        payments.pay_part(account, held, amount, method)
    else:
        payments.pay(account, held, method, is_automatic=False)
    return held


def dispute(account: Account, invoice: str, *, amount: int | None = None, reason: str = "fraudulent", charge: str = "") -> Data:
    """Dispute the charge of a paid invoice, by default the last."""
    return disputes.opened(account, _charged(account, invoice, charge), amount, reason)


def _charged(account: Account, invoice: str, charge: str) -> Data:
    return account.get("charge", charge) if charge else refunding.charge_of(account, account.get("invoice", invoice))


def close_dispute(account: Account, dispute_: str, *, is_won: bool) -> Data:
    """End a dispute."""
    return disputes.closed(account, account.get("dispute", dispute_), is_won=is_won)


def refund(account: Account, invoice: str, *, amount: int | None = None, charge: str = "") -> Data:
    """Refund what was paid for an invoice, in the Dashboard: no credit note comes with it."""
    return refunding.refunded(account, _charged(account, invoice, charge), amount, {})


def fail_refund(account: Account, refund_: str, reason: str = "expired_or_canceled_card") -> Data:
    """Let a refund fail some days after it was made."""
    return refunding.failed(account, account.get("refund", refund_), reason)


def void(account: Account, invoice: str) -> Data:
    """Void an invoice in the Dashboard."""
    held = account.get("invoice", invoice)
    invoices.closed(account, held, "void")
    return held


def mark_uncollectible(account: Account, invoice: str) -> Data:
    """Give an invoice up in the Dashboard."""
    held = account.get("invoice", invoice)
    invoices.closed(account, held, "uncollectible")
    return held


def add_invoice(
    account: Account, customer: str, *, amount: int, currency: str, description: str, days: int = 30
) -> Data:
    """Make an invoice by hand, finalized, with one line."""
    made = invoice_calls.create(
        account,
        {},
        {"customer": customer, "currency": currency, "collection_method": "send_invoice", "days_until_due": days},
    )
    items.create(
        account,
        {},
        {
            "customer": customer,
            "invoice": made["id"],
            "amount": amount,
            "currency": currency,
            "description": description,
        },
    )
    invoices.finalized(account, made)
    return made


def edit_subscription(account: Account, subscription: str, params: Mapping[str, Any]) -> Data:
    """Edit a subscription by hand: parameters as of its update."""
    return subscription_calls.update(account, {"id": subscription}, dict(params))


def cancel_subscription(account: Account, subscription: str, params: Mapping[str, Any] | None = None) -> Data:
    """Cancel a subscription by hand: parameters as of its cancellation."""
    return subscription_calls.cancel(account, {"id": subscription}, dict(params or {}))


def _gone(account: Account, customer: Data) -> None:
    """End the subscriptions of a customer who is deleted."""
    for subscription in indexed(account, "subscription", "customer", customer["id"]):
        if subscription["status"] not in ENDED:
            cycle.end(account, subscription, is_invoiced=False, is_prorated=False)


GONE.append(_gone)


def _amount(body: Data) -> int | None:
    return number_of(body, "amount") if body.get("amount") is not None else None


@control("pay")
def _pay(account: Account, body: Data) -> Data:
    """`{"invoice": "in_…"}`, optionally `"last4"` of a card that fails, and `"amount"` of a part."""
    return pay(account, text_of(body, "invoice"), last4=text_of(body, "last4") if "last4" in body else "4242", amount=_amount(body))


@control("dispute")
def _dispute(account: Account, body: Data) -> Data:
    """`{"invoice": "in_…"}`, optionally `"amount"`, `"reason"` and `"charge"`."""
    return dispute(account, text_of(body, "invoice"), amount=_amount(body), reason=body.get("reason") or "fraudulent", charge=body.get("charge") or "")


@control("dispute-closed")
def _dispute_closed(account: Account, body: Data) -> Data:
    """`{"dispute": "dp_…", "won": true}`."""
    return close_dispute(account, text_of(body, "dispute"), is_won=body.get("won") is True)


@control("refund")
def _refund(account: Account, body: Data) -> Data:
    """`{"invoice": "in_…"}`, optionally `"amount"` and `"charge"`."""
    return refund(account, text_of(body, "invoice"), amount=_amount(body), charge=body.get("charge") or "")


@control("refund-failed")
def _refund_failed(account: Account, body: Data) -> Data:
    """`{"refund": "re_…"}`, optionally `"reason"`."""
    return fail_refund(account, text_of(body, "refund"), body.get("reason") or "expired_or_canceled_card")


@control("void")
def _void(account: Account, body: Data) -> Data:
    """`{"invoice": "in_…"}`."""
    return void(account, text_of(body, "invoice"))


@control("uncollectible")
def _uncollectible(account: Account, body: Data) -> Data:
    """`{"invoice": "in_…"}`."""
    return mark_uncollectible(account, text_of(body, "invoice"))


@control("invoice")
def _invoice(account: Account, body: Data) -> Data:
    """`{"customer": "cus_…", "amount": 1000, "currency": "eur", "description": "Training"}`."""
    return add_invoice(
        account,
        text_of(body, "customer"),
        amount=number_of(body, "amount"),
        currency=text_of(body, "currency"),
        description=text_of(body, "description"),
    )


@control("subscription")
def _subscription(account: Account, body: Data) -> Data:
    """`{"subscription": "sub_…", "change": {…}}` as its update, or `"cancel": {…}` as its cancellation."""
    id_ = text_of(body, "subscription")
    if body.get("cancel") is not None:
        return cancel_subscription(account, id_, body["cancel"])
    return edit_subscription(account, id_, body.get("change") or {})


@control("finalization")
def _finalization(account: Account, body: Data) -> Data:
    """`{"customer": "cus_…", "code": "…", "message": "…"}`: its drafts cannot be finalized; without a code they can be again."""
    failing, customer = notes(account, "cannot_finalize"), text_of(body, "customer")
    failing.pop(customer, None)
    if body.get("code"):
        failing[customer] = {"code": text_of(body, "code"), "message": body.get("message") or "The invoice could not be finalized."}
    return {"customer": customer, **failing.get(customer, {})}
