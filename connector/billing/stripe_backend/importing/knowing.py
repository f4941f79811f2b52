"""What the books know that helps to link an account: their customers, and the codes of products by name."""

from __future__ import annotations

from collections.abc import Iterable

from connector.billing.batches import in_batches
from connector.billing.stripe_backend.importing.matching import Known
from connector.ports import Unit


def customers_known(unit: Unit, org: str) -> dict[str, Known]:
    """Return the customers of the books by their CRM account."""
    rows = unit.query("SELECT id, account, name, email FROM customer WHERE org = ?", (org,))
    return {
        account: Known(account=account, name=name, emails=(email,) if email else (), customer_id=customer_id)
        for customer_id, account, name, email in rows
    }


def codes_by_name(unit: Unit) -> dict[str, str]:
    """Return the codes of the catalogue's products by name; a name that several have is missing."""
    rows = unit.query("SELECT name, code FROM product")
    counted: dict[str, list[str]] = {}
    for name, code in rows:
        counted.setdefault(str(name), []).append(str(code))
    return {name: codes[0] for name, codes in counted.items() if len(codes) == 1}


def contracts_known(unit: Unit, contract_ids: Iterable[str]) -> frozenset[str]:
    """Return which of these contracts the books have."""
    found: set[str] = set()
    for batch, marks in in_batches(contract_ids):
        found.update(str(row[0]) for row in unit.query(f"SELECT id FROM contract WHERE id IN ({marks})", batch))
    return frozenset(found)
