"""Who may change what while others run too: whoever changes anything of a customer holds the customer's row first (decision D-139).

On SQLite one transaction writes at a time and nothing of this costs a query. On PostgreSQL the rule keeps two runs from billing the
same contract, and a payment from meeting a run half-way: customers are locked in order of id, the series of numbers last.
"""

from __future__ import annotations

from collections.abc import Iterable

from connector.billing import store
from connector.billing.batches import in_batches
from connector.ports import Unit


def hold_customers(unit: Unit, ids: Iterable[str]) -> None:
    """Wait for customers and keep them until the transaction ends."""
    if unit.for_update:
        for batch, marks in in_batches(sorted(ids)):
            unit.query(f"SELECT id FROM customer WHERE id IN ({marks}) ORDER BY id{unit.for_update}", batch)


def hold_contracts(unit: Unit, contract_ids: Iterable[str], *, org: str = "", accounts: Iterable[str] = ()) -> set[str]:
    """Hold the customers of contracts, and of the CRM accounts of *org*; return their ids (none on SQLite)."""
    found: set[str] = set()
    if unit.for_update:
        for batch, marks in in_batches(contract_ids):
            found |= {row[0] for row in unit.query(f"SELECT customer_id FROM contract WHERE id IN ({marks})", batch)}
        for batch, marks in in_batches(accounts):
            sql = f"SELECT id FROM customer WHERE org = ? AND account IN ({marks})"
            found |= {row[0] for row in unit.query(sql, (org, *batch))}
        hold_customers(unit, found)
    return found


def hold_invoice(unit: Unit, number: str) -> None:
    """Hold the customer of an invoice."""
    if unit.for_update:
        hold_customers(unit, [row[0] for row in unit.query("SELECT customer_id FROM invoice WHERE number = ?", (number,))])


def due_and_held(unit: Unit, as_of: str, limit: int, *, with_drafts: bool) -> list[str]:
    """Return the contracts that a run must look at (see `store.due_contracts`), held; what another run billed meanwhile is not among them."""
    ids = store.due_contracts(unit, as_of, limit, with_drafts=with_drafts)
    if not unit.for_update:
        return ids
    held: set[str] = set()
    while ids:
        wanted = hold_contracts(unit, ids)
        if wanted <= held:
            return ids
        held |= wanted
        ids = store.due_contracts(unit, as_of, limit, with_drafts=with_drafts)  # looked at again, now that nobody else can change it
    return ids
