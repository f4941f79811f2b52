"""Deals that a person linked to a contract of the books, because the deal they change is not in billing (deals.md section 3)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Field

from connector.ports import Unit
from connector.sync.ledger import Ledger, marks


class LinkRow(Ledger, table=True):
    """The contract that a change deal is linked to; *actor* and *reason* say who did it and why."""

    __tablename__ = "link"
    deal: str = Field(primary_key=True)
    contract_id: str
    actor: str
    reason: str
    made_at: str


def of_deals(unit: Unit, deals: Sequence[str]) -> dict[str, str]:
    """Return the contract that each of these deals was linked to, where it was."""
    if not deals:
        return {}
    rows = unit.query(f"SELECT deal, contract_id FROM link WHERE deal IN ({marks(deals)})", deals)
    return {row[0]: row[1] for row in rows}


def save(unit: Unit, deal: str, contract_id: str, *, actor: str, reason: str, now: str) -> None:
    """Link a deal to a contract, in place of an earlier link."""
    unit.execute(
        "INSERT INTO link (deal, contract_id, actor, reason, made_at) VALUES (?,?,?,?,?) ON CONFLICT (deal) DO UPDATE SET"
        " contract_id = excluded.contract_id, actor = excluded.actor, reason = excluded.reason, made_at = excluded.made_at",
        (deal, contract_id, actor, reason, now),
    )
