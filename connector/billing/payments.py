"""Payments: a bank transfer or cheque recorded by hand for an open invoice (`payments.methods: manual`), and how any payment is booked.

Worked example: INV-0001 over 290.00 is open; 100.00 arrives on 20 January and 190.00 on 2 February: it is open with 190.00 due,
then paid on 2 February. More than what is open is refused: nobody shall wonder later where the rest went (decision D-144).

It is recorded by command, in the console, or on the invoice's row in the CRM (`enter`). The last answers with a code and figures
instead of words, because what its reader sees is written in the language of the CRM (decision D-151).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from connector.billing import desk
from connector.billing.desk import Held, money_text, refused
from connector.billing.intents import Engine, Handler, Request
from connector.billing.issue import today_in
from connector.billing.outbox import Entry
from connector.core.money import minor
from connector.ports import IntentResult, Unit

WAYS = ("bank_transfer", "cheque", "cash", "other")
"""How money arrived outside; `manual` where nobody said."""
MOST_REFERENCE = 140  # signs, as a SEPA transfer carries


def pay(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Record money that arrived outside: `amount` in minor units (default all that is open), `on` the day (default today).

    `reference` is what the bank or cheque says, `method` one of `WAYS`.
    """
    held = desk.held(unit, str(request.data.get("invoice", "")))
    said = payment_said(request, engine)
    amount = due_amount(held, request.data.get("amount"))
    book_payment(unit, held, amount, on=said.on, now=request.now, method=said.method, reference=said.reference)
    after = desk.held(unit, held.number)
    result = {
        "invoice": held.number, "amount": amount, "currency": held.currency, "on": said.on.isoformat(), "open": after.invoice.amount_remaining,
        "method": said.method, "reference": said.reference,
    }  # fmt: skip
    receipt = Entry(key=f"{request.key}/paid", kind="receipt", invoice_id=held.id, data=result)
    engine.mailing.write(unit, [receipt], request.now)
    return desk.save_event(unit, request, "payment.recorded", result, before=held, after=after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is said of money that arrived outside: the day, the way and the bank's reference."""

    on: date
    method: str
    reference: str


def payment_said(request: Request, engine: Engine) -> Said:
    """Return what a request says of a payment. Raises: RejectedError for a day in the future, or a way that nobody knows."""
    on, today = request.data.get("on"), today_in(engine.timezone, request.now)
    day = date.fromisoformat(str(on)) if on else today
    if day > today:
        hint = "Give the day the money arrived, or record it on that day."
        raise refused("payment-in-future", f"A payment of {day} has not arrived yet; today is {today}.", hint)
    reference = " ".join(str(request.data.get("reference") or "").split())[:MOST_REFERENCE]
    method = str(request.data.get("method") or "manual")
    if method not in ("manual", *WAYS):
        raise refused("unknown-way", f"{method} is no way money arrives.", f"Known: {', '.join(WAYS)}.")
    return Said(on=day, method=method, reference=reference)


def due_amount(held: Held, amount: int | None) -> int:
    """Return what a payment of *amount* minor units (None: all that is open) takes of an invoice.

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
    return given


def book_payment(  # noqa: PLR0913 - one value of the payment each
    unit: Unit, held: Held, amount: int, *, on: date, now: datetime, method: str = "manual", reference: str = ""
) -> None:
    """Book a payment of at most what is open of an invoice; with all of it the invoice is paid."""
    is_whole = amount == held.invoice.amount_remaining
    desk.set_status(unit, held.id, "paid" if is_whole else held.invoice.status, on if is_whole else None)
    unit.execute("UPDATE invoice SET amount_paid = ? WHERE id = ?", (held.invoice.amount_paid + amount, held.id))
    desk.save_payment(unit, held, amount, on=on, now=now, note=(None, reference), method=method)


# ---------------------------------------------------------------- what is typed in the CRM


def enter(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Record what somebody typed on an invoice's row (`invoice_id`, `amount` as text in major units, `on`, `reference`, `currency`).

    What cannot be recorded is no error of the request but its result: `refused` says why, with the figures that words need.
    """
    typed = entered(request, engine, unit)
    return typed if isinstance(typed, IntentResult) else pay(typed, engine, unit)


def entered(request: Request, engine: Engine, unit: Unit) -> Request | IntentResult:
    """Return what somebody typed on an invoice's row as the payment that it is, or the result that says why it is none."""
    rows = unit.query("SELECT number FROM invoice WHERE id = ?", (str(request.data["invoice_id"]),))
    if not rows or not rows[0][0]:
        notes = unit.query("SELECT number FROM credit_note WHERE id = ?", (str(request.data["invoice_id"]),))
        return IntentResult(result={"refused": "credit-note", "number": notes[0][0]} if notes else {"refused": "unknown-invoice"})
    held = desk.held(unit, rows[0][0])
    told: dict[str, Any] = {
        "number": held.number, "currency": held.currency, "open": held.invoice.amount_remaining, "amount": str(request.data["amount"]),
    }  # fmt: skip
    why = _why_not(held, request.data, today_in(engine.timezone, request.now))
    if why:
        return IntentResult(result={"refused": why, **told})
    amount = int(minor(Decimal(told["amount"]), held.currency))
    return replace(request, data={**request.data, "invoice": held.number, "amount": amount})


def _why_not(held: Held, data: Mapping[str, Any], today: date) -> str:
    """Return the code of what keeps a typed payment from being recorded; empty: nothing does."""
    if held.invoice.status != "open":
        return held.invoice.status
    if data.get("currency") and str(data["currency"]).lower() != held.currency:
        return "other-currency"
    try:
        amount = minor(Decimal(str(data["amount"])), held.currency)
    except InvalidOperation:
        return "bad-amount"
    if amount <= 0:
        return "not-positive"
    if amount != amount.to_integral_value():
        return "too-fine"
    if amount > held.invoice.amount_remaining:
        return "too-much"
    return "in-future" if data.get("on") and date.fromisoformat(str(data["on"])) > today else ""


HANDLED: dict[str, Handler] = {"invoice.pay": desk.once(pay), "invoice.enter": desk.once(enter)}
