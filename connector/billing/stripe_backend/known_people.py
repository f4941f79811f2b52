"""What Stripe was told of customers, so that it hears what changed, once for all their contracts.

Worked example: an account gets another VAT number. The next contract of it that is planned updates the customer, gives it the new number and
takes the former one away; the others find it told.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from connector.billing.batches import in_batches
from connector.billing.store import at_text
from connector.billing.stripe_backend.compiling.people import Told, told_by
from connector.billing.stripe_backend.steps import Push
from connector.ports import Unit


def told(unit: Unit, customer_ids: Iterable[str]) -> dict[str, Told]:
    """Return what Stripe knows of customers of ours; those that it never heard of are missing."""
    found: dict[str, Told] = {}
    for batch, marks in in_batches(sorted(customer_ids)):
        rows = unit.query(f"SELECT key, stripe_id FROM stripe_object WHERE kind = 'customer' AND key IN ({marks})", batch)
        ids = {str(key): str(stripe_id) for key, stripe_id in rows}
        sql = f"SELECT customer_id, digest, tax_id, tax_number FROM stripe_told WHERE customer_id IN ({marks})"
        known = {str(row[0]): row[1:] for row in unit.query(sql, batch)}
        for customer_id, stripe_id in ids.items():
            digest, tax_id, tax_number = known.get(customer_id, ("", "", ""))
            found[customer_id] = Told(stripe_id=stripe_id, digest=digest, tax_id=tax_id, tax_number=tax_number)
    return found


def keep(unit: Unit, push: Push, now: datetime) -> None:
    """Keep what the steps of a push that were carried out told Stripe of a customer."""
    named = told_by(push, Told())
    if named is None:
        return
    customer_id, _ = named
    before = told(unit, [customer_id]).get(customer_id, Told())
    after = told_by(push, before)
    if after is not None and after[1] != before:
        unit.execute(
            "INSERT INTO stripe_told (customer_id, digest, tax_id, tax_number, updated_at) VALUES (?,?,?,?,?) ON CONFLICT (customer_id) DO UPDATE"
            " SET digest = excluded.digest, tax_id = excluded.tax_id, tax_number = excluded.tax_number, updated_at = excluded.updated_at",
            (customer_id, after[1].digest, after[1].tax_id, after[1].tax_number, at_text(now)),
        )
