"""How customers are charged automatically: at most one stored method each, a token of whoever keeps the number (decision D-143)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from connector.billing import desk, store
from connector.billing.customers import customer_named
from connector.billing.desk import refused
from connector.billing.intents import Engine, Handler, Request
from connector.billing.store import Event
from connector.charging import Payments
from connector.ports import IntentResult, Unit


def labels_of(unit: Unit, customer_ids: Iterable[str]) -> dict[str, str]:
    """Return what people call the methods of customers; who has none is missing."""
    found: dict[str, str] = {}
    ids = list(dict.fromkeys(customer_ids))
    for start in range(0, len(ids), store.READ_ROWS):
        batch = ids[start : start + store.READ_ROWS]
        sql = f"SELECT customer_id, label FROM payment_method WHERE customer_id IN ({','.join('?' * len(batch))})"
        found.update((row[0], row[1]) for row in unit.query(sql, batch))
    return found


def set_method(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Store a customer's method (`method` as METHOD:NAME), or remove it (`method` empty); its open invoices are tried at the next run."""
    wanted = str(request.data.get("method") or "")
    customer_id = customer_named(unit, engine.org, str(request.data.get("customer", "")))
    (customer,) = store.customers(unit, ids=[customer_id])
    before = labels_of(unit, [customer_id]).get(customer_id, "")
    unit.execute("DELETE FROM payment_method WHERE customer_id = ?", (customer_id,))
    label = ""
    if wanted:
        kind, token, label = _chosen(engine.payments, wanted)
        unit.execute(
            "INSERT INTO payment_method (customer_id, method, token, label, made_at) VALUES (?,?,?,?,?)",
            (customer_id, kind, token, label, store.at_text(request.now)),
        )
        unit.execute(
            "UPDATE invoice SET next_charge_at = '' WHERE customer_id = ? AND status = 'open' AND collection_method = 'charge_automatically'"
            " AND NOT EXISTS (SELECT 1 FROM charge c WHERE c.invoice_id = invoice.id AND c.state = 'pending')",
            (customer_id,),
        )
    result = {"customer": customer_id, "name": customer.details.name, "method": label, "before": before}
    _save_event(unit, request, result)
    return IntentResult(result=result)


def _chosen(payments: Mapping[str, Payments], wanted: str) -> tuple[str, str, str]:
    """Return (method, token, label) of a method written METHOD:NAME. Raises: RejectedError where it cannot be charged."""
    kind, _, name = wanted.partition(":")
    adapter = payments.get(kind)
    if adapter is None:
        known = ", ".join(payments) or "none; `manual` has nothing to store"
        hint = "Add it to `payments: {methods: [..]}` in the configuration, or record payments with `connector invoices pay`."
        if kind == "stripe":
            hint = "Payment by Stripe comes with a later version; record payments with `connector invoices pay`."
        raise refused("unknown-method", f"The configuration has no payment method {kind!r} (it has: {known}).", hint)
    token = adapter.token(name)
    return kind, token, adapter.label(token)


def _save_event(unit: Unit, request: Request, result: Mapping[str, str]) -> None:
    name = "payment_method.stored" if result["method"] else "payment_method.removed"
    before, after = (store.event_text({"method": result[key]}) for key in ("before", "method"))
    event = Event(
        id=desk.event_id(request.key), actor=request.actor, name=name, contract_id="", customer_id=result["customer"],
        data=store.event_text(result), before=before, after=after,
    )  # fmt: skip
    store.insert_events(unit, [event], store.at_text(request.now))


HANDLED: dict[str, Handler] = {"customer.payment_method": desk.once(set_method)}
