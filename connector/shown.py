"""What stands behind the link of an invoice or credit note: our page and PDF, or the way to those of Stripe where it has issued it.

Stripe's links expire (30 days after the due date); they are fetched anew as invoices are read back, and once there is none that
holds, the books' own copy is shown: the same lines and sums.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

from connector import app, papers
from connector.billing import books, note_sheets
from connector.billing.note_sheets import NoteSheet
from connector.billing.stripe_backend.reading.links import Links, links_of
from connector.documents.views import InvoicePage
from connector.web.views import Hosted, Pdf


def page(house: app.House, token: str) -> InvoicePage | Hosted | None:
    """Return what the link leads to, None for a wrong one."""
    sheet = _sheet(house, token)
    if sheet is None:
        return None
    if isinstance(sheet, NoteSheet):
        return papers.note_page(sheet, house.config)
    address = _links(house, sheet.id).page
    return Hosted(url=address) if address else papers.invoice_page(sheet, house.config)


def document(house: app.House, token: str) -> Pdf | Hosted | None:
    """Return the document behind the link as PDF, None for a wrong one."""
    sheet = _sheet(house, token)
    if sheet is None:
        return None
    address = _links(house, token[: note_sheets.TOKEN_ID] if isinstance(sheet, NoteSheet) else sheet.id).pdf
    if address:
        return Hosted(url=address)
    content = papers.note_pdf(sheet, house.config) if isinstance(sheet, NoteSheet) else papers.invoice_pdf(sheet, house.config)
    return Pdf(name=papers.file_name(sheet), content=content)


def _sheet(house: app.House, token: str) -> books.InvoiceSheet | NoteSheet | None:
    with house.database.read() as unit:
        note = note_sheets.note_by_token(unit, token) if token.startswith("cn_") else None
        if note is not None:
            return note
        return books.invoice_by_token(unit, token, house.clock.now().astimezone(ZoneInfo(house.config.timezone)).date())


def _links(house: app.House, document_id: str) -> Links:
    if house.config.billing.backend != "stripe":
        return Links()
    with house.database.read() as unit:
        return links_of(unit, document_id, house.clock.now())
