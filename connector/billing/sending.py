"""An invoice's mail asked for by a person, whoever got it before; it is sent with the next round."""

from __future__ import annotations

from dataclasses import dataclass

from connector.billing import desk, dunning, store
from connector.billing.desk import refused
from connector.billing.intents import Engine, Handler, Request
from connector.billing.outbox import Entry
from connector.ports import IntentResult, Unit


def send(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Write the mail of an issued invoice again. Raises: RejectedError where nothing would leave, or nobody has an address."""
    held = desk.held(unit, str(request.data.get("invoice", "")))
    if held.invoice.status in ("draft", "void"):
        raise refused("not-sendable", f"{held.number} is {held.invoice.status}; there is nothing to send.")
    dunning.refuse_held(engine.mailing)
    ((email, name),) = unit.query("SELECT email, name FROM customer WHERE id = ?", (held.customer_id,))
    if not email:
        raise refused("no-email", f"{name} has no billing e-mail.", "Fill Billing Contact on the deal or Billing Email on the account.")
    engine.mailing.write(unit, [Entry(key=f"{request.key}/sent", kind="invoice", invoice_id=held.id)], request.now)
    result = {"invoice": held.number, "to": email, "is_held": engine.mailing.is_held}
    return desk.save_event(unit, request, "invoice.sent_again", result, before=held, after=held)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressee:
    """Who gets an invoice's mails as things stand now; *is_charged*: a stored method is about to be charged."""

    email: str
    language: str
    is_charged: bool


def addressee(unit: Unit, invoice_id: str) -> Addressee:
    """Return who gets the mails of an invoice: the customer of today, not of the day it was issued."""
    sql = (
        "SELECT c.email, c.language, i.collection_method, i.attempts, m.token FROM invoice i JOIN customer c ON c.id = i.customer_id"
        " LEFT JOIN payment_method m ON m.customer_id = c.id WHERE i.id = ?"
    )
    ((email, language, method, attempts, token),) = unit.query(sql, (invoice_id,))
    return Addressee(email=email, language=language, is_charged=method == "charge_automatically" and not attempts and token is not None)


def deals_about(unit: Unit, invoice_id: str) -> list[str]:
    """Return the deals whose records say how an invoice stands."""
    rows = unit.query("SELECT DISTINCT contract_id FROM line WHERE invoice_id = ? AND contract_id <> ''", (invoice_id,))
    return store.deals_of_contracts(unit, [row[0] for row in rows])


HANDLED: dict[str, Handler] = {"invoice.send": desk.once(send)}
