"""The books in a few figures, for the console and the demo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from connector.billing.store import REDUCED
from connector.ports import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Counts of contracts and finalized invoices; by currency what was billed and what is open, in minor units."""

    contracts: int
    invoices: int
    by_currency: Mapping[str, tuple[int, int]]


def figures(unit: Unit) -> Figures:
    """Return the books' figures; drafts and voided invoices count nowhere."""
    ((contracts,),) = unit.query("SELECT COUNT(*) FROM contract WHERE status <> 'withdrawn'")
    rows = unit.query(
        "SELECT i.currency, COUNT(*), SUM(i.total - i.credited),"
        f" SUM(CASE WHEN i.status = 'open' THEN i.amount_due - i.amount_paid - {REDUCED} ELSE 0 END)"
        " FROM invoice i WHERE i.status IN ('open', 'paid', 'uncollectible') GROUP BY i.currency ORDER BY i.currency"
    )
    return Figures(
        contracts=int(contracts),
        invoices=sum(int(row[1]) for row in rows),
        by_currency={row[0]: (int(row[2]), int(row[3])) for row in rows},
    )
