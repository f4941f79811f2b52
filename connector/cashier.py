"""The console's pages of invoices over the house: the list, one invoice whole, and payments that are recorded there.

Nothing is booked by a page itself: what an operator records is judged at once, in words, and kept as a request that the daemon's next
round carries out (decision D-35). Each form carries a number of its own, so that a form that is sent twice is one payment (D-152).
"""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from connector import app, papers
from connector.billing import books, desk, dunning
from connector.billing.customers import customer_named
from connector.billing.note_sheets import notes_of
from connector.billing.payments import MOST_REFERENCE, WAYS
from connector.core.money import digits, major
from connector.documents import formats
from connector.errors import RejectedError
from connector.kit.clock import ShiftedClock
from connector.ports import Unit
from connector.sync import intents
from connector.web.views import (
    ConsoleHead,
    ConsoleInvoice,
    ConsoleInvoices,
    ConsoleRow,
    ListedInvoice,
    PaymentForm,
    Tone,
)

ROWS = 50
ACTOR = "console"
_REQUESTS = 50
_AMOUNT = re.compile(r"(\d{1,13})(?:[.,](\d+))?")
_ENTRY = re.compile(r"[0-9a-f]{32}")
_WAYS = {"bank_transfer": "Bank transfer", "cheque": "Cheque", "cash": "Cash", "other": "Other", "manual": "By hand", "test": "Test card", "stripe": "Through Stripe"}
_REST = "Record what is open; the rest goes on the customer's balance (`connector customers adjust-balance`), or back to the customer."
_SHOWN = ("open", "paid", "draft", "void", "uncollectible")


def head(house: app.House) -> ConsoleHead:
    """Return what stands above every page of the console."""
    is_shifted = isinstance(house.clock, ShiftedClock)
    now = house.clock.now().astimezone(ZoneInfo(house.config.timezone)).strftime("%d %b %Y %H:%M %Z")
    clock = "Demo clock: it runs on from the end of the story" if is_shifted else ""
    return ConsoleHead(where=f"{house.seam.org.name} ({house.seam.org.id})", now=now, clock=clock)


def listed(house: app.House, status: str, search: str, before: str, *, limit: int = ROWS) -> ConsoleInvoices:
    """Return a page of invoices, newest first: of a *status* (anything else: of all), of the customer or number that *search* names.

    before - the id of the last one of the page before.
    """
    wanted = status if status in _SHOWN else ""
    search = " ".join(search.split())[:200]
    complaint, customer, number = "", None, ""
    today = _today(house)
    with house.database.read() as unit:
        if search:
            found = books.invoice(unit, search, today)
            number = (found.number or found.id) if found is not None else ""
            try:
                customer = None if number else customer_named(unit, house.billing.org, search)
            except RejectedError as error:
                complaint = error.problem.message.replace("The books have no customer", "There is no invoice and no customer")
                if error.problem.code == "ambiguous-customer":
                    complaint = f"{complaint} {error.problem.hint}"
        rows = []
        if not complaint and not number:
            rows = books.invoices(unit, status=wanted or None, customer=customer, before=before or None, limit=limit + 1)
    return ConsoleInvoices(
        head=head(house), status=wanted, search=search, complaint=complaint, number=number,
        invoices=tuple(_listed(i, today) for i in rows[:limit]), following=rows[limit - 1].id if len(rows) > limit else "",
    )  # fmt: skip


def _listed(invoice: books.InvoiceListing, today: date) -> ListedInvoice:
    is_late = invoice.status == "open" and invoice.due_on is not None and invoice.due_on < today
    return ListedInvoice(
        name=invoice.number or invoice.id,
        number=invoice.number or "draft",
        customer=invoice.customer,
        issued_on=formats.date_text(invoice.issued_on, "en"),
        due_on=formats.date_text(invoice.due_on, "en"),
        total=formats.amount_text(invoice.total, invoice.currency, "en"),
        open=formats.amount_text(invoice.amount_open, invoice.currency, "en") if invoice.amount_open else "",
        status="past due" if is_late else invoice.status,
        kind="past_due" if is_late else invoice.status,
    )


def invoice(house: app.House, name: str) -> ConsoleInvoice | None:
    """Return one invoice by its number or id; None: there is none."""
    timezone = house.config.timezone
    with house.database.read() as unit:
        sheet = books.invoice(unit, name, _today(house))
        if sheet is None:
            return None
        paid, notes = books.payments(unit, sheet.id), notes_of(unit, sheet.id)
        happened = dunning.history(unit, sheet.id)
        asked = [i for i in intents.of_actor(unit, ACTOR, _REQUESTS) if i.data.get("invoice") == sheet.number]

    def money(minor: int) -> str:
        return formats.amount_text(minor, sheet.currency, "en")

    is_waiting = any(i.is_waiting for i in asked)
    rows = [_request(i, sheet.currency, timezone) for i in asked if i.state != "done"]
    return ConsoleInvoice(
        head=head(house),
        name=sheet.number or sheet.id,
        page=papers.invoice_page(replace(sheet, language="en"), house.config),
        crm_url=f"{house.seam.org.instance_url}/{sheet.deal}" if sheet.deal else "",
        contract=sheet.contract,
        public_url=f"/i/{sheet.token}",
        facts=(("Total", money(sheet.total)), ("Paid", money(sheet.amount_paid)), ("Open", money(sheet.amount_remaining))),
        payments=tuple(_payment(p, sheet.currency) for p in paid),
        notes=tuple(
            ConsoleRow(on=formats.date_text(n.issued_on, "en"), what=n.number, detail=n.reason, amount=money(-n.total), url=f"/i/{n.token}")
            for n in notes
        ),
        requests=tuple(rows),
        steps=tuple(_step(step, timezone) for step in happened),
        is_waiting=is_waiting,
        form=None if is_waiting or sheet.status not in ("open", "past_due") else _form(house, sheet),
    )  # fmt: skip


def _form(house: app.House, sheet: books.InvoiceSheet) -> PaymentForm:
    today = _today(house).isoformat()
    amount = f"{major(sheet.amount_remaining, sheet.currency):f}"
    return PaymentForm(entry=secrets.token_hex(16), amount=amount, on=today, latest=today, currency=sheet.currency.upper())


def _payment(paid: books.PaymentView, currency: str) -> ConsoleRow:
    amount = formats.amount_text(paid.amount, currency, "en")
    what = _WAYS.get(paid.method, paid.method) if paid.amount >= 0 else "Refund"
    return ConsoleRow(on=formats.date_text(paid.on, "en"), what=what, detail=" ".join(t for t in (paid.reference, paid.note) if t), amount=amount)


def _request(intent: intents.Intent, currency: str, timezone: str) -> ConsoleRow:
    tones: dict[str, Tone] = {"pending": "busy", "sent": "busy", "refused": "bad"}
    said = {"pending": "It is recorded at the next round.", "sent": "It is on its way to Stripe."}.get(intent.state, "")
    if intent.state == "refused":
        said = f"{intent.result.get('message', '')} {intent.result.get('hint', '')}".strip()
    return ConsoleRow(
        on=intent.made_at.astimezone(ZoneInfo(timezone)).strftime("%d %b %Y %H:%M"), what="Payment", detail=said,
        amount=formats.amount_text(int(intent.data["amount"]), currency, "en") if intent.data.get("amount") else "",
        state="waiting" if intent.is_waiting else intent.state, tone=tones.get(intent.state, "plain"),
    )  # fmt: skip


def _step(step: tuple[str, str, str, str], timezone: str) -> ConsoleRow:
    at, what, state, detail = step
    on = datetime.fromisoformat(at).astimezone(ZoneInfo(timezone)).date()
    return ConsoleRow(on=formats.date_text(on, "en"), what=what, detail=detail, state=state)


# ---------------------------------------------------------------- recording a payment


def record(house: app.House, name: str, given: PaymentForm) -> str | None:
    """Keep a payment that an operator typed; return the complaint, empty where it is kept, None where there is no such invoice."""
    now = house.clock.now()
    with house.database.read() as unit:
        if books.invoice(unit, name, _today(house)) is None:
            return None
        complaint, amount = _judged(unit, name, given, _today(house))
    if complaint:
        return complaint
    data = {"invoice": name, "amount": amount, "on": given.on, "method": given.method, "reference": given.reference}
    with house.database.transaction() as unit:
        intents.submit(unit, "invoice.pay", data, actor=ACTOR, now=now, key=f"it_{ACTOR}_{given.entry}")
    return ""


def _judged(unit: Unit, name: str, given: PaymentForm, today: date) -> tuple[str, int]:
    """Return what is wrong with a payment, in words, and its amount in minor units."""
    try:
        held = desk.held(unit, name)
    except RejectedError:
        return "A draft takes no payment; wait until it is issued.", 0
    left, currency = held.invoice.amount_remaining, held.currency
    typed = _AMOUNT.fullmatch(given.amount.strip())
    is_exact = typed is not None and len(typed[2] or "") <= digits(currency)
    amount = int(Decimal(given.amount.strip().replace(",", ".")).scaleb(digits(currency))) if is_exact else 0
    wrong = [
        (not _ENTRY.fullmatch(given.entry) or given.method not in WAYS, "This form was too old. Please try again."),
        (held.invoice.status != "open", f"{held.number} is {held.invoice.status}; only an open invoice takes a payment."),
        (not is_exact, f"“{given.amount.strip()}” is not an amount in {currency.upper()}. Write it like {major(left, currency)}."),
        (amount <= 0, "A payment is more than zero."),
        (
            amount > left,
            f"{desk.money_text(amount, currency)} is more than the {desk.money_text(left, currency)} that are open. {_REST}",
        ),
        (_day(given.on) is None, "Choose the day on which the money arrived."),
        ((_day(given.on) or today) > today, "The day is in the future. Choose the day on which the money arrived."),
        (len(given.reference) > MOST_REFERENCE, f"The reference has more than {MOST_REFERENCE} signs. Shorten it."),
    ]
    return next((text for is_wrong, text in wrong if is_wrong), ""), amount


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _today(house: app.House) -> date:
    return house.clock.now().astimezone(ZoneInfo(house.config.timezone)).date()
