"""Reading credit notes, for their page and the command line: frozen views with figures in minor units, nothing formatted."""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from connector.billing import store
from connector.ports import CustomerDetails, Unit

TOKEN_ID = 21  # signs of a credit note's id, with its prefix, in front of its token's random part
_HEAD = (
    "n.id, n.number, n.token, i.number, n.currency, n.issued_on, n.reason, n.total, n.tax, n.reduced, n.refunded, n.credited,"
    " n.out_of_band, n.bill_to, n.contract_id, n.deal, i.issued_on"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteLine:
    """What a credit note takes of one line: *amount* net of tax on top; taxes - (rate, amount, is_inclusive)."""

    description: str
    amount: int
    taxes: tuple[tuple[str, int, bool], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSheet:
    """A whole credit note, amounts above zero; *reduced*, *refunded*, *credited* and *out_of_band* make up *total*.

    invoice, invoice_issued_on - what it corrects. tax_note - why there is no tax, as on the invoice.
    """

    number: str
    token: str
    invoice: str
    customer: CustomerDetails
    currency: str
    issued_on: date
    reason: str
    total: int
    tax: int
    reduced: int
    refunded: int
    credited: int
    out_of_band: int
    contract: str
    deal: str
    lines: tuple[NoteLine, ...]
    invoice_issued_on: date
    tax_note: str

    @property
    def subtotal(self) -> int:
        """Return the sum of the lines."""
        return sum(line.amount for line in self.lines)


def note(unit: Unit, number: str) -> NoteSheet | None:
    """Return a credit note by its number."""
    rows = unit.query(f"SELECT {_HEAD} FROM credit_note n JOIN invoice i ON i.id = n.invoice_id WHERE n.number = ?", (number,))
    return _sheet(unit, rows[0]) if rows else None


def notes_of(unit: Unit, invoice_id: str) -> list[NoteSheet]:
    """Return the credit notes on an invoice, oldest first; few on any one."""
    rows = unit.query(f"SELECT {_HEAD} FROM credit_note n JOIN invoice i ON i.id = n.invoice_id WHERE n.invoice_id = ? ORDER BY n.id", (invoice_id,))
    return [_sheet(unit, row) for row in rows]


def note_by_token(unit: Unit, token: str) -> NoteSheet | None:
    """Return the credit note that a link leads to."""
    rows = unit.query(f"SELECT {_HEAD} FROM credit_note n JOIN invoice i ON i.id = n.invoice_id WHERE n.id = ?", (token[:TOKEN_ID],))
    if not rows or not hmac.compare_digest(str(rows[0][2]).encode(), token.encode()):
        return None
    return _sheet(unit, rows[0])


def _sheet(unit: Unit, row: Sequence[Any]) -> NoteSheet:
    lines = unit.query("SELECT description, amount, taxes FROM credit_note_line WHERE note_id = ? ORDER BY position", (row[0],))
    return NoteSheet(
        number=row[1], token=row[2], invoice=row[3] or "", currency=row[4], issued_on=date.fromisoformat(row[5]), reason=row[6],
        total=row[7], tax=row[8], reduced=row[9], refunded=row[10], credited=row[11], out_of_band=row[12],
        customer=store.details_from_text(row[13]), contract=row[14], deal=row[15], invoice_issued_on=date.fromisoformat(row[16]),
        tax_note=store.tax_note_from_text(row[13]),
        lines=tuple(
            NoteLine(description=what, amount=amount, taxes=tuple((r, t, bool(inside)) for r, t, inside in json.loads(taxes or "[]")))
            for what, amount, taxes in lines
        ),
    )  # fmt: skip
