"""What a push touched at Stripe, fetched whole, so that the books know it at once and not only when the events come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from connector.billing.stripe_backend import settling
from connector.billing.stripe_backend.refusals import Refusal
from connector.billing.stripe_backend.steps import Calls, Push

MOST_LINES = 10_000
Data = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """Invoices with all their lines, and credit notes, as Stripe shows them now."""

    invoices: tuple[Data, ...] = ()
    notes: tuple[Data, ...] = ()


def touched(calls: Calls, push: Push) -> Touched:
    """Return what the steps of a push touched. Raises: RetryableError where Stripe cannot be asked."""
    invoices, subscriptions, notes = settling.to_read(push)
    wanted = dict.fromkeys(invoices)
    for subscription in subscriptions:
        latest = _id_of(calls.do("subscriptions.retrieve", {}, target=subscription).get("latest_invoice"))
        wanted |= {latest: None} if latest else {}
    return Touched(invoices=tuple(whole_invoices(calls, wanted)), notes=tuple(calls.do("credit_notes.retrieve", {}, target=n) for n in notes))


def whole_invoices(calls: Calls, ids: Iterable[str]) -> list[Data]:
    """Return invoices with all their lines; those that were deleted are left out."""
    found = []
    for invoice_id in ids:
        try:
            found.append(whole_invoice(calls, invoice_id))
        except Refusal as refusal:
            if refusal.code != "resource_missing":
                raise
    return found


def whole_invoice(calls: Calls, invoice_id: str) -> Data:
    """Return an invoice with all its lines: by itself it shows ten."""
    invoice = calls.do("invoices.retrieve", {}, target=invoice_id)
    lines = invoice.get("lines") or {}
    if lines.get("has_more"):
        data = calls.listed("invoices.line_items.list", {}, target=invoice_id, limit=MOST_LINES)
        invoice = {**invoice, "lines": {**lines, "data": data, "has_more": False}}
    return invoice


def _id_of(value: Any) -> str:
    return str(value.get("id") if isinstance(value, dict) else value or "")
