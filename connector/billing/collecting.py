"""Charging invoices automatically: a try is kept before anybody outside is asked, its outcome after (decision D-143).

`begin` writes tries in one transaction, the caller charges outside of any, `settle` writes each outcome in another. A kill in
between leaves a try pending; it is asked for again under its own key, which whoever charges answers with the outcome it had.

Worked example: INV-0001 over 290.00 falls due on 1 March, the card is declined: it stays open, and with `retry: [3d, 5d, 7d]` it is
tried again on 4, 9 and 16 March, each time counted from the try before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from connector.billing import desk, store
from connector.billing.desk import Held
from connector.billing.intents import Engine, Handler, Request
from connector.billing.issue import today_in
from connector.billing.outbox import Entry
from connector.billing.payments import book_payment
from connector.billing.store import Event
from connector.charging import Charge, ChargeResult, Payments
from connector.core.period import to_utc
from connector.kit.db import new_id
from connector.ports import IntentResult, Unit

_TO_CHARGE = "i.status = 'open' AND i.collection_method = 'charge_automatically' AND i.next_charge_at IS NOT NULL"
_NONE_UNDER_WAY = "NOT EXISTS (SELECT 1 FROM charge c WHERE c.invoice_id = i.id AND c.state = 'pending')"
_CHARGE = "c.id, c.method, c.token, c.amount, c.currency, c.number, i.number"


def begin(unit: Unit, now: datetime, payments: Mapping[str, Payments], limit: int) -> int:
    """Write a pending try for up to *limit* invoices that are to be charged by now; return how many were looked at."""
    sql = (
        f"SELECT i.id, i.customer_id, i.currency, i.amount_due - i.amount_paid - {store.REDUCED}, m.method, m.token,"
        " (SELECT COUNT(*) FROM charge c WHERE c.invoice_id = i.id) FROM invoice i"
        f" LEFT JOIN payment_method m ON m.customer_id = i.customer_id WHERE {_TO_CHARGE} AND i.next_charge_at <= ? AND {_NONE_UNDER_WAY}"
        " ORDER BY i.next_charge_at, i.id LIMIT ?"
    )
    at = store.at_text(now)
    rows = unit.query(sql, (at, limit))
    # without a method it waits until one is stored; with one, the outcome says when the next try is
    unit.executemany("UPDATE invoice SET next_charge_at = NULL WHERE id = ?", [(row[0],) for row in rows])
    tries = [
        (f"{invoice_id}/c{count + 1}", invoice_id, customer_id, count + 1, method, token, amount, currency, "pending", "", "", "", at)
        for invoice_id, customer_id, currency, amount, method, token, count in rows
        if method in payments and amount > 0
    ]
    unit.executemany(
        "INSERT INTO charge (id, invoice_id, customer_id, number, method, token, amount, currency, state, code, message, reference, made_at)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
        tries,
    )
    return len(rows)


def pending(unit: Unit, limit: int, after: str = "") -> list[Charge]:
    """Return tries whose outcome is not known, in order of their keys from *after* on."""
    sql = (
        f"SELECT {_CHARGE} FROM charge c JOIN invoice i ON i.id = c.invoice_id WHERE c.state = 'pending' AND c.id > ? ORDER BY c.id LIMIT ?"
    )
    return [
        Charge(key=r[0], method=r[1], token=r[2], amount=r[3], currency=r[4], attempt=r[5], description=r[6])
        for r in unit.query(sql, (after, limit))
    ]


def settle(unit: Unit, charge: Charge, result: ChargeResult, now: datetime, engine: Engine) -> Sequence[str]:
    """Write the outcome of a try once, and return the deals to tell: paid, or still open and tried again as the ladder says."""
    done = unit.execute(
        "UPDATE charge SET state = ?, code = ?, message = ?, reference = ?, done_at = ? WHERE id = ? AND state = 'pending'",
        ("succeeded" if result.is_paid else "failed", result.code, result.message, result.reference, store.at_text(now), charge.key),
    )
    if not done:
        return ()
    held = desk.held(unit, charge.description)
    on = today_in(engine.timezone, now)
    data = _paid(unit, held, charge, result, now, on) if result.is_paid else _failed(unit, held, charge, result, now, engine)
    kind = Entry(key=f"{charge.key}/{'paid' if result.is_paid else 'failed'}", kind="receipt" if result.is_paid else "payment_failed",
                 invoice_id=held.id, data=data)  # fmt: skip
    engine.mailing.write(unit, [kind], now)
    after = desk.held(unit, held.number)
    name = "payment.recorded" if result.is_paid else "payment.failed"
    event = Event(
        id=new_id("ev", now), actor="run", name=name, contract_id=held.contract_id, customer_id=held.customer_id, invoice_id=held.id,
        data=store.event_text(data), before=store.event_text(held.state()), after=store.event_text(after.state()),
    )  # fmt: skip
    store.insert_events(unit, [event], store.at_text(now))
    return desk.deals_to_tell(unit, after)


def _paid(unit: Unit, held: Held, charge: Charge, result: ChargeResult, now: datetime, on: date) -> dict[str, Any]:
    """Book the money; what is not due any more because something else paid or credited it meanwhile goes to the balance."""
    left = held.invoice.amount_remaining if held.invoice.status in ("open", "uncollectible") else 0
    taken = min(left, charge.amount)
    if taken:
        book_payment(unit, held, taken, on=on, now=now, method=charge.method, reference=result.reference)
    if charge.amount > taken:
        desk.move_balance(unit, held.customer_id, held.currency, taken - charge.amount, held.id, now, actor="run")
    return {
        "number": held.number, "amount": charge.amount, "open": left - taken, "to_balance": charge.amount - taken, "currency": held.currency,
        "method": charge.method, "on": on.isoformat(),
    }  # fmt: skip


def _failed(unit: Unit, held: Held, charge: Charge, result: ChargeResult, now: datetime, engine: Engine) -> dict[str, Any]:
    """Count the failure and say when it is tried again; a method that is useless waits for another one."""
    failures = int(unit.query("SELECT attempts FROM invoice WHERE id = ?", (held.id,))[0][0])
    ladder = engine.ladder.retry
    today, again, retry_on = today_in(engine.timezone, now), None, ""
    if held.invoice.status == "open" and not result.is_final and failures < len(ladder):
        day = today + timedelta(days=ladder[failures])
        again, retry_on = to_utc(datetime.combine(day, time()), engine.timezone), day.isoformat()
    unit.execute(
        "UPDATE invoice SET attempts = attempts + 1, next_charge_at = ? WHERE id = ?", (store.at_text(again) if again else None, held.id)
    )
    return {
        "number": held.number, "amount": charge.amount, "currency": held.currency, "method": charge.method, "code": result.code,
        "message": result.message, "on": today.isoformat(), "retry_on": retry_on,
    }  # fmt: skip


# ---------------------------------------------------------------- what a customer asks for


def pay_now(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Charge what is open of an invoice (data: invoice, customer) to the customer's stored method, however it is collected otherwise.

    The try is only kept here; it is made with the next billing run. Raises: RejectedError where nothing can be charged.
    """
    held = desk.held(unit, str(request.data["invoice"]))
    customer_id = str(request.data["customer"])
    if held.customer_id != customer_id:
        raise desk.refused("unknown-invoice", f"{held.number} is not an invoice of this customer.")
    if held.invoice.status != "open" or held.invoice.amount_remaining <= 0:
        raise desk.refused("invoice-not-open", f"{held.number} is {held.invoice.status}; nothing is to be paid.")
    methods = unit.query("SELECT method, token FROM payment_method WHERE customer_id = ?", (customer_id,))
    if not methods or methods[0][0] not in engine.payments:
        raise desk.refused("no-method", "No payment method is stored.", "Store one first, or pay by bank transfer.")
    desk.refuse_charging(unit, held)
    ((tries,),) = unit.query("SELECT COUNT(*) FROM charge WHERE invoice_id = ?", (held.id,))
    (method, token), number = methods[0], int(tries) + 1
    unit.execute(
        "INSERT INTO charge (id, invoice_id, customer_id, number, method, token, amount, currency, state, code, message, reference, made_at)"
        " VALUES (?,?,?,?,?,?,?,?,'pending','','','',?)",
        (
            f"{held.id}/c{number}", held.id, customer_id, number, method, token, held.invoice.amount_remaining, held.currency,
            store.at_text(request.now),
        ),
    )  # fmt: skip
    return desk.save_event(unit, request, "payment.asked", {"number": held.number, "amount": held.invoice.amount_remaining}, before=held, after=held)


HANDLED: dict[str, Handler] = {"invoice.charge": desk.once(pay_now)}
