"""E-invoices: EN 16931 as Factur-X XML, which travels inside the PDF (decision D-148).

The XML says what was issued, so it never changes with later payments. An invoice whose VAT treatment cannot be told from its lines
(no rate and no note, several rates on one line, a currency with thousandths) has none: `None` is the answer, and the PDF goes without.

Worked example: 40 seats at 30.00, 10 % off and 20 % VAT: line 40 x 30.00 less an allowance of 120.00 = 1,080.00, category S at
20 %, tax 216.00, total 1,296.00. A credit of -604.93 is -1 x 604.93, because a price below zero is not allowed (BR-27).

Sources: EN 16931-1 (the BT and BG numbers), Factur-X 1.0.7 profile EN 16931; the category codes are UNTDID 5305.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import facturx

from connector.billing.books import InvoiceSheet, SheetLine
from connector.billing.note_sheets import NoteSheet
from connector.core.money import digits, rounded
from connector.ports import Address

_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%$")
_VAT_ID = re.compile(r"[A-Z]{2}[0-9A-Z+*]{2,13}")
_UNTAXED = {"reverse_eu": ("AE", "VATEX-EU-AE"), "reverse": ("AE", "VATEX-EU-AE"), "exempt": ("E", "")}
_INVOICE, _CREDIT_NOTE = "380", "381"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    """Who issues; *country* is a code of two letters, *vat_id* has its country's letters."""

    name: str
    address: tuple[str, ...]
    country: str
    vat_id: str
    email: str = ""
    iban: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """How a line is taxed: UNTDID 5305 category, percentage, and for untaxed ones why."""

    category: str
    percentage: Decimal
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What an e-invoice says of an invoice or a credit note; amounts in minor units, those of a credit note above zero.

    prepaid - what the customer's balance covered at issue. terms - when it is to be paid, in words. corrects - number and day of
    the invoice that a credit note is on.
    """

    number: str
    currency: str
    issued_on: date
    customer: str
    postal: Address
    email: str
    tax_id: str
    tax_note: str
    lines: tuple[SheetLine, ...]
    due_on: date | None = None
    terms: str = ""
    po_number: str = ""
    memo: str = ""
    prepaid: int = 0
    corrects: tuple[str, date] | None = None


def issued_invoice(sheet: InvoiceSheet) -> Issued:
    """Return an invoice as it was issued: what was paid since does not count."""
    return Issued(
        number=sheet.number, currency=sheet.currency, issued_on=sheet.issued_on, customer=sheet.customer, postal=sheet.postal, email=sheet.email,
        tax_id=sheet.tax_id, tax_note=sheet.tax_note, lines=sheet.lines, due_on=sheet.due_on, terms=_terms(sheet), po_number=sheet.po_number,
        memo=sheet.memo, prepaid=sheet.ending_balance - sheet.starting_balance,
    )  # fmt: skip


def issued_note(note: NoteSheet) -> Issued:
    """Return a credit note as it was issued: it settles itself, so nothing of it is due."""
    at = datetime.combine(note.issued_on, time())
    lines = tuple(
        SheetLine(
            description=line.description, product="", start=at, end=at, quantity=Decimal(1), unit_amount=None, amount=line.amount, kind="one_time",
            is_proration=True, discounts=(), taxes=line.taxes,
        )
        for line in note.lines
    )  # fmt: skip
    who = note.customer
    return Issued(
        number=note.number, currency=note.currency, issued_on=note.issued_on, customer=who.name, postal=who.address, email=who.email, tax_id=who.tax_id,
        tax_note=note.tax_note, lines=lines, memo=note.reason, prepaid=note.total, corrects=(note.invoice, note.invoice_issued_on),
    )  # fmt: skip


def einvoice_xml(issued: Issued, seller: Seller, country: str, tax_reason: str) -> bytes | None:
    """Return an issued invoice or credit note as Factur-X XML of profile EN 16931; None where its VAT treatment cannot be told.

    Args: country - the customer's, a code of two letters. tax_reason - the note on untaxed invoices, in words.
    Raises: ValueError if what was made does not fit the schema, which is a bug of ours.
    """
    treatments = _treatments(issued, tax_reason)
    if treatments is None or digits(issued.currency) > 2 or not issued.lines:
        return None
    if any(t.category == "AE" for t in treatments) and not _vat_id(issued.tax_id):
        return None
    data = _document(issued, seller, country, treatments)
    xml: bytes = facturx.generate_cii_xml(data, level="en16931", check_xsd=True, check_schematron=None)
    return xml


def with_einvoice(pdf: bytes, xml: bytes, language: str) -> bytes:
    """Return a PDF/A-3 with the XML attached, as Factur-X asks for it."""
    made: bytes = facturx.generate_from_binary(pdf, xml, flavor="factur-x", level="en16931", check_xsd=False, lang=language, afrelationship="alternative")
    return made


# ---------------------------------------------------------------- what a line's tax is


def _treatments(sheet: Issued, reason: str) -> tuple[Treatment, ...] | None:
    found = [_treatment(line, sheet.tax_note, reason) for line in sheet.lines]
    known = tuple(t for t in found if t is not None)
    return known if len(known) == len(found) else None


def _treatment(line: SheetLine, note: str, reason: str) -> Treatment | None:
    if len(line.taxes) == 1:
        percent = _PERCENT.search(line.taxes[0][0])
        if percent is None:
            return None
        percentage = Decimal(percent[1])
        return Treatment(category="S" if percentage else "Z", percentage=percentage)
    known = _UNTAXED.get(note)
    if line.taxes or known is None:
        return None
    return Treatment(category=known[0], percentage=Decimal(0), code=known[1], reason=reason)


# ---------------------------------------------------------------- the document


def _document(sheet: Issued, seller: Seller, country: str, treatments: tuple[Treatment, ...]) -> dict[str, Any]:
    def money(minor: int) -> str:
        return f"{Decimal(minor).scaleb(-digits(sheet.currency)):f}"

    nets = [_net(line) for line in sheet.lines]
    tax, prepaid = sum(line.tax for line in sheet.lines), sheet.prepaid
    total = sum(nets) + tax
    data: dict[str, Any] = {
        "BT-1": sheet.number, "BT-2": sheet.issued_on, "BT-3": _INVOICE if sheet.corrects is None else _CREDIT_NOTE, "BT-5": sheet.currency.upper(), "BT-13": sheet.po_number,
        "BG-1": [{"BT-22": sheet.memo}] if sheet.memo else [],
        "BG-4": _seller(seller), "BG-7": _buyer(sheet, country), "BG-13": {"name": sheet.customer, "country_code": country},
        "BG-23": _vat(sheet, nets, treatments, money),
        "BG-25": [_line(n, line, nets[n - 1], treatments[n - 1], sheet.currency) for n, line in enumerate(sheet.lines, 1)],
        "BT-106": money(sum(nets)), "BT-109": money(sum(nets)), "BT-110": money(tax), "BT-112": money(total),
        "BT-113": money(prepaid), "BT-115": money(total - prepaid), "BT-20": sheet.terms,
    }  # fmt: skip
    if sheet.due_on:
        data["BT-9"] = sheet.due_on
    if sheet.corrects is not None:
        data["BG-3"] = [{"BT-25": sheet.corrects[0], "BT-26": sheet.corrects[1]}]
    elif seller.iban:
        data |= {"BT-81": "30", "BT-83": sheet.number, "BT-84": seller.iban.replace(" ", ""), "BT-85": seller.name}
    return {key: value for key, value in data.items() if value not in ("", [])}


def _terms(sheet: InvoiceSheet) -> str:
    if sheet.collection_method == "charge_automatically":
        return "Charged automatically."
    return f"Due on {sheet.due_on.isoformat()}." if sheet.due_on else "Due on receipt."


def _net(line: SheetLine) -> int:
    """Return the line's amount without any tax, after its discounts, in minor units."""
    return line.amount - line.discount - sum(tax for _, tax, is_inside in line.taxes if is_inside)


def _vat_id(text: str) -> str:
    plain = re.sub(r"[\s.-]", "", text).upper()
    return plain if _VAT_ID.fullmatch(plain) else ""


def _seller(seller: Seller) -> dict[str, Any]:
    party: dict[str, Any] = {"name": seller.name, "country_code": seller.country, "vat_identifier": _vat_id(seller.vat_id)}
    party |= {f"addr_l{n}": text for n, text in enumerate(seller.address[:3], 1)}
    if seller.email:
        party |= {"einvoicing_addr": seller.email, "einvoicing_addr_schemeid": "EM"}
    return {key: value for key, value in party.items() if value}


def _buyer(sheet: Issued, country: str) -> dict[str, Any]:
    place = sheet.postal
    party = {
        "name": sheet.customer, "country_code": country, "addr_l1": place.line1, "postcode": place.postal_code, "city": place.city,
        "country_subdivision": place.state, "vat_identifier": _vat_id(sheet.tax_id),
    }  # fmt: skip
    if sheet.email:
        party |= {"einvoicing_addr": sheet.email, "einvoicing_addr_schemeid": "EM"}
    return {key: value for key, value in party.items() if value}


def _vat(sheet: Issued, nets: list[int], treatments: tuple[Treatment, ...], money: Any) -> list[dict[str, str]]:
    sums: dict[Treatment, tuple[int, int]] = {}
    for line, net, treatment in zip(sheet.lines, nets, treatments, strict=True):
        basis, tax = sums.get(treatment, (0, 0))
        sums[treatment] = (basis + net, tax + line.tax)
    return [
        _filled({
            "BT-116": money(basis), "BT-117": money(tax), "BT-118": t.category, "BT-119": f"{t.percentage:f}", "BT-120": t.reason,
            "BT-121": t.code,
        })
        for t, (basis, tax) in sums.items()
    ]  # fmt: skip


def _line(number: int, line: SheetLine, net: int, treatment: Treatment, currency: str) -> dict[str, Any]:
    quantity, price, discount = _priced(line, net)
    places = digits(currency)
    made: dict[str, Any] = {
        "BT-126": str(number), "BT-153": line.description or line.product or "-", "BT-129": f"{quantity:f}", "BT-130": "C62",
        "BT-146": f"{price.scaleb(-places):f}", "BT-131": f"{Decimal(net).scaleb(-places):f}",
        "BT-151": treatment.category, "BT-152": f"{treatment.percentage:f}",
    }  # fmt: skip
    if discount:
        made["BG-27"] = [{"amount": f"{Decimal(discount).scaleb(-places):f}", "reason": "Discount", "reason_code": "95"}]
    if line.kind != "one_time":
        made |= {"BT-134": line.start.date(), "BT-135": _last_day(line)}
    return made


def _last_day(line: SheetLine) -> date:
    return max(line.start.date(), line.end.date() - timedelta(days=1))


def _priced(line: SheetLine, net: int) -> tuple[Decimal, Decimal, int]:
    """Return quantity, price of one (not below zero) and discount of a line, so that quantity x price - discount is its net.

    A share of a period, a tier or a price with its tax inside has no such price; there it is one of the net amount.
    """
    unit, quantity = line.unit_amount, line.quantity
    has_inside = any(is_inside for _, _, is_inside in line.taxes)
    if unit is not None and quantity and not line.is_proration and not has_inside and line.amount >= 0 and line.discount >= 0:
        if unit < 0:
            unit, quantity = -unit, -quantity
        if rounded(unit * quantity) == line.amount:
            return quantity, unit, line.discount
    return (Decimal(1) if net >= 0 else Decimal(-1)), Decimal(abs(net)), 0


def _filled(values: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if value != ""}
