"""Objects of Stripe fetched whole, as reading needs them: what a push touched at once, whatever else when its events come."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from connector.billing.stripe_backend import settling
from connector.billing.stripe_backend.refusals import Refusal
from connector.billing.stripe_backend.steps import Calls, Push
from connector.errors import HaltError

MOST_LINES = 10_000
MOST_NOTES = 1_000
MOST_ITEMS = 500
MOST_PAYMENTS = 1_000
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
    """Return an invoice with all its lines and payments (by itself it shows some of either) and its credit notes, where it has any.

    with_refunds - also the refunds of its payments, and its notes though none of them counts any more.
    """
    invoice = calls.do("invoices.retrieve", {"expand": ["payments.data.payment.payment_intent"]}, target=invoice_id)
    lines, paid = invoice.get("lines") or {}, invoice.get("payments") or {}
    if lines.get("has_more"):
        data = calls.listed("invoices.line_items.list", {}, target=invoice_id, limit=MOST_LINES)
        invoice = {**invoice, "lines": {**lines, "data": data, "has_more": False}}
    if paid.get("has_more"):
        asked = {"invoice": invoice_id, "expand": ["data.payment.payment_intent"]}
        paid = {**paid, "data": calls.listed("invoice_payments.list", asked, limit=MOST_PAYMENTS)[::-1], "has_more": False}
    invoice = {**invoice, "payments": {**paid, "data": [_with_record(calls, payment) for payment in paid.get("data") or ()]}}
    if with_refunds or invoice.get("pre_payment_credit_notes_amount") or invoice.get("post_payment_credit_notes_amount"):
        notes = calls.listed("credit_notes.list", {"invoice": invoice_id}, limit=MOST_NOTES)
        invoice[NOTES] = [_whole_note(calls, note) for note in notes]
    if with_refunds:
        invoice[REFUNDS] = [r for asked in _paid_with(invoice) for r in calls.listed("refunds.list", asked, limit=MOST_NOTES)]
    return invoice


def _with_record(calls: Calls, payment: Data) -> Data:
    """Return a payment with what was reported of it, where its money came outside Stripe; as it is where that is not shown."""
    about = payment.get("payment") or {}
    record = about.get("payment_record")
    if not isinstance(record, str) or payment.get("status") != "paid":
        return payment
    try:
        return {**payment, "payment": {**about, "payment_record": calls.do("payment_records.retrieve", {}, target=record)}}
    except (Refusal, HaltError):  # a key without that right reads all the rest
        return payment


def whole_subscription(calls: Calls, subscription: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a subscription with all its items: by itself it may show some."""
    items = subscription.get("items") or {}
    if not items.get("has_more"):
        return subscription
    data = calls.listed("subscription_items.list", {"subscription": subscription["id"]}, limit=MOST_ITEMS)
    return {**subscription, "items": {**items, "data": data, "has_more": False}}


def _whole_note(calls: Calls, note: Data) -> Data:
    lines = note.get("lines") or {}
    if not lines.get("has_more"):
        return note
    data = calls.listed("credit_notes.line_items.list", {}, target=note["id"], limit=MOST_LINES)
    return {**note, "lines": {**lines, "data": data, "has_more": False}}


def _paid_with(invoice: Data) -> list[Data]:
    """Return what names the refunds of each payment that brought money: its intent, or its charge where it has none."""
    found = []
    for payment in (invoice.get("payments") or {}).get("data") or ():
        about = (payment.get("payment") or {}) if payment.get("status") == "paid" else {}
        intent, charge = _id_of(about.get("payment_intent")), _id_of(about.get("charge"))
        if intent or charge:
            found.append({"payment_intent": intent} if intent else {"charge": charge})
    return found


def _id_of(value: Any) -> str:
    return str(value.get("id") if isinstance(value, dict) else value or "")
