"""Payments recorded by hand: a bank transfer or cheque that arrived for an open invoice (`payments.methods: manual`).

Worked example: INV-0001 over 290.00 is open; 100.00 arrives on 20 January and 190.00 on 2 February: it is open with 190.00 due,
then paid on 2 February. More than what is open is refused: nobody shall wonder later where the rest went.
"""

from __future__ import annotations

from datetime import date, datetime

from connector.billing.store import Event, event_text, insert_events
from connector.core.money import major
from connector.errors import Problem, RejectedError
from connector.kit.db import new_id
from connector.ports import Unit


def record_payment(unit: Unit, number: str, *, amount: int | None, on: date, now: datetime, actor: str) -> str:
    """Record a payment of *amount* minor units (None: all that is open) for an invoice; return the deal to tell.

    Raises: RejectedError if there is no such open invoice, or the amount is not above zero and at most what is open.
    """
    rows = unit.query(
        "SELECT id, status, currency, amount_due, amount_paid, contract_id, deal FROM invoice WHERE number = ?",
        (number,),
    )
    if not rows:
        raise _refused("unknown-invoice", f"The books have no invoice {number}.", "See `connector invoices list`.")
    invoice_id, status, currency, due, paid, contract_id, deal = rows[0]
    if status != "open":
        raise _refused("invoice-not-open", f"{number} is {status}; only an open invoice takes a payment.", "")
    left = due - paid
    given = left if amount is None else amount
    if not 0 < given <= left:
        most = f"{major(left, currency)} {currency.upper()}"
        raise _refused(
            "bad-amount", f"A payment for {number} is above zero and at most {most}.", "Give another amount."
        )
    is_whole = given == left
    unit.execute(
        "UPDATE invoice SET amount_paid = ?, status = ?, paid_on = ? WHERE id = ?",
        (paid + given, "paid" if is_whole else "open", on.isoformat() if is_whole else None, invoice_id),
    )
    event = Event(
        id=new_id("ev", now),
        actor=actor,
        name="payment.recorded",
        contract_id=contract_id,
        invoice_id=invoice_id,
        data=event_text({"number": number, "amount": given, "on": on.isoformat(), "left": left - given}),
    )
    insert_events(unit, [event], now.strftime("%Y-%m-%dT%H:%M:%SZ"))
    return str(deal)


def _refused(code: str, message: str, hint: str) -> RejectedError:
    return RejectedError(Problem(code=code, message=message, hint=hint))
