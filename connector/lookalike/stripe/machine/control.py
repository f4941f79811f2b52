"""What people do at Stripe beside the API: the customer pays on the hosted page or disputes, somebody works in the Dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.machine import (
    disputes,
    invoice_calls,
    invoices,
    items,
    payments,
    refunding,
    subscription_calls,
)


def pay(account: Account, invoice: str, *, last4: str = "4242") -> Data:
    """Pay an open invoice as its customer, with a card that ends as said; a failing card leaves it open."""
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
    payments.pay(account, held, method, is_automatic=False)
    return held


def dispute(account: Account, invoice: str, *, amount: int | None = None, reason: str = "fraudulent") -> Data:
    """Dispute the charge of a paid invoice."""
    return disputes.opened(account, refunding.charge_of(account, account.get("invoice", invoice)), amount, reason)


def close_dispute(account: Account, dispute_: str, *, is_won: bool) -> Data:
    """End a dispute."""
    return disputes.closed(account, account.get("dispute", dispute_), is_won=is_won)


def refund(account: Account, invoice: str, *, amount: int | None = None) -> Data:
    """Refund what was paid for an invoice, in the Dashboard: no credit note comes with it."""
    return refunding.refunded(account, refunding.charge_of(account, account.get("invoice", invoice)), amount, {})


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
