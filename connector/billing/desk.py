"""An issued invoice on the desk of whoever corrects it: read whole, and the small writes that every correction makes.

Every request leaves exactly one event whose id comes from the request's key; a key that is seen again finds it and changes
nothing (`once`). What it did besides (to the balance, to a second invoice) leaves events of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import wraps
from typing import Any

from connector.billing import events, store
from connector.billing.intents import Engine, Handler, Request
from connector.billing.locking import hold_customers, hold_invoice
from connector.billing.parts import contracts_told
from connector.billing.store import REDUCED, BalanceEntry, Event
from connector.core.invoicing import Line
from connector.core.money import major
from connector.core.settlement import Invoice, InvoiceStatus
from connector.errors import Problem, RejectedError
from connector.kit.db import new_id
from connector.ports import IntentResult, InvoiceView, Unit

_HELD = (
    "i.id, i.number, i.status, i.currency, i.customer_id, i.contract_id, i.deal, i.billing_reason, i.created_at, i.issued_on,"
    " i.due_on, i.subtotal, i.discount, i.tax, i.total, i.starting_balance, i.ending_balance, i.amount_due, i.amount_paid,"
    f" i.credited, i.bill_to, i.collection_method, i.po_number, i.memo, {REDUCED}, i.is_overdue"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An invoice of the books as the engine settles it (*invoice*), with what only the books know."""

    id: str
    number: str
    customer_id: str
    contract_id: str
    deal: str
    issued_on: date
    bill_to: str
    collection_method: str
    po_number: str
    memo: str
    invoice: Invoice
    is_overdue: bool = False

    @property
    def currency(self) -> str:
        """The currency's code."""
        return self.invoice.currency

    def state(self) -> dict[str, Any]:
        """Return the figures that corrections change, for the event's `before` and `after`; amounts in minor units."""
        return events.invoice_facts(self.invoice, is_overdue=self.is_overdue)


def refused(code: str, message: str, hint: str = "") -> RejectedError:
    """Return the refusal of a request, in plain words."""
    return RejectedError(Problem(code=code, message=message, hint=hint))


def money_text(minor: int, currency: str) -> str:
    """Return an amount with its currency as messages write it: 60.00 EUR."""
    return f"{major(minor, currency)} {currency.upper()}"


def held(unit: Unit, number: str) -> Held:
    """Return an invoice by its number. Raises: RejectedError if the books have none."""
    hold_invoice(unit, number)
    rows = unit.query(f"SELECT {_HELD} FROM invoice i WHERE i.number = ?", (number,))
    if not rows:
        raise refused("unknown-invoice", f"The books have no invoice {number}.", "See `connector invoices list`.")
    row = rows[0]
    due = row[17] - row[24]
    lines: tuple[Line, ...] = tuple(store.invoice_lines(unit, row[0]))
    invoice = Invoice(
        contract_ids=(row[5],) if row[5] else (), currency=row[3], lines=lines, created_at=datetime.fromisoformat(row[8]),
        finalized_at=datetime.fromisoformat(row[8]), due_on=date.fromisoformat(row[10]) if row[10] else None, status=row[2],
        billing_reason=row[7], subtotal=row[11], discount=row[12], tax=row[13], total=row[14], starting_balance=row[15],
        ending_balance=row[16], amount_due=due, amount_paid=row[18], number=row[1], credited=row[19],
        amount_remaining=due - row[18] if row[2] in ("open", "uncollectible") else 0,
    )  # fmt: skip
    return Held(
        id=row[0], number=row[1], customer_id=row[4], contract_id=row[5], deal=row[6], issued_on=date.fromisoformat(row[9]),
        bill_to=row[20], collection_method=row[21], po_number=row[22], memo=row[23], invoice=invoice,
        is_overdue=bool(row[25]),
    )  # fmt: skip


def refuse_charging(unit: Unit, invoice: Held) -> None:
    """Raise RejectedError while the outcome of a charge of an invoice is not known: what stands for it would be charged once more."""
    if unit.query("SELECT 1 FROM charge WHERE invoice_id = ? AND state = 'pending'", (invoice.id,)):
        raise refused(
            "charge-pending", f"{invoice.number} is being charged already, and the outcome is not known yet.",
            "Wait for it; the next billing run asks again.",
        )  # fmt: skip


def given_back(unit: Unit, invoice_id: str) -> int:
    """Return what of an invoice's payments went back to the customer, in minor units."""
    sql = "SELECT COALESCE(SUM(refunded + out_of_band), 0) FROM credit_note WHERE invoice_id = ?"
    return int(unit.query(sql, (invoice_id,))[0][0])


def set_status(unit: Unit, invoice_id: str, status: InvoiceStatus, paid_on: date | None) -> None:
    """Save the state of an invoice; *paid_on* only where it is paid."""
    unit.execute(
        "UPDATE invoice SET status = ?, paid_on = ? WHERE id = ?", (status, paid_on.isoformat() if paid_on else None, invoice_id)
    )


def move_balance(  # noqa: PLR0913 - one value of the entry each
    unit: Unit, customer_id: str, currency: str, by: int, invoice_id: str | None, now: datetime, *, actor: str | None, reason: str = ""
) -> int:
    """Change a customer's balance (below zero = credit) and return what it is then; both in minor units.

    actor - who asked, for the event; None: the caller tells it in an event of its own.
    """
    hold_customers(unit, [customer_id])
    (customer,) = store.customers(unit, ids=[customer_id])
    before = customer.balances.get(currency, 0)
    after = before + by
    at = store.at_text(now)
    entry = BalanceEntry(
        id=new_id("bal", now), customer_id=customer_id, currency=currency, amount=by, ending_balance=after, invoice_id=invoice_id,
        reason=reason,
    )  # fmt: skip
    store.insert_balance_entries(unit, [entry], at)
    store.update_balances(unit, [replace(customer, balances={**customer.balances, currency: after})], at)
    if actor is not None:
        event = events.balance_event(customer_id, currency, (before, after), actor=actor, now=now, invoice_id=invoice_id)
        store.insert_events(unit, [event], at)
    return after


def save_payment(  # noqa: PLR0913 - one value of the payment each
    unit: Unit, held: Held, amount: int, *, on: date, now: datetime, note: tuple[str | None, str] = (None, ""), method: str = "manual"
) -> None:
    """Save money that arrived for an invoice, or went back (below zero) with a *note*: (its id, its reference)."""
    unit.execute(
        "INSERT INTO payment (id, invoice_id, amount, currency, method, reference, paid_on, note_id, made_at) VALUES (?,?,?,?,?,?,?,?,?)",
        (new_id("pay", now), held.id, amount, held.currency, method, note[1], on.isoformat(), note[0], store.at_text(now)),
    )


def note_views(unit: Unit, invoices: Sequence[InvoiceView]) -> list[InvoiceView]:
    """Return the credit notes on invoices as the CRM shows them: totals below zero, nothing due, oldest first."""
    by_id = {i.id: i for i in invoices if i.credited}
    ids, found = list(by_id), []
    for start in range(0, len(ids), store.READ_ROWS):
        batch = ids[start : start + store.READ_ROWS]
        sql = (
            "SELECT id, invoice_id, number, issued_on, total, refunded + out_of_band, token FROM credit_note"
            f" WHERE invoice_id IN ({','.join('?' * len(batch))}) ORDER BY id"
        )
        for note_id, invoice_id, number, issued_on, total, returned, token in unit.query(sql, batch):
            found.append(
                replace(
                    by_id[invoice_id], id=note_id, number=number, status="issued", issued_on=date.fromisoformat(issued_on), due_on=None,
                    total=-total, amount_due=0, amount_paid=-returned, token=token, paid_on=None, credited=0, is_note=True,
                )
            )  # fmt: skip
    return found


def root_key(key: str) -> str:
    """Return the key of the line that a copy on a reissued invoice is of; the key itself for any other line."""
    return key.partition(store.COPY)[0]


def copy_key(key: str) -> str:
    """Return the key of a line's next copy: K, K/copy 1, K/copy 2."""
    root, _, number = key.partition(store.COPY)
    return f"{root}{store.COPY}{int(number or 0) + 1}"


# ---------------------------------------------------------------- once a key, with its event


def event_id(key: str) -> str:
    """Return the id of the event that a request leaves."""
    return f"ev_{key.removeprefix('it_')}"


def save_event(
    unit: Unit, request: Request, name: str, result: Mapping[str, Any], *, before: Held | None, after: Held
) -> IntentResult:
    """Append what a request did to an invoice and return its result, which is the answer if the same request comes again."""
    event = replace(_event(request, name, before, after), id=event_id(request.key), data=store.event_text(result))
    store.insert_events(unit, [event], store.at_text(request.now))
    return IntentResult(result=result, deals=deals_to_tell(unit, after))


def also(unit: Unit, request: Request, name: str, *, before: Held, after: Held) -> None:
    """Append what a request did to another invoice than the one that its own event is about."""
    store.insert_events(unit, [_event(request, name, before, after)], store.at_text(request.now))


def _event(request: Request, name: str, before: Held | None, after: Held) -> Event:
    return Event(
        id=new_id("ev", request.now), actor=request.actor, name=name, contract_id=after.contract_id, customer_id=after.customer_id,
        invoice_id=after.id, before=events.text_of(before.state()) if before else "", after=events.text_of(after.state()),
    )  # fmt: skip


def once(handler: Callable[[Request, Engine, Unit], IntentResult]) -> Handler:
    """Return the handler, answering a key that was carried out before with what it led to then."""

    @wraps(handler)
    def carried(request: Request, engine: Engine, unit: Unit) -> IntentResult:
        rows = unit.query("SELECT data FROM event WHERE id = ?", (event_id(request.key),))
        return IntentResult(result=json.loads(rows[0][0])) if rows else handler(request, engine, unit)

    return carried


def deals_to_tell(unit: Unit, invoice: Held) -> tuple[str, ...]:
    """Return the deals whose records show something of an invoice: those of its contracts."""
    return tuple(store.deals_of_contracts(unit, contracts_told(unit, [invoice.id])))
