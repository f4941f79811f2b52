"""Links of hosted invoice pages, fetched anew before they expire.

A link holds until 30 days after the due date; one that is fetched later at least 10 days (docs.stripe.com/invoicing/hosted-invoice-page).
What is still to be paid keeps a link that works; of what is settled or void the CRM shows the books' own page once Stripe's has expired.

Back of the envelope: an open invoice is asked for about once in 7 days after its link came near its end; 50 a pass at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connector.billing import desk, store
from connector.billing.stripe_backend.lookup import standing
from connector.billing.stripe_backend.steps import Calls
from connector.ports import InvoiceView, Standing, Unit

AHEAD = timedelta(days=3)
LIVES, FETCHED_LIVES = timedelta(days=30), timedelta(days=10)
AT_ONCE = 50
_PAYABLE = ("open", "uncollectible")


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


def refreshed(database: Any, calls: Calls, now: datetime, tell: Callable[[Unit, Sequence[str]], None]) -> int:
    """Fetch links anew that expire soon, and drop those of settled invoices; tell the deals. Return how many were looked at.

    Raises: what *calls* raises; what was fetched before is kept.
    """
    with database.read() as unit:
        rows = unit.query(
            "SELECT s.invoice_id, s.stripe_id, i.status, i.number FROM stripe_invoice s JOIN invoice i ON i.id = s.invoice_id"
            " WHERE s.url_until <= ? AND s.url <> '' ORDER BY s.url_until LIMIT ?",
            (store.at_text(now + AHEAD), AT_ONCE),
        )
    for invoice_id, stripe_id, status, number in rows:
        links: tuple[str, str, str | None] = ("", "", None)
        if status in _PAYABLE:
            found = standing(calls, "invoices", stripe_id)
            if found is not None:  # else somebody deleted the test data of the account
                links = (found.get("hosted_invoice_url") or "", found.get("invoice_pdf") or "", store.at_text(until(found, now)))
        with database.transaction() as unit:
            held = desk.held(unit, number)
            unit.execute("UPDATE stripe_invoice SET url = ?, pdf = ?, url_until = ? WHERE invoice_id = ?", (*links, invoice_id))
            tell(unit, list(desk.deals_to_tell(unit, held)))
    return len(rows)


def with_links(unit: Unit, views: Sequence[InvoiceView]) -> list[InvoiceView]:
    """Return invoices with the address of their page at Stripe, where it has one that still holds."""
    ids = sorted({view.id for view in views})
    urls: dict[str, str] = {}
    for start in range(0, len(ids), store.READ_ROWS):
        batch = ids[start : start + store.READ_ROWS]
        sql = f"SELECT invoice_id, url FROM stripe_invoice WHERE invoice_id IN ({','.join('?' * len(batch))}) AND url <> ''"
        urls |= {str(row[0]): str(row[1]) for row in unit.query(sql, batch)}
    return [replace(view, url=urls[view.id]) if view.id in urls else view for view in views]


def standings_with_links(unit: Unit, standings: Mapping[str, Standing]) -> dict[str, Standing]:
    """Return standings whose last invoice leads to its page at Stripe."""
    last = {deal: standing.last for deal, standing in standings.items() if standing.last is not None}
    linked = dict(zip(last, with_links(unit, list(last.values())), strict=True))
    return {deal: replace(standing, last=linked[deal]) if deal in linked else standing for deal, standing in standings.items()}


def until(invoice: Any, now: datetime) -> datetime:
    """Return when the links of an invoice just fetched may end."""
    from_ = invoice.get("due_date") or invoice["status_transitions"].get("finalized_at") or invoice["created"]
    return max(datetime.fromtimestamp(from_, UTC) + LIVES, now + FETCHED_LIVES)
