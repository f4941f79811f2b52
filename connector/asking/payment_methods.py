"""How a customer is charged automatically, asked for by a person."""

from __future__ import annotations

from pathlib import Path

from connector import app
from connector.asking.shared import bad
from connector.billing.customers import customer as customer_of
from connector.billing.methods import labels_of
from connector.verbs import Result, open_config


def payment_method(config_path: Path, customer: str, *, wanted: str | None, is_removed: bool) -> Result:
    """Store the method *wanted* (METHOD:NAME) of a customer (its id, account or name), remove it, or say what it is."""
    config = open_config(config_path)
    if wanted is not None and is_removed:
        raise bad("A payment method is either set or removed.", "Give --set or --remove.")
    if wanted is None and not is_removed:
        with app.reading_house(config) as books, books.database.read() as unit:
            found = customer_of(unit, books.billing.org, customer).listing
            label = labels_of(unit, [found.id]).get(found.id, "")
        if config.billing.backend == "stripe":
            text = f"{found.name}: Stripe keeps its payment methods; see the customer in Stripe's Dashboard, or its portal link (`connector customers portal-link`)."
            return {"text": text, "customer": found.id, "name": found.name, "method": ""}
        return {"text": f"{found.name}: {label or 'no payment method'}.", "customer": found.id, "name": found.name, "method": label}
    data = {"customer": customer, "method": wanted or ""}
    result = app.request(config, "customers payment-method", "customer.payment_method", data)
    if is_removed:
        text = f"{result['name']} has no payment method any more; its invoices stay open until somebody pays them."
    elif config.billing.backend == "stripe":
        text = f"{result['name']} is charged by {result['method']} from now on. Pay an open invoice by its page, or let Stripe try again."
    else:
        text = f"{result['name']} is charged by {result['method']}. Open invoices that are charged automatically are tried at the next run."
    return {"text": text, **result}
