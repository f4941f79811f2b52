"""Views as the composition root would build them, for the tests of the pages: one believable month of one company."""

from __future__ import annotations

import warnings
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from connector.documents.formats import amount_text, date_text, period_text, quantity_text, unit_price_text
from connector.documents.views import (
    BankTransfer,
    InvoicePage,
    InvoicePageLine,
    Party,
    TaxLine,
)
from connector.web.views import (
    Access,
    Check,
    ConsoleHead,
    ConsoleInvoices,
    ConsoleView,
    Count,
    CountGroup,
    HeldDeal,
    Notice,
    Pdf,
    PollRow,
    PortalAnswer,
    PortalContract,
    PortalField,
    PortalInvoice,
    PortalItem,
    PortalPage,
    RunRow,
    WebServices,
)

with warnings.catch_warnings():
    # Starlette asks for httpx2 at import; httpx is what is locked, and serves a test client as well
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

__all__ = ["NOW", "TOKEN", "TestClient", "a_console", "an_invoice", "some_services"]

TOKEN = "Zx8-p2LkQ0_vTn4mWc7aHg"
NOW = datetime(2026, 4, 1, 9, 30, tzinfo=UTC)


def an_invoice(language: str = "en", **changes: object) -> InvoicePage:
    """An open invoice of three lines with a discount and tax, written in *language*."""

    def money(minor: int) -> str:
        return amount_text(minor, "eur", language)

    def line(description: str, minor: int, quantity: str, price: str, **more: str) -> InvoicePageLine:
        return InvoicePageLine(
            description=description,
            amount=money(minor),
            quantity=quantity_text(Decimal(quantity), language),
            unit_price=unit_price_text(Decimal(price), "eur", language),
            tax="20%",
            **more,
        )

    april = period_text(date(2026, 4, 1), date(2026, 5, 1), language)
    page = InvoicePage(
        language=language,
        status="open",
        number="INV-0007",
        seller=Party(
            name="Northwind Software SAS",
            address=("12 rue des Tilleuls", "69003 Lyon", "France"),
            email="billing@northwind.example",
            tax_id="FR40303265045",
        ),
        customer=Party(
            name="Acme Manufacturing GmbH",
            address=("Accounts Payable", "Hafenstraße 18", "20457 Hamburg", "Germany"),
            email="ap@acme.example",
            tax_id="DE136695976",
        ),
        currency="EUR",
        lines=(
            line("Team plan, per seat", 120000, "40", "3000", period=april, discount=money(-12000)),
            line("Events", 4375, "35000", "0.125", period=april),
            line("Onboarding", 50000, "1", "50000"),
        ),
        subtotal=money(174375),
        discount=money(-12000),
        taxes=(TaxLine(label="VAT 20%", amount=money(32475)),),
        total=money(194850),
        due=money(194850),
        issued_on=date_text(date(2026, 4, 1), language),
        due_on=date_text(date(2026, 5, 1), language),
        po_number="PO-88213",
        bank=BankTransfer(
            holder="Northwind Software SAS",
            iban="FR76 3000 6000 0112 3456 7890 189",
            bic="AGRIFRPP",
            reference="INV-0007",
        ),
    )
    return replace(page, **changes)  # type: ignore[arg-type]


def a_console(**changes: object) -> ConsoleView:
    """A console on which something of everything stands."""
    view = ConsoleView(
        where="Northwind (00D5g000004XyzEAE) · sqlite:///connector.db · internal",
        now="1 Apr 2026 09:30 UTC",
        version="0.1.0",
        clock="Demo clock, 102 days ahead",
        groups=(
            CountGroup(
                title="Deals",
                counts=(
                    Count(label="written", value="1,204"),
                    Count(label="waiting", value="3", tone="warn"),
                    Count(label="parked", value="2", tone="bad"),
                ),
            ),
            CountGroup(
                title="Contracts", counts=(Count(label="active", value="980"), Count(label="scheduled", value="12"))
            ),
            CountGroup(title="Invoices", counts=(Count(label="open", value="311"), Count(label="paid", value="4,020"))),
            CountGroup(
                title="Open amount",
                counts=(Count(label="EUR", value="€412,300.50"), Count(label="JPY", value="¥90,000")),
            ),
        ),
        runs=(
            RunRow(
                job="round",
                state="idle",
                tone="good",
                started="1 Apr 09:29:41",
                took="0.4 s",
                summary="4 staged, 3 mapped, 3 applied, 3 written; 5 CRM calls",
                next="1 Apr 09:30:11",
            ),
            RunRow(
                job="billing_run",
                state="waiting",
                tone="warn",
                started="1 Apr 09:20:00",
                took="12 s",
                summary="The database is locked by another program.",
                hint="Nothing to do: it is tried again by itself. 3 failures so far.",
                next="1 Apr 09:31:30",
            ),
        ),
        polls=(
            PollRow(source="opportunities", at="1 Apr 09:29:41", age="19 s", tone="good"),
            PollRow(source="quotes", at="1 Apr 09:29:41", age="19 s", tone="good"),
        ),
        held=(
            HeldDeal(
                label="Acme 2026",
                record="Opportunity 0065g00000XyAbCAAV",
                state="parked",
                message="Not billed: no billing e-mail.",
                hint="Fill Billing Contact on this opportunity or Billing Email on the account; it is tried again by itself.",
                url="https://northwind.example/0065g00000XyAbCAAV",
                since="2 h 10 min",
                tone="bad",
            ),
            HeldDeal(
                label="Acme 2026, more seats",
                record="Opportunity 0065g00000XyAbDAAV",
                state="waiting",
                message="Blocked by 'Acme 2026' (no billing e-mail). Nothing to do here.",
                url="https://northwind.example/0065g00000XyAbDAAV",
                since="1 h 2 min",
            ),
        ),
        notices=(
            Notice(
                title="The edited configuration was not taken over",
                text='mappings/salesforce-opportunity.yaml:27:13: unknown-field\nOpportunityLineItem has no field "Quantitty".',
                hint="The one from before goes on. Correct the file, then reload.",
            ),
        ),
    )
    return replace(view, **changes)  # type: ignore[arg-type]


def a_portal(**changes: object) -> PortalPage:
    """A customer with one open invoice and one contract."""
    page = PortalPage(
        language="en",
        seller=Party(name="Northwind Software SAS"),
        customer=Party(name="Acme <Manufacturing> GmbH"),
        open=("€1,948.50",),
        invoices=(
            PortalInvoice(
                number="INV-0007", token=TOKEN, issued_on="1 Apr 2026", due_on="1 May 2026", total="€1,948.50", open="€1,948.50",
                status="open", status_text="Open",
            ),
        ),
        contracts=(
            PortalContract(
                id="ct_1", name="Acme 2026", status="Active", since="since 1 Apr 2026", next_on="next invoice 1 May 2026",
                items=(PortalItem(number=1, description="Team plan", quantity="40", plain_quantity="40", unit_price="€30.00", can_change=True),),
                can_cancel=True,
            ),
        ),
        fields=(PortalField(name="name", label="Name", value="Acme"), PortalField(name="email", label="E-mail", value="ap@acme.example")),
    )  # fmt: skip
    return replace(page, **changes)  # type: ignore[arg-type]


def some_services(**changes: object) -> WebServices:
    """Services that know one invoice; every function can be replaced."""
    services = WebServices(
        invoice_by_token={TOKEN: an_invoice()}.get,
        invoice_pdf_by_token={TOKEN: Pdf(name="INV-0007.pdf", content=b"%PDF-1.7 sample")}.get,
        quote_by_token={}.get,
        quote_pdf_by_token={}.get,
        quote_answer=lambda _token, _given: None,
        portal_by_token={TOKEN: a_portal()}.get,
        portal_ask=lambda token, asked: PortalAnswer(language="en", is_kept=True) if token == TOKEN else None,
        console=a_console,
        console_invoices=lambda _status, _search, _before: ConsoleInvoices(head=ConsoleHead(where="", now=""), status="", search="", invoices=()),
        console_invoice=lambda _name: None,
        console_pay=lambda _name, _given: None,
        stripe_event=lambda _raw, _signature: None,
        ready=lambda: [Check(name="database", is_ok=True, detail="answers")],
        metrics=lambda: b"connector_deals_total 7\n",
        now=lambda: NOW,
        access=Access(password="correct horse", secret="s" * 32),
    )
    return replace(services, **changes)  # type: ignore[arg-type]
