"""An invoice's mail asked for by a person, whoever got it before; it is sent with the next round."""

from __future__ import annotations

from connector.billing import desk, dunning
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


HANDLED: dict[str, Handler] = {"invoice.send": desk.once(send)}
