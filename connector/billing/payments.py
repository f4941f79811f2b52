"""Payments: a bank transfer or cheque recorded by hand for an open invoice (`payments.methods: manual`), and how any payment is booked.

Worked example: INV-0001 over 290.00 is open; 100.00 arrives on 20 January and 190.00 on 2 February: it is open with 190.00 due,
then paid on 2 February. More than what is open is refused: nobody shall wonder later where the rest went (decision D-144).
"""

from __future__ import annotations

from datetime import date, datetime

from connector.billing import desk
from connector.billing.desk import Held, money_text, refused
from connector.ports import Unit


def record_payment(unit: Unit, held: Held, *, amount: int | None, on: date, now: datetime) -> int:
    """Record a payment of *amount* minor units (None: all that is open) for an invoice; return what was recorded.

    Raises: RejectedError if the invoice is not open, or the amount is not above zero and at most what is open.
    """
    status, left = held.invoice.status, held.invoice.amount_remaining
    if status != "open":
        raise refused("invoice-not-open", f"{held.number} is {status}; only an open invoice takes a payment.")
    given = left if amount is None else amount
    if not 0 < given <= left:
        most = money_text(left, held.currency)
        hint = "Give another amount."
        if given > left:
            hint = "Record what is open; put the rest on the customer's balance with `connector customers adjust-balance`, or send it back."
        raise refused("bad-amount", f"A payment for {held.number} is above zero and at most {most}.", hint)
    book_payment(unit, held, given, on=on, now=now)
    return given


def book_payment(  # noqa: PLR0913 - one value of the payment each
    unit: Unit, held: Held, amount: int, *, on: date, now: datetime, method: str = "manual", reference: str = ""
) -> None:
    """Book a payment of at most what is open of an invoice; with all of it the invoice is paid."""
    is_whole = amount == held.invoice.amount_remaining
    desk.set_status(unit, held.id, "paid" if is_whole else held.invoice.status, on if is_whole else None)
    unit.execute("UPDATE invoice SET amount_paid = ? WHERE id = ?", (held.invoice.amount_paid + amount, held.id))
    desk.save_payment(unit, held, amount, on=on, now=now, note=(None, reference), method=method)
