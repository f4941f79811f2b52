"""Documents as PDF/A-3b: the values of the page, set by typst on A4.

Texts reach the template as one JSON value and are printed as they stand: nothing a customer or a rep writes is read as markup.
The same values give the same bytes, so that a document that is asked for again is the same document. A page takes about a
millisecond once the fonts are loaded, which happens once a process and takes a few tenths of a second.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import typst

from connector.documents.texts import known_language, texts_in
from connector.documents.views import InvoicePage, QuotePage, Total

TEMPLATE = Path(__file__).with_name("document.typ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What a PDF has besides the page's values: its *heading*, *status* in words, more *facts* (label, value) and *notes*.

    day - of issue; it stands in the file's properties. shows_due - whether what is open is part of it. sums - rows that stand in
    place of the invoice's totals.
    """

    heading: str
    status: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    day: date
    shows_due: bool = True
    sums: tuple[Total, ...] = ()


def invoice_pdf(page: InvoicePage, day: date) -> bytes:
    """Return an invoice as PDF/A-3b; *day* is its day of issue."""
    words = texts_in(page.language)
    notes = {"draft": (words["draft_note"],), "void": (words["void_note"],)}.get(page.status, ())
    sheet = Sheet(
        heading=words["invoice"] if page.number else words["draft_invoice"],
        status=words[f"status_{page.status}"],
        notes=notes,
        day=day,
        shows_due=page.is_claim,
    )
    return document_pdf(page, sheet)


def quote_pdf(page: QuotePage, day: date) -> bytes:
    """Return a quote as PDF/A-3b; *day* is when it was opened."""
    words = texts_in(page.language)
    notes = (page.note,) if page.note else ()
    sheet = Sheet(heading=words["quote"], status=page.status_text, facts=page.facts, notes=notes, day=day, shows_due=False, sums=page.sums)
    return document_pdf(page.sheet, sheet)


def document_pdf(page: InvoicePage, sheet: Sheet) -> bytes:
    """Return a document as PDF/A-3b."""
    data = {
        "page": asdict(page),
        "words": dict(texts_in(page.language)),
        "language": known_language(page.language),
        "heading": sheet.heading,
        "status": sheet.status,
        "facts": sheet.facts,
        "notes": sheet.notes,
        "sums": [asdict(s) for s in sheet.sums],
        "due": page.due if sheet.shows_due else "",
        "bank": asdict(page.bank) if page.bank and page.is_payable else None,
        "has_quantities": page.has_quantities,
        "has_discounts": page.has_discounts,
        "has_taxes": page.has_taxes,
    }
    return _set(data, datetime(sheet.day.year, sheet.day.month, sheet.day.day, tzinfo=UTC))


@cache
def _fonts() -> typst.Fonts:
    return typst.Fonts()


def _set(data: Mapping[str, object], at: datetime) -> bytes:
    """Run the template over the values."""
    made = typst.compile(
        str(TEMPLATE),
        format="pdf",
        font_paths=_fonts(),
        sys_inputs={"data": json.dumps(data, ensure_ascii=False)},
        pdf_standards=["a-3b"],
        timestamp=int(at.timestamp()),
    )
    assert isinstance(made, bytes)
    return made
