"""Deals whose contract was made in another way than by their record: linked in the ledger, and their records read though nobody edited them.

A linked deal has a contract and no digest of terms: what its record says when it is first decided counts as what was agreed. Its
record may be older than `start_from`, so that no poll would ever read it; `wanted_record` asks for it by its id once.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Field

from connector.ports import Unit
from connector.sync import ledger
from connector.sync.ledger import Ledger

READ_AT_ONCE = 400  # records asked for by id in one page of a poll
_OBJECTS = {"006": "Opportunity", "0Q0": "Quote", "801": "Order"}  # by the first signs of a Salesforce id


class WantedRecordRow(Ledger, table=True):
    """A CRM record that must be read whatever its stamp."""

    __tablename__ = "wanted_record"
    object: str = Field(primary_key=True)
    id: str = Field(primary_key=True)


def link(unit: Unit, org: str, linked: Sequence[tuple[str, str, str, str]], now: str) -> None:
    """Note the contracts of deals (deal, label, contract id, account), ask for their records, and wake the deals that waited for them."""
    rows = [
        (org, deal, label, _OBJECTS.get(deal[:3]), deal, account, contract_id, deal, now, now) for deal, label, contract_id, account in linked
    ]
    unit.executemany(
        "INSERT INTO deal (org, name, label, owner_object, owner_record, account, contract_id, root, state, action, made_at, revision,"
        " is_withdrawn, attempts, begun, apply_due, write_due, write_attempts, notes, applied_at, updated_at)"
        " VALUES (?,?,?,?,?,?,?,?,'applied','new','',0,0,0,0,0,1,0,'',?,?) ON CONFLICT (org, name) DO UPDATE SET"
        " owner_object = excluded.owner_object, owner_record = excluded.owner_record, account = excluded.account,"
        " contract_id = excluded.contract_id, state = 'applied', is_withdrawn = 0, applied_terms = NULL, applied_who = NULL,"
        " applied_how = NULL, problem = NULL, wait_for = NULL, begun = 0, attempts = 0, next_try_at = NULL, write_due = 1,"
        " apply_due = CASE WHEN EXISTS (SELECT 1 FROM record r WHERE r.deal = excluded.name) THEN 1 ELSE 0 END,"
        " applied_at = excluded.applied_at, updated_at = excluded.updated_at",
        rows,
    )
    unit.executemany(
        "INSERT INTO wanted_record (object, id) VALUES (?,?) ON CONFLICT (object, id) DO NOTHING",
        [(_OBJECTS[deal[:3]], deal) for deal, *_ in linked if deal[:3] in _OBJECTS],
    )
    ledger.note(unit, [(deal, "import", "applied", contract_id) for deal, _, contract_id, _ in linked], now)
    ledger.wake_waiting(unit, [deal for deal, *_ in linked])


def wanted(unit: Unit, object_name: str) -> list[str]:
    """Return the next ids of an object's records that must be read."""
    sql = "SELECT id FROM wanted_record WHERE object = ? ORDER BY id LIMIT ?"
    return [row[0] for row in unit.query(sql, (object_name, READ_AT_ONCE))]


def want(unit: Unit, object_name: str, ids: Sequence[str]) -> None:
    """Have these records read by the next poll, whatever their stamps."""
    unit.executemany("INSERT INTO wanted_record (object, id) VALUES (?,?) ON CONFLICT (object, id) DO NOTHING", [(object_name, i) for i in ids])


def were_read(unit: Unit, object_name: str, ids: Sequence[str]) -> None:
    """Ask no more for records: they were read, or the CRM has none of them."""
    unit.executemany("DELETE FROM wanted_record WHERE object = ? AND id = ?", [(object_name, i) for i in ids])
