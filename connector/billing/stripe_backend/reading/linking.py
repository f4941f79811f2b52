"""The links of an invoice at Stripe, kept as they were read last; `links` asks for them anew before they expire."""

from __future__ import annotations

from datetime import datetime

from connector.billing import store
from connector.billing.stripe_backend.reading.links import until
from connector.billing.stripe_backend.reading.picked import Data
from connector.ports import Unit


def save(unit: Unit, invoice_id: str, invoice: Data, now: datetime) -> bool:
    """Keep the links of an invoice just asked for; return whether the page has another address than before."""
    url, pdf = str(invoice.get("hosted_invoice_url") or ""), str(invoice.get("invoice_pdf") or "")
    rows = unit.query("SELECT url FROM stripe_invoice WHERE invoice_id = ?", (invoice_id,))
    at = store.at_text(until(invoice, now)) if url else None
    unit.execute(
        "INSERT INTO stripe_invoice (invoice_id, stripe_id, url, pdf, url_until, charge, dispute) VALUES (?,?,?,?,?,'','')"
        " ON CONFLICT (invoice_id) DO UPDATE SET url = excluded.url, pdf = excluded.pdf, url_until = excluded.url_until",
        (invoice_id, str(invoice["id"]), url, pdf, at),
    )
    return bool(rows) and rows[0][0] != url
