"""Where Stripe shows an invoice or credit note of the books to its customer, as it was last read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from connector.billing import store
from connector.ports import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Addresses at Stripe, "" for none: the hosted page, and the PDF."""

    page: str = ""
    pdf: str = ""


def links_of(unit: Unit, document_id: str, now: datetime) -> Links:
    """Return the links of an invoice or credit note; none once they may have expired (30 days after the due date, as documented)."""
    rows = unit.query("SELECT url, pdf, url_until FROM stripe_invoice WHERE invoice_id = ?", (document_id,))
    if not rows or (rows[0][2] is not None and rows[0][2] <= store.at_text(now)):
        return Links()
    return Links(page=rows[0][0], pdf=rows[0][1])
