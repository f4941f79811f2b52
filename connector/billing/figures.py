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


def chasing(unit: Unit) -> dict[str, int]:
    """Return how many open invoices are past due, failed to be charged or are left unpaid, and how many mails wait or failed."""
    ((late, failed, unpaid),) = unit.query(
        "SELECT COALESCE(SUM(CASE WHEN is_overdue THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN attempts > 0 THEN 1 ELSE 0 END), 0),"
        " COALESCE(SUM(CASE WHEN dunning = 'unpaid' THEN 1 ELSE 0 END), 0) FROM invoice WHERE status = 'open'"
    )
    sql = "SELECT COUNT(*) FROM {} WHERE state = '{}'"
    counts = {name: unit.query(sql.format(*what))[0][0] for name, what in _STATES.items()}
    return {"past due": int(late), "charge failed": int(failed), "unpaid": int(unpaid), **{k: int(n) for k, n in counts.items()}}


_STATES = {"charges under way": ("charge", "pending"), "mails waiting": ("outbox", "queued"), "mails failed": ("outbox", "failed")}


def other_settings(unit: Unit, timezone: str, proration: str, tax_rounding: str) -> dict[str, int]:
    """Return how many contracts are running, and how many of them were made with another setting than each of these (deals.md section 8)."""
    ((running, *others),) = unit.query(
        "SELECT COUNT(*), SUM(CASE WHEN timezone <> ? THEN 1 ELSE 0 END), SUM(CASE WHEN terms LIKE ? THEN 0 ELSE 1 END),"
        " SUM(CASE WHEN terms LIKE ? THEN 0 ELSE 1 END) FROM contract WHERE status NOT IN ('canceled', 'completed', 'withdrawn')",
        (timezone, f'%"proration":"{proration}"%', f'%"tax_rounding":"{tax_rounding}"%'),
    )
    return {"running": int(running), **{k: int(n or 0) for k, n in zip(("timezone", "proration", "tax_rounding"), others, strict=True)}}
