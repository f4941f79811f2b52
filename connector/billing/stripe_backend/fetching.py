"""Objects of Stripe fetched whole, as reading needs them: what a push touched at once, whatever else when its events come."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from connector.billing.stripe_backend import settling
from connector.billing.stripe_backend.refusals import Refusal
from connector.billing.stripe_backend.steps import Calls, Push

MOST_LINES = 10_000
MOST_NOTES = 1_000
NOTES, REFUNDS = "connector_notes", "connector_refunds"
"""Under these names a whole invoice bears its credit notes, and the refunds of its payments where they were asked for."""
Data = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """Invoices with all their lines, payments and credit notes, as Stripe shows them now; *waiting*: prorations that wait for the next one."""

    invoices: tuple[Data, ...] = ()
    waiting: tuple[Data, ...] = ()


def touched(calls: Calls, push: Push) -> Touched:
    """Return what the steps of a push touched. Raises: RetryableError where Stripe cannot be asked."""
    invoices, subscriptions, notes = settling.to_read(push)
    wanted = dict.fromkeys(invoices)
    for subscription in subscriptions:
        latest = _id_of(calls.do("subscriptions.retrieve", {}, target=subscription).get("latest_invoice"))
        wanted |= {latest: None} if latest else {}
    return Touched(invoices=tuple(whole_invoices(calls, wanted, refunds_of=set(invoices) if notes else ())), waiting=tuple(_waiting(calls, push)))


def _waiting(calls: Calls, push: Push) -> list[Data]:
    """Return the prorations that a push let wait, and those of the same subscriptions that waited before."""
    subscriptions = settling.prorated_later(push)
    if not subscriptions:
        return []
    items = calls.listed("invoice_items.list", {"customer": push.plan.held.customer, "pending": True}, limit=MOST_LINES)
    of = [(((i.get("parent") or {}).get("subscription_details") or {}).get("subscription"), i) for i in items if i.get("proration")]
    return [item for subscription, item in of if _id_of(subscription) in subscriptions]


def whole_invoices(calls: Calls, ids: Iterable[str], refunds_of: Collection[str] = ()) -> list[Data]:
    """Return invoices, whole; those that were deleted are left out. refunds_of - those whose notes and refunds are asked for in any case."""
    found = []
    for invoice_id in ids:
        try:
            found.append(whole_invoice(calls, invoice_id, with_refunds=invoice_id in refunds_of))
        except Refusal as refusal:
            if refusal.code != "resource_missing":
                raise
    return found


def whole_invoice(calls: Calls, invoice_id: str, *, with_refunds: bool = False) -> Data:
    """Return an invoice with its payments, all its lines (by itself it shows ten) and its credit notes, where it has any.

    with_refunds - also the refunds of its payments, and its notes though none of them counts any more.
    """
    invoice = calls.do("invoices.retrieve", {"expand": ["payments.data.payment.payment_intent"]}, target=invoice_id)
    lines = invoice.get("lines") or {}
    if lines.get("has_more"):
        data = calls.listed("invoices.line_items.list", {}, target=invoice_id, limit=MOST_LINES)
        invoice = {**invoice, "lines": {**lines, "data": data, "has_more": False}}
    if with_refunds or invoice.get("pre_payment_credit_notes_amount") or invoice.get("post_payment_credit_notes_amount"):
        notes = calls.listed("credit_notes.list", {"invoice": invoice_id}, limit=MOST_NOTES)
        invoice[NOTES] = [_whole_note(calls, note) for note in notes]
    if with_refunds:
        invoice[REFUNDS] = [r for intent in _intents(invoice) for r in calls.listed("refunds.list", {"payment_intent": intent}, limit=MOST_NOTES)]
    return invoice


def _whole_note(calls: Calls, note: Data) -> Data:
    lines = note.get("lines") or {}
    if not lines.get("has_more"):
        return note
    data = calls.listed("credit_notes.line_items.list", {}, target=note["id"], limit=MOST_LINES)
    return {**note, "lines": {**lines, "data": data, "has_more": False}}


def _intents(invoice: Data) -> list[str]:
    """Return the payment intents of an invoice that brought money."""
    found = [p for p in (invoice.get("payments") or {}).get("data") or () if p.get("status") == "paid"]
    return [i for p in found if (i := _id_of((p.get("payment") or {}).get("payment_intent")))]


def _id_of(value: Any) -> str:
    return str(value.get("id") if isinstance(value, dict) else value or "")
