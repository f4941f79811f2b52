"""Merged accounts: whoever was billed through the one that is gone is billed through the one that stays (pitfall P15).

The CRM names the account that stays on the deleted one (MasterRecordId) while that lies in the recycle bin. Deals follow at once, the
contract's customer with them; the pair is kept, because rows of invoices that were sent before must not point to an account that is
gone. Worked example: Acme goes into Gaia, Gaia into Borealis, both between two polls: Acme's deals and rows stand with Borealis.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from connector.ports import Unit
from connector.sync import ledger
from connector.sync.seam import Seam

_LONGEST = 50  # merges of merges that are followed
_AT_ONCE = 200


def follow(unit: Unit, merged: Sequence[tuple[str, str]]) -> None:
    """Let deals of merged accounts belong to the account that stays in the end: (loser, master) each."""
    for loser, master in merged:
        ledger.save_meta(unit, f"merged {loser}", master)
    found = masters(unit, [loser for loser, _ in merged])
    ledger.follow_merges(unit, sorted(found.items()))


def masters(unit: Unit, accounts: Collection[str]) -> dict[str, str]:
    """Return the account that stays in the end, for those of *accounts* that were merged into another."""
    found = {}
    due = {a: a for a in accounts}
    for _ in range(_LONGEST):
        names = sorted({f"merged {at}" for at in due.values()})
        held: dict[str, str] = {}
        for start in range(0, len(names), 900):
            part = names[start : start + 900]
            held.update(unit.query(f"SELECT key, value FROM meta WHERE key IN ({ledger.marks(part)})", part))
        due = {a: held[f"merged {at}"] for a, at in due.items() if f"merged {at}" in held}
        if not due:
            break
        found.update(due)
    return found


def find_lost(seam: Seam) -> None:
    """Follow merges whose losing account was gone for good before any poll: its deals name another account, and it exists no more."""
    sql = (
        "SELECT DISTINCT d.account, r.account FROM deal d JOIN record r ON r.object = d.owner_object AND r.id = d.owner_record"
        " WHERE d.contract_id IS NOT NULL AND d.account <> r.account ORDER BY d.account LIMIT ?"
    )
    with seam.database.read() as unit:
        moved: dict[str, set[str]] = {}
        for old, new in unit.query(sql, (_AT_ONCE,)):
            moved.setdefault(old, set()).add(new)
    if not moved:
        return
    listed = ",".join(f"'{i}'" for i in sorted(moved))
    (page,) = seam.crm.pages([f"SELECT Id FROM Account WHERE Id IN ({listed}) ORDER BY Id"], with_deleted=True)
    if page.is_timed_out or not page.is_whole or page.refused is not None:
        return
    there = {row["Id"] for row in page.rows}
    # an account whose deals went to several others was not merged: somebody moved them
    lost = [(old, min(new)) for old, new in moved.items() if old not in there and len(new) == 1]
    if lost:
        with seam.database.transaction() as unit:
            follow(unit, lost)
