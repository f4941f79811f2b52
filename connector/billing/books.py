"""Reading the books, for the command line and the pages: frozen views with figures in minor units, nothing formatted.

Lists are keyset pages: pass the last `id` of a page as *before* to get the next, older one. The link of an invoice is its
time-ordered id followed by 128 random bits, so that no index of random text is needed (decision D-29).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from connector.billing import store
from connector.billing.parts import parts_of
from connector.core.invoicing import Line
from connector.core.period import to_local
from connector.core.schedule import running_items
from connector.core.terms import Change, Item
from connector.kit.db import start_ids_above
from connector.ports import Address, Unit

LIST_ROWS = 1_000  # the most that one list returns
_TOKEN_ID = 18  # signs of an invoice id after its prefix
_HEAD = (
    "i.id, i.number, i.status, i.currency, i.issued_on, i.due_on, i.paid_on, i.is_overdue, i.subtotal, i.discount, i.tax,"
    " i.total, i.starting_balance, i.ending_balance,"
    f" i.amount_due - {store.REDUCED}, i.amount_paid - {store.RETURNED}, i.po_number, i.memo, i.bill_to, i.deal,"
    " i.contract_id, i.collection_method, i.billing_reason, i.token"
)
_OF_CONTRACT = "(i.contract_id = ? OR i.id IN (SELECT invoice_id FROM invoice_part WHERE contract_id = ?))"
_OF_CUSTOMER = (
    "(i.contract_id IN (SELECT id FROM contract WHERE customer_id = ?) OR (i.contract_id = '' AND i.customer_id = ?))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceListing:
    """An invoice in a list; *number* is empty for a draft. amount_paid - less what went back; amount_due - less credit notes."""

    id: str
    number: str
    status: str
    customer: str
    currency: str
    issued_on: date
    due_on: date | None
    total: int
    amount_due: int
    amount_paid: int
    contract: str
    deal: str
    token: str

    @property
    def amount_open(self) -> int:
        """Return what is still open; nothing of a draft, a void or a given up invoice."""
        return self.amount_due - self.amount_paid if self.status == "open" else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetLine:
    """One line of an invoice: *end* is the first day after the period, *amount* before discounts and exclusive tax.

    discounts - (coupon, amount). taxes - (rate, amount, is_inclusive). heading - what stands above the first line of each contract
    on an invoice that covers several.
    """

    description: str
    product: str
    start: datetime
    end: datetime
    quantity: Decimal
    unit_amount: Decimal | None
    amount: int
    kind: str
    is_proration: bool
    discounts: tuple[tuple[str, int], ...]
    taxes: tuple[tuple[str, int, bool], ...]
    heading: str = ""

    @property
    def discount(self) -> int:
        """Return what is taken off, as a positive amount."""
        return sum(amount for _, amount in self.discounts)

    @property
    def tax(self) -> int:
        """Return the taxes of the line, those in the price too."""
        return sum(amount for _, amount, _ in self.taxes)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceSheet:
    """A whole invoice as a page shows it; *status* says past_due where it is open and late on the day asked for."""

    id: str
    number: str
    status: str
    customer: str
    email: str
    address: tuple[str, ...]
    postal: Address
    tax_id: str
    tax_note: str
    language: str
    currency: str
    issued_on: date
    due_on: date | None
    paid_on: date | None
    lines: tuple[SheetLine, ...]
    subtotal: int
    discount: int
    tax: int
    total: int
    starting_balance: int
    ending_balance: int
    amount_due: int
    amount_paid: int
    po_number: str
    memo: str
    deal: str
    contract: str
    collection_method: str
    billing_reason: str
    token: str

    @property
    def amount_remaining(self) -> int:
        """Return what is still open."""
        return self.amount_due - self.amount_paid if self.status in ("open", "past_due") else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentView:
    """Money that arrived for an invoice, or went back (*amount* below zero, with the *note* that says so)."""

    on: date
    amount: int
    method: str
    reference: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractListing:
    """A contract in a list; *ends_on* is its last day, *next_on* when it is looked at next."""

    contract: str
    status: str
    customer: str
    name: str
    deal: str
    starts_on: date
    ends_on: date | None
    value: int
    annual_value: int
    currency: str
    next_on: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemView:
    """An item that runs, numbered as messages show it."""

    number: int
    item: Item
    quantity: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractSheet:
    """A whole contract: what runs today, its changes in the order in which they count, its invoices; *labels* of changes by id."""

    listing: ContractListing
    items: tuple[ItemView, ...]
    changes: tuple[Change, ...]
    invoices: tuple[InvoiceListing, ...]
    labels: Mapping[str, str] = field(default_factory=dict)


def go_on_after(unit: Unit) -> None:
    """Let the ids that this process makes sort after those in the books, also where the clock went back since they were made."""
    tables = ("customer", "contract", "invoice", "credit_note", "payment", "balance_entry")
    for found in unit.query(f"SELECT {', '.join(f'(SELECT MAX(id) FROM {table})' for table in tables)}")[0]:
        start_ids_above(found or "")


# ---------------------------------------------------------------- invoices


def invoices(
    unit: Unit, *, status: str | None = None, contract: str | None = None, customer: str | None = None, before: str | None = None,
    limit: int = 200,
) -> list[InvoiceListing]:  # fmt: skip
    """Return invoices, newest first; *before* is the id of the last one of the page before."""
    wanted = [("i.status = ?", status), (_OF_CONTRACT, contract), (_OF_CUSTOMER, customer), ("i.id < ?", before)]
    given = [(text, value) for text, value in wanted if value is not None]
    where = " AND ".join(text for text, _ in given) or "1=1"
    sql = (
        "SELECT i.id, i.number, i.status, c.name, i.currency, i.issued_on, i.due_on, i.total,"
        f" i.amount_due - {store.REDUCED}, i.amount_paid - {store.RETURNED},"
        f" i.contract_id, i.deal, i.token FROM invoice i JOIN customer c ON c.id = i.customer_id WHERE {where}"
        " ORDER BY i.id DESC LIMIT ?"
    )
    values = [value for text, value in given for _ in range(text.count("?"))]
    rows = unit.query(sql, [*values, min(limit, LIST_ROWS)])
    return [
        InvoiceListing(
            id=row[0],
            number=row[1] or "",
            status=row[2],
            customer=row[3],
            currency=row[4],
            issued_on=date.fromisoformat(row[5]),
            due_on=_on(row[6]),
            total=row[7],
            amount_due=row[8],
            amount_paid=row[9],
            contract=row[10],
            deal=row[11],
            token=row[12],
        )
        for row in rows
    ]


def invoice(unit: Unit, name: str, today: date) -> InvoiceSheet | None:
    """Return an invoice by its number or id."""
    column = "id" if name.startswith("in_") else "number"
    rows = unit.query(f"SELECT {_HEAD} FROM invoice i WHERE i.{column} = ?", (name,))
    return _sheet(unit, rows[0], today) if rows else None


def payments(unit: Unit, invoice_id: str) -> list[PaymentView]:
    """Return what arrived for an invoice and what went back, oldest first."""
    sql = (
        "SELECT p.paid_on, p.amount, p.method, p.reference, COALESCE(n.number, '') FROM payment p"
        " LEFT JOIN credit_note n ON n.id = p.note_id WHERE p.invoice_id = ? ORDER BY p.paid_on, p.id LIMIT ?"
    )
    rows = unit.query(sql, (invoice_id, LIST_ROWS))
    return [PaymentView(on=date.fromisoformat(r[0]), amount=r[1], method=r[2], reference=r[3], note=r[4]) for r in rows]


def invoice_by_token(unit: Unit, token: str, today: date) -> InvoiceSheet | None:
    """Return the invoice that a link leads to; drafts have no page."""
    rows = unit.query(
        f"SELECT {_HEAD} FROM invoice i WHERE i.id = ? AND i.status <> 'draft'", (f"in_{token[:_TOKEN_ID]}",)
    )
    if not rows or not hmac.compare_digest(str(rows[0][-1]).encode(), token.encode()):
        return None
    return _sheet(unit, rows[0], today)


def _sheet(unit: Unit, row: Sequence[Any], today: date) -> InvoiceSheet:
    details = store.details_from_text(row[18])
    place = details.address
    city = " ".join(p for p in (place.postal_code, place.city) if p)
    due_on = _on(row[5])
    is_late = row[2] == "open" and due_on is not None and due_on < today
    return InvoiceSheet(
        id=row[0],
        number=row[1] or "",
        status="past_due" if is_late else row[2],
        customer=details.name,
        email=details.email,
        address=tuple(p for p in (place.line1, city, place.state, place.country) if p),
        postal=place,
        tax_id=details.tax_id,
        tax_note=store.tax_note_from_text(row[18]),
        language=details.language,
        currency=row[3],
        issued_on=date.fromisoformat(row[4]),
        due_on=due_on,
        paid_on=_on(row[6]),
        lines=_sheet_lines(unit, row[0], row[20]),
        subtotal=row[8],
        discount=row[9],
        tax=row[10],
        total=row[11],
        starting_balance=row[12],
        ending_balance=row[13],
        amount_due=row[14],
        amount_paid=row[15],
        po_number=row[16],
        memo=row[17],
        deal=row[19],
        contract=row[20],
        collection_method=row[21],
        billing_reason=row[22],
        token=row[23],
    )


def _sheet_lines(unit: Unit, invoice_id: str, contract_id: str) -> tuple[SheetLine, ...]:
    labels = {} if contract_id else {p.contract_id: p.label for p in parts_of(unit, [invoice_id]).get(invoice_id, ())}
    return tuple(_sheet_line(line, labels.pop(line.contract_id, "")) for line in store.invoice_lines(unit, invoice_id))


def _sheet_line(line: Line, heading: str) -> SheetLine:
    return SheetLine(
        heading=heading,
        description=line.description,
        product=line.product,
        start=line.start,
        end=line.end,
        quantity=line.quantity,
        unit_amount=line.unit_amount,
        amount=line.amount,
        kind=line.kind,
        is_proration=line.is_proration,
        discounts=line.discounts,
        taxes=line.taxes,
    )


# ---------------------------------------------------------------- contracts


_CONTRACT = (
    "t.id, t.status, c.name, t.label, t.deal, t.starts_on, t.ends_on, t.value, t.annual_value, t.currency, t.next_due_at,"
    " EXISTS (SELECT 1 FROM invoice i WHERE i.contract_id = t.id AND i.status = 'open' AND (i.due_on < ? OR i.attempts > 0))"
    " OR EXISTS (SELECT 1 FROM invoice_part p JOIN invoice i ON i.id = p.invoice_id"
    " WHERE p.contract_id = t.id AND i.status = 'open' AND (i.due_on < ? OR i.attempts > 0)),"
    " EXISTS (SELECT 1 FROM invoice i WHERE i.contract_id = t.id AND i.status = 'open' AND i.dunning = 'unpaid')"
    " OR EXISTS (SELECT 1 FROM invoice_part p JOIN invoice i ON i.id = p.invoice_id"
    " WHERE p.contract_id = t.id AND i.status = 'open' AND i.dunning = 'unpaid'), t.timezone"
)


def contracts(
    unit: Unit, today: date, *, customer: str | None = None, before: str | None = None, limit: int = 200
) -> list[ContractListing]:
    """Return contracts, newest first; *before* is the id of the last one of the page before."""
    given = [(text, value) for text, value in (("t.id < ?", before), ("t.customer_id = ?", customer)) if value is not None]
    where = f"WHERE {' AND '.join(text for text, _ in given)}" if given else ""
    sql = (
        f"SELECT {_CONTRACT} FROM contract t JOIN customer c ON c.id = t.customer_id {where} ORDER BY t.id DESC LIMIT ?"
    )
    return [_listing(row) for row in unit.query(sql, [today.isoformat(), today.isoformat(), *(value for _, value in given), min(limit, LIST_ROWS)])]


def contract(unit: Unit, name: str, now: datetime, today: date) -> ContractSheet | None:
    """Return a contract by its id or by a deal that made or changed it; *now* is local, without offset."""
    sql = (
        f"SELECT {_CONTRACT} FROM contract t JOIN customer c ON c.id = t.customer_id WHERE t.id = ? OR t.deal = ?"
        " OR t.id IN (SELECT contract_id FROM change WHERE deal = ?) LIMIT 1"
    )
    rows = unit.query(sql, (today.isoformat(), today.isoformat(), name, name, name))
    if not rows:
        return None
    booked = store.contracts(unit, [rows[0][0]])[0]
    whole = booked.contract
    return ContractSheet(
        listing=_listing(rows[0]),
        items=tuple(ItemView(number=n, item=item, quantity=q) for n, item, q in running_items(whole, now)),
        changes=whole.changes,
        invoices=tuple(reversed(invoices(unit, contract=booked.id, limit=LIST_ROWS))),
        labels={c.change.id: c.label for c in booked.changes},
    )


def _listing(row: Sequence[Any]) -> ContractListing:
    is_late = bool(row[11]) and row[1] == "active"
    return ContractListing(
        contract=row[0],
        status=("unpaid" if row[12] else "past_due") if is_late else row[1],
        customer=row[2],
        name=row[3],
        deal=row[4],
        starts_on=date.fromisoformat(row[5]),
        ends_on=_on(row[6]),
        value=row[7],
        annual_value=row[8],
        currency=row[9],
        next_on=to_local(datetime.fromisoformat(row[10]), row[13]).date() if row[10] else None,
    )


def _on(value: str | None) -> date | None:
    return date.fromisoformat(value) if value else None
