"""A ledger moves to another CRM org because a person says that it is the same business (pitfall P33, decision D-169).

A refreshed sandbox has a new org id, and holds copies of production deals: whoever went on as if nothing had happened would bill
those copies. So another org is refused, and this is the way to confirm it: first what would follow is counted, then, if wanted, the
ledger and the books take the new id, every record is read anew, and everything is told to the CRM again, because the fields on the
records there come from somewhere else.

Worked example: a ledger of 120 deals; the refreshed sandbox holds 118 of them and 45 won deals more. The 118 go on as they are, the
2 keep their contracts and are told nothing, the 45 are billed at the next sync, unless `start_from` of the mapping is moved first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from connector.errors import HaltError
from connector.ports import Unit
from connector.sync import ledger
from connector.sync.seam import Seam

_ASKED_AT_ONCE = 200
_EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What a move to another org would mean. kept - records of the ledger that the new org has; lost - those it has not.

    fresh - records there that the ledger does not know and that a first load would read: the next sync bills what of them is won.
    """

    old: str
    old_name: str
    was_sandbox: bool
    kept: int
    lost: tuple[str, ...]
    fresh: tuple[str, ...]

    @property
    def examples(self) -> tuple[str, ...]:
        """Return some of the fresh ones."""
        return self.fresh[:_EXAMPLES]


def foreseen(seam: Seam) -> Move:
    """Return what a move to the org of *seam* would mean; reads only.

    Raises: HaltError where the ledger belongs to no org yet.
    """
    with seam.database.read() as unit:
        old = ledger.meta(unit, "org")
        name, sandbox = ledger.meta(unit, "org_name") or "", ledger.meta(unit, "is_sandbox") == "yes"
        known = {s.object: [str(r[0]) for r in unit.query("SELECT id FROM record WHERE object = ?", (s.object,))] for s in seam.sources}
    if old is None:
        raise HaltError("This ledger belongs to no org yet.", hint="Run `connector sync`; it is bound at first contact.", code="not-bound")
    kept, lost, fresh = 0, [], []
    for source in seam.sources:
        there = set(_there(seam, source.object, known[source.object]))
        kept += len(there)
        lost += [r for r in known[source.object] if r not in there]
        where = f" WHERE {source.first_load}" if source.first_load else ""
        (rows,) = seam.crm.query([f"SELECT Id, Name FROM {source.object}{where}"])
        ids = set(known[source.object])
        fresh += [f"{source.object} {row['Name']} ({row['Id']})" for row in rows if row["Id"] not in ids]
    return Move(old=old, old_name=name, was_sandbox=sandbox, kept=kept, lost=tuple(lost), fresh=tuple(fresh))


def _there(seam: Seam, object_name: str, ids: Sequence[str]) -> list[str]:
    asked = [ids[i : i + _ASKED_AT_ONCE] for i in range(0, len(ids), _ASKED_AT_ONCE)]
    soql = [f"SELECT Id FROM {object_name} WHERE Id IN ({','.join(repr(i) for i in part)})" for part in asked]
    return [str(row["Id"]) for rows in seam.crm.query(soql) for row in rows] if soql else []


def move(seam: Seam, old: str, move_books: Callable[[Unit, str, str], None]) -> None:
    """Bind ledger and books to the org of *seam*, in one transaction."""
    new = seam.org
    with seam.database.transaction() as unit:
        unit.execute("UPDATE deal SET org = ? WHERE org = ?", (new.id, old))
        move_books(unit, old, new.id)
        for key, value in (("org", new.id), ("org_name", new.name), ("is_sandbox", "yes" if new.is_sandbox else "no")):
            ledger.save_meta(unit, key, value)
        ledger.forget_cursors(unit)
        unit.execute("DELETE FROM crm_row")
        unit.execute("UPDATE deal SET write_due = 1, write_next_try_at = NULL, write_attempts = 0 WHERE contract_id IS NOT NULL")
        names = [str(row[0]) for row in unit.query("SELECT name FROM deal")]
        ledger.note(unit, [(name, "rebind", "moved", f"from org {old} to {new.id}") for name in names], ledger.iso(seam.now()))
