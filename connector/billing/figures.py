"""The books in a few figures, for the console and the demo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
        "SELECT currency, COUNT(*), SUM(total), SUM(CASE WHEN status = 'open' THEN amount_due - amount_paid ELSE 0 END)"
        " FROM invoice WHERE status IN ('open', 'paid', 'uncollectible') GROUP BY currency ORDER BY currency"
    )
    return Figures(
        contracts=int(contracts),
        invoices=sum(int(row[1]) for row in rows),
        by_currency={row[0]: (int(row[2]), int(row[3])) for row in rows},
    )
