"""Documents of the books as their customers get them: the values of a page, and the PDF with the e-invoice inside.

Billing has the figures, documents the words and the layout; here they meet, with the seller of the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal

from connector.billing.books import InvoiceSheet, SheetLine
from connector.billing.einvoice import Issued, Seller, einvoice_xml, issued_invoice, issued_note, with_einvoice
from connector.billing.note_sheets import NoteSheet
from connector.config import Config
from connector.documents import formats, pdf
from connector.documents.texts import texts_in
from connector.documents.views import BankTransfer, InvoicePage, InvoicePageLine, InvoiceStatus, Party, TaxLine
from connector.tax.eu import is_member
from connector.tax.places import country_code

_STATUSES: Mapping[str, InvoiceStatus] = {
    "draft": "draft", "open": "open", "past_due": "past_due", "paid": "paid", "void": "void", "uncollectible": "uncollectible",
}  # fmt: skip


def file_name(sheet: InvoiceSheet | NoteSheet) -> str:
    """Return the name under which a document's PDF is saved: its number, or its id for a draft."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", sheet.number or getattr(sheet, "id", "")) + ".pdf"


def invoice_pdf(sheet: InvoiceSheet, config: Config) -> bytes:
    """Return an invoice as PDF/A-3b, with its e-invoice inside where seller and customer are in the EU."""
    page = invoice_page(sheet, config)
    made = pdf.invoice_pdf(page, sheet.issued_on)
    xml = invoice_xml(sheet, config)
    return made if xml is None else with_einvoice(made, xml, page.language)


def invoice_xml(sheet: InvoiceSheet, config: Config) -> bytes | None:
    """Return an issued invoice as EN 16931 XML; None for drafts, void ones, parties outside the EU, and an unknown VAT treatment."""
    if not sheet.number or sheet.status == "void":
        return None
    return _xml(issued_invoice(sheet), sheet.language, config)


def note_xml(sheet: NoteSheet, config: Config) -> bytes | None:
    """Return a credit note as EN 16931 XML (type 381, naming its invoice); None as for an invoice."""
    return _xml(issued_note(sheet), sheet.customer.language, config)


def _xml(issued: Issued, language: str, config: Config) -> bytes | None:
    seller, country = config.seller, country_code(issued.postal.country)
    if not seller.vat_id or not is_member(seller.country) or country is None or not is_member(country):
        return None
    issuer = Seller(
        name=seller.name, address=seller.address, country=seller.country, vat_id=seller.vat_id, email=seller.email, iban=seller.iban
    )
    return einvoice_xml(issued, issuer, country, tax_note(issued.tax_note, language or config.crm.language))


def invoice_page(sheet: InvoiceSheet, config: Config) -> InvoicePage:
    """Return an invoice as its page shows it, every amount and date written out in the customer's language."""
    language = sheet.language or config.crm.language

    def money(minor: int) -> str:
        return formats.amount_text(minor, sheet.currency, language)

    seller = config.seller
    used = sheet.ending_balance - sheet.starting_balance
    return InvoicePage(
        language=language,
        status=_STATUSES[sheet.status],
        number=sheet.number,
        seller=Party(name=seller.name, address=seller.address, email=seller.email, tax_id=seller.vat_id),
        customer=Party(name=sheet.customer, address=sheet.address, email=sheet.email, tax_id=sheet.tax_id),
        currency=sheet.currency.upper(),
        lines=tuple(_page_line(line, sheet, language) for line in sheet.lines),
        subtotal=money(sheet.subtotal),
        total=money(sheet.total),
        due=money(sheet.amount_remaining),
        issued_on=formats.date_text(sheet.issued_on, language),
        due_on=formats.date_text(sheet.due_on, language),
        paid_on=formats.date_text(sheet.paid_on, language),
        po_number=sheet.po_number,
        memo=sheet.memo,
        discount=money(-sheet.discount) if sheet.discount else "",
        taxes=_tax_lines(sheet, language, money),
        tax_note=tax_note(sheet.tax_note, language),
        balance=money(-used) if used else "",
        paid=money(sheet.amount_paid) if sheet.amount_paid else "",
        bank=BankTransfer(iban=seller.iban, holder=seller.name, reference=sheet.number) if seller.iban else None,
    )


def note_page(sheet: NoteSheet, config: Config) -> InvoicePage:
    """Return a credit note as its page shows it; its reason stands where an invoice has its memo."""
    customer, seller = sheet.customer, config.seller
    language, place = customer.language or config.crm.language, customer.address
    words = texts_in(language)

    def money(minor: int) -> str:
        return formats.amount_text(minor, sheet.currency, language)

    ways = (("reduced", sheet.reduced), ("refunded", sheet.refunded), ("credited", sheet.credited), ("out_of_band", sheet.out_of_band))
    city = " ".join(p for p in (place.postal_code, place.city) if p)
    return InvoicePage(
        language=language,
        status="issued",
        number=sheet.number,
        seller=Party(name=seller.name, address=seller.address, email=seller.email, tax_id=seller.vat_id),
        customer=Party(
            name=customer.name, email=customer.email, tax_id=customer.tax_id,
            address=tuple(p for p in (place.line1, city, place.state, place.country) if p),
        ),
        currency=sheet.currency.upper(),
        lines=tuple(
            InvoicePageLine(description=line.description, amount=money(line.amount), tax=", ".join(rate for rate, _, _ in line.taxes))
            for line in sheet.lines
        ),
        subtotal=money(sheet.subtotal),
        total=money(sheet.total),
        due="",
        issued_on=formats.date_text(sheet.issued_on, language),
        memo=sheet.reason,
        taxes=_tax_lines(sheet, language, money),
        tax_note=tax_note(sheet.tax_note, language),
        is_note=True,
        facts=((words["corrects"], sheet.invoice), *((words[f"note_{way}"], money(amount)) for way, amount in ways if amount)),
    )  # fmt: skip


def note_pdf(sheet: NoteSheet, config: Config) -> bytes:
    """Return a credit note as PDF/A-3b, with its e-invoice inside as an invoice has it."""
    page = note_page(sheet, config)
    words = texts_in(page.language)
    laid = pdf.Sheet(heading=words["credit_note"], status=words["status_issued"], facts=page.facts, day=sheet.issued_on, shows_due=False)
    made, xml = pdf.document_pdf(page, laid), note_xml(sheet, config)
    return made if xml is None else with_einvoice(made, xml, page.language)


def _rounded(minor: Decimal) -> int:
    return int(minor.to_integral_value(rounding=ROUND_HALF_UP))


def _page_line(line: SheetLine, sheet: InvoiceSheet, language: str) -> InvoicePageLine:
    def money(minor: int) -> str:
        return formats.amount_text(minor, sheet.currency, language)

    # a price for another length of time than the line's, or of a package, would not multiply to its amount
    has_unit = line.unit_amount is not None and not line.is_proration and _rounded(line.quantity * line.unit_amount) == line.amount
    return InvoicePageLine(
        description=line.description or line.product,
        amount=money(line.amount),
        period="" if line.kind == "one_time" else formats.period_text(line.start.date(), line.end.date(), language),
        quantity=formats.quantity_text(line.quantity, language),
        unit_price=formats.unit_price_text(line.unit_amount, sheet.currency, language)
        if has_unit and line.unit_amount is not None
        else "",
        discount=money(-line.discount) if line.discount else "",
        tax=", ".join(rate for rate, _, _ in line.taxes),
        details=tuple(f"{coupon}: {money(-amount)}" for coupon, amount in line.discounts if amount),
        heading=line.heading,
    )


def _tax_lines(sheet: InvoiceSheet | NoteSheet, language: str, money: Callable[[int], str]) -> tuple[TaxLine, ...]:
    sums: dict[str, int] = {}
    for line in sheet.lines:
        for rate, amount, is_inside in line.taxes:
            label = texts_in(language)["tax_inside"].format(rate=rate) if is_inside else rate
            sums[label] = sums.get(label, 0) + amount
    return tuple(TaxLine(label=label, amount=money(amount)) for label, amount in sums.items())


def tax_note(note: str, language: str) -> str:
    """Return why an invoice bears no tax in the customer's language; the place of `outside:PLACE` is a code or a name."""
    if not note:
        return ""
    kind, _, place = note.partition(":")
    return texts_in(language)[f"tax_{kind}"].format(place=formats.place_text(place, language))
